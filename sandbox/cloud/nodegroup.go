package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The states of a node group.
const (
	NodegroupCreating     = "CREATING"
	NodegroupCreateFailed = "CREATE_FAILED"
	NodegroupActive       = "ACTIVE"
	NodegroupUpdating     = "UPDATING"
	NodegroupDeleting     = "DELETING"
	NodegroupDegraded     = "DEGRADED"
)

// customAMI is the AMI type of a node group whose own launch template names the image.
const customAMI = "CUSTOM"

// Nodegroup is an EKS managed node group. Under it are a launch template and an Auto Scaling group that EKS makes and ends.
type Nodegroup struct {
	Cluster, Name, ARN     string
	Status                 string
	Version, Release       string       // of Kubernetes and of the AMI; Release is the image's id with a custom AMI
	Template               TemplateSpec // the user's own, with a number for a version; zero without one
	InstanceTypes, Subnets []string
	AMIType, CapacityType  string
	DiskSize               int
	Role                   string
	Min, Max, Desired      int
	Labels                 map[string]string
	Taints                 []NodeTaint
	Pace                   Pace
	Tags                   map[string]string
	Issues                 []NodegroupIssue
	Created, Modified      time.Time
	Scaling                string // name of the Auto Scaling group

	own     string // id of EKS's launch template
	token   string // client request token it was made with
	updates []*NodegroupUpdate
	roll    *roll // the update of its version that goes on
}

// Pace is how an update of a node group's version may go: MaxUnavailable nodes at once or that percentage of them.
type Pace struct {
	MaxUnavailable, Percentage int
	Strategy                   string // DEFAULT, or MINIMAL without any surge
}

// NodeTaint is a taint in Kubernetes' words (NoSchedule), not EKS's (NO_SCHEDULE).
type NodeTaint struct{ Key, Value, Effect string }

// NodegroupIssue is what EKS finds wrong with a node group.
type NodegroupIssue struct {
	Code, Message string
	Resources     []string
}

func (n *Nodegroup) clone() Nodegroup {
	m := *n
	m.InstanceTypes, m.Subnets = slices.Clone(n.InstanceTypes), slices.Clone(n.Subnets)
	m.Labels, m.Tags = maps.Clone(n.Labels), maps.Clone(n.Tags)
	m.Taints, m.Issues = slices.Clone(n.Taints), slices.Clone(n.Issues)
	m.updates = nil
	for _, u := range n.updates {
		m.updates = append(m.updates, new(u.clone()))
	}
	return m
}

type nodegroupID struct{ cluster, name string }

func (w *world) findNodegroup(cluster, name string) (*Nodegroup, error) {
	if _, err := w.findCluster(cluster); err != nil {
		return nil, err
	}
	if n, ok := w.nodegroups[nodegroupID{cluster, name}]; ok {
		return n, nil
	}
	return nil, notFound("No node group found for name: %s.", name)
}

var nodegroupName = regexp.MustCompile(`^[0-9A-Za-z][A-Za-z0-9_-]{0,62}$`)

// CreateNodegroup makes a node group from spec, on the cluster's version and its newest AMI release or from the user's launch template; what
// is EKS's to say in it (ARN, Status, Scaling and so on) is ignored. Asked again with the same token it answers with the group it made.
func (c *Cloud) CreateNodegroup(spec Nodegroup, token string) (out Nodegroup, err error) {
	err = c.write("eks:CreateNodegroup", func() error {
		k, err := c.w.findCluster(spec.Cluster)
		if err != nil {
			return err
		}
		if old := c.w.nodegroups[nodegroupID{spec.Cluster, spec.Name}]; old != nil {
			if token != "" && old.token == token {
				out = old.clone()
				return nil
			}
			return inUse("NodeGroup already exists with name %s and cluster name %s", spec.Name, spec.Cluster)
		}
		n := spec.clone()
		data, err := c.completeNodegroup(&n, k)
		if err != nil {
			return err
		}
		n.token = token
		if c.unmakeable != nil {
			c.giveUp(&n)
		} else if err := c.makeScaling(&n, data); err != nil {
			return err
		}
		c.w.nodegroups[nodegroupID{n.Cluster, n.Name}] = &n
		c.nodegroupChanged(&n)
		out = n.clone()
		return nil
	})
	return out, err
}

// FailNodegroup has EKS fail to make the next node group: it never gets an Auto Scaling group, and is CREATE_FAILED soon.
func (c *Cloud) FailNodegroup(code, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmakeable = &NodegroupIssue{Code: code, Message: message}
}

