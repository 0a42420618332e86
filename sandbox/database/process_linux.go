package database

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// dieWithUs has a server shut down at once, its children with it, when this process ends, however it ends. In a group of its own it does not
// hear our terminal's Ctrl-C.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}

// inhabitants are the processes that live in a data directory: PostgreSQL's all do, and nothing else has a reason to.
func inhabitants(data string) ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, fmt.Errorf("find the processes of %s: %w", data, err)
	}
	var pids []int
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || at != data { // an error: it ended, or is a stranger's
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// staleIsKnown: a pid file without inhabitants is stale, whoever has its number by now.
const staleIsKnown = true
