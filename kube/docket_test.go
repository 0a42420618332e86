package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"drover.dev/api/v1alpha1"
	"drover.dev/fleet"
)

// calls are the requests of one client, without those of its informers.
type calls struct {
	mu   sync.Mutex
	made []string
	next http.RoundTripper
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); !q.Has("watch") && !q.Has("resourceVersion") {
		c.mu.Lock()
		path := strings.Split(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/"), "/")
		c.made = append(c.made, r.Method+" "+strings.Join(path[1:], "/"))
		c.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

// take returns what was asked since the last time.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.made
	c.made = nil
	return out
}

// counted has the world's cluster be one whose requests are counted.
func (w *world) counted() *calls {
	w.Helper()
	out := &calls{}
	cfg := *w.cfg
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		out.mu.Lock()
		defer out.mu.Unlock()
		if out.next == nil {
			out.next = next
		}
		return out
	})
	var err error
	w.cluster, err = Open(w.Context(), &cfg)
	w.ok(err)
	out.take()
	return out
}

// made checks which requests were made since the last time.
func (w *world) made(c *calls, what string, want ...string) {
	w.Helper()
	if got := c.take(); !slices.Equal(got, want) {
		w.Errorf("%s: asked %q, want %q", what, got, want)
	}
}

func (w *world) signal(id string, deadline time.Time) fleet.Signal {
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	return fleet.Signal{Heard: at.Add(1234567 * time.Microsecond), Notice: fleet.Notice{
		ID: id, Kind: fleet.SpotInterruption, Source: fleet.FromEventBridge, At: at, Why: "EC2 takes it back", Instance: w.instance(), Effect: "terminate", Deadline: deadline}}
}

// instance is the id of the test's instance.
func (w *world) instance() string { return "i-" + w.name }

// hear files a signal, as intake does.
func (w *world) hear(s fleet.Signal) func(fleet.Case) (fleet.Case, bool) {
	return func(have fleet.Case) (fleet.Case, bool) {
		if slices.ContainsFunc(have.Signals, func(old fleet.Signal) bool { return old.ID == s.ID }) {
			return have, false
		}
		if have.Opened.IsZero() || !have.Open() {
			have.Opened, have.Marks = s.Heard, fleet.CaseMarks{}
			have.Departure = fleet.Departure{Instance: have.Instance, Node: w.name, Cause: fleet.Noticed}
		}
		have.Signals = append(have.Signals, s)
		have.Why, have.Deadline = s.Why, s.Deadline
		return have, true
	}
}

// marked changes the marks.
func marked(m fleet.CaseMarks) func(fleet.Case) (fleet.Case, bool) {
	return func(have fleet.Case) (fleet.Case, bool) {
		differs := have.Marks != m
		have.Marks = m
		return have, differs
	}
}

func (w *world) file(change func(fleet.Case) (fleet.Case, bool)) {
	w.Helper()
	w.ok(w.cluster.File(w.Context(), w.instance(), change))
}

// open is the test's case as Observe shows it; nil when it shows none.
func (w *world) open() *fleet.Case {
	w.Helper()
	s := w.observe()
	return s.Case(w.instance())
}

