package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

// watch is the witness of one telling: it knows the world as it is, what drover was allowed, and what the story did itself. It holds the safety
// list against every action.
type watch struct {
	stage    *Stage
	view     *view // of this moment; nil when something has happened since
	p        evac.Plan
	began    *view // when the run began
	settings []string
	exits    map[string]fleet.Departure // by instance
	old      map[string]bool            // their nodes
	floor    map[string]int             // working nodes that a group must keep
	had      map[string]int             // working nodes when time passed last
	fell     time.Time                  // when a group lost one that drover did not close
	counts   map[fleet.Verb]int         // effects of the run
	unsurged int
	moved    map[string]int // by identity, in this direction of the run
	mine     map[string]bool
	cut      map[string]time.Time // when drover began to take a node out of its load balancers
	done     map[string]bool      // keys of effects that can be had once
	last     map[string]string
	checked  int

	// What the story did itself.
	blamed   map[string]bool // instances and nodes that it ended
	resized  map[string]bool // groups whose desired capacity it changed
	excused  map[string]bool // workloads whose pods it deleted
	uneven   bool
	reopened bool

	said       map[string]int            // commands to stores, by their first words
	struck     map[string]time.Time      // stores, when the story last did something to a process of theirs
	strikes    map[string]int            // and how often since the run began
	orphans    map[string]bool           // stores of which the story took the last copy of something
	lent       map[string]bool           // stores that got a temporary pod in this run
	disengaged map[string]time.Time      // stores, when a move of theirs was last over
	failovers  map[string]map[string]int // by store and shard, when the run began
	switches   int                       // all of them
	doomed     map[string]*doom          // instances that AWS takes, or may take, by the story's word
	poison     []string                  // bodies that nobody can understand
	outages    time.Duration             // for how long nobody answered
	duty       *duty                     // what a controller is there for; nil while none was

	complaints []string
}

func newWatch(s *Stage) *watch {
	return &watch{
		stage: s, mine: map[string]bool{}, cut: map[string]time.Time{}, blamed: map[string]bool{}, resized: map[string]bool{}, excused: map[string]bool{}, done: map[string]bool{},
		counts: map[fleet.Verb]int{}, moved: map[string]int{}, floor: map[string]int{}, had: map[string]int{}, doomed: map[string]*doom{}, last: map[string]string{},
		said: map[string]int{}, struck: map[string]time.Time{}, strikes: map[string]int{}, orphans: map[string]bool{}, lent: map[string]bool{}, disengaged: map[string]time.Time{},
	}
}

// view is the world at one moment.
type view struct {
	at       time.Time
	s        fleet.Snapshot
	settings []string
	ledger   cluster.Ledger
	cases    []fleet.Case // on file, those that are over included
	waits    []cloud.Wait // instances that hooks hold
	archived map[string][]fleet.SleepRecord
}

func (w *watch) forget() { w.view = nil }

// now looks at the world. Nothing of it is old, and nothing of it fails.
func (w *watch) now() *view {
	if w.view != nil {
		return w.view
	}
	world := w.stage.w
	v := &view{at: world.Now(), s: fleet.Snapshot{Now: world.Now()}}
	groups, err := w.stage.truth.Groups(context.Background(), nil)
	if err == nil {
		err = world.Cluster.Observe(context.Background(), &v.s)
	}
	if err != nil {
		w.complain("story", err.Error())
	}
	w.stage.beds.look(v)
	v.s.Groups, v.cases, v.waits = groups, world.Cluster.Cases(), world.Cloud.LifecycleWaits()
	w.stage.names.learn(&v.s)
	w.view = v
	return v
}

// whole looks at the world with all its settings and all that its witness saw: what two looks are compared by.
func (w *watch) whole() *view {
	v := w.now()
	if v.settings == nil {
		v.settings = append(strings.Split(strings.TrimSpace(w.stage.w.Settings()), "\n"), w.stage.stores.settings()...)
		v.ledger = w.stage.w.Cluster.Ledger()
	}
	return v
}

