package sandbox

import "syscall"

// dieWithUs has PostgreSQL shut down at once, its children with it, when this process ends, however it ends. In a group of its own it does not hear our
// terminal's Ctrl-C.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
