package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/store"
)

// keeping are the sentences about what stores hold.
var keeping = []sentence{
	{Name: "writes", Says: "No write that was acknowledged is lost while its shard had a second copy.", of: holdings, finally: lostWrites},
	{Name: "last-copy", Says: "No pod with a role is evicted while another could have it, and none with the only copy, unless its machine goes.", of: holdings, action: evictsRole},
	{Name: "one-away", Says: "While a pod of a store is away, no other of it is evicted, unless its machine goes.", of: holdings, action: secondAway},
	{Name: "engaged", Says: "Nothing is done to a store before the move is on file, except that roles are handed over in haste.", of: holdings, action: unengaged},
	{Name: "consent", Says: "Slots are never taken without their master's consent, unless a person says so.", of: holdings, saying: forced},
	{Name: "blind", Says: "A Sentinel forgets what it has heard only while all the others know the master, a replica and each other.", of: holdings, saying: blinded},
	{Name: "one-failover", Says: "A role is handed over once, and once more only to go home.", of: holdings, finally: tooOften},
	{Name: "tidy", Says: "When a move is over nothing is left of it: no temporary pod, no stale address, no ghost, no view that differs, no setting.", of: holdings, finally: leftover},
}

// lostWrites finds a store that has lost what it had acknowledged. Where the role is vacant nobody can tell yet.
func lostWrites(w *watch, _ *view, _ outcome) string {
	x := w.stage.stores
	for _, name := range slices.Sorted(maps.Keys(x.layout)) {
		if w.orphans[name] || !x.manned(name) {
			continue
		}
		if r := x.world.Report(name); r.Lost > 0 {
			return fmt.Sprintf("store %s has lost %d of %d acknowledged writes", name, r.Lost, r.Acked)
		}
	}
	return ""
}

// manned tells whether every role of a store is taken.
func (x *stores) manned(name string) bool {
	masters := x.world.Masters(name)
	if x.layout[name].mover == fleet.SentinelMover {
		return len(masters) == 1
	}
	slots := 0
	for _, l := range x.looks(name) {
		if slices.Contains(masters, l.Addr) {
			slots += l.Slots
		}
	}
	return slots == 16384
}

// looks are the processes of a store.
func (x *stores) looks(name string) []store.Look {
	return slices.DeleteFunc(x.world.Look(), func(l store.Look) bool { return l.Store != name })
}

// switched counts how often roles changed hands, over all stores.
func (x *stores) switched() int {
	n := 0
	for name := range x.layout {
		n += x.world.Failovers(name)
	}
	return n
}

// copies counts those who replicate a process, in sync.
func (x *stores) copies(name, addr string) int {
	n := 0
	for _, l := range x.looks(name) {
		if l.Kind == store.Data && l.Linked && x.world.Resolve(l.Master) == addr {
			n++
		}
	}
	return n
}

// part is the store that a pod is of; nil for none.
func (v *view) part(pod fleet.PodRef) *fleet.Store {
	for i := range v.s.Stores {
		if st := &v.s.Stores[i]; st.Has(pod.UID) {
			return st
		}
	}
	return nil
}

// pressed tells whether the machine under the action's pod goes soon, whatever anybody does.
func (d *deed) pressed() bool {
	n := d.before.s.Node(d.a.Node)
	if d.duty == nil || n == nil {
		return d.a.Verb == fleet.Delete
	}
	end := d.duty.deadline(d.before, n.Instance)
	return d.a.Verb == fleet.Delete || !end.IsZero() && end.Sub(d.before.at) < 3*time.Minute
}

// evictsRole finds an eviction of a pod that leads, though another has all that it has, or though nobody has.
func evictsRole(d *deed) string {
	st := d.before.part(d.a.Pod)
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Delete || st == nil || !d.ok() || d.pressed() {
		return ""
	}
	x := d.stage.stores
	addr := x.at[d.a.Pod.UID]
	if addr == "" || !slices.Contains(x.world.Masters(st.Name), addr) {
		return ""
	}
	return fmt.Sprintf("%s, which has the role in store %s; %d others have its data", d.a, st.Name, x.copies(st.Name, addr))
}

