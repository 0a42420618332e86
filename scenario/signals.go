package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/pipeline"
	"drover.dev/sandbox/cloud"
	memory "drover.dev/sandbox/fast"
)

// mailbox is the queue of a story.
type mailbox struct {
	url, dead  string
	arn        string
	quarantine bool // messages of other clusters are set aside
}

// signs are the events by which AWS takes machines away, and what may become of the messages that tell of it.
var signs = map[string]event{
	"spot":             {"spot NODE... action=stop: EC2 takes spot instances back in two minutes", (*Stage).spot},
	"recommend":        {"recommend NODE: EC2 may take it back soon", (*Stage).recommend},
	"schedule":         {"schedule NODE... in=2h code=instance-retirement: EC2 will do that to them", (*Stage).announce},
	"postpone":         {"postpone in=4h: what EC2 announced last comes later", (*Stage).postpone},
	"call-off":         {"call-off: what EC2 announced last does not come", (*Stage).callOff},
	"reclaim-capacity": {"reclaim-capacity NODE: the owner of its capacity reservation takes it back", (*Stage).reclaimCapacity},
	"az-rebalance":     {"az-rebalance GROUP, or GROUP NODE: Auto Scaling evens out zones", (*Stage).evenOut},
	"terminate":        {"terminate NODE keep: somebody has Auto Scaling end it; keep: without a replacement", (*Stage).terminate},
	"halt":             {"halt NODE: somebody stops its machine", (*Stage).halt},
	"start":            {"start NODE: and starts it again", (*Stage).start},
	"reboot":           {"reboot NODE: somebody does", (*Stage).reboot},
	"lose":             {"lose 3: the queue loses its next messages", func(s *Stage, w *words) error { return s.mishap(w, cloud.Lose) }},
	"duplicate":        {"duplicate 3: it delivers each of its next messages twice", func(s *Stage, w *words) error { return s.mishap(w, cloud.Duplicate) }},
	"repeat":           {"repeat 3: AWS sends each of its next messages twice", func(s *Stage, w *words) error { return s.mishap(w, cloud.Repeat) }},
	"reorder":          {"reorder 3: its next messages overtake those before them", func(s *Stage, w *words) error { return s.mishap(w, cloud.Reorder) }},
	"stale-receipts":   {"stale-receipts: it deletes by the newest receipt only", (*Stage).staleReceipts},
	"poison":           {"poison BODY: somebody sends a message that nobody understands", (*Stage).sendPoison},
	"send":             {"send BODY: somebody sends a message", (*Stage).send},
	"completion-fails": {"completion-fails 3: so many answers to hooks are refused", (*Stage).failCompletions},
	"api-down":         {"api-down 30s: the API server does not answer", func(s *Stage, w *words) error { return s.cutOff(w, false) }},
	"aws-down":         {"aws-down 30s: AWS does not answer", func(s *Stage, w *words) error { return s.cutOff(w, true) }},
	"let-go":           {"let-go WORKLOAD: whoever put a finalizer on its pods takes it off", func(s *Stage, w *words) error { return s.w.Cluster.LetGo(s.owner(w.name())) }},
	"unhook":           {"unhook GROUP NAME: somebody deletes a hook", (*Stage).unhook},
}

