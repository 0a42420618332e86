// Package container is a container runtime whose containers are processes of this
// host, for a kubelet that rehearses on a laptop. Runtime and Images implement the
// two services of the Container Runtime Interface, in process.
//
// A pod has a network namespace with an address of its own. A container of a pod
// annotated with ProcessAnnotation is a real process in namespaces of its own,
// started by package enter: its signals, exit codes, probes and hooks are real. Of
// any other pod the containers are simulated: nothing runs, they are up until
// stopped, every command in them succeeds, and their probed ports answer.
//
// Nothing survives the process: containers die with it, and Clean removes the few
// traces in the host's network. It never pulls an image, never limits what a
// container uses, and is no barrier against a hostile one.
package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// ProcessAnnotation, "true" on a pod, makes its containers real processes.
	ProcessAnnotation = "sandbox.drover.dev/process"

	// StopAnnotation is how long a simulated container takes to end after SIGTERM.
	StopAnnotation = "sandbox.drover.dev/stop"

	// defaultStop stands in for StopAnnotation: a program with nothing to finish.
	defaultStop = 100 * time.Millisecond
)

// ErrStreaming answers requests for interactive sessions.
var ErrStreaming = errors.New("exec, attach and port-forward sessions are not part of the sandbox")

// Options describe the node that a Runtime belongs to.
type Options struct {
	// Dir holds the containers' folders.
	Dir string

	// Hidden are folders of the host that containers do not see.
	Hidden []string

	// Path is where containers find commands first; may be empty.
	Path string

	Network *Network

	// Describe tells about a pod what the runtime interface does not. Asked for
	// pods with simulated containers only.
	Describe func(ctx context.Context, namespace, name string) (Description, error)
}

// Description is what a simulated pod must know about itself, by container name.
type Description struct {
	// Init marks containers that are expected to end by themselves.
	Init map[string]bool

	// Probed are the ports that probes connect to.
	Probed map[string][]int
}

// Runtime is the RuntimeService of one node.
type Runtime struct {
	opt Options

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

var _ internalapi.RuntimeService = (*Runtime)(nil)

// New makes an empty runtime.
func New(opt Options) (*Runtime, error) {
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	return &Runtime{opt: opt, sandboxes: map[string]*sandbox{}, containers: map[string]*container{}}, nil
}

// newID is random: kubelets remember ids for longer than we do.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (r *Runtime) dir(id string) string { return filepath.Join(r.opt.Dir, id) }

func (r *Runtime) Version(context.Context, string) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "drover", RuntimeVersion: "0.1.0", RuntimeApiVersion: "v1"}, nil
}

func (r *Runtime) Status(context.Context, bool) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true},
			{Type: runtimeapi.NetworkReady, Status: true},
		}},
		RuntimeHandlers: []*runtimeapi.RuntimeHandler{{Name: ""}},
	}, nil
}

func (r *Runtime) RuntimeConfig(context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{}, nil
}

func (r *Runtime) UpdateRuntimeConfig(context.Context, *runtimeapi.RuntimeConfig) error { return nil }
func (r *Runtime) Close(context.Context) error                                          { return nil }

// Resources are accepted and not enforced.

func (r *Runtime) UpdateContainerResources(context.Context, string, *runtimeapi.ContainerResources) error {
	return nil
}

func (r *Runtime) UpdatePodSandboxResources(context.Context, *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}

// Statistics are empty rather than invented.

func (r *Runtime) ContainerStats(_ context.Context, id string) (*runtimeapi.ContainerStats, error) {
	return nil, fmt.Errorf("statistics of container %s: not part of the sandbox", id)
}

func (r *Runtime) ListContainerStats(context.Context, *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	return nil, nil
}

func (r *Runtime) PodSandboxStats(_ context.Context, id string) (*runtimeapi.PodSandboxStats, error) {
	return nil, fmt.Errorf("statistics of pod %s: not part of the sandbox", id)
}

func (r *Runtime) ListPodSandboxStats(context.Context, *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	return nil, nil
}

func (r *Runtime) ListMetricDescriptors(context.Context) ([]*runtimeapi.MetricDescriptor, error) {
	return nil, nil
}

func (r *Runtime) ListPodSandboxMetrics(context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	return nil, nil
}

func (r *Runtime) Exec(context.Context, *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return nil, ErrStreaming
}

func (r *Runtime) Attach(context.Context, *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return nil, ErrStreaming
}

func (r *Runtime) PortForward(context.Context, *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return nil, ErrStreaming
}

func (r *Runtime) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) error {
	return errors.New("checkpoints are not part of the sandbox")
}

func (r *Runtime) GetContainerEvents(context.Context, chan *runtimeapi.ContainerEventResponse, func(runtimeapi.RuntimeService_GetContainerEventsClient)) error {
	return errors.New("container events are not part of the sandbox: the kubelet must ask")
}
