package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Figures of a switch.
const (
	pauseFor   = 2500 * time.Millisecond // how long a pause lasts when nobody renews it: drover may die at any moment
	pauseAgain = time.Second
	levelIn    = 500 * time.Millisecond // a replica that is close catches up in a few of them
	levelPoll  = 10 * time.Millisecond
	closeBy    = 1 << 20         // bytes of replication that are sent well within levelIn
	agreeIn    = 6 * time.Second // Sentinels tell each other every 2 s; it takes 1.2 s as a rule
	agreePoll  = 25 * time.Millisecond
	askNamed   = 500 * time.Millisecond // of one Sentinel while writes are paused
	cleanUpIn  = time.Second
	switchIn   = 4 * time.Second // of the action's time, that has to be left when the order is given
)

// switchMaster hands the role of master over without losing a write that was acknowledged: writes are held back until the heir has all, and until
// every Sentinel names it; the fence holds them back where drover dies in between.
func (d *deed) switchMaster(ctx context.Context) error {
	old, heir, ws, err := d.survey(ctx)
	if err != nil {
		return err
	}
	ws.introduce(old, heir)
	if n, _ := ws.naming(heir); n == len(ws) && follows(old, heir) {
		return nil
	}
	if err := ws.agree(old); err != nil {
		return err
	}
	if err := maySwitch(old, heir); err != nil {
		return err
	}
	by, err := ws.best(heir)
	if err != nil {
		return err
	}
	s := &handover{d: d, old: old, heir: heir, ws: ws, by: by, pause: pause{d: d, to: old.line}}
	return s.run(ctx)
}

// survey reads both members and all Sentinels at once, as what it takes is missing later.
func (d *deed) survey(ctx context.Context) (old, heir *heard, ws watch, err error) {
	var errWatch error
	d.h.each(2, func(i int) {
		if i == 0 {
			old, heir, err = d.pair(ctx)
		} else {
			ws, errWatch = d.watchers(ctx, false)
		}
	})
	return old, heir, ws, cmp.Or(err, errWatch)
}

// maySwitch refuses unless the heir is close behind a master that is fenced.
func maySwitch(old, heir *heard) error {
	switch {
	case old.Role != fleet.RoleMaster:
		return refuse("pod %s is no master: it replicates %s", old.Pod, old.Master)
	case heir.Role != fleet.RoleReplica || heir.History != old.History:
		return refuse("pod %s is no replica of pod %s", heir.Pod, old.Pod)
	case !heir.Link:
		return refuse("the link of pod %s to its master is down", heir.Pod)
	case heir.Syncing:
		return refuse("pod %s still receives a full copy", heir.Pod)
	case old.Offset-heir.Offset > closeBy:
		return refuse("pod %s is %d bytes behind its master, at most %d are caught up in time", heir.Pod, old.Offset-heir.Offset, closeBy)
	case old.Fence.Lag < 1 || old.Fence.Replicas < max(1, len(old.Replicas)): // one that lags counts later
		return refuse("pod %s is not fenced: its %s is %d within %d s, needs %d, the number of its replicas", old.Pod, setFence, old.Fence.Replicas, old.Fence.Lag, max(1, len(old.Replicas)))
	}
	return nil
}

// best is the Sentinel to order: one that would choose the heir. Which replica it takes its own list decides, by priority first.
func (ws watch) best(heir *heard) (*watcher, error) {
	listed := false
	for _, w := range ws {
		i := slices.IndexFunc(w.Replicas, func(r fleet.Listed) bool { return heir.is(r.Address) })
		if i < 0 || w.Replicas[i].Down || w.Replicas[i].Prio == 0 {
			continue
		}
		first := !slices.ContainsFunc(w.Replicas, func(r fleet.Listed) bool {
			return !heir.is(r.Address) && !r.Down && r.Prio > 0 && r.Prio <= w.Replicas[i].Prio
		})
		if first {
			return w, nil
		}
		listed = true
	}
	if !listed {
		return nil, refuse("no Sentinel lists pod %s (%s) as a replica that is up and may become master (priority above 0)", heir.Pod, heir.address())
	}
	return nil, refuse("no Sentinel would choose pod %s (%s): another replica's priority is as low in each one's list; they read it every 10 s", heir.Pod, heir.address())
}

// handover is a switch on its way.
type handover struct {
	d         *deed
	old, heir *heard
	ws        watch
	by        *watcher
	pause     pause
}

