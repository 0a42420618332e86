package env

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// Forecast is what a plan is expected to do, found by running it in an optimistic world.
type Forecast struct {
	Took   time.Duration
	Events []evac.Event // every action, with its moment
	Stuck  []fleet.Hold // why it would not finish, when it would not
}

// Times that nothing in the snapshot tells. A forecast is a guess; the order is not.
const (
	guessStop   = 5 * time.Minute // RDS: available to stopped
	guessStart  = 8 * time.Minute // and back
	guessBoot   = 2 * time.Minute // an instance launched to its node Ready
	guessEnd    = time.Minute     // an instance terminated to gone
	guessReady  = 30 * time.Second
	guessWrite  = time.Second
	guessLook   = 10 * time.Second // between two looks when nothing is coming
	previewMost = 100_000
)

// Preview folds Next over a copy of the snapshot in which everything goes well.
func Preview(p Plan, s fleet.Snapshot) Forecast { return imagine(p, s, previewMost).out }

// imagine runs a plan in an optimistic world, for at most so many actions.
func imagine(p Plan, s fleet.Snapshot, most int) *imagined {
	w := &imagined{s: s.Clone(), began: s.Now}
	w.s.Stopped = nil
	idle := 0
	for range previewMost {
		step := Next(p, w.s)
		for _, a := range step.Actions {
			if len(w.out.Events) == most {
				return w
			}
			w.out.Events = append(w.out.Events, evac.Event{After: w.s.Now.Sub(w.began), Action: a})
			w.act(a)
		}
		w.out.Took = w.s.Now.Sub(w.began)
		switch {
		case step.Done:
			return w
		case len(step.Actions) > 0:
			w.pass(guessWrite)
			idle = 0
			continue
		}
		if idle++; !w.next() && idle > 2 {
			w.out.Stuck = step.Holds
			return w
		}
	}
	return w
}

// imagined is the optimistic world: a snapshot, and what will happen to it.
type imagined struct {
	s      fleet.Snapshot
	began  time.Time
	later  []happening
	out    Forecast
	serial int
}

type happening struct {
	at time.Time
	do func()
}

func (w *imagined) after(d time.Duration, do func()) {
	w.later = append(w.later, happening{w.s.Now.Add(d), do})
	slices.SortStableFunc(w.later, func(a, b happening) int { return a.at.Compare(b.at) })
}

// next lets the next thing happen; false when nothing is coming.
func (w *imagined) next() bool {
	if len(w.later) == 0 {
		w.s.Now = w.s.Now.Add(guessLook)
		return false
	}
	w.pass(max(0, w.later[0].at.Sub(w.s.Now)))
	return true
}

func (w *imagined) pass(d time.Duration) {
	w.s.Now = w.s.Now.Add(d)
	for len(w.later) > 0 && !w.later[0].at.After(w.s.Now) {
		do := w.later[0].do
		w.later = w.later[1:]
		do()
	}
}

func (w *imagined) act(a fleet.Action) {
	Assume(&w.s, a)
	switch a.Verb {
	case fleet.TurnOff:
		w.empty(a.Part)
	case fleet.TurnOn:
		w.fill(a.Part)
	case fleet.Evict, fleet.Delete:
		w.after(guessReady, func() { w.move(a.Pod.UID, true) })
	case fleet.Unsurge:
		w.after(guessReady, func() { w.remove(func(p *fleet.Pod) bool { return p.Ref.UID == a.Pod.UID }) })
	case fleet.Surge:
		w.after(guessReady, func() { w.move(a.Pod.UID, false) })
	case fleet.Deregister:
		w.after(w.delay(a), func() { w.untarget(a) })
	case fleet.Terminate:
		w.after(guessEnd, func() { w.end(a.Instance) })
	case fleet.Resize:
		w.after(guessBoot, func() { w.launch(a.Group) })
	case fleet.StopDatabase:
		w.after(guessStop, func() { w.database(a.Database, fleet.DatabaseStopped) })
	case fleet.StartDatabase:
		w.after(guessStart, func() { w.database(a.Database, fleet.DatabaseAvailable) })
	}
}

// move has a pod come up elsewhere, in place of the old one or beside it.
func (w *imagined) move(uid string, instead bool) {
	i := slices.IndexFunc(w.s.Pods, func(p fleet.Pod) bool { return p.Ref.UID == uid })
	if i < 0 {
		return
	}
	p := w.s.Pods[i]
	if instead {
		w.remove(func(p *fleet.Pod) bool { return p.Ref.UID == uid })
	}
	if w := w.s.Workload(p.Owner); w == nil || instead && w.Surge != nil {
		return // nobody makes it anew, or it was made beforehand
	}
	for _, n := range w.s.Nodes {
		if n.Ready && !n.Cordoned && n.Mark() == nil && n.Name != p.Node {
			w.serial++
			p.Ref.UID, p.Ref.Name = fmt.Sprintf("%s-%d", uid, w.serial), fmt.Sprintf("%s-%d", p.Ref.Name, w.serial)
			p.Node, p.Ready, p.Terminating, p.Created, p.ReadySince = n.Name, true, false, w.s.Now, w.s.Now
			w.s.Pods = append(w.s.Pods, p)
			return
		}
	}
}

