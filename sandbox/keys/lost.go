package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Loss is what a store has lost.
type Loss struct {
	Writes  int   // acknowledged numbers that no master has
	Gone    int   // those of them that nobody has at all: the others a person may save from a copy that nobody uses
	Trouble error // a master could not be read, or nobody knows one
}

// Lost reads everything back from the masters of each store, and from all other copies. Use it after Stop.
func (c *Crew) Lost(ctx context.Context) map[string]Loss {
	out := map[string]Loss{}
	for _, s := range c.Stores {
		views := s.Look(ctx, c.Dial)
		served, masters := map[string]map[int64]bool{}, Masters(s, views)
		var trouble []error
		if len(masters) == 0 {
			trouble = append(trouble, errors.New("nobody knows a master"))
		}
		for _, address := range masters {
			if err := readBack(ctx, address, c.Dial, served); err != nil {
				trouble = append(trouble, fmt.Errorf("read back from %s: %w", address, err))
			}
		}
		l := Loss{Writes: c.missing(s.Name, served), Trouble: errors.Join(trouble...)}
		if l.Writes > 0 {
			for _, address := range copies(views) {
				_ = readBack(ctx, address, c.Dial, served) // many of them are gone
			}
			l.Gone = c.missing(s.Name, served)
		}
		out[s.Name] = l
	}
	return out
}

// copies are all addresses of data that anybody names.
func copies(views []View) []string {
	var out []string
	for _, v := range views {
		for _, n := range v.Nodes {
			if !n.Is("sentinel") {
				out = append(out, n.Address)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (c *Crew) missing(store string, there map[string]map[int64]bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, l := range c.lines {
		if l.Store != store {
			continue
		}
		for i, w := range l.writers {
			for _, number := range w.numbers {
				if !there[l.key(i, number)][number] {
					n++
				}
			}
		}
	}
	return n
}

// readBack adds all that a master has.
func readBack(ctx context.Context, address string, dial Dial, there map[string]map[int64]bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r := plain(address, dial)
	defer r.Close()
	_ = r.ReadOnly(ctx).Err() // a cluster's replica would point to its master; who is in no cluster refuses this
	all := r.Scan(ctx, 0, "", 1000).Iterator()
	for all.Next(ctx) {
		key := all.Val()
		members, err := r.SMembers(ctx, key).Result()
		if err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
		if there[key] == nil {
			there[key] = map[int64]bool{}
		}
		for _, m := range members {
			n, err := strconv.ParseInt(m, 10, 64)
			if err != nil {
				return fmt.Errorf("key %s: %w", key, err)
			}
			there[key][n] = true
		}
	}
	return all.Err()
}
