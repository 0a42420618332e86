package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/sandbox"
	"drover.dev/sandbox/cloud"
)

// home is the folder of everything that these tests build and start.
var home string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drover-scenario-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	home = dir
	defer func() {
		if shared != nil {
			shared.Stop()
		}
	}()
	return m.Run()
}

// program is the built drover; its folder goes on the PATH of process pods. The stories in memory need none, so it is built when it is asked for.
func program() string {
	path, err := built()
	if err != nil {
		panic(fmt.Sprintf("build drover: %v", err))
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(home, "drover")
	build := exec.Command("go", "build", "-o", path, "../cmd/drover")
	build.Stderr = os.Stderr
	return path, build.Run()
})

var (
	shared    *sandbox.World
	sharedErr error
	startOnce sync.Once
)

// fast is AWS in seconds, so that a story takes less than a minute of real time.
var fast = cloud.Timing{
	ReactionTime: 500 * time.Millisecond, StartTime: 500 * time.Millisecond, BootTime: 2 * time.Second, BootJitter: time.Second,
	ShutdownTime: time.Second, RegistrationDelay: 2 * time.Second, RetainTime: time.Minute, RetryTime: 5 * time.Second,
}

// story is one test with the shared world. Each has its own groups and workloads, and leaves nothing behind.
type story struct {
	*testing.T
	*sandbox.World
	ctx context.Context
}

func tell(t *testing.T) *story {
	t.Helper()
	startOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
		defer cancel()
		program()
		shared, sharedErr = sandbox.Start(ctx, sandbox.Options{
			Dir: filepath.Join(home, "world"), Progress: os.Stderr, Timing: fast, Machines: sandbox.Light, Program: home,
		})
		if sharedErr == nil {
			sharedErr = install(ctx)
		}
	})
	if sharedErr != nil {
		t.Fatal(sharedErr)
	}
	return &story{t, shared, t.Context()}
}

// install puts drover's custom resources into the shared world.
func install(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, program(), "install", "--yes")
	cmd.Env = append(os.Environ(), shared.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("drover install: %w\n%s", err, out)
	}
	return nil
}

func (s *story) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// group makes a group of m5.large nodes over three zones, behind a target group of its own, and waits until its nodes are Ready.
func (s *story) group(name string, nodes, most int) {
	s.Helper()
	tg, err := s.Cloud.CreateTargetGroup(cloud.TargetGroup{Name: name, TargetType: "instance", Protocol: "HTTP", Port: 30000})
	s.ok(err)
	_, err = s.Cloud.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": "2"})
	s.ok(err)
	s.groupBehind(name, nodes, most, tg.ARN)
	s.until("nodes of "+name+" are Ready and healthy", func() string { return s.notReady(name, nodes, tg.ARN) })
}

// groupBehind makes the group behind a target group that is there already. Both are gone when the story ends.
func (s *story) groupBehind(name string, nodes, most int, arn string) {
	s.Helper()
	lt, err := s.Cloud.CreateLaunchTemplate(name, "", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	s.ok(err)
	s.ok(s.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: name, Min: 1, Max: most, Desired: nodes, Zones: s.Cloud.Zones(), TargetGroups: []string{arn},
		Source: cloud.Source{Template: cloud.TemplateSpec{ID: lt.ID, Version: "$Latest"}},
		Tags:   []cloud.GroupTag{{Group: name, Key: sandbox.LabelTag + "pool", Value: name, Propagate: true}},
	}))
	s.Cleanup(func() {
		s.Cloud.DeleteAutoScalingGroup(name, true)
		s.Cloud.DeleteLaunchTemplate("", name)
		wait.PollUntilContextTimeout(context.Background(), 200*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
			groups, err := s.Cloud.DescribeAutoScalingGroups([]string{name}, nil)
			return err == nil && len(groups) == 0, nil
		})
		s.Cloud.DeleteTargetGroup(arn)
	})
}

func (s *story) notReady(group string, nodes int, arn string) string {
	ready := 0
	for _, n := range s.nodes(group) {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && len(n.Spec.Taints) == 0 {
				ready++
			}
		}
	}
	for _, t := range s.Cloud.Targets(arn) {
		if t.State != cloud.StateHealthy {
			return fmt.Sprintf("target %s is %s", t.ID, t.State)
		}
	}
	if ready < nodes {
		return fmt.Sprintf("%d of %d nodes ready", ready, nodes)
	}
	return ""
}

// publish makes every node of a group outdated.
func (s *story) publish(group string) {
	s.Helper()
	_, _, err := s.Cloud.CreateLaunchTemplateVersion("", group, "$Latest", "", cloud.TemplateData{ImageID: "ami-0a000000000000002"})
	s.ok(err)
}

func (s *story) nodes(group string) []corev1.Node {
	s.Helper()
	list, err := s.Client().CoreV1().Nodes().List(s.ctx, metav1.ListOptions{LabelSelector: sandbox.GroupLabel + "=" + group})
	s.ok(err)
	return list.Items
}

