package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ScheduledEvent is something that EC2 will do to an instance at a moment it announces. What is over is still seen for a week, with
// [Completed] or [Canceled] before its words.
type ScheduledEvent struct {
	ID, ARN             string // ARN is that of the Health event, which several instances can share
	Instance            string
	Code                string
	Words               string
	NotBefore, NotAfter time.Time
}

// scheduleKinds are the codes of scheduled events, with what AWS Health calls them.
var scheduleKinds = map[string]struct{ health, words string }{
	"instance-reboot":     {"AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED", "The instance is scheduled for a reboot"},
	"system-reboot":       {"AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED", "The instance's host is scheduled for a reboot"},
	"system-maintenance":  {"AWS_EC2_SYSTEM_MAINTENANCE_SCHEDULED", "The instance's host is scheduled for maintenance of network or power"},
	"instance-retirement": {"AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED", "The instance is running on degraded hardware"},
	"instance-stop":       {"AWS_EC2_INSTANCE_STOP_SCHEDULED", "The instance is scheduled to be stopped"},
}

const (
	maintenanceWindow = 2 * time.Hour
	overAndSeen       = 7 * 24 * time.Hour
)

// schedule is what one Health event announces, to one instance or several.
type schedule struct {
	events []ScheduledEvent
	health HealthEvent
	turn   int  // how often its time was set: the timer of an earlier time means nothing
	over   bool // done, or canceled
}

func (s *schedule) clone() schedule {
	n := *s
	n.events = slices.Clone(s.events)
	return n
}

// ScheduleEvent has EC2 announce that it will do something to instances: code is one of EC2's, as instance-retirement. Without words it uses
// AWS's. The ARN is that of the Health event, one for all of them.
func (c *Cloud) ScheduleEvent(code string, notBefore time.Time, words string, ids ...string) (arn string, err error) {
	err = c.happen(func() error {
		kind, ok := scheduleKinds[code]
		if !ok || len(ids) == 0 {
			return fmt.Errorf("schedule %q for %d instances: give one of EC2's codes and at least one instance", code, len(ids))
		}
		for _, id := range ids {
			if _, err := c.w.running(id); err != nil {
				return err
			}
		}
		words = cmp.Or(words, kind.words)
		arn = fmt.Sprintf("arn:aws:health:%s::event/EC2/%s/%s_%s", c.cfg.Region, kind.health, kind.health, c.uuid())
		s := &schedule{health: HealthEvent{ARN: arn, TypeCode: kind.health, Start: notBefore, End: notBefore.Add(maintenanceWindow), Status: "upcoming", Words: words}}
		for _, id := range ids {
			s.events = append(s.events, ScheduledEvent{
				ID: c.hexID("instance-event"), ARN: arn, Instance: id, Code: code, Words: words, NotBefore: notBefore, NotAfter: notBefore.Add(maintenanceWindow),
			})
			s.health.Entities = append(s.health.Entities, HealthEntity{ID: id, Status: "PENDING"})
		}
		c.w.schedules[arn] = s
		c.publishHealth(s.health)
		c.await(s)
		return nil
	})
	return arn, err
}

// await carries a schedule out when its time comes.
func (c *Cloud) await(s *schedule) {
	s.turn++
	turn := s.turn
	c.after(max(0, s.events[0].NotBefore.Sub(c.now())), func() {
		if s.turn != turn || s.over {
			return
		}
		for _, e := range s.events {
			if i, ok := c.w.instances[e.Instance]; ok {
				c.carryOut(i, e.Code)
			}
		}
		c.closeSchedule(s, "[Completed] ")
	})
}

func (c *Cloud) carryOut(i *Instance, code string) {
	switch code {
	case "instance-stop", "instance-retirement":
		c.halt(i, byAWS("Server.ScheduledStop", "Stopped due to a scheduled "+strings.TrimPrefix(code, "instance-")))
	case "instance-reboot", "system-reboot":
		c.reboot(i)
	}
}

