package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// newJournaled is a world whose cluster knows drover's kinds.
func newJournaled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.ok(Install(t.Context(), w.cfg))
	w.eventually("the rotations", func() bool { return !w.cluster.journal.unknown() && w.cluster.journal.listed() })
	return w
}

// observe looks a day after everything that tests date.
func (w *world) observe() fleet.Snapshot {
	w.Helper()
	return w.observeAt(time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC))
}

func (w *world) observeAt(now time.Time) fleet.Snapshot {
	w.Helper()
	s := fleet.Snapshot{Now: now}
	w.ok(w.cluster.Observe(w.Context(), &s))
	return s
}

func (w *world) record() fleet.RotationRecord {
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	return fleet.RotationRecord{
		Run: "r-" + w.name, Requester: "ann", At: at, Criterion: "outdated", Hash: "abc", Moves: 4, Forecast: 5 * time.Minute,
		Groups: []fleet.GroupRecord{{Name: "web", Desired: 2, Min: 1, Max: 4, Surge: 1, Suspended: []string{fleet.AZRebalance}}, {Name: "db", Desired: 1}},
		Exits: []fleet.Departure{
			{Node: w.name, Instance: "i-1", Group: "web", Cause: fleet.Rotation, Why: "runs web:1, the group launches web:2", Replace: true, Release: true},
			{Instance: "i-2", Group: "web", Cause: fleet.Rotation, Why: "never registered"},
		},
	}
}

func (w *world) keep(r fleet.RotationRecord) {
	w.Helper()
	w.ok(w.cluster.Act(w.Context(), fleet.Action{Verb: fleet.Record, Run: r.Run, Rotation: &r}))
}

func (w *world) rotation(run string) *v1alpha1.Rotation {
	w.Helper()
	r, err := w.cluster.rotation(w.Context(), run)
	w.ok(err)
	return r
}

// sees waits until Observe shows the run as wanted; nil when it is not to be shown.
func (w *world) sees(run string, want *fleet.RotationRecord) {
	w.Helper()
	var got *fleet.RotationRecord
	w.eventually(fmt.Sprintf("run %s as %+v", run, want), func() bool {
		s := w.observe()
		got = s.Rotation(run)
		return reflect.DeepEqual(got, want)
	})
}

// A cluster that does not know drover's kinds says so, can still be observed, and is told of them when they come.
func TestInstall(t *testing.T) {
	w := newWorld(t)
	definition := func(kind string) error {
		return w.cluster.objects.Resource(definitions).Delete(t.Context(), kind+".drover.dev", metav1.DeleteOptions{})
	}
	for _, kind := range []string{"rotations", "departures"} {
		if err := definition(kind); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		w.eventually("no "+kind, func() bool { return apierrors.IsNotFound(definition(kind)) })
	}
	w.eventually("its sentence", func() bool { return w.observe().Unjournaled == unjournaled })
	fresh, err := Open(t.Context(), w.cfg)
	w.ok(err)
	var s fleet.Snapshot
	w.ok(fresh.Observe(t.Context(), &s))
	if s.Unjournaled != unjournaled {
		t.Errorf("a fresh look says %q", s.Unjournaled)
	}
	r := w.record()
	var fatal *fleet.Fatal
	if err := w.cluster.File(t.Context(), w.instance(), w.hear(w.signal("s", time.Time{}))); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "drover install") {
		t.Errorf("filed: %v", err)
	}
	if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Record, Rotation: &r}); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "drover install") {
		t.Errorf("recorded: %v", err)
	}
	if _, _, err := w.cluster.Records(t.Context()); err == nil || !strings.Contains(err.Error(), "drover install") {
		t.Errorf("records: %v", err)
	}
	w.ok(w.cluster.Publish(t.Context(), fleet.Progress{Run: r.Run, Exits: []fleet.ExitProgress{{Departure: r.Exits[0]}}}))

	for range 2 {
		w.ok(Install(t.Context(), w.cfg))
	}
	w.keep(r)
	w.sees(r.Run, &r)
	if got := w.observe().Unjournaled; got != "" {
		t.Errorf("installed, and yet %q", got)
	}
	w.file(w.hear(w.signal("s", time.Time{})))
	if w.open() == nil {
		t.Error("filed, and not shown")
	}
}

