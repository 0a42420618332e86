package machine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Options of a Manager. Client is required; Dir only for process pods.
type Options struct {
	Client kubernetes.Interface
	Dir    string        // logs and volumes of process pods
	Path   []string      // looked through before PATH for the programs of process pods
	Speed  float64       // divides the durations of simulated pods; 0 means 1
	Ready  time.Duration // from registration to a Ready node, 0 means 1s; divided by Speed
	Log    *slog.Logger

	// Streams is what a machine of this address serves kubectl exec, port-forward and logs with; whom it lets in may do all of that. When it
	// is nil, no machine does.
	Streams func(address net.IP) (*tls.Config, error)
}

// Manager runs all machines of a sandbox.
type Manager struct {
	Options
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // the manager's own goroutines
	lives  sync.WaitGroup // those of pods
	pods   cache.SharedIndexInformer
	writes workqueue.TypedRateLimitingInterface[*pod]
	thread chan func() // see onThread

	mu       sync.Mutex
	threaded bool
	machines map[string]*Machine
	closed   bool

	proxies proxies
}

// writers bounds the status writes in flight, whatever the number of pods. The API server of a laptop is no faster with more.
const writers = 16

const byNode = "node"

// New starts a Manager and returns once it knows the cluster's pods and services. It lives until Close or the end of ctx;
// Close has to be called in both cases.
func New(ctx context.Context, o Options) (*Manager, error) {
	if o.Client == nil {
		return nil, errors.New("machine: Options.Client is missing")
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Speed < 0 {
		return nil, fmt.Errorf("machine: Options.Speed is %v, want more than 0", o.Speed)
	}
	if o.Ready == 0 {
		o.Ready = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir != "" {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("machine: Options.Dir %s: %w", o.Dir, err)
		}
		o.Dir = dir
	}
	m := &Manager{Options: o, machines: map[string]*Machine{}, thread: make(chan func())}
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.proxies.init(o.Log)
	m.writes = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[*pod](50*time.Millisecond, 5*time.Second))
	if err := m.watch(); err != nil {
		m.Close()
		return nil, err
	}
	for range writers {
		m.work.Go(m.writeStatuses)
	}
	m.work.Go(m.beat)
	return m, nil
}

// watch starts the three informers that all machines share.
func (m *Manager) watch() error {
	bound := informers.NewSharedInformerFactoryWithOptions(m.Client, 0,
		informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
		}))
	m.pods = bound.Core().V1().Pods().Informer()
	err := m.pods.AddIndexers(cache.Indexers{byNode: func(o any) ([]string, error) { return []string{o.(*corev1.Pod).Spec.NodeName}, nil }})
	if err != nil {
		return fmt.Errorf("machine: index pods by node: %w", err)
	}
	all := informers.NewSharedInformerFactoryWithOptions(m.Client, 0, informers.WithTransform(slim))
	services, slices := all.Core().V1().Services().Informer(), all.Discovery().V1().EndpointSlices().Informer()

	var synced []cache.InformerSynced
	for _, w := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandlerFuncs
	}{
		{m.pods, onEach(m.podSeen, m.podGone)},
		{services, onEach(m.proxies.serviceSeen, m.proxies.serviceGone)},
		{slices, onEach(m.proxies.sliceSeen, m.proxies.sliceGone)},
	} {
		handle, err := w.informer.AddEventHandler(w.handler)
		if err != nil {
			return fmt.Errorf("machine: watch the cluster: %w", err)
		}
		synced = append(synced, handle.HasSynced)
	}
	for _, f := range []informers.SharedInformerFactory{bound, all} {
		f.Start(m.ctx.Done())
		m.work.Go(func() { <-m.ctx.Done(); f.Shutdown() })
	}
	if !cache.WaitForCacheSync(m.ctx.Done(), synced...) {
		return fmt.Errorf("machine: learn the cluster's pods and services: %w", context.Cause(m.ctx))
	}
	return nil
}

// slim drops what nobody here reads and what is the larger half of most objects.
func slim(o any) (any, error) {
	if meta, ok := o.(metav1.Object); ok {
		meta.SetManagedFields(nil)
	}
	return o, nil
}

func onEach[T any](seen, gone func(T)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen(o.(T)) },
		UpdateFunc: func(_, o any) { seen(o.(T)) },
		DeleteFunc: func(o any) {
			if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if t, ok := o.(T); ok {
				gone(t)
			}
		},
	}
}

