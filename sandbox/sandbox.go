// Package sandbox is a whole AWS region with an EKS-like cluster in it, on one machine: a real Kubernetes control plane (plane), a state
// machine for AWS (cloud) that speaks AWS's own protocols (wire), machines that register as nodes and run pods (machine), a load
// balancer that carries traffic (balancer), and PostgreSQL servers behind RDS (database).
//
// Start composes them into a World. Whoever talks to it needs a kubeconfig and an endpoint URL, nothing else: drover, kubectl and the aws
// command line work against it unchanged. All of it lives on this machine's own addresses, and dies with the process that started it.
//
// What is not simulated is refused with an error that says so.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/machine"
	"drover.dev/sandbox/plane"
	"drover.dev/sandbox/wire"
)

// Machines says what runs the pods of an instance.
type Machines string

// Kinds of machines.
const (
	Auto    Machines = "auto"    // Kubelet where this machine allows it, else Light
	Light   Machines = "light"   // a simulated node; process pods on loopback addresses. Cheap, needs no rights.
	Kubelet Machines = "kubelet" // the real kubelet; process pods in network namespaces of their own. Needs root.
)

// MachineTag on a group chooses the kind of its machines, whatever the sandbox's default is.
const MachineTag = "sandbox.drover.dev/machine"

// LabelTag is the prefix of group tags that become node labels, as cluster-autoscaler reads them.
const LabelTag = "k8s.io/cluster-autoscaler/node-template/label/"

// GroupLabel is the label by which a node names its Auto Scaling group.
const GroupLabel = "sandbox.drover.dev/group"

// Options of a World. Dir is required.
type Options struct {
	Dir      string       // data, logs, kubeconfig
	Binary   string       // control plane binary; found or built when empty
	Progress io.Writer    // what is being done, for people
	Timing   cloud.Timing // how long AWS takes
	Speed    float64      // divides AWS's and pods' durations; 0 means 1
	Machines Machines     // default Auto
	Program  string       // folder of the drover program, put on the PATH of process pods
}

// World is a running sandbox.
type World struct {
	Options
	Plane    *plane.Plane
	Cloud    *cloud.Cloud
	Nodes    *machine.Manager
	Balancer *balancer.Balancer
	Endpoint string // URL of AWS

	databases databases
	client    kubernetes.Interface
	network   *network
	server    *http.Server
	log       *slog.Logger
	logFile   *os.File
	cancel    context.CancelFunc
	work      sync.WaitGroup
	mu        sync.Mutex
	kubelets  map[string]*plane.Kubelet // by instance id
}

