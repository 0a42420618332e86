package aws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"drover.dev/aws"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/wire"
)

var ctx = context.Background()

// region is a simulated AWS on a virtual clock, reached over its own protocols.
type region struct {
	*testing.T
	sim   *cloud.Cloud
	clock *cloud.VirtualClock
	hand  *aws.Cloud
	arn   string
	id    string // of the launch template
	url   string

	mu    sync.Mutex
	count map[string]int // calls of services with forms, by action
	mute  string         // the call, as X-Amz-Target or METHOD PATH, that is answered with nothing
	told  map[string]answer
	said  map[string]map[string]bool // bodies of calls, by action
	made  map[string]bool            // calls of all services, as IAM calls them
}

func newRegion(t *testing.T) *region {
	r := &region{T: t, count: map[string]int{}, told: map[string]answer{}, said: map[string]map[string]bool{}, made: map[string]bool{}, clock: cloud.NewVirtualClock(time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC))}
	r.sim = cloud.New(cloud.Config{Clock: r.clock})
	server := httptest.NewServer(r.front(wire.Handler(r.sim, wire.Options{})))
	t.Cleanup(server.Close)
	r.url = server.URL
	r.hand = r.connect(1)
	tg, err := r.sim.CreateTargetGroup(cloud.TargetGroup{Name: "web", TargetType: "instance", Protocol: "HTTP", Port: 30080})
	r.ok(err)
	_, err = r.sim.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": "20"})
	r.ok(err)
	lt, err := r.sim.CreateLaunchTemplate("web", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	r.ok(err)
	r.arn, r.id = tg.ARN, lt.ID
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{
		Name: "web", Min: 2, Max: 6, Desired: 3, Zones: r.sim.Zones(), TargetGroups: []string{tg.ARN},
		Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}},
	}))
	r.clock.Advance(5 * time.Minute)
	return r
}

// front counts the calls that come with a form before h answers them, and answers those that are silenced.
func (r *region) front(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		if told := r.note(q, string(body)); told != nil {
			status, text := told()
			w.WriteHeader(status)
			fmt.Fprint(w, text)
			return
		}
		if r.silenced(q) {
			fmt.Fprint(w, "{}")
			return
		}
		h.ServeHTTP(w, q)
	})
}

// answer is what a call is answered with in place of the simulation.
type answer func(form url.Values) (status int, body string)

// tell has a call of a service with forms answered by a.
func (r *region) tell(action string, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told[action] = a
}

// note counts a call, and returns its answer if it has one.
func (r *region) note(q *http.Request, body string) func() (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	form, err := url.ParseQuery(body)
	action := form.Get("Action")
	if err != nil || action == "" {
		_, action, _ = strings.Cut(q.Header.Get("X-Amz-Target"), ".")
	}
	if action == "" {
		action = restAction(q)
	}
	if scope := strings.Split(q.Header.Get("Authorization"), "/"); len(scope) > 3 && action != "" { // Credential=KEY/DATE/REGION/SERVICE/aws4_request
		r.made[scope[3]+":"+action] = true
	}
	r.count[action]++
	if r.said[action] == nil {
		r.said[action] = map[string]bool{}
	}
	r.said[action][body] = true
	if a := r.told[action]; a != nil {
		return func() (int, string) { return a(form) }
	}
	return nil
}

// restAction is what IAM calls a call of EKS or S3, which have no names on the wire; "" for one that is not listed.
func restAction(q *http.Request) string {
	for _, a := range []struct{ method, path, query, name string }{
		{"POST", `^/clusters/[^/]+/node-groups/[^/]+/update-config$`, "", "UpdateNodegroupConfig"},
		{"POST", `^/clusters/[^/]+/node-groups$`, "", "CreateNodegroup"},
		{"DELETE", `^/clusters/[^/]+/node-groups/[^/]+$`, "", "DeleteNodegroup"},
		{"GET", `^/clusters/[^/]+/node-groups/[^/]+$`, "", "DescribeNodegroup"},
		{"GET", `^/clusters/[^/]+$`, "", "DescribeCluster"},
		{"PUT", `^/records/.+`, "", "PutObject"},
		{"GET", `^/records/?$`, "list-type", "ListBucket"},
		{"GET", `^/records/.+`, "", "GetObject"},
	} {
		if q.Method == a.method && regexp.MustCompile(a.path).MatchString(q.URL.Path) && (a.query == "" || q.URL.Query().Has(a.query)) {
			return a.name
		}
	}
	return ""
}

