//go:build !linux

package machine

import "syscall"

// ownGroup cannot tie the process to the sandbox's life here; only Close and Kill end it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// await returns when the process has ended and been reaped. Children that it left behind stay: without Linux's waitid there is no
// moment at which the group's number is certainly still ours.
func (x *process) await() {
	_ = x.cmd.Wait() // the state says it all
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
}
