package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/engine"
	"drover.dev/evac"
	"drover.dev/fleet"
)

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Show the groups, what is outdated, and how far runs are",
		Example: "  drover status\n  drover status -o json",
		Args:    cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context()) },
	}
	a.outputFlag(c)
	return c
}

// statusDocument is what status prints.
type statusDocument struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Place      string              `json:"place"`
	Acting     string              `json:"acting,omitempty"`     // who holds the lease
	Controller string              `json:"controller,omitempty"` // who leads as the controller
	Stopped    string              `json:"stopped,omitempty"`    // who stopped everything
	Groups     []groupStatus       `json:"groups"`
	Runs       []runStatus         `json:"runs"`
	Noticed    []noticeStatus      `json:"noticed,omitempty"` // nodes that AWS gave notice of
	Moves      []storeMoveDocument `json:"moves,omitempty"`   // in progress, of pods of stores
	Asked      []askedStatus       `json:"asked,omitempty"`   // pods that somebody wants to leave their nodes
	Drained    []string            `json:"drained,omitempty"` // nodes that a person's drain marked

	Environments []envLine `json:"environments,omitempty"`
}

type noticeStatus struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Group    string `json:"group,omitempty"`
	Why      string `json:"why"`
	Phase    string `json:"phase"`
	Pods     int    `json:"pods"`
	Deadline string `json:"deadline,omitempty"`
	Left     string `json:"left,omitempty"` // until the deadline
	Waiting  string `json:"waiting,omitempty"`
}

// askedStatus is a pod whose eviction drover's guard refused, to move it in its own way.
type askedStatus struct {
	Pod  string `json:"pod"`
	Node string `json:"node"`
	By   string `json:"by"`
	At   string `json:"at"`
}

type groupStatus struct {
	Name     string `json:"name"`
	Desired  int    `json:"desired"`
	Min      int    `json:"min"`
	Max      int    `json:"max"`
	Ready    int    `json:"ready"`
	Outdated int    `json:"outdated"`
	Run      string `json:"run,omitempty"`
	Trouble  string `json:"trouble,omitempty"` // why the group could not be read
}

type runStatus struct {
	Run       string   `json:"run"`
	Groups    []string `json:"groups"`
	Requester string   `json:"requester,omitempty"`
	Began     string   `json:"began"`
	Phase     string   `json:"phase"`
	Left      int      `json:"nodesLeft"`
	Nodes     int      `json:"nodes"`
	Moved     int      `json:"podsMoved"`
	Pods      int      `json:"pods"`
	Lost      bool     `json:"recordDeleted,omitempty"` // only marks on groups and nodes tell of the run
	Paused    string   `json:"paused,omitempty"`
	BakeLeft  string   `json:"bakeLeft,omitempty"`
	Next      []string `json:"next,omitempty"`
	Waiting   []string `json:"waiting,omitempty"`
}