// remove has pods be gone, with their connections to databases and the volumes that only they kept on their nodes.
func (w *imagined) remove(gone func(*fleet.Pod) bool) {
	left, volumes := map[string]bool{}, map[string]bool{}
	w.s.Pods = slices.DeleteFunc(w.s.Pods, func(p fleet.Pod) bool {
		out := gone(&p)
		if out {
			left[p.IP] = true
		}
		if p.OwnDisk || len(p.VolumeZones) > 0 {
			volumes[p.Node] = volumes[p.Node] || !out
		}
		return out
	})
	for i := range w.s.Nodes {
		if n := &w.s.Nodes[i]; !volumes[n.Name] {
			n.Volumes = nil
		}
	}
	for i := range w.s.Databases {
		if a := w.s.Databases[i].Answer; a != nil {
			b := *a
			b.Sessions = slices.DeleteFunc(slices.Clone(a.Sessions), func(c fleet.Session) bool { return c.From != "" && left[c.From] })
			w.s.Databases[i].Answer = &b
		}
	}
}

// empty has the pods of a part stop, each in its own time.
func (w *imagined) empty(r *fleet.PartRecord) {
	if r.Turn != fleet.Scaled {
		return
	}
	longest := time.Duration(0)
	for i := range w.s.Pods {
		if p := &w.s.Pods[i]; p.Owner == r.Owner {
			p.Terminating = true
			longest = max(longest, min(p.Grace, max(p.PreStop+2*time.Second, 2*time.Second)))
		}
	}
	w.after(longest, func() {
		w.remove(func(p *fleet.Pod) bool { return p.Owner == r.Owner })
		if p := w.s.Part(r.Owner); p != nil {
			p.Ready, p.Pods = 0, 0
		}
	})
}

func (w *imagined) fill(r *fleet.PartRecord) {
	if r.Turn != fleet.Scaled {
		return
	}
	w.after(guessReady, func() {
		n, _ := strconv.Atoi(r.Value)
		if p := w.s.Part(r.Owner); p != nil {
			p.Ready, p.Pods = n, n
		}
		for i := range w.s.Services {
			if svc := &w.s.Services[i]; svc.Namespace == r.Namespace {
				svc.Endpoints = max(svc.Endpoints, 1)
			}
		}
	})
}

func (w *imagined) delay(a fleet.Action) time.Duration {
	if g := w.s.Group(a.Group); g != nil {
		for _, t := range g.Targets {
			if t.ARN == a.Target {
				return t.Delay
			}
		}
	}
	return 0
}

func (w *imagined) untarget(a fleet.Action) {
	if _, in := w.s.Instance(a.Instance); in != nil {
		in.Targets = slices.DeleteFunc(in.Targets, func(t fleet.Target) bool { return t.Group == a.Target })
	}
}

func (w *imagined) end(instance string) {
	for i := range w.s.Groups {
		g := &w.s.Groups[i]
		g.Instances = slices.DeleteFunc(g.Instances, func(in fleet.Instance) bool { return in.ID == instance })
	}
	for _, n := range w.s.Nodes {
		if n.Instance == instance {
			w.remove(func(p *fleet.Pod) bool { return p.Node == n.Name })
		}
	}
	w.s.Nodes = slices.DeleteFunc(w.s.Nodes, func(n fleet.Node) bool { return n.Instance == instance })
}

// launch brings the nodes of a group that are missing.
func (w *imagined) launch(group string) {
	g := w.s.Group(group)
	for g != nil && len(g.Instances) < g.Desired {
		w.serial++
		id := fmt.Sprintf("i-forecast%d", w.serial)
		g.Instances = append(g.Instances, fleet.Instance{ID: id, Lifecycle: fleet.InService, Launched: w.s.Now})
		w.s.Nodes = append(w.s.Nodes, fleet.Node{Name: id, Instance: id, Ready: true, Created: w.s.Now})
	}
}

func (w *imagined) database(id, status string) {
	db := w.s.Database(id)
	if db == nil {
		return
	}
	db.Status = status
	db.Answer = nil
	if status == fleet.DatabaseAvailable {
		db.Answer = &fleet.Answer{Works: true}
	}
}
