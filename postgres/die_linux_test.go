package postgres

import "syscall"

// alone has a server end with the test's process, however that ends.
func alone() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT, Credential: account}
}
