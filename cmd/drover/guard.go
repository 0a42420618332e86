package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/admit"
	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/kube"
)

// guarding is how the eviction guard was asked for.
type guarding struct {
	on        bool
	listen    string
	certDir   string
	namespace string
	bound     admit.Bound
}

// leastHold is the shortest bound that makes sense: less is over before a mover has begun.
const leastHold = 30 * time.Second

func (r *guarding) flags(f *pflag.FlagSet) {
	f.BoolVar(&r.on, "guard", false, "guard evictions: have those of pods that drover moves wait for it (drover install --controller --guard installs the webhook)")
	f.StringVar(&r.listen, "guard-listen", ":9443", "address where the guard answers the API server")
	f.StringVar(&r.certDir, "guard-cert-dir", "", "folder with the guard's tls.crt and tls.key, for those who keep them otherwise, as cert-manager does (otherwise drover makes them, in Secret "+guardName+")")
	f.StringVar(&r.namespace, "guard-namespace", guardNamespace, "namespace of the guard's Service and Secret; evictions in it are not guarded")
	f.DurationVar(&r.bound.Hold, "guard-hold", 10*time.Minute, "how long evictions of a pod may be held, unless a MoverPolicy says otherwise")
	f.StringVar((*string)(&r.bound.OnTimeout), "guard-on-timeout", string(admit.Allow), "what then becomes of them: allow or block")
}

func (r *guarding) check() error {
	switch {
	case !r.on:
		return nil
	case r.listen == "":
		return usagef("--guard-listen: the guard needs an address")
	case r.bound.Hold < leastHold:
		return usagef("--guard-hold: %s is less than %s", r.bound.Hold, leastHold)
	case r.bound.OnTimeout != admit.Allow && r.bound.OnTimeout != admit.Block:
		return usagef("--guard-on-timeout: %q is neither allow nor block", r.bound.OnTimeout)
	}
	return nil
}

// guardWorld is the cluster as the guard needs it.
type guardWorld interface {
	Observe(ctx context.Context, s *fleet.Snapshot) error
	Look(ctx context.Context, namespace, name string) (*kube.Look, error)
	Ask(ctx context.Context, pod fleet.PodRef, by string, at time.Time) error
	Unask(ctx context.Context, pod fleet.PodRef) error
}

// guardian is the guard of one process. A nil one does nothing.
type guardian struct {
	guard  *admit.Guard
	keeper *admit.Keeper
	dir    string // of certificates that others keep
	world  guardWorld
	bound  func(pod fleet.PodRef) admit.Bound
	leader func(ctx context.Context) (string, error)
	say    func(what string, err error)
	over   func() // ends it, and returns when it has ended

	mu    sync.Mutex
	fleet fleet.Snapshot // as last glanced at

	led  atomic.Pointer[led]
	view atomic.Pointer[engine.View] // this process's own, while it leads
}

// led is who led when it was last asked.
type led struct {
	at  time.Time
	who string
	err error
}

// How old what the guard goes by may be. An eviction that comes again comes after seconds.
const (
	glanceFor = 500 * time.Millisecond
	ledFor    = 3 * time.Second
	viewFor   = 30 * time.Second
)

// lookFor is how long a look past the informers may take: the rest of the review has to fit in, too.
const lookFor = 2 * time.Second

// guardian makes the guard of this process, and starts it; nil when there is to be none.
func (a *app) guardian(ctx context.Context, r *guarding, cluster *kube.Cluster, count func(verdict string), failed func(error)) (*guardian, error) {
	if !r.on {
		return nil, nil
	}
	g := a.newGuardian(r, cluster, count)
	return g, g.start(ctx, r.listen, failed)
}