func (m *Manager) podSeen(p *corev1.Pod) {
	if mach := m.machine(p.Spec.NodeName); mach != nil {
		mach.seen(p)
	}
}

func (m *Manager) podGone(p *corev1.Pod) {
	if mach := m.machine(p.Spec.NodeName); mach != nil {
		mach.gone(p)
	}
}

func (m *Manager) machine(name string) *Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machines[name]
}

// Machines returns the machines that were booted and not removed, by name.
func (m *Manager) Machines() []*Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Machine
	for _, name := range slices.Sorted(maps.Keys(m.machines)) {
		out = append(out, m.machines[name])
	}
	return out
}

// Boot registers a machine's node, not ready yet, and gives the node a life. It returns once the node is registered; the node
// is ready Options.Ready later. A node of that name that already is this instance's (the sandbox was restarted) is adopted.
func (m *Manager) Boot(spec Spec) (*Machine, error) {
	mach, err := newMachine(m, spec)
	if err != nil {
		return nil, fmt.Errorf("boot %s: %w", spec.Name, err)
	}
	m.mu.Lock()
	if old := m.machines[spec.Name]; m.closed || old != nil && old.Alive() {
		closed := m.closed
		m.mu.Unlock()
		mach.die()
		if closed {
			return nil, fmt.Errorf("boot %s: the manager is closed", spec.Name)
		}
		return nil, fmt.Errorf("boot %s: a machine of that name is alive", spec.Name)
	}
	m.machines[spec.Name] = mach
	m.mu.Unlock()

	if err := mach.register(); err != nil {
		m.mu.Lock()
		delete(m.machines, spec.Name)
		m.mu.Unlock()
		mach.die()
		return nil, fmt.Errorf("boot %s: %w", spec.Name, err)
	}
	if err := m.ProxyFor(spec.Name, spec.NodeIP); err != nil {
		m.Log.Error("node ports", "node", spec.Name, "error", err)
	}
	m.Log.Info("machine booted", "node", spec.Name, "instance", spec.InstanceID, "group", spec.Group)
	m.work.Go(mach.becomeReady)
	return mach, nil
}

// Kill is what EC2's termination looks like from inside: everything on the machine stops between two instructions and the
// cluster is told nothing. When Kill returns, no process of the machine lives. Unknown names are ignored.
func (m *Manager) Kill(name string) {
	mach := m.machine(name)
	if mach == nil {
		return
	}
	mach.die()
	m.StopProxy(name)
	m.Log.Info("machine killed", "node", name)
}

// Remove deletes the Node of a machine, as the cloud controller does once EC2 says terminated; a machine that still lives is
// killed first. The pods that it had stay until the control plane's garbage collector finds them without a node.
func (m *Manager) Remove(ctx context.Context, name string) error {
	mach := m.machine(name)
	if mach == nil {
		return fmt.Errorf("remove %s: no such machine", name)
	}
	m.Kill(name)
	err := m.Client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &mach.uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove %s: delete its node: %w", name, err)
	}
	m.mu.Lock()
	if m.machines[name] == mach {
		delete(m.machines, name)
	}
	m.mu.Unlock()
	return nil
}

// Close kills every machine and waits until nothing of the manager runs any more. The cluster's objects stay as they are.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, mach := range m.Machines() {
		mach.die()
	}
	m.proxies.close()
	m.cancel()
	m.writes.ShutDown()
	m.lives.Wait()
	m.work.Wait()
	close(m.thread)
}

// scaled is d as a simulated machine lives it.
func (m *Manager) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / m.Speed)
}

func (m *Manager) writeStatuses() {
	for {
		p, quit := m.writes.Get()
		if quit {
			return
		}
		if err := p.write(); err != nil && m.ctx.Err() == nil {
			m.Log.Warn("write pod status", "pod", p.String(), "error", err)
			m.writes.AddRateLimited(p)
		} else {
			m.writes.Forget(p)
		}
		m.writes.Done(p)
	}
}

// LogFile is where the output of a process pod's container goes.
func (m *Manager) LogFile(namespace, pod string, uid types.UID, container string) string {
	return filepath.Join(m.podDir(namespace, pod, uid), container+".log")
}

func (m *Manager) podDir(namespace, pod string, uid types.UID) string {
	return filepath.Join(m.Dir, "pods", fmt.Sprintf("%s_%s_%s", namespace, pod, uid))
}
