package v1alpha1

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"drover.dev/fleet"
)

// through is a case after it was kept as the API server keeps it.
func through(t *testing.T, c fleet.Case) (fleet.Case, []byte) {
	t.Helper()
	object, err := FromCase(c)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var back Departure
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	got, err := back.Case()
	if err != nil {
		t.Fatal(err)
	}
	return got, body
}

// What is read back is what was filed.
func TestACaseReadsBackExactly(t *testing.T) {
	for seed := range uint64(300) {
		var want fleet.Case
		if seed > 0 { // the first is empty
			fill(reflect.ValueOf(&want).Elem(), rand.New(rand.NewPCG(seed, seed)))
		}
		for i := range want.Signals {
			want.Signals[i].Instance = want.Instance
			want.Signals[i].At = want.Signals[i].At.Add(123456 * time.Microsecond)
		}
		if got, body := through(t, want); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\n got %+v\nwant %+v\n  as %s", seed, got, want, body)
		}
	}
}

func at(minute int) time.Time {
	return time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
}

func signals(n int) []fleet.Signal {
	var out []fleet.Signal
	for i := range n {
		out = append(out, fleet.Signal{Notice: fleet.Notice{ID: fmt.Sprint("s-", i), Kind: fleet.TerminateHook, Instance: "i-1"}, Heard: at(i)})
	}
	return out
}

func TestACaseIsBounded(t *testing.T) {
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-1", Why: strings.Repeat("größer ", 1000)}, Signals: signals(MaxSignals + 3)}
	if _, err := FromCase(c); err == nil || !strings.Contains(err.Error(), "departure i-1: 35 signals hold at once") {
		t.Errorf("too many that hold: %v", err)
	}
	for i, minute := range map[int]int{3: 9, 4: 7, 5: 8, 6: 10} {
		c.Signals[i].Ended = at(minute)
	}
	for i := range 500 {
		c.Log = append(c.Log, fleet.Entry{At: at(i), Source: strings.Repeat("s", 99), What: fmt.Sprint(i, strings.Repeat("é", 400))})
	}
	c.Marks.End = strings.Repeat("x", 999)
	got, body := through(t, c)
	if len(body) > caseBytes+200 {
		t.Errorf("%d bytes", len(body))
	}
	var left []string
	for _, s := range got.Signals {
		left = append(left, s.ID)
	}
	if len(left) != MaxSignals || strings.Join(left[:5], " ") != "s-0 s-1 s-2 s-6 s-7" {
		t.Errorf("%d signals left: %v", len(left), left)
	}
	n := len(got.Log)
	if n == 0 || n > maxLog || !got.Log[n-1].At.Equal(at(499)) || !got.Log[0].At.Equal(at(500-n)) {
		t.Errorf("%d entries left, from %v", n, got.Log[0].At)
	}
	for what, pair := range map[string]struct {
		text string
		most int
	}{"why": {got.Why, whyBytes}, "entry": {got.Log[0].What, textBytes}, "source": {got.Log[0].Source, sourceBytes}, "end": {got.Marks.End, textBytes}} {
		if len(pair.text) > pair.most || len(pair.text) < pair.most-5 || !utf8.ValidString(pair.text) || !strings.HasSuffix(pair.text, "...") {
			t.Errorf("%s: %d bytes of at most %d: %q", what, len(pair.text), pair.most, pair.text)
		}
	}
	if again, _ := through(t, got); !reflect.DeepEqual(again, got) {
		t.Error("what is bounded already changes again")
	}

	c.Log = c.Log[:150]
	for i := range c.Log {
		c.Log[i].What = "short"
	}
	c.Signals = nil
	if got, _ := through(t, c); len(got.Log) != maxLog {
		t.Errorf("%d short entries left", len(got.Log))
	}

	c.Signals = signals(MaxSignals)
	for i := range c.Signals {
		s, name := &c.Signals[i], strings.Repeat("n", nameBytes)
		s.Group, s.Hook, s.Token = name, name, name
	}
	if _, err := FromCase(c); err == nil || !strings.Contains(err.Error(), "departure i-1: its 32 signals take ") {
		t.Errorf("too large: %v", err)
	}
}