// plan says what drover may do from now.
func (w *watch) plan(p evac.Plan) {
	again := p.Run == w.p.Run && p.Back() == w.p.Back()
	same := p.Run == w.p.Run
	w.p = p
	if again {
		return
	}
	w.moved = map[string]int{}
	if same {
		return
	}
	v := w.whole()
	for i := range v.s.Groups {
		w.floor[v.s.Groups[i].Name] = working(&v.s, &v.s.Groups[i])
	}
	if w.duty == nil {
		w.began, w.settings, w.counts, w.unsurged = v, slices.Clone(v.settings), map[fleet.Verb]int{}, 0
		w.enroll()
	}
	w.exits, w.old = map[string]fleet.Departure{}, map[string]bool{}
	w.uneven = w.uneven || lopsided(&v.s)
	departures := p.Record.Exits
	for _, e := range p.Exits {
		departures = append(slices.Clip(departures), e.Departure)
	}
	for _, d := range departures {
		w.exits[d.Instance] = d
		if d.Node != "" {
			w.old[d.Node] = true
		}
	}
}

// record is the latest run's record as the cluster has it; nil when it has none.
func (w *watch) record() *fleet.RotationRecord { return w.recordOf(w.p.Run) }

func (w *watch) recordOf(run string) *fleet.RotationRecord {
	for _, r := range w.stage.w.Cluster.Records() {
		if r.Run == run {
			return &r
		}
	}
	return nil
}

func (w *watch) did(v fleet.Verb) int { return w.counts[v] }

// blame says that the story ends an instance or a node itself.
func (w *watch) blame(names ...string) {
	for _, n := range names {
		w.blamed[n] = true
	}
}

// story takes over what an event of the story has changed: drover need not put that back.
func (w *watch) story(before *view) {
	w.forget()
	v := w.whole()
	w.stage.beds.happened(before, v)
	gone, came := diff(before.settings, v.settings)
	for _, line := range gone {
		if f := strings.Fields(line); f[0] == "store" && !mentions(came, strings.Join(f[:4], " ")) {
			continue // a process that ends comes back as it was
		}
		if i := slices.Index(w.settings, line); i >= 0 {
			w.settings = slices.Delete(w.settings, i, i+1)
		}
	}
	w.settings = append(w.settings, came...)
	w.lower(v)
}

// lower takes back what is expected of a group that lost nodes, though not by drover's hand.
func (w *watch) lower(v *view) {
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		n := working(&v.s, g)
		if n < w.had[g.Name] {
			w.fell = v.at
		}
		w.had[g.Name], w.floor[g.Name] = n, min(w.floor[g.Name], n)
	}
}

// time holds the list against a world in which time has passed.
func (w *watch) time() {
	v := w.now()
	w.check(func(s sentence) string {
		if s.passing == nil || s.of == notices && w.duty == nil || s.of == sleeps && w.stage.beds == nil {
			return ""
		}
		return s.passing(w, v)
	})
	w.lower(v)
	w.remember(v)
	w.duty.look(v)
}

// remember keeps every instance's state.
func (w *watch) remember(v *view) {
	now := map[string]string{}
	for i := range v.s.Groups {
		for _, in := range v.s.Groups[i].Instances {
			now[in.ID] = in.Lifecycle
		}
	}
	w.last = now
}

// deed is an action between two looks at the world.
type deed struct {
	*watch
	a             fleet.Action
	before, after *view
	err           error
	compared      bool
	gone, came    []string // settings
}

// changes are the settings that the action changed. One on a store takes its time, in which others change what it has no hand on.
func (d *deed) changes() (gone, came []string) {
	if !d.compared {
		d.compared = true
		d.gone, d.came = diff(d.before.settings, d.after.settings)
		if d.a.Verb.Store() {
			others := func(line string) bool { return !strings.HasPrefix(line, "store ") }
			d.gone, d.came = slices.DeleteFunc(d.gone, others), slices.DeleteFunc(d.came, others)
		}
	}
	return d.gone, d.came
}

// effect tells whether the action changed anything.
func (d *deed) effect() bool {
	gone, came := d.changes()
	return len(gone)+len(came) > 0 || len(d.after.ledger.Evictions) > len(d.before.ledger.Evictions)
}