// secondAway finds an eviction of a pod of a store while another one of it is away.
func secondAway(d *deed) string {
	st := d.before.part(d.a.Pod)
	if d.a.Verb != fleet.Evict && d.a.Verb != fleet.Delete || st == nil || !d.ok() || d.pressed() || d.late(d.struck[st.Name]) {
		return ""
	}
	ready := 0
	for _, m := range st.Members {
		switch {
		case m.Temp || m.Pod.UID == d.a.Pod.UID:
		case m.Leaving || d.stage.stores.at[m.Pod.UID] == "" && d.stage.stores.layout[st.Name] != nil:
			return fmt.Sprintf("%s, and pod %s of store %s is away", d.a, m.Pod.Name, st.Name)
		default:
			ready++
		}
	}
	for _, s := range st.Sentinels {
		switch {
		case s.Pod.UID == d.a.Pod.UID:
		case !s.Ready || s.Leaving:
			return fmt.Sprintf("%s, and pod %s of store %s is away", d.a, s.Pod.Name, st.Name)
		default:
			ready++
		}
	}
	if ready < st.Spec.Replicas+st.Spec.Watchers-1 {
		return fmt.Sprintf("%s, and %d of %d other pods of store %s are there", d.a, ready, st.Spec.Replicas+st.Spec.Watchers-1, st.Name)
	}
	return ""
}

// unengaged finds something that is done to a store of which no move is on file.
func unengaged(d *deed) string {
	a := d.a
	if !a.Verb.Store() && a.Verb != fleet.Lend && a.Verb != fleet.Call || !d.ok() || a.Verb == fleet.Failover && d.duty != nil {
		return ""
	}
	if st := d.before.s.Store(a.Store); st != nil && st.Move != nil && st.Move.Run == a.Run {
		return ""
	}
	return fmt.Sprintf("%s, and no move of run %s is on file", a, a.Run)
}

// forced finds a command that takes slots from a master that was not asked.
func forced(w *watch, said []string, _ string) string {
	words := strings.ToUpper(strings.Join(said, " "))
	if strings.HasPrefix(words, "CLUSTER FAILOVER ") {
		return "drover said " + words
	}
	return ""
}

// blinded finds a Sentinel that is made to forget while another one could not take its place.
func blinded(w *watch, said []string, pod string) string {
	if !strings.EqualFold(strings.Join(said[:min(2, len(said))], " "), "SENTINEL RESET") {
		return ""
	}
	x := w.stage.stores
	names := x.pods()
	at := map[string]store.Look{}
	var me store.Look
	for _, l := range x.world.Look() {
		if at[l.Addr] = l; names[l.Addr] == pod {
			me = l
		}
	}
	data := 0
	for _, l := range x.looks(me.Store) {
		data += on(l.Kind == store.Data)
	}
	for _, l := range x.looks(me.Store) {
		if l.Kind != store.Sentinel || l.Addr == me.Addr {
			continue
		}
		m, up := at[x.world.Resolve(l.Names)]
		live := slices.ContainsFunc(l.Replicas, func(r string) bool { _, runs := at[x.world.Resolve(r)]; return runs })
		switch {
		case l.Frozen:
			return fmt.Sprintf("Sentinel %s is to forget, and %s does not answer", pod, names[l.Addr])
		case !up || m.Master != "":
			return fmt.Sprintf("Sentinel %s is to forget, and the master that %s names (%s) is none", pod, names[l.Addr], l.Names)
		case data > 1 && !live:
			return fmt.Sprintf("Sentinel %s is to forget, and %s knows no replica", pod, names[l.Addr])
		case len(l.Peers) == 0:
			return fmt.Sprintf("Sentinel %s is to forget, and %s knows no other", pod, names[l.Addr])
		}
	}
	return ""
}

// tooOften finds a role that changed hands more often than a move needs. What the story did to a store's processes may cost it one more each time.
func tooOften(w *watch, v *view, _ outcome) string {
	for _, name := range slices.Sorted(maps.Keys(w.stage.stores.layout)) {
		for shard, n := range w.stage.stores.world.Report(name).Failovers {
			changed := n - w.failovers[name][shard]
			if most := 1 + 2*w.strikes[name] + on(w.stage.stores.layout[name].pinned || w.lent[name]); changed > most {
				return fmt.Sprintf("the role in store %s %s changed hands %d times, and should %d times at most", name, shard, changed, most)
			}
		}
	}
	return ""
}

