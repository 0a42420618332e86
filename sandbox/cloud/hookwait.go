package cloud

import (
	"slices"
	"time"
)

// Wait is an instance held by one hook, which AWS calls a lifecycle action.
type Wait struct {
	Group, Hook, Instance, Token    string
	Transition, Origin, Destination string
	Since                           time.Time
	Until                           time.Time // nobody's heartbeat: then the default result counts
	Wall                            time.Time // no heartbeat gets beyond

	beats     int // a timer of an earlier heartbeat, which a real clock may let through, means nothing
	heartbeat time.Duration
	result    string // by default
	timers    *waitTimers
}

// waitTimers stop what would end a wait.
type waitTimers struct{ beat, wall func() }

// passage is a way from one place to another that hooks can hold instances on.
type passage struct {
	transition              string
	wait, proceed, retained LifecycleState
	origin, destination     string
}

// What Auto Scaling calls the places.
const (
	placeEC2   = "EC2"
	placeGroup = "AutoScalingGroup"
	placePool  = "WarmPool"
)

var (
	intoService  = passage{HookLaunching, PendingWait, PendingProceed, "", placeEC2, placeGroup}
	fromPool     = passage{HookLaunching, PendingWait, PendingProceed, "", placePool, placeGroup}
	intoPool     = passage{HookLaunching, WarmedPendingWait, WarmedPendingProceed, "", placeEC2, placePool}
	backToPool   = passage{HookTerminating, WarmedPendingWait, WarmedPendingProceed, WarmedPendingRetained, placeGroup, placePool}
	outOfService = passage{HookTerminating, TerminatingWait, TerminatingProceed, Retained, placeGroup, placeEC2}
	outOfPool    = passage{HookTerminating, WarmedTerminatingWait, WarmedTerminatingProceed, WarmedTerminatingRetained, placePool, placeEC2}
)

// pass sends a member through a passage: all hooks there hold it at once; without any it goes on.
func (c *Cloud) pass(g *Group, id string, p passage) {
	m := g.member(id)
	m.dropWaits(everyWait)
	m.way = p
	var hooks []Hook
	for _, h := range g.Hooks {
		if h.Transition == p.transition && !c.answeredByEKS(g, h, id) {
			hooks = append(hooks, h)
			m.waits = append(m.waits, Wait{
				Group: g.Name, Hook: h.Name, Instance: id, Token: c.uuid(), Transition: p.transition, Origin: p.origin, Destination: p.destination,
				Since: c.now(), Until: c.now().Add(h.Heartbeat), Wall: c.now().Add(h.Global()), heartbeat: h.Heartbeat, result: h.DefaultResult,
				timers: &waitTimers{},
			})
		}
	}
	if len(hooks) == 0 {
		c.goOn(g, id)
		return
	}
	m.State = p.wait
	c.progress(g, m.activity(), MidLifecycleAction, 50)
	c.changed(g)
	for n, w := range slices.Clone(m.waits) {
		w.timers.wall = c.after(hooks[n].Global(), func() { c.expire(w, -1) })
		w.timers.beat = c.after(w.heartbeat, func() { c.expire(w, 0) })
		c.announce(g, hooks[n], w)
		c.drainForEKS(g, hooks[n], id)
	}
}

// activity is the one that the passage of a member is part of.
func (m *Member) activity() string {
	if m.way.destination == placeEC2 {
		return m.ending
	}
	return m.moving
}

// waitFor finds a member's wait by hook, and by token if there is one.
func (m *Member) waitFor(hook, token string) *Wait {
	n := slices.IndexFunc(m.waits, func(w Wait) bool { return w.Hook == hook && (token == "" || w.Token == token) })
	if n < 0 {
		return nil
	}
	return &m.waits[n]
}

// expire answers for whoever did not: after beats heartbeats no further one came, or (below 0) the wall is reached.
func (c *Cloud) expire(began Wait, beats int) {
	g, m := c.w.memberOf(began.Instance)
	if m == nil {
		return
	}
	w := m.waitFor(began.Hook, began.Token)
	if w == nil || beats >= 0 && w.beats != beats {
		return
	}
	why := "Heartbeat Timeout"
	if beats < 0 {
		why = "Global Timeout"
	}
	c.answer(g, began.Instance, w.Token, w.result, why)
}

// answer ends one wait of a member. An ABANDON ends them all.
func (c *Cloud) answer(g *Group, id, token, result, why string) {
	m := g.member(id)
	p := m.way
	m.dropWaits(func(w Wait) bool { return w.Token == token || result == ResultAbandon })
	switch {
	case len(m.waits) > 0:
		c.changed(g)
	case result == ResultContinue:
		c.depart(g, id, p, c.goOn)
	case p.transition == HookLaunching:
		c.failLaunch(g, id, abandoned(token, why))
	default:
		c.depart(g, id, p, func(g *Group, id string) { c.abandon(g, id, abandoned(token, why)) })
	}
}

