// Package node runs one node of a sandbox: the real kubelet, over the container
// runtime of package container, in PID and mount namespaces of its own.
//
// The namespaces make it a machine that can be switched off: when its first
// process is killed, the kernel kills everything that ran on it and forgets
// everything it mounted. Clean then removes what it left in the host's network.
//
// It is a kubelet without cgroups and without cAdvisor: it neither limits nor
// measures, and evicts no pod. Two nodes must not share an address or a pod
// network, on the whole host.
package node

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"drover.dev/controlplane/container"
)

// Options are the flags of the command; Flags describes them.
type Options struct {
	Kubeconfig  string
	Name        string
	ProviderID  string
	IP          netip.Addr
	PodCIDR     netip.Prefix
	Data        string
	Labels      map[string]string
	Taints      []corev1.Taint
	CPU         int
	Memory      resource.Quantity
	Pods        int
	Path        string
	PullTime    time.Duration
	ClientCA    string
	ServingCert string
	ServingKey  string

	contained bool
}

// Parse reads a command line.
func Parse(args []string) (Options, error) {
	o := Options{Memory: resource.MustParse("4Gi")}
	f := flag.NewFlagSet("kubelet", flag.ContinueOnError)
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "how to reach the API, as a user that may be this node")
	f.StringVar(&o.Name, "node-name", "", "name of the Node object")
	f.StringVar(&o.ProviderID, "provider-id", "", "spec.providerID of the Node, aws:///zone/i-...")
	f.TextVar(&o.IP, "node-ip", netip.Addr{}, "internal address of the node; the host gets it, on its bridge (default: the first of --pod-cidr)")
	f.TextVar(&o.PodCIDR, "pod-cidr", netip.Prefix{}, "addresses of this node's pods, a /24 out of 10.210.0.0/16")
	f.StringVar(&o.Data, "data", "", "folder of this node's files")
	f.Func("labels", "labels of the Node, k=v,...", o.parseLabels)
	f.Func("taints", "taints to register with, key=value:Effect,...", o.parseTaints)
	f.IntVar(&o.CPU, "cpu", 2, "processors of the node")
	f.Func("memory", "memory of the node (default 4Gi)", o.parseMemory)
	f.IntVar(&o.Pods, "pods", 29, "most pods on the node")
	f.StringVar(&o.Path, "path", "", "folder in which containers find commands first")
	f.DurationVar(&o.PullTime, "pull-time", time.Second, "how long an image takes to pull")
	f.StringVar(&o.ClientCA, "client-ca-file", "", "who may ask this kubelet for logs; nobody without")
	f.StringVar(&o.ServingCert, "tls-cert-file", "", "certificate of the kubelet's own server (default: self-signed)")
	f.StringVar(&o.ServingKey, "tls-private-key-file", "", "key of that certificate")
	f.BoolVar(&o.contained, "contained", false, "the caller has started this in new PID and mount namespaces")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.complete(f.Args())
}

func (o *Options) complete(rest []string) error {
	for name, value := range map[string]string{"--kubeconfig": o.Kubeconfig, "--node-name": o.Name, "--data": o.Data} {
		if value == "" {
			return fmt.Errorf("kubelet: %s is missing", name)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("kubelet: unexpected argument %q", rest[0])
	}
	if !o.PodCIDR.IsValid() {
		return fmt.Errorf("kubelet: --pod-cidr is missing")
	}
	if !o.IP.IsValid() {
		o.IP = o.PodCIDR.Masked().Addr().Next()
	}
	if !o.IP.Is4() || o.IP.IsLoopback() {
		return fmt.Errorf("kubelet: --node-ip %s: a kubelet registers an IPv4 address that is not loopback", o.IP)
	}
	for _, file := range []*string{&o.Data, &o.Kubeconfig, &o.Path, &o.ClientCA, &o.ServingCert, &o.ServingKey} {
		if *file == "" {
			continue
		}
		absolute, err := filepath.Abs(*file)
		if err != nil {
			return fmt.Errorf("kubelet: %w", err)
		}
		*file = absolute
	}
	return nil
}

func (o *Options) parseLabels(text string) error {
	o.Labels = map[string]string{}
	for item := range splitList(text) {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("label %q: want key=value", item)
		}
		o.Labels[key] = value
	}
	return nil
}

func (o *Options) parseTaints(text string) error {
	for item := range splitList(text) {
		rest, effect, ok := strings.Cut(item, ":")
		if !ok {
			return fmt.Errorf("taint %q: want key=value:Effect", item)
		}
		key, value, _ := strings.Cut(rest, "=")
		o.Taints = append(o.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	return nil
}

func (o *Options) parseMemory(text string) (err error) {
	o.Memory, err = resource.ParseQuantity(text)
	return err
}

// splitList yields the items of a list with commas, none for an empty text.
func splitList(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(text, ",") {
			if item != "" && !yield(item) {
				return
			}
		}
	}
}

// Run is the node's life: it returns when it was told to end, or could not go on.
func Run(ctx context.Context, args []string) error {
	o, err := Parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	if !o.contained {
		return contain(ctx, args, o.Data)
	}
	return runKubelet(ctx, o)
}

// Clean removes what a node that is no more has left behind; see container.Clean.
func Clean(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("kubelet-clean", flag.ContinueOnError)
	data := f.String("data", "", "the --data of the node")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *data == "" {
		return fmt.Errorf("kubelet-clean: --data is missing")
	}
	return container.Clean(ctx, networkFile(*data))
}

// networkFile is where a node notes what Clean must know.
func networkFile(data string) string { return filepath.Join(data, "network.json") }
