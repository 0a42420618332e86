package schedule

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"
)

// zones are the names of the time zone database, to say which one somebody may have meant. A zone that is missing here works all the same.
//
//go:embed zones.txt
var zones string

// nearWords names zones that are called nearly so: "; near names: Europe/Vienna".
func nearWords(name string) string {
	if near := nearZones(name); len(near) > 0 {
		return "; near names: " + strings.Join(near, ", ")
	}
	return "; want one such as Europe/Vienna"
}

// nearZones are at most three, the nearest first.
func nearZones(name string) []string {
	const longest = 64 // no zone's name is nearly as long
	want := strings.ReplaceAll(strings.ToLower(name), " ", "_")
	if len(want) > longest {
		return nil
	}
	type hit struct {
		zone string
		far  int
	}
	var hits []hit
	for zone := range strings.FieldsSeq(zones) {
		full := strings.ToLower(zone)
		far := min(distance(want, full), distance(want, full[strings.LastIndex(full, "/")+1:]))
		if far <= min(3, len(want)/3) {
			hits = append(hits, hit{zone, far})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.far, b.far) })
	var out []string
	for _, h := range hits[:min(3, len(hits))] {
		if h.far <= hits[0].far+1 { // what is much further off than another was not meant
			out = append(out, h.zone)
		}
	}
	return out
}

// distance is how many letters have to be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := corner
			if a[i] != b[j] {
				replace++
			}
			corner = row[j+1]
			row[j+1] = min(replace, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
