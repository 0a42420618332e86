package scenario

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/witness"
)

// The README's first command: six nodes under live traffic, nothing lost, and every promise checked by others than drover.
func TestDemo(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "rotate").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\n  ok "); got != 5 {
		t.Errorf("%d of 5 promises\n%s", got, out)
	}
	if !strings.Contains(string(out), " requests sent, 0 failed") {
		t.Errorf("requests were lost:\n%s", out)
	}
	t.Logf("%s", out[strings.Index(string(out), "\nReport"):])
}

// The same world shows the damage when a script does it.
func TestNaiveDemoLosesRequests(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(), "sandbox", "demo", "rotate", "--naive").CombinedOutput()
	if err == nil {
		t.Errorf("exit code 0")
	}
	if !strings.Contains(string(out), "requests failed") || strings.Contains(string(out), ", 0 failed") {
		t.Errorf("no request was lost:\n%s", out)
	}
}

// before is what a rotation has to put back.
type before struct {
	members []string
	group   cloud.Group
	witness *witness.Witness
}

func (s *story) begin(group string) before {
	s.Helper()
	w, err := witness.Start(s.ctx, s.Client(), s.nodeNames(group))
	s.ok(err)
	b := before{group: s.asg(group), witness: w}
	for _, m := range b.group.Members {
		b.members = append(b.members, m.InstanceID)
	}
	return b
}

// end checks everything that must be true after a rotation.
func (s *story) end(b before) {
	s.Helper()
	g := s.asg(b.group.Name)
	for _, m := range g.Members {
		if slices.Contains(b.members, m.InstanceID) {
			s.Errorf("old instance %s is still there", m.InstanceID)
		}
	}
	describe := func(g cloud.Group) string {
		return fmt.Sprintf("min %d max %d desired %d suspended %v tags %v", g.Min, g.Max, g.Desired, g.Suspended, g.Tags)
	}
	if describe(g) != describe(b.group) || len(g.Members) != len(b.members) {
		s.Errorf("not as before:\n%s, %d members\n%s, %d members", describe(b.group), len(b.members), describe(g), len(g.Members))
	}
	for _, n := range s.nodes(b.group.Name) {
		for key := range n.Annotations {
			if strings.HasPrefix(key, "drover.dev/") || strings.HasPrefix(key, "cluster-autoscaler") {
				s.Errorf("node %s still carries %s", n.Name, key)
			}
		}
		if s.mark(&n) != nil && s.member(b.group.Name, n.Spec.ProviderID) {
			s.Errorf("node %s is still marked", n.Name)
		}
	}
	r := b.witness.Report()
	if r.Pods == 0 || r.Once != r.Pods || len(r.Again) > 0 || len(r.Stayed) > 0 {
		s.Errorf("%d of %d pods moved, again: %v, stayed: %v", r.Once, r.Pods, r.Again, r.Stayed)
	}
	for _, b := range r.Breaks {
		s.Error(b)
	}
}

func (s *story) member(group, providerID string) bool {
	return slices.ContainsFunc(s.asg(group).Members, func(m cloud.Member) bool { return strings.HasSuffix(providerID, m.InstanceID) })
}

func (s *story) mark(n *corev1.Node) *corev1.Taint {
	for i := range n.Spec.Taints {
		if n.Spec.Taints[i].Key == fleet.TaintKey {
			return &n.Spec.Taints[i]
		}
	}
	return nil
}

// start runs the program and returns its stderr, line by line.
func (s *story) start(args ...string) (*exec.Cmd, *bufio.Scanner) {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, program(), args...)
	cmd.Env = append(os.Environ(), s.Env()...)
	r, w := io.Pipe()
	cmd.Stderr = w
	s.ok(cmd.Start())
	go func() { cmd.Wait(); w.Close() }()
	return cmd, bufio.NewScanner(r)
}

// Two groups at once that share a workload: its budget counts for both together.
func TestTwoGroupsOneBudget(t *testing.T) {
	s := tell(t)
	s.group("left", 2, 6)
	s.group("right", 2, 6)
	s.deploy("shared", 6, 5, "left", "right")
	s.publish("left")
	s.publish("right")
	left, right := s.begin("left"), s.begin("right")
	s.want(s.drover("rotate", "left", "right", "--yes", "--surge", "1"), 0, "4 nodes")
	// Pods of one group may land on new nodes of the other, so each witness only speaks for the pods of its own nodes.
	s.end(left)
	s.end(right)
	s.want(s.drover("rotate", "left", "right", "--yes"), 0, "nothing to rotate")
}

