package aws_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// always answers every call the same.
func always(status int, body string) answer {
	return func(url.Values) (int, string) { return status, body }
}

func scalingError(code, words string) answer {
	return always(400, fmt.Sprintf(`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, words))
}

func ec2Error(code, words string) answer {
	return always(400, fmt.Sprintf(`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors></Response>`, code, words))
}

const twoHooks = `<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult><LifecycleHooks>
<member><LifecycleHookName>drover-terminate</LifecycleHookName><LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition>
<HeartbeatTimeout>300</HeartbeatTimeout><DefaultResult>CONTINUE</DefaultResult><NotificationTargetARN>arn:aws:sqs:eu-central-1:123456789012:drover</NotificationTargetARN></member>
<member><LifecycleHookName>cni</LifecycleHookName><LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition>
<HeartbeatTimeout>60</HeartbeatTimeout><NotificationMetadata>m</NotificationMetadata></member>
</LifecycleHooks></DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>`

const (
	noHooks  = `<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult><LifecycleHooks/></DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>`
	noSpot   = `<DescribeSpotInstanceRequestsResponse><spotInstanceRequestSet/></DescribeSpotInstanceRequestsResponse>`
	noEvents = `<DescribeInstanceStatusResponse><instanceStatusSet/></DescribeInstanceStatusResponse>`
)

func spotRequests(codes map[string]string, updated time.Time) string {
	var b strings.Builder
	for id, code := range codes {
		fmt.Fprintf(&b, `<item><instanceId>%s</instanceId><status><code>%s</code><updateTime>%s</updateTime></status></item>`, id, code, updated.Format(time.RFC3339))
	}
	return `<DescribeSpotInstanceRequestsResponse><spotInstanceRequestSet>` + b.String() + `</spotInstanceRequestSet></DescribeSpotInstanceRequestsResponse>`
}

// quiet is a region of which the hand tells notices, and where there are none.
func quiet(t *testing.T) *region {
	r := newRegion(t)
	r.hand.Notices = true
	r.tell("DescribeLifecycleHooks", always(200, noHooks))
	r.tell("DescribeSpotInstanceRequests", always(200, noSpot))
	r.tell("DescribeInstanceStatus", always(200, noEvents))
	return r
}

// spotted has EC2 say of the region's instances that they are spot.
func (r *region) spotted(ids ...string) {
	r.tell("DescribeInstances", func(form url.Values) (int, string) {
		var b strings.Builder
		for i := 1; form.Has(fmt.Sprintf("Filter.1.Value.%d", i)); i++ {
			id := form.Get(fmt.Sprintf("Filter.1.Value.%d", i))
			kind := ""
			if slices.Contains(ids, id) {
				kind = "<instanceLifecycle>spot</instanceLifecycle>"
			}
			fmt.Fprintf(&b, `<item><instanceId>%s</instanceId>%s<launchTime>2026-11-21T20:00:00Z</launchTime></item>`, id, kind)
		}
		return 200, `<DescribeInstancesResponse><reservationSet><item><instancesSet>` + b.String() + `</instancesSet></item></reservationSet></DescribeInstancesResponse>`
	})
}

var asked = []string{"DescribeLifecycleHooks", "DescribeSpotInstanceRequests", "DescribeInstanceStatus"}

// counted tells how often each of asked was.
func (r *region) counted() [3]int {
	var n [3]int
	for i, action := range asked {
		n[i] = r.calls(action)
	}
	return n
}

func TestNoticesCostNothingUnlessAskedFor(t *testing.T) {
	r := quiet(t)
	r.hand.Notices = false
	r.group()
	if n := r.counted(); n != [3]int{} {
		t.Errorf("asked %v times for %v", n, asked)
	}
}

func TestNoticesAreAskedForNowAndThen(t *testing.T) {
	r := quiet(t)
	for _, step := range []struct {
		after time.Duration
		want  [3]int
	}{{0, [3]int{1, 0, 1}}, {29 * time.Second, [3]int{1, 0, 1}}, {time.Second, [3]int{1, 0, 2}}, {29 * time.Second, [3]int{1, 0, 2}}, {time.Second, [3]int{2, 0, 3}}} {
		r.clock.Advance(step.after)
		r.group()
		if n := r.counted(); n != step.want {
			t.Errorf("%s later asked %v times for %v, want %v: none of the instances is spot", step.after, n, asked, step.want)
		}
	}
}

func TestHooksOfAGroup(t *testing.T) {
	r := quiet(t)
	r.tell("DescribeLifecycleHooks", always(200, twoHooks))
	want := []fleet.Hook{
		{Name: "cni", Launching: true, Heartbeat: time.Minute, Abandon: true, Metadata: "m"},
		{Name: "drover-terminate", Heartbeat: 5 * time.Minute, Target: "arn:aws:sqs:eu-central-1:123456789012:drover"},
	}
	if g := r.group(); !slices.Equal(g.Hooks, want) {
		t.Errorf("hooks %+v", g.Hooks)
	}
	r.group().Hooks[0].Name = "spoilt"
	if got := r.group().Hooks[0].Name; got != "cni" {
		t.Errorf("who reads an observation changes what is remembered: %s", got)
	}
}

// EC2 says only of an instance that is gone when it went: it had said so two minutes before.
func TestReclaimedSpotInstances(t *testing.T) {
	r := quiet(t)
	ids := r.group().Instances
	r.hand = r.connect(1)
	r.hand.Notices = true
	r.spotted(ids[0].ID, ids[1].ID)
	at := r.clock.Now().Add(-10 * time.Second)
	r.tell("DescribeSpotInstanceRequests", func(form url.Values) (int, string) {
		if form.Get("Filter.1.Name") != "status-code" || form.Has("Filter.2.Name") || form.Has("SpotInstanceRequestId.1") {
			t.Errorf("asked for %v", form)
		}
		return 200, spotRequests(map[string]string{ids[0].ID: "marked-for-termination", ids[1].ID: "instance-terminated-no-capacity", "i-0other": "marked-for-stop"}, at)
	})
	g := r.group()
	for i, want := range []time.Time{at, at.Add(-2 * time.Minute), {}} {
		if in := g.Instance(ids[i].ID); !in.Reclaimed.Equal(want) || in.Spot == want.IsZero() {
			t.Errorf("instance %d: spot %v, reclaimed %s, want %s", i, in.Spot, in.Reclaimed, want)
		}
	}
}

func TestScheduledEvents(t *testing.T) {
	r := quiet(t)
	id := r.group().Instances[0].ID
	r.clock.Advance(time.Minute)
	r.tell("DescribeInstanceStatus", always(200, `<DescribeInstanceStatusResponse><instanceStatusSet><item><instanceId>`+id+`</instanceId><eventsSet>
<item><instanceEventId>e-3</instanceEventId><code>instance-retirement</code><description>The instance is on degraded hardware</description><notBefore>2026-12-03T00:00:00Z</notBefore></item>
<item><instanceEventId>e-1</instanceEventId><code>system-reboot</code><description>[Completed] scheduled reboot</description><notBefore>2026-12-01T00:00:00Z</notBefore></item>
<item><instanceEventId>e-0</instanceEventId><code>instance-stop</code><description>[Canceled] stop</description><notBefore>2026-12-01T00:00:00Z</notBefore></item>
<item><instanceEventId>e-2</instanceEventId><code>system-maintenance</code><description>network</description><notBefore>2026-12-02T00:00:00Z</notBefore></item>
</eventsSet></item></instanceStatusSet></DescribeInstanceStatusResponse>`))
	want := []fleet.Scheduled{
		{ID: "e-2", Effect: "maintain", NotBefore: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC), Words: "network"},
		{ID: "e-3", Effect: "retire", NotBefore: time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC), Words: "The instance is on degraded hardware"},
	}
	if got := r.group().Instance(id).Scheduled; !slices.Equal(got, want) {
		t.Errorf("scheduled %+v", got)
	}
}

// A right that is missing must not keep the groups from being seen.
func TestMissingRightsOfNoticesAreGaps(t *testing.T) {
	r := quiet(t)
	ids := r.group().Instances
	r.hand = r.connect(1)
	r.hand.Notices = true
	r.spotted(ids[0].ID)
	r.tell("DescribeLifecycleHooks", scalingError("AccessDenied", "no"))
	r.tell("DescribeSpotInstanceRequests", ec2Error("UnauthorizedOperation", "no"))
	r.tell("DescribeInstanceStatus", ec2Error("UnauthorizedOperation", "no"))
	if g := r.group(); len(g.Instances) != 3 || g.Trouble != "" {
		t.Errorf("group %+v", g)
	}
	want := []string{
		"the lifecycle hooks of groups could not be checked: needs autoscaling:DescribeLifecycleHooks",
		"what EC2 has scheduled for instances could not be checked: needs ec2:DescribeInstanceStatus",
		"which spot instances EC2 takes back could not be checked: needs ec2:DescribeSpotInstanceRequests",
	}
	if got := r.hand.Gaps(); !slices.Equal(got, want) {
		t.Errorf("gaps %q", got)
	}
	before := r.counted()
	r.group()
	if n := r.counted(); n != before {
		t.Errorf("asked again at once: %v, then %v", before, n)
	}
	r.tell("DescribeLifecycleHooks", always(200, twoHooks))
	r.tell("DescribeSpotInstanceRequests", always(200, noSpot))
	r.tell("DescribeInstanceStatus", always(200, noEvents))
	r.clock.Advance(time.Minute)
	if g := r.group(); len(g.Hooks) != 2 || len(r.hand.Gaps()) != 0 {
		t.Errorf("hooks %v, gaps %q after the rights were granted", g.Hooks, r.hand.Gaps())
	}
}

func TestTheLastAnswerStandsWhileAWSIsBusy(t *testing.T) {
	r := quiet(t)
	ids := r.group().Instances
	r.hand = r.connect(1)
	r.hand.Notices = true
	r.spotted(ids[0].ID)
	r.tell("DescribeLifecycleHooks", always(200, twoHooks))
	r.tell("DescribeSpotInstanceRequests", always(200, spotRequests(map[string]string{ids[0].ID: "marked-for-termination"}, r.clock.Now())))
	r.group()
	r.tell("DescribeLifecycleHooks", scalingError("Throttling", "Rate exceeded"))
	r.tell("DescribeSpotInstanceRequests", ec2Error("RequestLimitExceeded", "Request limit exceeded."))
	r.clock.Advance(time.Minute)
	before := r.counted()
	for range 2 {
		if g := r.group(); len(g.Hooks) != 2 || g.Instance(ids[0].ID).Reclaimed.IsZero() {
			t.Errorf("forgotten: hooks %v, reclaimed %s", g.Hooks, g.Instance(ids[0].ID).Reclaimed)
		}
	}
	if n := r.counted(); n[0] != before[0]+2 || n[1] != before[1]+2 {
		t.Errorf("asked %v times before, %v after: it is to be asked until there is an answer", before, n)
	}
	if got := r.hand.Gaps(); len(got) != 2 || !strings.Contains(got[0], "AWS is busy: Throttling: Rate exceeded") {
		t.Errorf("gaps %q", got)
	}
}

func TestExpiredCredentialsEndTheSweep(t *testing.T) {
	r := quiet(t)
	r.tell("DescribeInstanceStatus", ec2Error("RequestExpired", "Request has expired."))
	_, err := r.hand.Groups(ctx, []string{"web"})
	var fatal *fleet.Fatal
	if !errors.As(err, &fatal) || !strings.Contains(err.Error(), "what EC2 has scheduled for instances") {
		t.Errorf("got %v", err)
	}
}

func TestAGroupThatWentHasNoHooks(t *testing.T) {
	r := quiet(t)
	r.tell("DescribeLifecycleHooks", scalingError("ValidationError", "AutoScalingGroup name not found"))
	if g := r.group(); len(g.Hooks) != 0 || len(r.hand.Gaps()) != 0 {
		t.Errorf("hooks %v, gaps %q", g.Hooks, r.hand.Gaps())
	}
}

// many makes a group of n instances, and returns their ids.
func (r *region) many(n int) []string {
	r.Helper()
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "many", Max: n, Desired: n, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: r.id, Version: "$Latest"}}}))
	r.clock.Advance(20 * time.Minute)
	groups, err := r.sim.DescribeAutoScalingGroups([]string{"many"}, nil)
	r.ok(err)
	var ids []string
	for _, m := range groups[0].Members {
		ids = append(ids, m.InstanceID)
	}
	if len(ids) != n {
		r.Fatalf("%d instances", len(ids))
	}
	return ids
}

// However many instances there are, what is about to happen to them is one question for each kind, and EC2 is asked of 200 in one call.
func TestManyInstancesAreAskedAboutTogether(t *testing.T) {
	r := quiet(t)
	ids := r.many(250)
	r.spotted(ids...)
	hand := r.connect(5)
	hand.Notices = true
	before, machines := r.counted(), r.different("DescribeInstances")
	groups, err := hand.Groups(ctx, []string{"many"})
	r.ok(err)
	n := r.counted()
	if n[0]-before[0] != 1 || n[1]-before[1] != 1 || n[2]-before[2] != 1 || r.different("DescribeInstances")-machines != 2 {
		t.Errorf("asked %v times for %v, and %d times for instances", n, asked, r.different("DescribeInstances")-machines)
	}
	for _, in := range groups[0].Instances {
		if !in.Spot || in.Launched.IsZero() {
			t.Fatalf("instance %+v", in)
		}
	}
}

func TestMachines(t *testing.T) {
	r := newRegion(t)
	ids := r.many(250)
	r.ok(r.sim.SuspendProcesses("many", []string{"HealthCheck", "ReplaceUnhealthy"}))
	_, err := r.sim.TerminateInstances(ids[:1])
	r.ok(err)
	r.clock.Advance(5 * time.Minute)
	hand, before := r.connect(5), r.different("DescribeInstances")
	got, err := hand.Machines(ctx, slices.Concat(ids, ids, []string{"i-00000000000000000"}))
	r.ok(err)
	if n := r.different("DescribeInstances") - before; n != 2 || len(got) != len(ids) {
		t.Errorf("%d calls told of %d machines, want 2 and %d", n, len(got), len(ids))
	}
	for _, m := range got {
		want := "running"
		if m.ID == ids[0] {
			want = fleet.MachineGone
		}
		if m.State != want || m.Launched.IsZero() {
			t.Fatalf("machine %+v, want it %s", m, want)
		}
	}
	before = r.different("DescribeInstances")
	if got, err := hand.Machines(ctx, nil); err != nil || len(got) != 0 || r.different("DescribeInstances") != before {
		t.Errorf("of none: %v, %v", got, err)
	}
}

func TestMachinesWithoutTheRight(t *testing.T) {
	r := newRegion(t)
	r.tell("DescribeInstances", ec2Error("UnauthorizedOperation", "no"))
	_, err := r.hand.Machines(ctx, []string{"i-00000000000000000"})
	refusal(t, err, "describe instances: AWS refuses: UnauthorizedOperation")
}