// giveUp has a node group fail for the reason that was waiting.
func (c *Cloud) giveUp(n *Nodegroup) {
	issue := *c.unmakeable
	c.unmakeable, n.Scaling, n.own = nil, "", ""
	c.after(c.cfg.Timing.ReactionTime, func() {
		if n.Status == NodegroupCreating {
			n.Status, n.Issues = NodegroupCreateFailed, []NodegroupIssue{issue}
			c.nodegroupChanged(n)
		}
	})
}

// completeNodegroup checks a spec, fills in what it leaves to EKS, and returns what its nodes are made from.
func (c *Cloud) completeNodegroup(n *Nodegroup, k *Cluster) (TemplateData, error) {
	switch {
	case !nodegroupName.MatchString(n.Name):
		return TemplateData{}, badParameter("The node group name '%s' must be 1 to 63 letters, digits, hyphens or underscores and begin with a letter or digit", n.Name)
	case n.Role == "":
		return TemplateData{}, badParameter("nodeRole is required")
	case n.Version != "" && n.Version != k.Version:
		return TemplateData{}, badParameter("Requested Nodegroup version %s is not the cluster's version %s", n.Version, k.Version)
	}
	if err := checkSizes(n.Min, n.Max, n.Desired); err != nil {
		return TemplateData{}, err
	}
	if _, err := c.placement(nil, n.Subnets); err != nil {
		return TemplateData{}, badParameter("%s", err.(*Error).Message)
	}
	for key := range n.Tags {
		if strings.HasPrefix(key, "aws:") {
			return TemplateData{}, badParameter("Tag keys starting with 'aws:' are reserved")
		}
	}
	n.Version, n.Status, n.Issues, n.updates, n.roll = k.Version, NodegroupCreating, nil, nil, nil
	n.ARN, n.Created, n.Modified = c.arn("eks", fmt.Sprintf("nodegroup/%s/%s/%s", n.Cluster, n.Name, c.uuid())), c.now(), c.now()
	n.CapacityType = cmp.Or(n.CapacityType, "ON_DEMAND")
	if n.Pace.MaxUnavailable == 0 && n.Pace.Percentage == 0 {
		n.Pace.MaxUnavailable = 1
	}
	n.Pace.Strategy = cmp.Or(n.Pace.Strategy, "DEFAULT")
	return c.nodeData(n, n.Release)
}

func checkSizes(least, most, desired int) error {
	switch {
	case most < 1 || least < 0:
		return badParameter("maxSize must be at least 1 and minSize at least 0")
	case least > most:
		return badParameter("Minimum capacity %d can't be greater than maximum capacity %d", least, most)
	case desired < least:
		return badParameter("desired capacity %d can't be less than minimum size %d", desired, least)
	case desired > most:
		return badParameter("desired capacity %d can't be greater than max size %d", desired, most)
	}
	return nil
}

// nodeData resolves what nodes are made from and writes it into n: the image of the release, or of the newest one, unless the user's launch
// template names an image; the type from the template or from InstanceTypes.
func (c *Cloud) nodeData(n *Nodegroup, release string) (TemplateData, error) {
	data := TemplateData{}
	if n.Template != (TemplateSpec{}) {
		t, err := c.w.findTemplate(n.Template.ID, n.Template.Name)
		if err != nil {
			return data, badParameter("%s", err.(*Error).Message)
		}
		v, err := t.resolve(n.Template.Version)
		if err != nil {
			return data, badParameter("%s", err.(*Error).Message)
		}
		n.Template, data = TemplateSpec{t.ID, t.Name, fmt.Sprint(v.Number)}, v.Data.clone()
	}
	switch {
	case data.ImageID != "" && release != "" && release != data.ImageID:
		return data, badParameter("You cannot specify a release version with a launch template that specifies an image")
	case data.ImageID != "":
		n.AMIType, n.Release = customAMI, data.ImageID
	default:
		n.Release = cmp.Or(release, c.w.release(n.Version))
		n.AMIType = cmp.Or(n.AMIType, "AL2023_x86_64_STANDARD")
		data.ImageID = image(n.Release)
	}
	switch {
	case data.InstanceType != "" && len(n.InstanceTypes) > 0:
		return data, badParameter("You cannot specify instanceTypes with a launch template that specifies an instance type")
	case data.InstanceType == "":
		if len(n.InstanceTypes) == 0 {
			n.InstanceTypes = []string{"t3.medium"}
		}
		data.InstanceType = n.InstanceTypes[0]
	}
	data.Spot = n.CapacityType == "SPOT"
	return data, nil
}

