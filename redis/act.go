package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// deed is one action on the way.
type deed struct {
	h        *Hand
	st       *fleet.Store
	a        fleet.Action
	data     login
	sentinel login
}

// Act carries one action out on a store as it was observed a moment ago.
func (h *Hand) Act(ctx context.Context, st fleet.Store, a fleet.Action) error {
	do, ok := verbs[a.Verb]
	if !ok {
		return fmt.Errorf("%s: the verb is not one of stores", a)
	}
	d := &deed{h: h, st: &st, a: a}
	d.data, d.sentinel = h.logins(ctx, &st)
	return do(d, ctx)
}

var verbs = map[fleet.Verb]func(*deed, context.Context) error{
	fleet.Fence_:    (*deed).fence,
	fleet.Prefer:    (*deed).prefer,
	fleet.Steady:    (*deed).steady,
	fleet.Switch:    (*deed).switchMaster,
	fleet.Demote:    (*deed).demote,
	fleet.Attach:    (*deed).attach,
	fleet.Reset:     (*deed).reset,
	fleet.Meet:      (*deed).meet,
	fleet.Replicate: (*deed).replicate,
	fleet.Failover:  (*deed).failover,
	fleet.Leave:     (*deed).leave,
	fleet.Disown:    (*deed).disown,
}

// refuse is a refusal in a sentence of its own.
func refuse(format string, args ...any) error {
	return &fleet.Refused{Reason: fmt.Sprintf(format, args...)}
}

// member reads the member in a pod, which has to answer.
func (d *deed) member(ctx context.Context, ref fleet.PodRef) (*heard, error) {
	m := d.st.Member(ref.Name)
	if m == nil {
		return nil, refuse("pod %s is none of the members of store %s: it is gone, or not annotated", ref, d.st.Name)
	}
	if ref.UID != "" && m.Pod.UID != ref.UID {
		return nil, refuse("pod %s is another one by now (UID %s, expected %s)", ref, m.Pod.UID, ref.UID)
	}
	r := d.hear(ctx, *m)
	if r.Trouble != "" {
		return nil, refuse("%s", r.Trouble)
	}
	if r.Loading {
		return nil, refuse("Redis in pod %s is still loading its data", ref)
	}
	return r, nil
}

// hear asks the process that was observed, and no other.
func (d *deed) hear(ctx context.Context, m fleet.Member) *heard {
	r := d.h.hear(ctx, d.st, m, d.data)
	r.isStill(m)
	return &r
}

// pair reads Pod's and Peer's member.
func (d *deed) pair(ctx context.Context) (pod, peer *heard, err error) {
	var errPeer error
	d.h.each(2, func(i int) {
		if i == 0 {
			pod, err = d.member(ctx, d.a.Pod)
		} else {
			peer, errPeer = d.member(ctx, d.a.Peer)
		}
	})
	return pod, peer, cmp.Or(err, errPeer)
}

// members reads all members; each has to answer, except those that may be silent.
func (d *deed) members(ctx context.Context, silent func(*heard) bool) ([]*heard, error) {
	all := make([]*heard, len(d.st.Members))
	d.h.each(len(all), func(i int) { all[i] = d.hear(ctx, d.st.Members[i]) })
	for _, m := range all {
		if m.Trouble != "" && !silent(m) {
			return nil, refuse("every member of store %s has to answer: %s", d.st.Name, m.Trouble)
		}
	}
	return slices.DeleteFunc(all, func(m *heard) bool { return m.Trouble != "" }), nil
}

func none(*heard) bool { return false }

// command sends one that changes something, and makes a lack of rights a refusal.
func (d *deed) command(ctx context.Context, to *line, args ...any) error {
	_, err := to.do(ctx, args...)
	return d.outcome(to, err)
}

func (d *deed) outcome(to *line, err error) error {
	if err == nil {
		return nil
	}
	if text, answered := said(err); answered {
		p := party{"Redis", Endpoint{Pod: fleet.PodRef{Namespace: to.key.namespace, Name: to.key.name}, Host: to.key.host, Port: to.key.port}, d.data}
		return &fleet.Refused{Reason: fmt.Sprintf("%s %s", p, p.reply(err, text)), Denied: says(err, "NOPERM")}
	}
	return fmt.Errorf("%s: %w", d.a, err)
}

// fence has a master accept writes only while enough replicas follow. It puts back what was before, too.
func (d *deed) fence(ctx context.Context) error {
	m, err := d.member(ctx, d.a.Pod)
	if err != nil || m.Fence == d.a.Fence {
		return err
	}
	return d.outcome(m.line, m.line.set(ctx, setFence, strconv.Itoa(d.a.Fence.Replicas), setLag, strconv.Itoa(d.a.Fence.Lag)))
}

// prefer says how gladly Sentinels make a replica the master.
func (d *deed) prefer(ctx context.Context) error {
	m, err := d.member(ctx, d.a.Pod)
	if err != nil || m.Priority == d.a.To {
		return err
	}
	return d.outcome(m.line, m.line.set(ctx, setPriority, strconv.Itoa(d.a.To)))
}

// steady keeps a cluster from giving a member's replicas to other masters, or lets it again.
func (d *deed) steady(ctx context.Context) error {
	m, err := d.member(ctx, d.a.Pod)
	if err != nil || m.Migration == (d.a.To != 0) {
		return err
	}
	return d.outcome(m.line, m.line.set(ctx, setMigration, map[bool]string{false: "no", true: "yes"}[d.a.To != 0]))
}