// dropWaits forgets waits. The list is made anew: older copies of the world hold the old one.
func (m *Member) dropWaits(which func(Wait) bool) {
	var left []Wait
	for _, w := range m.waits {
		if !which(w) {
			left = append(left, w)
			continue
		}
		w.timers.beat()
		w.timers.wall()
	}
	m.waits = left
}

func everyWait(Wait) bool { return true }

func abandoned(token, why string) string {
	return "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token " + token + " was abandoned: " + why
}

// depart shows for a moment that the hooks have been answered, then goes on.
func (c *Cloud) depart(g *Group, id string, p passage, next func(*Group, string)) {
	m := g.member(id)
	m.State = p.proceed
	c.progress(g, m.activity(), InProgress, 60)
	c.changed(g)
	c.after(c.cfg.Timing.ReactionTime, func() {
		// It may have been taken out, or off, meanwhile.
		if now, m := c.w.memberOf(id); now == g && m.State == p.proceed && !m.stopping {
			next(g, id)
		}
	})
}

// goOn is what comes after a passage.
func (c *Cloud) goOn(g *Group, id string) {
	switch p := g.member(id).way; p.destination {
	case placeGroup:
		c.serve(id)
	case placePool:
		c.rest(g, id)
	default:
		c.switchOff(g, id)
	}
}

// failLaunch ends an instance that its launch hook abandoned.
func (c *Cloud) failLaunch(g *Group, id, why string) {
	m := g.member(id)
	c.cancelActivity(g, m.moving, why)
	cause := c.at("an instance was taken out of service in response to a launch failure.")
	if m.way.destination == placePool {
		c.endWarm(g, id, cause)
		return
	}
	c.takeOut(g, id, cause)
}

// abandon is what follows an abandoned terminate hook: the instance is kept if the group's policy says so, else it ends, hooks or no hooks.
func (c *Cloud) abandon(g *Group, id, why string) {
	m := g.member(id)
	switch {
	case g.Retain:
		m.State = m.way.retained
		c.cancelActivity(g, m.ending, why)
		c.changed(g)
	case m.way.destination == placePool:
		c.endWarm(g, id, c.at("an instance was taken out of service in response to a lifecycle action that was abandoned."))
	default:
		c.switchOff(g, id)
	}
}

// CompleteLifecycleAction answers a hook for the instance of that id or the wait of that token.
func (c *Cloud) CompleteLifecycleAction(group, hook, instance, token, result string) error {
	return c.write("autoscaling:CompleteLifecycleAction", func() error {
		if !isResult(result) {
			return invalid("Lifecycle action result must be either %s or %s", ResultContinue, ResultAbandon)
		}
		g, w, err := c.activeWait(group, hook, instance, token)
		if err != nil {
			return err
		}
		c.answer(g, w.Instance, w.Token, result, "Lifecycle Action Completed with ABANDON Result")
		return nil
	})
}

// RecordLifecycleActionHeartbeat has a hook hold an instance for another heartbeat, counted from now, but never beyond the wall.
func (c *Cloud) RecordLifecycleActionHeartbeat(group, hook, instance, token string) error {
	return c.write("autoscaling:RecordLifecycleActionHeartbeat", func() error {
		g, w, err := c.activeWait(group, hook, instance, token)
		if err != nil {
			return err
		}
		next := w
		next.beats++
		next.Until = c.now().Add(w.heartbeat)
		if next.Until.After(w.Wall) {
			next.Until = w.Wall
		}
		m := g.member(w.Instance)
		m.waits = slices.Clone(m.waits) // older copies of the world hold the old list
		*m.waitFor(hook, w.Token) = next
		w.timers.beat()
		w.timers.beat = c.after(w.heartbeat, func() { c.expire(next, next.beats) })
		return nil
	})
}

func (c *Cloud) activeWait(group, hook, instance, token string) (*Group, Wait, error) {
	g, ok := c.w.groups[group]
	switch {
	case !ok:
		return nil, Wait{}, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", group)
	case instance == "" && token == "":
		return nil, Wait{}, invalid("Either a LifecycleActionToken or an InstanceId must be specified.")
	}
	for _, id := range g.everyone() {
		if instance != "" && id != instance {
			continue
		}
		if w := g.member(id).waitFor(hook, token); w != nil {
			return g, *w, nil
		}
	}
	if instance != "" {
		return nil, Wait{}, invalid("No active Lifecycle Action found with instance ID %s", instance)
	}
	return nil, Wait{}, invalid("No active Lifecycle Action found with token %s", token)
}

// LifecycleWaits returns who truly waits, by group and launch.
func (c *Cloud) LifecycleWaits() []Wait {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Wait
	for _, g := range c.w.listGroups() {
		for _, id := range g.everyone() {
			out = append(out, g.member(id).waits...)
		}
	}
	return out
}
