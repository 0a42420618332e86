package machine

import (
	"fmt"
	"net/netip"
)

// Machines and their pods live in 127.20.0.0 to 127.59.255.255. The API server refuses loopback addresses in EndpointSlices,
// so the cluster sees the same addresses with 10 in front.
const (
	loopbackOctet = 127
	clusterOctet  = 10
	firstNet      = 20
	lastNet       = 59
)

// DialAddress maps an address as the cluster knows it to the one to dial: 10.20.3.5 to 127.20.3.5. Addresses that are not a
// light machine's (10.210.x.y of real kubelets, say) come back unchanged.
func DialAddress(ip string) string {
	return swapOctet(ip, clusterOctet, loopbackOctet)
}

// ClusterAddress is the inverse of DialAddress: what the cluster is told about an address that processes bind.
func ClusterAddress(ip string) string {
	return swapOctet(ip, loopbackOctet, clusterOctet)
}

func swapOctet(ip string, from, to byte) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || !a.Is4() {
		return ip
	}
	b := a.As4()
	if b[0] != from || b[1] < firstNet || b[1] > lastNet {
		return ip
	}
	b[0] = to
	return netip.AddrFrom4(b).String()
}

// addresses hands out a machine's pod addresses: the rest of the /24 around the node's own. A freed address comes back only
// after all others were used, so that a stale route meets nobody rather than a stranger.
type addresses struct {
	node netip.Addr
	next byte
	used map[byte]bool
}

func newAddresses(nodeIP string) (*addresses, error) {
	a, err := netip.ParseAddr(DialAddress(nodeIP))
	if err != nil {
		return nil, fmt.Errorf("node address %q: %w", nodeIP, err)
	}
	if !a.Is4() || !a.IsLoopback() {
		return nil, fmt.Errorf("node address %s: want one of 127.%d.0.0 to 127.%d.255.255, or the same with 10 in front", nodeIP, firstNet, lastNet)
	}
	return &addresses{node: a, next: a.As4()[3], used: map[byte]bool{}}, nil
}

// take returns a loopback address, or false when the machine has none left.
func (a *addresses) take() (string, bool) {
	b := a.node.As4()
	for range 256 {
		a.next++
		if a.next == 0 || a.next == 255 || a.next == b[3] || a.used[a.next] {
			continue
		}
		a.used[a.next] = true
		return netip.AddrFrom4([4]byte{b[0], b[1], b[2], a.next}).String(), true
	}
	return "", false
}

func (a *addresses) free(ip string) {
	if addr, err := netip.ParseAddr(ip); err == nil {
		delete(a.used, addr.As4()[3])
	}
}
