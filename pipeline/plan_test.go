package pipeline

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func wanted() Wanted {
	return Wanted{
		Cluster: "prod", Account: "111122223333", Region: "eu-west-1", DrainFor: time.Hour,
		Groups: []Group{{Name: "web", Scaling: "web", Grace: 30 * time.Second, Pod: "shop/api-0"}, {Name: "jobs", Scaling: "jobs", Grace: 17*time.Minute + time.Second, Pod: "batch/report-0"}},
	}
}

// bare is an account with the groups and nothing else.
func bare() Found {
	return Found{Rules: map[string]Rule{}, Groups: map[string]Scaling{"web": {}, "jobs": {}}}
}

// complete is an account in which everything is as it is to be.
func complete(t *testing.T, w Wanted) Found {
	t.Helper()
	changes, taken := Plan(w, bare())
	if len(taken) > 0 {
		t.Fatal(taken)
	}
	return bare().After(changes)
}

func lines(changes []Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return strings.Join(out, "\n")
}

func TestPlanOfAnEmptyAccount(t *testing.T) {
	w := wanted()
	w.LaunchHooks = true
	changes, taken := Plan(w, bare())
	want := `create queue drover-prod-dead: keeps what was set aside for 14 days, for a person to look at
create queue drover-prod: keeps messages for 2 days, encrypted; what was received 100 times goes to drover-prod-dead
create rule drover-prod-lifecycle: tells the queue when a hook holds an instance
create rule drover-prod-spot: tells the queue when a spot instance is taken back
create rule drover-prod-rebalance: tells the queue when a spot instance may be taken back soon
create rule drover-prod-state-change: tells the queue when an instance stops or is gone
create rule drover-prod-health: tells the queue when EC2 will stop, reboot or retire an instance
create rule drover-prod-capacity-reservation: tells the queue when reserved capacity is taken back
create rule drover-prod-capacity-block: tells the queue when a capacity block ends
create rule drover-prod-database: tells the queue when RDS starts a database that was stopped for seven days
create rule drover-prod-canary: tells the queue when drover check asks whether messages come through
create hook web/drover-terminate: holds an instance that goes until its pods have left; heartbeat 5m, then CONTINUE
create hook web/drover-launch: holds a new instance until its node is Ready; heartbeat 5m, then CONTINUE
create hook jobs/drover-terminate: holds an instance that goes until its pods have left; heartbeat 18m because pod batch/report-0 may take 17m1s to stop, then CONTINUE
create hook jobs/drover-launch: holds a new instance until its node is Ready; heartbeat 18m because pod batch/report-0 may take 17m1s to stop, then CONTINUE`
	if got := lines(changes); got != want || len(taken) > 0 {
		t.Errorf("taken %v, plan:\n%s", taken, got)
	}
}

