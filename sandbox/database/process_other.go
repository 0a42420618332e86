//go:build !linux

package database

import "syscall"

// dieWithUs cannot keep its word here: a server outlives this process if nobody closes it.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// inhabitants cannot be found here. PostgreSQL itself refuses a data directory that is in use.
func inhabitants(string) ([]int, error) { return nil, nil }

// staleIsKnown: only PostgreSQL may judge a pid file here.
const staleIsKnown = false
