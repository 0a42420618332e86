package aws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// bed is how "web" is before it sleeps.
func bed() *fleet.GroupSleep {
	return &fleet.GroupSleep{Environment: "staging", Run: "s-1", Min: 2, Max: 6, Desired: 3, Suspended: true}
}

// env does what an environment wants of a group.
func (r *region) env(a fleet.Action) error {
	a.Environment, a.Run = "staging", "s-1"
	return r.hand.Act(ctx, a)
}

func TestASleepIsMarkedOnce(t *testing.T) {
	r := newRegion(t)
	mark := fleet.Action{Verb: fleet.MarkGroup, Group: "web", Bed: bed()}
	for range 2 {
		r.ok(r.env(mark))
	}
	if got := r.group().Sleep; got == nil || *got != *bed() || r.calls("CreateOrUpdateTags") != 1 {
		t.Errorf("read back %v after %d calls", got, r.calls("CreateOrUpdateTags"))
	}
	other := mark
	other.Bed = bed()
	other.Bed.Desired = 0
	refusal(t, r.env(other), "the group has a mark already, which says v1 env=staging run=s-1 min=2 max=6 desired=3 suspended=true, and is to say v1 env=staging run=s-1 min=2 max=6 desired=0")
	for _, verb := range []fleet.Verb{fleet.MarkGroup, fleet.UnmarkGroup} {
		for env, run := range map[string]string{"qa": "s-1", "staging": "s-2"} {
			a := fleet.Action{Verb: verb, Group: "web", Environment: env, Run: run, Bed: &fleet.GroupSleep{Environment: env, Run: run}}
			refusal(t, r.hand.Act(ctx, a), "the group carries sleep s-1 of environment staging, expected "+run+" of "+env)
		}
	}
	if got := r.group().Sleep; got == nil || *got != *bed() {
		t.Errorf("somebody overwrote it: %v", got)
	}
	for range 2 {
		r.ok(r.env(fleet.Action{Verb: fleet.UnmarkGroup, Group: "web"}))
	}
	if got := r.group().Sleep; got != nil {
		t.Errorf("still there: %v", got)
	}
	r.ok(r.env(fleet.Action{Verb: fleet.UnmarkGroup, Group: "nowhere"}))
	refusal(t, r.env(fleet.Action{Verb: fleet.MarkGroup, Group: "nowhere", Bed: bed()}), "the group is gone")
}

func TestAnUnreadableSleepIsTrouble(t *testing.T) {
	r := newRegion(t)
	r.ok(r.sim.CreateOrUpdateTags([]cloud.GroupTag{{Group: "web", Key: "drover:environment", Value: "v1 env=staging min=2"}}))
	if g := r.group(); !strings.HasPrefix(g.Trouble, `tag drover:environment: mark "v1 env=staging min=2": `) || g.Sleep != nil || len(g.Instances) != 3 {
		t.Errorf("got %+v", g)
	}
	for _, a := range []fleet.Action{
		{Verb: fleet.MarkGroup, Bed: bed()}, {Verb: fleet.UnmarkGroup}, {Verb: fleet.Bound, From: 2, To: 0}, {Verb: fleet.Resize, From: 3, To: 4},
		{Verb: fleet.Protect, Instances: ids(r.group())},
	} {
		a.Group = "web"
		if err := r.env(a); err == nil || !strings.HasPrefix(err.Error(), "tag drover:environment: mark ") {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, call := range []string{"CreateOrUpdateTags", "DeleteTags", "UpdateAutoScalingGroup", "SetDesiredCapacity", "SetInstanceProtection"} {
		if r.calls(call) != 0 {
			t.Errorf("%s was called", call)
		}
	}
}

// A group that one environment has put to sleep is nobody else's.
func TestAnotherEnvironmentsGroupIsLeftAlone(t *testing.T) {
	r := newRegion(t)
	r.ok(r.env(fleet.Action{Verb: fleet.MarkGroup, Group: "web", Bed: bed()}))
	in := r.group().Instances[0].ID
	actions := []fleet.Action{
		{Verb: fleet.Bound, From: 2, To: 0}, {Verb: fleet.Resize, From: 3, To: 4}, {Verb: fleet.Protect, Instances: []string{in}}, {Verb: fleet.Unprotect, Instances: []string{in}},
		{Verb: fleet.Suspend, Process: fleet.AZRebalance}, {Verb: fleet.Resume, Process: fleet.AZRebalance}, {Verb: fleet.Terminate, Instance: in},
	}
	for _, a := range actions {
		a.Group, a.Environment, a.Run = "web", "qa", "s-7"
		refusal(t, r.hand.Act(ctx, a), "the group carries sleep s-1 of environment staging, expected s-7 of qa")
	}
	if g := r.group(); g.Min != 2 || g.Desired != 3 || g.Instance(in).Protected || g.Instance(in).Leaving() || len(g.Suspended) != 0 {
		t.Errorf("acted all the same: %+v", g)
	}
	m := fleet.GroupMark{Run: "r-2", At: r.clock.Now(), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Journal, Group: "web", Mark: &m}))
	for _, a := range actions {
		a.Group = "web"
		refusal(t, r.env(a), "the group now carries run r-2")
	}
}

