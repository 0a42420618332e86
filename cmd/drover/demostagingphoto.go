package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"drover.dev/sandbox"
	"drover.dev/sandbox/cloud"
)

// scene is how everything is, as far as switching an environment could change it: a line for each object, by its name.
type scene struct {
	ours   map[string]string // staging's objects, its database, and the node groups
	others map[string]string // all else
}

// photograph describes the world, in the words of the Kubernetes API and of AWS.
func (d *stagingDemo) photograph(ctx context.Context) (scene, error) {
	s := scene{map[string]string{}, map[string]string{}}
	for _, look := range []func(context.Context, *scene) error{d.photographObjects, d.photographPods, d.photographNodes, d.photographGroups, d.photographDatabases} {
		if err := look(ctx, &s); err != nil {
			return s, fmt.Errorf("photograph: %w", err)
		}
	}
	return s, nil
}

func (s *scene) add(ours bool, name, what string) {
	if ours {
		s.ours[name] = what
		return
	}
	s.others[name] = what
}

// photographObjects takes what people declare of every object that drover may change, and of those next to them.
func (d *stagingDemo) photographObjects(ctx context.Context, s *scene) error {
	c, all := d.w.Client(), metav1.ListOptions{}
	var lists []runtime.Object
	var failed error
	list := func(l runtime.Object, err error) {
		lists = append(lists, l)
		if failed == nil {
			failed = err
		}
	}
	deployments, err := c.AppsV1().Deployments("").List(ctx, all)
	list(deployments, err)
	sets, err := c.AppsV1().DaemonSets("").List(ctx, all)
	list(sets, err)
	jobs, err := c.BatchV1().CronJobs("").List(ctx, all)
	list(jobs, err)
	services, err := c.CoreV1().Services("").List(ctx, all)
	list(services, err)
	secrets, err := c.CoreV1().Secrets("").List(ctx, all)
	list(secrets, err)
	budgets, err := c.PolicyV1().PodDisruptionBudgets("").List(ctx, all)
	list(budgets, err)
	if failed != nil {
		return failed
	}
	for _, l := range lists {
		if err := s.addList(l); err != nil {
			return err
		}
	}
	return nil
}

// addList takes of each object all but its status, and what the API server itself keeps of it.
func (s *scene) addList(l runtime.Object) error {
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	kind := strings.TrimPrefix(strings.TrimSuffix(fmt.Sprintf("%T", l), "List"), "*v1.")
	for _, o := range list.Items {
		meta, _ := o["metadata"].(map[string]any)
		namespace, name := fmt.Sprint(meta["namespace"]), fmt.Sprint(meta["name"])
		for _, key := range []string{"managedFields", "resourceVersion", "generation"} {
			delete(meta, key)
		}
		delete(o, "status")
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		s.add(namespace == sandbox.Staging, fmt.Sprintf("%s %s/%s", kind, namespace, name), string(text))
	}
	return nil
}

// photographPods takes production's pods: which they are, where, and whether they had to begin anew.
func (d *stagingDemo) photographPods(ctx context.Context, s *scene) error {
	pods, err := d.w.Client().CoreV1().Pods(sandbox.Production).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		restarts := int32(0)
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
		}
		s.add(false, fmt.Sprintf("pod %s/%s", p.Namespace, p.Name), fmt.Sprintf("%s on %s, ready %t, %d restarts", p.UID, p.Spec.NodeName, isServing(&p), restarts))
	}
	return nil
}

// photographNodes takes the nodes that production was on at first: the others come and go.
func (d *stagingDemo) photographNodes(ctx context.Context, s *scene) error {
	nodes, err := d.w.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes.Items {
		if d.home[n.Name] {
			s.add(false, "node "+n.Name, fmt.Sprint(n.Spec.Unschedulable, n.Spec.Taints, n.Labels, n.Annotations))
		}
	}
	return nil
}

