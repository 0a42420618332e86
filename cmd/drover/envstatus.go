package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/price"
)

func (a *app) envStatusCommand() *cobra.Command {
	var r switching
	follow := false
	c := &cobra.Command{
		Use: "status NAME", Short: "Show how an environment is, how it should be, what is waited for, and what sleeping saves",
		Long: `Show how an environment is and since when, what is wanted of it, why and until when, what is waited for, who switches it back, how each of its parts is
against how it was, and the money. With -w it goes on telling what changes, until the environment is as it should be.`,
		Example: "  drover env status staging\n  drover env status staging -w\n  drover env status staging -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeEnvironments,
		RunE: func(c *cobra.Command, args []string) error { return a.envStatus(c.Context(), args[0], &r, follow) },
	}
	c.Flags().BoolVarP(&follow, "watch", "w", false, "go on telling what changes")
	c.Flags().StringVar(&r.prices, "prices", "", "price list of AWS, for an environment that does not sleep now")
	a.outputFlag(c)
	return c
}

// envStatusDocument is what env status prints.
type envStatusDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Place      string `json:"place"`
	envLine
	Source    string            `json:"source"`
	Run       string            `json:"run,omitempty"` // of the sleep under way
	By        string            `json:"by,omitempty"`  // who asked for it
	Phase     string            `json:"phase,omitempty"`
	Doing     []string          `json:"doing,omitempty"` // what would be done now
	Waiting   []string          `json:"waiting,omitempty"`
	Blocked   []findingDoc      `json:"blocked,omitempty"` // why it is not off, when it should be
	Fights    []envFightDoc     `json:"fights,omitempty"`
	Workloads []envPartState    `json:"workloads"`
	Groups    []envGroupState   `json:"groups"`
	Databases []envDatabaseNow  `json:"databases"`
	Money     *envMoneyDoc      `json:"money,omitempty"`
	Still     []string          `json:"stillBills,omitempty"`
	Notes     []string          `json:"exceptions,omitempty"`
	Copies    []string          `json:"copies,omitempty"`
	Sleeps    []envSleepDoc     `json:"sleeps"`
	Total     []string          `json:"savedByThose,omitempty"`
	of        fleet.Environment // for people
	recording bool              // a copy is to be written outside of the cluster
	led       bool              // a controller leads
}

type envFightDoc struct {
	Subject string `json:"subject"`
	By      string `json:"by"`
	Times   int    `json:"times"`
	Last    string `json:"last"`
}

type envPartState struct {
	Tier   int    `json:"tier,omitempty"`
	Object string `json:"object"`
	Turn   string `json:"turn"`
	Was    string `json:"was,omitempty"` // before the sleep
	Is     string `json:"is"`
	Off    bool   `json:"off"`
	Ready  int    `json:"ready"`
	Note   string `json:"note,omitempty"`
}

type envGroupState struct {
	Name    string   `json:"name"`
	Was     int      `json:"was"` // nodes before the sleep
	Is      int      `json:"is"`
	Ready   int      `json:"ready"`
	Min     int      `json:"min"`
	MinWas  int      `json:"minWas"`
	Keepers []string `json:"keepers,omitempty"` // nodes that stay for pods of others
	Trouble string   `json:"trouble,omitempty"`
}

type envDatabaseNow struct {
	ID       string `json:"id"`
	Was      string `json:"was,omitempty"`
	Is       string `json:"is"`
	Answers  string `json:"answers,omitempty"`
	Restarts string `json:"restarts,omitempty"` // when RDS starts it whatever anybody wants
}

type envSleepDoc struct {
	Run        string   `json:"run"`
	By         string   `json:"by"`
	Asleep     string   `json:"asleep,omitempty"`
	Starting   string   `json:"starting,omitempty"`
	Awake      string   `json:"awake"`
	Hours      float64  `json:"hoursAsleep"`
	Saved      string   `json:"saved,omitempty"`
	Exceptions []string `json:"exceptions,omitempty"`
}

func (a *app) envStatus(ctx context.Context, name string, r *switching, follow bool) error {
	room, err := a.switchroom(ctx, r)
	if err != nil {
		return err
	}
	if follow {
		room.Cloud = &remembered{Cloud: room.Cloud, now: time.Now}
	}
	d, err := room.status(ctx, name)
	if err != nil {
		return err
	}
	if err := a.print(d, func(w io.Writer) { envStatusTable(w, d) }); err != nil || !follow || a.output != "table" {
		return err
	}
	return a.followStatus(ctx, room, d)
}

