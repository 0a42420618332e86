package plane

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// ports are TCP ports of the loopback address kept for our children. Each is
// bound, not listened on, with SO_REUSEPORT: the kernel gives it to nobody else,
// and a child of the same user that sets the option too may listen there. Asking
// for a free port and closing it again would leave a gap for others.
type ports struct{ held []*os.File }

func (p *ports) reserve() (int, error) {
	syscall.ForkLock.RLock() // a child that inherited it would hold the port longer than we do
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	p.held = append(p.held, os.NewFile(uintptr(fd), "reserved port"))
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
		return 0, fmt.Errorf("reserve a port: SO_REUSEPORT: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte(net.IPv4(127, 0, 0, 1).To4())}); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	return bound.(*syscall.SockaddrInet4).Port, nil
}

func (p *ports) release() {
	for _, f := range p.held {
		f.Close()
	}
	p.held = nil
}