func (a *app) newGuardian(r *guarding, cluster *kube.Cluster, count func(verdict string)) *guardian {
	client, log := cluster.Client(), a.logGuard(a.err)
	g := &guardian{
		keeper: &admit.Keeper{Vault: guardSecret{client, r.namespace}, Trust: guardTrust{client}, Hosts: guardHosts(r.namespace), Now: time.Now},
		dir:    r.certDir, world: cluster, bound: boundsOf(cluster, r.bound),
		leader: func(ctx context.Context) (string, error) { return leaderOf(ctx, cluster) },
		say:    a.sayGuard,
	}
	g.guard = &admit.Guard{ // without RetryAfter, as the API server's own answer about a budget: kubectl tries again each 5 s anyway, and says why
		Pod: g.pod, Ask: g.ask, Exempt: []string{metav1.NamespaceSystem, r.namespace}, Now: time.Now,
		Tell: func(e admit.Eviction, d admit.Decision) { count(string(d.Verdict)); log(e, d) },
	}
	return g
}

// boundsOf are what MoverPolicies say, else the usual. A policy that cannot be read bounds nothing; that its pods' store is in trouble is said elsewhere.
func boundsOf(cluster *kube.Cluster, usual admit.Bound) func(fleet.PodRef) admit.Bound {
	return func(pod fleet.PodRef) admit.Bound {
		says, ok, err := cluster.GuardOf(pod)
		if err != nil || !ok {
			return usual
		}
		b := usual
		if says.Hold > 0 {
			b.Hold = says.Hold
		}
		if b.OnTimeout = admit.Allow; says.Block {
			b.OnTimeout = admit.Block
		}
		return b
	}
}

// sayGuard writes a line for what the guard did about its keys, or could not do.
func (a *app) sayGuard(what string, err error) {
	if err != nil {
		fmt.Fprintf(a.err, "%s  %s guard: %v\n", stamp(), a.paint(red, "trouble "), err)
		return
	}
	fmt.Fprintf(a.err, "%s  %s %s\n", stamp(), a.paint(green, "guard   "), what)
}

// start serves until ctx ends, or close is called.
func (g *guardian) start(ctx context.Context, listen string, failed func(error)) error {
	if g.dir != "" {
		if err := g.keeper.LoadFrom(g.dir); err != nil {
			return err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("serve the guard at %s: %w", listen, err)
	}
	within, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := admit.Serve(within, l, g.keeper, g.guard, admit.Linger); err != nil && within.Err() == nil {
			failed(err)
		}
	})
	wg.Go(func() { g.load(within) })
	g.over = func() { stop(); wg.Wait() }
	return nil
}

// close ends the guard, and returns when it answers no more.
func (g *guardian) close() {
	if g != nil {
		g.over()
	}
}

// How often keys are looked at: seldom when all is well.
const (
	keysEvery     = time.Minute
	keysSoonEvery = 5 * time.Second
)

// load takes what somebody else has renewed.
func (g *guardian) load(ctx context.Context) {
	told := once{say: g.say}
	for ctx.Err() == nil {
		err := g.reload(ctx)
		if ctx.Err() == nil {
			told.tell(err)
		}
		pause(ctx, soonIf(err != nil || !g.keeper.Loaded()))
	}
}

func (g *guardian) reload(ctx context.Context) error {
	if g.dir != "" {
		return g.keeper.LoadFrom(g.dir)
	}
	return g.keeper.Load(ctx)
}

// keep makes and renews the keys, for as long as this process leads.
func (g *guardian) keep(ctx context.Context) {
	if g == nil || g.dir != "" {
		return
	}
	told := once{say: g.say}
	for ctx.Err() == nil {
		did, err := g.keeper.Keep(ctx)
		if err == nil && did != "" {
			g.say(did, nil)
			err = g.keeper.Load(ctx)
		}
		if ctx.Err() == nil {
			told.tell(err)
		}
		pause(ctx, soonIf(err != nil))
	}
}

// once tells of an error when it is another one than the last time.
type once struct {
	say  func(what string, err error)
	last string
}

