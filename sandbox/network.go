package sandbox

import (
	"errors"
	"fmt"
	"net"
)

// network is the part of 127.0.0.0/8 that belongs to one sandbox: 127.N.0.0/16, so that several can run on one machine.
type network struct {
	octet int
	lock  net.Listener
}

// Networks to choose from: machine.DialAddress knows 127.20 to 127.59. The first is left to tests of single packages.
const (
	firstNetwork = 21
	lastNetwork  = 59
	lockPort     = 30079 // just below the node ports
)

// claim takes the first network that no other sandbox uses. Whoever listens on its lock port owns it; the kernel gives it back when the
// process ends, however that is.
func claim() (*network, error) {
	var last error
	for octet := firstNetwork; octet <= lastNetwork; octet++ {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.%d.0.1:%d", octet, lockPort))
		if err == nil {
			return &network{octet: octet, lock: l}, nil
		}
		last = err
	}
	return nil, errors.Join(errors.New("sandbox: no free loopback network between 127.21 and 127.59; stop other sandboxes"), last)
}

// address is the private IP of the n-th instance. Numbers come again after 250 instances; by then the first ones are long gone.
func (n *network) address(i int) string { return fmt.Sprintf("127.%d.%d.1", n.octet, i%250+1) }

// database is the address of the n-th database: below those of instances, and above what else is outside of the cluster.
func (n *network) database(i int) string { return fmt.Sprintf("127.%d.0.%d", n.octet, 64+i%180) }

func (n *network) release() { n.lock.Close() }
