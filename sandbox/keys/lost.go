package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Loss is what a store has lost.
type Loss struct {
	Writes  int   // acknowledged numbers that no master has
	Trouble error // a master could not be read, or nobody knows one: what it may have had counts as lost
}

// Lost reads everything back from the masters of each store. Use it after Stop.
func (c *Crew) Lost(ctx context.Context) map[string]Loss {
	out := map[string]Loss{}
	for _, s := range c.Stores {
		there := map[string]map[int64]bool{}
		masters := Masters(s, s.Look(ctx, c.Dial))
		var trouble []error
		if len(masters) == 0 {
			trouble = append(trouble, errors.New("nobody knows a master"))
		}
		for _, address := range masters {
			if err := readBack(ctx, address, c.Dial, there); err != nil {
				trouble = append(trouble, fmt.Errorf("read back from %s: %w", address, err))
			}
		}
		out[s.Name] = Loss{Writes: c.missing(s.Name, there), Trouble: errors.Join(trouble...)}
	}
	return out
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
