package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
	memory "drover.dev/sandbox/fast"
)

// event is what others than drover do to the world.
type event struct {
	means string
	do    func(s *Stage, w *words) error
}

// happenings are the events. Each is a command of its own, too.
var happenings = func() map[string]event {
	all := maps.Clone(doings)
	maps.Copy(all, signs)
	maps.Copy(all, mishaps)
	maps.Copy(all, environmentEvents)
	return all
}()

// doings are what people, programs and machines do.
var doings = map[string]event{
	"publish":        {"publish GROUP unready silent labels=k:v: its nodes are outdated from now", (*Stage).publish},
	"release":        {"release 1.33 1.33.4-20261101: EKS has a newer AMI for managed node groups", (*Stage).release},
	"republish":      {"republish GROUP to=1: the template goes back to a version", (*Stage).republish},
	"kill":           {"kill NODE: its machine goes off without a word", (*Stage).kill},
	"silence":        {"silence NODE: its kubelet stops reporting", (*Stage).silence},
	"revive":         {"revive NODE: its kubelet reports again", (*Stage).revive},
	"desired":        {"desired GROUP 5, or +1: somebody sets its desired capacity", (*Stage).desired},
	"maximum":        {"maximum GROUP 5: somebody sets its maximum", (*Stage).maximum},
	"drought":        {"drought ZONE: EC2 has no capacity there", func(s *Stage, w *words) error { return s.drought(w, true) }},
	"rain":           {"rain ZONE: it has again", func(s *Stage, w *words) error { return s.drought(w, false) }},
	"scale":          {"scale WORKLOAD 3: somebody sets its replicas", (*Stage).scale},
	"want":           {"want WORKLOAD 3: its autoscaler's metrics ask for so many", (*Stage).want},
	"hold":           {"hold WORKLOAD words...: a webhook refuses its evictions", (*Stage).hold},
	"let":            {"let WORKLOAD: the webhook lets them go", func(s *Stage, w *words) error { return s.w.Cluster.Hold(s.owner(w.name()), "") }},
	"break":          {"break WORKLOAD: its pods fail their readiness probe", func(s *Stage, w *words) error { return s.ready(w, false) }},
	"mend":           {"mend WORKLOAD: they succeed again", func(s *Stage, w *words) error { return s.ready(w, true) }},
	"cordon":         {"cordon NODE: a person does", (*Stage).cordon},
	"taint":          {"taint NODE key: a person adds a taint and a label of that key", (*Stage).taint},
	"expel":          {"expel WORKLOAD: somebody deletes its first pod", (*Stage).expel},
	"pause":          {"pause for=10m, or pause all: a person stops the run", (*Stage).pause},
	"resume":         {"resume, or resume all", (*Stage).resume},
	"lose-record":    {"lose-record: somebody deletes the run's record", (*Stage).loseRecord},
	"ail":            {"ail PROBE: a health probe turns bad", func(s *Stage, w *words) error { return s.feel(w.name(), false) }},
	"heal":           {"heal PROBE: it is good again", func(s *Stage, w *words) error { return s.feel(w.name(), true) }},
	"untaint":        {"untaint NODE: a person takes drover's taint off", (*Stage).untaint},
	"standby":        {"standby NODE: a person puts an instance into Standby", (*Stage).aside},
	"suspend":        {"suspend GROUP PROCESS: a person switches a process off", (*Stage).suspend},
	"exempt":         {"exempt NODE: a person has cluster-autoscaler leave it", (*Stage).exempt},
	"gitops-ignores": {"gitops-ignores WORKLOAD: its GitOps controller leaves its replicas alone from now", (*Stage).ignore},
	"default-stays":  {"default-stays GROUP: it launches $Default from now", (*Stage).useDefault},
}

// happen makes an event happen. What it changes is the story's doing, not drover's.
func (s *Stage) happen(name string, args []string) error {
	e, ok := happenings[name]
	if !ok {
		return fmt.Errorf("%s is no event", name)
	}
	w := parse(args, "unready", "silent")
	before := s.watch.whole()
	err := e.do(s, w)
	if words := w.err; err == nil {
		err = words
	}
	s.watch.story(before)
	s.lag.sample()
	return err
}

func (s *Stage) publish(w *words) error {
	id := s.image(memory.Image{Silent: w.flag("silent"), Unready: w.flag("unready"), Labels: w.pairs("labels")})
	_, err := s.w.Publish(w.name(), id)
	return err
}

func (s *Stage) republish(w *words) error {
	groups, err := s.w.Cloud.DescribeAutoScalingGroups([]string{w.name()}, nil)
	if err != nil || len(groups) == 0 {
		return fmt.Errorf("group %s: %v", w.name(), err)
	}
	t := cloud.TemplateSpec{ID: groups[0].Source.Template.ID, Version: w.text("to", "1")}
	return s.w.Cloud.UpdateAutoScalingGroup(w.name(), cloud.GroupUpdate{Source: &cloud.Source{Template: t}})
}

func (s *Stage) useDefault(w *words) error {
	w.set["to"] = "$Default"
	return s.republish(w)
}

// kill ends a machine past its group, as a spot interruption or a person with the console does.
func (s *Stage) kill(w *words) error {
	in, err := s.member(w.name())
	if err != nil {
		return err
	}
	s.watch.blame(in.ID, in.PrivateDNS)
	_, err = s.w.Cloud.TerminateInstances([]string{in.ID})
	return err
}

func (s *Stage) silence(w *words) error {
	in, err := s.member(w.name())
	s.watch.blame("", in.PrivateDNS)
	s.w.Cluster.SetReady(in.PrivateDNS, false)
	return err
}