// silence has a call answered with an empty object from now on, and no other.
func (r *region) silence(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = call
}

func (r *region) silenced(q *http.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mute != "" && (r.mute == q.Header.Get("X-Amz-Target") || r.mute == q.Method+" "+q.URL.Path)
}

func (r *region) calls(action string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[action]
}

// eksCalls counts the questions to EKS.
func (r *region) eksCalls() int { return r.calls("DescribeNodegroup") + r.calls("DescribeCluster") }

// different counts the calls of an action that are not the SDK's repetition of one.
func (r *region) different(action string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.said[action])
}

// connect makes a hand that tries each call so many times: once, where a test makes calls fail.
func (r *region) connect(attempts int) *aws.Cloud {
	hand := aws.New(r.config(attempts))
	hand.SetClock(r.clock.Now)
	return hand
}

// config is the SDK's way to the region. Whatever the attempts, a call is made again whose answer was cut off on this machine, as TestManyGroups says.
func (r *region) config(attempts int) sdk.Config {
	cfg := sdk.Config{Region: r.sim.Region(), BaseEndpoint: &r.url, Credentials: credentials.NewStaticCredentialsProvider("test", "secret", ""), RetryMaxAttempts: attempts}
	if attempts == 1 {
		cfg.RetryMaxAttempts = 3
		cfg.Retryer = func() sdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) sdk.Ternary { return sdk.BoolTernary(errors.Is(err, net.ErrClosed)) })}
			})
		}
	}
	return cfg
}

func (r *region) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *region) group() *fleet.Group {
	r.Helper()
	groups, err := r.hand.Groups(ctx, []string{"web"})
	r.ok(err)
	if len(groups) != 1 {
		r.Fatalf("%d groups", len(groups))
	}
	return &groups[0]
}

func (r *region) act(a fleet.Action) {
	r.Helper()
	a.Group = "web"
	r.ok(r.hand.Act(ctx, a))
}

func TestGroup(t *testing.T) {
	r := newRegion(t)
	g := r.group()
	if g.Min != 2 || g.Max != 6 || g.Desired != 3 || len(g.Instances) != 3 || len(g.Zones) != 3 {
		t.Errorf("group %+v", g)
	}
	if got, want := g.Wants[0].String(), "launch template web:1"; got != want {
		t.Errorf("wants %q, want %q: $Latest is to be a number", got, want)
	}
	if tg := g.Targets[0]; tg.Name != "web" || tg.Delay != 20*time.Second || tg.Warmup == 0 {
		t.Errorf("target group %+v", tg)
	}
	for _, in := range g.Instances {
		if in.Lifecycle != fleet.InService || !in.Template.Same(g.Wants[0]) || in.Target(r.arn) != fleet.TargetHealthy {
			t.Errorf("instance %+v", in)
		}
		if in.Launched.IsZero() {
			t.Errorf("instance %s: no launch time", in.ID)
		}
	}
	_, _, err := r.sim.CreateLaunchTemplateVersion(r.id, "", "$Latest", "", cloud.TemplateData{ImageID: "ami-0a000000000000002"})
	r.ok(err)
	if got, want := r.group().Wants[0].String(), "launch template web:2"; got != want {
		t.Errorf("wants %q, want %q", got, want)
	}
}

func TestMixedInstancesPolicy(t *testing.T) {
	r := newRegion(t)
	arm, err := r.sim.CreateLaunchTemplate("arm", "", cloud.TemplateData{ImageID: "ami-0a000000000000003"}, nil)
	r.ok(err)
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "mixed", Max: 2, Zones: r.sim.Zones(), Source: cloud.Source{Mixed: &cloud.Mixed{
		Template:  cloud.TemplateSpec{ID: r.id, Version: "$Default"},
		Overrides: []cloud.Override{{InstanceType: "m5.large"}, {InstanceType: "m6g.large", Template: cloud.TemplateSpec{ID: arm.ID, Version: "1"}}},
	}}}))
	groups, err := r.hand.Groups(ctx, []string{"mixed"})
	r.ok(err)
	w := groups[0].Wants
	if len(w) != 2 || w[0].String() != "launch template web:1" || !w[0].Fits("m5.large") || w[0].Fits("m6g.large") || w[1].String() != "launch template arm:1" || !w[1].Fits("m6g.large") {
		t.Errorf("wants %+v", w)
	}
}

