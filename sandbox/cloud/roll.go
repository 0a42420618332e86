package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// How EKS rolls a node group by itself.
const (
	drainLimit = 15 * time.Minute // a node whose pods have not left by then fails the update, unless it is forced
	drainRest  = time.Minute      // between the last pod's leaving and the end of the machine, for load balancers to notice
)

// NodegroupUpdate is one update of a node group.
type NodegroupUpdate struct {
	ID, Type, Status string // VersionUpdate or ConfigUpdate; InProgress, Successful or Failed
	Params           []UpdateParam
	Errors           []NodegroupIssue
	Created          time.Time
}

// UpdateParam is one thing that an update changes.
type UpdateParam struct{ Type, Value string }

func (u *NodegroupUpdate) clone() NodegroupUpdate {
	n := *u
	n.Params, n.Errors = slices.Clone(u.Params), slices.Clone(u.Errors)
	return n
}

// phase is how far the update of a version is.
type phase int

const (
	scaleUp phase = iota
	upgrade
	scaleDown
)

// roll is an update of a node group's version while it goes on.
type roll struct {
	phase        phase
	update       *NodegroupUpdate
	version      int       // of EKS's launch template: what nodes are to have
	before       Nodegroup // what to go back to
	source       Source
	desired, max int
	atOnce       int
	force        bool
	leaving      map[string]bool // nodes that were picked; true from when their pods are gone
}

// UpdateNodegroupVersion begins to roll a node group to a Kubernetes version (none: its own), a release (none: the newest) and, if it was made
// with a launch template, to a version of that. The roll is EKS's own: more nodes first, by twice the zones or what may be unavailable at once;
// when every zone with nodes has a new one, all old ones are cordoned (NodeCordon); then old nodes in random order are drained (NodeDrain) and,
// a minute later, ended and replaced; at last the nodes that are too many go, one by one.
func (c *Cloud) UpdateNodegroupVersion(cluster, name, version, release string, template TemplateSpec, force bool) (out NodegroupUpdate, err error) {
	err = c.write("eks:UpdateNodegroupVersion", func() error {
		n, g, err := c.updatable(cluster, name)
		if err != nil {
			return err
		}
		next := n.clone()
		if k := c.w.clusters[cluster]; version != "" && version != n.Version && version != k.Version {
			return badParameter("Requested Nodegroup version %s is neither the node group's %s nor the cluster's %s", version, n.Version, k.Version)
		}
		next.Version = cmp.Or(version, n.Version)
		switch {
		case template == (TemplateSpec{}):
		case n.Template == (TemplateSpec{}):
			return refuse("InvalidRequestException", "You cannot specify a launch template for a node group that was made without one")
		case template.ID != "" && template.ID != n.Template.ID || template.Name != "" && template.Name != n.Template.Name:
			return refuse("InvalidRequestException", "The launch template must be the one that the node group was made with")
		default:
			next.Template = TemplateSpec{ID: n.Template.ID, Version: template.Version}
		}
		if next.Template != (TemplateSpec{}) {
			next.Template.Name = "" // by id alone
		}
		data, err := c.nodeData(&next, release)
		if err != nil {
			return err
		}
		r := &roll{
			before: n.clone(), source: g.Source.clone(), desired: g.Desired, max: g.Max, force: force, leaving: map[string]bool{}, atOnce: n.Pace.atOnce(g.Desired),
		}
		r.update = c.noteUpdate(n, "VersionUpdate", []UpdateParam{{"Version", next.Version}, {"ReleaseVersion", next.Release}})
		n.Version, n.Release, n.Template, n.AMIType, n.roll = next.Version, next.Release, next.Template, next.AMIType, r
		c.beginRoll(n, g, data)
		out = r.update.clone()
		return nil
	})
	return out, err
}

// updatable finds a node group that may be updated now, with its Auto Scaling group.
func (c *Cloud) updatable(cluster, name string) (*Nodegroup, *Group, error) {
	n, err := c.w.findNodegroup(cluster, name)
	if err != nil {
		return nil, nil, err
	}
	g := c.w.groups[n.Scaling]
	if n.Status != NodegroupActive && n.Status != NodegroupDegraded || g == nil {
		return nil, nil, inUse("Nodegroup cannot be updated as it is currently not in Active State")
	}
	return n, g, nil
}

