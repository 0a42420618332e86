package machine

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// proxies is kube-proxy for all nodes: one view of services and endpoints, and on each node a listener per node port that has
// somewhere to go. A port without endpoints has no listener, so that connections to it are refused.
type proxies struct {
	log *slog.Logger

	mu       sync.Mutex
	services map[types.NamespacedName]*corev1.Service
	slices   map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice // by service, by name
	nodes    map[string]*nodeProxy
	closed   bool
	carrying sync.WaitGroup
}

// nodeProxy is one node's share. It outlives its doors in one thing: connections go on when a door closes, and break with the node.
type nodeProxy struct {
	name, ip string
	doors    map[int32]*door // guarded by the proxies' mu

	mu     sync.Mutex
	conns  map[*net.TCPConn]bool
	closed bool
}

// door is one listener: a node port, or a health check port of a service that keeps its traffic local.
type door struct {
	node     *nodeProxy
	listener net.Listener
	health   bool

	mu sync.Mutex
	to []string // addresses to dial
}

// want is what a door should be.
type want struct {
	to     []string
	health bool
}

func (ps *proxies) init(log *slog.Logger) {
	ps.log = log
	ps.services = map[types.NamespacedName]*corev1.Service{}
	ps.slices = map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice{}
	ps.nodes = map[string]*nodeProxy{}
}

// ProxyFor listens on nodeIP for every node port, as the node called name; Boot does this for machines. It is for nodes that
// run a real kubelet but, here, no kube-proxy.
func (m *Manager) ProxyFor(name, nodeIP string) error {
	return m.proxies.start(name, DialAddress(nodeIP))
}

// StopProxy ends what ProxyFor began: listeners close and connections through them are reset, at once.
func (m *Manager) StopProxy(name string) { m.proxies.stop(name) }

func (ps *proxies) start(name, ip string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed || ps.nodes[name] != nil {
		return nil
	}
	n := &nodeProxy{name: name, ip: ip, doors: map[int32]*door{}, conns: map[*net.TCPConn]bool{}}
	ps.nodes[name] = n
	var failed []error
	for key := range ps.services {
		failed = append(failed, ps.arrange(n, key))
	}
	return errors.Join(failed...)
}

func (ps *proxies) stop(name string) {
	ps.mu.Lock()
	n := ps.nodes[name]
	delete(ps.nodes, name)
	ps.mu.Unlock()
	if n != nil {
		n.close()
	}
}

// close is without mercy: every connection is reset. The node is off the proxies' list already, so its doors are nobody else's.
func (n *nodeProxy) close() {
	for _, d := range n.doors {
		d.listener.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for c := range n.conns {
		reset(c)
	}
}

// hold takes responsibility for a connection; a closed node resets it instead.
func (n *nodeProxy) hold(c *net.TCPConn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		reset(c)
		return false
	}
	n.conns[c] = true
	return true
}

func (n *nodeProxy) drop(c *net.TCPConn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	c.Close()
}

// close stops every node's proxy and waits for their connections.
func (ps *proxies) close() {
	ps.mu.Lock()
	ps.closed = true
	nodes := slices.Collect(maps.Values(ps.nodes))
	clear(ps.nodes)
	ps.mu.Unlock()
	for _, n := range nodes {
		n.close()
	}
	ps.carrying.Wait()
}

func serviceKey(s *corev1.Service) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

func sliceKey(s *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
}

func (ps *proxies) serviceSeen(s *corev1.Service) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if old := ps.services[serviceKey(s)]; old != nil {
		for port := range portsOf(old) {
			if _, still := portsOf(s)[port]; !still {
				ps.shut(port)
			}
		}
	}
	ps.services[serviceKey(s)] = s
	ps.arrangeAll(serviceKey(s))
}

func (ps *proxies) serviceGone(s *corev1.Service) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.services, serviceKey(s))
	for port := range portsOf(s) {
		ps.shut(port)
	}
}

func (ps *proxies) sliceSeen(s *discoveryv1.EndpointSlice) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := sliceKey(s)
	if ps.slices[key] == nil {
		ps.slices[key] = map[string]*discoveryv1.EndpointSlice{}
	}
	ps.slices[key][s.Name] = s
	ps.arrangeAll(key)
}

func (ps *proxies) sliceGone(s *discoveryv1.EndpointSlice) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := sliceKey(s)
	delete(ps.slices[key], s.Name)
	if len(ps.slices[key]) == 0 {
		delete(ps.slices, key)
	}
	ps.arrangeAll(key)
}

// retry opens doors that did not open before.
func (ps *proxies) retry() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for key := range ps.services {
		ps.arrangeAll(key)
	}
}

func (ps *proxies) shut(port int32) {
	for _, n := range ps.nodes {
		if d := n.doors[port]; d != nil {
			delete(n.doors, port)
			d.listener.Close()
		}
	}
}

func (ps *proxies) arrangeAll(key types.NamespacedName) {
	for _, n := range ps.nodes {
		if err := ps.arrange(n, key); err != nil {
			ps.log.Warn("node port", "node", n.name, "service", key.String(), "error", err)
		}
	}
}