func TestLaunchConfiguration(t *testing.T) {
	r := newRegion(t)
	r.ok(r.sim.CreateLaunchConfiguration("old-way", cloud.TemplateData{ImageID: "ami-0a000000000000004", InstanceType: "m5.large"}))
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "lc", Max: 2, Zones: r.sim.Zones(), Source: cloud.Source{Configuration: "old-way"}}))
	groups, err := r.hand.Groups(ctx, []string{"lc"})
	r.ok(err)
	if got := groups[0].Wants[0].String(); got != "launch configuration old-way" {
		t.Error(got)
	}
}

func TestJournalIsReadBackAndForgotten(t *testing.T) {
	r := newRegion(t)
	m := fleet.GroupMark{Run: "r-1", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Criterion: "outdated", Desired: 3, From: 3, Set: 5, Left: 3, Surge: 2, Suspended: []string{fleet.AZRebalance}}
	r.act(fleet.Action{Verb: fleet.Journal, Mark: &m})
	if got := r.group().Mark; got == nil || !got.Equal(m) {
		t.Errorf("read back %v, wrote %v", got, m)
	}
	r.act(fleet.Action{Verb: fleet.Forget})
	if got := r.group().Mark; got != nil {
		t.Errorf("still there: %v", got)
	}
}

// One group that cannot be read must not hide the others.
func TestTroubleOfOneGroup(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *region)
		want  string
	}{
		"unreadable journal": {func(r *region) {
			r.ok(r.sim.CreateOrUpdateTags([]cloud.GroupTag{{Group: "web", Key: "drover.dev/rotation", Value: "v9 whatever"}}))
		}, "tag drover.dev/rotation: mark \"v9 whatever\""},
		"launch template deleted": {func(r *region) {
			_, err := r.sim.DeleteLaunchTemplate(r.id, "")
			r.ok(err)
		}, "launch template web:$Latest, from which it launches, does not exist any more"},
		"target group deleted": {func(r *region) {
			r.sim.FailNext("DescribeTargetHealth", &cloud.Error{Code: "TargetGroupNotFound", Message: "One or more target groups not found", Status: 400})
		}, "does not exist any more"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			lt, err := r.sim.CreateLaunchTemplate("sound", "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
			r.ok(err)
			r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "sound", Max: 2, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}}}))
			c.spoil(r)
			all, err := r.hand.Groups(ctx, nil)
			r.ok(err)
			if len(all) != 2 || all[0].Trouble != "" || all[0].Wants[0].String() != "launch template sound:1" {
				t.Errorf("the sound group: %+v", all)
			}
			if !strings.Contains(all[1].Trouble, c.want) {
				t.Errorf("trouble %q, want %q", all[1].Trouble, c.want)
			}
		})
	}
}

// A run under way, and its abort, need all else that can be read of such a group.
func TestTroubleOfANamedGroupIsNoError(t *testing.T) {
	r := newRegion(t)
	r.ok(r.sim.CreateOrUpdateTags([]cloud.GroupTag{{Group: "web", Key: "drover.dev/rotation", Value: "v9 whatever"}}))
	if g := r.group(); !strings.HasPrefix(g.Trouble, "tag drover.dev/rotation") || len(g.Instances) != 3 || len(g.Targets) != 1 || g.Desired != 3 {
		t.Errorf("got %+v", g)
	}
	r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: "sound", Max: 2, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: r.id, Version: "$Latest"}}}))
	if _, err := r.hand.Groups(ctx, []string{"sound"}); err != nil {
		t.Errorf("a group that was not asked for spoils the answer: %v", err)
	}
}

