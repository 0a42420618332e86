package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// newSwitching is a world that knows environments, and watches them.
func newSwitching(t *testing.T) *world {
	t.Helper()
	w := newJournaled(t)
	for range 2 { // twice: the second does nothing
		w.ok(w.cluster.WatchEnvironments(t.Context()))
	}
	return w
}

// environment applies the test's Environment, all workloads of its namespace.
func (w *world) environment() {
	w.Helper()
	w.apply("workloads: [{namespaces: [" + w.name + "]}]")
}

func (w *world) apply(spec string) {
	w.Helper()
	text := fmt.Sprintf("apiVersion: drover.dev/v1alpha1\nkind: Environment\nmetadata: {name: %s, labels: {team: shop}}\nspec: {%s}\n", w.name, spec)
	names, err := w.cluster.ApplyEnvironments(w.Context(), []byte(text), "file f", false)
	w.ok(err)
	if !slices.Equal(names, []string{w.name}) {
		w.Fatalf("applied %v", names)
	}
	w.Cleanup(w.release)
}

// release lets the test's Environment go, whatever it holds.
func (w *world) release() {
	ctx := context.Background()
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	environments.Patch(ctx, w.name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	environments.Delete(ctx, w.name, metav1.DeleteOptions{})
}

// switched observes environments, too.
func (w *world) switched() *fleet.Snapshot {
	w.Helper()
	s := w.observe()
	w.ok(w.cluster.ObserveEnvironments(w.Context(), &s))
	return &s
}

// itself is the test's Environment as it is observed.
func (w *world) itself() *fleet.Environment {
	w.Helper()
	var e *fleet.Environment
	w.eventually("environment "+w.name, func() bool { e = w.switched().Environment(w.name); return e != nil })
	return e
}

func (w *world) rawEnvironment() *unstructured.Unstructured {
	w.Helper()
	u, err := w.cluster.objects.Resource(v1alpha1.Environments).Get(w.Context(), w.name, metav1.GetOptions{})
	w.ok(err)
	return u
}

var evening = time.Date(2026, 11, 20, 19, 0, 0, 0, time.UTC)

// sleep is a record of the test's environment.
func (w *world) sleep(run string) fleet.SleepRecord {
	return fleet.SleepRecord{
		Environment: w.name, Run: run, By: "ann", Why: "night", At: evening, Forced: []string{"env-jobs"}, Hash: "abc",
		Parts: []fleet.PartRecord{
			{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "Deployment", Namespace: w.name, Name: "web"}, UID: "u-1", Ready: 3, Value: "3"},
			{Turn: fleet.Suspended, APIVersion: "batch/v1", Owner: fleet.Owner{Kind: "CronJob", Namespace: w.name, Name: "tidy"}, UID: "u-2", Tier: 1, Absent: true},
		},
		Groups:    []fleet.SleepGroup{{Name: "stg", Scaling: "eks-stg", Managed: true, Cluster: "c", Min: 1, Max: 4, Desired: 2, Keepers: []string{"i-9"}, Exits: 1}},
		Databases: []fleet.SleepDatabase{{ID: "instance stg", Class: "db.t3.micro", Status: "available"}, {ID: "cluster a", MinACU: 2, MaxACU: 8, Lower: true, ToACU: 0.5}},
		Exits:     []fleet.Departure{{Node: "n1", Instance: "i-1", Group: "stg", Cause: fleet.Sleeping, Why: "asleep", Release: true}},
		Rates:     []fleet.Rate{{Subject: "m5.large", On: 0.096, Currency: "USD", Source: "given"}},
	}
}

func (w *world) remember(r fleet.SleepRecord) error {
	return w.cluster.Act(w.Context(), fleet.Action{Verb: fleet.Remember, Environment: w.name, Run: r.Run, Sleep: &r})
}

func (w *world) conclude(run string, awake time.Time) error {
	ended := fleet.Sleep{Run: run, By: "ann", StartedBy: "bob", At: evening, Asleep: evening.Add(time.Minute), Starting: awake.Add(-time.Minute), Awake: awake, Saved: "1.23 USD", Exceptions: []string{"web was slow"}}
	return w.cluster.Act(w.Context(), fleet.Action{Verb: fleet.Conclude, Environment: w.name, Run: run, Ended: &ended})
}

func (w *world) held(err error, words ...string) {
	w.Helper()
	w.refused(err, ownerWait, words...)
	var refused *fleet.Refused
	if errors.As(err, &refused) && !refused.Held {
		w.Errorf("%v: not held", err)
	}
}