// leftover finds what a move that is over has left of itself.
func leftover(w *watch, v *view, o outcome) string {
	if o.kind != over {
		return ""
	}
	for i := range v.s.Stores {
		st := &v.s.Stores[i]
		done, moved := w.disengaged[st.Name]
		if st.Move != nil {
			return fmt.Sprintf("store %s: the move of pod %s is still on file", st.Name, st.Move.Pod)
		}
		if !moved || w.stage.stores.layout[st.Name] == nil || w.struck[st.Name].After(done) {
			continue
		}
		for _, m := range st.Members {
			if m.Temp && !m.Leaving {
				return fmt.Sprintf("store %s still has temporary pod %s", st.Name, m.Pod)
			}
		}
		if why := w.stage.stores.untidy(st.Name); why != "" {
			return fmt.Sprintf("store %s: %s", st.Name, why)
		}
	}
	mine := func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, "store ") })
	}
	if gone, came := diff(mine(w.settings), mine(v.settings)); len(gone)+len(came) > 0 {
		return fmt.Sprintf("before: %q; after: %q", gone, came)
	}
	return ""
}

// untidy finds an address that nobody has, or two processes of a store that do not agree.
func (x *stores) untidy(name string) string {
	looks, names := x.looks(name), x.pods()
	at := func(addr string, kind store.Kind) *store.Look {
		i := slices.IndexFunc(looks, func(l store.Look) bool { return l.Addr == x.world.Resolve(addr) && l.Kind == kind })
		if i < 0 {
			return nil
		}
		return &looks[i]
	}
	var nodes []string
	slots := 0
	for _, l := range looks {
		for _, r := range l.Replicas {
			if at(r, store.Data) == nil {
				return fmt.Sprintf("Sentinel %s lists replica %s, where nobody is", names[l.Addr], r)
			}
		}
		for id, addr := range l.Peers {
			if p := at(addr, store.Sentinel); p == nil || p.ID != id {
				return fmt.Sprintf("Sentinel %s lists Sentinel %s, where nobody of that id is", names[l.Addr], addr)
			}
		}
		if l.Kind == store.Sentinel && at(l.Names, store.Data) == nil {
			return fmt.Sprintf("Sentinel %s names %s as the master, where nobody is", names[l.Addr], l.Names)
		}
		if l.Nodes == nil {
			continue
		}
		slots += l.Slots
		if nodes == nil {
			nodes = l.Nodes
		}
		if gone, came := diff(nodes, l.Nodes); len(gone)+len(came) > 0 {
			return fmt.Sprintf("%s sees %q where another sees %q", names[l.Addr], came, gone)
		}
	}
	switch {
	case nodes != nil && slots != 16384:
		return fmt.Sprintf("%d slots are owned", slots)
	case nodes != nil && len(nodes) != len(looks):
		return fmt.Sprintf("%d nodes are known, %d run", len(nodes), len(looks))
	}
	return ""
}

// says hears a command to a store before it is carried out.
func (w *watch) says(said []string, pod string) {
	name := strings.ToUpper(said[0])
	if len(said) > 1 && name != "REPLICAOF" {
		name += " " + strings.ToUpper(said[1])
	}
	w.said[name]++
	w.check(func(s sentence) string {
		if s.saying == nil {
			return ""
		}
		return s.saying(w, said, pod)
	})
}

// ends hears that a process of a store is about to end. The cluster is locked. One that is killed without a copy takes what it has with it.
func (w *watch) ends(addr string, graceful bool) {
	if graceful {
		return
	}
	x := w.stage.stores
	for _, l := range x.world.Look() {
		if l.Addr != addr {
			continue
		}
		w.hit(l.Store)
		if l.Kind == store.Data && slices.Contains(x.world.Masters(l.Store), addr) && x.copies(l.Store, addr) == 0 {
			w.orphans[l.Store] = true
		}
	}
}

// hit notes that the story did something to a process of a store.
func (w *watch) hit(name string) {
	w.struck[name] = w.stage.w.Now()
	w.strikes[name]++
}

// enroll notes how a run finds the stores.
func (w *watch) enroll() {
	w.failovers, w.strikes, w.lent = map[string]map[string]int{}, map[string]int{}, map[string]bool{}
	w.switches = w.stage.stores.switched()
	for name := range w.stage.stores.layout {
		w.failovers[name] = w.stage.stores.world.Report(name).Failovers
	}
}