func TestPlanRepairs(t *testing.T) {
	canary := "drover-prod-canary"
	for _, tc := range []struct {
		name  string
		drift func(*Wanted, *Found)
		want  string
	}{
		{"nothing", func(*Wanted, *Found) {}, ""},
		{"retention", func(_ *Wanted, f *Found) { f.Queue.Retention = 5 * time.Minute }, "repair queue drover-prod: retention 5m → 48h"},
		{"longer retention stays", func(_ *Wanted, f *Found) { f.Queue.Retention = 96 * time.Hour }, ""},
		{"long polling", func(_ *Wanted, f *Found) { f.Queue.Wait = 0 }, "repair queue drover-prod: long polling 0s → 20s"},
		{"plain text", func(_ *Wanted, f *Found) { f.Dead.Encrypted = false }, "repair queue drover-prod-dead: encryption none → SQS's own keys"},
		{"the key that EventBridge may not use", func(_ *Wanted, f *Found) { f.Queue.Encrypted, f.Queue.Key = false, "alias/aws/sqs" }, "repair queue drover-prod: encryption alias/aws/sqs → SQS's own keys"},
		{"a key of the account stays", func(_ *Wanted, f *Found) { f.Queue.Encrypted, f.Queue.Key = false, "alias/ours" }, ""},
		{"no dead letters", func(_ *Wanted, f *Found) { f.Queue.Dead, f.Queue.Receives = "", 0 }, "repair queue drover-prod: dead letters none → drover-prod-dead after 100 receives"},
		{"dead letters too soon", func(_ *Wanted, f *Found) { f.Queue.Receives = 3 }, "repair queue drover-prod: dead letters drover-prod-dead after 3 receives → drover-prod-dead after 100 receives"},
		{"later stays", func(_ *Wanted, f *Found) { f.Queue.Receives = 500 }, ""},
		{"no policy", func(_ *Wanted, f *Found) { f.Queue.Policy = "" }, "repair queue drover-prod: policy lacks DroverEvents and DroverTopics → as it is to be; other statements stay"},
		{"somebody's statement beside ours", func(_ *Wanted, f *Found) {
			f.Queue.Policy = strings.Replace(f.Queue.Policy, `"Statement":[`, `"Statement":[{"Sid":"Theirs"},`, 1)
		}, ""},
		{"the dead-letter queue is gone", func(_ *Wanted, f *Found) { f.Dead = nil }, "create queue drover-prod-dead: keeps what was set aside for 14 days, for a person to look at"},
		{"rule off", func(_ *Wanted, f *Found) { r := f.Rules[canary]; r.Off = true; f.Rules[canary] = r }, "repair rule drover-prod-canary: state disabled → enabled"},
		{"rule spelt otherwise", func(_ *Wanted, f *Found) {
			r := f.Rules[canary]
			r.Pattern = `{ "detail" : {"cluster":["prod"]}, "detail-type":["Drover Canary"],"source":["drover.check"]}`
			f.Rules[canary] = r
		}, ""},
		{"rule changed", func(_ *Wanted, f *Found) { r := f.Rules[canary]; r.Pattern = `{"source":["x"]}`; f.Rules[canary] = r },
			`repair rule drover-prod-canary: pattern {"source":["x"]} → {"source":["drover.check"],"detail-type":["Drover Canary"],"detail":{"cluster":["prod"]}}`},
		{"rule aimed elsewhere", func(_ *Wanted, f *Found) {
			r := f.Rules[canary]
			r.Targets = []Target{{"drover", "arn:aws:sqs:eu-west-1:111122223333:other"}}
			f.Rules[canary] = r
		}, "aim rule drover-prod-canary: at queue drover-prod"},
		{"heartbeat too short for its pods", func(_ *Wanted, f *Found) { f.Groups["jobs"].Hooks[0].Heartbeat = time.Minute }, "repair hook jobs/drover-terminate: heartbeat 1m → 18m"},
		{"heartbeat that somebody chose stays", func(_ *Wanted, f *Found) { f.Groups["web"].Hooks[0].Heartbeat = time.Minute }, ""},
		{"unless it is asked for", func(w *Wanted, f *Found) {
			w.Heartbeat = 10 * time.Minute
			f.Groups["jobs"].Hooks[0].Heartbeat = 10 * time.Minute
		}, "repair hook web/drover-terminate: heartbeat 5m → 10m"},
		{"the group retains", func(_ *Wanted, f *Found) { s := f.Groups["web"]; s.Retains = true; f.Groups["web"] = s }, "repair hook web/drover-terminate: default result CONTINUE → ABANDON"},
		{"a hook that does not say whose it is", func(_ *Wanted, f *Found) { f.Groups["web"].Hooks[0].Metadata = "" }, "repair hook web/drover-terminate: metadata none → drover.dev/cluster=prod"},
		{"a hook's metadata stays", func(_ *Wanted, f *Found) { f.Groups["web"].Hooks[0].Metadata = "theirs" }, ""},
		{"what a hook tells stays", func(_ *Wanted, f *Found) { f.Groups["web"].Hooks[0].Target = "arn:aws:sns:eu-west-1:111122223333:us" }, ""},
		{"managed groups have EKS's hook", func(w *Wanted, f *Found) {
			w.Groups[0].Managed = true
			s := f.Groups["web"]
			s.Hooks = nil
			f.Groups["web"] = s
		}, ""},
		{"unless it is asked for", func(w *Wanted, f *Found) {
			w.Managed, w.Groups[0].Managed = true, true
			s := f.Groups["web"]
			s.Hooks = nil
			f.Groups["web"] = s
		},
			"create hook web/drover-terminate: holds an instance that goes until its pods have left; heartbeat 5m, then CONTINUE"},
		{"a group that is gone", func(_ *Wanted, f *Found) { delete(f.Groups, "web") }, ""},
	} {
		w, f := wanted(), complete(t, wanted())
		tc.drift(&w, &f)
		changes, taken := Plan(w, f)
		if got := lines(changes); got != tc.want || len(taken) > 0 {
			t.Errorf("%s: taken %v, plan:\n%s\nwant:\n%s", tc.name, taken, got, tc.want)
		}
		if again, _ := Plan(w, f.After(changes)); len(again) > 0 {
			t.Errorf("%s: planned again:\n%s", tc.name, lines(again))
		}
	}
}