func TestRemember(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	want := w.sleep("r-1")
	for range 2 { // twice: already so is success
		w.ok(w.remember(want))
		if got := w.itself(); !reflect.DeepEqual(got.Record, &want) || len(got.Trouble) > 0 {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	}
	version := w.rawEnvironment().GetResourceVersion()
	w.ok(w.remember(want))
	if now := w.rawEnvironment(); now.GetResourceVersion() != version || !slices.Contains(now.GetFinalizers(), v1alpha1.RecordFinalizer) {
		t.Errorf("written again, or not kept: %s, %v", now.GetResourceVersion(), now.GetFinalizers())
	}

	late := want.Clone() // decided on before the part was added
	want.Marks = fleet.SleepMarks{Archived: evening, Off: evening.Add(time.Minute), Asleep: evening.Add(2 * time.Minute), Starting: evening.Add(time.Hour), StartedBy: "bob", Served: evening.Add(2 * time.Hour), Again: evening.Add(3 * time.Hour)}
	want.Fights = []fleet.Fight{{Subject: "Deployment shop/web", By: "argocd-controller", Times: 2, Last: evening}}
	want.Exceptions = []string{"web was slow"}
	want.Parts = append(want.Parts, fleet.PartRecord{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "Deployment", Namespace: w.name, Name: "new"}, UID: "u-3", Value: "1"})
	w.ok(w.remember(want))
	if got := w.itself().Record; !reflect.DeepEqual(got, &want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
	late.Marks.Off = evening
	w.ok(w.remember(late))
	want.Marks, want.Fights, want.Exceptions = late.Marks, nil, nil
	if got := w.itself().Record; !reflect.DeepEqual(got, &want) {
		t.Fatalf("marks are taken as asked, and what was added stays:\n got %+v\nwant %+v", got, want)
	}

	w.held(w.remember(w.sleep("r-2")), "environment "+w.name+" holds the record of sleep r-1, which is not over")
	for what, change := range map[string]func(*fleet.SleepRecord){
		"a value":  func(r *fleet.SleepRecord) { r.Parts[0].Value = "5" },
		"a part":   func(r *fleet.SleepRecord) { r.Parts = r.Parts[1:] },
		"a group":  func(r *fleet.SleepRecord) { r.Groups[0].Desired = 1 },
		"the hash": func(r *fleet.SleepRecord) { r.Hash = "def" },
	} {
		other := want.Clone()
		change(&other)
		if err := w.remember(other); !strings.Contains(fmt.Sprint(err), "says something else of how everything was") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Remember, Environment: w.name, Run: "r-9", Sleep: &want}); err == nil || !strings.Contains(err.Error(), "want a record of run r-9") {
		t.Errorf("got %v", err)
	}
	if got := w.itself().Record; !reflect.DeepEqual(got, &want) {
		t.Errorf("changed after all: %+v", got)
	}
}

// What the API server itself keeps anybody from doing to a record.
func TestARecordIsWriteOnce(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	r := w.sleep("r-1")
	r.Marks.Off = evening
	r.Parts = append(r.Parts[:1:1], r.Parts[1:]...)
	w.ok(w.remember(r))
	grown := r.Clone()
	grown.Parts = append(grown.Parts, fleet.PartRecord{Turn: fleet.Scaled, Owner: fleet.Owner{Kind: "Deployment", Namespace: w.name, Name: "new"}, Value: "1"})
	w.ok(w.remember(grown))
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	for _, tc := range []struct{ patch, says string }{
		{`[{"op":"replace","path":"/status/record/original/parts/0/value","value":"5"}]`, "how everything was before does not change"},
		{`[{"op":"remove","path":"/status/record/original/exits"}]`, "how everything was before does not change"},
		{`[{"op":"replace","path":"/status/record/added/0/value","value":"5"}]`, "how an object was before does not change"},
		{`[{"op":"remove","path":"/status/record/added"}]`, "how an object was before stays on file"},
		{`[{"op":"remove","path":"/status/record"}]`, "a record goes only when its sleep is over"},
		{`[{"op":"remove","path":"/status"}]`, "status is not cleared while it holds a record"},
	} {
		_, err := environments.Patch(t.Context(), w.name, types.JSONPatchType, []byte(tc.patch), metav1.PatchOptions{}, "status")
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.patch, err, tc.says)
		}
	}
	// Whoever replaces the object, as kubectl replace does, leaves its status.
	u := w.rawEnvironment()
	delete(u.Object, "status")
	u.SetAnnotations(nil)
	_, err := environments.Update(t.Context(), u, metav1.UpdateOptions{})
	w.ok(err)
	if got := w.itself().Record; !reflect.DeepEqual(got, &grown) {
		t.Errorf("got %+v\nwant %+v", got, grown)
	}
}