// addQueue makes what drover setup would make where there is nothing yet.
func (s *Stage) addQueue(w *words) error {
	want := pipeline.Wanted{Cluster: memory.ClusterName, Account: s.w.Cloud.Account(), Region: s.w.Cloud.Region()}
	changes, taken := pipeline.Plan(want, pipeline.Found{Rules: map[string]pipeline.Rule{}, Groups: map[string]pipeline.Scaling{}})
	if len(taken) > 0 {
		return fmt.Errorf("set up: %s", taken[0])
	}
	s.mail.arn = want.QueueARN(want.QueueName())
	for _, c := range changes {
		if err := s.setUp(c); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// setUp carries out one change of the pipeline on the sandbox's cloud.
func (s *Stage) setUp(c pipeline.Change) error {
	switch c.Verb {
	case pipeline.CreateQueue:
		url, err := s.w.Cloud.CreateQueue(c.Queue.Name, queueAttributes(c.Queue), nil)
		if c.Queue.Dead == "" {
			s.mail.dead = url
		} else {
			s.mail.url = url
		}
		return err
	case pipeline.CreateRule:
		_, err := s.w.Cloud.PutRule(cloud.Rule{Name: c.Rule.Name, Pattern: c.Rule.Pattern, State: "ENABLED"}, nil)
		return errors.Join(err, s.aim(c.Rule))
	case pipeline.AimRule:
		return s.aim(c.Rule)
	}
	return fmt.Errorf("a story does not know how to %s", c.Verb)
}

func (s *Stage) aim(r pipeline.Rule) error {
	return s.w.Cloud.PutTargets(r.Name, []cloud.RuleTarget{{ID: r.Targets[0].ID, ARN: r.Targets[0].ARN}})
}

func queueAttributes(q pipeline.Queue) map[string]string {
	out := map[string]string{"MessageRetentionPeriod": strconv.Itoa(int(q.Retention.Seconds())), "SqsManagedSseEnabled": strconv.FormatBool(q.Encrypted)}
	if q.Policy != "" {
		out["Policy"] = q.Policy
	}
	if q.Dead != "" {
		out["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, q.Dead, q.Receives)
	}
	return out
}

// addHook makes a lifecycle hook.
func (s *Stage) addHook(w *words) error {
	h := cloud.Hook{
		Group: w.name(), Transition: cloud.HookTerminating, Heartbeat: w.duration("heartbeat", pipeline.Heartbeat), DefaultResult: strings.ToUpper(w.text("default", "continue")),
	}
	h.Name = pipeline.TerminateHook
	if w.flag("launch") {
		h.Name, h.Transition = pipeline.LaunchHook, cloud.HookLaunching
	}
	h.Name = w.text("name", h.Name)
	if w.flag("direct") {
		h.Target, h.Role = s.mail.arn, "arn:aws:iam::123456789012:role/hooks"
	}
	if w.flag("retain") {
		retain := true
		h.DefaultResult = cloud.ResultAbandon
		if err := s.w.Cloud.UpdateAutoScalingGroup(h.Group, cloud.GroupUpdate{Retain: &retain}); err != nil {
			return err
		}
	}
	return s.w.Cloud.PutLifecycleHook(h)
}

func (s *Stage) unhook(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a group and a hook, have %q", w.names)
	}
	for _, h := range s.watch.now().waits {
		if h.Hook == w.names[1] {
			s.watch.blame(h.Instance, s.node(h.Instance)) // it goes at once, with whatever is on it
		}
	}
	return s.w.Cloud.DeleteLifecycleHook(w.names[0], w.names[1])
}

func (s *Stage) addPool(w *words) error {
	return s.w.Cloud.PutWarmPool(cloud.WarmPool{Group: w.name(), Min: w.number("min", 1), MaxPrepared: -1, State: "Stopped", Reuse: w.flag("reuse")})
}

// members finds instances by their aliases; web/* is all of a group.
func (s *Stage) members(w *words) ([]cloud.Instance, error) {
	var out []cloud.Instance
	for _, alias := range w.names {
		if group, all := strings.CutSuffix(alias, "/*"); all {
			g := s.watch.now().s.Group(group)
			if g == nil {
				return nil, fmt.Errorf("there is no group %s", group)
			}
			for _, m := range g.Instances {
				if in, ok := s.w.Cloud.Instance(m.ID); ok && !in.Gone() {
					out = append(out, in)
				}
			}
			continue
		}
		in, err := s.member(alias)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("want a node")
	}
	return out, nil
}

// noticeOfSpot is how long before it takes a spot instance back EC2 says so.
const noticeOfSpot = 2 * time.Minute

func (s *Stage) spot(w *words) error {
	all, err := s.members(w)
	if err != nil {
		return err
	}
	for _, in := range all {
		s.watch.doom(in.ID, s.w.Now().Add(noticeOfSpot))
		s.watch.blamed[in.ID] = true
		if err := s.w.Cloud.InterruptSpot(in.ID, w.text("action", "terminate")); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) recommend(w *words) error {
	all, err := s.members(w)
	for _, in := range all {
		s.watch.doom(in.ID, time.Time{})
		if err == nil {
			err = s.w.Cloud.RecommendRebalance(in.ID)
		}
	}
	return err
}

func (s *Stage) announce(w *words) error {
	all, err := s.members(w)
	if err != nil {
		return err
	}
	at := s.w.Now().Add(w.duration("in", 2*time.Hour))
	var ids []string
	for _, in := range all {
		s.watch.doom(in.ID, at)
		s.watch.blamed[in.ID] = true
		ids = append(ids, in.ID)
	}
	code := w.text("code", "instance-retirement")
	s.announced, err = s.w.Cloud.ScheduleEvent(code, at, "The instance is running on degraded hardware", ids...)
	s.announcedFor = ids
	return err
}

func (s *Stage) postpone(w *words) error {
	at := s.w.Now().Add(w.duration("in", 4*time.Hour))
	for _, id := range s.announcedFor {
		s.watch.spare(id, at)
	}
	return s.w.Cloud.PostponeEvent(s.announced, at)
}

func (s *Stage) callOff(*words) error {
	for _, id := range s.announcedFor {
		s.watch.spare(id, time.Time{})
		delete(s.watch.blamed, id)
	}
	return s.w.Cloud.CancelEvent(s.announced)
}

func (s *Stage) reclaimCapacity(w *words) error {
	in, err := s.member(w.name())
	if err != nil {
		return err
	}
	s.watch.doom(in.ID, s.w.Now().Add(noticeOfSpot))
	s.watch.blamed[in.ID] = true
	return s.w.Cloud.InterruptCapacityReservation(in.ID)
}

func (s *Stage) evenOut(w *words) error {
	if len(w.names) == 0 {
		return fmt.Errorf("want a group")
	}
	id := ""
	if len(w.names) > 1 {
		in, err := s.member(w.names[1])
		if err != nil {
			return err
		}
		id = in.ID
	}
	s.watch.resized[w.names[0]] = true
	return s.w.Cloud.RebalanceZones(w.names[0], id)
}

func (s *Stage) terminate(w *words) error {
	keep := slices.Contains(w.names, "keep")
	w.names = slices.DeleteFunc(w.names, func(n string) bool { return n == "keep" })
	all, err := s.members(w)
	for _, in := range all {
		s.watch.doom(in.ID, time.Time{})
		s.watch.resized[in.Group], s.watch.blamed[in.ID] = true, true
		if err == nil {
			_, err = s.w.Cloud.TerminateInstanceInAutoScalingGroup(in.ID, keep)
		}
	}
	return err
}

// power has somebody switch a machine off or on.
func (s *Stage) power(w *words, do func(ids []string) error) error {
	in, err := s.member(w.name())
	if err != nil {
		return err
	}
	s.watch.doom(in.ID, time.Time{})
	s.watch.blame(in.ID, in.PrivateDNS)
	return do([]string{in.ID})
}

func (s *Stage) halt(w *words) error {
	return s.power(w, func(ids []string) error { _, err := s.w.Cloud.StopInstances(ids); return err })
}

func (s *Stage) start(w *words) error {
	return s.power(w, func(ids []string) error { _, err := s.w.Cloud.StartInstances(ids); return err })
}

func (s *Stage) reboot(w *words) error { return s.power(w, s.w.Cloud.RebootInstances) }

func (s *Stage) mishap(w *words, how cloud.Mishap) error {
	n, err := strconv.Atoi(cmp.Or(w.name(), "1"))
	if err != nil {
		return err
	}
	s.w.Cloud.Misbehave(s.mail.url, how, n)
	return nil
}

func (s *Stage) staleReceipts(*words) error {
	s.w.Cloud.RefuseStaleHandles(true)
	return nil
}

func (s *Stage) send(w *words) error {
	_, err := s.w.Cloud.SendMessage(s.mail.url, cloud.Outgoing{Body: strings.Join(w.names, " ")})
	return err
}

func (s *Stage) sendPoison(w *words) error {
	s.watch.poison = append(s.watch.poison, strings.Join(w.names, " "))
	return s.send(w)
}

func (s *Stage) failCompletions(w *words) error {
	n, err := strconv.Atoi(w.name())
	for range n {
		s.w.Cloud.FailNext("autoscaling:CompleteLifecycleAction", &cloud.Error{Code: "ResourceContention", Message: "You already have a pending update to an Auto Scaling resource", Status: 500})
	}
	s.watch.outages += time.Duration(n) * 30 * time.Second
	return err
}

func (s *Stage) cutOff(w *words, aws bool) error {
	d, err := time.ParseDuration(w.name())
	s.down[aws] = s.w.Now().Add(d)
	s.lag.freeze()
	s.watch.outages += d
	return err
}
