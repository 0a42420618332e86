package fast

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// Tags by which EKS marks the Auto Scaling group under a node group, and by which drover marks a node group that a run made.
const (
	clusterTag   = "eks:cluster-name"
	nodegroupTag = "eks:nodegroup-name"
	runTag       = "drover.dev/run"
	copyTag      = "drover.dev/copy-of"
)

// found is an Auto Scaling group with the name that drover gives it: a managed node group goes by its own name, or as CLUSTER/NAME where another
// group has that name as well.
type found struct {
	raw                      cloud.Group
	cluster, nodegroup, name string
	bare                     bool // a node group without an Auto Scaling group: EKS has not made it yet, or could not
}

// answers tells whether the group may be meant by a name.
func (f *found) answers(name string) bool {
	return name == f.raw.Name || f.nodegroup != "" && (name == f.nodegroup || name == f.cluster+"/"+f.nodegroup)
}

// find returns the groups of these names (of Auto Scaling, or of node groups), or all. A name that nobody has is no error. Of two Auto Scaling
// groups under one node group, the one that is not being deleted counts.
func (h *CloudHand) find(names []string) ([]found, error) {
	raw, err := h.w.Cloud.DescribeAutoScalingGroups(nil, nil)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(raw, func(a, b cloud.Group) int { return cmp.Compare(a.Status, b.Status) })
	var out []found
	seen, count := map[string]bool{}, map[string]int{}
	for _, g := range raw {
		f := found{raw: g, cluster: tagOf(g, clusterTag), nodegroup: tagOf(g, nodegroupTag), name: g.Name}
		key := "scaling " + g.Name
		if f.nodegroup != "" {
			key, f.name = f.cluster+"/"+f.nodegroup, f.nodegroup
		}
		if !seen[key] {
			seen[key] = true
			count[f.name]++
			out = append(out, f)
		}
	}
	for i := range out {
		if f := &out[i]; f.nodegroup != "" && (count[f.name] > 1 || slices.Contains(names, f.cluster+"/"+f.nodegroup)) {
			f.name = f.cluster + "/" + f.nodegroup
		}
	}
	bare, err := h.bareNodegroups(out, names)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(out, bare...), func(f found) bool { return len(names) > 0 && !slices.ContainsFunc(names, f.answers) }), nil
}

// bareNodegroups asks EKS itself for the names that none of all groups answers to, in the clusters that have groups.
func (h *CloudHand) bareNodegroups(all []found, names []string) ([]found, error) {
	clusters := map[string]bool{}
	for _, f := range all {
		if f.cluster != "" {
			clusters[f.cluster] = true
		}
	}
	var out []found
	for _, name := range names {
		if slices.ContainsFunc(all, func(f found) bool { return f.answers(name) }) {
			continue
		}
		for _, cluster := range slices.Sorted(maps.Keys(clusters)) {
			own := strings.TrimPrefix(name, cluster+"/")
			n, err := h.describeNodegroup(cluster, own)
			if err != nil {
				return nil, doing("describe node group "+own+" of cluster "+cluster, err)
			}
			if n != nil {
				out = append(out, found{cluster: cluster, nodegroup: own, name: name, bare: true})
			}
		}
	}
	return out, nil
}

func tagOf(g cloud.Group, key string) string {
	for _, t := range g.Tags {
		if t.Key == key {
			return t.Value
		}
	}
	return ""
}

// scalingName is the name that Auto Scaling has for a group; the given one when nobody has it.
func (h *CloudHand) scalingName(group string) (string, error) {
	groups, err := h.find([]string{group})
	if err != nil || len(groups) == 0 {
		return group, err
	}
	return cmp.Or(groups[0].raw.Name, group), nil
}

// manage fills in what EKS says of a group. What cannot be read is the group's trouble.
func (h *CloudHand) manage(g *fleet.Group, f *found) {
	g.Managed = &fleet.Managed{Cluster: f.cluster, Scaling: f.raw.Name}
	n, err := h.w.Cloud.DescribeNodegroup(f.cluster, f.nodegroup)
	if err != nil {
		trouble(g, doing("describe node group "+f.nodegroup+" of cluster "+f.cluster, err).Error())
		return
	}
	m := g.Managed
	m.Status, m.CopyOf, m.Run = n.Status, n.Tags[copyTag], n.Tags[runTag]
	m.Trouble = issues(&n)
	if f.bare {
		g.Min, g.Max, g.Desired = n.Min, n.Max, n.Desired
	}
	m.Version = kubeVersion(&n, n.Version, n.Release, n.Template.Version)
	if m.Latest, err = h.latest(&n); err != nil {
		trouble(g, err.Error())
	}
}