func TestConclude(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	w.ok(w.remember(w.sleep("r-1")))
	morning := evening.Add(13 * time.Hour)
	w.held(w.conclude("r-2", morning), "environment "+w.name+" holds the record of sleep r-1, not of r-2")
	for range 2 { // twice: already so is success
		w.ok(w.conclude("r-1", morning))
		e := w.itself()
		want := []fleet.Sleep{{Run: "r-1", By: "ann", StartedBy: "bob", At: evening, Asleep: evening.Add(time.Minute), Starting: morning.Add(-time.Minute), Awake: morning, Saved: "1.23 USD", Exceptions: []string{"web was slow"}}}
		if e.Record != nil || !reflect.DeepEqual(e.Sleeps, want) || len(w.rawEnvironment().GetFinalizers()) > 0 {
			t.Fatalf("%+v", e)
		}
	}
	var fatal *fleet.Fatal
	if err := w.remember(w.sleep("r-1")); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "sleep r-1 of environment "+w.name+" is over") {
		t.Errorf("begun again: %v", err)
	}
	for i := range v1alpha1.KeptSleeps + 2 {
		run := fmt.Sprint("r-", i+2)
		w.ok(w.remember(w.sleep(run)))
		w.ok(w.conclude(run, morning))
	}
	if got := w.itself().Sleeps; len(got) != v1alpha1.KeptSleeps || got[0].Run != "r-4" || got[len(got)-1].Run != "r-35" {
		t.Errorf("%d sleeps, %+v", len(got), got)
	}
}