// arrange makes a node's doors for one service what they should be.
func (ps *proxies) arrange(n *nodeProxy, key types.NamespacedName) error {
	var failed []error
	for port, w := range ps.wanted(n, key) {
		d := n.doors[port]
		switch {
		case d == nil && (w.health || len(w.to) > 0):
			listener, err := net.Listen("tcp4", net.JoinHostPort(n.ip, strconv.Itoa(int(port))))
			if err != nil {
				failed = append(failed, err)
				continue
			}
			d = &door{node: n, listener: listener, health: w.health, to: w.to}
			n.doors[port] = d
			ps.carrying.Go(func() { ps.serve(d) })
		case d == nil:
		case !w.health && len(w.to) == 0:
			delete(n.doors, port)
			d.listener.Close()
		default:
			d.mu.Lock()
			d.to = w.to
			d.mu.Unlock()
		}
	}
	return errors.Join(failed...)
}

// portsOf lists the node ports of a service: the service port behind each, nil for the health check port.
func portsOf(s *corev1.Service) map[int32]*corev1.ServicePort {
	out := map[int32]*corev1.ServicePort{}
	if s == nil || s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return out
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 && (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") {
			out[p.NodePort] = p
		}
	}
	if s.Spec.HealthCheckNodePort != 0 {
		out[s.Spec.HealthCheckNodePort] = nil
	}
	return out
}

func (ps *proxies) wanted(n *nodeProxy, key types.NamespacedName) map[int32]want {
	s := ps.services[key]
	out := map[int32]want{}
	ports := portsOf(s)
	var all []string
	for number, p := range ports {
		if p == nil {
			continue
		}
		to := ps.endpoints(n, s, p.Name)
		out[number] = want{to: to}
		all = append(all, to...)
	}
	for number, p := range ports {
		if p == nil {
			out[number] = want{to: all, health: true}
		}
	}
	return out
}

// endpoints lists where a connection may go: the ready endpoints; if there are none, those that terminate but still serve, as
// kube-proxy does since 1.28. A service with externalTrafficPolicy Local has only those of the node itself.
func (ps *proxies) endpoints(n *nodeProxy, s *corev1.Service, port string) []string {
	var ready, leaving []string
	for _, slice := range ps.slices[serviceKey(s)] {
		number := int32(0)
		for _, p := range slice.Ports {
			if p.Port != nil && (p.Name == nil && port == "" || p.Name != nil && *p.Name == port) {
				number = *p.Port
			}
		}
		if number == 0 || slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, e := range slice.Endpoints {
			if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && (e.NodeName == nil || *e.NodeName != n.name) {
				continue
			}
			address := net.JoinHostPort(DialAddress(e.Addresses[0]), strconv.Itoa(int(number)))
			c := e.Conditions
			switch terminating := isTrue(c.Terminating); {
			case (c.Ready == nil || *c.Ready) && !terminating:
				ready = append(ready, address)
			case isTrue(c.Serving) && terminating:
				leaving = append(leaving, address)
			}
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return leaving
}

func (ps *proxies) serve(d *door) {
	if d.health {
		d.serveHealth()
		return
	}
	for {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files, most likely; the listener stays good
			ps.log.Warn("accept", "address", d.listener.Addr().String(), "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		client := conn.(*net.TCPConn)
		if d.node.hold(client) {
			ps.carrying.Go(func() { d.carry(client) })
		}
	}
}

// reset closes a connection such that its peer reads "connection reset" rather than an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

// dialTimeout is generous: on a loopback network only a full accept queue makes a connection wait.
const dialTimeout = 10 * time.Second

// carry forwards one connection until both directions ended.
func (d *door) carry(client *net.TCPConn) {
	defer d.node.drop(client)
	d.mu.Lock()
	to := d.to
	d.mu.Unlock()
	if len(to) == 0 {
		reset(client)
		return
	}
	conn, err := net.DialTimeout("tcp4", to[rand.IntN(len(to))], dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	if !d.node.hold(server) {
		reset(client)
		return
	}
	defer d.node.drop(server)
	splice(client, server)
}

// splice copies both ways. The end of one direction is passed on as just that, so that a client may close its half and still
// read the answer; a break breaks both.
func splice(a, b *net.TCPConn) {
	var back sync.WaitGroup
	oneWay := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.CloseWrite()
		}
		if err != nil && !errors.Is(err, syscall.ENOTCONN) {
			reset(a)
			reset(b)
		}
	}
	back.Go(func() { oneWay(a, b) })
	oneWay(b, a)
	back.Wait()
}

// serveHealth answers a load balancer that asks which nodes have endpoints of their own, in kube-proxy's words.
func (d *door) serveHealth() {
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.mu.Lock()
			n := len(d.to)
			d.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			if n == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"localEndpoints": n})
		}),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				d.node.hold(c.(*net.TCPConn))
			case http.StateClosed:
				d.node.drop(c.(*net.TCPConn))
			}
		},
	}
	_ = server.Serve(d.listener) // until the door closes
}
