package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// The documents of stores that -o json and -o yaml print. Their fields are part of the interface.
type storeDocument struct {
	Name      string             `json:"name"`
	Mover     string             `json:"mover"`
	Source    string             `json:"source"` // who says so
	Confirmed bool               `json:"confirmed"`
	Replicas  int                `json:"replicas,omitempty"` // data pods that its workloads want
	Watchers  int                `json:"watchers,omitempty"` // Sentinels that their workload wants
	Members   []memberDocument   `json:"members"`
	Sentinels []sentinelDocument `json:"sentinels,omitempty"`
	Move      *storeMoveDocument `json:"move,omitempty"`
	Trouble   []string           `json:"trouble,omitempty"` // of the store, then of its members and Sentinels
}

type memberDocument struct {
	Pod       string `json:"pod"`
	Node      string `json:"node,omitempty"`
	Zone      string `json:"zone,omitempty"`
	Role      string `json:"role,omitempty"`
	Slots     int    `json:"slots,omitempty"`
	Master    string `json:"master,omitempty"` // pod that it replicates; an address where no pod has it
	Link      string `json:"link,omitempty"`   // to the master: up, syncing, down
	Offset    int64  `json:"offset,omitempty"`
	Behind    *int64 `json:"behind,omitempty"` // its master, in bytes of the replication stream
	Keys      int64  `json:"keys,omitempty"`
	Fence     string `json:"fence,omitempty"` // what its writes need
	Ready     bool   `json:"ready"`
	Leaving   bool   `json:"leaving,omitempty"`
	Temporary bool   `json:"temporary,omitempty"`
}

type sentinelDocument struct {
	Pod   string `json:"pod"`
	Node  string `json:"node,omitempty"`
	Zone  string `json:"zone,omitempty"`
	Names string `json:"names,omitempty"` // pod that it takes for the master; an address where no pod has it
	State string `json:"state"`
	Ready bool   `json:"ready"`
}

// storeMoveDocument is a move in progress.
type storeMoveDocument struct {
	Store     string `json:"store"`
	Mover     string `json:"mover"`
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	Run       string `json:"run"`
	Why       string `json:"why"`
	Since     string `json:"since"`
	Lasts     string `json:"lasts"`
	Temporary string `json:"temporary,omitempty"`
	Step      string `json:"step"`           // what comes next, or what is awaited
	GoOn      string `json:"goOn,omitempty"` // the command that goes on with it, when nobody does
}

func storeOf(s *fleet.Snapshot, st *fleet.Store) storeDocument {
	d := storeDocument{
		Name: st.Name, Mover: string(st.Mover), Source: st.Source, Confirmed: st.Confirmed, Replicas: st.Spec.Replicas, Watchers: st.Spec.Watchers, Members: []memberDocument{},
	}
	for i := range st.Members {
		d.Members = append(d.Members, memberOf(s, st, &st.Members[i]))
	}
	for i := range st.Sentinels {
		d.Sentinels = append(d.Sentinels, watcherOf(s, st, &st.Sentinels[i]))
	}
	if st.Move != nil {
		m := moveOf(s, st)
		d.Move = &m
	}
	d.Trouble = troubles(st)
	return d
}

// troubles are the sentences about a store that a person has to read, in full.
func troubles(st *fleet.Store) []string {
	var out []string
	say := func(subject, why string) {
		if why != "" {
			out = append(out, subject+why)
		}
	}
	say("", st.Trouble)
	for i := range st.Members {
		m := &st.Members[i]
		say("", m.Trouble) // names the pod itself
		say("pod "+m.Pod.Name+": ", m.SaveErr)
	}
	for i := range st.Sentinels {
		w := &st.Sentinels[i]
		say("", w.Trouble)
		say("Sentinel "+w.Pod.Name+": ", w.NoQuorum)
	}
	return out
}

func memberOf(s *fleet.Snapshot, st *fleet.Store, m *fleet.Member) memberDocument {
	d := memberDocument{
		Pod: m.Pod.Name, Node: m.Node, Zone: zoneOf(s, m.Node), Role: roleOf(s, st, m), Slots: slotsOf(m), Offset: m.Offset, Keys: m.Keys,
		Ready: m.Ready, Leaving: m.Leaving, Temporary: m.Temp,
	}
	if m.Fence.Replicas > 0 {
		d.Fence = fmt.Sprintf("%s within %d s", counted(m.Fence.Replicas, "replica", "replicas"), m.Fence.Lag)
	}
	if m.Role != fleet.RoleReplica {
		return d
	}
	d.Master, d.Link = podAt(st, m.Master), linkOf(m)
	if master := masterOf(st, m); master != nil && master.Trouble == "" {
		behind := max(master.Offset-m.Offset, 0)
		d.Behind = &behind
	}
	return d
}

