// Package env is the mind of environments: it decides what a stop and a start of one do, in what order, and what stands in their way.
//
// Stop and Start make plans, with findings. Next looks at a snapshot and says what to do now: it keeps no state, so whoever calls it after a crash
// goes on from what the world shows. How everything was before is on file before anything changes, in three places; nothing overwrites it until a
// start is verified. Nodes leave through evac, each by its id; only those that carry no pods of others are ever asked to. Preview folds Next over an
// optimistic copy of the world. Want says whether an environment should be on at a moment.
package env

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
	"drover.dev/price"
)

// Plan is what a stop or a start would do: an approved bound.
type Plan struct {
	Environment string
	On          bool // a start
	By          string
	Forced      []string
	Record      fleet.SleepRecord // of a stop that begins: written before its first change. Otherwise what is on file
	Resumed     bool              // a sleep is on file already: this goes on with it
	At          time.Time         // when a person asked to go on with it: what was given up before is tried again
	Nothing     string            // why there is nothing to do; "" otherwise

	Groups   []Group
	Carried  []fleet.PodRef // pods of nobody's that are moved off nodes that go
	Stays    []string       // what is the environment's and is not switched, and why
	Money    Money
	Forecast Forecast
}

// Group is what becomes of a group.
type Group struct {
	Name    string
	Exits   []fleet.Departure
	Keepers []Keeper
}

// Keeper is a node that stays, and why.
type Keeper struct {
	Node, Instance string
	Guests         []fleet.Guest
	Why            string // when it is not for its guests
}

// Money is what a sleep saves in an hour, and what goes on costing.
type Money struct {
	Saved, Still []price.Money // an hour, by currency
	Unknown      []string      // what has no price
}

// Options are the choices of who asks.
type Options struct {
	Run    string
	By     string
	Why    string
	Forced []string // codes of findings that are overridden
	Book   *price.Book
	Region string
}

func (o *Options) forced(code string) bool { return slices.Contains(o.Forced, code) }

// Phase is how far a stop or a start is, for people.
type Phase string

// The phases.
const (
	Recording    Phase = "recording"
	Pausing      Phase = "pausing GitOps"
	SwitchingOff Phase = "switching workloads off"
	EndingNodes  Phase = "ending nodes"
	StoppingData Phase = "stopping databases"
	Asleep       Phase = "asleep"
	StartingData Phase = "starting databases and nodes"
	SwitchingOn  Phase = "switching workloads on"
	Resuming     Phase = "resuming GitOps"
	Verifying    Phase = "verifying"
	Awake        Phase = "awake"
)

// Step is what to do now. With no actions and not Done, Holds say why nothing happens.
type Step struct {
	Phase   Phase
	Actions []fleet.Action
	Holds   []fleet.Hold
	Done    bool
	Nodes   evac.Plan // the departures under way: whose stores the engine has to ask
	Stores  []string  // that are waited for, and have to be asked
}

// Hash is the plan's content in twelve hexadecimal digits.
func (p *Plan) Hash() string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format+"\n", args...)) }
	add("environment %s %v", p.Environment, p.On)
	for _, part := range p.Record.Parts {
		add("part %s %s %d", part.ID(), part.UID, part.Tier)
	}
	for _, d := range p.Record.Exits {
		add("exit %s %s", d.Group, d.Instance)
	}
	for _, g := range p.Record.Groups {
		add("group %s %d", g.Name, g.Floor())
	}
	for _, db := range p.Record.Databases {
		add("database %s %v", db.ID, db.Lower)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])[:12]
}

// State is what an environment is, in a word, and since when.
func State(e *fleet.Environment) (string, time.Time) {
	switch r := e.Record; {
	case len(e.Trouble) > 0:
		return "unclear", time.Time{}
	case r == nil:
		if n := len(e.Sleeps); n > 0 {
			return "on", e.Sleeps[n-1].Awake
		}
		return "on", time.Time{}
	case !r.Marks.Starting.IsZero():
		return "starting", r.Marks.Starting
	case r.Marks.Asleep.IsZero():
		return "stopping", r.At
	default:
		return "asleep", r.Marks.Asleep
	}
}