// An older drover's definition would drop what it does not know in silence; nothing is filed then.
func TestFileIntoAnOlderDefinition(t *testing.T) {
	w := newJournaled(t)
	definition := w.cluster.objects.Resource(definitions)
	patch := `[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/signals"},` +
		`{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"}]`
	_, err := definition.Patch(t.Context(), "departures.drover.dev", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	w.ok(err)
	t.Cleanup(func() {
		if err := Install(context.Background(), w.cfg); err != nil {
			t.Error(err)
		}
	})
	last := error(nil)
	n := 0
	w.eventually("a refusal", func() bool {
		n++
		instance := fmt.Sprint(w.instance(), "-", n)
		last = w.cluster.File(t.Context(), instance, func(have fleet.Case) (fleet.Case, bool) {
			have.Opened, have.Signals = time.Now(), []fleet.Signal{{Notice: fleet.Notice{ID: "s", Instance: instance}}}
			return have, true
		})
		return last != nil
	})
	var fatal *fleet.Fatal
	if !errors.As(last, &fatal) || !strings.Contains(last.Error(), "older drover; bring them up to date with drover install") {
		t.Errorf("filed: %v", last)
	}
	if s := w.observe(); s.Case(fmt.Sprint(w.instance(), "-", n)) != nil {
		t.Error("filed all the same")
	}
}

func TestRecord(t *testing.T) {
	w := newJournaled(t)
	r := w.record()
	for range 2 {
		w.keep(r)
	}
	w.sees(r.Run, &r)

	marked := r
	marked.Marks.Moving = r.At.Add(time.Minute)
	for range 2 {
		w.keep(marked)
	}
	w.sees(r.Run, &marked)
	w.keep(r) // late
	later := marked
	later.Marks.Moving = r.At.Add(time.Hour)
	w.keep(later)
	if got := w.rotation(r.Run).Status.Marks; !got.Moving.Equal(new(metav1.NewTime(marked.Marks.Moving))) {
		t.Errorf("a mark that was set changed: %v", got)
	}

	other := r
	other.Hash, other.Exits = "xyz", nil
	w.refused(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Record, Rotation: &other}), ownerWait, "another approved plan (hash abc, not xyz)")

	// Many that write at once all have their say.
	var wg sync.WaitGroup
	for _, set := range []func(*fleet.Marks){
		func(m *fleet.Marks) { m.Canary = r.At }, func(m *fleet.Marks) { m.Baking = r.At }, func(m *fleet.Marks) { m.Undoing = r.At },
	} {
		wg.Go(func() {
			mine := r
			set(&mine.Marks)
			if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Record, Rotation: &mine}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	marked.Marks.Canary, marked.Marks.Baking, marked.Marks.Undoing = r.At, r.At, r.At
	w.sees(r.Run, &marked)

	marked.Marks.Ended = r.At.Add(time.Hour)
	w.keep(marked)
	w.sees(r.Run, nil)
	var fatal *fleet.Fatal
	for _, late := range []fleet.RotationRecord{r, {Run: r.Run, Hash: "a new one"}} {
		if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Record, Rotation: &late}); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "is over; look at drover status") {
			t.Errorf("it began again: %v", err)
		}
	}
	w.keep(marked) // already so
	all, _, err := w.cluster.Records(t.Context())
	w.ok(err)
	found := false
	for _, got := range all {
		found = found || reflect.DeepEqual(got, marked)
	}
	if !found {
		t.Errorf("%+v is not among %+v", marked, all)
	}
}

