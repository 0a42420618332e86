package aws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

const elbThrottled = `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`

// deny has a call denied, in the words of its service.
func (r *region) deny(call string) {
	if slices.Contains([]string{"DescribeInstances", "DescribeLaunchTemplates", "DescribeInstanceStatus"}, call) {
		r.tell(call, ec2Error("UnauthorizedOperation", "no"))
		return
	}
	r.tell(call, scalingError("AccessDenied", "no"))
}

// What is told of NoticeActions: without one of the rights to look, the rest is seen.
func TestAMissingRightToLookIsAGap(t *testing.T) {
	for call, needs := range map[string]string{
		"DescribeTargetHealth": "elasticloadbalancing:DescribeTargetHealth", "DescribeTargetGroups": "elasticloadbalancing:DescribeTargetGroups",
		"DescribeTargetGroupAttributes": "elasticloadbalancing:DescribeTargetGroupAttributes", "DescribeInstances": "ec2:DescribeInstances", "DescribeLaunchTemplates": "ec2:DescribeLaunchTemplates",
	} {
		r := quiet(t)
		r.deny(call)
		g := r.group()
		if len(g.Instances) != 3 {
			t.Errorf("%s: group %+v", call, g)
		}
		if strings.Contains(g.Trouble, "does not exist") {
			t.Errorf("%s: what cannot be read is said to be gone: %s", call, g.Trouble)
		}
		if _, _, err := r.hand.Targets(ctx); err != nil {
			t.Errorf("%s: targets: %v", call, err)
		}
		if gaps := strings.Join(r.hand.Gaps(), "\n"); !strings.Contains(gaps, needs) {
			t.Errorf("%s: gaps %q", call, gaps)
		}
		before := r.calls(call)
		r.group()
		if n := r.calls(call); n != before {
			t.Errorf("%s was asked again at once", call)
		}
		r.hand = r.connect(1)
		if _, err := r.hand.Groups(ctx, []string{"web"}); err == nil {
			t.Errorf("%s: a rotation goes on without it", call)
		}
	}
}

func TestTargetsStandWhileLoadBalancingIsBusy(t *testing.T) {
	r := quiet(t)
	r.hand = r.connect(1)
	r.hand.Notices = true
	tg, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: "pods", TargetType: "ip", Port: 8080})
	r.ok(err)
	r.ok(r.sim.RegisterTargets(tg.ARN, []cloud.TargetID{{ID: "10.0.0.7"}}))
	loose := r.loose("ingress", 31000)
	r.clock.Advance(time.Minute)
	before := r.group()
	pods, _, err := r.hand.Targets(ctx)
	r.ok(err)
	for _, call := range []string{"DescribeTargetHealth", "DescribeTargetGroups", "DescribeTargetGroupAttributes"} {
		r.tell(call, always(400, elbThrottled))
	}
	for range 3 {
		r.clock.Advance(20 * time.Minute) // until it is time to ask again about everything
		g := r.group()
		for _, in := range before.Instances {
			if now := g.Instance(in.ID); now.Target(r.arn) != fleet.TargetHealthy || now.Target(loose) != fleet.TargetHealthy {
				t.Fatalf("forgotten: %+v", now)
			}
		}
		if !slices.Equal(g.Targets, before.Targets) || g.Trouble != "" {
			t.Errorf("target groups %+v, before %+v, trouble %q", g.Targets, before.Targets, g.Trouble)
		}
		again, _, err := r.hand.Targets(ctx)
		if err != nil || len(again["10.0.0.7"]) != 1 || len(pods["10.0.0.7"]) != 1 {
			t.Errorf("pods %v, before %v: %v", again, pods, err)
		}
	}
	r.tell("DescribeTargetGroups", nil) // they are listed again, and say nothing
	r.clock.Advance(time.Minute)
	if again, _, err := r.hand.Targets(ctx); err != nil || len(again["10.0.0.7"]) != 1 {
		t.Errorf("pods %v: %v", again, err)
	}
	r.tell("DescribeTargetGroups", always(400, elbThrottled))
	r.group()
	if gaps := strings.Join(r.hand.Gaps(), "\n"); strings.Count(gaps, "AWS is busy: Throttling: Rate exceeded") != 4 {
		t.Errorf("gaps %q", gaps)
	}
	for _, call := range []string{"DescribeTargetHealth", "DescribeTargetGroups", "DescribeTargetGroupAttributes"} {
		r.tell(call, nil)
	}
	r.ok(r.sim.DeregisterTargets(loose, []cloud.TargetID{{ID: before.Instances[0].ID, Port: 31000}}))
	if got := r.group().Instance(before.Instances[0].ID).Target(loose); got != fleet.TargetDraining {
		t.Errorf("target is %s", got)
	}
	_, _, err = r.hand.Targets(ctx)
	if gaps := r.hand.Gaps(); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %q: %v", gaps, err)
	}
}

