//go:build !linux

package postgres

import "syscall"

func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true, Credential: account} }
