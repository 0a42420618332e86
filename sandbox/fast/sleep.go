package fast

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// environmentTag is the tag by which an environment marks what it switches: on an Auto Scaling group a GroupSleep, on a database its name and run.
const environmentTag = "drover:environment"

// How long a refused action need not be asked for again, as package aws says of the real AWS.
const (
	updateWait = 15 * time.Second
	stateWait  = 30 * time.Second
	helpWait   = 5 * time.Minute
)

// sleepMark reads an environment's mark off a group; nil when there is none.
func sleepMark(raw *cloud.Group) (*fleet.GroupSleep, error) {
	value := tagOf(*raw, environmentTag)
	if value == "" {
		return nil, nil
	}
	m, err := fleet.ParseGroupSleep(value)
	if err != nil {
		return nil, fmt.Errorf("tag %s: %w; read it, put the group back by hand, then delete the tag", environmentTag, err)
	}
	return m, nil
}

// rests refuses what an environment wants of a group that another one has marked, or another sleep of the same one. Others' actions it lets pass.
func rests(raw *cloud.Group, a fleet.Action) error {
	if a.Environment == "" {
		return nil
	}
	m, err := sleepMark(raw)
	if err != nil || m == nil || m.Environment == a.Environment && (a.Run == "" || m.Run == a.Run) {
		return err
	}
	return &fleet.Refused{Reason: fmt.Sprintf("the group carries sleep %s of environment %s, expected %s of %s", m.Run, m.Environment, a.Run, a.Environment), Wait: helpWait}
}

// untaken refuses when a group is another run's, or another environment's, by now.
func untaken(raw *cloud.Group, a fleet.Action) error {
	if err := carries(raw, a.Run); err != nil {
		return err
	}
	return rests(raw, a)
}

// mine reads a group as it is now. It refuses when it is gone, or another run's or environment's by now.
func (h *CloudHand) mine(a fleet.Action) (*cloud.Group, error) {
	g, err := h.raw(a.Group)
	switch {
	case err != nil:
		return nil, err
	case g == nil:
		return nil, &fleet.Refused{Reason: "the group is gone"}
	}
	return g, untaken(g, a)
}

// markGroup writes an environment's mark on a group. What it says of the group is the only copy there: it is written once.
func (h *CloudHand) markGroup(a fleet.Action) error {
	g, err := h.mine(a)
	if err != nil {
		return err
	}
	m, err := sleepMark(g)
	switch {
	case err != nil:
		return err
	case m != nil && *m == *a.Bed:
		return nil
	case m != nil:
		return &fleet.Refused{Reason: fmt.Sprintf("the group has a mark already, which says %s, and is to say %s: what it was before is written once", m, a.Bed), Wait: helpWait}
	}
	return h.w.Cloud.CreateOrUpdateTags([]cloud.GroupTag{{Group: a.Group, Key: environmentTag, Value: a.Bed.String()}})
}

func (h *CloudHand) unmarkGroup(a fleet.Action) error {
	g, err := h.raw(a.Group)
	if err != nil || g == nil { // gone with its mark
		return err
	}
	if err := rests(g, a); err != nil {
		return err
	}
	if m, err := sleepMark(g); m == nil {
		return err
	}
	return h.w.Cloud.DeleteGroupTags([]cloud.GroupTag{{Group: a.Group, Key: environmentTag}})
}

// bound sets the minimum, unless somebody changed it since the decision. A desired capacity below it follows, as AWS has it.
func (h *CloudHand) bound(a fleet.Action) error {
	g, err := h.mine(a)
	switch {
	case err != nil:
		return err
	case g.Min == a.To:
		return nil
	case g.Min != a.From:
		return &fleet.Refused{Reason: fmt.Sprintf("the minimum is %d by now, expected %d", g.Min, a.From)}
	case a.To > g.Max:
		return &fleet.Refused{Reason: fmt.Sprintf("the maximum is %d, below the minimum of %d that is to be: raise the maximum", g.Max, a.To), Wait: helpWait}
	case tagOf(*g, nodegroupTag) == "":
		return h.w.Cloud.UpdateAutoScalingGroup(a.Group, cloud.GroupUpdate{Min: &a.To})
	}
	change := cloud.NodegroupChange{Min: &a.To}
	if g.Desired < a.To {
		change.Desired = &a.To
	}
	return h.sizeNodegroup(g, change)
}

// sizeNodegroup sets sizes of a managed node group through EKS, which would put back what others change under it.
func (h *CloudHand) sizeNodegroup(g *cloud.Group, change cloud.NodegroupChange) error {
	owner, name := tagOf(*g, clusterTag), tagOf(*g, nodegroupTag)
	n, err := h.describeNodegroup(owner, name)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fleet.Refused{Reason: "EKS does not know node group " + name + " any more", Wait: helpWait}
	case n.Status != cloud.NodegroupActive && n.Status != cloud.NodegroupDegraded:
		return &fleet.Refused{Reason: fmt.Sprintf("EKS says that the node group is %s, and changes no sizes meanwhile", n.Status), Wait: updateWait}
	}
	_, err = h.w.Cloud.UpdateNodegroupConfig(owner, name, change)
	if codeIs(err, "ResourceInUseException") || codeIs(err, "InvalidRequestException") {
		return &fleet.Refused{Reason: "EKS changes no sizes now: " + explain(err).Error(), Wait: updateWait}
	}
	return err
}

// protect has scale-in spare instances, or no longer. Those that are gone or going need nothing; those that come are waited for when the others are done.
func (h *CloudHand) protect(a fleet.Action) error {
	g, err := h.mine(a)
	if err != nil {
		return err
	}
	on := a.Verb == fleet.Protect
	var ids, coming []string
	for _, m := range g.Members {
		switch in := h.instance(m); {
		case !slices.Contains(a.Instances, in.ID), in.Leaving(), m.Protected == on:
		case in.Lifecycle == fleet.InService || in.Parked():
			ids = append(ids, in.ID)
		default:
			coming = append(coming, in.ID)
		}
	}
	if len(ids) > 0 {
		if err := h.w.Cloud.SetInstanceProtection(a.Group, ids, on); err != nil {
			return err
		}
	}
	if len(coming) > 0 {
		return &fleet.Refused{Reason: fmt.Sprintf("%v are not in service yet, and AWS protects none before", coming), Wait: updateWait}
	}
	return nil
}