// A target group that is silent is unlike one that answers, or one that is gone.
func TestOneSilentTargetGroup(t *testing.T) {
	r := quiet(t)
	loose := r.loose("ingress", 31000)
	id := r.group().Instances[0].ID
	r.hand = r.connect(1)
	r.hand.Notices = true
	r.group()
	r.tell("DescribeTargetHealth", func(form url.Values) (int, string) {
		if form.Get("TargetGroupArn") == loose {
			return 400, elbThrottled
		}
		return 200, `<DescribeTargetHealthResponse><DescribeTargetHealthResult><TargetHealthDescriptions/></DescribeTargetHealthResult></DescribeTargetHealthResponse>`
	})
	in := r.group().Instance(id)
	if in.Target(r.arn) != fleet.TargetUnused || in.Target(loose) != fleet.TargetHealthy {
		t.Errorf("the one that answers says it is gone, the other says nothing: %+v", in.Targets)
	}
	r.tell("DescribeTargetHealth", scalingError("TargetGroupNotFound", "gone"))
	if g := r.group(); len(g.Instance(id).Targets) != 0 || !strings.Contains(g.Trouble, "does not exist any more") {
		t.Errorf("trouble %q, instance %+v", g.Trouble, g.Instance(id))
	}
}

func TestTemplatesStandWhileEC2IsBusy(t *testing.T) {
	r := quiet(t)
	want := r.group().Wants
	r.tell("DescribeLaunchTemplates", ec2Error("RequestLimitExceeded", "Request limit exceeded."))
	if g := r.group(); g.Trouble != "" || !slices.EqualFunc(g.Wants, want, fleet.Template.Same) {
		t.Errorf("trouble %q, wants %+v, before %+v", g.Trouble, g.Wants, want)
	}
	r.hand = r.connect(1)
	r.hand.Notices = true
	if g := r.group(); !strings.Contains(g.Trouble, "could not be described") {
		t.Errorf("a version that is not known is compared with others: %q, %+v", g.Trouble, g.Wants)
	}
}

// What is scheduled stands while it cannot be read.
func TestADenialIsNoCancellation(t *testing.T) {
	r := newRegion(t)
	r.hand.Notices = true
	id := r.group().Instances[0].ID
	_, err := r.sim.ScheduleEvent("instance-retirement", r.clock.Now().Add(48*time.Hour), "x", id)
	r.ok(err)
	r.clock.Advance(time.Minute)
	if in := r.group().Instance(id); len(in.Scheduled) != 1 {
		t.Fatalf("%+v", in)
	}
	r.deny("DescribeInstanceStatus")
	for range 3 {
		r.clock.Advance(time.Minute)
		if in := r.group().Instance(id); len(in.Scheduled) != 1 {
			t.Errorf("a missing right took back what EC2 announced: %+v", in.Scheduled)
		}
	}
}

func TestADenialForgetsNoHooks(t *testing.T) {
	r := watched(t, nil)
	if len(r.group().Hooks) != 1 {
		t.Fatal("no hook")
	}
	r.deny("DescribeLifecycleHooks")
	for range 40 {
		r.clock.Advance(2 * time.Minute)
		if n := len(r.group().Hooks); n != 1 {
			t.Fatalf("a missing right took the hooks away: %d", n)
		}
	}
}

// A service that hangs holds the others up once, not in every look.
func TestAServiceThatHangsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hand := aws.New(sdk.Config{Region: "eu-west-1"})
		hand.Notices = true
		asked := 0
		ask := func() time.Duration {
			before := time.Now()
			answered, err := hand.Ask(ctx, "a service", "a:right", func(ctx context.Context) error { asked++; <-ctx.Done(); return ctx.Err() })
			if answered || err != nil {
				t.Errorf("answered %v: %v", answered, err)
			}
			return time.Since(before)
		}
		if first, second := ask(), ask(); first != 10*time.Second || second != 0 || asked != 1 {
			t.Errorf("waited %s, then %s, asked %d times", first, second, asked)
		}
		if gaps := hand.Gaps(); len(gaps) != 1 || !strings.Contains(gaps[0], "AWS gave no answer within 10s") {
			t.Errorf("gaps %q", gaps)
		}
		time.Sleep(30 * time.Second)
		if ask(); asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// A time limit of the network's is no end of who asks.
