// Package plane runs a real Kubernetes control plane for the sandbox: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, as child processes
// on loopback ports, with data, certificates and logs in one folder.
//
// Start brings one up in seconds and Stop takes it down; what was stored stays in
// the folder, and another Start goes on from there. The binary comes from Find,
// which builds it from the module in controlplane/ when there is none yet. Nodes
// are not part of a plane: simulated machines register themselves through its
// API (MachineTLS lets it come to them), and StartKubelet adds real ones.
//
// It refuses to be more than a sandbox: one member, one user with all rights,
// no fsync, nothing that listens beyond loopback. On Linux its processes die with
// the process that started them, however that one ends.
package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say what Start starts. Only Dir has no default.
type Options struct {
	// Dir holds all that the plane writes; made if missing, kept by Stop.
	Dir string

	// Binary is the control plane to run; by default what Find finds.
	Binary string

	// Progress is told, in lines for people, what takes long; by default nothing.
	Progress io.Writer
}

// readyWithin bounds a start even when the caller's context does not. A cold
// machine needs about ten seconds.
const readyWithin = 2 * time.Minute

// Plane is a running control plane. Its methods may be called from anywhere.
type Plane struct {
	opt      Options
	settings settings
	ca       *authority
	ports    ports
	config   *rest.Config
	unlock   func()

	stopOnce sync.Once
	stopping chan struct{} // closed when the end begins
	done     chan struct{} // closed when the end is complete

	mu       sync.Mutex
	children []*child // in the order of their start
	kubelets []*Kubelet
	err      error
}