func (o *once) tell(err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now != "" && now != o.last {
		o.say("", err)
	}
	o.last = now
}

func soonIf(soon bool) time.Duration {
	if soon {
		return keysSoonEvery
	}
	return keysEvery
}

// seeing has the guard tell what the engine of this process sees.
func (g *guardian) seeing(see func(engine.View)) func(engine.View) {
	if g == nil {
		return see
	}
	return func(v engine.View) {
		g.view.Store(&v)
		see(v)
	}
}

// pod is what is known of the pod that an eviction names.
func (g *guardian) pod(ctx context.Context, e admit.Eviction) (*admit.Pod, error) {
	s, err := g.glance(ctx)
	if err != nil {
		return nil, err
	}
	p := guardedPod(&s, e.Namespace, e.Name, g.holds(s.Now))
	if admit.Doubtful(e, p, s.Now) {
		if p, err = g.look(ctx, &s, e, p); err != nil {
			return nil, err
		}
	}
	if p == nil || p.Mover == "" {
		return p, nil
	}
	p.Bound = g.bound(fleet.PodRef{Namespace: e.Namespace, Name: e.Name, UID: p.UID})
	if p.Trouble == "" {
		p.Trouble = g.leaderless(ctx, s.Now)
	}
	return p, nil
}

// look reads the pod past the informers, for which a drain may be too quick. When that fails, what was seen of this very pod counts if Decide holds it by
// that: it bounds how long. Otherwise the guard is in trouble, and lets go.
func (g *guardian) look(ctx context.Context, s *fleet.Snapshot, e admit.Eviction, seen *admit.Pod) (*admit.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	live, err := g.world.Look(ctx, e.Namespace, e.Name)
	switch {
	case err != nil && seen != nil && !seen.Over && (e.UID == "" || e.UID == seen.UID):
		return seen, nil
	case err != nil || live == nil:
		return nil, err
	}
	st := s.StoreOf(live.Pod.Ref.UID)
	if st == nil && live.Store != "" {
		if st = s.Store(live.Store); st == nil || !st.Confirmed {
			st = &fleet.Store{Name: live.Store, Mover: live.Mover, Confirmed: true}
		}
	}
	p := asGuarded(&live.Pod, live.Node, st, g.holds(s.Now))
	p.Live = true
	return p, nil
}

// ask notes who wants a pod to leave. The first who asks stays noted; when the guard asks again, what is there cannot be read, and goes.
func (g *guardian) ask(ctx context.Context, pod fleet.PodRef, by string, at time.Time) error {
	s, err := g.glance(ctx)
	if err != nil {
		return err
	}
	if p := guardedPod(&s, pod.Namespace, pod.Name, nil); p == nil || p.UID != pod.UID || p.Asked != nil {
		if err := g.world.Unask(ctx, pod); err != nil {
			return err
		}
	}
	return g.world.Ask(ctx, pod, by, at)
}

// glance is the cluster as it was a moment ago: reading it anew for each of a hundred evictions of one drain would tell no more. Nobody is asked; the
// informers know.
func (g *guardian) glance(ctx context.Context) (fleet.Snapshot, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.guard.Now()
	if now.Sub(g.fleet.Now) < glanceFor {
		return g.fleet, nil
	}
	s := fleet.Snapshot{Now: now}
	if err := g.world.Observe(ctx, &s); err != nil {
		return s, err
	}
	g.fleet = s
	return s, nil
}

// holds are what the engine of this process stands still on, if it leads.
func (g *guardian) holds(now time.Time) []fleet.Hold {
	if v := g.view.Load(); v != nil && now.Sub(v.At) < viewFor {
		return v.Holds
	}
	return nil
}

// leaderless says that no controller leads, so that nothing moves. Whether one does is asked now and then.
func (g *guardian) leaderless(ctx context.Context, now time.Time) string {
	l := g.led.Load()
	if l == nil || now.Sub(l.at) > ledFor {
		l = &led{at: now}
		l.who, l.err = g.leader(ctx)
		g.led.Store(l)
	}
	if l.err != nil || l.who != "" {
		return ""
	}
	return "no drover controller leads; see its pods and their logs"
}