func TestTimeLimitsOfOthers(t *testing.T) {
	hand := aws.New(sdk.Config{Region: "eu-west-1"})
	hand.Notices = true
	hung := &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
	if _, err := hand.Ask(ctx, "a service", "a:right", func(context.Context) error { return hung }); err != nil || len(hand.Gaps()) != 1 {
		t.Errorf("gaps %q: %v", hand.Gaps(), err)
	}
	late, end := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer end()
	if _, err := hand.Ask(late, "another", "a:right", func(ctx context.Context) error { return ctx.Err() }); err == nil {
		t.Error("there was no time left, and it is taken for an answer")
	}
	if answered, err := hand.Ask(ctx, "another", "a:right", func(context.Context) error { t.Error("asked again at once"); return nil }); answered || err != nil {
		t.Errorf("answered %v: %v", answered, err)
	}
	over, stop := context.WithCancel(ctx)
	if _, err := hand.Ask(over, "a service", "a:right", func(context.Context) error { stop(); return hung }); err == nil {
		t.Error("who asks has left, and it is taken for an answer")
	}
}

// own makes a managed group of this cluster's and some of others'.
func (r *region) own() {
	r.nodegroup("prod", "api", nil)
	for i := range 3 {
		r.nodegroup(fmt.Sprintf("other-%d", i), "jobs", nil)
	}
	r.hand.Notices, r.hand.Cluster = true, "prod"
}

func TestOtherClustersGroupsAreOnlyListed(t *testing.T) {
	r := newRegion(t)
	r.own()
	groups, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	if len(groups) != 5 {
		t.Fatalf("%d groups", len(groups))
	}
	for _, g := range groups {
		if len(g.Instances) == 0 || g.Instances[0].Lifecycle != fleet.InService || g.Scaling() == "" {
			t.Errorf("group %+v", g)
		}
		if other := strings.HasPrefix(g.Cluster, "other-"); other != g.Instances[0].Launched.IsZero() || other && (g.Managed.Status != "" || len(g.Hooks) > 0 || g.Trouble != "") {
			t.Errorf("group %s of cluster %q: %+v, managed %+v", g.Name, g.Cluster, g, g.Managed)
		}
	}
	if n := r.different("DescribeLifecycleHooks"); n != 2 {
		t.Errorf("asked for the hooks of %d groups, want web and api", n)
	}
	if n := r.eksCalls(); n != 2 {
		t.Errorf("asked EKS %d times, want once about the node group and once about the cluster", n)
	}
}

// A minute in which nothing happens takes few calls, however many node groups there are.
func TestEKSIsAskedOnceAMinute(t *testing.T) {
	r := newRegion(t)
	r.own()
	r.among("api")
	before := r.calls("GetParameter") + r.eksCalls()
	for range 11 {
		r.clock.Advance(5 * time.Second)
		if m := r.among("api").Managed; m.Status != "ACTIVE" || m.Version == "" || m.Latest != m.Version {
			t.Fatalf("managed %+v", m)
		}
	}
	if n := r.calls("GetParameter") + r.eksCalls() - before; n != 0 {
		t.Errorf("EKS was asked %d times within a minute", n)
	}
	r.ok(r.sim.SetClusterVersion("prod", "1.34"))
	r.clock.Advance(5 * time.Second)
	if m := r.among("api").Managed; m.Latest == m.Version {
		t.Errorf("a minute later managed is %+v", m)
	}
}

// among is a group of all that are observed.
func (r *region) among(name string) *fleet.Group {
	r.Helper()
	groups, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	i := slices.IndexFunc(groups, func(g fleet.Group) bool { return g.Name == name })
	if i < 0 {
		r.Fatalf("no group %s", name)
	}
	return &groups[i]
}

func TestEKSsWordStands(t *testing.T) {
	r := newRegion(t)
	r.own()
	want := *r.among("api").Managed
	r.clock.Advance(time.Minute)
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "AccessDeniedException", Message: "not you", Status: 403})
	if g := r.among("api"); *g.Managed != want || g.Trouble != "" {
		t.Errorf("managed %+v, before %+v, trouble %q", g.Managed, want, g.Trouble)
	}
	if gaps := r.hand.Gaps(); len(gaps) != 1 || !strings.Contains(gaps[0], "eks:DescribeNodegroup") {
		t.Errorf("gaps %q", gaps)
	}
	r.clock.Advance(time.Minute)
	r.sim.FailNext("eks:DescribeCluster", &cloud.Error{Code: "ServerException", Message: "broken", Status: 400})
	if g := r.among("api"); *g.Managed != want || g.Trouble != "" {
		t.Errorf("managed %+v, before %+v, trouble %q", g.Managed, want, g.Trouble)
	}
	r.hand = r.connect(1)
	r.hand.Notices = true
	r.sim.FailNext("eks:DescribeCluster", &cloud.Error{Code: "ServerException", Message: "broken", Status: 400})
	if m := r.among("api").Managed; m.Status != "ACTIVE" || m.Latest != m.Version || m.Version == "" {
		t.Errorf("outdated for want of an answer: %+v", m)
	}
}

