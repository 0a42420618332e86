package cloud

import (
	"slices"
	"strings"
)

// Filter keeps what has, under Name, one of Values; * and ? stand for any text and any character.
type Filter struct {
	Name   string
	Values []string
}

// checkFilters refuses names that are not known, so that a misspelt filter never looks like an empty answer. A known name that
// ends in a colon is a prefix.
func checkFilters(action string, filters []Filter, known ...string) error {
	for _, f := range filters {
		if !slices.ContainsFunc(known, func(k string) bool {
			return f.Name == k || strings.HasSuffix(k, ":") && strings.HasPrefix(f.Name, k)
		}) {
			return NotSimulated("Filter "+f.Name, action)
		}
	}
	return nil
}

// matchAll tells whether a thing passes all filters; value returns what the thing has under a name, which may be nothing.
func matchAll(filters []Filter, value func(name string) []string) bool {
	for _, f := range filters {
		if !f.matches(value(f.Name)) {
			return false
		}
	}
	return true
}

func (f Filter) matches(values []string) bool {
	for _, pattern := range f.Values {
		if slices.ContainsFunc(values, func(v string) bool { return glob(pattern, v) }) {
			return true
		}
	}
	return false
}

// tagValue answers the filters every tagged thing of EC2 has, tag-key and tag:KEY.
func tagValue(name string, tags map[string]string) []string {
	if name == "tag-key" {
		var keys []string
		for k := range tags {
			keys = append(keys, k)
		}
		return keys
	}
	if v, ok := tags[strings.TrimPrefix(name, "tag:")]; ok {
		return []string{v}
	}
	return nil
}
