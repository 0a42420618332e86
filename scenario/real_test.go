package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestRealStories tells the stories marked real against a real control plane, by the program as a user starts it. Their tales have to be those of
// the world in memory: that is what keeps it honest.
func TestRealStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("# real\n")) {
			continue
		}
		told++
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			if out, ok := tellOnce(t.TempDir(), file, Variation{Kind: "real"}, &realStage{story: tell(t)}, false); !ok {
				t.Error(out)
			}
		})
	}
	if told < 3 {
		t.Errorf("%d stories are marked real", told)
	}
}

// realStage tells a story on the real control plane. It knows some of the commands, and refuses the others.
type realStage struct {
	*story
	pools  []string
	began  map[string]before // by group
	pods   map[string]string // app by UID, of the pods on old nodes
	groups []string
	said   string
}

func (s *realStage) Do(name string, args []string) (string, error) {
	known := map[string]func(*words) (string, error){
		"group": s.makeGroup, "deployment": s.deployment, "statefulset": s.statefulset, "publish": s.outdate, "rotate": s.rotate, "abort": s.abort, "tale": s.tale,
		"settle": func(*words) (string, error) { return "", nil }, // group and deployment have waited
		"diary":  func(*words) (string, error) { return "", nil }, // compared in memory only
	}
	f := known[name]
	if f == nil {
		return "", fmt.Errorf("the real world does not know %s yet", name)
	}
	w := parse(args)
	said, err := f(w)
	return said, errors.Join(err, w.done())
}

func (s *realStage) makeGroup(w *words) (string, error) {
	nodes := w.number("nodes", 1)
	s.group(w.name(), nodes, w.number("max", 2*nodes))
	s.pools = append(s.pools, w.name())
	return "", nil
}

func (s *realStage) deployment(w *words) (string, error) {
	s.deploy(w.name(), w.number("replicas", 1), w.number("budget", 0), s.pools...)
	return "", nil
}

// statefulset makes a simulated StatefulSet on all groups of the story, and waits until it is ready.
func (s *realStage) statefulset(w *words) (string, error) {
	name, n, grace := w.name(), int32(w.number("replicas", 1)), int64(5)
	app, least := map[string]string{"app": name}, intstr.FromInt32(int32(w.number("budget", 1)))
	_, err := s.Client().AppsV1().StatefulSets("default").Create(s.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.StatefulSetSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: app}, ServiceName: name, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: app, Annotations: map[string]string{"sandbox.drover.dev/pull": "100ms", "sandbox.drover.dev/ready": "300ms"}},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "main", Image: "example.com/" + name}},
				Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
					NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: s.pools}}}},
				}}},
			},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	s.Cleanup(func() { s.removeSet(name) })
	_, err = s.Client().PolicyV1().PodDisruptionBudgets("default").Create(s.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &least, Selector: &metav1.LabelSelector{MatchLabels: app}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	s.until(name+" is ready", func() string {
		b, err := s.Client().PolicyV1().PodDisruptionBudgets("default").Get(s.ctx, name, metav1.GetOptions{})
		s.ok(err)
		if b.Status.CurrentHealthy < n {
			return fmt.Sprintf("the budget counts %d of %d", b.Status.CurrentHealthy, n)
		}
		return ""
	})
	return "", nil
}

func (s *realStage) removeSet(name string) {
	away, ctx := metav1.DeletePropagationForeground, context.Background()
	s.Client().AppsV1().StatefulSets("default").Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &away})
	s.Client().PolicyV1().PodDisruptionBudgets("default").Delete(ctx, name, metav1.DeleteOptions{})
	wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := s.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		return err == nil && len(list.Items) == 0, nil
	})
}

func (s *realStage) outdate(w *words) (string, error) {
	s.publish(w.name())
	return "", nil
}

// watch remembers how it was before the run, unless a run is under way.
func (s *realStage) watch(groups []string) error {
	if s.began != nil {
		return nil
	}
	s.groups, s.began, s.pods = groups, map[string]before{}, map[string]string{}
	var old []string
	for _, g := range groups {
		s.began[g] = s.begin(g)
		old = append(old, s.nodeNames(g)...)
	}
	list, err := s.Client().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range list.Items {
		if slices.Contains(old, p.Spec.NodeName) && p.Labels["app"] != "" {
			s.pods[string(p.UID)] = p.Labels["app"]
		}
	}
	return nil
}

