package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"drover.dev/fleet"
	"drover.dev/sandbox"
	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/witness"
)

// settings is everything that a run may change on a group and its nodes, as the cloud and the cluster say it.
func (s *story) settings(group string) string {
	s.Helper()
	g := s.asg(group)
	out := []string{fmt.Sprintf("min %d max %d desired %d suspended %v tags %v", g.Min, g.Max, g.Desired, g.Suspended, g.Tags)}
	for _, arn := range g.TargetGroups {
		for _, t := range s.Cloud.Targets(arn) {
			out = append(out, fmt.Sprintf("target %s %s", t.ID, t.State))
		}
	}
	for _, n := range s.nodes(group) {
		if !s.member(group, n.Spec.ProviderID) {
			continue // closed, and not collected yet
		}
		var ours []string
		for key, value := range n.Annotations {
			if strings.Contains(key, "drover") || strings.Contains(key, "cluster-autoscaler") {
				ours = append(ours, key+"="+value)
			}
		}
		slices.Sort(ours)
		out = append(out, fmt.Sprintf("node %s taints %v labels %v annotations %v", n.Name, n.Spec.Taints, n.Labels, ours))
	}
	deployments, err := s.Client().AppsV1().Deployments("default").List(s.ctx, metav1.ListOptions{})
	s.ok(err)
	for _, d := range deployments.Items {
		out = append(out, fmt.Sprintf("deployment %s %d %v", d.Name, *d.Spec.Replicas, d.Annotations["drover.dev/surge"]))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Taken back before the first node was closed, everything is as it was, by instance and to the letter.
func TestAbortHalfWay(t *testing.T) {
	s := tell(t)
	s.group("torn", 3, 6)
	s.deploy("patient", 6, 5, "torn")
	s.deploy("only", 1, 0, "torn")
	s.publish("torn")
	before := s.settings("torn")
	cmd, lines := s.start("rotate", "torn", "--yes")
	aborted := make(chan answer, 1)
	asked := false
	var last string
	for lines.Scan() {
		last = lines.Text()
		if !asked && strings.Contains(last, "evict pod") && strings.Contains(last, "  done ") {
			asked = true
			go func() { aborted <- s.drover("abort", "torn", "--yes") }()
		}
	}
	if code := cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(last, "take run") {
		t.Errorf("the run that was taken back: exit code %d: %s", code, last)
	}
	if !asked {
		t.Fatal("no pod was evicted")
	}
	s.want(<-aborted, 0)
	if after := s.settings("torn"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	s.want(s.drover("plan", "rotate", "torn"), 0, "7 pods move once each")
}

// Old nodes in Standby are the way back: rolled back, the same instances serve again and none of the new ones is left.
func TestRollbackFromStandby(t *testing.T) {
	s := tell(t)
	s.group("baked", 2, 6)
	s.deploy("bread", 4, 3, "baked")
	s.publish("baked")
	before := s.settings("baked")
	s.want(s.drover("rotate", "baked", "--yes", "--bake", "10m", "--timeout", "90s"), 4)
	standby := 0
	for _, m := range s.asg("baked").Members {
		if m.State == cloud.OnStandby {
			standby++
		}
	}
	if standby != 2 {
		t.Fatalf("%d old nodes in Standby, want 2", standby)
	}
	s.want(s.drover("rollback", "baked", "--yes"), 0)
	s.until("targets are healthy", func() string {
		if after := s.settings("baked"); after != before {
			return fmt.Sprintf("before:\n%s\nafter:\n%s", before, after)
		}
		return ""
	})
}

// Paused, nothing moves; resumed, the same run goes on.
func TestPauseAndResume(t *testing.T) {
	s := tell(t)
	s.group("halting", 2, 4)
	s.deploy("idler", 3, 2, "halting")
	s.publish("halting")
	b := s.begin("halting")
	s.want(s.drover("pause", "--all", "--reason", "incident 7"), 0)
	s.want(s.drover("rotate", "halting", "--yes"), 3, "incident 7", "drover resume --all")
	s.want(s.drover("resume", "--all"), 0)
	s.want(s.drover("rotate", "halting", "--yes", "--timeout", "2s"), 4)
	s.want(s.drover("pause", "halting", "--reason", "lunch"), 0)
	ours := func() string { // what drover has changed so far; nodes that AWS is booting may go on arriving
		lines := strings.Split(s.settings("halting"), "\n")
		return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "min ") && !strings.Contains(l, fleet.TaintKey) }), "\n")
	}
	before := ours()
	s.want(s.drover("rotate", "halting", "--yes", "--timeout", "8s"), 4, "lunch")
	if after := ours(); after != before {
		t.Errorf("paused at:\n%s\nthen:\n%s", before, after)
	}
	s.want(s.drover("resume", "halting"), 0)
	s.want(s.drover("rotate", "halting", "--yes"), 0, "Done in")
	s.end(b)
}

