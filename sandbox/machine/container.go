package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

type role int

const (
	initial  role = iota // an init container that has to succeed
	sidecar              // an init container that keeps running
	ordinary             // one of spec.containers
)

// task is one run of a container, from start to exit.
type task interface {
	done() <-chan struct{} // closed at the exit
	exit() exit            // valid after done
	term()
	kill()
	// hook runs a lifecycle handler inside the task, until ctx ends at the latest.
	hook(ctx context.Context, h *corev1.LifecycleHandler) error
	// attend starts what makes the container started and ready, and tells why it has to be restarted.
	attend(c *container) (sick <-chan string)
}

type exit struct {
	code   int32
	signal int32
	at     time.Time
}

// container is a container over all its runs. Its fields below mu's line are guarded by the pod's mu.
type container struct {
	p    *pod
	spec *corev1.Container
	role role
	up   chan struct{} // closed when it has started for the first time

	state    corev1.ContainerState
	last     *corev1.ContainerStateTerminated
	restarts int32
	started  bool
	ready    bool
	given    bool // it will not be started again
	id       string
	task     task
	hooked   bool // preStop ran for this task
}

func newContainer(p *pod, spec *corev1.Container, role role) *container {
	return &container{p: p, spec: spec, role: role, up: make(chan struct{}), state: waiting("ContainerCreating", "")}
}

func (c *container) hasBeenUp() bool {
	select {
	case <-c.up:
		return true
	default:
		return false
	}
}

// The pause between two runs. Far shorter than the kubelet's 10s to 5min: a rehearsal should not wait for it.
const (
	firstBackoff = time.Second
	lastBackoff  = 30 * time.Second
	steady       = time.Minute // a run this long starts the count afresh
)

// keep runs the container, again and again if its restart policy says so, until it ended for good (true if it succeeded) or ctx
// ended. In the second case a task may still run; halting it is the caller's.
func (c *container) keep(ctx context.Context) bool {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		t, err := c.launch(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			reason := "RunContainerError"
			var r *refused
			if errors.As(err, &r) {
				reason = r.reason
			}
			c.set(func() { c.state = waiting(reason, err.Error()) })
		} else {
			select {
			case <-t.done():
			case why := <-t.attend(c):
				c.p.mach.m.Log.Info("restart container", "pod", c.p.String(), "container", c.spec.Name, "why", why)
				c.haltSick()
			case <-ctx.Done():
				return false
			}
			if ctx.Err() != nil {
				return false
			}
			end := t.exit()
			if !c.again(end.code) {
				c.set(func() { c.exited(t); c.given = true })
				return end.code == 0
			}
			c.set(func() {
				c.exited(t)
				c.last, c.state = c.state.Terminated, waiting("CrashLoopBackOff", fmt.Sprintf("exit code %d; next run in %v", end.code, backoff))
			})
			if end.at.Sub(c.last.StartedAt.Time) > steady {
				backoff = firstBackoff
			}
		}
		if !pause(ctx, c.p.scaled(backoff)) {
			return false
		}
		c.set(func() { c.restarts++ })
	}
}

func (c *container) again(code int32) bool {
	if c.role == sidecar {
		return true
	}
	switch c.p.spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return c.role == ordinary || code != 0
}

// launch pulls the image and starts a task.
func (c *container) launch(ctx context.Context) (task, error) {
	present := c.p.mach.pull(c.spec.Image, c.p.mach.m.scaled(c.p.script.pull.Duration))
	if !pause(ctx, time.Until(present)) {
		return nil, ctx.Err()
	}
	var t task
	var err error
	if c.p.script.process {
		t, err = c.startProcess(ctx)
	} else {
		t = c.startSimulated()
	}
	if err != nil {
		return nil, err
	}
	c.set(func() {
		c.task, c.hooked, c.started, c.ready = t, false, false, false
		c.id = "sandbox://" + string(uuid.NewUUID())
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	})
	if l := c.spec.Lifecycle; l != nil && l.PostStart != nil {
		if err := t.hook(ctx, l.PostStart); err != nil && ctx.Err() == nil {
			c.p.mach.m.Log.Info("postStart ended the container", "pod", c.p.String(), "container", c.spec.Name, "error", err)
			t.kill()
		}
	}
	return t, nil
}