// acted holds the list against an action.
func (w *watch) acted(a fleet.Action, before *view, err error) {
	switch {
	case a.Verb == fleet.Record:
		w.adopt(a.Rotation)
	case a.Run != fleet.NoticeRun:
		w.adopt(w.recordOf(a.Run))
	}
	d := &deed{watch: w, a: a, before: before, after: w.whole(), err: err}
	w.stage.diary.act(d)
	w.duty.did(d)
	if err == nil && (a.Verb == fleet.Terminate || a.Verb == fleet.Replace || a.Verb == fleet.DeleteGroup) {
		w.owe(a, before)
	}
	w.judge(d)
	w.stage.beds.saw(d)
	if err != nil {
		return
	}
	w.counts[a.Verb]++
	switch a.Verb {
	case fleet.Lend:
		w.lent[a.Store] = true
	case fleet.Disengage:
		w.disengaged[a.Store] = d.after.at
	}
	if a.Verb == fleet.Unsurge && a.Expect.Ready && d.effect() {
		w.unsurged++
		w.moved["surge of "+a.Workload.String()+" "+a.Pod.UID]++
	}
	if _, was := w.cut[a.Node]; a.Verb == fleet.Exclude && !was {
		w.cut[a.Node] = d.after.at
	}
	if a.Verb == fleet.Evict && a.Run == w.p.Run && len(d.after.ledger.Evictions) > len(before.ledger.Evictions) {
		w.moved[d.after.ledger.Evictions[len(d.after.ledger.Evictions)-1].Identity]++
	}
	for i := range d.after.s.Groups {
		w.had[d.after.s.Groups[i].Name] = working(&d.after.s, &d.after.s.Groups[i])
	}
	w.remember(d.after)
}

// owe notes the machines that drover closes.
func (w *watch) owe(a fleet.Action, before *view) {
	if a.Verb != fleet.DeleteGroup {
		w.mine[a.Instance] = true
		return
	}
	if g := before.s.Group(a.Group); g != nil {
		for _, in := range g.Instances {
			w.mine[in.ID] = true
		}
	}
}

func (w *watch) judge(d *deed) {
	w.check(func(s sentence) string {
		if s.action == nil || !s.of.covers(d.a) {
			return ""
		}
		return s.action(d)
	})
}

// again holds the list against an action that was carried out a second time.
func (w *watch) again(a fleet.Action, before *view, err error) {
	d := &deed{watch: w, a: a, before: before, after: w.whole(), err: err}
	var refused *fleet.Refused
	if err != nil && !errors.As(err, &refused) {
		w.complain("already-so", fmt.Sprintf("%s, asked for a second time: %v", a, err))
	}
	if d.effect() {
		gone, came := d.changes()
		w.complain("already-so", fmt.Sprintf("%s, carried out a second time, changed %v to %v", a, gone, came))
	}
}

// end holds the list against a world in which a command has ended.
func (w *watch) end(o outcome) {
	v := w.whole()
	if w.began == nil {
		return
	}
	w.check(func(s sentence) string {
		if s.finally == nil || s.of == notices && w.duty == nil || s.of == sleeps {
			return ""
		}
		return s.finally(w, v, o)
	})
}

func (w *watch) check(f func(sentence) string) {
	for _, s := range Safety {
		w.checked++
		if why := f(s); why != "" {
			w.complain(s.Name, why)
		}
	}
}

func (w *watch) complain(name, why string) {
	w.complaints = append(w.complaints, fmt.Sprintf("%s: %s", name, w.stage.names.in(why)))
}

// broken returns what was not as it should be.
func (w *watch) broken() error {
	if len(w.complaints) == 0 {
		return nil
	}
	return fmt.Errorf("not safe: %s", strings.Join(w.complaints, "\n  "))
}

// diff returns the lines that are gone and those that came.
func diff(before, after []string) (gone, came []string) {
	if slices.Equal(before, after) {
		return nil, nil
	}
	count := map[string]int{}
	for _, line := range before {
		count[line]++
	}
	for _, line := range after {
		count[line]--
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		for n := count[line]; n > 0; n-- {
			gone = append(gone, line)
		}
		for n := count[line]; n < 0; n++ {
			came = append(came, line)
		}
	}
	return gone, came
}

// works tells whether an instance is a Ready node in service.
func works(s *fleet.Snapshot, in *fleet.Instance) bool {
	n := s.NodeOf(in.ID)
	return in.Lifecycle == fleet.InService && n != nil && n.Ready
}

// working counts a group's Ready nodes in service.
func working(s *fleet.Snapshot, g *fleet.Group) int {
	n := 0
	for i := range g.Instances {
		if works(s, &g.Instances[i]) {
			n++
		}
	}
	return n
}

// lopsided tells whether AZRebalance would find something to do in a group.
func lopsided(s *fleet.Snapshot) bool {
	for _, g := range s.Groups {
		count := map[string]int{}
		for _, z := range g.Zones {
			count[z] = 0
		}
		for _, in := range g.Instances {
			if in.Counted() {
				count[in.Zone]++
			}
		}
		n := slices.Sorted(maps.Values(count))
		if len(n) > 0 && n[len(n)-1]-n[0] > 1 {
			return true
		}
	}
	return false
}
