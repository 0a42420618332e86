package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// podLocks holds a file for each pod network in use on this host: the bridge that
// joins pods is shared by all sandboxes.
const podLocks = "/run/lock/drover"

// cleanWithin bounds the removal of what a killed kubelet left behind.
const cleanWithin = 30 * time.Second

// KubeletOptions say what machine a kubelet is. Only Name has no default.
type KubeletOptions struct {
	Name       string
	ProviderID string // aws:///zone/i-...

	// Dir holds the node's files, its log and those of its pods among them; by
	// default a folder of the plane's.
	Dir string

	// PodCIDR is a /24 out of 10.210.0.0/16; by default one that no sandbox on this
	// host uses.
	PodCIDR netip.Prefix

	// NodeIP is given to the host, on the bridge of the pods, and hides whatever
	// else has that address; by default the first address of PodCIDR.
	NodeIP netip.Addr

	Labels map[string]string
	Taints []corev1.Taint

	// Capacity: by default that of a t3.medium, 2 processors, 4Gi and 17 pods.
	CPU    int
	Memory string
	Pods   int

	// Path is where containers find commands before the host's own; may be empty.
	Path string

	// PullTime is how long an image takes to pull; nothing is ever pulled.
	PullTime time.Duration
}

// Kubelet is one running node with the real kubelet on it.
type Kubelet struct {
	opt     KubeletOptions
	binary  string
	child   *child
	unclaim func()

	endOnce sync.Once
	done    chan struct{}
	err     error // read after done
}

// StartKubelet starts a machine of the plane. It returns when the process runs;
// the Node registers itself about a second later. The machine runs until Kill, or
// the end of the plane. See KubeletSupported for what it takes.
func (p *Plane) StartKubelet(ctx context.Context, opt KubeletOptions) (*Kubelet, error) {
	k, err := p.startKubelet(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("start kubelet %s: %w", opt.Name, err)
	}
	return k, nil
}

// Name is the Node's.
func (k *Kubelet) Name() string { return k.opt.Name }

// NodeIP and PodCIDR are those asked for, or chosen.
func (k *Kubelet) NodeIP() netip.Addr    { return k.opt.NodeIP }
func (k *Kubelet) PodCIDR() netip.Prefix { return k.opt.PodCIDR }

// Done is closed when the machine is gone with all that ran on it; Err then says
// why, and is nil after Kill.
func (k *Kubelet) Done() <-chan struct{} { return k.done }

// Err is nil until Done.
func (k *Kubelet) Err() error {
	select {
	case <-k.done:
		return k.err
	default:
		return nil
	}
}

// Kill switches the machine off: no process on it gets to do anything more. It
// returns when nothing is left on this host but the machine's folder. The Node
// and Pod objects stay, as they do when a real machine is lost.
func (k *Kubelet) Kill() error {
	k.end(nil)
	return k.err
}

func (p *Plane) startKubelet(ctx context.Context, opt KubeletOptions) (*Kubelet, error) {
	if err := opt.complete(p.opt.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, err
	}
	unclaim, err := p.claim(ctx, &opt)
	if err != nil {
		return nil, err
	}
	k := &Kubelet{opt: opt, binary: p.opt.Binary, unclaim: unclaim, done: make(chan struct{})}
	if err := p.launchKubelet(ctx, k); err != nil {
		unclaim()
		return nil, err
	}
	go func() {
		<-k.child.gone
		k.end(k.child.obituary()) // nothing happens if we are the ones who end it
	}()
	return k, nil
}

func (o *KubeletOptions) complete(planeDir string) error {
	if o.Name == "" {
		return errors.New("no name given")
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(planeDir, "nodes", o.Name)
	}
	if o.CPU == 0 {
		o.CPU = 2
	}
	if o.Memory == "" {
		o.Memory = "4Gi"
	}
	if o.Pods == 0 {
		o.Pods = 17
	}
	return nil
}

// launchKubelet makes what the kubelet reads and starts it. Holding the lock keeps
// a plane that stops from missing a machine that starts.
func (p *Plane) launchKubelet(ctx context.Context, k *Kubelet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kubeconfig, serving, err := p.nodeCredentials(k.opt)
	if err != nil {
		return err
	}
	cmd := exec.Command(k.binary, append(k.opt.flags(),
		"--kubeconfig="+kubeconfig,
		"--client-ca-file="+p.settings.caFile,
		"--tls-cert-file="+serving.cert,
		"--tls-private-key-file="+serving.key)...)
	cmd.Args[0] = "kubelet"
	cmd.Dir = k.opt.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + k.opt.Dir}
	containKubelet(cmd)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stopping:
		return errors.New("the control plane has stopped")
	default:
	}
	if k.child, err = startChild("kubelet", filepath.Join(k.opt.Dir, "kubelet.log"), cmd); err != nil {
		return err
	}
	p.kubelets = append(p.kubelets, k)
	return nil
}

// nodeCredentials let the kubelet be exactly this node, and serve at its address.
func (p *Plane) nodeCredentials(o KubeletOptions) (kubeconfig string, serving keyPair, err error) {
	now := time.Now()
	client, err := p.ca.issue("node-"+o.Name, subject{name: "system:node:" + o.Name, group: "system:nodes"}, now)
	if err != nil {
		return "", keyPair{}, err
	}
	serving, err = p.ca.issue("serving-"+o.Name, subject{name: o.Name, hosts: []string{o.Name}, ips: []net.IP{o.NodeIP.AsSlice()}}, now)
	if err != nil {
		return "", keyPair{}, err
	}
	kubeconfig = filepath.Join(o.Dir, "kubeconfig")
	return kubeconfig, serving, writeKubeconfig(kubeconfig, p.server(), p.settings.caFile, client)
}