func (a *app) status(ctx context.Context) error {
	s, err := a.conn.connect(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observeAll(ctx)
	if err != nil {
		return err
	}
	if err := s.addEnvironments(ctx, &snapshot); err != nil {
		fmt.Fprintln(a.err, "Environments are not told of:", err)
	}
	d := statusOf(&snapshot, s.place)
	if err := s.whoActs(ctx, &d); err != nil {
		return err
	}
	return a.print(d, func(w io.Writer) { statusTable(w, &d) })
}

// whoActs looks for both holders at once: each look takes until a renewal is due.
func (s *site) whoActs(ctx context.Context, d *statusDocument) error {
	var wg sync.WaitGroup
	var run, controller error
	wg.Go(func() { d.Acting, run = s.cluster.Acting(ctx) })
	wg.Go(func() { d.Controller, controller = s.cluster.Leading(ctx) })
	wg.Wait()
	var fatal *fleet.Fatal
	if errors.As(controller, &fatal) {
		controller = nil // not everybody may read that lease
	}
	return errors.Join(run, controller)
}

func statusTable(w io.Writer, d *statusDocument) {
	fmt.Fprintf(w, "%s\n\n", d.Place)
	var rows [][]string
	for _, g := range d.Groups {
		rows = append(rows, []string{g.Name, fmt.Sprintf("%d (%d-%d)", g.Desired, g.Min, g.Max), fmt.Sprint(g.Ready), fmt.Sprint(g.Outdated), orDash(g.Run)})
	}
	columns(w, "GROUP DESIRED READY OUTDATED RUN", rows)
	for _, g := range d.Groups {
		if g.Trouble != "" {
			fmt.Fprintf(w, "Group %s: %s\n", g.Name, g.Trouble)
		}
	}
	if d.Stopped != "" {
		fmt.Fprintf(w, "\nEverything is %s. Let it go on with: drover resume --all\n", d.Stopped)
	}
	for _, r := range d.Runs {
		r.print(w)
	}
	switch {
	case d.Acting != "":
		fmt.Fprintln(w, "\nActing now:", d.Acting)
	case slices.ContainsFunc(d.Runs, func(r runStatus) bool { return !r.Lost && (r.Requester != engine.Requester || d.Controller == "") }):
		fmt.Fprintln(w, "\nNobody is acting on it: start the same command again and it goes on.")
	}
	noticedTable(w, d.Noticed)
	switch {
	case d.Controller != "":
		fmt.Fprintln(w, "\nController:", d.Controller)
	case len(d.Noticed) > 0:
		fmt.Fprintln(w, "\nNo controller leads: nobody empties what AWS takes. Start one: drover controller")
	}
	moveTable(w, d)
	if len(d.Environments) > 0 {
		fmt.Fprintln(w)
		envLines(w, d.Environments)
	}
	for _, n := range d.Drained {
		fmt.Fprintf(w, "\nNode %s is drained; give it back with drover drain --undo %s\n", n, n)
	}
}

func noticedTable(w io.Writer, all []noticeStatus) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\nAWS takes %s:\n", counted(len(all), "node", "nodes"))
	var rows [][]string
	for _, n := range all {
		rows = append(rows, []string{n.Node, orDash(n.Group), n.Phase, fmt.Sprint(n.Pods), orDash(n.Left), n.Why})
	}
	columns(w, "NODE GROUP PHASE PODS LEFT WHY", rows)
	for _, n := range all {
		if n.Waiting != "" {
			fmt.Fprintf(w, "  waiting  %s: %s\n", n.Node, n.Waiting)
		}
	}
}

// moveTable lists the moves in progress: who, since when, which step.
func moveTable(w io.Writer, d *statusDocument) {
	if len(d.Moves) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, m := range d.Moves {
			rows = append(rows, []string{m.Store, m.Mover, m.Pod, m.Node, m.Lasts, m.Run})
		}
		columns(w, "STORE MOVER MOVES FROM SINCE RUN", rows)
		for _, m := range d.Moves {
			fmt.Fprintf(w, "  step     %s: %s\n", m.Store, m.Step)
			if m.GoOn != "" && d.Acting == "" {
				fmt.Fprintf(w, "  nobody acts on it; it goes on with: %s\n", m.GoOn)
			}
		}
	}
	for _, p := range d.Asked {
		fmt.Fprintf(w, "\nPod %s is to leave %s: %s asked for it at %s\n", p.Pod, orDash(p.Node), p.By, p.At)
	}
}

func (r *runStatus) print(w io.Writer) {
	fmt.Fprintf(w, "\nRun %s: %s, %d of %d nodes left, %d of %d pods moved\n", r.Run, r.Phase, r.Left, r.Nodes, r.Moved, r.Pods)
	fmt.Fprintf(w, "  asked by %s, begun %s\n", orSomebody(r.Requester), r.Began)
	if r.Lost {
		fmt.Fprintf(w, "  somebody deleted its record; take it back with drover abort %s\n", r.Run)
	}
	if r.Paused != "" {
		fmt.Fprintf(w, "  %s; drover resume %s\n", r.Paused, r.Run)
	}
	if r.BakeLeft != "" {
		fmt.Fprintf(w, "  old nodes are kept in Standby for %s more; drover rollback %s\n", r.BakeLeft, r.Run)
	}
	for _, n := range r.Next {
		fmt.Fprintln(w, "  next     "+n)
	}
	for _, h := range r.Waiting {
		fmt.Fprintln(w, "  waiting  "+h)
	}
}

