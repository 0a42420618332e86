package metrics

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// mostWords is how many values a label of a metric may take. AWS's error codes, which are the most, are some dozens for the actions that drover uses.
const mostWords = 100

// Values that stand for others.
const (
	other = "other" // too many, or no word
	none  = "none"  // ""
)

// word is what may be a label's value. Texts with more in them are somebody's sentences or names.
var word = regexp.MustCompile(`^[A-Za-z0-9_.-]+( [A-Za-z0-9_.-]+){0,3}$`)

// storeName is what else may be one: the name of a store, of which there are few. Nodes and pods come and go, stores hardly do.
var storeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9.-]{0,62}$`)

// bound makes labels' values such that the number of series cannot grow without end.
func (s *Set) bound(metric string, values []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = s.admit(fmt.Sprintf("%s %d", metric, i), v)
	}
	return out
}

func (s *Set) admit(label, v string) string {
	if v == "" {
		v = none
	}
	seen := s.words[label]
	if seen == nil {
		seen = map[string]bool{}
		s.words[label] = seen
	}
	if !seen[v] && (len(seen) >= mostWords || !storeName.MatchString(v) && (len(v) > 64 || !word.MatchString(v))) {
		v = other
	}
	seen[v] = true
	return v
}

// seen are the values that the one label of a metric has had.
func (s *Set) seen(metric string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.words[metric+" 0"]))
}
