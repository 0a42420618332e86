package enter

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The process must become its command before anything else happens: the packages
// of Kubernetes take tens of milliseconds and of megabytes to initialise. This
// package imports little, so its init runs ahead of nearly all of theirs.
//
// Danger: whatever this package imports runs before it, in every container start.
func init() {
	if len(os.Args) != 1 || os.Args[0] != Name {
		return
	}
	result := os.NewFile(resultFD, "result")
	syscall.CloseOnExec(resultFD)
	err := become(os.NewFile(specFD, "spec"))
	fmt.Fprint(result, err)
	os.Exit(128)
}

// become returns only an error; otherwise this process is now the command.
func become(in *os.File) error {
	runtime.LockOSThread() // namespaces and exec below are of one thread
	data, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the container's specification: %w", err)
	}
	in.Close()
	spec := &Spec{}
	if err := json.Unmarshal(data, spec); err != nil {
		return fmt.Errorf("read the container's specification: %w", err)
	}
	if spec.Netns != "" {
		if err := joinNetns(spec.Netns); err != nil {
			return err
		}
	}
	if spec.Hostname != "" {
		if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
			return fmt.Errorf("set host name %s: %w", spec.Hostname, err)
		}
	}
	if err := makeRoot(spec); err != nil {
		return err
	}
	if err := enterCwd(spec.Cwd); err != nil {
		return err
	}
	command, err := lookup(spec.Args[0], searchPath(spec.Path, spec.Env))
	if err != nil {
		return err
	}
	if err := takeUser(spec); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", command, syscall.Exec(command, spec.Args, spec.Env))
}

func joinNetns(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("join network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join network namespace %s: %w", file, err)
	}
	return nil
}

func enterCwd(dir string) error {
	if dir == "" {
		dir = "/"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	return nil
}

// takeUser takes the container's user. A change of user clears the parent-death
// signal, which the parent's own PID namespace makes up for; set it again anyway.
func takeUser(spec *Spec) error {
	groups := make([]int, len(spec.Groups))
	for i, g := range spec.Groups {
		groups[i] = int(g)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := syscall.Setgid(int(spec.GID)); err != nil {
		return fmt.Errorf("set group %d: %w", spec.GID, err)
	}
	if err := syscall.Setuid(int(spec.UID)); err != nil {
		return fmt.Errorf("set user %d: %w", spec.UID, err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent-death signal: %w", err)
	}
	return nil
}

// searchPath is where commands are looked for: our folder, then the container's
// PATH, then what a container has when it names none.
func searchPath(first string, env []string) []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if len(kv) > 5 && kv[:5] == "PATH=" {
			path = kv[5:]
		}
	}
	dirs := filepath.SplitList(path)
	if first != "" {
		dirs = append([]string{first}, dirs...)
	}
	return dirs
}

func lookup(command string, dirs []string) (string, error) {
	if filepath.Base(command) != command {
		return command, nil // a path: exec says what is wrong with it
	}
	for _, dir := range dirs {
		file := filepath.Join(dir, command)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("exec %q: not found in %v", command, dirs)
}
