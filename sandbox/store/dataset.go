package store

import (
	"slices"
	"strings"
)

// entry is one write.
type entry struct {
	id         int
	key, value string
	more       bool // APPEND
}

// dataset is the writes that made it. Replicas share the log of their master as far as they have it: nobody changes what lies before its own length.
type dataset struct {
	keys, keyBytes int // that it began with
	log            []entry
	seen           map[string]bool // keys of the first counted entries
	counted        int
}

func (s *dataset) add(e entry) { s.log = append(s.log, e) }

// prefix is a copy of the first n writes.
func (s *dataset) prefix(n int) *dataset {
	return &dataset{keys: s.keys, keyBytes: s.keyBytes, log: s.log[:n:n]}
}

// extend takes the writes of another dataset, of which this one is a prefix, up to its first n.
func (s *dataset) extend(o *dataset, n int) { s.log = o.log[:n:n] }

func (s *dataset) get(key string) (string, bool) {
	var parts []string
	for i := len(s.log) - 1; i >= 0; i-- {
		if s.log[i].key != key {
			continue
		}
		parts = append(parts, s.log[i].value)
		if !s.log[i].more {
			break
		}
	}
	slices.Reverse(parts)
	return strings.Join(parts, ""), parts != nil
}

// size is the number of keys.
func (s *dataset) size() int {
	if s.seen == nil {
		s.seen, s.counted = map[string]bool{}, 0
	}
	for ; s.counted < len(s.log); s.counted++ {
		s.seen[s.log[s.counted].key] = true
	}
	return s.keys + len(s.seen)
}

func (s *dataset) bytes() int { return s.keys*s.keyBytes + len(s.log)*100 }
