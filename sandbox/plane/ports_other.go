//go:build unix && !linux

package plane

import "syscall"

const soReusePort = syscall.SO_REUSEPORT