func TestBound(t *testing.T) {
	r := newRegion(t)
	for range 2 {
		r.ok(r.env(fleet.Action{Verb: fleet.Bound, Group: "web", From: 2, To: 0}))
	}
	if g := r.group(); g.Min != 0 || g.Max != 6 || g.Desired != 3 {
		t.Errorf("%d-%d, desired %d", g.Min, g.Max, g.Desired)
	}
	refusal(t, r.env(fleet.Action{Verb: fleet.Bound, Group: "web", From: 2, To: 1}), "the minimum is 0 by now, expected 2")
	refusal(t, r.env(fleet.Action{Verb: fleet.Bound, Group: "web", From: 0, To: 7}), "the maximum is 6, below the minimum of 7 that is to be")
	refusal(t, r.env(fleet.Action{Verb: fleet.Bound, Group: "nowhere", From: 2, To: 0}), "the group is gone")
	r.sim.LoseReply("UpdateAutoScalingGroup")
	again := fleet.Action{Verb: fleet.Bound, Group: "web", From: 0, To: 4}
	if err := r.env(again); err == nil {
		t.Error("the answer was lost, and nobody noticed")
	}
	r.ok(r.env(again))
	if g := r.group(); g.Min != 4 || g.Desired != 4 {
		t.Errorf("minimum %d, desired %d: it follows", g.Min, g.Desired)
	}
}

// asleep makes node group "api" of cluster "prod", whose least is 2, and which its environment has marked.
func (r *region) asleep() {
	r.Helper()
	r.nodegroup("prod", "api", nil)
	r.ok(r.env(fleet.Action{Verb: fleet.MarkGroup, Group: "api", Bed: bed()}))
}

func TestSizesOfAManagedGroupAreEKSs(t *testing.T) {
	r := newRegion(t)
	r.asleep()
	lower := fleet.Action{Verb: fleet.Bound, Group: "api", From: 2, To: 0}
	r.ok(r.env(lower))
	refusal(t, r.env(fleet.Action{Verb: fleet.Resize, Group: "api", From: 3, To: 4}), "EKS says that the node group is UPDATING, and changes no sizes meanwhile")
	r.clock.Advance(time.Minute)
	r.ok(r.env(lower))
	n, err := r.sim.DescribeNodegroup("prod", "api")
	r.ok(err)
	if g := r.named("api"); n.Min != 0 || n.Max != 4 || n.Desired != 3 || g.Min != 0 || g.Desired != 3 || g.Sleep == nil || *g.Sleep != *bed() {
		t.Errorf("node group %d-%d desired %d, group %+v", n.Min, n.Max, n.Desired, g)
	}
	in := r.named("api").Instances[0].ID
	r.ok(r.env(fleet.Action{Verb: fleet.Terminate, Group: "api", Instance: in}))
	r.clock.Advance(10 * time.Minute)
	refusal(t, r.env(fleet.Action{Verb: fleet.Resize, Group: "api", From: 3, To: 4}), "desired is 2 by now, expected 3")
	refusal(t, r.env(fleet.Action{Verb: fleet.Resize, Group: "api", From: 2, To: 5}), "the group's maximum is 4, so desired cannot be 5")
	for range 2 {
		r.ok(r.env(fleet.Action{Verb: fleet.Resize, Group: "api", From: 2, To: 3}))
		r.clock.Advance(5 * time.Minute)
	}
	r.ok(r.env(fleet.Action{Verb: fleet.Bound, Group: "api", From: 0, To: 4})) // above desired
	r.clock.Advance(5 * time.Minute)
	refusal(t, r.env(fleet.Action{Verb: fleet.Resize, Group: "api", From: 4, To: 3}), "the group's minimum is 4, so desired cannot be 3")
	if g := r.named("api"); g.Min != 4 || g.Desired != 4 || len(g.Instances) != 4 {
		t.Errorf("minimum %d, desired %d, %d instances: they follow", g.Min, g.Desired, len(g.Instances))
	}
	for _, call := range []string{"UpdateAutoScalingGroup", "SetDesiredCapacity"} {
		if r.calls(call) != 0 {
			t.Errorf("%s behind EKS's back", call)
		}
	}
}