// Killed after every single action: the next one goes on, and the end is the same. Most of the times the lease of the dead one is taken away by
// the test, as time would; every tenth is waited for.
func TestKilledAfterEveryAction(t *testing.T) {
	s := tell(t)
	s.group("frail", 3, 6)
	s.deploy("steady", 4, 3, "frail")
	s.deploy("loose", 2, 0, "frail")
	s.deploy("lonely", 1, 0, "frail")
	s.publish("frail")
	b := s.begin("frail")
	kills := 0
	for ; ; kills++ {
		if kills > 150 {
			t.Fatal("does not come to an end")
		}
		cmd, lines := s.start("rotate", "frail", "--yes", "--surge", "1")
		if !killAfter(cmd, lines, 1) {
			break
		}
		if kills%10 != 9 {
			s.dropLease()
		}
	}
	if kills < 20 {
		t.Errorf("killed at %d moments, want at least 20", kills)
	}
	t.Logf("killed at %d moments", kills)
	s.until("the group is quiet", func() string {
		if g := s.asg("frail"); len(g.Members) != g.Desired {
			return fmt.Sprintf("%d members, desired %d", len(g.Members), g.Desired)
		}
		return ""
	})
	s.end(b)
}

// dropLease takes a dead process's lease away, as waiting would.
func (s *story) dropLease() {
	s.Helper()
	s.ok(s.Client().CoordinationV1().Leases("kube-system").Delete(s.ctx, "drover", metav1.DeleteOptions{}))
}

// killAfter kills the program after so many actions; false when it came to its end before.
func killAfter(cmd *exec.Cmd, lines *bufio.Scanner, actions int) bool {
	killed := false
	for lines.Scan() {
		if strings.Contains(lines.Text(), "  done ") {
			if actions--; actions == 0 {
				cmd.Process.Kill()
				killed = true
			}
		}
	}
	return killed
}

// Ctrl-C stops and says what goes on; a time-out has its own exit code; then the same command finishes.
func TestInterruptedAndTimedOut(t *testing.T) {
	s := tell(t)
	s.group("paused", 2, 4)
	s.deploy("calm", 3, 2, "paused")
	s.publish("paused")
	b := s.begin("paused")
	cmd, lines := s.start("rotate", "paused", "--yes", "--surge", "1")
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "resize group paused") {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d after Ctrl-C, want 130", code)
	}
	if last := said[len(said)-1]; !strings.Contains(last, "stopped watching") || !strings.Contains(last, "group paused keeps desired 3 (before: 2)") || !strings.Contains(last, "goes on from here") {
		t.Errorf("after Ctrl-C it says: %s", last)
	}
	s.want(s.drover("status"), 0, "paused", "Run r-", "start the same command again")
	began := time.Now()
	s.want(s.drover("rotate", "paused", "--yes", "--timeout", "1s"), 4, "not done within 1s")
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("a lease given back was waited for: %s", took)
	}
	s.want(s.drover("rotate", "paused", "--yes"), 0, "Done in")
	s.end(b)
}

// A second run is turned away while the first is acting.
func TestOneAtATime(t *testing.T) {
	s := tell(t)
	s.group("alone", 1, 2)
	s.deploy("guarded", 2, 1, "alone")
	s.publish("alone")
	b := s.begin("alone")
	cmd, lines := s.start("rotate", "alone", "--yes")
	second := make(chan answer, 1)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "resize group alone") {
			cmd.Process.Signal(syscall.SIGSTOP) // hold it where it is, alive for the others as long as its lease is
			cmd.Process.Signal(syscall.SIGCONT)
			go func() { second <- s.drover("rotate", "alone", "--yes") }()
		}
	}
	if a := <-second; a.code != 3 || !strings.Contains(a.err, "another drover is acting") {
		t.Errorf("the second run: exit code %d\n%s", a.code, a.err)
	}
	s.end(b)
}