func TestACaseIsAboutItsInstance(t *testing.T) {
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-1"}, Signals: signals(1)}
	object, err := FromCase(c)
	if err != nil {
		t.Fatal(err)
	}
	object.Name = "i-2"
	if _, err := object.Case(); err == nil || !strings.Contains(err.Error(), `departure i-2: is about instance "i-1"`) {
		t.Errorf("read: %v", err)
	}
	c.Signals[0].Instance = "i-3"
	if _, err := FromCase(c); err == nil || !strings.Contains(err.Error(), `signal "s-0" is about "i-3"`) {
		t.Errorf("written: %v", err)
	}
}

// A case that is opened again has no marks, whatever its status says of the round before.
func TestMarksAreOfTheirRound(t *testing.T) {
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-1"}, Opened: at(0), Marks: fleet.CaseMarks{Rotation: "r-1", Ended: at(9), End: "gone"}}
	object, err := FromCase(c)
	if err != nil {
		t.Fatal(err)
	}
	object.Spec.Round = 1
	if got, err := object.Case(); err != nil || got.Marks != (fleet.CaseMarks{}) || !got.Open() {
		t.Errorf("marks %+v, %v", got.Marks, err)
	}
	have := object.Status.Marks
	for _, change := range []struct {
		what string
		to   fleet.CaseMarks
		want bool
	}{
		{"the same", c.Marks, true},
		{"other words", fleet.CaseMarks{Rotation: "r-2", Ended: at(10)}, true},
		{"one more", fleet.CaseMarks{Rotation: "r-1", Replaced: at(1), Ended: at(9)}, true},
		{"none", fleet.CaseMarks{}, false},
		{"no rotation", fleet.CaseMarks{Ended: at(9)}, false},
		{"no end", fleet.CaseMarks{Rotation: "r-1"}, false},
	} {
		next, err := FromCase(fleet.Case{Departure: c.Departure, Marks: change.to})
		if err != nil {
			t.Fatal(err)
		}
		if got := next.Status.Marks.Continues(have); got != change.want {
			t.Errorf("%s: continues %v", change.what, got)
		}
	}
}

// Whatever a notice says, the API server takes the object: words are shortened, and what may not be is refused here, with the reason.
func TestSignalsFitTheDefinition(t *testing.T) {
	text, err := os.ReadFile("../../deploy/crds/drover.dev_departures.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	takes := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["signals"].Items.Schema.Properties
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long := strings.Repeat("é", 2000)
	c := fleet.Case{Departure: fleet.Departure{Instance: "i-0123456789abcdef0"}, Opened: at, Signals: []fleet.Signal{{Heard: at, Notice: fleet.Notice{
		Instance: "i-0123456789abcdef0", At: at, ID: long[:idBytes], Group: long[:nameBytes], Hook: long[:nameBytes],
		Kind: fleet.NoticeKind(long), Source: fleet.Source(long), Why: long, Token: long, Origin: long, Destination: long, Effect: long, Account: long, Region: long}}}}
	d, err := FromCase(c)
	if err != nil {
		t.Fatal(err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&d.Spec.Signals[0])
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, v := range content {
		text, is := v.(string)
		most := takes[name].MaxLength
		if !is || takes[name].Format != "" {
			continue
		}
		if checked++; most == nil || len(text) > int(*most) || len(text) < int(*most)-4 {
			t.Errorf("%s: %d bytes, the definition takes %v", name, len(text), most)
		}
	}
	if checked != 12 {
		t.Errorf("%d texts looked at, want 12", checked)
	}
	for name, spoil := range map[string]func(*fleet.Notice){
		"id": func(n *fleet.Notice) { n.ID += "x" }, "group": func(n *fleet.Notice) { n.Group += "x" }, "hook": func(n *fleet.Notice) { n.Hook += "x" },
	} {
		one := c.Clone()
		spoil(&one.Signals[0].Notice)
		if _, err := FromCase(one); err == nil || !strings.Contains(err.Error(), "can be on file") {
			t.Errorf("%s too long: %v", name, err)
		}
	}
}