// closeSchedule ends a schedule: Health closes its event, and EC2 shows it for a while as what it was.
func (c *Cloud) closeSchedule(s *schedule, mark string) {
	s.over = true
	for n := range s.events {
		s.events[n].Words = mark + s.events[n].Words
	}
	s.health.Status, s.health.End = "closed", c.now()
	s.health.Entities = s.health.entitiesAs("RESOLVED")
	c.publishHealth(s.health)
	c.after(overAndSeen, func() { delete(c.w.schedules, s.health.ARN) })
}

// PostponeEvent sets another time for what is still to come; Health says it again, under the same ARN.
func (c *Cloud) PostponeEvent(arn string, notBefore time.Time) error {
	return c.happen(func() error {
		s, err := c.w.pendingSchedule(arn)
		if err != nil {
			return err
		}
		for n := range s.events {
			s.events[n].NotBefore, s.events[n].NotAfter = notBefore, notBefore.Add(maintenanceWindow)
		}
		s.health.Start, s.health.End = notBefore, notBefore.Add(maintenanceWindow)
		c.publishHealth(s.health)
		c.await(s)
		return nil
	})
}

// CancelEvent takes back what is still to come.
func (c *Cloud) CancelEvent(arn string) error {
	return c.happen(func() error {
		s, err := c.w.pendingSchedule(arn)
		if err != nil {
			return err
		}
		c.closeSchedule(s, "[Canceled] ")
		return nil
	})
}

func (w *world) pendingSchedule(arn string) (*schedule, error) {
	s, ok := w.schedules[arn]
	if !ok || s.over {
		return nil, fmt.Errorf("there is no scheduled event %s that is still to come", arn)
	}
	return s, nil
}

// eventsOf lists what is scheduled for an instance, the next first.
func (w *world) eventsOf(instance string) []ScheduledEvent {
	var out []ScheduledEvent
	for _, s := range w.schedules {
		for _, e := range s.events {
			if e.Instance == instance {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b ScheduledEvent) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// InstanceStatus is an instance with what is scheduled for it.
type InstanceStatus struct {
	Instance Instance
	Events   []ScheduledEvent
}

// statusFilters are the filters of DescribeInstanceStatus.
var statusFilters = map[string]func(InstanceStatus) []string{
	"availability-zone":   func(s InstanceStatus) []string { return []string{s.Instance.Zone} },
	"instance-state-name": func(s InstanceStatus) []string { return []string{string(s.Instance.State)} },
	"instance-state-code": func(s InstanceStatus) []string { return []string{fmt.Sprint(s.Instance.State.Code())} },
	"event.code":          func(s InstanceStatus) []string { return s.each(func(e ScheduledEvent) string { return e.Code }) },
	"event.description":   func(s InstanceStatus) []string { return s.each(func(e ScheduledEvent) string { return e.Words }) },
	"event.instance-event-id": func(s InstanceStatus) []string {
		return s.each(func(e ScheduledEvent) string { return e.ID })
	},
	"event.not-before": func(s InstanceStatus) []string {
		return s.each(func(e ScheduledEvent) string { return e.NotBefore.UTC().Format("2006-01-02T15:04:05.000Z") })
	},
}

func (s InstanceStatus) each(show func(ScheduledEvent) string) []string {
	var out []string
	for _, e := range s.Events {
		out = append(out, show(e))
	}
	return out
}

// DescribeInstanceStatus returns the running instances with one of the ids (any, if there are none) that pass all filters, oldest first; with all,
// those in other states as well. Without a filter on events it includes instances that nothing is scheduled for.
func (c *Cloud) DescribeInstanceStatus(ids []string, all bool, filters []Filter) ([]InstanceStatus, error) {
	return read(c, "ec2:DescribeInstanceStatus", func(w *world) ([]InstanceStatus, error) {
		if err := checkFilters("DescribeInstanceStatus", filters, slices.Collect(maps.Keys(statusFilters))...); err != nil {
			return nil, err
		}
		if _, err := w.findInstances(ids); err != nil {
			return nil, err
		}
		var out []InstanceStatus
		for _, i := range w.listInstances() {
			if !all && i.State != Running || len(ids) > 0 && !slices.Contains(ids, i.ID) {
				continue
			}
			s := InstanceStatus{i, w.eventsOf(i.ID)}
			if matchAll(filters, func(name string) []string { return statusFilters[name](s) }) {
				out = append(out, s)
			}
		}
		return out, nil
	})
}