func (w *switchroom) status(ctx context.Context, name string) (*envStatusDocument, error) {
	s, err := w.Observe(ctx)
	if err != nil {
		return nil, err
	}
	e := s.Environment(name)
	if e == nil {
		return nil, errNoEnvironment(&s, name)
	}
	d := w.statusOf(&s, e)
	leader, err := w.desk.Leading(ctx)
	d.led = err == nil && leader != ""
	if why := w.archiveRefuses(ctx, e, d.recording); why != "" {
		d.Waiting = append(d.Waiting, why)
	}
	return d, nil
}

// statusOf says how an environment stands.
func (w *switchroom) statusOf(s *fleet.Snapshot, e *fleet.Environment) *envStatusDocument {
	d := &envStatusDocument{
		APIVersion: "drover.dev/v1alpha1", Kind: "EnvironmentStatus", Place: w.place, envLine: lineOf(e, s.Now), Source: e.Source, of: *e,
		Workloads: []envPartState{}, Groups: []envGroupState{}, Databases: []envDatabaseNow{}, Sleeps: []envSleepDoc{},
	}
	w.course(d, s, e)
	d.partsNow(s, e)
	d.groupsNow(s, e)
	d.databasesNow(s, e)
	d.history(e)
	if r := e.Record; r != nil {
		d.Run, d.By, d.Notes, d.Copies = r.Run, r.By, r.Exceptions, copiesOf(e)
		money := moneyOf(e, r.Rates, nil, s.Now)
		d.Money = &money
		for _, rate := range r.Rates {
			if rate.Off > 0 {
				d.Still = append(d.Still, fmt.Sprintf("%s: %s an hour", rate.Subject, amounts(price.Sum{{Amount: rate.Off, Currency: rate.Currency}})[0]))
			}
		}
		for _, f := range r.Fights {
			d.Fights = append(d.Fights, envFightDoc{f.Subject, f.By, f.Times, moment(f.Last)})
		}
	}
	return d
}

// course says what would be done about the environment now, and what that waits for.
func (w *switchroom) course(d *envStatusDocument, s *fleet.Snapshot, e *fleet.Environment) {
	wanted := env.Want(e, s.Now)
	switch {
	case len(e.Trouble) > 0:
		return
	case e.Record == nil && wanted.Known && !wanted.On:
		p, findings := w.plan(s, e.Name, false)
		if p.Nothing == "" {
			d.Blocked = describeFindings(slices.DeleteFunc(findings, func(f fleet.Finding) bool { return !f.Blocks }))
		}
		return
	case e.Record == nil:
		return
	}
	step := env.Next(env.Plan{Environment: e.Name, On: wanted.On, By: wanted.By}, *s)
	d.Phase = string(step.Phase)
	for _, a := range step.Actions {
		d.Doing = append(d.Doing, a.String())
		d.recording = d.recording || a.Verb == fleet.Archive
	}
	for _, h := range step.Holds {
		d.Waiting = append(d.Waiting, h.String())
	}
	slices.Sort(d.Waiting)
}

// partsNow lists what the environment's sleep has switched, or what its next one would.
func (d *envStatusDocument) partsNow(s *fleet.Snapshot, e *fleet.Environment) {
	if e.Record != nil {
		for i := range e.Record.Parts {
			d.Workloads = append(d.Workloads, partAgainst(s, &e.Record.Parts[i]))
		}
		return
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		if target := s.Part(p.Scales); p.Turn == fleet.Unsynced || !e.Spec.Has(p.Owner, p.Labels) && !(p.Turn == fleet.Held && target != nil && e.Spec.Has(target.Owner, target.Labels)) {
			continue
		}
		d.Workloads = append(d.Workloads, envPartState{Object: p.ID(), Turn: string(p.Turn), Is: isNow(p), Off: p.Off, Ready: p.Ready})
	}
}

func partAgainst(s *fleet.Snapshot, r *fleet.PartRecord) envPartState {
	d := envPartState{Tier: r.Tier + 1, Object: r.ID(), Turn: string(r.Turn), Was: wasThen(r)}
	p := s.Part(r.Owner)
	switch {
	case p == nil:
		d.Is, d.Note = "gone", "was deleted meanwhile"
		return d
	case p.UID != r.UID:
		d.Note = "was made anew meanwhile, and is left as it is"
	case p.Off && p.Mark == nil:
		d.Note = "its mark is gone; the record knows how it was"
	}
	d.Is, d.Off, d.Ready = isNow(p), p.Off, p.Ready
	return d
}