func zoneOf(s *fleet.Snapshot, node string) string {
	if n := s.Node(node); n != nil {
		return n.Zone
	}
	return ""
}

// roleOf is what a member is, in one word. Of stores that are not asked the label of the leader tells.
func roleOf(s *fleet.Snapshot, st *fleet.Store, m *fleet.Member) string {
	if st.Mover != fleet.LeaderMover {
		return string(m.Role)
	}
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Ref.UID == m.Pod.UID && slices.Contains(st.Spec.Leader.Values, p.Labels[st.Spec.Leader.Key]) {
			return "leader"
		}
	}
	return ""
}

func slotsOf(m *fleet.Member) int {
	if i := slices.IndexFunc(m.View, func(p fleet.Peer) bool { return p.Self }); i >= 0 {
		return m.View[i].Slots
	}
	return 0
}

func linkOf(m *fleet.Member) string {
	switch {
	case m.Syncing:
		return "syncing"
	case m.Link:
		return "up"
	}
	return "down"
}

// masterOf is the member that another one replicates: by the address that it says, else by its own entry in the cluster; nil when none is that.
func masterOf(st *fleet.Store, m *fleet.Member) *fleet.Member {
	if at := st.At(m.Master); at != nil {
		return at
	}
	i := slices.IndexFunc(m.View, func(p fleet.Peer) bool { return p.Self })
	if i < 0 || m.View[i].Of == "" {
		return nil
	}
	for j := range st.Members {
		if st.Members[j].ID == m.View[i].Of {
			return &st.Members[j]
		}
	}
	return nil
}

// podAt is the pod that is known at an address, or the address itself.
func podAt(st *fleet.Store, address string) string {
	if m := st.At(address); m != nil {
		return m.Pod.Name
	}
	return address
}

func watcherOf(s *fleet.Snapshot, st *fleet.Store, w *fleet.Sentinel) sentinelDocument {
	d := sentinelDocument{Pod: w.Pod.Name, Node: w.Node, Zone: zoneOf(s, w.Node), Names: podAt(st, w.Master), State: "well", Ready: w.Ready}
	switch {
	case w.Trouble != "":
		d.State = "does not answer"
	case w.Leaving:
		d.State = "shuts down"
	case w.Failover:
		d.State = "sees a failover in progress"
	case w.Down:
		d.State = "takes the master for down"
	case w.NoQuorum != "":
		d.State = "has no quorum"
	}
	return d
}

// moveOf is the move that a store is in the middle of.
func moveOf(s *fleet.Snapshot, st *fleet.Store) storeMoveDocument {
	m := st.Move
	d := storeMoveDocument{
		Store: st.Name, Mover: string(st.Mover), Pod: m.Pod.String(), Node: m.Node, Run: m.Run, Why: m.Why,
		Since: moment(m.Since), Lasts: lasting(max(s.Now.Sub(m.Since), 0).Round(time.Second)), Step: stepNow(s, st),
	}
	if i := slices.IndexFunc(st.Members, func(x fleet.Member) bool { return x.Temp }); i >= 0 {
		d.Temporary = st.Members[i].Pod.Name
	}
	if m.Idle {
		d.GoOn = goesOn(s, m)
	}
	return d
}

// stepNow is what comes next in the move that a store is in the middle of, or what it waits for, as the run would decide now that made it.
func stepNow(s *fleet.Snapshot, st *fleet.Store) string {
	m := st.Move
	step := evac.Next(evac.Plan{Run: m.Run, Pods: []fleet.PodRef{m.Pod}}, *s)
	for _, a := range step.Actions {
		if a.Store == st.Name || a.Pod == m.Pod {
			return a.String()
		}
	}
	for _, h := range step.Holds {
		if h.Subject == "store "+st.Name {
			return strings.TrimPrefix(h.Reason, "moves pod "+m.Pod.Name+": ")
		}
	}
	for _, h := range step.Holds {
		pod, about := strings.CutPrefix(h.Subject, "pod ")
		if pod == m.Pod.String() || !about && !strings.HasPrefix(h.Subject, "store ") { // its lane, or a stop of everything; not another store
			return h.String()
		}
	}
	return "nothing can be seen to be missing"
}