func TestPeopleDirectARun(t *testing.T) {
	w := newJournaled(t)
	r := w.record()
	w.keep(r)
	c, err := Dial(t.Context(), w.cfg) // as a command does
	w.ok(err)
	pause := &fleet.Pause{By: "ann", Why: "lunch", At: r.At}
	w.ok(c.Pause(t.Context(), r.Run, pause))
	w.ok(c.Pause(t.Context(), r.Run, &fleet.Pause{By: "bob", At: r.At}))
	paused := r
	paused.Paused = pause
	w.sees(r.Run, &paused)

	// A record that was decided on before the pause does not undo it, nor the next one the resumption.
	r.Marks.Moving, paused.Marks.Moving = r.At, r.At
	w.keep(r)
	w.sees(r.Run, &paused)
	w.ok(c.Pause(t.Context(), r.Run, nil))
	w.ok(c.Pause(t.Context(), r.Run, nil))
	w.keep(paused)
	w.sees(r.Run, &r)

	w.ok(c.Intend(t.Context(), r.Run, fleet.Forward))
	w.ok(c.Intend(t.Context(), r.Run, fleet.Back))
	w.ok(c.Intend(t.Context(), r.Run, fleet.Back))
	back := r
	back.Intent = fleet.Back
	w.sees(r.Run, &back)
	w.keep(r) // late: does not turn it round
	w.sees(r.Run, &back)
	if err := c.Intend(t.Context(), r.Run, fleet.Forward); err == nil || !strings.Contains(err.Error(), "does not turn round") {
		t.Errorf("forward again: %v", err)
	}
	back.Marks.Ended = r.At
	w.keep(back)
	if err := c.Intend(t.Context(), r.Run, fleet.Back); err == nil || !strings.Contains(err.Error(), "over since 2026-11-21T20:00:00Z") {
		t.Errorf("after the end: %v", err)
	}
	if err := c.Pause(t.Context(), "r-none", pause); err == nil || !strings.Contains(err.Error(), "no such run") {
		t.Errorf("a run that never was: %v", err)
	}
}

// What drover keeps to, the API server holds others to as well.
func TestTheDefinitionGuardsARecord(t *testing.T) {
	w := newJournaled(t)
	r := w.record()
	r.Marks.Moving = r.At
	w.keep(r)
	rotations := w.cluster.objects.Resource(v1alpha1.Rotations)
	patch := func(body string, subresource ...string) error {
		_, err := rotations.Patch(t.Context(), r.Run, types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresource...)
		return err
	}
	denied := func(what, because string, err error) {
		t.Helper()
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v", what, err)
		}
	}
	denied("another plan", "an approved plan does not change", patch(`{"spec":{"plan":{"hash":"xyz"}}}`))
	denied("a plan with an exit less", "an approved plan does not change", patch(`{"spec":{"plan":{"exits":[]}}}`))
	denied("no plan", "spec.plan", patch(`{"spec":{"plan":null}}`))
	denied("an unknown intent", "Unsupported value", patch(`{"spec":{"intent":"Sideways"}}`))
	denied("another mark", "moving is set once", patch(`{"status":{"marks":{"moving":"2026-11-21T21:00:00Z"}}}`, "status"))
	denied("no mark", "moving is set once", patch(`{"status":{"marks":{"moving":null}}}`, "status"))
	denied("no marks", "marks are never cleared", patch(`{"status":{"marks":null}}`, "status"))
	denied("no status", "status is never cleared", patch(`{"status":null}`, "status"))
	w.ok(patch(`{"spec":{"intent":"Back","paused":{"by":"ann"}}}`))
	w.ok(patch(`{"spec":{"paused":null}}`))
	denied("forward again", "does not turn round", patch(`{"spec":{"intent":null}}`))
	denied("forward again, in words", "does not turn round", patch(`{"spec":{"intent":""}}`))
	w.ok(patch(`{"status":{"marks":{"canary":"2026-11-21T21:00:00Z"}}}`, "status"))
}

