package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	bridgeName = "drover0"

	// bridgeMAC is fixed, as a bridge without one takes the lowest of its ports':
	// it would change with every pod, and pods would talk to an address gone.
	bridgeMAC = "02:d0:0e:00:00:01"

	// netnsDir is where ip(8) keeps names of network namespaces.
	netnsDir = "/run/netns"

	// bridgeLock orders kubelets, of any sandbox on this host, that make the
	// bridge, add ports to it or remove it.
	bridgeLock = "/run/lock/drover0.lock"
)

var (
	// podNetwork holds the pods of all nodes of all sandboxes on this host.
	podNetwork = netip.MustParsePrefix("10.210.0.0/16")

	// hostAddress is where pods reach the host, and from where the host, so also
	// every kubelet's probe, reaches them.
	hostAddress = netip.MustParsePrefix("10.210.0.1/16")
)

// Network connects the pods of one node: a network namespace for each, joined to
// the host's bridge by a veth pair. It needs a mount namespace of its own, where
// it hides the names of other network namespaces.
type Network struct {
	record networkRecord

	mu   sync.Mutex
	used map[netip.Addr]bool
	last netip.Addr
}

// networkRecord is what Clean must know of a node that is no more.
type networkRecord struct {
	PodCIDR netip.Prefix
	NodeIP  netip.Addr
}

// attachment is one pod's place in the network.
type attachment struct {
	address netip.Addr
	name    string // of the namespace and of the host's interface
}

func (a attachment) netns() string { return filepath.Join(netnsDir, a.name) }

// OpenNetwork makes the bridge and gives the host the node's address. The file
// records both for Clean.
func OpenNetwork(ctx context.Context, file string, podCIDR netip.Prefix, nodeIP netip.Addr) (*Network, error) {
	if !podNetwork.Contains(podCIDR.Addr()) || podCIDR.Bits() != 24 || podCIDR.Masked() != podCIDR {
		return nil, fmt.Errorf("pod network %s: want a /24 out of %s", podCIDR, podNetwork)
	}
	n := &Network{record: networkRecord{podCIDR, nodeIP}, used: map[netip.Addr]bool{}, last: podCIDR.Addr().Next()}
	data, err := json.Marshal(n.record)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, fmt.Errorf("record the network: %w", err)
	}
	if err := privateNetns(); err != nil {
		return nil, err
	}
	return n, withBridge(ctx, func() error {
		return ip(ctx, "", "address replace "+nodeIP.String()+"/32 dev "+bridgeName)
	})
}

// privateNetns lets names of network namespaces live and die with our mount
// namespace: a killed node leaves none behind.
func privateNetns() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("drover", netnsDir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", netnsDir, err)
	}
	return nil
}

// Add gives a pod a namespace with an address.
func (n *Network) Add(ctx context.Context) (attachment, error) {
	address, err := n.allocate()
	if err != nil {
		return attachment{}, err
	}
	a := attachment{address: address, name: interfaceName(address)}
	if err := n.connect(ctx, a); err != nil {
		n.Remove(context.WithoutCancel(ctx), a)
		return attachment{}, fmt.Errorf("connect a pod at %s: %w", address, err)
	}
	return a, nil
}

func (n *Network) connect(ctx context.Context, a attachment) error {
	if err := ip(ctx, "", "netns add "+a.name); err != nil {
		return err
	}
	err := withBridge(ctx, func() error {
		return ip(ctx, "",
			"link add "+a.name+" type veth peer name eth0 netns "+a.name,
			"link set "+a.name+" master "+bridgeName+" up")
	})
	if err != nil {
		return err
	}
	return ip(ctx, a.name,
		fmt.Sprintf("address add %s/%d dev eth0", a.address, podNetwork.Bits()),
		"link set lo up",
		"link set eth0 up",
		"route add default via "+hostAddress.Addr().String())
}

// Remove takes a pod off the network; what is already gone is no error.
func (n *Network) Remove(ctx context.Context, a attachment) {
	ip(ctx, "", "link delete "+a.name)
	ip(ctx, "", "netns delete "+a.name)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, a.address)
}

// allocate goes round: an address rests as long as it can before its next pod,
// while neighbours still remember the last one.
func (n *Network) allocate() (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := n.record.PodCIDR.Addr().Next().Next() // .1 may be the node's own
	for range 253 {
		n.last = n.last.Next()
		if !n.record.PodCIDR.Contains(n.last.Next()) { // .255
			n.last = first
		}
		if !n.used[n.last] {
			n.used[n.last] = true
			return n.last, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address left in %s", n.record.PodCIDR)
}

// interfaceName tells whose interface it is: dr3.17 belongs to the pod 10.210.3.17.
func interfaceName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("dr%d.%d", b[2], b[3])
}

// Clean removes what a node's network left on the host. It may be called for a
// node that never was, and more than once; never for one that runs.
func Clean(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the record of the network: %w", err)
	}
	var record networkRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return fmt.Errorf("read the record of the network: %s: %w", file, err)
	}
	unlock, err := lockBridge(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := net.InterfaceByName(bridgeName); err == nil {
		if err := cleanBridge(ctx, record); err != nil {
			return err
		}
	}
	return os.Remove(file)
}

// cleanBridge deletes the node's ports and address, and the bridge after its last
// user. The kernel deletes ports with their namespaces too, but later.
func cleanBridge(ctx context.Context, record networkRecord) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	b := record.PodCIDR.Addr().As4()
	ours := fmt.Sprintf("dr%d.", b[2])
	for _, i := range all {
		if strings.HasPrefix(i.Name, ours) {
			ip(ctx, "", "link delete "+i.Name) // the kernel may be faster
		}
	}
	ip(ctx, "", "address delete "+record.NodeIP.String()+"/32 dev "+bridgeName)
	bridge, err := net.InterfaceByName(bridgeName)
	if err != nil {
		return err
	}
	ports, err := os.ReadDir("/sys/class/net/" + bridgeName + "/brif")
	if err != nil || len(ports) > 0 {
		return err
	}
	addresses, err := bridge.Addrs()
	if err != nil || hasNodes(addresses) {
		return err
	}
	return ip(ctx, "", "link delete "+bridgeName)
}

// hasNodes tells whether a node without pods still uses the bridge.
func hasNodes(addresses []net.Addr) bool {
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && prefix != hostAddress {
			return true
		}
	}
	return false
}

// withBridge does something to the bridge, which is there for that time.
func withBridge(ctx context.Context, f func() error) error {
	unlock, err := lockBridge(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := net.InterfaceByName(bridgeName); err != nil {
		if err := ip(ctx, "",
			"link add "+bridgeName+" address "+bridgeMAC+" type bridge",
			"address add "+hostAddress.String()+" dev "+bridgeName,
			"link set "+bridgeName+" up"); err != nil {
			return fmt.Errorf("make the bridge %s: %w", bridgeName, err)
		}
	}
	return f()
}

func lockBridge(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(bridgeLock), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(bridgeLock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", bridgeLock, err)
	}
	return func() { f.Close() }, nil
}

// ip runs commands of ip(8) in a network namespace, or in the host's; it stops at
// the first that goes wrong.
func ip(ctx context.Context, netns string, commands ...string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(commands, "; "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
