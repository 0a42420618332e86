package plane

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the child when we go, even by SIGKILL. Its
// own process group keeps a Ctrl-C in our terminal from reaching it before Stop
// does, in its order.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true
}

// containKubelet makes the process the first of its own PID namespace: with it,
// however it ends, end all that it started.
func containKubelet(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
}