func (c *Cloud) noteUpdate(n *Nodegroup, kind string, params []UpdateParam) *NodegroupUpdate {
	u := &NodegroupUpdate{ID: c.uuid(), Type: kind, Status: "InProgress", Params: params, Created: c.now()}
	n.updates, n.Status = append(n.updates, u), NodegroupUpdating
	return u
}

func (p Pace) atOnce(nodes int) int {
	if p.Percentage > 0 {
		return max(1, nodes*p.Percentage/100)
	}
	return max(1, p.MaxUnavailable)
}

// beginRoll makes the new version of EKS's template and asks for more nodes.
func (c *Cloud) beginRoll(n *Nodegroup, g *Group, data TemplateData) {
	t := c.w.templates[n.own]
	t.Versions = append(t.Versions, TemplateVersion{t.Latest() + 1, "", c.now(), data, c.nextSeq()})
	n.roll.version = t.Latest()
	g.Source = n.source(n.roll.version)
	surge := max(2*len(g.Zones), n.roll.atOnce)
	if n.Pace.Strategy == "MINIMAL" || g.Desired == 0 {
		surge = 0
	}
	if surge > 0 {
		g.why = c.at("a user request explicitly set group desired capacity changing the desired capacity from %d to %d.", g.Desired, g.Desired+surge)
	}
	g.Desired += surge
	g.Max = max(g.Max, g.Desired)
	c.nodegroupChanged(n)
	c.changed(g)
}

// advance does what the roll needs now. It is safe at any time.
func (c *Cloud) advance(n *Nodegroup, g *Group) {
	r := n.roll
	if r.phase == scaleUp && c.scaledUp(r, g) {
		r.phase = upgrade
		for _, m := range g.Members {
			if r.old(m) {
				c.tellNode(NodeCordon, m.InstanceID)
			}
		}
	}
	if r.phase == upgrade {
		c.pickNodes(n, g)
		if !slices.ContainsFunc(g.Members, r.old) {
			r.phase = scaleDown
		}
	}
	if r.phase == scaleDown {
		c.scaleDownRoll(n, g)
	}
}

func (r *roll) old(m Member) bool { return m.Template.Version != r.version }

// scaledUp tells whether every zone with old nodes has a new one that is ready. Without surge there is nothing to wait for.
func (c *Cloud) scaledUp(r *roll, g *Group) bool {
	if g.Desired == r.desired {
		return true
	}
	for _, m := range g.Members {
		if r.old(m) && c.ready(g, func(o Member) bool { return o.Zone == m.Zone && !r.old(o) }) == 0 {
			return false
		}
	}
	return true
}

// pickNodes lets as many old nodes go as may be unavailable at once, whichever the dice say.
func (c *Cloud) pickNodes(n *Nodegroup, g *Group) {
	r := n.roll
	staying := c.ready(g, func(m Member) bool { _, picked := r.leaving[m.InstanceID]; return !picked })
	for free := r.atOnce - (g.Desired - staying); free > 0; free-- {
		var from []string
		for _, m := range g.Members {
			if _, picked := r.leaving[m.InstanceID]; r.old(m) && !picked && !m.Leaving() {
				from = append(from, m.InstanceID)
			}
		}
		if len(from) == 0 {
			return
		}
		c.pickNode(n, pick(c.dice, from))
	}
}

func (c *Cloud) pickNode(n *Nodegroup, id string) {
	r := n.roll
	r.leaving[id] = false
	c.tellNode(NodeDrain, id)
	if !c.drainedByOthers {
		c.drained(n, id)
		return
	}
	c.after(drainLimit, func() {
		g := c.w.groups[n.Scaling]
		if n.roll != r || r.leaving[id] || r.phase != upgrade || g == nil || g.member(id) == nil {
			return
		}
		if r.force {
			c.drained(n, id)
			return
		}
		c.failRoll(n, g, NodegroupIssue{"PodEvictionFailure", "Reached max retries while trying to evict pods from nodes in node group " + n.Name, []string{c.dnsOf(id)}})
	})
}

func (c *Cloud) dnsOf(id string) string {
	if i, ok := c.w.instances[id]; ok {
		return i.PrivateDNS
	}
	return id
}