// A right that is limited to one cluster's node groups is one for these.
func TestEKSMayTellOfSomeOnly(t *testing.T) {
	r := newRegion(t)
	r.own()
	r.hand = r.connect(1)
	r.hand.Notices = true // and whose cluster it is was not said
	r.sim.FailNext("eks:DescribeNodegroup", &cloud.Error{Code: "AccessDeniedException", Message: "not that one", Status: 403})
	r.among("api")
	told := 0
	groups, err := r.hand.Groups(ctx, nil)
	r.ok(err)
	for _, g := range groups {
		if g.Managed != nil && g.Managed.Status == "ACTIVE" {
			told++
		}
	}
	if told != 3 {
		t.Errorf("EKS tells of %d node groups, want all but one", told)
	}
}

// Hooks of many groups are asked about a share at a time once they are known.
func TestHooksOfManyGroupsAreSpread(t *testing.T) {
	r := quiet(t)
	for i := range 30 {
		r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: fmt.Sprintf("g%02d", i), Max: 1, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: r.id, Version: "$Latest"}}}))
	}
	asked := func() int {
		before := r.calls("DescribeLifecycleHooks")
		r.among("web")
		return r.calls("DescribeLifecycleHooks") - before
	}
	if n := asked(); n != 31 {
		t.Errorf("at first asked about %d groups", n)
	}
	r.clock.Advance(time.Minute)
	for _, want := range []int{10, 10, 10, 1, 0} {
		if n := asked(); n != want {
			t.Errorf("asked about %d groups, want %d", n, want)
		}
		r.clock.Advance(5 * time.Second)
	}
}

func TestSettingsOfTargetGroupsAreReadAgain(t *testing.T) {
	for _, notices := range []bool{false, true} {
		r := quiet(t)
		r.hand.Notices = notices
		if got := r.group().Targets[0].Delay; got != 20*time.Second {
			t.Fatalf("delay %s", got)
		}
		_, err := r.sim.ModifyTargetGroupAttributes(r.arn, map[string]string{"deregistration_delay.timeout_seconds": "120"})
		r.ok(err)
		r.clock.Advance(9 * time.Minute)
		if got := r.group().Targets[0].Delay; got != 20*time.Second {
			t.Errorf("read again before its time: delay %s", got)
		}
		r.clock.Advance(time.Minute)
		if got := r.group().Targets[0].Delay; got != 2*time.Minute {
			t.Errorf("delay %s", got)
		}
	}
}

// Instances come and go for as long as a process lives.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	r := quiet(t)
	r.many(20)
	r.among("many")
	full := r.hand.Remembered()
	r.ok(r.sim.DeleteAutoScalingGroup("many", true))
	r.clock.Advance(50 * time.Minute)
	if n := r.among("web"); n == nil || r.hand.Remembered() != full {
		t.Errorf("remembers %d things, before %d", r.hand.Remembered(), full)
	}
	r.clock.Advance(30 * time.Minute)
	r.among("web")
	if n := r.hand.Remembered(); n != full-42 { // 20 births, 20 in the survey, the group's name and hooks
		t.Errorf("remembers %d things, before %d", n, full)
	}
}

type provider struct{ err error }

func (p provider) Retrieve(context.Context) (sdk.Credentials, error) { return sdk.Credentials{}, p.err }

// Credentials that cannot be had for a moment are no wrong credentials.
func TestCredentialsThatCannotBeHadNow(t *testing.T) {
	r := newRegion(t)
	for _, c := range []struct {
		err   error
		fatal bool
	}{
		{errors.New("operation error STS: AssumeRoleWithWebIdentity, https response error StatusCode: 503, ServiceUnavailable"), false},
		{fmt.Errorf("failed to load credentials: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}), false},
		{errors.New("the SSO session has expired or is invalid"), true},
		{fmt.Errorf("no EC2 IMDS role found, operation error ec2imds: GetMetadata: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}), true},
	} {
		hand := aws.New(sdk.Config{Region: "eu-west-1", RetryMaxAttempts: 1, BaseEndpoint: &r.url, Credentials: sdk.NewCredentialsCache(provider{c.err})})
		hand.Notices = true
		_, _, asked := hand.Account(ctx)
		_, seen := hand.Groups(ctx, nil)
		for _, err := range []error{asked, seen} {
			var fatal *fleet.Fatal
			if errors.As(err, &fatal) != c.fatal || err == nil {
				t.Errorf("fatal is %v, want %v: %v", !c.fatal, c.fatal, err)
			}
		}
	}
	r.hand = r.connect(1)
	r.sim.Throttle("GetCallerIdentity", 1)
	var fatal *fleet.Fatal
	if _, _, err := r.hand.Account(ctx); err == nil || errors.As(err, &fatal) {
		t.Errorf("busy: %v", err)
	}
}