func TestStopAll(t *testing.T) {
	w := newWorld(t)
	c, err := Dial(t.Context(), w.cfg)
	w.ok(err)
	t.Cleanup(func() { c.ResumeAll(context.Background()) })
	want := &fleet.Pause{By: "ann", Why: "the shop is on fire", At: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)}
	for _, p := range []fleet.Pause{*want, {By: "bob"}} { // the first stop stays
		if stands, err := c.StopAll(t.Context(), p); err != nil || !reflect.DeepEqual(stands, *want) {
			t.Errorf("it stands as %+v, %v", stands, err)
		}
	}
	w.eventually("the stop", func() bool { return reflect.DeepEqual(w.observe().Stopped, want) })
	for range 2 {
		w.ok(c.ResumeAll(t.Context()))
	}
	w.eventually("no stop", func() bool { return w.observe().Stopped == nil })
}

// columns is what kubectl get prints of an object.
func (w *world) columns(resource, name string) []string {
	w.Helper()
	body, err := w.client.CoreV1().RESTClient().Get().AbsPath("/apis/drover.dev/v1alpha1", resource, name).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(w.Context()).Raw()
	w.ok(err)
	var table metav1.Table
	w.ok(json.Unmarshal(body, &table))
	var out []string
	for _, cell := range table.Rows[0].Cells[1:] {
		out = append(out, fmt.Sprint(cell))
	}
	return out
}

func TestPublish(t *testing.T) {
	w := newJournaled(t)
	node := w.node()
	r := w.record()
	w.keep(r)
	p := fleet.Progress{Run: r.Run, Phase: "Moving", Moved: 1, Pods: 4, Forecast: 5 * time.Minute, Took: time.Minute, Waiting: []string{"api has 2 ready, needs 2"}, Exits: []fleet.ExitProgress{
		{Departure: r.Exits[0], Phase: fleet.ExitEmptying, Pods: 3, Waiting: "api has 2 ready, needs 2"}, {Departure: r.Exits[1], Phase: fleet.ExitGone}}}
	first, second := r.Run+"."+w.name, r.Run+".i-2"
	show := func() {
		t.Helper()
		w.ok(w.cluster.Publish(t.Context(), p))
	}
	departure := func(name string) *v1alpha1.Departure {
		t.Helper()
		u, err := w.cluster.objects.Resource(v1alpha1.Departures).Get(t.Context(), name, metav1.GetOptions{})
		w.ok(err)
		d, err := departureOf(u)
		w.ok(err)
		return d
	}
	conditions := func(list []metav1.Condition) string {
		out := ""
		for _, c := range list {
			out += fmt.Sprintf("%s=%s(%s) ", c.Type, c.Status, c.Reason)
		}
		return out
	}
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", what, got, want)
		}
	}
	show()
	rotation := w.rotation(r.Run)
	same("columns", w.columns("rotations", r.Run)[:4], []string{"web,db", "Moving", "1/2", "1/4"})
	same("departure's columns", w.columns("departures", first), []string{"rotation", "Emptying", "3", "<nil>", w.name, "web", "api has 2 ready, needs 2"})
	same("conditions", conditions(rotation.Status.Conditions), "Progressing=True(Waiting) Complete=False(UnderWay) Degraded=False(AsPlanned) Paused=False(NotPaused) ")
	d := departure(first)
	same("owner", d.OwnerReferences[0].UID, rotation.UID)
	same("spec", d.Spec.Exit.Departure(), r.Exits[0])
	same("pods", d.Status.Pods, int64(3))
	same("conditions of what is gone", conditions(departure(second).Status.Conditions), "Complete=True(Gone) Progressing=False(Gone) ")

	// Nothing changed, nothing is written: not by this process, nor by another that goes on.
	p.Took += 10 * time.Second
	show()
	fresh, err := Dial(t.Context(), w.cfg)
	w.ok(err)
	w.ok(fresh.Publish(t.Context(), p))
	same("version", w.rotation(r.Run).ResourceVersion, rotation.ResourceVersion)
	same("departure's version", departure(first).ResourceVersion, d.ResourceVersion)

	w.ok(w.cluster.Pause(t.Context(), r.Run, &fleet.Pause{By: "ann", Why: "lunch"}))
	p.Phase, p.Waiting, p.Exceptions, p.Moved = "Held", nil, []string{"pod shop/web-1 moved twice"}, 4
	p.Exits[0].Phase, p.Exits[0].Pods, p.Exits[0].Waiting = fleet.ExitLeaving, 0, ""
	w.ok(w.cluster.objects.Resource(v1alpha1.Departures).Delete(t.Context(), second, metav1.DeleteOptions{})) // by somebody
	show()
	rotation = w.rotation(r.Run)
	same("conditions", conditions(rotation.Status.Conditions), "Progressing=False(Paused) Complete=False(UnderWay) Degraded=True(Exceptions) Paused=True(ByAPerson) ")
	same("waiting", rotation.Status.Waiting, []string(nil))
	same("ledger", rotation.Status.Ledger.Exceptions, p.Exceptions)

	r.Marks.Ended = r.At.Add(time.Hour)
	w.keep(r)
	p.Exits[0].Phase, p.Exits[1].Phase = fleet.ExitGone, fleet.ExitReturned
	p.Took = 7 * time.Minute
	if err := w.cluster.Publish(t.Context(), p); err == nil || !strings.Contains(err.Error(), "publish departure of i-2") {
		t.Errorf("a departure that somebody deleted: %v", err)
	}
	show() // makes up for it
	rotation = w.rotation(r.Run)
	same("conditions", conditions(rotation.Status.Conditions), "Progressing=False(Ended) Complete=True(Ended) Degraded=True(Exceptions) Paused=True(ByAPerson) ")
	same("took", rotation.Status.Ledger.Took.Duration, 7*time.Minute)
	same("marks", rotation.Status.Marks.Ended.UTC(), r.Marks.Ended)
	same("made anew", departure(second).Status.Phase, "Returned")

	events, err := w.client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: fields.Set{"involvedObject.name": w.name, "source": "drover"}.String()})
	w.ok(err)
	told := map[string]corev1.Event{}
	for _, e := range events.Items {
		told[e.Reason] = e
	}
	if e := told["DepartureEmptying"]; len(events.Items) != 3 || e.InvolvedObject.UID != node.UID || !strings.Contains(e.Message, "runs web:1") {
		t.Errorf("events: %+v", events.Items)
	}
}