// drained hears that a node's pods are gone; its machine ends after a rest.
func (c *Cloud) drained(n *Nodegroup, id string) {
	r := n.roll
	r.leaving[id] = true
	c.after(drainRest, func() {
		g := c.w.groups[n.Scaling]
		if n.roll != r || r.phase != upgrade || g == nil {
			return
		}
		if m := g.member(id); m != nil && !m.Leaving() {
			g.replace++
			c.takeOut(g, id, c.at("instance %s was taken out of service in response to a user request.", id))
		}
	})
}

// scaleDownRoll takes back the surge by ones, then ends the update.
func (c *Cloud) scaleDownRoll(n *Nodegroup, g *Group) {
	r := n.roll
	if g.Desired > r.desired {
		g.why = c.at("a user request explicitly set group desired capacity changing the desired capacity from %d to %d.", g.Desired, g.Desired-1)
		g.Desired--
		c.changed(g)
		return
	}
	if g.count(InService) != len(g.Members) || len(g.Members) > g.Desired {
		return // they are still going
	}
	g.Max = r.max
	c.endRoll(n, "Successful")
	c.changed(g)
}

func (c *Cloud) endRoll(n *Nodegroup, status string) {
	n.roll.update.Status, n.roll, n.Status = status, nil, NodegroupActive
	c.nodegroupChanged(n)
}

// failRoll ends an update that cannot go on: the node group is what it was, old nodes take pods again, and of the new nodes those go that are
// too many.
func (c *Cloud) failRoll(n *Nodegroup, g *Group, why NodegroupIssue) {
	r := n.roll
	n.Version, n.Release, n.Template, n.AMIType = r.before.Version, r.before.Release, r.before.Template, r.before.AMIType
	g.Source = r.source
	for _, id := range g.ids() {
		m := g.member(id)
		switch {
		case r.old(*m) && !m.Leaving():
			c.tellNode(NodeUncordon, id)
		case !r.old(*m) && m.counts() && g.Desired > r.desired:
			g.Desired--
			c.takeOut(g, id, c.at("instance %s was taken out of service in response to a user request.", id))
		}
	}
	g.Desired, g.Max = r.desired, r.max
	r.update.Errors = []NodegroupIssue{why}
	c.endRoll(n, "Failed")
	c.changed(g)
}

// NodegroupChange says what to change of a node group's settings; nil leaves a thing as it is.
type NodegroupChange struct {
	Min, Max, Desired       *int
	AddLabels               map[string]string
	RemoveLabels            []string
	AddTaints, RemoveTaints []NodeTaint
	Pace                    *Pace
}

// UpdateNodegroupConfig changes a node group's settings. Labels and taints reach the nodes that are there, too (NodeChanged).
func (c *Cloud) UpdateNodegroupConfig(cluster, name string, change NodegroupChange) (out NodegroupUpdate, err error) {
	err = c.write("eks:UpdateNodegroupConfig", func() error {
		n, g, err := c.updatable(cluster, name)
		if err != nil {
			return err
		}
		least, most, desired := g.Min, g.Max, g.Desired
		set(&least, change.Min)
		set(&most, change.Max)
		set(&desired, change.Desired)
		if err := checkSizes(least, most, desired); err != nil {
			return err
		}
		u := c.noteUpdate(n, "ConfigUpdate", []UpdateParam{{"MinSize", fmt.Sprint(least)}, {"MaxSize", fmt.Sprint(most)}, {"DesiredSize", fmt.Sprint(desired)}})
		n.Min, n.Max, n.Desired = least, most, desired
		g.Min, g.Max, g.Desired = least, most, desired
		set(&n.Pace, change.Pace)
		c.relabel(n, g, change)
		c.nodegroupChanged(n)
		c.changed(g)
		c.after(c.cfg.Timing.ReactionTime, func() {
			u.Status = "Successful"
			if n.Status == NodegroupUpdating {
				n.Status = NodegroupActive
			}
			c.nodegroupChanged(n)
		})
		out = u.clone()
		return nil
	})
	return out, err
}