// A group that disappears under way stops the run, with a sentence.
func TestGroupDeletedUnderWay(t *testing.T) {
	s := tell(t)
	s.group("doomed", 2, 4)
	s.deploy("tenant", 2, 1, "doomed")
	s.publish("doomed")
	cmd, lines := s.start("rotate", "doomed", "--yes")
	var last string
	for lines.Scan() {
		if last = lines.Text(); strings.Contains(last, "resize group doomed") {
			s.ok(s.Cloud.DeleteAutoScalingGroup("doomed", true))
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(last, "group doomed no longer exists") {
		t.Errorf("exit code %d: %s", code, last)
	}
}

// A person's drain: pods leave, foreign taints stay, undo gives the node back exactly, and --terminate closes that very machine.
func TestDrain(t *testing.T) {
	s := tell(t)
	s.group("drained", 3, 4)
	s.deploy("movers", 6, 4, "drained")
	node := s.nodeNames("drained")[0]
	s.taint(node, "example.com/theirs")
	get := func() *corev1.Node {
		n, err := s.Client().CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{})
		s.ok(err)
		return n
	}
	start := get()
	s.want(s.drover("explain", "node", node), 0, "It is not leaving", "It could be emptied now")
	s.want(s.drover("drain", node), 5, "pass --yes")
	s.want(s.drover("drain", node, "--yes"), 0, "is empty and takes no pods")
	if n := len(s.podsOn(node)); n != 0 {
		t.Errorf("%d pods are still on it", n)
	}
	drained := get()
	if len(drained.Spec.Taints) != 2 || drained.Spec.Unschedulable || s.mark(drained) == nil || s.mark(drained).Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("taints %v, cordoned %v", drained.Spec.Taints, drained.Spec.Unschedulable)
	}
	s.want(s.drover("explain", "node", node), 0, "It is leaving with run")
	s.want(s.drover("status"), 0, "is drained; give it back")
	s.want(s.drover("drain", "--undo", node), 0, "takes pods again")
	back := get()
	if fmt.Sprint(back.Spec.Taints, back.Labels, back.Annotations) != fmt.Sprint(start.Spec.Taints, start.Labels, start.Annotations) {
		t.Errorf("not given back as it was:\n%v %v %v\n%v %v %v", start.Spec.Taints, start.Labels, start.Annotations, back.Spec.Taints, back.Labels, back.Annotations)
	}
	id := filepath.Base(start.Spec.ProviderID)
	s.want(s.drover("drain", node, "--terminate", "--yes"), 0, "Done in")
	g := s.asg("drained")
	if g.Desired != 2 || slices.ContainsFunc(g.Members, func(m cloud.Member) bool { return m.InstanceID == id && m.State == "InService" }) {
		t.Errorf("desired %d, members %v", g.Desired, g.Members)
	}
}