// makeScaling makes the launch template and the Auto Scaling group under a node group.
func (c *Cloud) makeScaling(n *Nodegroup, data TemplateData) error {
	suffix := c.uuid()
	t := &Template{
		ID: c.hexID("lt"), Name: "eks-" + suffix, Created: c.now(), CreatedBy: "arn:aws:sts::" + c.cfg.Account + ":assumed-role/AWSServiceRoleForAmazonEKSNodegroup/EKS",
		Default: 1, Tags: n.systemTags(), seq: c.nextSeq(), Versions: []TemplateVersion{{1, "", c.now(), data, c.nextSeq()}},
	}
	zones, err := c.placement(nil, n.Subnets)
	if err != nil {
		return err
	}
	n.own, n.Scaling = t.ID, "eks-"+n.Name+"-"+suffix
	g := &Group{
		Name: n.Scaling, ARN: c.arn("autoscaling", "autoScalingGroup:"+c.uuid()+":autoScalingGroupName/"+n.Scaling), Min: n.Min, Max: n.Max, Desired: n.Desired,
		Zones: zones, Subnets: slices.Clone(n.Subnets), Source: n.source(1), HealthCheckType: "EC2", HealthCheckGrace: 15 * time.Second, Cooldown: defaultCooldown,
		TerminationPolicies: []string{"AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"}, Created: c.now(),
	}
	g.Hooks, g.CapacityRebalance = []Hook{c.eksHookOf(n)}, n.CapacityType == "SPOT"
	for _, key := range slices.Sorted(maps.Keys(n.systemTags())) {
		g.Tags = append(g.Tags, GroupTag{n.Scaling, key, n.systemTags()[key], true})
	}
	g.why = c.at("a user request created an AutoScalingGroup changing the desired capacity from 0 to %d.", g.Desired)
	c.w.templates[t.ID], c.w.groups[g.Name] = t, g
	c.changed(g)
	return nil
}

// systemTags are the tags by which others know what is EKS's.
func (n *Nodegroup) systemTags() map[string]string {
	return map[string]string{
		"eks:cluster-name": n.Cluster, "eks:nodegroup-name": n.Name, "kubernetes.io/cluster/" + n.Cluster: "owned",
		"k8s.io/cluster-autoscaler/enabled": "true", "k8s.io/cluster-autoscaler/" + n.Cluster: "owned",
	}
}

// source is what the Auto Scaling group launches from: a version of EKS's template over the node group's instance types.
func (n *Nodegroup) source(version int) Source {
	m := &Mixed{Template: TemplateSpec{ID: n.own, Version: fmt.Sprint(version)}, OnDemandPick: "prioritized", SpotPick: "capacity-optimized"}
	if n.CapacityType == "SPOT" {
		m.SpotPercent = 100
	}
	for _, kind := range n.InstanceTypes {
		m.Overrides = append(m.Overrides, Override{InstanceType: kind})
	}
	return Source{Mixed: m}
}