// issues is what EKS finds wrong with a node group, in a sentence.
func issues(n *cloud.Nodegroup) string {
	var out []string
	for _, issue := range n.Issues {
		out = append(out, issue.Code+": "+issue.Message)
	}
	return strings.Join(out, "; ")
}

const customAMI = "CUSTOM"

// kubeVersion prints what nodes run: Kubernetes' version; the release of the AMI unless it is the user's own; the launch template's version if the
// user gave one.
func kubeVersion(n *cloud.Nodegroup, version, release, template string) string {
	out := version
	if n.AMIType != customAMI && release != "" {
		out += " / " + release
	}
	if n.Template.ID != "" {
		out += " / " + cmp.Or(n.Template.Name, n.Template.ID) + ":" + template
	}
	return out
}

// latest is what a node group made now would run: the cluster's version, the release that AWS publishes for it, and the next version of the
// user's launch template. A custom AMI carries its own Kubernetes.
func (h *CloudHand) latest(n *cloud.Nodegroup) (string, error) {
	template, err := h.nextTemplate(n)
	if err != nil {
		return "", err
	}
	if n.AMIType == customAMI {
		return kubeVersion(n, n.Version, "", template), nil
	}
	k, err := h.w.Cloud.DescribeCluster(n.Cluster)
	if err != nil {
		return "", doing("describe cluster "+n.Cluster, err)
	}
	release, err := h.w.Cloud.LatestRelease(k.Version)
	if err != nil {
		return "", doing("read the newest AMI release", err)
	}
	return kubeVersion(n, k.Version, release, template), nil
}

// nextTemplate is the launch template version that the node group is to have: a default that somebody moved off version 1 is meant to be used,
// unless the group is past it already; otherwise it is the newest. It is "" without a template of the user's.
func (h *CloudHand) nextTemplate(n *cloud.Nodegroup) (string, error) {
	if n.Template.ID == "" {
		return "", nil
	}
	found, err := h.w.Cloud.DescribeLaunchTemplates([]string{n.Template.ID}, nil, nil)
	if err != nil {
		return "", doing("resolve launch template "+n.Template.ID, err)
	}
	running, err := strconv.Atoi(n.Template.Version)
	if err != nil {
		return "", fmt.Errorf("launch template version %q: %w", n.Template.Version, err)
	}
	if t := found[0]; t.Default > 1 && t.Default >= running {
		return strconv.Itoa(t.Default), nil
	}
	return strconv.Itoa(found[0].Latest()), nil
}

// nodegroup finds the managed node group of a name; nil when there is none.
func (h *CloudHand) nodegroup(name string) (*found, *cloud.Nodegroup, error) {
	groups, err := h.find([]string{name})
	if err != nil || len(groups) == 0 {
		return nil, nil, err
	}
	f := &groups[0]
	if f.nodegroup == "" {
		return nil, nil, fmt.Errorf("%s is not a managed node group", name)
	}
	n, err := h.describeNodegroup(f.cluster, f.nodegroup)
	return f, n, err
}

