package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
)

// A rule gives the days that another implementation gives. That one is no part of drover: it goes on to the year 9999 when a rule never comes true, and
// falls over the edges of its tables.
func TestRuleAsOthersReadIt(t *testing.T) {
	const seed = 6
	r := rand.New(rand.NewPCG(seed, seed))
	given := 0
	for range 1000 {
		text, start := anyRule(r), dateOf(2000+r.IntN(30), time.Month(1+r.IntN(12)), 1+r.IntN(28))
		own, err := parseRule(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		own.until = min(own.until, start+12*365)
		got := own.days(start)
		if len(got) == 0 {
			continue // the other one would look for the first up to the year 9999
		}
		if want := others(t, text, start, own.until); !slices.Equal(got, want) {
			t.Errorf("%s from %s:\n%v\nwant:\n%v", text, start, got, want)
		}
		given += len(got)
	}
	if given < 5_000 {
		t.Errorf("all the rules give %d days only", given)
	}
}

func anyRule(r *rand.Rand) string {
	list := func(most int) string {
		var out []string
		for range 1 + r.IntN(3) {
			n := 1 + r.IntN(most)
			if r.IntN(3) == 0 {
				n = -n
			}
			out = append(out, fmt.Sprint(n))
		}
		return strings.Join(out, ",")
	}
	every := []string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY"}[r.IntN(4)]
	rule := "FREQ=" + every
	if r.IntN(3) == 0 {
		rule += ";BYMONTH=" + fmt.Sprint(1+r.IntN(12))
	}
	if r.IntN(4) == 0 && every != "WEEKLY" {
		rule += ";BYMONTHDAY=" + list(31)
	}
	if r.IntN(6) == 0 && every == "YEARLY" {
		rule += ";BYYEARDAY=" + fmt.Sprint(1+r.IntN(366)) // the other one reads negative ones wrong
	}
	if r.IntN(2) == 0 {
		n := ""
		if every == "YEARLY" || every == "MONTHLY" {
			n = []string{"", "1", "+2", "-1", "5", "-5"}[r.IntN(6)]
		}
		rule += ";BYDAY=" + n + []string{"MO", "TH", "SU"}[r.IntN(3)]
		if r.IntN(2) == 0 {
			rule += "," + n + "FR" // with as much of a number: the other one wants days that meet both, where one has none
		}
	}
	if r.IntN(4) == 0 && strings.Contains(rule, "BYDAY") && every != "WEEKLY" { // the other one cuts the start's week
		rule += ";BYSETPOS=" + list(5)
	}
	return rule + []string{"", ";WKST=SU", ";INTERVAL=3", ";COUNT=9", ";UNTIL=20191231"}[r.IntN(5)]
}

func others(t *testing.T, text string, start, until day) []day {
	t.Helper()
	o, err := rrule.StrToROption(strings.ReplaceAll(text, "+", ""))
	if err != nil {
		t.Fatal(err)
	}
	o.Dtstart, o.Until = start.utc(), until.utc()
	r, err := rrule.NewRRule(*o)
	if err != nil {
		t.Fatal(err)
	}
	var out []day
	for _, when := range r.All() {
		out = append(out, dayOf(when))
	}
	return out
}