// A drain has no Rotation; its Departure stands alone. Many exits take several calls.
func TestPublishADrain(t *testing.T) {
	w := newJournaled(t)
	p := fleet.Progress{Run: "d-" + w.name, Phase: "Moving"}
	for i := range publishWrites + 1 {
		p.Exits = append(p.Exits, fleet.ExitProgress{Departure: fleet.Departure{Instance: fmt.Sprintf("i-%02d", i), Cause: fleet.Drain}, Phase: fleet.ExitWaiting})
	}
	for _, want := range []int{publishWrites, publishWrites + 1, publishWrites + 1} {
		if err := w.cluster.Publish(t.Context(), p); (err == nil) != (want > publishWrites) {
			t.Errorf("%d departures, and %v", want, err)
		}
		list, err := w.cluster.objects.Resource(v1alpha1.Departures).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.RunLabel + "=" + p.Run})
		w.ok(err)
		if len(list.Items) != want || len(list.Items[0].GetOwnerReferences()) != 0 {
			t.Errorf("%d departures, want %d; owners %v", len(list.Items), want, list.Items[0].GetOwnerReferences())
		}
	}
}

func TestTryEvict(t *testing.T) {
	w := newWorld(t)
	w.node()
	held, free, gone := w.pod("web-0"), w.pod("free"), fleet.PodRef{Namespace: w.name, Name: "gone", UID: "x"}
	_, err := w.client.CoreV1().Pods(w.name).Patch(t.Context(), free.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"other"}}}`), metav1.PatchOptions{})
	w.ok(err)
	w.budget("web", 1)
	ref := func(p *corev1.Pod) fleet.PodRef { return evictionOf(p).Pod }
	got, tried := w.cluster.TryEvict(t.Context(), []fleet.PodRef{ref(held), ref(free), gone})
	if len(got) != 1 || tried != 3 || !strings.Contains(got[ref(held)], "The disruption budget web needs 1 healthy pods") {
		t.Errorf("got %v of %d", got, tried)
	}
	if !w.there(held) || !w.there(free) {
		t.Error("evicted for real")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for what, got := range map[string]func() (map[fleet.PodRef]string, int){
		"of none":     func() (map[fleet.PodRef]string, int) { return w.cluster.TryEvict(t.Context(), nil) },
		"out of time": func() (map[fleet.PodRef]string, int) { return w.cluster.TryEvict(over, []fleet.PodRef{ref(held)}) },
	} {
		if refused, tried := got(); len(refused) != 0 || tried != 0 {
			t.Errorf("%s: %v of %d", what, refused, tried)
		}
	}
}

// grant gives a user rights as a chart does, and returns their configuration.
func (w *world) grant(user string, lists ...[]Right) *rest.Config {
	w.Helper()
	byNamespace := map[string][]rbacv1.PolicyRule{}
	for _, list := range lists {
		for _, r := range list {
			byNamespace[r.Namespace] = append(byNamespace[r.Namespace], r.Rule)
		}
	}
	cfg := w.allow(user, byNamespace[""]...)
	for namespace, rules := range byNamespace {
		if namespace == "" {
			continue
		}
		roles := w.client.RbacV1()
		_, err := roles.Roles(namespace).Create(w.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}, metav1.CreateOptions{})
		w.ok(err)
		_, err = roles.RoleBindings(namespace).Create(w.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user}}, metav1.CreateOptions{})
		w.ok(err)
	}
	return cfg
}

// With Rights, and no other, all that a run does can be done.
func TestRightsSuffice(t *testing.T) {
	w := newJournaled(t)
	w.node()
	r := w.record()
	cfg := w.grant("run-"+w.name, Rights)
	w.eventually("the rights", func() (ok bool) {
		var err error
		w.cluster, err = Open(t.Context(), cfg)
		return err == nil
	})
	w.keep(r)
	r.Marks.Moving = r.At
	w.keep(r)
	w.ok(w.cluster.Pause(t.Context(), r.Run, &fleet.Pause{By: "ann"}))
	w.ok(w.cluster.Intend(t.Context(), r.Run, fleet.Back))
	_, _, err := w.cluster.Records(t.Context())
	w.ok(err)
	w.ok(w.cluster.Publish(t.Context(), fleet.Progress{Run: r.Run, Exits: []fleet.ExitProgress{{Departure: r.Exits[0], Phase: fleet.ExitEmptying}}}))
	for _, v := range []fleet.Verb{fleet.Keep, fleet.Exclude, fleet.Unkeep, fleet.Include} {
		w.act(fleet.Action{Verb: v, Run: r.Run})
	}
	p := w.pod("web-0")
	if refused, _ := w.cluster.TryEvict(t.Context(), []fleet.PodRef{evictionOf(p).Pod}); len(refused) > 0 {
		t.Error(refused)
	}
	w.ok(w.cluster.Act(t.Context(), evictionOf(p)))
	w.ok(w.cluster.Confirm(t.Context(), fleet.Action{Node: w.name, Expect: fleet.Expect{Empty: true}}))
	s := w.surgeStory(true)
	s.surge()
	s.serve()
	w.ok(w.cluster.Act(t.Context(), s.unsurge(true)))
	acted := false
	w.ok(w.cluster.Alone(t.Context(), "one", func(string, time.Duration) {}, func(context.Context) error { acted = true; return nil }))
	if !acted {
		t.Error("never alone")
	}
	w.observe()

	people := w.grant("people-"+w.name, Rights, PersonRights)
	w.eventually("people's rights", func() bool {
		c, err := Dial(t.Context(), people)
		if err != nil {
			return false
		}
		for range 2 { // the second one reads the first
			if _, err := c.StopAll(t.Context(), fleet.Pause{By: "ann"}); err != nil {
				return false
			}
		}
		return c.ResumeAll(t.Context()) == nil
	})
	installer := w.grant("installer-"+w.name, InstallRights)
	w.eventually("the installer's rights", func() bool { return Install(t.Context(), installer) == nil })
}

// With ControllerRights, and no other, the controller can do what it does with notices; with those of history, a person can read them.
func TestControllerRightsSuffice(t *testing.T) {
	w := newJournaled(t)
	w.node()
	p := w.pod("web-0")
	cfg := w.grant("controller-"+w.name, ControllerRights())
	w.eventually("the rights", func() (ok bool) {
		var err error
		w.cluster, err = Open(t.Context(), cfg)
		return err == nil
	})
	t.Cleanup(func() {
		w.client.CoreV1().ConfigMaps(canaryNamespace).Delete(context.Background(), canaryName, metav1.DeleteOptions{})
	})
	for i := range 2 {
		w.ok(w.cluster.Lead(t.Context(), "one", ControllerName, func(context.Context) error { return nil }))
		w.ok(w.cluster.WriteCanary(t.Context(), fmt.Sprint("c-", i), time.Now()))
	}
	w.file(w.hear(w.signal("spot-1", time.Time{})))
	w.act(fleet.Action{Verb: fleet.Shut, Run: "n-1"})
	a := evictionOf(p)
	a.Verb, a.Grace = fleet.Delete, time.Second
	w.ok(w.cluster.Act(t.Context(), a))
	w.act(fleet.Action{Verb: fleet.OutOfService, Run: "n-1"})
	w.ok(w.cluster.PublishCase(t.Context(), *w.open(), fleet.ExitGone, "", 0))
	w.file(marked(fleet.CaseMarks{Ended: time.Now(), End: "gone"}))
	w.observe()
	w.ok(w.cluster.PruneCases(t.Context(), 0))

	history := w.grant("history-"+w.name, HistoryRights)
	w.eventually("history's rights", func() bool {
		c, err := Dial(t.Context(), history)
		if err != nil {
			return false
		}
		_, err = c.Trail(t.Context(), w.name, "")
		return err == nil
	})
	people := w.grant("checker-"+w.name, PersonRights)
	w.eventually("the checker's rights", func() bool {
		c, err := Dial(t.Context(), people)
		if err != nil {
			return false
		}
		got, err := c.ReadCanaries(t.Context())
		return err == nil && len(got) == 2
	})
}

// No right is wider than it says: no wildcard anywhere, and who writes one thing by name names it.
func TestRightsAreNarrow(t *testing.T) {
	for list, rights := range map[string][]Right{"controller": ControllerRights(), "history": HistoryRights, "people": PersonRights, "install": InstallRights, "environments": EnvironmentRights} {
		seen := map[string]bool{}
		for _, r := range rights {
			text := fmt.Sprint(r.Rule, r.Namespace)
			if strings.Contains(text, "*") || r.For == "" || seen[text] {
				t.Errorf("%s: %s (%s)", list, text, r.For)
			}
			seen[text] = true
			creates := reflect.DeepEqual(r.Rule.Verbs, []string{"create"}) // which a name cannot narrow
			if (r.Rule.Resources[0] == "configmaps" || r.Rule.Resources[0] == "leases" && r.Namespace == leaseNamespace) && !creates && len(r.Rule.ResourceNames) == 0 {
				t.Errorf("%s: %s: of any name", list, text)
			}
		}
	}
}

// Of the runs that are over only so many are kept; one that is not over is never forgotten.
func TestOldRecordsAreForgotten(t *testing.T) {
	w := newJournaled(t)
	open := w.record()
	w.keep(open)
	for i := range keepEnded + 3 {
		r := w.record()
		r.Run = fmt.Sprintf("%s-old-%03d", open.Run, i)
		r.Marks.Ended = r.At.Add(time.Hour)
		w.keep(r)
	}
	list, _, err := w.cluster.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over, open1 := 0, false
	for _, r := range list {
		if r.Run == open.Run {
			open1 = true
		} else if !r.Marks.Ended.IsZero() {
			over++
		}
	}
	if over != keepEnded || !open1 {
		t.Errorf("%d runs that are over, want %d; the open one is there: %v", over, keepEnded, open1)
	}
}