// rotate is drover rotate. With until it is interrupted when so many pods are evicted, machines closed or capacities raised.
func (s *realStage) rotate(w *words) (string, error) {
	args := append([]string{"rotate", "--yes"}, w.names...)
	for _, flag := range []string{"surge", "canary", "bake"} {
		if v := w.text(flag, ""); v != "" {
			args = append(args, "--"+flag, v)
		}
	}
	until := w.text("until", "")
	if err := s.watch(w.names); err != nil || until == "" {
		return "", errors.Join(err, s.run(args))
	}
	what, digits, _ := strings.Cut(until, ":")
	line, ok := map[string]string{"moved": "evict pod", "closed": "terminate ", "raised": "resize group", "moving": "evict pod"}[what]
	w.set["count"] = digits
	if digits == "" {
		w.set["count"] = "1"
	}
	n := w.number("count", 1)
	if !ok {
		return "", fmt.Errorf("the real world does not know until=%s yet", until)
	}
	return "", s.runUntil(args, line, n)
}

// run starts the program and waits for it.
func (s *realStage) run(args []string) error {
	a := s.drover(args...)
	if a.code != 0 {
		return fmt.Errorf("drover %s: exit code %d\n%s", strings.Join(args, " "), a.code, a.err)
	}
	s.said = "run over"
	return nil
}

func (s *realStage) runUntil(args []string, what string, n int) error {
	cmd, lines := s.start(args...)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "  done ") && strings.Contains(lines.Text(), what) {
			if n--; n == 0 {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					return err
				}
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("drover %s: it ended before", strings.Join(args, " "))
	}
	s.said = "run under way"
	return nil
}

func (s *realStage) abort(w *words) (string, error) {
	return "", s.run([]string{"abort", "--yes", w.name()})
}

// tale says what came of it, in the words of the world in memory.
func (s *realStage) tale(*words) (string, error) {
	out, again := []string{s.said}, []string{}
	for _, name := range s.groups {
		b, g := s.began[name], s.asg(name)
		gone := slices.DeleteFunc(slices.Clone(b.members), func(id string) bool { return s.member(name, id) })
		out = append(out, fmt.Sprintf("%s: %d of %d old nodes replaced; %d nodes work, desired %d", name, len(gone), len(b.members), s.working(name), g.Desired))
		r := b.witness.Report()
		again = append(again, r.Again...)
		for _, broken := range r.Breaks {
			s.Error(broken)
		}
	}
	if len(again) > 0 {
		s.Errorf("moved again: %v", again)
	}
	moved, err := s.moves()
	return strings.Join(append(append(out, moved...), s.asBefore()), "\n") + "\n", err
}

// working counts a group's Ready nodes in service.
func (s *realStage) working(group string) int {
	n := 0
	for _, node := range s.nodes(group) {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && s.member(group, node.Spec.ProviderID) {
				n++
			}
		}
	}
	return n
}

func (s *realStage) moves() ([]string, error) {
	list, err := s.Client().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	total, stayed := map[string]int{}, map[string]int{}
	for _, app := range s.pods {
		total[app]++
	}
	for _, p := range list.Items {
		if app, ok := s.pods[string(p.UID)]; ok && p.DeletionTimestamp == nil {
			stayed[app]++
		}
	}
	var out []string
	for app, n := range total {
		line := fmt.Sprintf("%s: %d moved", app, n-stayed[app])
		if stayed[app] > 0 {
			line += fmt.Sprintf(", %d stayed", stayed[app])
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out, nil
}

// asBefore compares what drover may change with how it was.
func (s *realStage) asBefore() string {
	for _, name := range s.groups {
		was, g := s.began[name].group, s.asg(name)
		if was.Min != g.Min || was.Max != g.Max || was.Desired != g.Desired || len(was.Suspended) != len(g.Suspended) || len(was.Tags) != len(g.Tags) {
			return fmt.Sprintf("group %s is not as it was: %+v, %+v", name, was, g)
		}
		for _, n := range s.nodes(name) {
			if s.mark(&n) != nil && s.member(name, n.Spec.ProviderID) {
				return "node " + n.Name + " is still marked"
			}
			for key := range n.Annotations {
				if strings.HasPrefix(key, "drover.dev/") && s.member(name, n.Spec.ProviderID) {
					return "node " + n.Name + " still carries " + key
				}
			}
		}
	}
	return "everything else is as it was"
}