// goesOn is the command that goes on with a move that nobody carries on.
func goesOn(s *fleet.Snapshot, m *fleet.StoreMove) string {
	r := s.Rotation(m.Run)
	switch {
	case m.Run == fleet.NoticeRun:
		return "drover controller"
	case r != nil && r.Intent == fleet.Back:
		return "drover abort " + r.Groups[0].Name
	case r != nil:
		return "drover rotate " + strings.Join(namesOf(r), " ")
	}
	if n := s.Node(m.Node); n != nil && n.Mark() != nil && n.Mark().Value == m.Run {
		return "drover drain " + n.Name
	}
	return "drover move " + m.Pod.String()
}

// movesOf are all moves in progress, by store.
func movesOf(s *fleet.Snapshot) []storeMoveDocument {
	var out []storeMoveDocument
	for i := range s.Stores {
		if st := &s.Stores[i]; st.Move != nil {
			out = append(out, moveOf(s, st))
		}
	}
	return out
}

// print shows a store for people.
func (d *storeDocument) print(w io.Writer) {
	fmt.Fprintf(w, "Store %s, mover %s (%s)\n", d.Name, cmp.Or(d.Mover, "unknown"), orDash(d.Source))
	if !d.Confirmed {
		fmt.Fprintf(w, "Nobody has confirmed it: nothing is done by it. Annotate its workloads with drover.dev/mover: %s\n", d.Mover)
	}
	d.memberTable(w)
	d.sentinelTable(w)
	if m := d.Move; m != nil {
		m.print(w)
	}
	for _, t := range d.Trouble {
		fmt.Fprintln(w, "Trouble:", t)
	}
}

func (d *storeDocument) memberTable(w io.Writer) {
	if len(d.Members) == 0 {
		fmt.Fprintln(w, "None of its pods with data is there.")
		return
	}
	var rows [][]string
	for i := range d.Members {
		m := &d.Members[i]
		role, behind, offset := orDash(m.Role), "-", "-"
		if m.Slots > 0 {
			role += fmt.Sprintf(" (%s)", counted(m.Slots, "slot", "slots"))
		}
		if m.Behind != nil {
			behind = fmt.Sprint(*m.Behind)
		}
		if m.Role != "" {
			offset = fmt.Sprint(m.Offset)
		}
		rows = append(rows, []string{m.Pod, orDash(m.Node), orDash(m.Zone), role, orDash(m.Master), orDash(m.Link), offset, behind, orDash(strings.Join(m.remarks(), ", "))})
	}
	columns(w, "MEMBER NODE ZONE ROLE OF LINK OFFSET BEHIND REMARKS", rows)
	if n := len(d.Members); n < d.Replicas {
		fmt.Fprintf(w, "%d of %d pods with data are there.\n", n, d.Replicas)
	}
}

func (m *memberDocument) remarks() []string {
	var out []string
	if m.Temporary {
		out = append(out, "temporary")
	}
	switch {
	case m.Leaving:
		out = append(out, "shuts down")
	case !m.Ready:
		out = append(out, "not ready")
	}
	if m.Fence != "" {
		out = append(out, "writes need "+m.Fence)
	}
	return out
}

func (d *storeDocument) sentinelTable(w io.Writer) {
	var rows [][]string
	for _, x := range d.Sentinels {
		state := x.State
		if !x.Ready && state == "well" {
			state = "not ready"
		}
		rows = append(rows, []string{x.Pod, orDash(x.Node), orDash(x.Zone), orDash(x.Names), state})
	}
	if len(rows) > 0 {
		columns(w, "SENTINEL NODE ZONE NAMES STATE", rows)
	}
	if n := len(d.Sentinels); n < d.Watchers {
		fmt.Fprintf(w, "%d of %d Sentinels are there.\n", n, d.Watchers)
	}
}

func (m *storeMoveDocument) print(w io.Writer) {
	fmt.Fprintf(w, "Moving: pod %s leaves %s for %s now, by run %s, because %s\n", m.Pod, m.Node, m.Lasts, m.Run, m.Why)
	if m.Temporary != "" {
		fmt.Fprintf(w, "  temporary pod %s helps\n", m.Temporary)
	}
	fmt.Fprintf(w, "  step: %s\n", m.Step)
	if m.GoOn != "" {
		fmt.Fprintf(w, "  nobody acts for that run; it goes on with: %s\n", m.GoOn)
	}
}
