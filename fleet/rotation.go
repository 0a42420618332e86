package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// RotationRecord is a run's durable record: what was approved, what was before, and how far it is. It is written before the first change, and a
// Rotation object in the cluster holds it.
type RotationRecord struct {
	Run       string
	Requester string
	At        time.Time // when the run began
	Groups    []GroupRecord
	Criterion string
	Words     string // the criterion as typed, for people
	Force     bool
	Canary    time.Duration // one node first, then this long a watch; zero for none
	Bake      time.Duration // old nodes are kept this long in Standby; zero for not at all
	Probes    []string      // health probes, as typed
	Exits     []Departure   // the approved bound: no other node goes
	Hash      string        // of the approved plan
	Moves     int           // pods that move, as predicted
	Forecast  time.Duration

	Intent Intent // what a person wants of it by now
	Paused *Pause
	Marks  Marks

	Moved      int      // pods moved so far, by whichever process
	Exceptions []string // what could not be put back, or did not go as it should, so far
}

// GroupRecord is a group as the run found it.
type GroupRecord struct {
	Name              string
	Desired, Min, Max int
	Surge             int
	Suspended         []string
	Wants             []Template
	Managed           bool
}

// Has tells whether the run is about a group.
func (r RotationRecord) Has(group string) bool {
	return slices.ContainsFunc(r.Groups, func(g GroupRecord) bool { return g.Name == group })
}

// Intent is what a run is for.
type Intent string

// The intents.
const (
	Forward Intent = ""     // replace the exits
	Back    Intent = "back" // undo: old nodes return to service, new ones go, everything as it was
)

// Pause is a stop by a person.
type Pause struct {
	By, Why string
	At      time.Time
}

func (p *Pause) String() string {
	why := p.Why
	if why != "" {
		why = ": " + why
	}
	return fmt.Sprintf("paused by %s%s", p.By, why)
}

// Marks are moments of a run that the world does not show. Each is written once, before or as it comes to matter.
type Marks struct {
	Moving  time.Time // the first pod was about to move: by then every old node was closed to pods
	First   string    // instance of the node that goes first, alone
	Canary  time.Time // the first node was replaced
	Baking  time.Time // the last old node went to Standby
	Undoing time.Time // the way back began
	Ended   time.Time
}

func (m Marks) String() string {
	var out []string
	add := func(name string, at time.Time) {
		if !at.IsZero() {
			out = append(out, name+"="+at.UTC().Format(time.RFC3339))
		}
	}
	add("moving", m.Moving)
	if m.First != "" {
		out = append(out, "first="+m.First)
	}
	add("canary", m.Canary)
	add("baking", m.Baking)
	add("undoing", m.Undoing)
	add("ended", m.Ended)
	return strings.Join(out, " ")
}

// Names lists which marks are set.
func (m Marks) Names() []string {
	var out []string
	for _, field := range strings.Fields(m.String()) {
		name, _, _ := strings.Cut(field, "=")
		out = append(out, name)
	}
	return out
}

// Probe is the word of one health probe of a run: the readiness of what moved, an HTTP answer, a Prometheus query.
type Probe struct {
	Name    string
	Healthy bool
	Why     string    // what it saw, in figures
	Changed time.Time // since when it says so
	Falls   int       // how often it turned bad in this run
}

// Finding is something that a check says of a plan, with a code that never changes.
type Finding struct {
	Code    string // such as budget-never
	Blocks  bool   // the plan must not be carried out as it is
	Subject string
	Reason  string // in figures
	Next    string // what to do about it
}

func (f Finding) String() string { return f.Subject + ": " + f.Reason + "; " + f.Next }
