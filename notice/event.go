package notice

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"drover.dev/fleet"
)

// The canary of drover check: an event of its own, which has to come through everything that real ones come through.
const (
	CanarySource = "drover.check"
	CanaryType   = "Drover Canary"
)

// CanaryDetail is the detail of a canary's event. Its notice has the id as its ID, and the cluster as its Destination.
func CanaryDetail(id, cluster string) string {
	detail, _ := json.Marshal(map[string]string{"id": id, "cluster": cluster}) // texts always encode
	return string(detail)
}

// events are the kinds of EventBridge events, by source and detail-type. One kind has several names where AWS's own pages disagree.
var events = map[string]map[string]func(*reader, fleet.Notice, value) []fleet.Notice{
	"aws.autoscaling": {
		"EC2 Instance-terminate Lifecycle Action": terminateHook,
		"EC2 Instance-launch Lifecycle Action":    launchHook,
	},
	"aws.ec2": {
		"EC2 Spot Instance Interruption Warning":                               spot,
		"EC2 Instance Rebalance Recommendation":                                rebalance,
		"EC2 Instance State-change Notification":                               state,
		"EC2 Capacity Reservation Instance Interruption Warning":               reservation,
		"EC2 Interruptible Capacity Reservation Instance Interruption Warning": reservation,
		"Capacity Reservation Instance Interruption Warning":                   reservation,
		"Capacity Block Expiration Warning":                                    block,
		"Capacity Block Reservation Expiration Warning":                        block,
	},
	"aws.health": {
		"AWS Health Event": health,
	},
	"aws.rds": {
		"RDS DB Instance Event": database,
		"RDS DB Cluster Event":  database,
	},
	CanarySource: {
		CanaryType: canary,
	},
}

// event reads an EventBridge event. What its detail says is read by its kind's own function, which gets the envelope as a notice to complete.
func (r *reader) event(v value) []fleet.Notice {
	name := "detail-type"
	if !v.has(name) {
		name = "detail_type" // as the events of capacity blocks have it
	}
	source, kind := r.need(v, "source"), r.need(v, name)
	if r.err != nil {
		return nil
	}
	kinds, known := events[source]
	if !known {
		r.unsupported(v.get("source"), "%s is no source that drover knows", quote(source))
		return nil
	}
	read := kinds[kind]
	if read == nil {
		r.unsupported(v.get(name), "%s of %s is no kind of event that drover knows", quote(kind), source)
		return nil
	}
	n := fleet.Notice{Source: fleet.FromEventBridge, At: r.moment(v, "time"), Account: r.optional(v, "account"), Region: r.optional(v, "region")}
	detail := r.object(v, "detail")
	if r.err != nil {
		return nil
	}
	return read(r, n, detail)
}

func spot(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Instance, n.Effect = r.instance(detail, "instance-id"), r.need(detail, "instance-action")
	n.Kind, n.ID = fleet.SpotInterruption, ID(fleet.SpotInterruption, "")
	switch n.Effect {
	case "terminate", "stop":
		n.Deadline = n.At.Add(SpotNotice)
	case "hibernate": // begins at once, and takes as long as it takes
	default:
		r.unsupported(detail.get("instance-action"), "%s is nothing that EC2 is known to do to a spot instance", quote(n.Effect))
	}
	n.Why = fmt.Sprintf("EC2 takes spot instance %s back: it begins to %s at once", n.Instance, n.Effect)
	if !n.Deadline.IsZero() {
		n.Why = fmt.Sprintf("EC2 takes spot instance %s back: %s at %s, %s after it said so", n.Instance, n.Effect, clock(n.Deadline), SpotNotice)
	}
	return []fleet.Notice{n}
}

func rebalance(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Instance = r.instance(detail, "instance-id")
	n.Kind, n.ID = fleet.Rebalance, ID(fleet.Rebalance, "")
	n.Why = fmt.Sprintf("EC2 said at %s that it is more likely than before to take spot instance %s back", clock(n.At), n.Instance)
	return []fleet.Notice{n}
}

// state hears of machines that end. That one is pending or running is no notice, not even that it no longer ends: events overtake each other, and
// EC2 can be asked.
func state(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Instance, n.Effect = r.instance(detail, "instance-id"), r.need(detail, "state")
	n.Kind, n.ID = fleet.StateChange, ID(fleet.StateChange, "")
	n.Why = fmt.Sprintf("EC2 said at %s that %s is %s", clock(n.At), n.Instance, n.Effect)
	switch n.Effect {
	case "stopping", "stopped", "shutting-down", "terminated":
		return []fleet.Notice{n}
	case "pending", "running":
		return nil
	}
	r.unsupported(detail.get("state"), "%s is no state of an instance that drover knows", quote(n.Effect))
	return nil
}

func reservation(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Instance, n.Effect, n.Deadline = r.instance(detail, "instance-id"), r.need(detail, "instance-action"), r.moment(detail, "instance-termination-time")
	n.Kind, n.ID = fleet.CapacityReservation, ID(fleet.CapacityReservation, "")
	n.Why = fmt.Sprintf("the reserved capacity that %s runs in is taken back: %s at %s", n.Instance, n.Effect, clock(n.Deadline))
	return []fleet.Notice{n}
}

// blockEnds is how long before the end of a capacity block EC2 begins to end its instances. AWS sends the warning ten minutes before that.
const blockEnds = 30 * time.Minute

// block reads the warning that a capacity block ends. AWS names the reservation only: then the notice has no Instance, and the reservation's id as its
// Origin.
func block(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	end := r.moment(detail, "end-date")
	n.Origin = r.need(detail, "capacity-reservation-id")
	if detail.has("instance-id") {
		n.Instance = r.instance(detail, "instance-id")
	}
	n.Kind, n.ID = fleet.CapacityBlock, ID(fleet.CapacityBlock, "")
	n.Effect, n.Deadline = "terminate", end.Add(-blockEnds)
	n.Why = fmt.Sprintf("capacity block %s ends at %s: EC2 ends its instances from %s on", n.Origin, clock(end), clock(n.Deadline))
	return []fleet.Notice{n}
}

// database hears that RDS starts something that was stopped for seven days. It names the database in Origin, as RDS calls it; what state that is in by now
// RDS has to be asked, for the event may come before it changes.
func database(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Origin, n.Effect = r.need(detail, "SourceIdentifier"), r.need(detail, "EventID")
	n.Kind, n.ID = fleet.DatabaseNotice, ID(fleet.DatabaseNotice, "")
	n.Why = fmt.Sprintf("RDS said %s of database %s at %s", n.Effect, n.Origin, clock(n.At))
	return []fleet.Notice{n}
}

// canaryID is what a key of a ConfigMap may be: canaries that came through are noted in one.
var canaryID = regexp.MustCompile(`^[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}$`)

func canary(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	n.Kind, n.ID, n.Destination = fleet.CanaryNotice, r.need(detail, "id"), r.need(detail, "cluster")
	if n.ID != "" && !canaryID.MatchString(n.ID) {
		r.wrong(detail.get("id"), "%s is no id: want up to 253 letters, digits, -, _ and ., with no . first", quote(n.ID))
	}
	n.Why = fmt.Sprintf("drover check sent canary %s to cluster %s", n.ID, n.Destination)
	return []fleet.Notice{n}
}

// clock is a moment in a sentence: to the second, and with the day, since some are weeks away.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
