package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"drover.dev/sandbox/machine"
)

// Names is what cluster DNS would say of the headless services of one namespace: a service's name has the addresses of its ready pods, and
// POD.SERVICE one pod's. Pods without a DNS of their own read it as a file in the form of /etc/hosts; clients on this machine dial through it.
// Nothing is cached, as if every record had a TTL of zero.
type Names struct {
	file   string
	cancel context.CancelFunc
	work   informers.SharedInformerFactory

	mu     sync.Mutex
	slices map[string]*discoveryv1.EndpointSlice // by name
	turn   int
	err    error // of the last write
}

// keepNames starts to keep the file; Close ends that.
func keepNames(ctx context.Context, client kubernetes.Interface, namespace, file string) (*Names, error) {
	n := &Names{file: file, slices: map[string]*discoveryv1.EndpointSlice{}}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	if err := n.write(); err != nil {
		return nil, err
	}
	n.work = informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := n.work.Discovery().V1().EndpointSlices().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.learn(o, true) },
		UpdateFunc: func(_, o any) { n.learn(o, true) },
		DeleteFunc: func(o any) { n.learn(o, false) },
	}); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	var life context.Context
	life, n.cancel = context.WithCancel(context.Background())
	n.work.StartWithContext(life)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		n.Close()
		return nil, fmt.Errorf("names: list the endpoints: %w", context.Cause(ctx))
	}
	return n, nil
}

// Close stops keeping the file.
func (n *Names) Close() {
	n.cancel()
	n.work.Shutdown()
}

func (n *Names) learn(object any, there bool) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if there {
		n.slices[slice.Name] = slice
	} else {
		delete(n.slices, slice.Name)
	}
	n.err = n.write()
}

// write replaces the file as a whole, so that nobody reads half of it. Callers hold mu.
func (n *Names) write() error {
	var b strings.Builder
	table := n.table()
	for _, name := range slices.Sorted(maps.Keys(table)) {
		for _, host := range table[name] {
			fmt.Fprintf(&b, "%s %s\n", host, name)
		}
	}
	if err := os.WriteFile(n.file+".new", []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if err := os.Rename(n.file+".new", n.file); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	return nil
}

// table lists addresses by name. Callers hold mu.
func (n *Names) table() map[string][]string {
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(n.slices)) {
		slice := n.slices[name]
		service := slice.Labels[discoveryv1.LabelServiceName]
		for _, e := range slice.Endpoints {
			if service == "" || e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			host := machine.DialAddress(e.Addresses[0])
			out[service] = append(out[service], host)
			if e.TargetRef != nil {
				out[e.TargetRef.Name+"."+service] = []string{host}
			}
		}
	}
	return out
}

// Hosts are the addresses behind a name; none when it has none now.
func (n *Names) Hosts(name string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.table()[name], n.err
}

// Dial connects to an address, whose host may be a name: then to one of those behind it, the next one each time.
func (n *Names) Dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	if net.ParseIP(host) == nil {
		if host, err = n.next(host); err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
	}
	return (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "tcp4", net.JoinHostPort(host, port))
}

// dialLimit is what both client libraries have when nobody sets one.
const dialLimit = 5 * time.Second

func (n *Names) next(name string) (string, error) {
	hosts, err := n.Hosts(name)
	if len(hosts) == 0 {
		return "", cmp.Or(err, fmt.Errorf("no such host: no pod of %s is ready", name))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.turn++
	return hosts[n.turn%len(hosts)], nil
}
