package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"drover.dev/api/v1alpha1"
)

func TestFewLines(t *testing.T) {
	for _, tc := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"a", "b", "c"}, []string{"a", "b", "and 1 more"}},
		{[]string{"a", "b", "and 1 more"}, []string{"a", "b", "and 1 more"}},
		{[]string{"a", "b", "and 7 more", "c", "d"}, []string{"a", "b", "and 9 more"}},
		{[]string{"and 7 more to come", "and more"}, []string{"and 7 more to come", "and more"}},
		{[]string{strings.Repeat("x", lineBytes)}, []string{strings.Repeat("x", lineBytes)}},
		{[]string{strings.Repeat("x", lineBytes+1)}, []string{strings.Repeat("x", lineBytes-3) + "..."}},
	} {
		got := few(tc.lines, 2)
		if !slices.Equal(got, tc.want) || !slices.Equal(few(got, 2), got) {
			t.Errorf("%.80q: %q, want %q", tc.lines, got, tc.want)
		}
	}
	for n := range 8 {
		got := short(strings.Repeat("x", n)+strings.Repeat("\u65e5", 200), lineBytes)
		if len(got) > lineBytes || len(got) < lineBytes-3 || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

// The newest sleep stays, whatever it takes; of the others the newest, as far as there is room.
func TestRecentSleeps(t *testing.T) {
	var all []v1alpha1.Sleep
	for i := range v1alpha1.KeptSleeps + 3 {
		all = append(all, v1alpha1.Sleep{Run: fmt.Sprint("r-", i)})
	}
	if got := recent(all); len(got) != v1alpha1.KeptSleeps || !reflect.DeepEqual(got, all[3:]) {
		t.Errorf("%d sleeps: %+v", len(got), got)
	}
	all[len(all)-3].By = strings.Repeat("x", keptBytes)
	if got := recent(all); !reflect.DeepEqual(got, all[len(all)-2:]) {
		t.Errorf("%d sleeps", len(got))
	}
	all[len(all)-1].By = strings.Repeat("x", keptBytes)
	if got := recent(all); !reflect.DeepEqual(got, all[len(all)-1:]) {
		t.Errorf("%d sleeps", len(got))
	}
	if got := recent(nil); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}