func isNow(p *fleet.Part) string {
	switch {
	case p.Turn == fleet.Scaled:
		return fmt.Sprintf("%s, %d ready", cmp.Or(p.Value, "1"), p.Ready)
	case p.Off:
		return map[fleet.Turn]string{fleet.Suspended: "suspended", fleet.Held: "paused at 0", fleet.Unsynced: "not reconciled"}[p.Turn]
	}
	return onWord(p.Turn)
}

func onWord(t fleet.Turn) string {
	return map[fleet.Turn]string{fleet.Suspended: "scheduled", fleet.Held: "scales", fleet.Unsynced: "reconciled"}[t]
}

func wasThen(r *fleet.PartRecord) string {
	if r.Turn == fleet.Scaled {
		return replicas(r)
	}
	return onWord(r.Turn)
}

func (d *envStatusDocument) groupsNow(s *fleet.Snapshot, e *fleet.Environment) {
	names := e.Spec.Groups
	if e.Record != nil {
		names = nil
		for _, g := range e.Record.Groups {
			names = append(names, g.Name)
		}
	}
	for i, name := range names {
		st := envGroupState{Name: name}
		if e.Record != nil {
			st.Was, st.MinWas = e.Record.Groups[i].Desired, e.Record.Groups[i].Min
			for _, id := range e.Record.Groups[i].Keepers {
				if n := s.NodeOf(id); n != nil {
					st.Keepers = append(st.Keepers, n.Name)
				}
			}
		}
		if g := s.Group(name); g == nil {
			st.Trouble = "AWS lists no group of that name"
		} else {
			now := groupOf(s, g)
			st.Is, st.Ready, st.Min, st.Trouble = now.Desired, now.Ready, now.Min, now.Trouble
		}
		d.Groups = append(d.Groups, st)
	}
}

func (d *envStatusDocument) databasesNow(s *fleet.Snapshot, e *fleet.Environment) {
	was := map[string]string{}
	var ids []string
	for _, spec := range e.Spec.Databases {
		ids = append(ids, spec.ID)
	}
	if e.Record != nil {
		ids = nil
		for _, r := range e.Record.Databases {
			ids, was[r.ID] = append(ids, r.ID), r.Status
		}
	}
	for _, id := range ids {
		st := envDatabaseNow{ID: id, Was: was[id], Is: "not known"}
		if db := s.Database(id); db != nil {
			st.Is = cmp.Or(db.Trouble, db.Status)
			if db.Answer != nil {
				st.Answers = answerOf(db.Answer)
			}
			if !db.Restarts.IsZero() {
				st.Restarts = moment(db.Restarts)
			}
		}
		d.Databases = append(d.Databases, st)
	}
}

func answerOf(a *fleet.Answer) string {
	switch {
	case a.Works && a.Login:
		return fmt.Sprintf("yes, %s", counted(len(a.Sessions), "session", "sessions"))
	case a.Works:
		return "yes"
	}
	return cmp.Or(a.Why, "no")
}

func (d *envStatusDocument) history(e *fleet.Environment) {
	total := map[string]float64{}
	var order []string
	for _, sl := range slices.Backward(e.Sleeps) {
		doc := envSleepDoc{Run: sl.Run, By: sl.By, Awake: moment(sl.Awake), Saved: sl.Saved, Exceptions: sl.Exceptions}
		if !sl.Asleep.IsZero() {
			doc.Asleep, doc.Starting, doc.Hours = moment(sl.Asleep), moment(sl.Starting), sl.Starting.Sub(sl.Asleep).Hours()
		}
		d.Sleeps = append(d.Sleeps, doc)
		for one := range strings.SplitSeq(sl.Saved, " + ") {
			var amount float64
			var currency string
			if _, err := fmt.Sscanf(one, "%g %s", &amount, &currency); err != nil {
				continue // prices were not known then
			}
			if _, known := total[currency]; !known {
				order = append(order, currency)
			}
			total[currency] += amount
		}
	}
	for _, c := range order {
		d.Total = append(d.Total, fmt.Sprintf("%.2f %s", total[c], c))
	}
}

// historyShown is how many sleeps people are shown; -o json has all.
const historyShown = 7