func (h *CloudHand) describeNodegroup(cluster, name string) (*cloud.Nodegroup, error) {
	n, err := h.w.Cloud.DescribeNodegroup(cluster, name)
	if codeIs(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// createGroup makes the copy that a run moves to. One that this run made already is left as it is, unless EKS could not make it.
func (h *CloudHand) createGroup(a fleet.Action) error {
	f, n, err := h.nodegroup(a.Group)
	if err != nil {
		return err
	}
	if n == nil {
		return &fleet.Refused{Reason: "the node group to copy is gone"}
	}
	name := strings.TrimPrefix(a.Copy, f.cluster+"/")
	old, err := h.describeNodegroup(f.cluster, name)
	switch {
	case err != nil:
		return err
	case old == nil:
	case old.Tags[runTag] != a.Run || a.Run == "":
		return &fleet.Refused{Reason: fmt.Sprintf("a node group %s exists already and is not of run %s", name, a.Run)}
	case old.Status == cloud.NodegroupCreateFailed:
		return &fleet.Refused{Reason: fmt.Sprintf("EKS could not make node group %s: %s", name, cmp.Or(issues(old), "it does not say why"))}
	default:
		return nil
	}
	spec := copyOf(n, name, a)
	if spec.Template.Version, err = h.nextTemplate(n); err != nil {
		return err
	}
	_, err = h.w.Cloud.CreateNodegroup(spec, "drover-"+a.Run+"-"+name)
	return err
}

// copyOf is a node group like n on EKS's newest version and release, which is what a request without them means.
func copyOf(n *cloud.Nodegroup, name string, a fleet.Action) cloud.Nodegroup {
	out := cloud.Nodegroup{
		Cluster: n.Cluster, Name: name, Role: n.Role, Subnets: n.Subnets, InstanceTypes: n.InstanceTypes, CapacityType: n.CapacityType, DiskSize: n.DiskSize,
		Labels: n.Labels, Taints: n.Taints, Pace: n.Pace, Template: cloud.TemplateSpec{ID: n.Template.ID}, Tags: map[string]string{},
		Min: min(n.Min, a.To), Max: max(n.Max, a.To), Desired: a.To,
	}
	for k, v := range n.Tags {
		if !strings.HasPrefix(k, "aws:") && !strings.HasPrefix(k, "eks:") {
			out.Tags[k] = v
		}
	}
	out.Tags[runTag], out.Tags[copyTag] = a.Run, n.Name
	if n.AMIType != customAMI {
		out.AMIType = n.AMIType
	}
	return out
}

// deleteGroup deletes a node group, with all instances it has: none may be there that the decision did not know. Whether pods are left on them
// is not for this hand to know.
func (h *CloudHand) deleteGroup(a fleet.Action) error {
	f, n, err := h.nodegroup(a.Group)
	switch {
	case err != nil:
		return err
	case n == nil || n.Status == cloud.NodegroupDeleting:
		return nil
	case n.Tags[runTag] != "" && a.Run != "" && n.Tags[runTag] != a.Run && n.Status == cloud.NodegroupCreating:
		return &fleet.Refused{Reason: fmt.Sprintf("run %s is making this node group", n.Tags[runTag])}
	}
	if err := carries(&f.raw, a.Run); err != nil {
		return err
	}
	for _, m := range f.raw.Members {
		if in := h.instance(m); !in.Leaving() && !slices.Contains(a.Instances, in.ID) {
			return &fleet.Refused{Reason: fmt.Sprintf("instance %s is in the group by now, which the decision did not know", in.ID)}
		}
	}
	_, err = h.w.Cloud.DeleteNodegroup(f.cluster, f.nodegroup)
	if codeIs(err, "ResourceNotFoundException") {
		return nil
	}
	return err
}

// makeGroup makes a node group for one environment, like another but for what is said. One that is there already has to be as it is to be.
func (h *CloudHand) makeGroup(want *fleet.NewGroup) error {
	groups, err := h.find([]string{want.From})
	switch {
	case err != nil:
		return err
	case len(groups) == 0:
		return &fleet.Refused{Reason: "there is no group " + want.From + " to take for a pattern", Wait: helpWait}
	case groups[0].nodegroup == "":
		return &fleet.Fatal{Err: fmt.Errorf("%s is no managed node group: its nodes get labels and taints from user data, which drover does not rewrite; make group %s by hand", want.From, want.Name)}
	case want.Max < 1:
		return &fleet.Fatal{Err: fmt.Errorf("EKS takes no node group whose maximum is %d: say at least 1", want.Max)}
	}
	f := &groups[0]
	n, err := h.describeNodegroup(f.cluster, f.nodegroup)
	if err != nil || n == nil {
		return err
	}
	spec := isolated(n, strings.TrimPrefix(want.Name, f.cluster+"/"), want)
	old, err := h.describeNodegroup(f.cluster, spec.Name)
	switch {
	case err != nil:
		return err
	case old == nil:
		_, err = h.w.Cloud.CreateNodegroup(spec, "")
		return err
	case old.Tags[environmentTag] != want.Environment:
		return &fleet.Refused{Reason: fmt.Sprintf("a node group %s exists already and was not made for environment %s", spec.Name, want.Environment), Wait: helpWait}
	}
	return nil
}

// isolated is a node group of one environment. It keeps the labels and taints of the shared one, which its pods may ask for and tolerate.
func isolated(n *cloud.Nodegroup, name string, want *fleet.NewGroup) cloud.Nodegroup {
	out := copyOf(n, name, fleet.Action{})
	delete(out.Tags, runTag)
	delete(out.Tags, copyTag)
	out.Tags[environmentTag] = want.Environment
	out.Min, out.Max, out.Desired = 0, want.Max, 0
	out.Labels = maps.Clone(n.Labels)
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	maps.Copy(out.Labels, want.Labels)
	out.Taints = slices.Clone(n.Taints)
	for _, t := range want.Taints {
		out.Taints = append(out.Taints, cloud.NodeTaint(t))
	}
	out.Template.Version = n.Template.Version
	return out
}