// Start brings a world up. The context bounds the start only; Stop ends the world.
func Start(ctx context.Context, o Options) (_ *World, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	w := &World{Options: o, kubelets: map[string]*plane.Kubelet{}}
	if err := w.chooseMachines(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Stop()
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("sandbox folder: %w", err)
	}
	if w.logFile, err = os.OpenFile(filepath.Join(o.Dir, "sandbox.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("sandbox log: %w", err)
	}
	w.log = slog.New(slog.NewTextHandler(w.logFile, nil))
	if w.Plane, err = plane.Start(ctx, plane.Options{Dir: filepath.Join(o.Dir, "plane"), Binary: o.Binary, Progress: o.Progress}); err != nil {
		return nil, err
	}
	if w.client, err = kubernetes.NewForConfig(w.Plane.Config()); err != nil {
		return nil, fmt.Errorf("sandbox client: %w", err)
	}
	life, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	if w.network, err = claim(); err != nil {
		return nil, err
	}
	w.Cloud = w.newCloud(cloud.Config{Clock: cloud.RealClock(o.Speed), Timing: o.Timing, Addresses: w.network.address})
	w.Cloud.AddCluster(EKSCluster, eksVersion)
	w.Cloud.SetDrainedByOthers(true)
	return w, w.populate(life)
}

// chooseMachines settles Auto, and refuses Kubelet where it cannot work.
func (w *World) chooseMachines() error {
	why := plane.KubeletSupported()
	switch w.Machines {
	case Light:
	case "", Auto:
		w.Machines = Kubelet
		if why != nil {
			w.Machines = Light
		}
	case Kubelet:
		if why != nil {
			return fmt.Errorf("machines of kind kubelet: %w; use light", why)
		}
	default:
		return fmt.Errorf("machines of kind %q: unknown; use auto, light or kubelet", w.Machines)
	}
	return nil
}

// populate starts what lives in the region.
func (w *World) populate(life context.Context) (err error) {
	w.Nodes, err = machine.New(life, machine.Options{
		Client: w.client, Streams: w.Plane.MachineTLS, Dir: filepath.Join(w.Dir, "pods"), Path: []string{w.Program}, Speed: w.Speed, Log: w.log,
	})
	if err != nil {
		return fmt.Errorf("machines: %w", err)
	}
	w.Balancer, err = balancer.New(balancer.Options{Cloud: balanced{w.Cloud}, Dial: dial, Speed: w.Speed, Log: w.log})
	if err != nil {
		return fmt.Errorf("load balancer: %w", err)
	}
	events, unsubscribe := w.Cloud.Subscribe()
	w.work.Go(func() {
		defer unsubscribe()
		w.follow(life, events)
	})
	return w.serve()
}

// serve opens AWS on a loopback port.
func (w *World) serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("AWS endpoint: %w", err)
	}
	w.Endpoint = "http://" + l.Addr().String()
	front := http.NewServeMux()
	front.Handle("/", wire.Handler(w.Cloud, wire.Options{}))
	front.HandleFunc("POST "+doPath, w.takeDeeds)
	w.server = &http.Server{Handler: front, ReadHeaderTimeout: 10 * time.Second}
	w.work.Go(func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error("AWS endpoint", "err", err)
		}
	})
	return nil
}

// Client is a client of the cluster with all rights.
func (w *World) Client() kubernetes.Interface { return w.client }

// Env is what a program needs in its environment to live in this world. The keys are not secrets: the sandbox accepts any.
func (w *World) Env() []string {
	return []string{
		"KUBECONFIG=" + w.Plane.Kubeconfig(),
		"AWS_ENDPOINT_URL=" + w.Endpoint,
		"AWS_REGION=" + w.Cloud.Region(),
		"AWS_DEFAULT_REGION=" + w.Cloud.Region(),
		"AWS_ACCESS_KEY_ID=sandbox",
		"AWS_SECRET_ACCESS_KEY=sandbox",
		"AWS_SESSION_TOKEN=",
		"AWS_PROFILE=",
		"AWS_EC2_METADATA_DISABLED=true",
		"DROVER_POD_NETWORK=10.0.0.0/8=127.0.0.0/8",
	}
}

// Stop ends everything and leaves the folder. It may be called more than once.
func (w *World) Stop() {
	if w.server != nil {
		w.server.Close()
	}
	if w.cancel != nil {
		w.cancel()
	}
	if w.Balancer != nil {
		w.Balancer.Close()
	}
	if w.Cloud != nil {
		w.Cloud.Close()
	}
	w.databases.close()
	w.work.Wait()
	w.mu.Lock()
	kubelets := w.kubelets
	w.kubelets = map[string]*plane.Kubelet{}
	w.mu.Unlock()
	var ending sync.WaitGroup
	for id, k := range kubelets {
		ending.Go(func() {
			if err := k.Kill(); err != nil {
				w.log.Error("kubelet", "instance", id, "err", err)
			}
		})
	}
	ending.Wait()
	if w.Nodes != nil {
		w.Nodes.Close()
	}
	if w.Plane != nil {
		w.Plane.Stop()
	}
	if w.network != nil {
		w.network.release()
	}
	if w.logFile != nil {
		w.logFile.Close()
	}
}
