package machine

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// simulated is a task made of nothing but timers.
type simulated struct {
	p     *pod
	ended chan struct{}
	ready span

	mu    sync.Mutex
	stop  span
	timer *time.Timer // towards the exit, if it is coming
	end   exit
}

func (c *container) startSimulated() task {
	s := c.p.script
	t := &simulated{p: c.p, ended: make(chan struct{}), ready: s.ready, stop: s.stop}
	run, code := s.run, s.exit
	switch c.role {
	case initial: // its work was the image; run is for the ordinary ones
		run, code = span{}, 0
	case sidecar:
		run = span{never: true}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !run.never {
		t.timer = time.AfterFunc(t.p.scaled(run.Duration), func() { t.finish(code, 0) })
	}
	return t
}

func (t *simulated) done() <-chan struct{} { return t.ended }
func (t *simulated) exit() exit            { return t.end }
func (t *simulated) kill()                 { t.finish(137, 9) }

func (t *simulated) term() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop.never {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = time.AfterFunc(t.p.scaled(t.stop.Duration), func() { t.finish(0, 0) })
}

func (t *simulated) finish(code, signal int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over(t) {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.end = exit{code: code, signal: signal, at: time.Now()}
	close(t.ended)
}

func (t *simulated) hook(ctx context.Context, h *corev1.LifecycleHandler) error {
	pause(ctx, t.p.scaled(hookTime(h)))
	return nil
}

// attend makes the container ready after its time. Simulated containers never get sick.
func (t *simulated) attend(c *container) <-chan string {
	if c.role == initial {
		return nil
	}
	if !t.ready.never && t.ready.Duration == 0 {
		c.isUp(t, true)
		return nil
	}
	c.isUp(t, false)
	if !t.ready.never {
		timer := time.AfterFunc(t.p.scaled(t.ready.Duration), func() { c.isUp(t, true) })
		context.AfterFunc(t.p.mach.ctx, func() { timer.Stop() })
	}
	return nil
}
