package enter

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Start starts the container's process and returns once its command runs. Output
// goes to the two writers; the caller must Wait. The process, and everything in
// its PID namespace, dies with ours; a command that changes its own user escapes
// that unless ours is the first of a PID namespace.
func Start(spec *Spec, stdout, stderr io.Writer) (*exec.Cmd, error) {
	data, err := spec.encode()
	if err != nil {
		return nil, err
	}
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specW.Close()
	resultR, resultW, err := os.Pipe()
	if err != nil {
		specR.Close()
		return nil, err
	}
	defer resultR.Close()
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{Name},
		Env:        []string{"GOMAXPROCS=1"},
		Stdout:     stdout,
		Stderr:     stderr,
		ExtraFiles: []*os.File{specR, resultW},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
			Setsid:     true,
			Pdeathsig:  syscall.SIGKILL,
		},
	}
	err = spawn(cmd)
	specR.Close()
	resultW.Close()
	if err != nil {
		return nil, err
	}
	if _, err := specW.Write(data); err != nil {
		return nil, abandon(cmd, err)
	}
	specW.Close()
	said, err := io.ReadAll(resultR)
	if err != nil {
		return nil, abandon(cmd, err)
	}
	if len(said) > 0 {
		return nil, abandon(cmd, fmt.Errorf("%s", said))
	}
	return cmd, nil
}

// abandon ends a process that did not become its command.
func abandon(cmd *exec.Cmd, reason error) error {
	cmd.Process.Kill()
	cmd.Wait()
	return reason
}

// spawn starts a command from one thread that never ends: the kernel sends the
// parent-death signal when the thread that forked does.
func spawn(cmd *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})
