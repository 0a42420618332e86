package cloud

import (
	"strings"
	"time"
)

// Metadata is what an instance can learn about itself.
type Metadata struct {
	Instance Instance
	ZoneID   string
	Events   []ScheduledEvent
	Target   string // the state that its group means it to reach, in Auto Scaling's words; empty without a group
}

// Now is the cloud's own time.
func (c *Cloud) Now() time.Time { return c.now() }

// Metadata returns what a machine can learn about itself, which never lags; a machine that is off learns nothing.
func (c *Cloud) Metadata(id string) (Metadata, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.w.instances[id]
	if !ok || i.State == Stopped || i.State == Terminated {
		return Metadata{}, false
	}
	out := Metadata{Instance: i.clone(), ZoneID: c.zoneID(i.Zone), Events: c.w.eventsOf(id)}
	if g, m := c.w.memberOf(id); m != nil {
		out.Target = g.target(m)
	}
	return out, true
}

// target is where a member is on its way to, or has come to.
func (g *Group) target(m *Member) string {
	switch {
	case strings.HasPrefix(string(m.State), string(WarmedTerminating)):
		return "Warmed:Terminated"
	case m.Leaving():
		return "Terminated"
	case m.aside():
		return string(OnStandby)
	case m.resting():
		return string(m.State)
	case strings.HasPrefix(string(m.State), string(WarmedPending)) && g.Warm != nil:
		return string(restingStates[g.Warm.State])
	}
	return string(InService)
}