func (s *handover) run(ctx context.Context) error {
	if err := s.hold(ctx); err != nil {
		s.pause.end(ctx)
		return err
	}
	if err := s.order(ctx); err != nil {
		s.pause.end(ctx)
		return err
	}
	named, err := s.agreement(ctx)
	if err != nil {
		return err // the pause lapses by itself, and the fence stays
	}
	if err := s.mayRetire(ctx, named); err != nil {
		return err // the same
	}
	return s.pause.retire(ctx, named)
}

// mayRetire refuses where the new master lacks something that the old one has: the Sentinels may have chosen another than the heir, and writes may not have
// been held all the time.
func (s *handover) mayRetire(ctx context.Context, named string) error {
	if s.heir.is(named) && s.pause.held() {
		return nil
	}
	if err := s.pause.renew(ctx); err != nil {
		return s.half("%s", err)
	}
	all, err := s.d.members(ctx, func(*heard) bool { return true })
	if err != nil {
		return err
	}
	s.ws.introduce(all...)
	i := slices.IndexFunc(all, func(m *heard) bool { return m.is(named) })
	old := pick(all, s.old.Pod)
	switch {
	case i < 0 || old == nil:
		return s.half("the Sentinels of store %s chose %s, and whether that has all data cannot be read", s.d.st.Name, named)
	case old.Ahead(&all[i].Member):
		return s.half("the Sentinels of store %s chose pod %s, which lacks what pod %s has (offset %d and %d)", s.d.st.Name, all[i].Pod, old.Pod, all[i].Offset, old.Offset)
	}
	if err := s.pause.unbroken(ctx); err != nil {
		return s.half("%s", err)
	}
	return nil
}

// half is a refusal when there is no way back any more: the fence stays, and the pause lapses by itself.
func (s *handover) half(format string, args ...any) error {
	return refuse("half switched: %s; pod %s stays fenced until it is demoted", fmt.Sprintf(format, args...), s.old.Pod)
}

// hold stops writes, until the heir has all that were acknowledged.
func (s *handover) hold(ctx context.Context) error {
	if err := s.pause.renew(ctx); err != nil {
		return err
	}
	if err := s.level(ctx); err != nil {
		return err
	}
	if until, ok := ctx.Deadline(); ok && time.Until(until) < switchIn {
		return refuse("too little time is left to switch: those who were asked answer slowly, and the Sentinels need up to %s", switchIn)
	}
	return s.pause.unbroken(ctx)
}

// level waits until the heir has all that the paused master has.
func (s *handover) level(ctx context.Context) error {
	old, err := s.replication(ctx, s.old)
	if err != nil {
		return err
	}
	until := s.d.h.now().Add(levelIn)
	for {
		heir, err := s.replication(ctx, s.heir)
		switch {
		case err != nil:
			return err
		case heir.role() != fleet.RoleReplica || heir["master_replid"] != old["master_replid"]:
			return refuse("pod %s is no replica of pod %s any more", s.heir.Pod, s.old.Pod)
		case heir.offset() >= old.offset():
			return nil
		case !s.d.h.now().Before(until):
			return refuse("pod %s is still %d bytes behind pod %s after %s without writes", s.heir.Pod, old.offset()-heir.offset(), s.old.Pod, levelIn)
		}
		if err := s.d.h.sleep(ctx, levelPoll); err != nil {
			return fmt.Errorf("%s: %w", s.d.a, err)
		}
	}
}

func (s *handover) replication(ctx context.Context, m *heard) (info, error) {
	ctx, cancel := context.WithTimeout(ctx, askNamed)
	defer cancel()
	text, err := m.line.text(ctx, "INFO", "replication")
	if err != nil {
		return nil, s.d.outcome(m.line, err)
	}
	return parseInfo(text), nil
}

// order has one Sentinel fail over. An error is returned only when none has begun: an answer that is lost says nothing. It may not take as long as the pause
// lasts, which nobody renews meanwhile.
func (s *handover) order(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pauseAgain)
	defer cancel()
	_, err := s.by.line.do(ctx, "SENTINEL", "FAILOVER", s.by.name)
	if unsent(err) {
		return fmt.Errorf("%s: Sentinel in pod %s: %w", s.d.a, s.by.Pod, err)
	}
	if text, answered := said(err); answered && !strings.HasPrefix(text, "INPROG") { // then one is on its way already
		p := party{"Sentinel", Endpoint{Pod: s.by.Pod, Host: s.by.Host, Port: s.by.Port}, s.d.sentinel}
		return &fleet.Refused{Reason: fmt.Sprintf("%s %s", p, p.reply(err, text)), Denied: strings.HasPrefix(text, "NOPERM")}
	}
	return nil
}

