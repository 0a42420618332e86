package kube

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"drover.dev/api/v1alpha1"
)

// An object has to fit into a request to etcd, of 1.5 MiB by default. How everything was before takes what it takes; what is told besides must never be why
// a record cannot be written.
const (
	keptLines   = 20       // of what did not go as it should
	shownLines  = 10       // of what is waited for
	lineBytes   = 256      // of each
	keptBytes   = 64 << 10 // of sleeps that are over, and of fights
	shownBytes  = 1024     // of a condition's message: the API server takes 32 KiB
	moreFormat  = "and %d more"
	cutShortBy  = "..."
	jsonBetween = 1 // the comma between two elements
)

// few is the first of the lines, each cut short, and how many more there are. A list that was made by it, with lines added, counts those as more.
func few(lines []string, most int) []string {
	var out []string
	more := 0
	for i, line := range lines {
		var counted int
		switch n, _ := fmt.Sscanf(line, moreFormat, &counted); {
		case n == 1 && line == fmt.Sprintf(moreFormat, counted):
			more += counted
		case i < most:
			out = append(out, short(line, lineBytes))
		default:
			more++
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf(moreFormat, more))
	}
	return out
}

// short cuts a text, and no letter in two.
func short(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len(cutShortBy)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cutShortBy
}

// fits is how many of n elements fit into as many bytes of JSON as are kept.
func fits(n int, element func(i int) any) int {
	total := 0
	for i := range n {
		body, err := json.Marshal(element(i))
		if total += len(body) + jsonBetween; err != nil || total > keptBytes {
			return i
		}
	}
	return n
}

// told bounds what a record tells besides how everything was. Of fights those stay that are known longest, whole: a fight that is forgotten begins anew, and
// one of another subject is another fight.
func told(r v1alpha1.SleepRecord) v1alpha1.SleepRecord {
	r.Exceptions = few(r.Exceptions, keptLines)
	r.Fights = r.Fights[:fits(len(r.Fights), func(i int) any { return r.Fights[i] })]
	return r
}

// recent are the newest sleeps, as many as there is room for. The newest is always among them: the API server takes no record off without it.
func recent(sleeps []v1alpha1.Sleep) []v1alpha1.Sleep {
	var out []v1alpha1.Sleep
	for _, s := range sleeps {
		s.Exceptions = few(s.Exceptions, keptLines)
		out = append(out, s)
	}
	newest := func(i int) any { return out[len(out)-1-i] }
	n := min(max(fits(len(out), newest), 1), v1alpha1.KeptSleeps, len(out))
	return out[len(out)-n:]
}
