package v1alpha1

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/fleet"
)

// Bounds of a case's object. Kubernetes' own notes on who wrote which field come on top of caseBytes: with these the whole stays under 32 KiB.
const (
	MaxSignals = 32 // the definition says it too
	maxLog     = 100
	caseBytes  = 20 << 10

	whyBytes    = 1024 // of the departure
	textBytes   = 256  // of a signal, of an entry, of how it ended
	sourceBytes = 64

	idBytes   = 512 // of a signal
	nameBytes = 256
	wordBytes = 64
)

// FromCase is the object that holds a case. What happened is kept to the microsecond, because one notice is told from the next by when it was sent;
// deadlines to the second; words up to a length. When there are too many signals those that ended longest ago go; of the log, the oldest entries.
// Signals that hold are never left out: too many are an error, as is a name that is too long, which shortened would be another's.
func FromCase(c fleet.Case) (*Departure, error) {
	d := &Departure{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "Departure"},
		ObjectMeta: metav1.ObjectMeta{Name: c.Instance, Labels: map[string]string{NoticeLabel: "true"}},
		Spec:       DepartureSpec{Exit: FromDeparture(c.Departure), Opened: precisely(c.Opened)},
		Status: DepartureStatus{Marks: CaseMarks{
			Rotation: c.Marks.Rotation, Replaced: precisely(c.Marks.Replaced), Ended: precisely(c.Marks.Ended), End: clip(c.Marks.End, textBytes),
		}},
	}
	d.Spec.Why = clip(d.Spec.Why, whyBytes)
	for _, s := range c.Signals {
		if s.Instance != c.Instance {
			return nil, fmt.Errorf("departure %s: signal %q is about %q", c.Instance, s.ID, s.Instance)
		}
		if len(s.ID) > idBytes || len(s.Group) > nameBytes || len(s.Hook) > nameBytes {
			return nil, fmt.Errorf("departure %s: signal %q of group %q and hook %q: at most %d bytes of its id and %d of each name can be on file",
				c.Instance, clip(s.ID, wordBytes), clip(s.Group, wordBytes), clip(s.Hook, wordBytes), idBytes, nameBytes)
		}
		d.Spec.Signals = append(d.Spec.Signals, signalOf(s))
	}
	if err := d.dropSignals(); err != nil {
		return nil, err
	}
	for _, e := range c.Log {
		d.Status.Log = append(d.Status.Log, LogEntry{At: precisely(e.At), Source: clip(e.Source, sourceBytes), What: clip(e.What, textBytes)})
	}
	return d, d.dropEntries()
}

func signalOf(s fleet.Signal) Signal {
	return Signal{
		ID: s.ID, Kind: clip(string(s.Kind), wordBytes), Source: clip(string(s.Source), sourceBytes), At: precisely(s.At), Heard: precisely(s.Heard), Ended: precisely(s.Ended),
		Why: clip(s.Why, textBytes), Group: s.Group, Hook: s.Hook, Token: clip(s.Token, nameBytes), Origin: clip(s.Origin, wordBytes), Destination: clip(s.Destination, wordBytes),
		Effect: clip(s.Effect, wordBytes), Deadline: moment(s.Deadline), Over: s.Over, Account: clip(s.Account, wordBytes), Region: clip(s.Region, wordBytes),
	}
}

// dropSignals leaves out those that ended longest ago, as many as are too many.
func (d *Departure) dropSignals() error {
	for len(d.Spec.Signals) > MaxSignals {
		oldest := -1
		for i, s := range d.Spec.Signals {
			if !s.Ended.IsZero() && (oldest < 0 || s.Ended.Before(&d.Spec.Signals[oldest].Ended)) {
				oldest = i
			}
		}
		if oldest < 0 {
			return fmt.Errorf("departure %s: %d signals hold at once, and at most %d can be on file", d.Name, len(d.Spec.Signals), MaxSignals)
		}
		d.Spec.Signals = slices.Delete(d.Spec.Signals, oldest, oldest+1)
	}
	return nil
}

// dropEntries leaves out the oldest entries of the log, until the object is as small as it has to be.
func (d *Departure) dropEntries() error {
	log := d.Status.Log
	d.Status.Log = nil
	size, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("departure %s: %w", d.Name, err)
	}
	room := caseBytes - len(size)
	if room < 0 {
		return fmt.Errorf("departure %s: its %d signals take %d bytes, and at most %d can be on file", d.Name, len(d.Spec.Signals), len(size), caseBytes)
	}
	first := len(log)
	for first > 0 && len(log)-first < maxLog {
		entry, err := json.Marshal(log[first-1])
		if err != nil {
			return fmt.Errorf("departure %s: log: %w", d.Name, err)
		}
		if room -= len(entry) + len(","); room < len(`"log":[]`) {
			break
		}
		first--
	}
	d.Status.Log = log[first:len(log):len(log)]
	if first == len(log) {
		d.Status.Log = nil
	}
	return nil
}

// Case is what the object holds.
func (d *Departure) Case() (fleet.Case, error) {
	if d.Spec.Instance != d.Name {
		return fleet.Case{}, fmt.Errorf("departure %s: is about instance %q", d.Name, d.Spec.Instance)
	}
	out := fleet.Case{Departure: d.Spec.Exit.Departure(), Opened: d.Spec.Opened.UTC()}
	for _, s := range d.Spec.Signals {
		out.Signals = append(out.Signals, s.signal(d.Spec.Instance))
	}
	if m := d.Status.Marks; m.Round == d.Spec.Round {
		out.Marks = fleet.CaseMarks{Rotation: m.Rotation, Replaced: m.Replaced.UTC(), Ended: m.Ended.UTC(), End: m.End}
	}
	for _, e := range d.Status.Log {
		out.Log = append(out.Log, fleet.Entry{At: e.At.UTC(), Source: e.Source, What: e.What})
	}
	return out, nil
}

func (s Signal) signal(instance string) fleet.Signal {
	return fleet.Signal{
		Notice: fleet.Notice{
			ID: s.ID, Kind: fleet.NoticeKind(s.Kind), Source: fleet.Source(s.Source), At: s.At.UTC(), Why: s.Why, Instance: instance, Group: s.Group, Hook: s.Hook,
			Token: s.Token, Origin: s.Origin, Destination: s.Destination, Effect: s.Effect, Deadline: instant(s.Deadline), Over: s.Over, Account: s.Account, Region: s.Region,
		},
		Heard: s.Heard.UTC(), Ended: s.Ended.UTC(),
	}
}

// Continues tells whether the marks keep all that is set in have; otherwise they belong to another round.
func (m CaseMarks) Continues(have CaseMarks) bool {
	return (have.Rotation == "" || m.Rotation != "") && (have.Replaced.IsZero() || !m.Replaced.IsZero()) && (have.Ended.IsZero() || !m.Ended.IsZero())
}

func precisely(t time.Time) metav1.MicroTime {
	if t.IsZero() {
		return metav1.MicroTime{}
	}
	return metav1.NewMicroTime(t.UTC().Truncate(time.Microsecond))
}

// clip shortens a text to at most n bytes, and shows that it did.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const cut = "..."
	n -= len(cut)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n]) + cut
}