// guardedPod is what a snapshot says of a pod; nil when it has none of that name.
func guardedPod(s *fleet.Snapshot, namespace, name string, holds []fleet.Hold) *admit.Pod {
	i := slices.IndexFunc(s.Pods, func(p fleet.Pod) bool { return p.Ref.Namespace == namespace && p.Ref.Name == name })
	if i < 0 {
		return nil
	}
	pod := &s.Pods[i]
	return asGuarded(pod, s.Node(pod.Node), s.StoreOf(pod.Ref.UID), holds)
}

// asGuarded is a pod as the guard goes by it; its node and its store may be nil.
func asGuarded(pod *fleet.Pod, n *fleet.Node, st *fleet.Store, holds []fleet.Hold) *admit.Pod {
	p := &admit.Pod{UID: pod.Ref.UID, Over: pod.Finished || pod.Terminating, Asked: pod.Asked, Node: pod.Node, Created: pod.Created, Settled: settled(pod, n)}
	if c := pod.Courted; c != nil {
		p.Mover, p.Free, p.Step = c.Operator, c.Go, courting(c)
	} else if st != nil && st.Confirmed {
		p.Mover, p.Store, p.Trouble, p.Step = moverOf(st), st.Name, st.Trouble, stepOf(st, pod.Ref, holds)
	}
	return p
}

// settled tells whether nobody drains the pod's node. Whoever drains without cordoning taints: any taint that the pod could not have come past counts.
func settled(pod *fleet.Pod, n *fleet.Node) bool {
	return n != nil && evac.TakesPods(n) && !slices.ContainsFunc(n.Taints, func(t fleet.Taint) bool {
		return (t.Effect == fleet.NoSchedule || t.Effect == fleet.NoExecute) && !pod.Tolerates(t)
	})
}

// moverOf names a store's mover. Of one whose declaration cannot be read it is not known, and its pods are held all the same: they may have data.
func moverOf(st *fleet.Store) string {
	if st.Mover == "" {
		return "a mover that is not known"
	}
	return string(st.Mover)
}

func courting(c *fleet.Courted) string {
	switch {
	case c.Signal != "":
		return "is to " + c.Signal
	case c.Awaits != "":
		return "waits for " + c.Awaits
	}
	return ""
}

// stepOf is what a pod's mover does or waits for: in the engine's own words if this process leads, otherwise as far as the store shows it.
func stepOf(st *fleet.Store, pod fleet.PodRef, holds []fleet.Hold) string {
	for _, subject := range []string{"pod " + pod.String(), "store " + st.Name} {
		for _, h := range holds {
			if h.Subject == subject {
				return h.Reason
			}
		}
	}
	m := st.Move
	if m == nil {
		return ""
	}
	if m.Pod.Name == pod.Name {
		return "its move began at " + m.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("waits for the move of pod %s, which began at %s", m.Pod.Name, m.Since.UTC().Format(time.RFC3339))
}

// logGuard writes a line for what the guard began, or gave up. That somebody tries again is no news.
func (a *app) logGuard(w io.Writer) func(admit.Eviction, admit.Decision) {
	return func(e admit.Eviction, d admit.Decision) {
		pod := e.Namespace + "/" + e.Name
		switch {
		case d.Ask:
			fmt.Fprintf(w, "%s  %s eviction of pod %s by %s: %s\n", stamp(), a.paint(green, "guard   "), pod, e.By, d.Says)
		case d.Verdict == admit.TimedOut, d.Verdict == admit.Failed:
			fmt.Fprintf(w, "%s  %s eviction of pod %s by %s: %s\n", stamp(), a.paint(yellow, "guard   "), pod, e.By, d.Says)
		}
	}
}