// A single replica of a real process, behind a load balancer under steady traffic, changes its node without a failed request.
func TestSingletonUnderLoad(t *testing.T) {
	s := tell(t)
	const port = 30091
	tg, err := s.Cloud.CreateTargetGroup(cloud.TargetGroup{
		Name: "solo", TargetType: "instance", Protocol: "HTTP", Port: port,
		HealthCheck: cloud.HealthCheck{Protocol: "HTTP", Port: "traffic-port", Path: "/healthz", Matcher: "200", Interval: 2 * time.Second, Timeout: time.Second, HealthyThreshold: 2, UnhealthyThreshold: 2},
	})
	s.ok(err)
	s.ok(s.Cloud.SetExternalHealth(tg.ARN, true))
	_, err = s.Cloud.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": "3"})
	s.ok(err)
	s.serve("solo", port, "lone")
	s.groupBehind("lone", 2, 4, tg.ARN)
	s.until("solo is ready", func() string { return s.unready("solo", 1, 0) })
	s.until("its targets are healthy", func() string { return s.notReady("lone", 2, tg.ARN) })
	url, err := s.URL("solo")
	s.ok(err)
	load, err := balancer.StartLoad(s.ctx, balancer.LoadOptions{URL: url, Rate: 40, Timeout: 5 * time.Second})
	s.ok(err)
	s.publish("lone")
	b := s.begin("lone")
	s.want(s.drover("rotate", "lone", "--yes"), 0, "surge Deployment default/solo")
	traffic := load.Stop()
	if traffic.Failed > 0 || traffic.OK < 100 {
		t.Errorf("%s", traffic)
	}
	t.Logf("%s", traffic.Line())
	s.end(b)
}

// serve makes a Deployment of one real HTTP process, for nodes of a pool, behind a node port.
func (s *story) serve(name string, port int, pool string) {
	s.Helper()
	app, one, grace := map[string]string{"app": name}, int32(1), int64(10)
	_, err := s.Client().AppsV1().Deployments("default").Create(s.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: app}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: app, Annotations: map[string]string{"sandbox.drover.dev/process": "true"}},
			Spec: corev1.PodSpec{
				NodeSelector: map[string]string{"pool": pool}, TerminationGracePeriodSeconds: &grace,
				Containers: []corev1.Container{{
					Name: "main", Image: "drover/echo:1", Command: []string{"drover", "sandbox", "serve-http"}, Args: []string{"--addr=$(POD_IP):8080"},
					Env:            []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}},
					Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}}},
					Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "2"}}}},
				}},
			},
		}},
	}, metav1.CreateOptions{})
	s.ok(err)
	_, err = s.Client().CoreV1().Services("default").Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: app, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http"), NodePort: int32(port)}}},
	}, metav1.CreateOptions{})
	s.ok(err)
	s.Cleanup(func() {
		away := metav1.DeletePropagationForeground
		s.Client().AppsV1().Deployments("default").Delete(context.Background(), name, metav1.DeleteOptions{PropagationPolicy: &away})
		s.Client().CoreV1().Services("default").Delete(context.Background(), name, metav1.DeleteOptions{})
	})
}

// A managed node group is replaced as a whole, by a copy on the newest release; EKS's own roll is not used.
func TestManagedNodeGroup(t *testing.T) {
	s := tell(t)
	var subnets []string
	for _, n := range s.Cloud.Subnets() {
		subnets = append(subnets, n.ID)
	}
	_, err := s.Cloud.CreateNodegroup(cloud.Nodegroup{
		Cluster: sandbox.EKSCluster, Name: "workers", InstanceTypes: []string{"m5.large"}, Subnets: subnets, Role: "arn:aws:iam::123456789012:role/nodes",
		Min: 1, Max: 4, Desired: 2, Labels: map[string]string{"pool": "workers"},
	}, "")
	s.ok(err)
	groupsLeft := func() (names []string) {
		list, err := s.Cloud.ListNodegroups(sandbox.EKSCluster)
		s.ok(err)
		return list
	}
	s.Cleanup(func() {
		for _, name := range groupsLeft() {
			s.Cloud.DeleteNodegroup(sandbox.EKSCluster, name)
		}
	})
	s.until("the node group is active", func() string {
		n, err := s.Cloud.DescribeNodegroup(sandbox.EKSCluster, "workers")
		s.ok(err)
		if n.Status != "ACTIVE" {
			return n.Status
		}
		return ""
	})
	s.deploy("busy", 4, 3, "workers")
	s.want(s.drover("rotate", "workers", "--yes"), 0, "nothing to rotate")
	n, err := s.Cloud.DescribeNodegroup(sandbox.EKSCluster, "workers")
	s.ok(err)
	s.Cloud.PublishRelease(n.Version, n.Version+".9-20261120")
	w, err := witness.Start(s.ctx, s.Client(), s.nodeNames("workers"))
	s.ok(err)
	s.want(s.drover("rotate", "workers", "--yes", "--timeout", "150s"), 0, "delete managed node group workers", "Done in")
	if names := groupsLeft(); len(names) != 1 || !strings.HasPrefix(names[0], "workers-") {
		t.Errorf("node groups %v, want the copy alone", names)
	}
	r := w.Report()
	if r.Pods != 4 || r.Once != 4 || len(r.Again)+len(r.Breaks) > 0 {
		t.Errorf("%d of %d pods moved once, again %v, budgets broken %v", r.Once, r.Pods, r.Again, r.Breaks)
	}
}