// nodeLabels are the labels of a node group's nodes: its own and EKS's.
func (n *Nodegroup) nodeLabels(imageID string) map[string]string {
	labels := maps.Clone(n.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["eks.amazonaws.com/nodegroup"] = n.Name
	labels["eks.amazonaws.com/nodegroup-image"] = imageID
	labels["eks.amazonaws.com/capacityType"] = n.CapacityType
	if n.Template.ID != "" {
		labels["eks.amazonaws.com/sourceLaunchTemplateId"] = n.Template.ID
		labels["eks.amazonaws.com/sourceLaunchTemplateVersion"] = n.Template.Version
	}
	return labels
}

// nodegroupOf finds the node group that an Auto Scaling group is part of; nil for a self-managed one.
func (w *world) nodegroupOf(group string) *Nodegroup {
	for _, n := range w.nodegroups {
		if n.Scaling == group {
			return n
		}
	}
	return nil
}

// DescribeNodegroup returns a node group. Its desired size is that of the Auto Scaling group, whoever set it.
func (c *Cloud) DescribeNodegroup(cluster, name string) (Nodegroup, error) {
	return read(c, "eks:DescribeNodegroup", func(w *world) (Nodegroup, error) {
		n, err := w.findNodegroup(cluster, name)
		if err != nil {
			return Nodegroup{}, err
		}
		out := n.clone()
		if g := w.groups[n.Scaling]; g != nil && n.roll == nil {
			out.Desired = g.Desired
		}
		return out, nil
	})
}

// ListNodegroups returns the names of a cluster's node groups, sorted.
func (c *Cloud) ListNodegroups(cluster string) ([]string, error) {
	return read(c, "eks:ListNodegroups", func(w *world) ([]string, error) {
		if _, err := w.findCluster(cluster); err != nil {
			return nil, err
		}
		var out []string
		for id := range w.nodegroups {
			if id.cluster == cluster {
				out = append(out, id.name)
			}
		}
		slices.Sort(out)
		return out, nil
	})
}

// DeleteNodegroup asks for all its nodes to be drained at once, gives that no time, and ends them and what EKS made for them.
func (c *Cloud) DeleteNodegroup(cluster, name string) (out Nodegroup, err error) {
	err = c.write("eks:DeleteNodegroup", func() error {
		n, err := c.w.findNodegroup(cluster, name)
		switch {
		case err != nil:
			return err
		case n.Status != NodegroupActive && n.Status != NodegroupDegraded && n.Status != NodegroupCreateFailed:
			return inUse("Nodegroup %s cannot be deleted while it is %s", name, n.Status)
		}
		n.Status = NodegroupDeleting
		c.nodegroupChanged(n)
		out = n.clone()
		g := c.w.groups[n.Scaling]
		if g == nil {
			c.forgetNodegroup(n)
			return nil
		}
		for _, m := range g.Members {
			c.tellNode(NodeDrain, m.InstanceID)
		}
		c.after(c.cfg.Timing.ReactionTime, func() {
			g.Status, g.Min, g.Desired = "Delete in progress", 0, 0
			c.changed(g)
			c.tend(g)
		})
		return nil
	})
	return out, err
}

func (c *Cloud) forgetNodegroup(n *Nodegroup) {
	delete(c.w.templates, n.own)
	delete(c.w.nodegroups, nodegroupID{n.Cluster, n.Name})
	c.emit(Event{Kind: NodegroupChanged, Nodegroup: n.clone()})
}

// SetNodegroupIssue makes EKS find something wrong with a node group, which is DEGRADED from then on. No code means all is well again.
func (c *Cloud) SetNodegroupIssue(cluster, name, code, message string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.w.findNodegroup(cluster, name)
	if err != nil {
		return err
	}
	n.Issues, n.Status = nil, NodegroupActive
	if code != "" {
		n.Issues, n.Status = []NodegroupIssue{{code, message, []string{n.Scaling}}}, NodegroupDegraded
	}
	c.nodegroupChanged(n)
	c.commit()
	return nil
}

func (c *Cloud) nodegroupChanged(n *Nodegroup) {
	n.Modified = c.now()
	c.emit(Event{Kind: NodegroupChanged, Nodegroup: n.clone()})
}

// tendNodegroup hears that the Auto Scaling group under a node group, or one of its machines, is not what it was.
func (c *Cloud) tendNodegroup(group string) {
	n := c.w.nodegroupOf(group)
	if n == nil {
		return
	}
	g := c.w.groups[group]
	switch {
	case g == nil && n.Status == NodegroupDeleting:
		c.forgetNodegroup(n)
	case g == nil && n.Status != NodegroupDegraded:
		if n.roll != nil {
			n.roll.update.Status = "Failed"
		}
		n.Status, n.roll = NodegroupDegraded, nil
		n.Issues = []NodegroupIssue{{"AutoScalingGroupNotFound", "We couldn't find the Auto Scaling group associated with the managed node group.", []string{group}}}
		c.nodegroupChanged(n)
	case g == nil:
	case n.Status == NodegroupCreating && c.ready(g, nil) >= n.Desired:
		n.Status = NodegroupActive
		c.nodegroupChanged(n)
	case n.roll != nil:
		c.advance(n, g)
	}
}

// ready counts the group's nodes that serve and whose operating system is up, in a zone or, if nil, in any; that stands for a node that is Ready.
func (c *Cloud) ready(g *Group, only func(Member) bool) int {
	count := 0
	for _, m := range g.Members {
		i, ok := c.w.instances[m.InstanceID]
		if m.State == InService && ok && i.Booted && !i.Gone() && (only == nil || only(m)) {
			count++
		}
	}
	return count
}
