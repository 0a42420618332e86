//go:build !linux

package sandbox

import "syscall"

// dieWithUs cannot keep its word here: a server outlives this process if nobody closes it.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
