package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// SpotNotice is how long before EC2 takes a spot instance back it says so.
const SpotNotice = 2 * time.Minute

// How EC2 gives the reason why a spot instance went, as the end of a status code.
const (
	SpotNoCapacity = "no-capacity"
	SpotByPrice    = "by-price"
)

// Interruption is what EC2 will do to a spot instance, and when.
type Interruption struct {
	Action string // terminate, stop or hibernate
	At     time.Time
}

// SpotRequest is what a spot instance was launched by.
type SpotRequest struct {
	ID, Instance     string
	State            string // active, disabled (its instance is stopped) or closed
	Code, Message    string // of its status
	Type, Zone       string
	Created, Updated time.Time
}

func (c *Cloud) fulfil(i *Instance) {
	r := &SpotRequest{ID: c.spotRequestID(), Instance: i.ID, Type: i.Type, Zone: i.Zone, Created: c.now()}
	i.SpotRequest, c.w.spots[r.ID] = r.ID, r
	c.setSpot(i, "active", "fulfilled", "Your Spot request is fulfilled.")
}

// spotRequestID is an id as EC2 makes them for spot requests: shorter than others.
func (c *Cloud) spotRequestID() string { return fmt.Sprintf("sir-%08x", uint32(c.ids.Uint64())) }

func (c *Cloud) setSpot(i *Instance, state, code, message string) {
	if r, ok := c.w.spots[i.SpotRequest]; ok {
		r.State, r.Code, r.Message, r.Updated = state, code, message, c.now()
	}
}

// SetSpotReason says how the status of spot requests gives the reason of interruptions: SpotNoCapacity, which it is at first, or SpotByPrice.
func (c *Cloud) SetSpotReason(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spotReason = reason
}

var spotMarks = map[string]string{"terminate": "marked-for-termination", "stop": "marked-for-stop", "hibernate": "marked-for-stop"}

// InterruptSpot has EC2 take a spot instance back: it warns now and acts two minutes later, whatever lifecycle hook holds the instance. A
// hibernation begins with the warning. What was warned of before stays.
func (c *Cloud) InterruptSpot(id, action string) error {
	return c.happen(func() error {
		i, err := c.spotInstance(id)
		if err != nil {
			return err
		}
		mark, ok := spotMarks[action]
		switch {
		case !ok:
			return fmt.Errorf("interrupt %s: %q is not terminate, stop or hibernate", id, action)
		case i.Interruption != nil:
			return nil
		}
		notice := SpotNotice
		if action == "hibernate" {
			notice = 0
		}
		i.Interruption = &Interruption{action, c.now().Add(notice).Truncate(time.Second)}
		c.setSpot(i, "active", mark, "Your Spot Instance is marked for interruption because EC2 needs the capacity back.")
		c.say("aws.ec2", "EC2 Spot Instance Interruption Warning", []string{spotARN(i)}, map[string]any{"instance-id": id, "instance-action": action})
		c.wakeGroupOf(id)
		warned := i.Interruption
		c.after(notice, func() {
			if i.Interruption == warned { // not stopped and started since
				c.reclaim(i)
			}
		})
		return nil
	})
}

func (c *Cloud) spotInstance(id string) (*Instance, error) {
	i, err := c.w.running(id)
	if err == nil && !i.Spot {
		err = fmt.Errorf("instance %s is not a spot instance", id)
	}
	return i, err
}

// reclaim does what a warning said.
func (c *Cloud) reclaim(i *Instance) {
	if i.Interruption.Action == "terminate" {
		c.end(i, byAWS("Server.SpotInstanceTermination", "Spot instance termination"))
		return
	}
	c.halt(i, byAWS("Server.SpotInstanceShutdown", "Spot instance shutdown"))
}

// closeSpot ends the request of a spot instance that is gone.
func (c *Cloud) closeSpot(i *Instance, why reason) {
	if why == byUser {
		c.setSpot(i, "closed", "instance-terminated-by-user", "Spot Instance terminated due to user-initiated termination.")
		return
	}
	c.setSpot(i, "closed", "instance-terminated-"+cmp.Or(c.spotReason, SpotNoCapacity), "Your Spot instance was terminated because EC2 needs the capacity back.")
}