func (o *KubeletOptions) flags() []string {
	return []string{
		"--contained",
		"--node-name=" + o.Name,
		"--provider-id=" + o.ProviderID,
		"--node-ip=" + o.NodeIP.String(),
		"--pod-cidr=" + o.PodCIDR.String(),
		"--data=" + o.Dir,
		"--labels=" + joinLabels(o.Labels),
		"--taints=" + joinTaints(o.Taints),
		"--cpu=" + strconv.Itoa(o.CPU),
		"--memory=" + o.Memory,
		"--pods=" + strconv.Itoa(o.Pods),
		"--path=" + o.Path,
		"--pull-time=" + o.PullTime.String(),
	}
}

func joinLabels(labels map[string]string) string {
	var items []string
	for k, v := range labels {
		items = append(items, k+"="+v)
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}

func joinTaints(taints []corev1.Taint) string {
	var items []string
	for _, t := range taints {
		items = append(items, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
	}
	return strings.Join(items, ",")
}

// end makes sure, once, that nothing of the machine is left; the first caller's
// reason is kept. All callers return after the end.
func (k *Kubelet) end(reason error) {
	k.endOnce.Do(func() {
		k.child.kill() // returns after the last process of its PID namespace
		if err := cleanKubelet(context.Background(), k.binary, k.opt.Dir); err != nil {
			reason = errors.Join(reason, err)
		}
		k.unclaim()
		k.err = reason
		close(k.done)
	})
	<-k.done
}

// cleanKubelet removes what a kubelet that no longer runs has left in the network.
func cleanKubelet(ctx context.Context, binary, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanWithin)
	defer cancel()
	if out, err := exec.CommandContext(ctx, binary, "kubelet-clean", "--data="+dir).CombinedOutput(); err != nil {
		return fmt.Errorf("clean up after the kubelet of %s: %w: %s", dir, err, out)
	}
	return nil
}

// claim makes a folder and a pod network the machine's own, until unclaimed or the
// end of this process. If that end was sudden, the next claim cleans up.
func (p *Plane) claim(ctx context.Context, o *KubeletOptions) (unclaim func(), err error) {
	leaveDir, err := tryLock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("%s is in use by another kubelet: %w", o.Dir, err)
	}
	file, leaveNetwork, err := claimPodCIDR(o)
	if err != nil {
		leaveDir()
		return nil, err
	}
	leave := func() { leaveNetwork(); leaveDir() }
	if last, err := os.ReadFile(file); err == nil && len(last) > 0 {
		if err := cleanKubelet(ctx, p.opt.Binary, string(last)); err != nil {
			leave()
			return nil, err
		}
	}
	if err := os.WriteFile(file, []byte(o.Dir), 0o600); err != nil {
		leave()
		return nil, fmt.Errorf("claim pod network: %w", err)
	}
	return func() { os.Truncate(file, 0); leave() }, nil
}

// claimPodCIDR completes the addresses of a machine, and locks the file that
// stands for its pod network.
func claimPodCIDR(o *KubeletOptions) (file string, leave func(), err error) {
	candidates := []netip.Prefix{o.PodCIDR}
	if !o.PodCIDR.IsValid() {
		candidates = nil
		for n := byte(1); n < 255; n++ {
			candidates = append(candidates, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 210, n, 0}), 24))
		}
	}
	for _, prefix := range candidates {
		file = filepath.Join(podLocks, prefix.Addr().String()+".lock")
		leave, err = tryLock(file)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("claim pod network %s: %w", prefix, err)
		}
		o.PodCIDR = prefix
		if !o.NodeIP.IsValid() {
			o.NodeIP = prefix.Addr().Next()
		}
		return file, leave, nil
	}
	return "", nil, fmt.Errorf("claim pod network: all of %d in use by kubelets on this host: %w", len(candidates), err)
}

// KubeletSupported is nil if this machine can run kubelets, and else says why not.
// It tries what they need, in a network namespace that it removes again.
func KubeletSupported() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("kubelets need root: this is user %d", os.Geteuid())
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("kubelets need ip(8), package iproute2: %w", err)
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("kubelets need Linux: %w", err)
	}
	if !slices.Contains(strings.Fields(string(known)), "overlay") {
		return errors.New("kubelets need the overlay file system: try modprobe overlay")
	}
	inside := exec.Command("ip", "-V")
	containKubelet(inside)
	if err := spawnAndWait(inside); err != nil {
		return fmt.Errorf("kubelets need PID and mount namespaces: %w", err)
	}
	name := fmt.Sprintf("drover-try-%d", os.Getpid())
	if err := ipCommand("netns", "add", name); err != nil {
		return fmt.Errorf("kubelets need network namespaces: %w", err)
	}
	defer ipCommand("netns", "delete", name)
	if err := ipCommand("-n", name, "link", "add", "try0", "type", "bridge"); err != nil {
		return fmt.Errorf("kubelets need a bridge: %w", err)
	}
	if err := ipCommand("-n", name, "link", "add", "try1", "type", "veth", "peer", "name", "try2"); err != nil {
		return fmt.Errorf("kubelets need veth pairs: %w", err)
	}
	return nil
}

func spawnAndWait(cmd *exec.Cmd) error {
	if err := spawn(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func ipCommand(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
