package scenario

import (
	"errors"
	"fmt"
)

// Kind is a way in which a story is told again.
type Kind string

// The kinds.
const (
	Plain   Kind = "plain"   // as written: the only one whose diary is compared
	Restart Kind = "restart" // the process is killed after every action
	Stale   Kind = "stale"   // what drover reads is some seconds old
	Fail    Kind = "fail"    // the N-th call fails, once
	Lose    Kind = "lose"    // the N-th action happens, and its reply is lost
	Shuffle Kind = "shuffle" // the actions of a tick come in another order
	Crash   Kind = "crash"   // the process is killed after the N-th command to a store that changes something, once
	Twice   Kind = "twice"   // every action is carried out twice
)

// Kinds lists them in the order of telling.
var Kinds = []Kind{Plain, Restart, Crash, Twice, Stale, Fail, Lose, Shuffle}

// Variation is one way to tell a story.
type Variation struct {
	Kind Kind
	N    int    // which call, or how many seconds
	Seed uint64 // of the shuffle
}

func (v Variation) String() string {
	switch v.Kind {
	case Shuffle:
		return fmt.Sprintf("shuffle seed=%d", v.Seed)
	case Stale:
		return fmt.Sprintf("stale by %ds", v.N)
	case Fail, Lose, Crash:
		return fmt.Sprintf("%s call %d", v.Kind, v.N)
	}
	return string(v.Kind)
}

// calls counts drover's calls of its hands: reads and actions in one row, so that each of the plain run can be made to fail.
type calls struct {
	n    int
	acts []int // which of them were actions

	commands int // to stores, that changed something
}

// Bounds of what a story is multiplied by, so that all stories together take minutes.
const (
	mostFails    = 32
	mostLost     = 30
	mostCrashes  = 60
	mostShuffles = 10
)

// of is how many of a kind of variations a story gets. One with stores lasts long: of those fewer are told, unless all are asked for.
func (c *calls) of(most, withStores int, all bool) int {
	if c.commands > 0 && !all {
		return withStores
	}
	return most
}

// Variations lists how a story is told after its plain run, which made these calls.
func (c *calls) Variations(all bool) []Variation {
	out := []Variation{{Kind: Restart}, {Kind: Twice}, {Kind: Stale, N: 3}, {Kind: Stale, N: 15}}
	isAct := map[int]bool{}
	for _, n := range c.acts {
		isAct[n] = true
	}
	var reads []int
	for n := range c.n {
		if !isAct[n] {
			reads = append(reads, n)
		}
	}
	for _, n := range append(spread(c.acts, c.of(mostFails*3/4, 3, all)), spread(reads, c.of(mostFails/4, 1, all))...) {
		out = append(out, Variation{Kind: Fail, N: n})
	}
	for _, n := range spread(c.acts, c.of(mostLost, 3, all)) {
		out = append(out, Variation{Kind: Lose, N: n})
	}
	for _, n := range spread(upTo(c.commands), c.of(mostCrashes, 5, all)) {
		out = append(out, Variation{Kind: Crash, N: n})
	}
	for seed := range c.of(mostShuffles, 1, all) {
		out = append(out, Variation{Kind: Shuffle, Seed: uint64(seed + 1)})
	}
	return out
}

// upTo counts from 0.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// spread takes at most so many of a list, evenly.
func spread(list []int, most int) []int {
	if len(list) <= most {
		return list
	}
	var out []int
	for i := range most {
		out = append(out, list[i*len(list)/most])
	}
	return out
}

var (
	errFailed = errors.New("connection refused, as the story tells")
	errDown   = errors.New("nobody answers, as the story tells")
	errLost   = errors.New("connection reset before the reply, as the story tells")
)