// Start brings a control plane up and returns once the API is ready and pods can
// be created in the default namespace. The context bounds the start only; the
// plane runs until Stop, or until one of its processes ends.
func Start(ctx context.Context, opt Options) (*Plane, error) {
	p, err := prepare(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := p.launch(ctx); err != nil {
		p.end(err)
		return nil, fmt.Errorf("start control plane: %w", p.Err())
	}
	return p, nil
}

// Kubeconfig is a file for kubectl and other clients; its user may do everything.
func (p *Plane) Kubeconfig() string { return p.settings.kubeconfig }

// Config is the same for client-go: a copy, without a limit on queries.
func (p *Plane) Config() *rest.Config { return rest.CopyConfig(p.config) }

// Done is closed when nothing of the plane runs any more; Err then says why.
func (p *Plane) Done() <-chan struct{} { return p.done }

// Err is nil while the plane runs and after a Stop. If a process ended by itself,
// it says which, and quotes the end of its log.
func (p *Plane) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Stop ends the kubelets at once, then the components in reverse order of their
// start, and returns when none is left. It may be called more than once.
func (p *Plane) Stop() {
	p.end(nil)
}

// prepare makes everything that the components read.
func prepare(ctx context.Context, opt Options) (*Plane, error) {
	if opt.Dir == "" {
		return nil, errors.New("no folder given")
	}
	if opt.Progress == nil {
		opt.Progress = io.Discard
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return nil, err
	}
	opt.Dir = dir
	if opt.Binary == "" {
		if opt.Binary, err = Find(ctx, opt.Progress); err != nil {
			return nil, err
		}
	}
	p := &Plane{opt: opt, stopping: make(chan struct{}), done: make(chan struct{})}
	if err := p.claimDir(); err != nil {
		return nil, err
	}
	if err := p.configure(time.Now()); err != nil {
		p.unlock()
		p.ports.release()
		return nil, err
	}
	return p, nil
}

// claimDir makes the folder ours alone: two etcds over the same data would wait
// for each other in silence.
func (p *Plane) claimDir() error {
	for _, dir := range []string{p.opt.Dir, p.path("pki"), p.path("logs"), p.path("etcd")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	unlock, err := tryLock(p.path("lock"))
	if err != nil {
		return fmt.Errorf("%s is in use by another control plane: %w", p.opt.Dir, err)
	}
	p.unlock = unlock
	return nil
}

func (p *Plane) path(parts ...string) string {
	return filepath.Join(append([]string{p.opt.Dir}, parts...)...)
}

// configure makes certificates, ports and files. Ports are new at every start.
func (p *Plane) configure(now time.Time) error {
	var err error
	if p.ca, err = openAuthority(p.path("pki"), now); err != nil {
		return err
	}
	s := &p.settings
	s.caFile, s.dataDir = p.ca.caFile(), p.path("etcd")
	s.kubeconfig, s.schedulerFile = p.path("kubeconfig"), p.path("scheduler.json")
	s.serviceKey = p.path("pki", "service-account.key")
	if err := keepKey(s.serviceKey); err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	for _, port := range []*int{&s.etcdPort, &s.peerPort, &s.apiPort, &s.controllerPort, &s.schedulerPort} {
		if *port, err = p.ports.reserve(); err != nil {
			return err
		}
	}
	if s.server, err = p.ca.issue("server", serverSubject(), now); err != nil {
		return err
	}
	if s.admin, err = p.ca.issue("admin", subject{name: "drover-sandbox-admin", group: "system:masters"}, now); err != nil {
		return err
	}
	if s.streams, err = p.ca.issue("kubelet-client", subject{name: streamsClient, group: "system:masters"}, now); err != nil {
		return err
	}
	if err := writeKubeconfig(s.kubeconfig, p.server(), s.caFile, s.admin); err != nil {
		return err
	}
	if err := s.writeSchedulerFile(); err != nil {
		return err
	}
	if p.config, err = clientcmd.BuildConfigFromFlags("", s.kubeconfig); err != nil {
		return err
	}
	p.config.QPS = -1 // no limit: see clientQPS
	return nil
}

func (p *Plane) server() string { return fmt.Sprintf("https://127.0.0.1:%d", p.settings.apiPort) }

func serverSubject() subject {
	return subject{
		name:  "drover-sandbox-server",
		hosts: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		ips:   []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}
}

// launch starts the components, each when it can do its work: those that start
// too early only take the processor from the others.
func (p *Plane) launch(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(p.config)
	if err != nil {
		return err
	}
	if err := p.run("etcd", p.settings.etcd()); err != nil {
		return err
	}
	if err := p.run("kube-apiserver", p.settings.apiServer()); err != nil {
		return err
	}
	if err := p.wait(ctx, "the API to be ready", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	if err := p.run("kube-controller-manager", p.settings.controllerManager()); err != nil {
		return err
	}
	if err := p.run("kube-scheduler", p.settings.scheduler()); err != nil {
		return err
	}
	return p.wait(ctx, "the default service account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// wait asks again and again until the answer is no error, the context ends, or
// one of our processes does.
func (p *Plane) wait(ctx context.Context, what string, ask func(context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.stopping:
			<-p.done
			return fmt.Errorf("wait for %s: %w", what, p.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last answer was: %w", what, ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// run starts one component and has it watched.
func (p *Plane) run(name string, args []string) error {
	cmd := exec.Command(p.opt.Binary, args...)
	cmd.Args[0] = name // the binary goes by its name; so does ps
	cmd.Dir = p.opt.Dir
	// etcd takes settings from the environment, clients take proxies from there.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.opt.Dir}
	c, err := startChild(name, p.path("logs", name+".log"), cmd)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.children = append(p.children, c)
	p.mu.Unlock()
	go func() {
		<-c.gone
		p.end(c.obituary()) // nothing happens if we are the ones who end it
	}()
	return nil
}

// end stops everything, once; the first caller's reason is kept. All callers
// return after the end.
func (p *Plane) end(reason error) {
	p.stopOnce.Do(func() {
		p.mu.Lock()
		p.err = reason
		children, kubelets := p.children, p.kubelets
		p.mu.Unlock()
		close(p.stopping)
		var machines sync.WaitGroup
		for _, k := range kubelets {
			machines.Go(func() { k.Kill() }) // what it could not remove, its Err says
		}
		machines.Wait()
		for i := len(children) - 1; i >= 0; i-- {
			children[i].stop(stopPatience)
		}
		p.ports.release()
		p.unlock()
		close(p.done)
	})
	<-p.done
}