// photographGroups takes the groups' settings, and who of their members is protected. Members that carry nothing of production come and go.
func (d *stagingDemo) photographGroups(_ context.Context, s *scene) error {
	groups, err := d.w.Cloud.DescribeAutoScalingGroups(nil, nil)
	if err != nil {
		return err
	}
	for _, g := range groups {
		var stay []string
		protected := 0
		for _, m := range g.Members {
			if in, ok := d.w.Cloud.Instance(m.InstanceID); ok && d.home[in.PrivateDNS] {
				stay = append(stay, fmt.Sprint(m.InstanceID, " ", m.State, " ", m.Protected))
			} else if m.Protected {
				protected++
			}
		}
		slices.Sort(stay)
		s.add(true, "group "+groupName(&g), fmt.Sprintf("min %d max %d desired %d members %d suspended %v tags %v targets %v: %s; %d others protected", g.Min, g.Max, g.Desired, len(g.Members), g.Suspended, g.Tags,
			g.TargetGroups, strings.Join(stay, ", "), protected))
	}
	names, err := d.w.Cloud.ListNodegroups(sandbox.EKSCluster)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := d.w.Cloud.DescribeNodegroup(sandbox.EKSCluster, name)
		if err != nil {
			return err
		}
		s.add(true, "node group "+name, fmt.Sprintf("%s min %d max %d desired %d labels %v taints %v tags %v", n.Status, n.Min, n.Max, n.Desired, n.Labels, n.Taints, n.Tags))
	}
	return nil
}

// groupName is what people call a group: a node group's own name, where it has one.
func groupName(g *cloud.Group) string {
	for _, t := range g.Tags {
		if t.Key == "eks:nodegroup-name" {
			return t.Value
		}
	}
	return g.Name
}

func (d *stagingDemo) photographDatabases(_ context.Context, s *scene) error {
	all, err := d.w.Cloud.DescribeDBInstances("", nil)
	if err != nil {
		return err
	}
	for _, db := range all {
		s.add(db.ID == sandbox.Staging, "database "+db.ID, fmt.Sprintf("%s %s %s at %v, tags %v", db.Status, db.Class, db.Version, db.Endpoint, db.Tags))
	}
	return nil
}

// differences are the objects that two scenes do not have alike, each with both.
func differences(before, after map[string]string) []string {
	names := maps.Clone(before)
	maps.Copy(names, after)
	var out []string
	for _, name := range keysOf(names) {
		if before[name] != after[name] {
			out = append(out, fmt.Sprintf("%s was %s, is %s", name, orDash(before[name]), orDash(after[name])))
		}
	}
	return out
}

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// nodesIn are the nodes of a group whose machines live, by name.
func (d *stagingDemo) nodesIn(_ context.Context, group string) ([]string, error) {
	groups, err := d.w.Cloud.DescribeAutoScalingGroups(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("nodes of group %s: %w", group, err)
	}
	var out []string
	for i := range groups {
		if groupName(&groups[i]) != group {
			continue
		}
		for _, m := range groups[i].Members {
			if in, ok := d.w.Cloud.Instance(m.InstanceID); ok && !in.Gone() {
				out = append(out, in.PrivateDNS)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// carriers are the pods of an environment by the nodes that carry them.
func (d *stagingDemo) carriers(ctx context.Context, namespace string) (map[string][]string, error) {
	pods, err := d.w.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("pods of %s: %w", namespace, err)
	}
	out := map[string][]string{}
	for _, p := range pods.Items {
		out[p.Spec.NodeName] = append(out[p.Spec.NodeName], p.Namespace+"/"+p.Name)
	}
	return out, nil
}

// pods are those of an environment, by namespace and name.
func (d *stagingDemo) pods(ctx context.Context, namespace string) ([]string, error) {
	on, err := d.carriers(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, names := range on {
		out = append(out, names...)
	}
	slices.Sort(out)
	return out, nil
}

func (d *stagingDemo) databaseStatus(name string) (string, error) {
	found, err := d.w.Cloud.DescribeDBInstances(name, nil)
	if err != nil {
		return "", fmt.Errorf("database %s: %w", name, err)
	}
	return found[0].Status, nil
}

// login logs in to a database as its application does, and returns what came of it.
func (d *stagingDemo) login(ctx context.Context, name string) error {
	address, err := d.w.DatabaseURL(ctx, name)
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}