func (s *story) podsOn(node string) []string {
	s.Helper()
	list, err := s.Client().CoreV1().Pods("").List(s.ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	s.ok(err)
	var out []string
	for _, p := range list.Items {
		out = append(out, p.Name)
	}
	return out
}

// The plan in its three formats, and its exit codes.
func TestPlan(t *testing.T) {
	s := tell(t)
	s.group("planned", 2, 4)
	s.deploy("mapped", 3, 2, "planned")
	s.want(s.drover("plan", "rotate", "planned"), 0, "all 2 nodes of group planned already run what it launches (launch template planned:1)")
	s.publish("planned")
	s.want(s.drover("plan", "rotate", "planned"), 0, "runs launch template planned:1, the group launches launch template planned:2", "Forecast: 3 pods move once each")
	s.want(s.drover("plan", "rotate", "planned", "--detailed-exitcode"), 2)
	var p struct {
		Kind  string
		Exits []struct{ Node, Instance, Zone string }
		Moves []struct{ Pod, Lane string }
	}
	a := s.drover("plan", "rotate", "planned", "-o", "json")
	s.want(a, 0)
	s.ok(json.Unmarshal([]byte(a.out), &p))
	if p.Kind != "Plan" || len(p.Exits) != 2 || len(p.Moves) != 3 || p.Moves[0].Lane != "budget default/mapped" {
		t.Errorf("%+v", p)
	}
	s.want(s.drover("plan", "rotate", "planned", "-o", "yaml"), 0, "kind: Plan")
	s.want(s.drover("plan", "rotate", "planned", "-o", "xml"), 64, "not a format")
	s.want(s.drover("plan", "rotate", "planned", "--older-than", "1000h"), 0, "none of the 2 nodes")
	s.want(s.drover("plan", "rotate", "planned", "--selector", "pool=planned"), 0, "matches selector")
	s.want(s.drover("plan", "rotate", "planned", "--all"), 0, "every node was asked for")
	if g := s.asg("planned"); g.Desired != 2 || len(g.Suspended) > 0 || len(g.Tags) > 1 {
		t.Errorf("a plan changed the group: %+v", g)
	}
}

// Bad input, each with a located error, and nothing done.
func TestBadInput(t *testing.T) {
	s := tell(t)
	s.group("tight", 2, 2)
	s.group("stuck", 1, 2)
	s.deploy("never", 2, 2, "stuck")
	_, err := s.Client().AppsV1().Deployments("default").Patch(s.ctx, "never", types.MergePatchType, []byte(`{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`), metav1.PatchOptions{})
	s.ok(err) // otherwise its replacement would come first
	s.publish("tight")
	s.publish("stuck")
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	s.ok(os.WriteFile(broken, []byte("apiVersion: v1\nclusters: [oops\n"), 0o600))
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	s.ok(os.WriteFile(nowhere, []byte("apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: x, user: {}}]\n"), 0o600))
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		code int
		says string
	}{
		{"unknown group", nil, []string{"rotate", "nope", "--yes"}, 1, "group nope: AWS lists no Auto Scaling group of that name here; there are: "},
		{"max too small", nil, []string{"rotate", "tight", "--yes"}, 3, "group tight: max 2 is too small: desired 2 + surge 2 = 4"},
		{"budget that never allows", nil, []string{"rotate", "stuck", "--yes"}, 3, "budget default/never: can never allow a disruption: it wants 2 healthy of the 2 pods it counts"},
		{"expired credentials", []string{"AWS_ACCESS_KEY_ID=EXPIRED"}, []string{"rotate", "tight", "--yes"}, 1, "AWS credentials are not accepted: ExpiredToken"},
		{"unreachable API server", []string{"KUBECONFIG=" + nowhere}, []string{"rotate", "tight", "--yes"}, 1, "kubernetes API server https://127.0.0.1:1: no answer"},
		{"malformed kubeconfig", []string{"KUBECONFIG=" + broken}, []string{"rotate", "tight", "--yes"}, 1, broken},
		{"missing kubeconfig", nil, []string{"rotate", "tight", "--yes", "--kubeconfig", "/nonexistent"}, 1, "/nonexistent"},
		{"no region", []string{"AWS_REGION=", "AWS_DEFAULT_REGION="}, []string{"status"}, 1, "no region; set AWS_REGION"},
		{"unreachable AWS", []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1"}, []string{"status"}, 1, "ask AWS who we are"},
		{"unknown node", nil, []string{"drain", "nope", "--yes"}, 1, "node nope: not found in the cluster"},
		{"node of no group", nil, []string{"drain", "stray", "--terminate", "--yes"}, 1, "belongs to no Auto Scaling group"},
		{"node of no cloud", nil, []string{"drain", "metal", "--terminate", "--yes"}, 1, `its providerID "metal://1" is not an EC2 instance`},
		{"surge of zero", nil, []string{"rotate", "tight", "--surge", "0"}, 64, `--surge "0": want a number of nodes`},
		{"surge of words", nil, []string{"rotate", "tight", "--surge", "33,3%"}, 64, `--surge "33,3%"`},
		{"bad selector", nil, []string{"rotate", "tight", "--selector", "a in"}, 64, "--selector"},
		{"two choices", nil, []string{"rotate", "tight", "--all", "--selector", "a=b"}, 64, "none of the others can be"},
		{"unknown flag", nil, []string{"rotate", "tight", "--nope"}, 64, "unknown flag: --nope"},
		{"no group", nil, []string{"rotate"}, 64, "requires at least 1 arg"},
		{"unknown command", nil, []string{"rotat"}, 64, "unknown command"},
		{"not approved", nil, []string{"rotate", "tight", "--surge", "1", "--all"}, 3, "max 2 is too small"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sub := &story{t, s.World, t.Context()}
			if strings.HasPrefix(tc.name, "node of no") {
				sub.strays()
			}
			sub.want(sub.droverIn(tc.env, tc.args...), tc.code, tc.says)
		})
	}
	for _, name := range []string{"tight", "stuck"} {
		if g := s.asg(name); len(g.Suspended) > 0 || len(g.Tags) > 1 {
			t.Errorf("group %s was touched: %+v", name, g)
		}
		for _, n := range s.nodes(name) {
			if len(n.Spec.Taints) > 0 {
				t.Errorf("node %s was touched: %v", n.Name, n.Spec.Taints)
			}
		}
	}
}

// strays adds a node whose instance is in no group, and one that no cloud knows.
func (s *story) strays() {
	for name, id := range map[string]string{"stray": "aws:///eu-west-1a/i-0123456789abcdef0", "metal": "metal://1"} {
		_, err := s.Client().CoreV1().Nodes().Create(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: id}}, metav1.CreateOptions{})
		s.ok(err)
		s.Cleanup(func() {
			s.Client().CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})
		})
	}
}
