package imds

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/notice"
)

// item is one thing that the metadata may announce: where it stands, and how its answer reads. n is a notice about this machine to complete; it was
// asked at n.At.
type item struct {
	path string
	read func(n fleet.Notice, body string) ([]fleet.Notice, error)
}

var items = []item{
	{"spot/instance-action", spot},
	{"events/recommendations/rebalance", rebalance},
	{"events/maintenance/scheduled", scheduled},
	{"autoscaling/target-lifecycle-state", target},
}

// spot reads what EC2 will do to a spot instance. The time in it is when: EC2 said so two minutes before, which is the moment that its event has.
func spot(n fleet.Notice, body string) ([]fleet.Notice, error) {
	var said struct{ Action, Time string }
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		return nil, err
	}
	at, err := notice.Moment(said.Time)
	if err != nil {
		return nil, err
	}
	n.Kind, n.ID, n.Effect = fleet.SpotInterruption, notice.ID(fleet.SpotInterruption, ""), said.Action
	switch said.Action {
	case "terminate", "stop":
		n.At, n.Deadline = at.Add(-notice.SpotNotice), at
		n.Why = fmt.Sprintf("EC2 takes spot instance %s back: %s at %s", n.Instance, n.Effect, clock(at))
	case "hibernate":
		n.At = at
		n.Why = fmt.Sprintf("EC2 takes spot instance %s back: it began to hibernate at %s", n.Instance, clock(at))
	default:
		return nil, fmt.Errorf("%q is nothing that EC2 is known to do to a spot instance", said.Action)
	}
	return []fleet.Notice{n}, nil
}

func rebalance(n fleet.Notice, body string) ([]fleet.Notice, error) {
	var said struct {
		NoticeTime string `json:"noticeTime"`
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		return nil, err
	}
	at, err := notice.Moment(said.NoticeTime)
	if err != nil {
		return nil, err
	}
	n.Kind, n.ID, n.At = fleet.Rebalance, notice.ID(fleet.Rebalance, ""), at
	n.Why = fmt.Sprintf("EC2 said at %s that it is more likely than before to take spot instance %s back", clock(at), n.Instance)
	return []fleet.Notice{n}, nil
}

// scheduled reads what EC2 has planned. An event that is not active is over, the same as one that is no longer listed.
func scheduled(n fleet.Notice, body string) ([]fleet.Notice, error) {
	var said []struct {
		EventID                             string `json:"EventId"`
		Code, State, Description, NotBefore string
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		return nil, err
	}
	var ns []fleet.Notice
	for _, e := range said {
		if e.State != "active" {
			continue
		}
		if e.EventID == "" {
			return nil, fmt.Errorf("a %s without an id", e.Code)
		}
		at, err := notice.Moment(e.NotBefore)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.EventID, err)
		}
		of := n
		of.Kind, of.ID, of.Effect, of.Deadline = fleet.ScheduledChange, notice.ID(fleet.ScheduledChange, e.EventID), notice.Effect(e.Code), at
		of.Why = fmt.Sprintf("EC2 plans for %s: %s at %s", n.Instance, e.Code, clock(at))
		ns = append(ns, of)
	}
	return ns, nil
}

// target reads what Auto Scaling wants the instance to become. That it is to end is known here earlier than a hook begins to wait, and also without
// one. Which hook waits is not known: the notice's Hook is empty.
func target(n fleet.Notice, body string) ([]fleet.Notice, error) {
	n.Kind, n.ID = fleet.TerminateHook, notice.ID(fleet.TerminateHook, "")
	switch state := strings.TrimSpace(body); state {
	case "InService", "Standby", "Detached":
		return nil, nil
	case "Terminated":
		n.Origin, n.Destination, n.Effect = "AutoScalingGroup", "EC2", "terminate"
		n.Why = fmt.Sprintf("Auto Scaling ends %s", n.Instance)
	case "Warmed:Terminated":
		n.Origin, n.Destination, n.Effect = warmPool, "EC2", "terminate"
		n.Why = fmt.Sprintf("Auto Scaling ends %s of its warm pool", n.Instance)
	case "Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated":
		n.Destination = warmPool
		n.Why = fmt.Sprintf("Auto Scaling has %s in the warm pool (%s)", n.Instance, state)
	default:
		return nil, fmt.Errorf("%.40q is no state that drover knows", state)
	}
	return []fleet.Notice{n}, nil
}

const warmPool = "WarmPool" // Auto Scaling's word

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