// AWS takes 50 names of groups and 200 ids of launch templates in one call.
func TestManyGroups(t *testing.T) {
	r := newRegion(t)
	var names []string
	for i := range 210 {
		name := fmt.Sprintf("g%03d", i)
		lt, err := r.sim.CreateLaunchTemplate(name, "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
		r.ok(err)
		r.ok(r.sim.CreateAutoScalingGroup(cloud.Group{Name: name, Zones: r.sim.Zones(), Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}}}))
		names = append(names, name)
	}
	// Over loopback a long answer may overtake the end of its request, and net/http then closes the connection under it
	// (aws/aws-sdk-go-v2#2737): the SDK's own retry is part of how the hand works.
	groups, err := r.connect(5).Groups(ctx, names)
	r.ok(err)
	if len(groups) != len(names) {
		t.Fatalf("%d groups", len(groups))
	}
	for i, g := range groups {
		if g.Name != names[i] || g.Wants[0].String() != "launch template "+names[i]+":1" {
			t.Errorf("group %d: %s wants %s", i, g.Name, g.Wants[0])
		}
	}
}

func TestOneForgottenInstanceHidesNoLaunchTimes(t *testing.T) {
	r := newRegion(t)
	r.ok(r.sim.SuspendProcesses("web", []string{"HealthCheck", "ReplaceUnhealthy"}))
	gone := r.group().Instances[0].ID
	_, err := r.sim.TerminateInstances([]string{gone})
	r.ok(err)
	r.clock.Advance(3 * time.Hour)
	if _, there := r.sim.Instance(gone); there {
		t.Fatal("EC2 still knows the instance")
	}
	r.hand = r.connect(1)
	g := r.group()
	if g.Instance(gone) == nil {
		t.Fatal("the group does not list the instance that EC2 forgot")
	}
	for _, in := range g.Instances {
		if in.Launched.IsZero() != (in.ID == gone) {
			t.Errorf("instance %s (forgotten: %v) launched %s", in.ID, in.ID == gone, in.Launched)
		}
	}
}

func TestProcesses(t *testing.T) {
	r := newRegion(t)
	for range 2 { // twice: already so is success
		r.act(fleet.Action{Verb: fleet.Suspend, Process: fleet.AZRebalance})
		if !r.group().IsSuspended(fleet.AZRebalance) {
			t.Error("not suspended")
		}
	}
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Resume, Process: fleet.AZRebalance})
		if len(r.group().Suspended) > 0 {
			t.Error("not resumed")
		}
	}
}

func TestResizeExpectsWhatWasDecidedOn(t *testing.T) {
	r := newRegion(t)
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 5})
	}
	if g := r.group(); g.Desired != 5 {
		t.Errorf("desired %d", g.Desired)
	}
	err := r.hand.Act(ctx, fleet.Action{Verb: fleet.Resize, Group: "web", From: 3, To: 4})
	var refused *fleet.Refused
	if !errors.As(err, &refused) || r.group().Desired != 5 {
		t.Errorf("somebody else's 5 was not respected: %v", err)
	}
}

func TestTerminateTakesExactlyThatOneOnce(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[1].ID
	for range 3 {
		r.act(fleet.Action{Verb: fleet.Terminate, Instance: id})
		r.clock.Advance(10 * time.Second)
	}
	r.clock.Advance(5 * time.Minute)
	g := r.group()
	if g.Desired != 2 || len(g.Instances) != 2 || g.Instance(id) != nil {
		t.Errorf("desired %d, %d instances, %s there: %v", g.Desired, len(g.Instances), id, g.Instance(id) != nil)
	}
	r.act(fleet.Action{Verb: fleet.Terminate, Instance: id}) // long gone: already so
	if g := r.group(); g.Desired != 2 {
		t.Errorf("desired %d after asking again", g.Desired)
	}
}

func refusal(t *testing.T, err error, want string) {
	t.Helper()
	var refused *fleet.Refused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a refusal with %q", err, want)
	}
}