func envStatusTable(w io.Writer, d *envStatusDocument) {
	fmt.Fprintf(w, "Environment %s: %s", d.Name, d.State)
	if d.Since != "" {
		fmt.Fprintf(w, " since %s", clocked(&d.of, d.began))
	}
	fmt.Fprintf(w, "\n%s\n", d.Place)
	for _, t := range d.Trouble {
		fmt.Fprintln(w, "  trouble  "+t)
	}
	fmt.Fprintf(w, "\nWanted: %s, because %s\n", cmp.Or(d.Wanted, "as it is"), d.Why)
	if d.Next != "" {
		fmt.Fprintf(w, "Next: %s\n", d.next)
	}
	d.courseLines(w)
	d.tables(w)
	d.moneyLines(w)
	d.sleepTable(w)
}

func (d *envStatusDocument) courseLines(w io.Writer) {
	if d.Phase != "" {
		fmt.Fprintf(w, "\nPhase: %s\n", d.Phase)
	}
	for _, line := range d.Waiting {
		fmt.Fprintln(w, "  waiting  "+line)
	}
	for _, line := range d.Doing {
		fmt.Fprintln(w, "  next     "+line)
	}
	for _, f := range d.Fights {
		fmt.Fprintf(w, "  fight    %s: switched back on by %s, %s, last at %s\n", f.Subject, f.By, counted(f.Times, "time", "times"), f.Last)
	}
	for _, n := range d.Notes {
		fmt.Fprintln(w, "  mind     "+n)
	}
	if len(d.Blocked) > 0 {
		fmt.Fprintln(w, "\nIt should be off, and cannot be:")
		findingsTable(w, d.Blocked)
	}
}

func (d *envStatusDocument) tables(w io.Writer) {
	asleep := d.Run != ""
	var rows [][]string
	for _, p := range d.Workloads {
		row := []string{p.Object, p.Is}
		if asleep {
			row = []string{fmt.Sprint(p.Tier), p.Object, p.Was, p.Is}
		}
		rows = append(rows, row)
	}
	table(w, asleep, "TIER WORKLOAD WAS IS", "WORKLOAD IS", rows)
	rows = nil
	for _, g := range d.Groups {
		row := []string{"group " + g.Name, cmp.Or(g.Trouble, fmt.Sprintf("%d, minimum %d, %d ready", g.Is, g.Min, g.Ready))}
		if asleep {
			row = slices.Insert(row, 1, fmt.Sprintf("%d, minimum %d", g.Was, g.MinWas))
		}
		rows = append(rows, row)
	}
	for _, db := range d.Databases {
		is := db.Is
		if db.Answers != "" {
			is += ", answers: " + db.Answers
		}
		row := []string{db.ID, is}
		if asleep {
			row = slices.Insert(row, 1, orDash(db.Was))
		}
		rows = append(rows, row)
	}
	table(w, asleep, "WHAT WAS IS", "WHAT IS", rows)
	d.asides(w)
}

// table prints rows, if there are any. Without a sleep there is nothing to compare with.
func table(w io.Writer, asleep bool, against, plain string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	if asleep {
		plain = against
	}
	fmt.Fprintln(w)
	columns(w, plain, rows)
}

// asides are what does not fit into a table.
func (d *envStatusDocument) asides(w io.Writer) {
	for _, p := range d.Workloads {
		if p.Note != "" {
			fmt.Fprintf(w, "  %s %s\n", p.Object, p.Note)
		}
	}
	for _, g := range d.Groups {
		if len(g.Keepers) > 0 {
			fmt.Fprintf(w, "  group %s: stay for pods of others: %s\n", g.Name, strings.Join(g.Keepers, ", "))
		}
	}
	again := "it is stopped again then"
	if !d.led {
		again = "drover controller would stop it again, but none leads"
	}
	for _, db := range d.Databases {
		if db.Restarts != "" {
			fmt.Fprintf(w, "  %s: RDS starts it by itself at %s; %s\n", db.ID, db.Restarts, again)
		}
	}
}

func (d *envStatusDocument) moneyLines(w io.Writer) {
	if d.Money == nil || len(d.Money.Hour) == 0 {
		return
	}
	fmt.Fprintf(w, "\nSaved by this sleep: %s; %s for each hour in which everything is off\n", cmp.Or(d.Saved, "nothing yet"), strings.Join(d.Money.Hour, " + "))
	for _, s := range d.Still {
		fmt.Fprintln(w, "  still bills  "+s)
	}
}

