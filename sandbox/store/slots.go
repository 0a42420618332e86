package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const slotCount = 16384

// span is slots from one to another, both among them.
type span struct{ from, to int }

// spans are slots, in order and apart from each other.
type spans []span

func (s spans) count() int {
	n := 0
	for _, r := range s {
		n += r.to - r.from + 1
	}
	return n
}

func (s spans) has(slot int) bool {
	return slices.ContainsFunc(s, func(r span) bool { return r.from <= slot && slot <= r.to })
}

// and is what both have.
func (s spans) and(o spans) spans {
	var out spans
	for _, a := range s {
		for _, b := range o {
			if from, to := max(a.from, b.from), min(a.to, b.to); from <= to {
				out = append(out, span{from, to})
			}
		}
	}
	return out
}

// minus is what the other does not have.
func (s spans) minus(o spans) spans {
	out := s
	for _, b := range o {
		var rest spans
		for _, a := range out {
			if left := (span{a.from, min(a.to, b.from-1)}); left.from <= left.to {
				rest = append(rest, left)
			}
			if right := (span{max(a.from, b.to+1), a.to}); right.from <= right.to {
				rest = append(rest, right)
			}
		}
		out = rest
	}
	return out
}

// plus is what either has.
func (s spans) plus(o spans) spans {
	all := append(slices.Clone(s.minus(o)), o...)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out spans
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].to+1 == r.from {
			out[n-1].to = r.to
		} else {
			out = append(out, r)
		}
	}
	return out
}

// String is how CLUSTER NODES has it.
func (s spans) String() string {
	var parts []string
	for _, r := range s {
		if r.from == r.to {
			parts = append(parts, fmt.Sprint(r.from))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.from, r.to))
		}
	}
	return strings.Join(parts, " ")
}

// slotOf is the slot of a key: of what stands between the first braces, if anything does.
func slotOf(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	crc := uint16(0) // CRC-16/XMODEM
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slotCount
}