// stoppedSpot notes on its request that a spot instance is stopped.
func (c *Cloud) stoppedSpot(i *Instance) {
	if i.Interruption == nil {
		c.setSpot(i, "disabled", "instance-stopped-by-user", "Your Spot instance was stopped due to user-initiated stop.")
		return
	}
	c.setSpot(i, "disabled", "instance-stopped-"+cmp.Or(c.spotReason, SpotNoCapacity), "Your Spot instance was stopped because EC2 needs the capacity back.")
}

// RecommendRebalance has EC2 say that it may soon take a spot instance back. A group with CapacityRebalance then replaces it.
func (c *Cloud) RecommendRebalance(id string) error {
	return c.happen(func() error {
		i, err := c.spotInstance(id)
		if err != nil {
			return err
		}
		i.Recommended = c.now()
		c.say("aws.ec2", "EC2 Instance Rebalance Recommendation", []string{spotARN(i)}, map[string]any{"instance-id": id})
		c.wakeGroupOf(id)
		return nil
	})
}

func (c *Cloud) wakeGroupOf(id string) {
	if g, _ := c.w.memberOf(id); g != nil {
		c.wake(g)
	}
}

// replaceAtRisk launches replacements for the members that EC2 may take back, if the group wants that; they go when the replacements serve. It
// tells whether it did anything.
func (c *Cloud) replaceAtRisk(g *Group) bool {
	if !g.CapacityRebalance || g.suspended(Launch) {
		return false
	}
	room, did := g.spare(), false
	for _, id := range g.ids() {
		i, ok := c.w.instances[id]
		if m := g.member(id); room == 0 || m.State != InService || !ok || i.Interruption == nil && i.Recommended.IsZero() {
			continue
		}
		g.member(id).doomed = c.at("an instance was taken out of service in response to an EC2 instance rebalance recommendation.")
		if !c.launchMember(g, g.emptiestFirst(), c.at("an instance was launched in response to an EC2 instance rebalance recommendation.")) {
			return true
		}
		room, did = room-1, true
	}
	return did
}

// spotFilters are the filters of DescribeSpotInstanceRequests.
var spotFilters = map[string]func(SpotRequest) string{
	"spot-instance-request-id":   func(r SpotRequest) string { return r.ID },
	"instance-id":                func(r SpotRequest) string { return r.Instance },
	"state":                      func(r SpotRequest) string { return r.State },
	"status-code":                func(r SpotRequest) string { return r.Code },
	"launched-availability-zone": func(r SpotRequest) string { return r.Zone },
}

// DescribeSpotInstanceRequests returns the requests with one of the ids (any, if there are none) that pass all filters, oldest first.
func (c *Cloud) DescribeSpotInstanceRequests(ids []string, filters []Filter) ([]SpotRequest, error) {
	return read(c, "ec2:DescribeSpotInstanceRequests", func(w *world) ([]SpotRequest, error) {
		if err := checkFilters("DescribeSpotInstanceRequests", filters, slices.Collect(maps.Keys(spotFilters))...); err != nil {
			return nil, err
		}
		for _, id := range ids {
			if w.spots[id] == nil {
				return nil, refuse("InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", id)
			}
		}
		var out []SpotRequest
		for _, r := range w.spots {
			if (len(ids) == 0 || slices.Contains(ids, r.ID)) && matchAll(filters, func(name string) []string { return []string{spotFilters[name](*r)} }) {
				out = append(out, *r)
			}
		}
		slices.SortFunc(out, func(a, b SpotRequest) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
		return out, nil
	})
}

// MakeSpot has EC2 treat an instance that was launched on demand as a spot instance, so that what happens to those can be rehearsed with it.
func (c *Cloud) MakeSpot(id string) error {
	return c.happen(func() error {
		i, err := c.w.running(id)
		if err == nil && !i.Spot {
			i.Spot = true
			c.fulfil(i)
		}
		return err
	})
}