func statusOf(s *fleet.Snapshot, place string) statusDocument {
	d := statusDocument{APIVersion: "drover.dev/v1alpha1", Kind: "Status", Place: place, Groups: []groupStatus{}, Runs: []runStatus{}}
	if s.Stopped != nil {
		d.Stopped = s.Stopped.String()
	}
	runs := map[string]bool{}
	for _, r := range underWay(s) {
		runs[r.Run] = true
		d.Runs = append(d.Runs, runOf(s, stand(s, r)))
	}
	for i := range s.Groups {
		d.Groups = append(d.Groups, groupOf(s, &s.Groups[i]))
	}
	if st := standNoticed(s); st != nil {
		for _, e := range st.progress.Exits {
			d.Noticed = append(d.Noticed, noticeOf(s, &e))
		}
	}
	d.Moves = movesOf(s)
	if len(s.Environments) > 0 {
		d.Environments = linesOf(s)
	}
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Asked != nil {
			d.Asked = append(d.Asked, askedStatus{p.Ref.String(), p.Node, p.Asked.By, moment(p.Asked.At)})
		}
	}
	for i := range s.Nodes {
		if m := s.Nodes[i].Mark(); m != nil && !runs[m.Value] && m.Value != fleet.NoticeRun {
			d.Drained = append(d.Drained, s.Nodes[i].Name)
		}
	}
	return d
}

func noticeOf(s *fleet.Snapshot, e *fleet.ExitProgress) noticeStatus {
	d := e.Departure
	n := noticeStatus{Node: d.Name(), Instance: d.Instance, Group: d.Group, Why: d.Why, Phase: string(e.Phase), Pods: e.Pods, Waiting: e.Waiting}
	if !d.Deadline.IsZero() {
		n.Deadline, n.Left = moment(d.Deadline), lasting(max(0, d.Deadline.Sub(s.Now)).Round(time.Second))
	}
	return n
}

func groupOf(s *fleet.Snapshot, g *fleet.Group) groupStatus {
	st := groupStatus{Name: g.Name, Desired: g.Desired, Min: g.Min, Max: g.Max, Trouble: g.Trouble}
	for i := range g.Instances {
		in := &g.Instances[i]
		if n := s.NodeOf(in.ID); n != nil && n.Ready {
			st.Ready++
		}
		if g.Outdated(in) != "" {
			st.Outdated++
		}
	}
	if r := evac.Ongoing(s, []string{g.Name}); r != nil {
		st.Run = r.Run
	}
	return st
}

func runOf(s *fleet.Snapshot, st *standing) runStatus {
	p := &st.progress
	r := runStatus{
		Run: st.record.Run, Groups: namesOf(st.record), Requester: st.record.Requester, Began: st.record.At.UTC().Format(time.RFC3339), Phase: p.Phase,
		Nodes: len(p.Exits), Pods: p.Pods, Moved: movedOf(st), Waiting: p.Waiting,
	}
	r.Lost = s.Rotation(r.Run) == nil
	for _, e := range p.Exits {
		if !replaced(st, e.Phase) {
			r.Left++
		}
	}
	if st.record.Paused != nil {
		r.Paused = st.record.Paused.String()
	}
	if at := st.record.Marks.Baking; !at.IsZero() && st.record.Intent != fleet.Back {
		r.BakeLeft = lasting(max(at.Add(st.record.Bake).Sub(s.Now), 0).Round(time.Second))
	}
	for _, a := range st.step.Actions {
		r.Next = append(r.Next, a.String())
	}
	return r
}

// movedOf counts the pods that have left: what the run set out to move, less what has to move yet.
func movedOf(st *standing) int {
	left := 0
	for _, e := range st.progress.Exits {
		left += e.Pods
	}
	return max(st.progress.Pods-left, 0)
}
