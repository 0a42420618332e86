package cloud

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Activity is one scaling activity.
type Activity struct {
	ID            string
	Group         string
	GroupARN      string
	Instance      string
	Zone          string
	Description   string
	Cause         string
	StartTime     time.Time
	EndTime       time.Time // zero while it goes on
	Status        string    // one of the Activity constants
	StatusMessage string
	Progress      int
}

// The states of an activity that the sandbox uses, in AWS's words.
const (
	PreInService          = "PreInService"
	InProgress            = "InProgress"
	WaitingForELBDraining = "WaitingForELBConnectionDraining"
	MidLifecycleAction    = "MidLifecycleAction"
	Successful            = "Successful"
	Failed                = "Failed"
	Cancelled             = "Cancelled"
)

func (c *Cloud) stamp() string { return c.now().Format("2006-01-02T15:04:05Z") }

// at makes a sentence of a cause.
func (c *Cloud) at(format string, args ...any) string {
	return "At " + c.stamp() + " " + fmt.Sprintf(format, args...)
}

// because joins the sentences of a cause that are there.
func because(sentences ...string) string {
	out := ""
	for _, s := range sentences {
		if s != "" && out != "" {
			out += "  "
		}
		out += s
	}
	return out
}

func (c *Cloud) record(g *Group, a Activity) Activity {
	a.ID, a.Group, a.GroupARN, a.StartTime = c.uuid(), g.Name, g.ARN, c.now()
	if a.Status == Failed || a.Status == Cancelled {
		a.EndTime, a.Progress = a.StartTime, 100
	}
	c.w.activities[g.Name] = append(c.w.activities[g.Name], a)
	c.emit(Event{Kind: ActivityRecorded, Group: g.Name, Activity: a})
	return a
}

// progress moves an activity on; a final status ends it and begins the group's cooldown.
func (c *Cloud) progress(g *Group, id, status string, percent int) {
	as := c.w.activities[g.Name]
	n := slices.IndexFunc(as, func(a Activity) bool { return a.ID == id })
	if n < 0 || as[n].Status == status {
		return
	}
	as[n].Status, as[n].Progress = status, percent
	if percent == 100 {
		as[n].EndTime = c.now()
		g.cooling++
		c.after(g.Cooldown, func() { g.cooling-- })
	}
	c.emit(Event{Kind: ActivityRecorded, Group: g.Name, Activity: as[n]})
}

// cancelActivity ends an activity that came to nothing, and says why.
func (c *Cloud) cancelActivity(g *Group, id, why string) {
	as := c.w.activities[g.Name]
	if n := slices.IndexFunc(as, func(a Activity) bool { return a.ID == id }); n >= 0 {
		as[n].StatusMessage = why
		c.progress(g, id, Cancelled, 100)
	}
}

// DescribeScalingActivities returns activities, newest first: those with one of the ids if there are any, of one group or, if the
// name is empty, of all. A group's activities go with it.
func (c *Cloud) DescribeScalingActivities(group string, ids []string) ([]Activity, error) {
	return read(c, "autoscaling:DescribeScalingActivities", func(w *world) ([]Activity, error) {
		if _, ok := w.groups[group]; group != "" && !ok {
			return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", group)
		}
		var out []Activity
		for _, name := range slices.Sorted(maps.Keys(w.groups)) {
			if group != "" && name != group {
				continue
			}
			for _, a := range w.activities[name] {
				if len(ids) == 0 || slices.Contains(ids, a.ID) {
					out = append(out, a)
				}
			}
		}
		slices.Reverse(out)
		slices.SortStableFunc(out, func(a, b Activity) int { return b.StartTime.Compare(a.StartTime) })
		return out, nil
	})
}
