package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/notice"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
	memory "drover.dev/sandbox/fast"
)

// counting is a pair of hands that counts what is asked of them, and notes when the last of each verb was done.
type counting struct {
	*memory.CloudHand
	kube, aws int
	files     int // writes of Departure objects
	last      map[fleet.Verb]time.Time
	now       func() time.Time
}

type countingCluster struct {
	*cluster.Cluster
	c *counting
}

func (c *counting) Act(ctx context.Context, a fleet.Action) error {
	c.aws++
	c.last[a.Verb] = c.now()
	return c.CloudHand.Act(ctx, a)
}

func (h countingCluster) Act(ctx context.Context, a fleet.Action) error {
	h.c.kube++
	h.c.last[a.Verb] = h.c.now()
	return h.Cluster.Act(ctx, a)
}

// File counts what is written; reading what is on file costs nothing, an informer has it.
func (h countingCluster) File(ctx context.Context, instance string, change func(fleet.Case) (fleet.Case, bool)) error {
	return h.Cluster.File(ctx, instance, func(have fleet.Case) (fleet.Case, bool) {
		want, differs := change(have)
		h.c.files += on(differs)
		return want, differs
	})
}

func (h countingCluster) Confirm(ctx context.Context, a fleet.Action) error {
	if a.Expect.Empty {
		h.c.kube++ // a live read
	}
	return h.Cluster.Confirm(ctx, a)
}

// BenchmarkBurst notices many nodes in one instant, with 10 pods each that take 5 s to stop. The world's time is virtual, so that its seconds are those
// of decisions and of pods; ns/op is what drover itself computed. Compare termination.md, section 2.
func BenchmarkBurst(b *testing.B) {
	for _, nodes := range []int{100, 500} {
		for _, how := range []string{"spot", "hook", "spot-paced"} {
			b.Run(fmt.Sprintf("%s-%d", how, nodes), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					u := newBurst(b, nodes, how == "spot-paced")
					u.notice(how)
					b.StartTimer()
					u.run()
					b.StopTimer()
					u.report()
					b.StartTimer()
				}
			})
		}
	}
}

type burst struct {
	b     testing.TB
	w     *memory.World
	hands *counting
	watch *engine.Watch
	doom  []cloud.Instance
	how   string
	began time.Time
	empty map[string]time.Time // nodes of doomed instances, when nothing was left on them
}

const podsANode = 10

// newBurst makes a world of so many spot nodes, with as much room beside them. Workloads have budgets that allow everything at once, as those of the
// measured peers had none; paced, they have none, and drover lets a tenth of each move at a time.
func newBurst(b testing.TB, nodes int, paced bool) *burst {
	w := memory.New(memory.Options{})
	u := &burst{b: b, w: w, empty: map[string]time.Time{}}
	u.must(w.AddGroup(memory.GroupSpec{Name: "spot", Size: nodes, Max: 2 * nodes, Type: "m5.large", Spot: true, Labels: map[string]string{"pool": "spot"}}))
	u.settle()
	var budgets []cluster.BudgetSpec
	if !paced {
		budgets = []cluster.BudgetSpec{{MaxUnavailable: "100%"}}
	}
	for i := range podsANode {
		u.must(w.Deploy(cluster.Spec{
			Owner: fleet.Owner{Kind: "Deployment", Namespace: "default", Name: fmt.Sprintf("app%d", i)}, Replicas: nodes, Requests: fleet.Resources{CPU: 50, Memory: 64 << 20}, Stop: 5 * time.Second,
		}, budgets...))
	}
	u.settle()
	u.must(w.AddGroup(memory.GroupSpec{Name: "base", Size: nodes/10 + 2, Type: "m5.4xlarge", Labels: map[string]string{"pool": "base"}}))
	u.settle()
	u.hands = &counting{CloudHand: w.CloudHand(), last: map[fleet.Verb]time.Time{}, now: w.Now}
	return u
}

func (u *burst) must(err error) {
	u.b.Helper()
	if err != nil {
		u.b.Fatal(err)
	}
}

func (u *burst) settle() {
	u.b.Helper()
	if !u.w.Await(worldTime, u.w.Settled) {
		u.b.Fatal("the world does not come to rest")
	}
}