func (s *story) nodeNames(group string) []string {
	var out []string
	for _, n := range s.nodes(group) {
		out = append(out, n.Name)
	}
	return out
}

func (s *story) asg(name string) cloud.Group {
	s.Helper()
	groups, err := s.Cloud.DescribeAutoScalingGroups([]string{name}, nil)
	s.ok(err)
	if len(groups) != 1 {
		s.Fatalf("group %s: %d of it", name, len(groups))
	}
	return groups[0]
}

// deploy makes a simulated Deployment on the pools, with a budget when least is above 0, and waits until it is ready.
func (s *story) deploy(name string, replicas, least int, pools ...string) {
	s.Helper()
	app := map[string]string{"app": name}
	n, grace := int32(replicas), int64(5)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: app}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: app, Annotations: map[string]string{"sandbox.drover.dev/pull": "100ms", "sandbox.drover.dev/ready": "300ms"}},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: &grace,
				Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
					NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: pools}}}},
				}}},
				Containers: []corev1.Container{{Name: "main", Image: "example.com/" + name, Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
				}}},
			},
		}},
	}
	_, err := s.Client().AppsV1().Deployments("default").Create(s.ctx, d, metav1.CreateOptions{})
	s.ok(err)
	s.Cleanup(func() {
		now := int64(0)
		away := metav1.DeletePropagationBackground
		s.Client().AppsV1().Deployments("default").Delete(context.Background(), name, metav1.DeleteOptions{PropagationPolicy: &away})
		s.Client().PolicyV1().PodDisruptionBudgets("default").Delete(context.Background(), name, metav1.DeleteOptions{})
		wait.PollUntilContextTimeout(context.Background(), 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			s.Client().CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "app=" + name})
			list, err := s.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
			return err == nil && len(list.Items) == 0, nil
		})
	})
	if least > 0 {
		min := intstr.FromInt32(int32(least))
		_, err := s.Client().PolicyV1().PodDisruptionBudgets("default").Create(s.ctx, &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
			Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &min, Selector: &metav1.LabelSelector{MatchLabels: app}},
		}, metav1.CreateOptions{})
		s.ok(err)
	}
	s.until(name+" is ready", func() string { return s.unready(name, replicas, least) })
}

func (s *story) unready(name string, replicas, least int) string {
	d, err := s.Client().AppsV1().Deployments("default").Get(s.ctx, name, metav1.GetOptions{})
	s.ok(err)
	if int(d.Status.ReadyReplicas) < replicas {
		return fmt.Sprintf("%d of %d ready", d.Status.ReadyReplicas, replicas)
	}
	if least == 0 {
		return ""
	}
	b, err := s.Client().PolicyV1().PodDisruptionBudgets("default").Get(s.ctx, name, metav1.GetOptions{})
	s.ok(err)
	if int(b.Status.CurrentHealthy) < replicas {
		return fmt.Sprintf("the budget counts %d of %d", b.Status.CurrentHealthy, replicas)
	}
	return ""
}

// until waits for something, and fails with what is still missing.
func (s *story) until(what string, missing func() string) {
	s.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(s.ctx, 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		last = missing()
		return last == "", nil
	})
	if err != nil {
		s.Fatalf("waiting until %s: %s", what, last)
	}
}

// taint adds a taint that is not drover's.
func (s *story) taint(node, key string) {
	s.Helper()
	patch := fmt.Sprintf(`{"spec":{"taints":[{"key":%q,"value":"yes","effect":"PreferNoSchedule"}]},"metadata":{"labels":{%q:"yes"}}}`, key, key)
	_, err := s.Client().CoreV1().Nodes().Patch(s.ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	s.ok(err)
}

// answer is what one call of the program said.
type answer struct {
	code     int
	out, err string
}

func (s *story) command(env []string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.CommandContext(s.ctx, program(), args...)
	cmd.Env = append(append(os.Environ(), s.Env()...), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

// drover calls the program in this world.
func (s *story) drover(args ...string) answer {
	s.Helper()
	return s.droverIn(nil, args...)
}

func (s *story) droverIn(env []string, args ...string) answer {
	s.Helper()
	cmd, out, errs := s.command(env, args...)
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		s.Fatal(err)
	}
	a := answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if strings.Contains(a.err, "goroutine ") || strings.Contains(a.err, "panic:") {
		s.Fatalf("drover %v panicked:\n%s", args, a.err)
	}
	return a
}

func (s *story) want(a answer, code int, says ...string) {
	s.Helper()
	if a.code != code {
		s.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", a.code, code, a.out, a.err)
	}
	for _, w := range says {
		if !strings.Contains(a.out+a.err, w) {
			s.Fatalf("does not say %q\nstdout:\n%s\nstderr:\n%s", w, a.out, a.err)
		}
	}
}
