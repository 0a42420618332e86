package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
	utilexec "k8s.io/utils/exec"

	"drover.dev/controlplane/enter"
)

// container is one run of one container of a pod.
type container struct {
	id      string
	sandbox *sandbox
	config  *runtimeapi.ContainerConfig
	created time.Time
	log     *logFile
	body    body

	// Guarded by Runtime.mu.
	started  time.Time
	finished time.Time
	exit     exit
}

// body is what a container consists of: a process, or the idea of one.
type body interface {
	// start returns once the container runs, or an error; ended is called once
	// when it no longer does.
	start(ended func(exit)) error

	// stop asks for the end, insists after the grace, and returns after the end. A
	// body that does not run has nothing to stop. If the context ends first, so
	// does the wait: somebody is about to stop with another grace.
	stop(ctx context.Context, grace time.Duration) error

	// exec returns the exit code, or enter.ErrTimeout.
	exec(args []string, timeout time.Duration, stdout, stderr *bytes.Buffer) (int, error)
}

// exit is how a container ended.
type exit struct {
	code    int
	message string
}

func (e exit) reason() string {
	switch {
	case e.message != "":
		return "StartError"
	case e.code == 0:
		return "Completed"
	}
	return "Error"
}

func (c *container) state() runtimeapi.ContainerState {
	switch {
	case !c.finished.IsZero():
		return runtimeapi.ContainerState_CONTAINER_EXITED
	case !c.started.IsZero():
		return runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return runtimeapi.ContainerState_CONTAINER_CREATED
}

func (r *Runtime) CreateContainer(_ context.Context, sandboxID string, config *runtimeapi.ContainerConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	s := r.sandbox(sandboxID)
	if s == nil {
		return "", notFound("pod sandbox", sandboxID)
	}
	c := &container{id: newID(), sandbox: s, config: config, created: time.Now(), log: newLogFile(s.config.GetLogDirectory(), config.GetLogPath())}
	if s.simulated {
		c.body = newSimulation(s, config)
	} else {
		c.body = newProcess(r.specOf(c), stopSignal(config), c.log)
	}
	if err := os.MkdirAll(r.dir(c.id), 0o700); err != nil {
		return "", fmt.Errorf("create container %s: %w", config.GetMetadata().GetName(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.containers[c.id] = c
	return c.id, nil
}

func (r *Runtime) StartContainer(_ context.Context, id string) error {
	c := r.container(id)
	if c == nil {
		return notFound("container", id)
	}
	if err := c.log.open(); err != nil {
		return fmt.Errorf("start container %s: %w", c.config.GetMetadata().GetName(), err)
	}
	begin := time.Now()
	err := c.body.start(func(e exit) { r.ended(c, e) })
	r.mu.Lock()
	c.started = begin
	r.mu.Unlock()
	if err != nil {
		r.ended(c, exit{code: 128, message: err.Error()})
		return fmt.Errorf("start container %s: %w", c.config.GetMetadata().GetName(), err)
	}
	return nil
}

func (r *Runtime) ended(c *container, e exit) {
	c.log.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	c.exit, c.finished = e, time.Now()
}

func (r *Runtime) StopContainer(ctx context.Context, id string, seconds int64) error {
	c := r.container(id)
	if c == nil {
		return nil
	}
	return c.body.stop(ctx, time.Duration(seconds)*time.Second)
}

func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	c := r.container(id)
	if c == nil {
		return nil
	}
	if err := c.body.stop(ctx, 0); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	if err := os.RemoveAll(r.dir(id)); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, id)
	return nil
}

func (r *Runtime) ListContainers(_ context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*runtimeapi.Container
	for _, c := range r.containers {
		if filter.GetId() != "" && filter.GetId() != c.id ||
			filter.GetPodSandboxId() != "" && filter.GetPodSandboxId() != c.sandbox.id ||
			filter.GetState() != nil && filter.GetState().GetState() != c.state() ||
			!matches(filter.GetLabelSelector(), c.config.Labels) {
			continue
		}
		list = append(list, &runtimeapi.Container{
			Id:           c.id,
			PodSandboxId: c.sandbox.id,
			Metadata:     c.config.Metadata,
			Image:        c.config.Image,
			ImageRef:     c.config.GetImage().GetImage(),
			ImageId:      c.config.GetImage().GetImage(),
			State:        c.state(),
			CreatedAt:    c.created.UnixNano(),
			Labels:       c.config.Labels,
			Annotations:  c.config.Annotations,
		})
	}
	return list, nil
}

func (r *Runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, notFound("container", id)
	}
	s := &runtimeapi.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.Metadata,
		State:       c.state(),
		CreatedAt:   c.created.UnixNano(),
		Image:       c.config.Image,
		ImageRef:    c.config.GetImage().GetImage(),
		ImageId:     c.config.GetImage().GetImage(),
		Labels:      c.config.Labels,
		Annotations: c.config.Annotations,
		Mounts:      c.config.Mounts,
		LogPath:     c.log.path,
	}
	if !c.started.IsZero() {
		s.StartedAt = c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		s.FinishedAt, s.ExitCode = c.finished.UnixNano(), int32(c.exit.code)
		s.Reason, s.Message = c.exit.reason(), c.exit.message
	}
	return &runtimeapi.ContainerStatusResponse{Status: s}, nil
}

// ExecSync answers as the kubelet's own client of a remote runtime does: a code
// other than 0 and a timeout are errors of particular types.
func (r *Runtime) ExecSync(_ context.Context, id string, args []string, timeout time.Duration) ([]byte, []byte, error) {
	c := r.container(id)
	if c == nil {
		return nil, nil, notFound("container", id)
	}
	r.mu.Lock()
	state := c.state()
	r.mu.Unlock()
	if state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, nil, fmt.Errorf("exec in container %s: it does not run", id)
	}
	var stdout, stderr bytes.Buffer
	code, err := c.body.exec(args, timeout, &stdout, &stderr)
	command := strings.Join(args, " ")
	switch {
	case errors.Is(err, enter.ErrTimeout):
		return nil, nil, fmt.Errorf("%w: %q timed out after %s", cri.ErrCommandTimedOut, command, timeout)
	case err != nil:
		return nil, nil, fmt.Errorf("exec %q in container %s: %w", command, id, err)
	case code != 0:
		err = utilexec.CodeExitError{Err: fmt.Errorf("command %q exited with %d: %s", command, code, stderr.Bytes()), Code: code}
	}
	return stdout.Bytes(), stderr.Bytes(), err
}

func (r *Runtime) ReopenContainerLog(_ context.Context, id string) error {
	c := r.container(id)
	if c == nil {
		return notFound("container", id)
	}
	return c.log.open()
}

func (r *Runtime) container(id string) *container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.containers[id]
}

func (r *Runtime) containersOf(sandboxID string) (list []*container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.sandbox.id == sandboxID {
			list = append(list, c)
		}
	}
	return list
}

// notFound is an error that the kubelet knows for "gone", as a remote runtime's.
func notFound(kind, id string) error {
	return status.Errorf(codes.NotFound, "%s %s not found", kind, id)
}