func (d *envStatusDocument) sleepTable(w io.Writer) {
	if len(d.Sleeps) == 0 {
		return
	}
	var rows [][]string
	for i, sl := range slices.Backward(d.of.Sleeps) {
		if len(d.of.Sleeps)-i > historyShown {
			break
		}
		from, lasts := "-", "-"
		if !sl.Asleep.IsZero() {
			from, lasts = short16(sl.Asleep.In(clockOf(&d.of))), lasting(sl.Starting.Sub(sl.Asleep).Round(time.Minute))
		}
		rows = append(rows, []string{from, lasts, short16(sl.Awake.In(clockOf(&d.of))), orDash(sl.By), orDash(sl.Saved)})
	}
	fmt.Fprintln(w)
	columns(w, "ASLEEP FOR AWAKE BY SAVED", rows)
	if len(d.Total) > 0 {
		fmt.Fprintf(w, "Saved by the last %s: %s\n", counted(len(d.Sleeps), "sleep", "sleeps"), strings.Join(d.Total, " + "))
	}
	if n := len(d.Sleeps[0].Exceptions); n > 0 {
		fmt.Fprintf(w, "Not as before since the last one:\n")
		for _, x := range d.Sleeps[0].Exceptions {
			fmt.Fprintln(w, "  "+x)
		}
	}
}

// followStatus prints a line for each change, until the environment is as it should be.
func (a *app) followStatus(ctx context.Context, room *switchroom, d *envStatusDocument) error {
	fmt.Fprintln(a.out)
	trouble := ""
	for !d.rests() {
		pause(ctx, watchEvery)
		next, err := room.status(ctx, d.Name)
		switch {
		case ctx.Err() != nil:
			return nil
		case isFatal(err):
			return err
		case err != nil:
			if now := err.Error(); now != trouble {
				trouble = now
				fmt.Fprintf(a.out, "%s  trouble  %s\n", time.Now().UTC().Format(time.TimeOnly), now)
			}
			continue
		}
		trouble = ""
		for _, line := range d.changes(next) {
			fmt.Fprintf(a.out, "%s  %s\n", time.Now().UTC().Format(time.TimeOnly), line)
		}
		d = next
	}
	if ctx.Err() != nil {
		return nil
	}
	fmt.Fprintf(a.out, "Environment %s is %s, as it should be.\n", d.Name, d.State)
	return nil
}

// rests tells whether nothing more happens by itself: it is as it is wanted.
func (d *envStatusDocument) rests() bool {
	switch {
	case d.Wanted == "on":
		return d.State == "on"
	case d.Wanted == "off":
		return d.State == "asleep" && len(d.Doing)+len(d.Waiting) == 0
	}
	return d.Phase == "" || d.State == "asleep"
}

// changes says in lines what differs between two looks.
func (d *envStatusDocument) changes(now *envStatusDocument) []string {
	var out []string
	say := func(what, format string, args ...any) {
		out = append(out, fmt.Sprintf("%-8s %s", what, fmt.Sprintf(format, args...)))
	}
	if now.State != d.State {
		say("state", "%s", now.State)
	}
	if now.Wanted != d.Wanted || now.Why != d.Why {
		say("wanted", "%s, because %s", cmp.Or(now.Wanted, "as it is"), now.Why)
	}
	if now.Phase != d.Phase && now.Phase != "" {
		say("phase", "%s", now.Phase)
	}
	for i := range now.Workloads {
		p := &now.Workloads[i]
		if j := slices.IndexFunc(d.Workloads, func(o envPartState) bool { return o.Object == p.Object }); j >= 0 && d.Workloads[j].Is != p.Is {
			say("object", "%s: %s", p.Object, p.Is)
		}
	}
	for i := range now.Groups {
		if i < len(d.Groups) && (d.Groups[i].Is != now.Groups[i].Is || d.Groups[i].Ready != now.Groups[i].Ready) {
			say("group", "%s: %d nodes, %d ready", now.Groups[i].Name, now.Groups[i].Is, now.Groups[i].Ready)
		}
	}
	for i := range now.Databases {
		if i < len(d.Databases) && d.Databases[i].Is != now.Databases[i].Is {
			say("database", "%s: %s", now.Databases[i].ID, now.Databases[i].Is)
		}
	}
	known := map[string]bool{}
	for _, line := range d.Waiting {
		known[withoutFigures(line)] = true
	}
	for _, line := range now.Waiting {
		if !known[withoutFigures(line)] {
			say("waiting", "%s", line)
		}
	}
	return out
}
