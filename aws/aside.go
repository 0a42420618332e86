package aws

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
)

const (
	// asideWithin bounds a question that the groups can be seen without: a service that hangs must not hold up what the others say.
	asideWithin = 10 * time.Second
	// asideAfter is how long a service that hung is left alone.
	asideAfter = 30 * time.Second
	// shareAtLeast and shareOf bound how many things whose word is old are asked about in one look: so many, or that part of all.
	shareAtLeast, shareOf = 10, 10
	// forgetAfter is how long what nobody has seen since is remembered.
	forgetAfter = time.Hour
)

// lacking is a gap, and until when there is no use in asking.
type lacking struct {
	gap
	until time.Time
}

// aside asks what the groups can be seen without. With Notices a failure is a gap: the caller lets the last answer stand. Without, it is an error; with both,
// what no further call would survive is one. It does not ask while the last refusal or silence is fresh.
func (c *Cloud) aside(ctx context.Context, what, right string, ask func(context.Context) error) (answered bool, err error) {
	if !c.Notices {
		err := ask(ctx)
		return err == nil, err
	}
	c.mu.Lock()
	resting := c.now().Before(c.gaps[what].until)
	c.mu.Unlock()
	if resting {
		return false, nil
	}
	within, stop := context.WithTimeoutCause(ctx, asideWithin, errors.New("AWS gave no answer within "+asideWithin.String()))
	defer stop()
	told := ask(within)
	hung := told != nil && within.Err() != nil
	if hung {
		told = context.Cause(within)
	}
	g, err := gapOf(ctx, told, what, right)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case hung: // also when who asks had no more time: next time the others are to have their turn
		c.gaps[what] = lacking{gap{what: what, why: told.Error()}, c.now().Add(asideAfter)}
	case g == nil:
		delete(c.gaps, what)
	case g.right != "":
		c.gaps[what] = lacking{*g, c.now().Add(grantAgain)}
	default:
		c.gaps[what] = lacking{gap: *g}
	}
	return told == nil, err
}

// stops tells whether an error means that asking about others is no use: a right is missing, or credentials are no good.
func stops(err error) bool {
	var fatal *fleet.Fatal
	return isDenied(err) || errors.As(explain(err), &fatal)
}

// Gaps says what the last observation with Notices could not read, each in a sentence.
func (c *Cloud) Gaps() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, what := range slices.Sorted(maps.Keys(c.gaps)) {
		f := c.gaps[what].finding()
		out = append(out, f.Subject+" "+f.Reason)
	}
	return out
}

// due picks what to ask about now: all that was never asked about, and of that whose word is old a share, the oldest first. So what was first asked about
// together does not come due together for ever.
func due(names []string, now time.Time, every time.Duration, at func(string) time.Time) []string {
	var out, old []string
	for _, name := range names {
		switch asked := at(name); {
		case asked.IsZero():
			out = append(out, name)
		case now.Sub(asked) >= every:
			old = append(old, name)
		}
	}
	slices.SortStableFunc(old, func(a, b string) int { return cmp.Or(at(a).Compare(at(b)), cmp.Compare(a, b)) })
	return append(out, old[:min(len(old), max(shareAtLeast, len(names)/shareOf))]...)
}

// forget drops what nobody has seen for long: instances and groups come and go for as long as the process lives.
func (c *Cloud) forget() {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.forgot) < forgetAfter/10 {
		return
	}
	c.forgot = now
	gone := func(seen time.Time) bool { return now.Sub(seen) > forgetAfter }
	maps.DeleteFunc(c.met, func(_ string, b birth) bool { return gone(b.seen) })
	maps.DeleteFunc(c.scalings, func(_ string, s scaling) bool { return gone(s.seen) })
	maps.DeleteFunc(c.targets, func(_ string, s settings) bool { return gone(s.seen) })
	maps.DeleteFunc(c.managed, func(_ string, m managedNews) bool { return gone(m.seen) })
	maps.DeleteFunc(c.hooks, func(_ string, h hooked) bool { return gone(h.seen) })
	maps.DeleteFunc(c.surveyed.seen, func(_ string, seen time.Time) bool { return gone(seen) })
}