func (c *Cloud) relabel(n *Nodegroup, g *Group, change NodegroupChange) {
	n.Labels = maps.Clone(n.Labels)
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	maps.Copy(n.Labels, change.AddLabels)
	for _, k := range change.RemoveLabels {
		delete(n.Labels, k)
	}
	gone := append(slices.Clone(change.RemoveTaints), change.AddTaints...)
	n.Taints = slices.DeleteFunc(n.Taints, func(t NodeTaint) bool {
		return slices.ContainsFunc(gone, func(o NodeTaint) bool { return o.Key == t.Key && o.Effect == t.Effect })
	})
	n.Taints = append(n.Taints, change.AddTaints...)
	if len(change.AddLabels)+len(change.RemoveLabels)+len(gone) == 0 {
		return
	}
	for _, m := range g.Members {
		if i, ok := c.w.instances[m.InstanceID]; ok {
			i.Labels, i.Taints = n.nodeLabels(i.ImageID), slices.Clone(n.Taints)
			c.tellNode(NodeChanged, i.ID)
		}
	}
}

// DescribeUpdate returns an update of a node group.
func (c *Cloud) DescribeUpdate(cluster, name, id string) (NodegroupUpdate, error) {
	return read(c, "eks:DescribeUpdate", func(w *world) (NodegroupUpdate, error) {
		n, err := w.findNodegroup(cluster, name)
		if err != nil {
			return NodegroupUpdate{}, err
		}
		for _, u := range n.updates {
			if u.ID == id {
				return u.clone(), nil
			}
		}
		return NodegroupUpdate{}, notFound("No update found for ID: %s", id)
	})
}

// SetDrainedByOthers says who drains the nodes that EKS's own roll picks. The cloud knows no pods: by default every node counts as drained at
// once; switched on, a node that got NodeDrain waits for ReportNodeDrained, and so does one that Auto Scaling takes away: EKS's hook holds it.
func (c *Cloud) SetDrainedByOthers(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainedByOthers = on
}

// ReportNodeDrained says that the pods of a node that EKS's roll picked, or that its hook holds, are gone. For any other node it changes nothing.
func (c *Cloud) ReportNodeDrained(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, _ := c.w.memberOf(instance)
	if g == nil {
		return
	}
	n := c.w.nodegroupOf(g.Name)
	if n == nil {
		return
	}
	c.letGo(g, instance)
	if n.roll != nil {
		if done, picked := n.roll.leaving[instance]; picked && !done {
			c.drained(n, instance)
		}
	}
	c.commit()
}

// eksHook is the name of the hook by which EKS holds a node that Auto Scaling takes away, while it drains it.
const eksHook = "Terminate-LC-Hook"

// eksHookOf is that hook.
func (c *Cloud) eksHookOf(n *Nodegroup) Hook {
	return Hook{
		Name: eksHook, Group: n.Scaling, Transition: HookTerminating, Heartbeat: 30 * time.Minute, DefaultResult: ResultContinue,
		Target: c.arn("sns", "eks-asg-lifecycle-hook-topic"), Role: "arn:aws:iam::" + c.cfg.Account + ":role/aws-service-role/eks-nodegroup.amazonaws.com/AWSServiceRoleForAmazonEKSNodegroup",
	}
}

// answeredByEKS tells whether a hook is EKS's and has nothing to wait for: a roll drains what it means to drain before it ends it, nobody plays
// the drain, or the machine is off.
func (c *Cloud) answeredByEKS(g *Group, h Hook, id string) bool {
	n := c.w.nodegroupOf(g.Name)
	if n == nil || h.Name != eksHook {
		return false
	}
	i, ok := c.w.instances[id]
	return n.roll != nil || !c.drainedByOthers || !ok || i.Gone()
}

// drainForEKS has EKS drain a node that its hook holds, for as long as EKS has patience.
func (c *Cloud) drainForEKS(g *Group, h Hook, id string) {
	if h.Name != eksHook || c.w.nodegroupOf(g.Name) == nil {
		return
	}
	c.tellNode(NodeDrain, id)
	c.after(drainLimit, func() { c.letGo(g, id) })
}

// letGo answers EKS's hook.
func (c *Cloud) letGo(g *Group, id string) {
	m := g.member(id)
	if m == nil {
		return
	}
	if w := m.waitFor(eksHook, ""); w != nil {
		c.answer(g, id, w.Token, ResultContinue, "")
	}
}

// tellNode tells those who play the machines what EKS does to one of their nodes.
func (c *Cloud) tellNode(kind EventKind, id string) {
	if i, ok := c.w.instances[id]; ok {
		c.emit(Event{Kind: kind, Instance: i.clone()})
	}
}