func TestPlanLeavesOthersAlone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		drift func(*Found)
		want  string
	}{
		{"queue without a tag", func(f *Found) { f.Queue.Owner = "" }, "queue drover-prod: it exists, and no tag drover.dev/cluster says that it is drover's"},
		{"another cluster's queue", func(f *Found) { f.Dead.Owner = "staging" }, "queue drover-prod-dead: it is drover's for cluster staging, not for prod"},
		{"rule", func(f *Found) { r := f.Rules["drover-prod-spot"]; r.Owner = ""; f.Rules["drover-prod-spot"] = r }, "rule drover-prod-spot: it exists, and no tag drover.dev/cluster says that it is drover's"},
		{"policy that cannot be read", func(f *Found) { f.Queue.Policy = "{" }, "queue drover-prod: its policy: unexpected end of JSON input"},
	} {
		f := complete(t, wanted())
		tc.drift(&f)
		f.Groups["web"] = Scaling{}
		changes, taken := Plan(wanted(), f)
		if len(changes) > 0 || len(taken) != 1 || !taken[0].Blocks || !strings.HasPrefix(taken[0].String(), tc.want) {
			t.Errorf("%s: changes %v, taken %v", tc.name, changes, taken)
		}
		removal, _ := Removal(wanted(), f, true)
		for _, c := range removal {
			if c.Subject() == strings.Fields(tc.want)[1][:len(strings.Fields(tc.want)[1])-1] && tc.name != "policy that cannot be read" {
				t.Errorf("%s: would %s", tc.name, c)
			}
		}
	}
}

// However the world has drifted, what is planned is done once: planning again finds nothing, also when the work was cut off after any change. And no
// hook is there before everything that tells of it is.
func TestPlanIsIdempotent(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := wanted()
		w.LaunchHooks, w.Managed, w.Groups[1].Managed = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
		f := drifted(r, complete(t, w))
		changes, taken := Plan(w, f)
		if len(taken) > 0 {
			t.Fatal(taken)
		}
		for cut := range len(changes) + 1 {
			at := f.After(changes[:cut])
			rest, _ := Plan(w, at)
			if lines(rest) != lines(changes[cut:]) {
				t.Fatalf("seed %d: cut after %d of\n%s\nplanned again:\n%s", seed, cut, lines(changes), lines(rest))
			}
			if cut > 0 && changes[cut-1].Verb == CreateHook {
				if gaps := append(w.checkQueue(at), w.checkRules(at)...); len(gaps) > 0 {
					t.Fatalf("seed %d: after %s there is still %v", seed, changes[cut-1], gaps)
				}
			}
		}
	}
}

// drifted takes away and spoils some of what there is.
func drifted(r *rand.Rand, f Found) Found {
	spoil := func(q **Queue) {
		c := **q
		switch r.IntN(6) {
		case 0:
			*q = nil
			return
		case 1:
			c.Retention = time.Minute
		case 2:
			c.Policy = ""
		case 3:
			c.Encrypted = false
		case 4:
			c.Dead = ""
		}
		*q = &c
	}
	if spoil(&f.Queue); f.Queue != nil && f.Queue.Dead == "" {
		f.Queue.Receives = 0
	}
	spoil(&f.Dead)
	for _, name := range slices.Collect(keys(f.Rules)) {
		rule := f.Rules[name]
		switch r.IntN(5) {
		case 0:
			delete(f.Rules, name)
			continue
		case 1:
			rule.Off = true
		case 2:
			rule.Targets = nil
		}
		f.Rules[name] = rule
	}
	for _, name := range []string{"jobs", "web"} {
		if s := f.Groups[name]; r.IntN(2) == 0 {
			s.Hooks, s.Retains = nil, r.IntN(2) == 0
			f.Groups[name] = s
		}
	}
	return f
}

// keys yields names in an order that does not change, so that a seed tells the same story again.
func keys(m map[string]Rule) func(func(string) bool) {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Values(names)
}