// notice has AWS take all nodes of the group at once, and begins a controller.
func (u *burst) notice(how string) {
	s := NewStage(Variation{Kind: Plain})
	s.w = u.w
	u.must(s.addQueue(parse(nil)))
	if how == "hook" {
		u.must(u.w.Cloud.PutLifecycleHook(cloud.Hook{Group: "spot", Name: "drover-terminate", Transition: cloud.HookTerminating, Heartbeat: 5 * time.Minute}))
	}
	hand := countingCluster{u.w.Cluster, u.hands}
	e := &engine.Engine{
		Cloud: u.hands, Cluster: hand, AllGroups: true, AtOnce: 1, Note: func(engine.Note) {}, Now: u.w.Now, CloudEvery: watchEvery,
	}
	c := &engine.Controller{
		Engine: e, Queue: u.w.Queue(s.mail.url, s.mail.dead), Docket: hand, Census: u.hands, Policy: fleet.UsualPolicy, Parse: notice.Parse, ClusterName: memory.ClusterName,
	}
	u.watch, u.how = c.Begin(), how
	_, err := u.watch.Tick(context.Background()) // it has been there for long
	u.must(err)
	for _, in := range u.w.Cloud.Instances() {
		if in.Group == "spot" && !in.Gone() {
			u.doom = append(u.doom, in)
		}
	}
	u.began = u.w.Now()
	if how == "hook" {
		zero := 0
		u.must(u.w.Cloud.UpdateAutoScalingGroup("spot", cloud.GroupUpdate{Min: &zero}))
		u.must(u.w.Cloud.SetDesiredCapacity("spot", 0, false))
		for len(u.w.Cloud.LifecycleWaits()) == 0 && u.w.Step() { // Auto Scaling takes its time
		}
		u.began = u.w.Now()
		return
	}
	for _, in := range u.doom {
		u.must(u.w.Cloud.InterruptSpot(in.ID, "terminate"))
	}
}

// run drives the controller until all nodes are empty and their hooks answered, for at most the two minutes of a spot notice.
func (u *burst) run() {
	ctx := context.Background()
	for u.w.Now().Sub(u.began) < noticeOfSpot && !u.over() {
		for {
			n, err := u.watch.Take(ctx)
			u.must(err)
			if n == 0 {
				break
			}
		}
		wait, err := u.watch.Tick(ctx)
		u.must(err)
		if wait > 0 && !u.w.Step() {
			u.b.Fatal("nothing will ever happen any more")
		}
	}
}

// over tells whether nothing is left to do, and notes which nodes have become empty.
func (u *burst) over() bool {
	left := map[string]bool{}
	for _, p := range u.w.Cluster.Pods(fleet.Owner{}) {
		left[p.Node] = left[p.Node] || p.Stays() == ""
	}
	for _, in := range u.doom {
		if _, known := u.empty[in.ID]; !known && !left[in.PrivateDNS] {
			u.empty[in.ID] = u.w.Now()
		}
	}
	return len(u.empty) == len(u.doom) && len(u.w.Cloud.LifecycleWaits()) == 0
}

// report gives the figures, and fails where a peer would have.
func (u *burst) report() {
	last := u.began
	for _, at := range u.empty {
		if at.After(last) {
			last = at
		}
	}
	if at := u.hands.last[fleet.Complete]; at.After(last) {
		last = at
	}
	n := float64(len(u.doom))
	m := u.b.(*testing.B)
	m.ReportMetric(u.hands.last[fleet.Shut].Sub(u.began).Seconds(), "s-last-taint")
	m.ReportMetric(last.Sub(u.began).Seconds(), "s-all-drained")
	m.ReportMetric(float64(u.hands.kube)/n, "kube-calls/node")
	m.ReportMetric(float64(u.hands.files)/n, "docket-writes/node")
	m.ReportMetric(float64(u.hands.aws)/n, "aws-calls/node")
	m.ReportMetric(float64(len(u.empty)), "empty-in-120s")
	lost := 0
	for _, l := range u.w.Cluster.Ledger().Lost {
		lost += on(!l.Stays)
	}
	if len(u.empty) < len(u.doom) || lost > 0 {
		u.b.Errorf("%s: %d of %d nodes empty, %d pods lost; %s", u.how, len(u.empty), len(u.doom), lost, strings.Join(u.left(), "; "))
	}
}

// left says what keeps nodes from being empty.
func (u *burst) left() []string {
	var out []string
	for _, p := range u.w.Cluster.Pods(fleet.Owner{}) {
		if p.Unplaced != "" && len(out) < 3 {
			out = append(out, p.Ref.String()+": "+p.Unplaced)
		}
	}
	return out
}