// A wish is a person's to take back: that it was met, or is over, only the schedule tells.
func TestWish(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	w.ok(w.remember(w.sleep("r-1")))
	for _, want := range []fleet.Wish{{On: true, By: "ann", At: evening, Until: evening.Add(time.Hour), Forced: []string{"env-jobs"}, Why: "demo"}, {By: "bob at night"}} {
		for range 2 {
			w.ok(w.cluster.Wish(t.Context(), w.name, &want))
			if got := w.itself().Wish; !reflect.DeepEqual(got, &want) {
				t.Fatalf("wished %+v, seen %+v", want, got)
			}
		}
	}
	w.ok(w.conclude("r-1", evening.Add(time.Hour)))
	if got := w.itself().Wish; got == nil || got.By != "bob at night" {
		t.Errorf("it went with the record: %+v", got)
	}
	for range 2 {
		w.ok(w.cluster.Wish(t.Context(), w.name, nil))
		if got := w.itself().Wish; got != nil {
			t.Errorf("taken back, and yet %+v", got)
		}
	}
	if err := w.cluster.Wish(t.Context(), "none", nil); err == nil || !strings.Contains(err.Error(), "environment none: there is none in this cluster") {
		t.Errorf("got %v", err)
	}
	_, err := w.cluster.objects.Resource(v1alpha1.Environments).Patch(t.Context(), w.name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"drover.dev/wish":"perhaps"}}}`), metav1.PatchOptions{})
	w.ok(err)
	w.eventually("its trouble", func() bool { return w.itself().WishTrouble != "" })
	if e := w.itself(); e.Wish != nil || len(e.Trouble) > 0 || !strings.HasPrefix(e.WishTrouble, `metadata.annotations[drover.dev/wish]: wish "perhaps": want on, off`) {
		t.Errorf("%+v", e)
	}
}

// Whoever writes nothing but off on an Environment has wished it then.
func TestABareWish(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	annotate := func(by, body string) {
		t.Helper()
		_, err := w.cluster.objects.Resource(v1alpha1.Environments).Patch(t.Context(), w.name, types.MergePatchType, []byte(`{"metadata":{"annotations":{`+body+`}}}`), metav1.PatchOptions{FieldManager: by})
		w.ok(err)
	}
	began := time.Now().Truncate(time.Second)
	annotate("kubectl-annotate", `"drover.dev/wish":" Off "`)
	annotate("somebody-else", `"team":"shop"`)
	var wish *fleet.Wish
	w.eventually("the wish", func() bool { wish = w.itself().Wish; return wish != nil })
	if wish.On || wish.At.Before(began) || wish.At.After(time.Now()) {
		t.Errorf("wished since %s: %+v", began, wish)
	}
	annotate("kubectl-annotate", `"cost":"low"`)
	w.eventually("that nobody can say since when", func() bool { wish = w.itself().Wish; return wish != nil && wish.At.IsZero() })
}

// lines are more than is told of anything.
func lines(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("Deployment shop/service-%05d: was made anew meanwhile, and is left as it is", i))
	}
	return out
}

// A record can be written and taken off whatever happened meanwhile, however often.
func TestAHistoryHasRoom(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	for run := range 12 {
		r := w.sleep(fmt.Sprint("r-", run))
		w.ok(w.remember(r))
		r.Exceptions = lines(20000)
		for _, line := range r.Exceptions {
			r.Fights = append(r.Fights, fleet.Fight{Subject: line, By: "argocd-controller", Times: 2, Last: evening})
		}
		if err := w.remember(r); err != nil {
			t.Fatalf("remember %d: %.300v", run, err)
		}
		got := w.itself().Record
		if n := len(got.Exceptions); n != keptLines+1 || got.Exceptions[keptLines] != "and 19980 more" || got.Exceptions[0] != r.Exceptions[0] || len(got.Fights) < 300 || got.Fights[299] != r.Fights[299] {
			t.Fatalf("%d exceptions, %d fights", n, len(got.Fights))
		}
		version := w.rawEnvironment().GetResourceVersion()
		w.ok(w.remember(*got))
		if now := w.rawEnvironment().GetResourceVersion(); now != version {
			t.Error("what was cut short is written again")
		}
		ended := fleet.Sleep{Run: r.Run, At: evening, Awake: evening.Add(time.Hour), Exceptions: r.Exceptions}
		for i := range ended.Exceptions {
			ended.Exceptions[i] = strings.Repeat("ü", 4096)
		}
		if err := w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Conclude, Environment: w.name, Run: r.Run, Ended: &ended}); err != nil {
			t.Fatalf("conclude %d: %.300v", run, err)
		}
	}
	sleeps := w.itself().Sleeps
	if n := len(sleeps); n < 10 || n > 12 || sleeps[n-1].Run != "r-11" || len(sleeps[n-1].Exceptions) != keptLines+1 {
		t.Errorf("%d sleeps", n)
	}
}

// What holds an Environment for its record goes when the record is refused for good.
func TestARecordThatIsRefusedHoldsNothing(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	r := w.sleep("r-1")
	r.Why = strings.Repeat("x", 4<<20)
	if err := w.remember(r); err == nil {
		t.Fatal("taken")
	}
	if got := w.rawEnvironment().GetFinalizers(); len(got) > 0 || w.itself().Record != nil {
		t.Errorf("held by %v", got)
	}
	w.ok(environments.Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	if _, err := environments.Get(t.Context(), w.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
	w.environment()
	w.ok(w.remember(w.sleep("r-2")))
	big := w.sleep("r-2")
	big.Marks.StartedBy = r.Why
	if err := w.remember(big); err == nil || !slices.Contains(w.rawEnvironment().GetFinalizers(), v1alpha1.RecordFinalizer) {
		t.Errorf("%.100v: the record that is there is not held any more", err)
	}
}

// Who was ended between holding an Environment and writing its record leaves nothing behind that could never be deleted.
func TestAnEnvironmentThatIsHeldForNothing(t *testing.T) {
	w := newSwitching(t)
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	shown := EnvironmentShown{State: "on"}
	for what, write := range map[string]func() error{
		"shown":  func() error { return w.cluster.PublishEnvironment(t.Context(), w.name, shown) },
		"wished": func() error { return w.cluster.Wish(t.Context(), w.name, &fleet.Wish{On: true}) },
	} {
		w.environment()
		w.ok(w.cluster.PublishEnvironment(t.Context(), w.name, shown))
		hold := `{"metadata":{"finalizers":["drover.dev/record"]}}`
		_, err := environments.Patch(t.Context(), w.name, types.MergePatchType, []byte(hold), metav1.PatchOptions{})
		w.ok(err)
		w.ok(w.cluster.PublishEnvironment(t.Context(), w.name, shown))
		if got := w.rawEnvironment().GetFinalizers(); len(got) != 1 {
			t.Errorf("a record may be on its way: %v", got)
		}
		w.ok(environments.Delete(t.Context(), w.name, metav1.DeleteOptions{}))
		w.eventually("that it is being deleted", func() bool { w.itself(); return w.cluster.knownEnvironment(w.name).GetDeletionTimestamp() != nil })
		w.ok(write())
		if _, err := environments.Get(t.Context(), w.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s, and still there: %v", what, err)
		}
		w.eventually("that it is gone", func() bool { return w.switched().Environment(w.name) == nil })
	}
}

// Whoever replaces an Environment, as kubectl replace does, takes off what holds it; the next who writes puts that back.
func TestAnEnvironmentIsReplaced(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	r := w.sleep("r-1")
	shown := EnvironmentShown{State: "asleep", Asleep: true}
	w.ok(w.remember(r))
	w.ok(w.cluster.PublishEnvironment(t.Context(), w.name, shown))
	for what, write := range map[string]func() error{
		"shown":      func() error { return w.cluster.PublishEnvironment(t.Context(), w.name, shown) },
		"wished":     func() error { return w.cluster.Wish(t.Context(), w.name, &fleet.Wish{On: true}) },
		"remembered": func() error { return w.remember(r) },
	} {
		u := w.rawEnvironment()
		delete(u.Object, "status")
		u.SetAnnotations(nil)
		u.SetFinalizers(nil)
		_, err := w.cluster.objects.Resource(v1alpha1.Environments).Update(t.Context(), u, metav1.UpdateOptions{})
		w.ok(err)
		w.eventually("that it was replaced", func() bool { w.itself(); return len(w.cluster.knownEnvironment(w.name).GetFinalizers()) == 0 })
		w.ok(write())
		if got := w.rawEnvironment().GetFinalizers(); !slices.Equal(got, []string{v1alpha1.RecordFinalizer}) {
			t.Errorf("%s, and held by %v", what, got)
		}
	}
	if got := w.itself().Record; !reflect.DeepEqual(got, &r) {
		t.Errorf("got %+v", got)
	}
}

// An Environment that somebody deletes while it sleeps stays until its record is over.
func TestAnEnvironmentIsDeletedMeanwhile(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	r := w.sleep("r-1")
	w.ok(w.remember(r))
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	w.ok(environments.Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	if got := w.itself().Record; !reflect.DeepEqual(got, &r) {
		t.Fatalf("the record went along: %+v", got)
	}
	r.Marks.Off = evening
	w.ok(w.remember(r))
	for range 2 {
		w.ok(w.conclude("r-1", evening))
		if _, err := environments.Get(t.Context(), w.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Fatalf("still there: %v", err)
		}
	}
	w.eventually("that it is gone", func() bool { return w.switched().Environment(w.name) == nil })
	w.held(w.remember(r), "environment "+w.name+" is not in the cluster, which is to hold the record of its sleep: apply it")

	w.environment()
	_, err := environments.Patch(t.Context(), w.name, types.MergePatchType, []byte(`{"metadata":{"finalizers":["keep.it/here"]}}`), metav1.PatchOptions{})
	w.ok(err)
	w.ok(environments.Delete(t.Context(), w.name, metav1.DeleteOptions{}))
	w.held(w.remember(r), "environment "+w.name+" is being deleted")
}

// A cluster that does not know Environments says so, and is told of them when they come; everything else is seen meanwhile.
func TestEnvironmentsAreNotInstalled(t *testing.T) {
	w := newJournaled(t)
	gone := func() error {
		return w.cluster.objects.Resource(definitions).Delete(t.Context(), "environments.drover.dev", metav1.DeleteOptions{})
	}
	w.ok(gone())
	w.eventually("no environments", func() bool { return apierrors.IsNotFound(gone()) })
	t.Cleanup(func() {
		if err := Install(context.Background(), w.cfg); err != nil {
			t.Error(err)
		}
	})
	var s fleet.Snapshot
	if err := w.cluster.ObserveEnvironments(t.Context(), &s); err == nil || !strings.Contains(err.Error(), "not watched yet") {
		t.Errorf("got %v", err)
	}
	w.ok(w.cluster.WatchEnvironments(t.Context()))
	if got := w.switched().Unslept; got != unslept {
		t.Errorf("it says %q", got)
	}
	var fatal *fleet.Fatal
	text := "apiVersion: drover.dev/v1alpha1\nkind: Environment\nmetadata: {name: a}\nspec: {}\n"
	_, applied := w.cluster.ApplyEnvironments(t.Context(), []byte(text), "file f", false)
	for what, err := range map[string]error{"remembered": w.remember(w.sleep("r-1")), "concluded": w.conclude("r-1", evening), "applied": applied} {
		if !errors.As(err, &fatal) || !strings.Contains(err.Error(), "drover install") {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.ok(Install(t.Context(), w.cfg))
	w.environment()
	if len(w.itself().Trouble) > 0 || w.switched().Unslept != "" {
		t.Errorf("installed, and yet %q", w.switched().Unslept)
	}
}

func TestApplyEnvironments(t *testing.T) {
	w := newSwitching(t)
	apply := func(spec string, dry bool) error {
		text := fmt.Sprintf("apiVersion: drover.dev/v1alpha1\nkind: Environment\nmetadata: {name: %s, annotations: {drover.dev/wish: \"off\", team: shop}}\nspec: {%s}\nstatus: {summary: {state: x}}\n", w.name, spec)
		_, err := w.cluster.ApplyEnvironments(t.Context(), []byte(text), "file f", dry)
		return err
	}
	t.Cleanup(w.release)
	w.ok(apply("groups: [a, b]", true))
	if _, err := w.cluster.objects.Resource(v1alpha1.Environments).Get(t.Context(), w.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("made for show: %v", err)
	}
	w.ok(apply("groups: [a, b]", false))
	w.ok(w.cluster.Wish(t.Context(), w.name, &fleet.Wish{On: true, By: "ann"}))
	for range 2 {
		w.ok(apply("groups: [c], protected: true", false))
		e := w.itself()
		if !slices.Equal(e.Spec.Groups, []string{"c"}) || !e.Spec.Protected || e.Wish == nil || !e.Wish.On || w.rawEnvironment().GetAnnotations()["team"] != "shop" {
			t.Errorf("got %+v", e)
		}
	}
	for _, tc := range []struct{ spec, says string }{
		{"gruops: [c]", "file f: environment " + w.name + ": spec.gruops: unknown field"},
		{"workloads: [{}]", "spec.workloads[0]: want namespaces, selector or name"},
	} {
		if err := apply(tc.spec, false); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.spec, err, tc.says)
		}
	}
	// What somebody else applies is theirs.
	body := fmt.Sprintf(`{"apiVersion":"drover.dev/v1alpha1","kind":"Environment","metadata":{"name":%q},"spec":{"protected":false}}`, w.name)
	_, err := w.cluster.objects.Resource(v1alpha1.Environments).Patch(t.Context(), w.name, types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "flux", Force: new(true)})
	w.ok(err)
	if err := apply("protected: true", false); err == nil || !strings.Contains(err.Error(), `conflict with "flux"`) {
		t.Errorf("taken from its owner: %v", err)
	}
}

// The API server turns away what drover could not understand, whoever writes it.
func TestTheDefinitionOfEnvironments(t *testing.T) {
	w := newSwitching(t)
	for _, tc := range []struct{ spec, says string }{
		{`{"workloads":[{"kind":"Deployment"}]}`, "this chooses nothing"},
		{`{"databases":[{}]}`, "want instance or cluster"},
		{`{"databases":[{"instance":"a","cluster":"b"}]}`, "want instance or cluster"},
		{`{"databases":[{"instance":"a","lower":"0.5"}]}`, "lower is for clusters"},
		{`{"databases":[{"cluster":"a","lower":"0.7"}]}`, "spec.databases[0].lower"},
		{`{"schedule":{"zone":"UTC"}}`, "spec.schedule.awake: Required"},
		{`{"schedule":{"zone":"UTC","true":[{}]}}`, ".spec.schedule.true: field not declared"},
		{`{"schedule":{"zone":"UTC","awake":[{"days":["Weekdays"],"from":"08:00","to":"19:00"}]}}`, "spec.schedule.awake[0].days[0]"},
		{`{"schedule":{"zone":"UTC","awake":[{"days":["Mon"],"from":"8:00","to":"19:00"}]}}`, "spec.schedule.awake[0].from"},
		{`{"schedule":{"zone":"UTC","awake":[{"days":["Mon"],"from":"08:00","to":"24:01"}]}}`, "spec.schedule.awake[0].to"},
		{`{"order":[{"name":"a","workloads":[{"name":"x"}]}]}`, "order is of workloads"},
		{`{"archive":"/tmp"}`, "spec.archive"},
		{`{"prices":[{"subject":"a","awake":"1,5"}]}`, "spec.prices[0].awake"},
		{`{"policy":{"shared":"own"}}`, "spec.policy.shared"},
		{`{"groups":["a","a"]}`, "duplicate entries"},
	} {
		body := fmt.Sprintf(`{"apiVersion":"drover.dev/v1alpha1","kind":"Environment","metadata":{"name":%q},"spec":%s}`, w.name, tc.spec)
		how := metav1.PatchOptions{FieldManager: "x", FieldValidation: metav1.FieldValidationStrict}
		_, err := w.cluster.objects.Resource(v1alpha1.Environments).Patch(t.Context(), w.name, types.ApplyPatchType, []byte(body), how)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.spec, err, tc.says)
		}
	}
}

// An object that cannot be understood is in trouble, and hides no other.
func TestABadEnvironmentHidesNoOther(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	bad := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "drover.dev/v1alpha1", "kind": "Environment", "metadata": map[string]any{"name": "bad-" + w.name},
		"spec": map[string]any{"schedule": map[string]any{"zone": "UTC", "exceptions": []any{map[string]any{"from": "2026-02-30T00:00", "to": "2026-03-01T00:00", "state": "Awake"}},
			"awake": []any{map[string]any{"days": []any{"Mon"}, "from": "08:00", "to": "19:00"}}}},
	}}
	environments := w.cluster.objects.Resource(v1alpha1.Environments)
	_, err := environments.Create(t.Context(), bad, metav1.CreateOptions{})
	w.ok(err)
	t.Cleanup(func() { environments.Delete(context.Background(), bad.GetName(), metav1.DeleteOptions{}) })
	var e *fleet.Environment
	w.eventually("the bad one", func() bool { e = w.switched().Environment(bad.GetName()); return e != nil })
	if len(e.Trouble) != 1 || !strings.HasPrefix(e.Trouble[0], `spec.schedule.exceptions[0].from: "2026-02-30T00:00": want a moment`) || e.Source != "Environment "+bad.GetName() {
		t.Errorf("%+v", e)
	}
	if good := w.itself(); len(good.Trouble) > 0 || len(good.Spec.Workloads) != 1 {
		t.Errorf("%+v", good)
	}
}

func TestACalendarInAConfigMap(t *testing.T) {
	w := newSwitching(t)
	w.apply(`schedule: {zone: UTC, awake: [{days: [Mon], from: "08:00", to: "19:00"}], holidays: {configMap: {namespace: ` + w.name + `, name: days, key: off.ics}}}`)
	now := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	look := func(after time.Duration) *fleet.Environment {
		t.Helper()
		var e *fleet.Environment
		w.eventually("the environment", func() bool {
			s := w.observeAt(now.Add(after))
			w.ok(w.cluster.ObserveEnvironments(t.Context(), &s))
			e = s.Environment(w.name)
			return e != nil
		})
		return e
	}
	missing := "spec.schedule.holidays.configMap: there is no configmap " + w.name + "/days"
	if e := look(0); !slices.Equal(e.Trouble, []string{missing}) {
		t.Errorf("%q", e.Trouble)
	}
	maps := w.client.CoreV1().ConfigMaps(w.name)
	m, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "days"}, Data: map[string]string{"on.ics": "x"}}, metav1.CreateOptions{})
	w.ok(err)
	if e := look(calendarEvery); len(e.Trouble) != 1 || !strings.HasSuffix(e.Trouble[0], "configmap "+w.name+"/days has no key off.ics") {
		t.Errorf("%q", e.Trouble)
	}
	m.Data["off.ics"] = "BEGIN:VCALENDAR"
	_, err = maps.Update(t.Context(), m, metav1.UpdateOptions{})
	w.ok(err)
	if e := look(calendarEvery + time.Second); len(e.Trouble) != 1 {
		t.Errorf("read again at once: %+v", e)
	}
	if e := look(2 * calendarEvery); len(e.Trouble) > 0 || e.Spec.Schedule.Calendar != "BEGIN:VCALENDAR" {
		t.Errorf("%q %+v", e.Trouble, e.Spec.Schedule)
	}
}

func TestPublishEnvironment(t *testing.T) {
	w := newSwitching(t)
	w.environment()
	r := w.sleep("r-1")
	w.ok(w.remember(r))
	show := func(v EnvironmentShown) (version string, status v1alpha1.EnvironmentStatus) {
		t.Helper()
		w.ok(w.cluster.PublishEnvironment(t.Context(), w.name, v))
		u := w.rawEnvironment()
		raw, _, _ := unstructured.NestedMap(u.Object, "status")
		body, err := json.Marshal(raw)
		w.ok(err)
		w.ok(json.Unmarshal(body, &status))
		return u.GetResourceVersion(), status
	}
	v := EnvironmentShown{State: "going to sleep", Since: evening, Next: "on Mon 08:00", Saved: "1.20 USD", Waiting: []string{"web has 1 pod still"}}
	before, got := show(v)
	want := v1alpha1.EnvironmentSummary{State: "going to sleep", Since: metav1.NewTime(evening), Next: "on Mon 08:00", Saved: "1.20 USD", Waiting: v.Waiting}
	if got.Summary.Since.UTC() != evening {
		t.Errorf("since %s", got.Summary.Since)
	}
	got.Summary.Since = want.Since
	if !reflect.DeepEqual(got.Summary, want) || len(got.Conditions) != 2 || got.Conditions[0].Type != v1alpha1.Asleep || got.Conditions[0].Status != "False" || got.Conditions[0].Reason != "Going_to_sleep" {
		t.Errorf("%+v", got)
	}
	if after, _ := show(v); after != before {
		t.Error("written again")
	}
	v.Waiting = lines(300)
	before, got = show(v)
	if n := len(got.Summary.Waiting); n != shownLines+1 || got.Summary.Waiting[shownLines] != "and 290 more" || len(got.Conditions[1].Message) > shownBytes || !strings.HasPrefix(got.Conditions[1].Message, v.Waiting[0]+"; ") {
		t.Errorf("%d lines, %q", n, got.Conditions[1].Message)
	}
	if after, _ := show(v); after != before {
		t.Error("written again")
	}
	_, got = show(EnvironmentShown{State: "asleep", Asleep: true})
	if got.Summary.Waiting != nil || got.Summary.Next != "" || !got.Summary.Since.IsZero() || got.Conditions[0].Status != "True" || got.Conditions[1].Status != "False" {
		t.Errorf("%+v", got)
	}
	if e := w.itself(); !reflect.DeepEqual(e.Record, &r) {
		t.Errorf("the record changed: %+v", e.Record)
	}
	w.ok(w.cluster.PublishEnvironment(t.Context(), "none", v))
}

// With Rights and EnvironmentRights, and no other, environments are seen and switched, whichever kinds the cluster knows.
func TestEnvironmentRightsSuffice(t *testing.T) {
	w := newJournaled(t)
	w.defineAll()
	cfg := w.grant("switch-"+w.name, Rights, EnvironmentRights)
	w.eventually("the rights", func() (ok bool) {
		c, err := Open(t.Context(), cfg)
		if err == nil {
			err = c.WatchEnvironments(t.Context())
		}
		if err == nil {
			w.cluster = c
		}
		return err == nil
	})
	admin, err := Dial(t.Context(), shared.plane.Config())
	w.ok(err)
	as := func(c *Cluster, act func()) { w.cluster, c = c, w.cluster; act(); w.cluster = c }
	w.environment()
	w.ok(w.remember(w.sleep("r-1")))
	w.ok(w.cluster.Wish(t.Context(), w.name, &fleet.Wish{On: true}))
	w.ok(w.cluster.PublishEnvironment(t.Context(), w.name, EnvironmentShown{State: "on"}))
	for i, m := range manifests {
		var u *unstructured.Unstructured
		as(admin, func() { u = w.object(m.kind, fmt.Sprint("a-", i), m.spec) })
		r := recorded(t, u)
		for _, v := range []fleet.Verb{fleet.TurnOff, fleet.TurnOn, fleet.Unmark} {
			w.ok(w.turn(v, r))
		}
		w.eventually(r.ID()+" as a part", func() bool {
			p := w.switched().Part(r.Owner)
			return p != nil && p.UID == r.UID && p.Value == r.Value && p.Absent == r.Absent && p.Mark == nil
		})
		if r.Turn == fleet.Scaled && m.kind != "Rollout" {
			at := fleet.Placement{Owner: r.Owner, UID: r.UID, Labels: map[string]string{"env": "stg"}, Toleration: fleet.Toleration{Key: "env", Value: "stg"}}
			w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.Place, Placement: &at}))
		}
	}
	w.ok(w.cluster.Act(t.Context(), fleet.Action{Verb: fleet.MakeBudget, NewBudget: &fleet.NewBudget{Namespace: w.name, Name: "b", Match: map[string]string{"a": "b"}}}))
	w.ok(w.conclude("r-1", evening))
	w.apply(`workloads: [{namespaces: [a]}], schedule: {zone: UTC, awake: [{days: [Mon], from: "08:00", to: "19:00"}], holidays: {configMap: {namespace: ` + w.name + `, name: days, key: ics}}}`)
	if got := w.itself().Trouble; len(got) != 1 || !strings.Contains(got[0], "read configmap "+w.name+"/days: ") || !strings.Contains(got[0], "cannot get resource") {
		t.Errorf("%q", got)
	}
	days := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "days"}, Data: map[string]string{"ics": "x"}}
	_, err = w.client.CoreV1().ConfigMaps(w.name).Create(t.Context(), days, metav1.CreateOptions{})
	w.ok(err)
	cfg = w.grant("days-"+w.name, Rights, EnvironmentRights, CalendarRights(w.name, "days"))
	w.eventually("the holidays", func() bool {
		c, err := Open(t.Context(), cfg)
		if err != nil || c.WatchEnvironments(t.Context()) != nil {
			return false
		}
		w.cluster = c
		return len(w.itself().Trouble) == 0
	})
}

// Kinds of others come when their definition is installed.
func TestAKindIsInstalledLater(t *testing.T) {
	w := newJournaled(t)
	s := switchableOf("ScaledObject")
	w.undefine(s.resource)
	w.ok(w.cluster.WatchEnvironments(t.Context()))
	w.switched()
	w.define(s.kind, s.resource)
	u := w.object("ScaledObject", "web", `{"spec":{"scaleTargetRef":{"name":"web"}}}`)
	w.eventually("the ScaledObject", func() bool { return w.switched().Part(recorded(t, u).Owner) != nil })
}