func TestRemoval(t *testing.T) {
	w := wanted()
	w.LaunchHooks = true
	f := complete(t, w)
	s := f.Groups["web"]
	s.Waiting, s.Hooks = []string{"i-1", "i-2"}, append(s.Hooks, fleet.Hook{Name: "theirs"})
	f.Groups["web"] = s
	dead := *f.Dead
	dead.Messages = 3
	f.Dead = &dead
	r := f.Rules["drover-prod-spot"]
	r.Targets = append(r.Targets, Target{"pager", "arn:aws:sns:eu-west-1:111122223333:pager"})
	f.Rules["drover-prod-spot"] = r

	changes, warnings := Removal(w, f, true)
	got := lines(changes)
	for _, want := range []string{"delete hook web/drover-terminate: instances of the group are held no more\ndelete hook web/drover-launch: ", "unaim rule drover-prod-spot: the rule stays for others\ndelete rule drover-prod-rebalance: told when"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if !strings.HasPrefix(got, "delete hook") || !strings.HasSuffix(got, "delete queue drover-prod: it is empty\ndelete queue drover-prod-dead: with about 3 messages") || strings.Contains(got, "theirs") {
		t.Errorf("removal:\n%s", got)
	}
	var told []string
	for _, w := range warnings {
		told = append(told, w.Code+" "+w.Subject)
	}
	if want := []string{"instances-wait group web", "left-behind rule drover-prod-spot", "messages-kept queue drover-prod-dead"}; !slices.Equal(told, want) {
		t.Errorf("warnings %v", told)
	}
	for cut := range len(changes) + 1 {
		rest, _ := Removal(w, f.After(changes[:cut]), true)
		if lines(rest) != lines(changes[cut:]) {
			t.Fatalf("cut after %d, planned again:\n%s", cut, lines(rest))
		}
	}
	if left := f.After(changes); left.Queue != nil || left.Dead != nil || len(left.Rules) != 1 || len(left.Groups["web"].Hooks) != 1 {
		t.Errorf("left behind: %+v", left)
	}
	some, _ := Removal(w, f, false)
	if got := lines(some); strings.Contains(got, "rule") || strings.Contains(got, "queue") || !strings.Contains(got, "delete hook web") {
		t.Errorf("removal of groups alone:\n%s", got)
	}
}

// Deleting a hook ends the instances that it holds, whichever way they go.
func TestRemovalWaitsForInstances(t *testing.T) {
	for name, tc := range map[string]struct {
		held func(*Scaling)
		says string
	}{
		"going":  {func(s *Scaling) { s.Waiting = []string{"i-1", "i-2"} }, "i-1, i-2 wait for a hook now; when drover-terminate is deleted, they are ended at once, with the pods that have not left"},
		"coming": {func(s *Scaling) { s.Coming = []string{"i-1"} }, "i-1 wait for a hook now; when drover-launch is deleted, they are ended at once, and not put into service"},
	} {
		w := wanted()
		w.LaunchHooks = true
		f := complete(t, w)
		s := f.Groups["web"]
		tc.held(&s)
		f.Groups["web"] = s
		for _, all := range []bool{true, false} {
			w.Force = false
			_, warnings := Removal(w, f, all)
			if len(warnings) != 1 || warnings[0].Code != "instances-wait" || !warnings[0].Blocks || !strings.HasPrefix(warnings[0].Reason, tc.says) || !strings.Contains(warnings[0].Next, "--force") {
				t.Errorf("%s: %+v", name, warnings)
			}
			w.Force = true
			if changes, warnings := Removal(w, f, all); len(warnings) != 1 || warnings[0].Blocks || !strings.Contains(lines(changes), "delete hook web/drover-launch") {
				t.Errorf("%s, forced: %+v\n%s", name, warnings, lines(changes))
			}
		}
	}
}

// A group that is scaled to nothing and has no tag is the cluster's if its hook says so.
func TestRemovalFindsWhatIsMarked(t *testing.T) {
	s := farm()
	s.Groups[0].Cluster = "prod"
	s.Groups = append(s.Groups, fleet.Group{Name: "asleep"}, fleet.Group{Name: "theirs"}, fleet.Group{Name: "old"}, fleet.Group{Name: "tagged", Cluster: "green"}, fleet.Group{Name: "bare", Managed: &fleet.Managed{}})
	w := wanted()
	f := complete(t, w)
	w.Others = Others(s)
	var names []string
	for _, g := range w.Others {
		names = append(names, g.Name)
	}
	if want := []string{"asleep", "theirs", "old"}; !slices.Equal(names, want) {
		t.Fatalf("others %v, want %v", names, want)
	}
	hook := fleet.Hook{Name: TerminateHook, Heartbeat: 5 * time.Minute}
	for name, metadata := range map[string]string{"asleep": w.mark(), "theirs": "drover.dev/cluster=green", "old": "", "tagged": w.mark()} {
		hook.Metadata = metadata
		f.Groups[name] = Scaling{Hooks: []fleet.Hook{hook, {Name: "drover-like", Metadata: w.mark()}}}
	}
	changes, warnings := Removal(w, f, true)
	got := lines(changes)
	if strings.Count(got, "delete hook") != 3 || !strings.Contains(got, "delete hook asleep/drover-terminate") {
		t.Errorf("removal:\n%s", got)
	}
	if len(warnings) != 1 || warnings[0].Blocks || warnings[0].Code != "left-behind" || warnings[0].Subject != "group old" || !strings.Contains(warnings[0].Next, "kubernetes.io/cluster/prod=owned") {
		t.Errorf("warnings %+v", warnings)
	}
	if some, warnings := Removal(w, f, false); strings.Contains(lines(some), "asleep") || len(warnings) > 0 {
		t.Errorf("removal of groups alone: %v\n%s", warnings, lines(some))
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 99)
	for _, tc := range []struct{ cluster, queue string }{
		{"prod", "drover-prod"},
		{"k8s.example.com", "drover-k8s-example-com-90f5f71a"},
		{long, ""},
		{long + "b", ""},
	} {
		w := Wanted{Cluster: tc.cluster}
		if got := w.QueueName(); tc.queue != "" && got != tc.queue || len(w.DeadName()) > longestQueue {
			t.Errorf("queue of %s: %s", tc.cluster, got)
		}
		for _, name := range w.RuleNames() {
			if len(name) > longestRule || !strings.HasPrefix(name, "drover-") {
				t.Errorf("rule of %s: %s", tc.cluster, name)
			}
		}
	}
	if a, b := (Wanted{Cluster: long}), (Wanted{Cluster: long + "b"}); a.QueueName() == b.QueueName() || a.RuleNames()[0] == b.RuleNames()[0] {
		t.Error("clusters whose names begin alike share names")
	}
	for region, want := range map[string]string{"eu-west-1": "arn:aws:", "cn-north-1": "arn:aws-cn:", "us-gov-west-1": "arn:aws-us-gov:", "us-isob-east-1": "arn:aws-iso-b:"} {
		if got := (Wanted{Region: region}).QueueARN("q"); !strings.HasPrefix(got, want) {
			t.Errorf("ARN in %s: %s", region, got)
		}
	}
}

func TestPolicyKeepsOthersStatements(t *testing.T) {
	for _, had := range []string{
		`{"Version":"2008-10-17","Id":"theirs","Statement":[{"Sid":"Theirs","Effect":"Deny"},{"Sid":"DroverEvents","Effect":"Deny"}]}`,
		`{"Version":"2008-10-17","Id":"theirs","Statement":{"Sid":"Theirs","Effect":"Deny"}}`,
	} {
		got, err := wanted().policy(&Queue{Policy: had})
		if err != nil || !strings.Contains(got, `"Version":"2008-10-17","Id":"theirs"`) || strings.Count(got, `"Effect":"Deny"`) != 1 || strings.Count(got, "DroverEvents") != 1 {
			t.Errorf("%v: %s", err, got)
		}
		if again, _ := wanted().policy(&Queue{Policy: got}); !alike(again, got) {
			t.Errorf("again: %s", again)
		}
	}
	d, err := parsePolicy(complete(t, wanted()).Queue.Policy)
	if err != nil || len(d.Statement) != 2 {
		t.Fatal(d, err)
	}
	if strings.Contains(d.String(), "aws:SourceAccount") {
		t.Errorf("SNS is not known to send the account to SQS: %s", d)
	}
	for _, part := range []string{"arn:aws:events:eu-west-1:111122223333:rule/drover-prod-health", "arn:aws:sns:eu-west-1:111122223333:*"} {
		if !strings.Contains(d.String(), part) {
			t.Errorf("policy lacks %s: %s", part, d)
		}
	}
}

func TestRights(t *testing.T) {
	w := wanted()
	f := bare()
	f.Groups["web"] = Scaling{Owned: true}
	actions := map[Scope][]string{
		OnAll: {"ec2:DescribeInstances"}, OnGroups: {"autoscaling:SetDesiredCapacity", "autoscaling:CompleteLifecycleAction"}, OnTargets: {"elasticloadbalancing:DeregisterTargets"},
		OnQueue: {"sqs:ReceiveMessage"}, OnDead: {"sqs:SendMessage"}, OnCluster: {"eks:DescribeNodegroup"}, OnPublic: {"ssm:GetParameter"},
	}
	got, err := w.Rights(f, actions, "autoscaling:ResourceTag/kubernetes.io/cluster/prod", "owned")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Statement []statement }
	if err := json.Unmarshal([]byte(got), &d); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range d.Statement {
		lines = append(lines, fmt.Sprintf("%s%v%v%v", s.Sid, s.Action, s.Resource, s.Condition))
	}
	want := `DroverObserve[ec2:DescribeInstances][*]map[]
DroverOwnGroups[autoscaling:CompleteLifecycleAction autoscaling:SetDesiredCapacity][arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:*:autoScalingGroupName/*]map[StringEquals:map[autoscaling:ResourceTag/kubernetes.io/cluster/prod:[owned]]]
DroverOtherGroups[autoscaling:CompleteLifecycleAction autoscaling:SetDesiredCapacity][arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:*:autoScalingGroupName/jobs]map[]
DroverTargets[elasticloadbalancing:DeregisterTargets][arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/*]map[]
DroverQueue[sqs:ReceiveMessage][arn:aws:sqs:eu-west-1:111122223333:drover-prod]map[]
DroverDeadLetters[sqs:SendMessage][arn:aws:sqs:eu-west-1:111122223333:drover-prod-dead]map[]
DroverCluster[eks:DescribeNodegroup][arn:aws:eks:eu-west-1:111122223333:cluster/prod arn:aws:eks:eu-west-1:111122223333:nodegroup/prod/*/*]map[]
DroverPublicParameters[ssm:GetParameter][arn:aws:ssm:eu-west-1::parameter/aws/service/*]map[]`
	if strings.Join(lines, "\n") != want {
		t.Errorf("rights:\n%s", strings.Join(lines, "\n"))
	}
	actions["somewhere"] = []string{"s3:GetObject"}
	if _, err := w.Rights(f, actions, "k", "v"); err == nil || !strings.Contains(err.Error(), "s3:GetObject") {
		t.Errorf("a scope nobody knows: %v", err)
	}
}