// Each change is one write, and Observe shows it at once.
func TestFile(t *testing.T) {
	w := newJournaled(t)
	asked := w.counted()
	path := "v1alpha1/departures/" + w.instance()
	spot, hook := w.signal("spot-1", time.Date(2026, 11, 21, 20, 2, 0, 0, time.UTC)), w.signal("hook/1", time.Time{})
	hook.Kind, hook.Hook, hook.Group, hook.Token = fleet.TerminateHook, "drover-terminate", "web", "t-1"
	shows := func(what string, want *fleet.Case) {
		t.Helper()
		if got := w.open(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	w.file(w.hear(spot))
	want := &fleet.Case{Departure: fleet.Departure{Instance: w.instance(), Node: w.name, Cause: fleet.Noticed, Why: spot.Why, Deadline: spot.Deadline}, Opened: spot.Heard, Signals: []fleet.Signal{spot}}
	shows("the first signal", want)
	w.made(asked, "the first signal", "POST v1alpha1/departures")

	w.file(w.hear(spot))
	w.made(asked, "a signal on file")

	w.file(w.hear(hook))
	want.Signals, want.Deadline = append(want.Signals, hook), time.Time{}
	shows("another signal, and no deadline", want)
	w.made(asked, "another signal", "PATCH "+path)

	mark := fleet.CaseMarks{Rotation: "r-1", Replaced: spot.At}
	w.file(marked(mark))
	want.Marks = mark
	shows("a mark", want)
	w.made(asked, "a mark", "PATCH "+path+"/status")

	mark.Ended, mark.End = spot.At.Add(time.Minute), "gone"
	log := []fleet.Entry{{At: spot.At, Source: "drover", What: "evicted pod shop/web-1"}}
	w.file(func(have fleet.Case) (fleet.Case, bool) {
		have.Marks, have.Log = mark, log
		return have, true
	})
	shows("over", nil)
	if s := w.observeAt(mark.Ended.Add(59 * time.Minute)); s.Case(w.instance()) == nil {
		t.Error("what was over less than an hour ago is not shown")
	}
	w.made(asked, "the end and the log", "PATCH "+path+"/status")

	again := w.signal("hook/2", time.Time{})
	again.Heard = again.Heard.Add(time.Hour)
	var had fleet.Case
	w.file(func(have fleet.Case) (fleet.Case, bool) {
		had = have
		return w.hear(again)(have)
	})
	if had.Marks != mark || !slices.Equal(had.Log, log) || len(had.Signals) != 2 {
		t.Errorf("what was over reads as %+v", had)
	}
	want = &fleet.Case{Departure: fleet.Departure{Instance: w.instance(), Node: w.name, Cause: fleet.Noticed, Why: again.Why}, Opened: again.Heard,
		Signals: []fleet.Signal{spot, hook, again}, Log: log}
	shows("opened again", want)
	w.made(asked, "opened again", "PATCH "+path)
	w.file(marked(fleet.CaseMarks{Ended: again.Heard, End: "back in service"}))
	shows("over again", nil)
	w.made(asked, "over again", "PATCH "+path+"/status")

	w.eventually("the bell", func() bool {
		select {
		case <-w.cluster.Changed():
			return true
		default:
			return false
		}
	})
	select { // the changes that the informer hears of are over: what rings now is File itself
	case <-w.cluster.Changed():
	default:
	}
	w.file(w.hear(w.signal("late", time.Time{})))
	w.eventually("the bell of a filing", func() bool { return len(w.cluster.Changed()) > 0 })

	// A fresh process reads the same, and nobody watching reads live.
	fresh, err := Dial(t.Context(), w.cfg)
	w.ok(err)
	seen := 0
	w.ok(fresh.File(t.Context(), w.instance(), func(have fleet.Case) (fleet.Case, bool) { seen = len(have.Signals); return have, false }))
	if seen != 4 {
		t.Errorf("a fresh process sees %d signals", seen)
	}
}

// Whoever goes by an old copy is told, and decides anew.
func TestFileJoinsWhatOthersFiled(t *testing.T) {
	w := newJournaled(t)
	asked := w.counted()
	path := "v1alpha1/departures/" + w.instance()
	other, err := Open(t.Context(), w.cfg)
	w.ok(err)
	tries := 0
	w.file(func(have fleet.Case) (fleet.Case, bool) {
		if tries++; tries == 1 {
			w.ok(other.File(t.Context(), w.instance(), w.hear(w.signal("theirs", time.Time{}))))
		}
		return w.hear(w.signal("ours", time.Time{}))(have)
	})
	if k := w.open(); tries != 2 || k == nil || len(k.Signals) != 2 || k.Signals[0].ID != "theirs" {
		t.Errorf("after %d tries: %+v", tries, k)
	}
	w.made(asked, "somebody else was first", "POST v1alpha1/departures", "GET "+path, "PATCH "+path)

	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			c := w.cluster
			if i%2 == 0 {
				c = other
			}
			if err := c.File(t.Context(), w.instance(), w.hear(w.signal(fmt.Sprint("s-", i), time.Time{}))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var all fleet.Case
	w.file(func(have fleet.Case) (fleet.Case, bool) {
		all = have
		have.Why = "to read the newest"
		return have, true
	})
	if len(all.Signals) != 14 {
		t.Errorf("%d signals of 14: %+v", len(all.Signals), all.Signals)
	}

	// Deleted by somebody: it is filed anew.
	departures := w.cluster.objects.Resource(v1alpha1.Departures)
	w.ok(departures.Delete(t.Context(), w.instance(), metav1.DeleteOptions{}))
	w.file(w.hear(w.signal("anew", time.Time{})))
	if k := w.open(); k == nil || len(k.Signals) != 1 {
		t.Errorf("filed anew: %+v", k)
	}
	w.ok(departures.Delete(t.Context(), w.instance(), metav1.DeleteOptions{}))
	w.eventually("no case", func() bool { return w.open() == nil })
}

func TestFileRefusesNonsense(t *testing.T) {
	w := newJournaled(t)
	for what, change := range map[string]func(fleet.Case) (fleet.Case, bool){
		"another instance": func(have fleet.Case) (fleet.Case, bool) {
			have.Instance, have.Opened = "i-2", time.Now()
			return have, true
		},
		"never opened": func(have fleet.Case) (fleet.Case, bool) { return have, true },
	} {
		if err := w.cluster.File(t.Context(), w.instance(), change); err == nil || !strings.Contains(err.Error(), "departure "+w.instance()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.cluster.File(t.Context(), "no such ID", func(have fleet.Case) (fleet.Case, bool) { have.Opened = time.Now(); return have, true }); !apierrors.IsInvalid(err) {
		t.Errorf("no name: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.cluster.File(over, w.instance(), w.hear(w.signal("s", time.Time{}))); !errors.Is(err, context.Canceled) {
		t.Errorf("out of time: %v", err)
	}
}

// What drover keeps to, the API server holds others to as well.
func TestTheDefinitionGuardsACase(t *testing.T) {
	w := newJournaled(t)
	w.file(w.hear(w.signal("one", time.Time{})))
	ended := w.signal("two", time.Time{})
	ended.Ended = ended.Heard
	w.file(w.hear(ended))
	w.file(marked(fleet.CaseMarks{Ended: ended.Heard}))
	departures := w.cluster.objects.Resource(v1alpha1.Departures)
	patch := func(body string, subresource ...string) error {
		_, err := departures.Patch(t.Context(), w.instance(), types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresource...)
		return err
	}
	denied := func(what, because string, err error) {
		t.Helper()
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v", what, err)
		}
	}
	denied("another instance", "a case is about one instance", patch(`{"spec":{"instance":"i-2"}}`))
	denied("no instance", "a case is about one instance", patch(`{"spec":{"instance":null}}`))
	denied("no case any more", "nor a case another departure", patch(`{"spec":{"opened":null}}`))
	denied("no signals", "a signal stays on file", patch(`{"spec":{"signals":null}}`))
	denied("one signal less", "a signal stays on file", patch(`{"spec":{"signals":[{"id":"one"}]}}`))
	denied("two of one id", "Duplicate value", patch(`{"spec":{"signals":[{"id":"one"},{"id":"two"},{"id":"two"}]}}`))
	denied("not over any more", "opened again by another round", patch(`{"status":{"marks":{"ended":null}}}`, "status"))
	denied("no marks", "marks are never cleared", patch(`{"status":{"marks":null}}`, "status"))
	denied("no status", "status is never cleared", patch(`{"status":null}`, "status"))
	w.ok(patch(`{"spec":{"why":"other words","round":1}}`))
	denied("a round back", "round does not go back", patch(`{"spec":{"round":null}}`))

	// Signals that ended make room for others, and only they.
	for i := range v1alpha1.MaxSignals + 2 {
		s := w.signal(fmt.Sprintf("more-%02d", i), time.Time{})
		if i > 10 {
			s.Ended = s.Heard.Add(time.Duration(i) * time.Second)
		}
		w.file(w.hear(s))
	}
	k := w.open()
	if k == nil || len(k.Signals) != v1alpha1.MaxSignals || slices.ContainsFunc(k.Signals, func(s fleet.Signal) bool { return s.ID == "two" || s.ID == "more-11" }) {
		t.Errorf("left: %+v", k)
	}

	rotations := fleet.Progress{Run: "r-" + w.name, Exits: []fleet.ExitProgress{{Departure: fleet.Departure{Instance: "i-9", Cause: fleet.Drain}, Phase: fleet.ExitWaiting}}}
	w.ok(w.cluster.Publish(t.Context(), rotations))
	name := rotations.Run + ".i-9"
	for what, body := range map[string]string{"its words": `{"spec":{"why":"x"}}`, "signals": `{"spec":{"signals":[{"id":"x"}]}}`, "to a case": `{"spec":{"opened":"2026-11-21T20:00:00.000000Z"}}`} {
		if _, err := departures.Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("a run's departure changes %s: %v", what, err)
		}
	}
}

// The table that kubectl shows of cases fits a terminal of eighty columns.
func TestCasesFitATerminal(t *testing.T) {
	w := newJournaled(t)
	const instance = "i-0123456789abcdef0"
	deadline := time.Date(2026, 11, 21, 20, 2, 0, 0, time.UTC)
	w.ok(w.cluster.File(t.Context(), instance, func(have fleet.Case) (fleet.Case, bool) {
		have.Departure = fleet.Departure{Instance: instance, Node: "ip-10-20-130-123.eu-west-1.compute.internal", Cause: fleet.Noticed, Deadline: deadline}
		have.Opened = deadline
		return have, true
	}))
	w.ok(w.cluster.PublishCase(t.Context(), *(new(w.observe())).Case(instance), fleet.ExitEmptying, "", 110))
	var table metav1.Table
	w.ok(w.client.RESTClient().Get().AbsPath("/apis/drover.dev/v1alpha1/departures/"+instance).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(t.Context()).Into(&table))
	if len(table.Rows) != 1 {
		t.Fatalf("rows: %+v", table.Rows)
	}
	width, line := 0, ""
	for i, column := range table.ColumnDefinitions {
		if cell := fmt.Sprint(table.Rows[0].Cells[i]); column.Priority == 0 {
			width += max(len(cell), len(column.Name)) + 3
			line += cell + " "
		}
	}
	if width > 80 || line != instance+" notice Emptying 110 2026-11-21T20:02:00Z " {
		t.Errorf("%d columns: %s", width, line)
	}
}

// A case that cannot be read is told, and the others are there.
func TestABrokenCaseStopsNoOther(t *testing.T) {
	s := newStock(t)
	put := func(name string, spec map[string]any) {
		u := &unstructured.Unstructured{Object: map[string]any{"kind": "Departure", "metadata": map[string]any{"name": name, "resourceVersion": "7"}, "spec": spec}}
		if err := s.cases.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	put("i-2", map[string]any{"instance": "i-2", "opened": "2026-11-21T20:00:00.000000Z"})
	put("i-1", map[string]any{"instance": "i-1", "opened": "2026-11-21T20:00:00.000000Z"})
	put("i-3", map[string]any{"instance": "i-3", "opened": "yesterday"})
	put("i-4", map[string]any{"instance": "i-9", "opened": "2026-11-21T20:00:00.000000Z"})
	put("i-5", map[string]any{"instance": "i-5"})
	for range 2 { // what is remembered says the same
		got := s.observe()
		if len(got.Cases) != 2 || got.Cases[0].Instance != "i-1" || got.Cases[1].Instance != "i-2" {
			t.Errorf("cases: %+v", got.Cases)
		}
		told := s.Unreadable()
		if len(told) != 3 {
			t.Fatalf("told: %v", told)
		}
		for i, words := range []string{"departure i-3: unreadable", `departure i-4: is about instance "i-9"`, "departure i-5: unreadable: it does not say when it was opened"} {
			if !strings.Contains(told[i].Error(), words) {
				t.Errorf("told %q, want %q", told[i], words)
			}
		}
		got.Cases[0].Signals = append(got.Cases[0].Signals, fleet.Signal{}) // the snapshot is the caller's
	}
	change := func(fleet.Case) (fleet.Case, bool) { t.Error("asked what to make of it"); return fleet.Case{}, false }
	if err := s.File(t.Context(), "i-5", change); err == nil || !strings.Contains(err.Error(), "departure i-5: unreadable") {
		t.Errorf("filed: %v", err)
	}
	put("i-5", map[string]any{"instance": "i-5", "opened": "2026-11-21T20:00:00.000000Z"})
	if s.observe(); len(s.Unreadable()) != 2 {
		t.Errorf("mended, and yet %v", s.Unreadable())
	}
}

// Of the cases that are over only so many are kept, and one sweep takes many.
func TestOldCasesAreForgotten(t *testing.T) {
	w := newJournaled(t)
	asked := w.counted()
	departures := w.cluster.objects.Resource(v1alpha1.Departures)
	w.ok(departures.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.NoticeLabel + "=true"}))
	w.eventually("no cases", func() bool { w.observe(); return len(w.cluster.knownCases()) == 0 })
	const keep = 20
	name := func(i int) string { return fmt.Sprintf("%s-%02d", w.instance(), i) }
	opened := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	begin := func(i int, over bool) {
		t.Helper()
		w.ok(w.cluster.File(t.Context(), name(i), func(have fleet.Case) (fleet.Case, bool) {
			have.Opened = opened
			if over {
				have.Marks = fleet.CaseMarks{Ended: opened.Add(time.Duration(i) * time.Minute), End: "gone"}
			}
			return have, true
		}))
	}
	begin(0, false)
	for i := range keep + keep/10 {
		begin(i+1, true)
	}
	sweep := func() { w.observe(); asked.take(); w.ok(w.cluster.PruneCases(t.Context(), keep)) }
	sweep()
	w.made(asked, "a tenth too many")
	begin(keep+keep/10+1, true)
	w.observe()
	w.ok(w.cluster.File(t.Context(), name(2), marked(fleet.CaseMarks{}))) // opened again after the last look
	asked.take()
	w.ok(w.cluster.PruneCases(t.Context(), keep))
	w.made(asked, "the sweep", "DELETE v1alpha1/departures/"+name(1), "DELETE v1alpha1/departures/"+name(2), "DELETE v1alpha1/departures/"+name(3))
	w.eventually("the others", func() bool { w.observe(); return len(w.cluster.knownCases()) == keep+2 })
	s := w.observe()
	if len(s.Cases) != 2 || s.Cases[0].Instance != name(0) || s.Cases[1].Instance != name(2) {
		t.Errorf("open: %+v", s.Cases)
	}
	sweep()
	w.made(asked, "nothing left to do")
}