func (s *Stage) revive(w *words) error {
	in, err := s.member(w.name())
	s.w.Cluster.SetReady(in.PrivateDNS, true)
	return err
}

// two reads a name and a number.
func two(w *words) (name string, n int, relative bool, err error) {
	if len(w.names) != 2 {
		return "", 0, false, fmt.Errorf("want a name and a number, have %q", w.names)
	}
	n, err = strconv.Atoi(w.names[1])
	return w.names[0], n, strings.ContainsAny(w.names[1][:1], "+-"), err
}

func (s *Stage) desired(w *words) error {
	name, n, relative, err := two(w)
	if err != nil {
		return err
	}
	g := s.watch.now().s.Group(name)
	if g == nil {
		return fmt.Errorf("there is no group %s", name)
	}
	if relative {
		n += g.Desired
	}
	s.watch.resized[name] = true
	return s.w.Cloud.SetDesiredCapacity(name, n, false)
}

func (s *Stage) maximum(w *words) error {
	name, n, _, err := two(w)
	if err != nil {
		return err
	}
	return s.w.Cloud.UpdateAutoScalingGroup(name, cloud.GroupUpdate{Max: &n})
}

func (s *Stage) drought(w *words, on bool) error {
	for _, kind := range []string{"m5.large", "m5.xlarge", "r5.large"} {
		s.w.Cloud.SetDrought(zone(w.name()), kind, on)
	}
	s.watch.uneven = true
	return nil
}

// owner is a workload's full name.
func (s *Stage) owner(name string) fleet.Owner { return s.specs[name].Owner }

func (s *Stage) scale(w *words) error {
	name, n, _, err := two(w)
	if err != nil {
		return err
	}
	return s.w.Cluster.Scale(s.owner(name), n)
}

func (s *Stage) want(w *words) error {
	name, n, _, err := two(w)
	if err != nil {
		return err
	}
	return s.w.Cluster.SetWant(s.owner(name), n)
}

func (s *Stage) hold(w *words) error {
	if len(w.names) < 2 {
		return fmt.Errorf("want a workload and the webhook's words")
	}
	return s.w.Cluster.Hold(s.owner(w.names[0]), strings.Join(w.names[1:], " "))
}

func (s *Stage) ready(w *words, yes bool) error {
	for _, p := range s.w.Cluster.Pods(s.owner(w.name())) {
		if err := s.w.Cluster.SetPodReady(p.Ref, yes); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) cordon(w *words) error {
	in, err := s.member(w.name())
	s.w.Cluster.Cordon(in.PrivateDNS, true)
	return err
}

func (s *Stage) taint(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a node and a key, have %q", w.names)
	}
	in, err := s.member(w.names[0])
	s.w.Cluster.Taint(in.PrivateDNS, fleet.Taint{Key: w.names[1], Value: "yes", Effect: fleet.PreferNoSchedule})
	s.w.Cluster.Label(in.PrivateDNS, w.names[1], "yes")
	return err
}

func (s *Stage) untaint(w *words) error {
	in, err := s.member(w.name())
	s.watch.reopened = true
	s.w.Cluster.Untaint(in.PrivateDNS, fleet.TaintKey)
	return err
}

func (s *Stage) exempt(w *words) error {
	in, err := s.member(w.name())
	if err != nil {
		return err
	}
	return s.w.Cluster.Act(context.Background(), fleet.Action{Verb: fleet.Keep, Node: in.PrivateDNS, Run: "somebody"})
}

func (s *Stage) expel(w *words) error {
	pods := s.w.Cluster.Pods(s.owner(w.name()))
	if len(pods) == 0 {
		return fmt.Errorf("%s has no pod", w.name())
	}
	s.watch.excused[w.name()] = true
	s.w.Cluster.DeletePod(pods[0].Ref)
	return nil
}

func (s *Stage) aside(w *words) error {
	in, err := s.member(w.name())
	if err != nil {
		return err
	}
	_, err = s.w.Cloud.EnterStandby(in.Group, []string{in.ID}, true)
	return err
}

func (s *Stage) suspend(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a group and a process, have %q", w.names)
	}
	return s.w.Cloud.SuspendProcesses(w.names[0], []string{w.names[1]})
}

func (s *Stage) pause(w *words) error {
	p := &fleet.Pause{By: "ops", Why: "lunch", At: s.w.Now()}
	if d := w.duration("for", 0); d > 0 {
		s.w.Clock.AfterFunc(d, func() { s.carry(&happening{words: "resume", do: func() error { return s.resume(w) }}) })
	}
	if slices.Contains(w.names, "all") {
		s.w.Cluster.StopAll(*p)
		return nil
	}
	return s.w.Cluster.Pause(s.run, p)
}

func (s *Stage) resume(w *words) error {
	if slices.Contains(w.names, "all") {
		s.w.Cluster.ResumeAll()
		return nil
	}
	return s.w.Cluster.Pause(s.run, nil)
}

func (s *Stage) loseRecord(*words) error { return s.w.Cluster.LoseRecord(s.run) }

func (s *Stage) feel(name string, healthy bool) error {
	for _, p := range s.probes {
		if p.name == name {
			p.healthy = healthy
			return nil
		}
	}
	return fmt.Errorf("there is no probe %s", name)
}

func (s *Stage) ignore(w *words) error {
	o := s.owner(w.name())
	now, ok := s.w.Cluster.Workload(o)
	if !ok {
		return fmt.Errorf("there is no workload %s", w.name())
	}
	return s.change(w.name(), func(spec *cluster.Spec) { spec.GitOps, spec.Replicas = nil, now.Replicas })
}

func (s *Stage) release(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a version and a release, have %q", w.names)
	}
	s.w.Cloud.PublishRelease(w.names[0], w.names[1])
	return nil
}
