package enter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTimeout is a command that was ended because its time was over.
var ErrTimeout = errors.New("timed out")

// Exec runs a command inside the container whose first process is pid, with the
// environment, user and search path of its Spec, and returns its exit code. No
// timeout means that it may take as long as it likes.
func Exec(pid int, spec *Spec, args []string, timeout time.Duration, stdout, stderr io.Writer) (int, error) {
	type result struct {
		code int
		err  error
	}
	results := make(chan result)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and takes
		// the foreign namespaces with it.
		runtime.LockOSThread()
		code, err := execHere(pid, spec, args, timeout, stdout, stderr)
		results <- result{code, err}
	}()
	r := <-results
	return r.code, r.err
}

// execHere gives this thread the container's namespaces and forks from it: the
// child inherits them, at the price of no other program in between.
func execHere(pid int, spec *Spec, args []string, timeout time.Duration, stdout, stderr io.Writer) (int, error) {
	if err := joinContainer(pid); err != nil {
		return 0, err
	}
	command, err := lookup(args[0], searchPath(spec.Path, spec.Env))
	if err != nil {
		return 0, err
	}
	cmd := &exec.Cmd{
		Path: command, Args: args, Env: spec.Env, Dir: spec.Cwd,
		Stdout: stdout, Stderr: stderr,
		WaitDelay: time.Second, // what it left in the background may hold the pipes
		// No parent-death signal: Go would take a parent in another PID namespace,
		// seen as 0, for a dead one. The namespace itself ends with our process.
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:     true,
			Credential: &syscall.Credential{Uid: spec.UID, Gid: spec.GID, Groups: spec.Groups},
		},
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var expired atomic.Bool
	if timeout > 0 {
		defer time.AfterFunc(timeout, func() {
			expired.Store(true)
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}).Stop()
	}
	err = cmd.Wait()
	if expired.Load() {
		return 0, ErrTimeout
	}
	if exit := (*exec.ExitError)(nil); err == nil || errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		return ExitCode(cmd), nil
	}
	return 0, err
}

// joinContainer moves this thread into the namespaces of a process. The mount
// namespace comes last: with it, paths mean what they mean in there.
func joinContainer(pid int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	kinds := []string{"ipc", "uts", "net", "pid", "mnt"}
	var files []*os.File
	for _, kind := range kinds {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return fmt.Errorf("enter container: %w", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	for i, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("enter container: %s namespace: %w", kinds[i], err)
		}
	}
	return nil
}

// ExitCode is how a command ended, as a shell would say it. Call it after Wait.
func ExitCode(cmd *exec.Cmd) int {
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