func TestAnotherRunsGroupIsLeftAlone(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[0].ID
	m := fleet.GroupMark{Run: "r-2", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Criterion: "outdated", Desired: 3, From: 3, Set: 3}
	r.act(fleet.Action{Verb: fleet.Journal, Mark: &m})
	r.act(fleet.Action{Verb: fleet.Suspend, Run: "r-2", Process: fleet.AZRebalance})
	mine := m
	mine.Run = "r-1"
	for _, a := range []fleet.Action{
		{Verb: fleet.Resize, From: 3, To: 5}, {Verb: fleet.Terminate, Instance: id}, {Verb: fleet.Journal, Mark: &mine}, {Verb: fleet.Forget},
		{Verb: fleet.Suspend, Process: "Launch"}, {Verb: fleet.Resume, Process: fleet.AZRebalance},
	} {
		a.Group, a.Run = "web", "r-1"
		refusal(t, r.hand.Act(ctx, a), "the group now carries run r-2")
	}
	if g := r.group(); g.Desired != 3 || g.Instance(id).Leaving() || g.Mark == nil || !g.Mark.Equal(m) || len(g.Suspended) != 1 || g.Suspended[0] != fleet.AZRebalance {
		t.Errorf("acted all the same: desired %d, %s", g.Desired, g.Instance(id).Lifecycle)
	}
	r.act(fleet.Action{Verb: fleet.Resize, Run: "r-2", From: 3, To: 5})
	r.act(fleet.Action{Verb: fleet.Forget, Run: "r-2"})
	r.act(fleet.Action{Verb: fleet.Forget, Run: "r-1"}) // already so
	r.ok(r.hand.Act(ctx, fleet.Action{Verb: fleet.Forget, Run: "r-1", Group: "nowhere"}))
	r.act(fleet.Action{Verb: fleet.Terminate, Run: "r-1", Instance: id}) // nobody's mark: as before
}

func TestTerminateDoesNotGoBelowTheMinimum(t *testing.T) {
	r := newRegion(t)
	r.act(fleet.Action{Verb: fleet.Resize, From: 3, To: 2})
	r.clock.Advance(10 * time.Minute)
	err := r.hand.Act(ctx, fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: r.group().Instances[0].ID})
	refusal(t, err, "minimum of 2")
}

// The teller prints the action before its error.
func TestErrorsDoNotRepeatTheAction(t *testing.T) {
	r := newRegion(t)
	a := fleet.Action{Verb: fleet.Suspend, Group: "nowhere", Process: fleet.AZRebalance}
	if err := r.hand.Act(ctx, a); err == nil || strings.Contains(err.Error(), a.String()) || !strings.HasPrefix(err.Error(), "ValidationError: ") {
		t.Errorf("got %v", err)
	}
	r.sim.ExpireCredentials(true)
	if err := r.hand.Act(ctx, a); err == nil || strings.Contains(err.Error(), a.String()) || strings.Count(err.Error(), "ExpiredToken") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestDeregister(t *testing.T) {
	r := newRegion(t)
	id := r.group().Instances[0].ID
	for range 2 {
		r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: r.arn})
		if got := r.group().Instance(id).Target(r.arn); got != fleet.TargetDraining {
			t.Errorf("target is %s", got)
		}
	}
	r.clock.Advance(time.Minute)
	if got := r.group().Instance(id).Target(r.arn); got != fleet.TargetUnused {
		t.Errorf("target is %s after the delay", got)
	}
	r.act(fleet.Action{Verb: fleet.Deregister, Instance: id, Target: r.arn})
}

func TestCredentials(t *testing.T) {
	r := newRegion(t)
	r.sim.ExpireCredentials(true)
	_, _, err := r.hand.Account(ctx)
	var fatal *fleet.Fatal
	if !errors.As(err, &fatal) || !strings.Contains(err.Error(), "renew them") {
		t.Errorf("got %v", err)
	}
}

func TestThrottlingIsNoFailure(t *testing.T) {
	r := newRegion(t)
	r.sim.Throttle("SuspendProcesses", 1)
	err := r.hand.Act(ctx, fleet.Action{Verb: fleet.Suspend, Group: "web", Process: fleet.AZRebalance})
	var refused *fleet.Refused
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

func TestGroupOf(t *testing.T) {
	r := newRegion(t)
	if name, err := r.hand.GroupOf(ctx, r.group().Instances[0].ID); err != nil || name != "web" {
		t.Errorf("%q, %v", name, err)
	}
	if name, err := r.hand.GroupOf(ctx, "i-00000000000000000"); err != nil || name != "" {
		t.Errorf("%q, %v", name, err)
	}
}