// unsent tells whether a command certainly did not leave, as there was no connection.
func unsent(err error) bool {
	var dial *dialError
	var secure *tlsError
	return errors.As(err, &dial) || errors.As(err, &secure)
}

// agreement waits until all Sentinels name one other than the old master, as a rule the heir.
func (s *handover) agreement(ctx context.Context) (string, error) {
	until := s.d.h.now().Add(agreeIn)
	for {
		s.pause.keep(ctx)
		all := s.named(ctx)
		if m, ok := s.agreed(all); ok {
			s.pause.keep(ctx)
			return m, nil
		}
		if err := s.d.h.sleep(ctx, agreePoll); err != nil || !s.d.h.now().Before(until) {
			return "", s.half("the Sentinels of store %s name %s and not all pod %s", s.d.st.Name, strings.Join(all, ", "), s.heir.Pod)
		}
	}
}

// named asks all Sentinels who is master; "nobody" where one does not say.
func (s *handover) named(ctx context.Context) []string {
	all := make([]string, len(s.ws))
	s.d.h.each(len(all), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, askNamed)
		defer cancel()
		all[i] = s.ws[i].asked(ctx)
	})
	return all
}

func (w *watcher) asked(ctx context.Context) string {
	v, err := w.line.do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.name)
	list, ok := v.([]any)
	if err != nil || !ok || len(list) != 2 {
		return "nobody"
	}
	host, _ := list[0].(string)
	port, _ := list[1].(string)
	return address(host, port)
}

// agreed tells whether all name the same, and not the old master any more.
func (s *handover) agreed(all []string) (string, bool) {
	for _, a := range all {
		if a != all[0] && !(s.heir.is(a) && s.heir.is(all[0])) {
			return "", false
		}
	}
	return all[0], all[0] != "nobody" && !s.old.is(all[0])
}

// pause holds writes to a master back. It is a lease: it lapses unless it is renewed.
type pause struct {
	d      *deed
	to     *line
	since  time.Time // when it was asked for last
	lapsed bool      // it was renewed too late once
}

// renew begins or prolongs it.
func (p *pause) renew(ctx context.Context) error {
	asked := p.d.h.now()
	if err := p.d.command(ctx, p.to, "CLIENT", "PAUSE", int(pauseFor.Milliseconds()), "WRITE"); err != nil {
		return err
	}
	p.lapsed = p.lapsed || !p.since.IsZero() && p.d.h.now().Sub(p.since) >= pauseFor
	p.since = asked
	return nil
}

// held tells whether no write can have come through since it began.
func (p *pause) held() bool { return !p.lapsed && p.d.h.now().Sub(p.since) < pauseFor }

// keep prolongs it when it is time. Where that fails the fence is left, and trying goes on.
func (p *pause) keep(ctx context.Context) {
	if p.d.h.now().Sub(p.since) < pauseAgain {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askNamed)
	defer cancel()
	_ = p.renew(ctx)
}

// unbroken prolongs it, and refuses when it has lapsed meanwhile: somebody may have written.
func (p *pause) unbroken(ctx context.Context) error {
	before := p.since
	if err := p.renew(ctx); err != nil {
		return err
	}
	if took := p.d.h.now().Sub(before); took >= pauseFor {
		return refuse("the pause of writes lapsed, as %s passed before it was renewed", took.Round(time.Millisecond))
	}
	return nil
}

// during asks something while writes are held, and leaves them held only if nothing was in the way.
func (p *pause) during(ctx context.Context, ask func(context.Context) error) error {
	err := p.renew(ctx)
	if err == nil {
		err = ask(ctx)
	}
	if err == nil {
		err = p.unbroken(ctx)
	}
	if err != nil {
		p.end(ctx)
	}
	return err
}

// replicate makes the paused master a replica. Where that fails the pause is left to lapse, as it may become one yet, and would drop what it takes.
func (p *pause) replicate(ctx context.Context, master string) error {
	host, port := hostPort(master)
	return p.d.command(ctx, p.to, "REPLICAOF", host, port)
}

// retire makes it a replica, and sends its clients away so that they look for the new master.
func (p *pause) retire(ctx context.Context, master string) error {
	if err := p.replicate(ctx, master); err != nil {
		return err
	}
	defer p.end(ctx)
	return p.d.command(ctx, p.to, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
}

// end lets writes through again, even when the time for the action is over. If that fails the pause lapses.
func (p *pause) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpIn)
	defer cancel()
	_, _ = p.to.do(ctx, "CLIENT", "UNPAUSE")
}
