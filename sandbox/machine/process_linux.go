package machine

import (
	"syscall"
	"unsafe"
)

// ownGroup has the process lead a group, and die with the sandbox however that ends. Its own children do not inherit the
// second: a shell that should leave nothing behind has to exec.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// await returns when the process has ended and been reaped. What it left behind in its group is killed in between, as a container
// dies with its first process; only then is the group's number certainly still ours.
func (x *process) await() {
	const pPID, wExited, wNoWait = 1, 4, 0x01000000
	var info [128]byte
	for {
		_, _, e := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(x.cmd.Process.Pid), uintptr(unsafe.Pointer(&info)), wExited|wNoWait, 0, 0)
		if e != syscall.EINTR {
			break
		}
	}
	x.signal(syscall.SIGKILL)
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
	_ = x.cmd.Wait() // the state says it all
}