// Rights to switch environments are limited to what these name, and none that nothing limits is granted.
func TestRightsOfEnvironments(t *testing.T) {
	w := wanted()
	w.Environments = Environments{
		Databases: []string{"instance stg", "cluster stg-reports"}, MarkKey: "aws:ResourceTag/drover:environment", Marks: []string{"staging *", "dev *"},
		Archives: []string{"records", "records/staging"}, NodeRoles: []string{"arn:aws:iam::111122223333:role/nodes"},
	}
	actions := map[Scope][]string{
		OnDatabases: {"rds:AddTagsToResource"}, OnMarked: {"rds:StopDBInstance"}, OnBucket: {"s3:ListBucket"}, OnObjects: {"s3:PutObject"}, OnRole: {"iam:PassRole"},
		OnAll: {"rds:DescribeDBInstances", "rds:DescribeDBInstances"},
	}
	got, err := w.Rights(bare(), actions, "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Statement []statement }
	if err := json.Unmarshal([]byte(got), &d); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range d.Statement {
		lines = append(lines, fmt.Sprintf("%s%v%v%v", s.Sid, s.Action, s.Resource, s.Condition))
	}
	want := `DroverObserve[rds:DescribeDBInstances][*]map[]
DroverDatabases[rds:AddTagsToResource][arn:aws:rds:eu-west-1:111122223333:db:stg arn:aws:rds:eu-west-1:111122223333:cluster:stg-reports]map[]
DroverMarkedDatabases[rds:StopDBInstance][arn:aws:rds:eu-west-1:111122223333:db:stg arn:aws:rds:eu-west-1:111122223333:cluster:stg-reports]map[StringLike:map[aws:ResourceTag/drover:environment:[staging * dev *]]]
DroverArchive[s3:ListBucket][arn:aws:s3:::records]map[]
DroverRecords[s3:PutObject][arn:aws:s3:::records/* arn:aws:s3:::records/staging/*]map[]
DroverNodeRole[iam:PassRole][arn:aws:iam::111122223333:role/nodes]map[StringEquals:map[iam:PassedToService:[eks.amazonaws.com]]]`
	if strings.Join(lines, "\n") != want {
		t.Errorf("rights:\n%s", strings.Join(lines, "\n"))
	}
	for _, lacking := range []struct {
		on   Scope
		with Environments
	}{
		{OnDatabases, Environments{}}, {OnMarked, Environments{Databases: []string{"instance stg"}}}, {OnBucket, Environments{}}, {OnObjects, Environments{}}, {OnRole, Environments{}},
	} {
		w.Environments = lacking.with
		if _, err := w.Rights(bare(), map[Scope][]string{lacking.on: {"an:Action"}}, "k", "v"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("actions on %q", lacking.on)) {
			t.Errorf("%s, with nothing that it could be limited to: %v", lacking.on, err)
		}
	}
}

// IAM takes so many characters and no more, however many groups lack the tag.
func TestRightsFitIntoAPolicy(t *testing.T) {
	w := wanted()
	grant := map[Scope][]string{OnGroups: {"autoscaling:SetDesiredCapacity", "autoscaling:CompleteLifecycleAction"}}
	named := func(n int, name string) (string, error) {
		w.Groups = nil
		for i := range n {
			g := fmt.Sprintf(name, i)
			w.Groups = append(w.Groups, Group{Name: g, Scaling: g})
		}
		return w.Rights(bare(), grant, "autoscaling:ResourceTag/kubernetes.io/cluster/prod", "owned")
	}
	got, err := named(20, "prod-workers-%03d")
	if err != nil || strings.Count(got, "autoScalingGroupName/prod-workers-0") != 20 {
		t.Errorf("%v, groups few enough to be named: %s", err, got)
	}
	got, err = named(100, "prod-workers-%03d")
	if err != nil || !strings.Contains(got, `autoScalingGroupName/prod-workers-*"`) || strings.Contains(got, "prod-workers-0") || strings.Contains(got, `autoScalingGroupName/prod-*"`) {
		t.Errorf("%v, groups that begin alike: %s", err, got)
	}
	if _, err = named(100, "%03d-of-a-name-that-is-long-and-begins-like-no-other-one"); err == nil || !strings.Contains(err.Error(), "names 100 groups without the tag: tag them kubernetes.io/cluster/prod=owned") {
		t.Errorf("names that nothing shortens: %v", err)
	}
}

func TestShorten(t *testing.T) {
	var many []string
	for i := range 15 {
		many = append(many, fmt.Sprintf("prod-a-%d", i), fmt.Sprintf("prod-b-%d", i))
	}
	if got := strings.Join(shorten(append(many, "solo")), " "); strings.Count(got, " ") != 16 || !strings.Contains(got, "prod-a-* prod-b-0") || !strings.HasSuffix(got, " solo") {
		t.Errorf("of two kinds and one alone, no more is shortened than must be: %s", got)
	}
}

func TestCanaryComesBack(t *testing.T) {
	c := Canary{ID: "c-1", Cluster: `odd "name"`}
	body := fmt.Sprintf(`{"version":"0","source":%q,"detail-type":%q,"detail":%s}`, CanarySource, CanaryType, c.Detail())
	if got := CanaryOf(body); got != c {
		t.Errorf("%+v", got)
	}
	for _, other := range []string{"", "{", `{"source":"aws.ec2","detail-type":"Drover Canary","detail":{"id":"c-1"}}`, strings.Replace(body, CanaryType, "x", 1), `{"source":"drover.check","detail-type":"Drover Canary","detail":7}`} {
		if got := CanaryOf(other); got != (Canary{}) {
			t.Errorf("%s: %+v", other, got)
		}
	}
}

func TestCheckHeartbeat(t *testing.T) {
	for d, ok := range map[time.Duration]bool{0: true, 30 * time.Second: true, 2 * time.Hour: true, 29 * time.Second: false, 2*time.Hour + time.Second: false, 30*time.Second + 1: false} {
		if err := CheckHeartbeat(d); (err == nil) != ok {
			t.Errorf("%s: %v", d, err)
		}
	}
}
