package admit

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"drover.dev/fleet"
)

// RunKey annotates the Eviction objects of drover's own evictions with their run: those go through. Whoever may evict may write it, too; the guard is a
// service to those who cannot know about a store, and no lock.
const RunKey = "drover.dev/run"

// Probe as the run of a dry-run eviction asks the guard to say that it is there: as a warning, and whatever the pod.
const Probe = "probe"

// Here is how the guard answers a Probe.
const Here = "drover's eviction guard answers"

// Eviction is a request to evict a pod, as admission shows it.
type Eviction struct {
	Namespace string
	Name      string
	UID       string // that the pod has to have; "" for whichever pod has the name
	Run       string // of drover's; "" for an eviction of anybody else
	DryRun    bool
	By        string // who asks, for people
}

// Pod is what the guard goes by.
type Pod struct {
	UID     string
	Node    string
	Created time.Time
	Live    bool         // it was read from the API server just now: what the guard has watched is a moment old, and a drain is as quick
	Settled bool         // it has a node that takes pods: nobody drains that
	Over    bool         // it has finished, or is shutting down
	Mover   string       // who moves it, in a word: "sentinel", "CloudNativePG"; "" for a pod that simply leaves
	Store   string       // namespace/name of the store that it is of; "" for one that an operator moves
	Free    bool         // its mover has nothing against its eviction
	Asked   *fleet.Asked // nil when nobody has asked for it to leave
	Step    string       // what its mover does or waits for, for people; "" when that is not known
	Trouble string       // why it is not moved, and what to do; "" when nothing stands in the way
	Bound   Bound        // of its evictions
}

// OnTimeout is what happens to evictions of a pod that was not moved within its bound.
type OnTimeout string

// Of these.
const (
	Allow OnTimeout = "allow"
	Block OnTimeout = "block"
)

// Bound is how long evictions of a pod are held, from when its leaving was first asked for, and what happens then.
type Bound struct {
	Hold      time.Duration
	OnTimeout OnTimeout
}

// Verdict is what became of an eviction, in a word.
type Verdict string

// The verdicts. All but Held and Moved let it through.
const (
	Passed   Verdict = "passed"    // nothing of drover's: no store, another pod, a pod that is going anyway
	Own      Verdict = "own"       // drover's own eviction
	Held     Verdict = "held"      // its mover moves it
	Moved    Verdict = "moved"     // the pod that was meant has been moved; this is its successor
	TimedOut Verdict = "timed-out" // its mover did not move it in time
	Failed   Verdict = "failed"    // the guard could not do its work
)

// Decision is what the guard answers.
type Decision struct {
	Verdict Verdict
	Ask     bool      // first note that the pod's leaving is asked for
	At      time.Time // since when it is
	Says    string    // of Held, why; of the others, a warning or nothing
}

// Decide tells what becomes of an eviction of a pod; nil is one that is not there.
func Decide(e Eviction, p *Pod, now time.Time) Decision {
	switch {
	case e.Run == Probe && e.DryRun:
		return Decision{Verdict: Own, Says: Here}
	case e.Run != "":
		return Decision{Verdict: Own}
	case p == nil:
		return Decision{Verdict: Passed}
	case e.UID != "" && e.UID != p.UID && !p.Live:
		return failed("tell what pod "+e.Namespace+"/"+e.Name+" with UID "+e.UID+" is", errors.New("it was not looked up live"))
	case p.Mover == "", p.Over, p.Free, e.UID != "" && e.UID != p.UID:
		return Decision{Verdict: Passed}
	}
	if p.Live && p.Settled && p.fresh(e, now) {
		return Decision{Verdict: Moved, Says: fmt.Sprintf("pod %s/%s has left its node: this one of the same name was created %s ago on node %s, which nobody drains; to evict it too, name its UID", e.Namespace, e.Name, lasting(now.Sub(p.Created).Round(time.Second)), p.Node)}
	}
	asked, first := since(p, e.By, now)
	ends := asked.At.Add(p.Bound.Hold)
	if p.Bound.OnTimeout != Block && !now.Before(ends) {
		return Decision{Verdict: TimedOut, At: asked.At, Says: tooLate(p, asked, e.DryRun)}
	}
	return Decision{Verdict: Held, Ask: first && !e.DryRun, At: asked.At, Says: wait(p, asked, ends, e.DryRun)}
}

// meant is how long after a pod was created an eviction that names no UID is taken to mean the pod before it: kubectl drain tries again by name alone, and
// a StatefulSet's pods keep theirs. Without this a pod would be moved, and then its successor, for as long as somebody drains the old node.
const meant = 10 * time.Minute

// fresh tells whether an eviction may be meant for the pod before this one.
func (p *Pod) fresh(e Eviction, now time.Time) bool {
	return e.UID == "" && p.Asked == nil && now.Sub(p.Created) < meant
}

// Doubtful tells whether what is known of a pod, nil for nothing, has to be read from the API server before Decide goes by it: where it would let the
// eviction through, or send it away, for a pod that may be another by now, or elsewhere.
func Doubtful(e Eviction, p *Pod, now time.Time) bool {
	switch {
	case e.Run != "":
		return false
	case p == nil, e.UID != "" && e.UID != p.UID:
		return true
	}
	return p.Mover != "" && (p.Over || p.Settled && p.fresh(e, now))
}

// ahead is how far the clock of who asked may be ahead of this one. What lies further ahead would hold evictions for longer than the bound.
const ahead = time.Minute

// stale is how long after its bound what was asked for still counts. Whoever drains tries again within seconds, and has been let through for that long;
// what is older was given up, and another drain has a bound of its own.
const stale = time.Hour

// since is when the pod's leaving was asked for, and whether this eviction is the first to do so. A moment that was not understood, or that is none, or
// long past, is noted anew: it would be no bound.
func since(p *Pod, by string, now time.Time) (fleet.Asked, bool) {
	if p.Asked == nil || p.Asked.At.IsZero() || p.Asked.At.After(now.Add(ahead)) || now.Sub(p.Asked.At) > p.Bound.Hold+stale {
		return fleet.Asked{At: now, By: by}, true
	}
	return *p.Asked, false
}

func wait(p *Pod, asked fleet.Asked, ends time.Time, dry bool) string {
	parts := []string{fmt.Sprintf("drover moves this pod: %s: %s", p.who(), p.state()), "asked for at " + stamp(asked.At) + " by " + asked.By}
	if p.Bound.OnTimeout == Block {
		parts = append(parts, "try again")
	} else {
		parts = append(parts, "try again; at "+stamp(ends)+" it may be evicted in any case")
	}
	return strings.Join(append(parts, rehearsal(dry)...), "; ")
}

func tooLate(p *Pod, asked fleet.Asked, dry bool) string {
	parts := []string{
		fmt.Sprintf("drover lets this pod be evicted though its mover has not moved it within %s: %s: %s", lasting(p.Bound.Hold), p.who(), p.state()),
		"asked for at " + stamp(asked.At) + " by " + asked.By,
	}
	return strings.Join(append(parts, rehearsal(dry)...), "; ")
}

func rehearsal(dry bool) []string {
	if !dry {
		return nil
	}
	return []string{"dry run: nothing was noted"}
}

func (p *Pod) who() string {
	if p.Store == "" {
		return p.Mover
	}
	return p.Mover + ", store " + p.Store
}

func (p *Pod) state() string {
	switch {
	case p.Trouble != "":
		return "it is not moved now: " + p.Trouble
	case p.Step != "":
		return p.Step
	}
	return "waits for its turn"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// lasting is a duration without the zeros at its end: 10m, not 10m0s.
func lasting(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
