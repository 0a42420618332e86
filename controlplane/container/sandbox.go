package container

import (
	"context"
	"fmt"
	"os"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sandbox is one pod, or a former try at it.
type sandbox struct {
	id        string
	config    *runtimeapi.PodSandboxConfig
	created   time.Time
	simulated bool
	hostNet   bool
	net       attachment
	about     Description // of a simulated pod

	stopped bool // guarded by Runtime.mu
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.stopped {
		return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	return runtimeapi.PodSandboxState_SANDBOX_READY
}

func (s *sandbox) address() string {
	if s.hostNet {
		return "" // the kubelet knows its own
	}
	return s.net.address.String()
}

func (r *Runtime) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, _ string) (string, error) {
	s := &sandbox{
		id:        newID(),
		config:    config,
		created:   time.Now(),
		simulated: config.GetAnnotations()[ProcessAnnotation] != "true",
		hostNet:   config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE,
	}
	meta := config.GetMetadata()
	var err error
	if s.simulated && r.opt.Describe != nil {
		if s.about, err = r.opt.Describe(ctx, meta.GetNamespace(), meta.GetName()); err != nil {
			return "", fmt.Errorf("describe pod %s/%s: %w", meta.GetNamespace(), meta.GetName(), err)
		}
	}
	if err := os.MkdirAll(config.GetLogDirectory(), 0o755); err != nil {
		return "", fmt.Errorf("log folder of pod %s/%s: %w", meta.GetNamespace(), meta.GetName(), err)
	}
	if !s.hostNet {
		if s.net, err = r.opt.Network.Add(ctx); err != nil {
			return "", err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes[s.id] = s
	return s.id, nil
}

func (r *Runtime) StopPodSandbox(ctx context.Context, id string) error {
	s := r.sandbox(id)
	if s == nil {
		return nil
	}
	for _, c := range r.containersOf(id) {
		if err := c.body.stop(ctx, 0); err != nil {
			return fmt.Errorf("stop pod sandbox %s: %w", id, err)
		}
	}
	r.mu.Lock()
	first := !s.stopped
	s.stopped = true
	r.mu.Unlock()
	if first && !s.hostNet {
		r.opt.Network.Remove(ctx, s.net)
	}
	return nil
}

func (r *Runtime) RemovePodSandbox(ctx context.Context, id string) error {
	if err := r.StopPodSandbox(ctx, id); err != nil {
		return err
	}
	for _, c := range r.containersOf(id) {
		if err := r.RemoveContainer(ctx, c.id); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sandboxes, id)
	return nil
}

func (r *Runtime) PodSandboxStatus(_ context.Context, id string, _ bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil, notFound("pod sandbox", id)
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id:          s.id,
		Metadata:    s.config.Metadata,
		State:       s.state(),
		CreatedAt:   s.created.UnixNano(),
		Network:     &runtimeapi.PodSandboxNetworkStatus{Ip: s.address()},
		Linux:       &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: s.config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
		Labels:      s.config.Labels,
		Annotations: s.config.Annotations,
	}}, nil
}

func (r *Runtime) ListPodSandbox(_ context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*runtimeapi.PodSandbox
	for _, s := range r.sandboxes {
		if filter.GetId() != "" && filter.GetId() != s.id ||
			filter.GetState() != nil && filter.GetState().GetState() != s.state() ||
			!matches(filter.GetLabelSelector(), s.config.Labels) {
			continue
		}
		list = append(list, &runtimeapi.PodSandbox{
			Id:          s.id,
			Metadata:    s.config.Metadata,
			State:       s.state(),
			CreatedAt:   s.created.UnixNano(),
			Labels:      s.config.Labels,
			Annotations: s.config.Annotations,
		})
	}
	return list, nil
}

func (r *Runtime) sandbox(id string) *sandbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sandboxes[id]
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