// The kubelet leaves a container at least this long between SIGTERM and SIGKILL, even when preStop used all of the grace.
const leastAfterTerm = 2 * time.Second

// halt ends the current task, if it still runs: preStop, then at its turn SIGTERM, then SIGKILL when grace ended. It returns when
// the task is over and recorded.
func (c *container) halt(grace context.Context, turn <-chan struct{}) {
	c.p.mu.Lock()
	t, hooked := c.task, c.hooked
	c.hooked = true
	c.p.mu.Unlock()
	if t == nil {
		return
	}
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil && !hooked && !over(t) {
		if err := t.hook(grace, l.PreStop); err != nil {
			c.p.mach.m.Log.Info("preStop", "pod", c.p.String(), "container", c.spec.Name, "error", err)
		}
	}
	if turn != nil {
		select {
		case <-turn:
		case <-grace.Done():
		}
	}
	if !over(t) {
		t.term()
		least := time.NewTimer(c.p.scaled(leastAfterTerm))
		defer least.Stop()
		select {
		case <-t.done():
		case <-grace.Done():
			select {
			case <-t.done():
			case <-least.C:
			case <-c.p.mach.ctx.Done():
			}
			t.kill()
		}
	}
	<-t.done()
	c.p.mu.Lock()
	c.exited(t)
	others := slices.ContainsFunc(c.p.containers, func(c *container) bool { return c.state.Running != nil })
	c.p.mu.Unlock()
	if others { // after the last one comes a change of the whole pod, worth one write and not two
		c.p.touch()
	}
}

// haltSick ends a task that failed its liveness or startup probe, with the grace that is its own.
func (c *container) haltSick() {
	grace := c.p.ownGrace()
	for _, probe := range []*corev1.Probe{c.spec.LivenessProbe, c.spec.StartupProbe} {
		if probe != nil && probe.TerminationGracePeriodSeconds != nil {
			grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
		}
	}
	limit, cancel := context.WithTimeout(c.p.grace, c.p.scaled(grace))
	defer cancel()
	c.halt(limit, nil)
}

func over(t task) bool {
	select {
	case <-t.done():
		return true
	default:
		return false
	}
}

// set changes the state and has it written.
func (c *container) set(change func()) {
	c.p.mu.Lock()
	change()
	c.p.mu.Unlock()
	c.p.touch()
}

// isUp notes that t started, and maybe is ready; a task that is no longer the current one has no say.
func (c *container) isUp(t task, ready bool) {
	c.set(func() {
		if c.task != t || over(t) {
			return
		}
		c.started, c.ready = true, ready
		if !c.hasBeenUp() {
			close(c.up)
		}
	})
}

// exited turns the end of the current task into a state. Callers hold the pod's mu.
func (c *container) exited(t task) {
	if c.state.Running == nil || c.task != t {
		return
	}
	end := t.exit()
	reason := "Completed"
	if end.code != 0 {
		reason = "Error"
	}
	c.started, c.ready = false, false
	c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: end.code, Signal: end.signal, Reason: reason, ContainerID: c.id,
		StartedAt: c.state.Running.StartedAt, FinishedAt: metav1.NewTime(end.at),
	}}
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func (c *container) status() corev1.ContainerStatus {
	started := c.started
	cs := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, ContainerID: c.id,
		State: c.state, Ready: c.ready, Started: &started, RestartCount: c.restarts,
	}
	if c.role == initial { // ready, for these, means done
		cs.Ready = c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	if c.last != nil {
		cs.LastTerminationState.Terminated = c.last
	}
	return cs
}