// What is not EKS's to say is done to the Auto Scaling group under it.
func TestAManagedGroupsScaling(t *testing.T) {
	r := newRegion(t)
	r.asleep()
	g := r.named("api")
	keeper := g.Instances[0].ID
	for range 2 {
		r.ok(r.env(fleet.Action{Verb: fleet.Suspend, Group: "api", Process: fleet.AZRebalance}))
		r.ok(r.env(fleet.Action{Verb: fleet.Protect, Group: "api", Instances: []string{keeper}}))
	}
	r.hand = r.connect(5) // one that has not observed the group
	r.ok(r.env(fleet.Action{Verb: fleet.Terminate, Group: "prod/api", Instance: g.Instances[1].ID}))
	r.clock.Advance(10 * time.Minute)
	if g = r.named("api"); !g.IsSuspended(fleet.AZRebalance) || !g.Instance(keeper).Protected || len(g.Instances) != 2 || g.Desired != 2 {
		t.Errorf("got %+v", g)
	}
	refusal(t, r.env(fleet.Action{Verb: fleet.Terminate, Group: "api", Instance: g.Instances[1].ID}),
		"the group's desired capacity is at its minimum of 2, so no instance may go without a replacement; raise desired or lower the minimum")
	r.ok(r.env(fleet.Action{Verb: fleet.Resume, Group: "api", Process: fleet.AZRebalance}))
	r.ok(r.env(fleet.Action{Verb: fleet.Unprotect, Group: "api", Instances: []string{keeper}}))
	r.ok(r.env(fleet.Action{Verb: fleet.UnmarkGroup, Group: "api"}))
	if g = r.named("api"); len(g.Suspended) != 0 || g.Instance(keeper).Protected || g.Sleep != nil {
		t.Errorf("left behind: %+v", g)
	}
}

func TestEKSHasForgottenTheGroup(t *testing.T) {
	r := newRegion(t)
	r.asleep()
	lower := fleet.Action{Verb: fleet.Bound, Group: "api", From: 2, To: 0}
	r.sim.FailNext("eks:UpdateNodegroupConfig", &cloud.Error{Code: "ResourceInUseException", Message: "another update goes on", Status: 409})
	refusal(t, r.env(lower), "EKS changes no sizes now: another update goes on")
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "ResourceNotFoundException", Message: "No node group found", Status: 404})
	refusal(t, r.env(lower), "EKS does not know node group api any more")
	r.sim.FailNext("eks:UpdateNodegroupConfig", &cloud.Error{Code: "AccessDeniedException", Message: "not authorized to perform: eks:UpdateNodegroupConfig", Status: 403})
	if err := r.env(lower); err == nil || !strings.Contains(err.Error(), "not authorized to perform: eks:UpdateNodegroupConfig; grant drover that permission") {
		t.Errorf("got %v", err)
	}
	r.ok(r.env(lower))
}

// AWS takes 50 instances in one call, and none that is not in service.
func TestProtect(t *testing.T) {
	r := newRegion(t)
	r.hand = r.connect(5)
	r.ok(r.sim.UpdateAutoScalingGroup("web", cloud.GroupUpdate{Max: new(200), Desired: new(120)}))
	r.clock.Advance(10 * time.Minute)
	all := ids(r.group())
	r.ok(r.sim.SetInstanceProtection("web", all[:10], true))
	r.ok(r.env(fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: all[119]}))
	protect := fleet.Action{Verb: fleet.Protect, Group: "web", Instances: append([]string{"i-gone"}, all...)}
	for range 2 {
		r.ok(r.env(protect))
	}
	if got := r.different("SetInstanceProtection"); got != 3 { // 109 are not so yet
		t.Errorf("%d calls", got)
	}
	if got := protected(r.group()); !slices.Equal(got, all[:119]) {
		t.Errorf("%d are protected", len(got))
	}
	r.ok(r.env(fleet.Action{Verb: fleet.Unprotect, Group: "web", Instances: all[1:]}))
	if got := protected(r.group()); !slices.Equal(got, all[:1]) {
		t.Errorf("%d are protected", len(got))
	}
	r.ok(r.sim.UpdateAutoScalingGroup("web", cloud.GroupUpdate{Desired: new(120)}))
	r.clock.Advance(5 * time.Second)
	protect.Instances = ids(r.group())
	refusal(t, r.env(protect), "not in service yet, and AWS protects none before")
	if got := protected(r.group()); len(got) < 119 {
		t.Errorf("%d are protected: the others need not wait", len(got))
	}
	r.clock.Advance(10 * time.Minute)
	r.ok(r.env(protect))
}

func protected(g *fleet.Group) []string {
	var out []string
	for _, in := range g.Instances {
		if in.Protected {
			out = append(out, in.ID)
		}
	}
	return out
}

func TestBusyAutoScalingIsAskedAgain(t *testing.T) {
	r := newRegion(t)
	for call, a := range map[string]fleet.Action{
		"CreateOrUpdateTags":     {Verb: fleet.MarkGroup, Bed: bed()},
		"UpdateAutoScalingGroup": {Verb: fleet.Bound, From: 2, To: 0},
		"SetInstanceProtection":  {Verb: fleet.Protect, Instances: ids(r.group())},
		"DeleteTags":             {Verb: fleet.UnmarkGroup},
	} {
		a.Group = "web"
		if call == "DeleteTags" {
			r.ok(r.env(fleet.Action{Verb: fleet.MarkGroup, Group: "web", Bed: bed()}))
		}
		r.tell(call, func(url.Values) (int, string) {
			return http.StatusBadRequest, fmt.Sprintf(`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, "ScalingActivityInProgress", call)
		})
		refusal(t, r.env(a), "AWS is busy: ScalingActivityInProgress: "+call)
		r.tell(call, nil)
		r.ok(r.env(a))
	}
}
