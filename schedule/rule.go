package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is an RRULE of RFC 5545 about whole days: in every so many years, months, weeks or days, those days that meet all that is said. Weeks of a year by
// their number (BYWEEKNO) are not known, and no holiday needs them.
type rule struct {
	every                               string // YEARLY, MONTHLY, WEEKLY, DAILY
	interval, count                     int
	until                               day
	months, monthdays, yeardays, setpos []int
	weekdays                            []nth
	weekStart                           time.Weekday
}

// nth is a weekday: each when n is 0, else the nth of the month or the year, from its end when it is negative.
type nth struct {
	n       int
	weekday time.Weekday
}

var weekdayOf = map[string]time.Weekday{"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}

func parseRule(s string) (*rule, error) {
	r := &rule{interval: 1, until: dateOf(years, time.December, 31), weekStart: time.Monday}
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.ToUpper(s), ";"), ";") {
		name, value, _ := strings.Cut(part, "=")
		if err := r.part(name, value); err != nil {
			return nil, fmt.Errorf("%s: %w", clean(name), err)
		}
	}
	if r.every == "" {
		return nil, errors.New("FREQ is missing")
	}
	return r, nil
}

func (r *rule) part(name, value string) (err error) {
	switch name {
	case "FREQ":
		if r.every = value; !slices.Contains([]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY"}, value) {
			return fmt.Errorf("%q is not for events that last whole days", clean(value))
		}
	case "INTERVAL":
		r.interval, err = number(value, 1, mostDays)
	case "COUNT":
		r.count, err = number(value, 1, mostDays)
	case "UNTIL":
		t, e := parseDate(value)
		if e != nil {
			return fmt.Errorf("%q is no date; want one as 20261225", clean(value))
		}
		r.until = min(r.until, dateOf(t.Date()))
	case "WKST":
		var ok bool
		if r.weekStart, ok = weekdayOf[value]; !ok {
			return fmt.Errorf("%q is no weekday", clean(value))
		}
	case "BYMONTH":
		r.months, err = numbers(value, 1, 12)
	case "BYMONTHDAY":
		r.monthdays, err = numbers(value, -31, 31)
	case "BYYEARDAY":
		r.yeardays, err = numbers(value, -366, 366)
	case "BYSETPOS":
		r.setpos, err = numbers(value, -366, 366)
	case "BYDAY":
		for s := range strings.SplitSeq(value, ",") {
			w, e := parseNth(s)
			if e != nil {
				return e
			}
			r.weekdays = append(r.weekdays, w)
		}
	default:
		return errors.New("not followed in events that last whole days")
	}
	return err
}

func parseNth(s string) (w nth, err error) {
	at := max(0, len(s)-2)
	weekday, ok := weekdayOf[s[at:]]
	if !ok {
		return w, fmt.Errorf("%q is no weekday", clean(s))
	}
	if at > 0 {
		w.n, err = nonzero(strings.TrimPrefix(s[:at], "+"), -53, 53)
	}
	w.weekday = weekday
	return w, err
}

func numbers(list string, low, high int) ([]int, error) {
	var out []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := nonzero(strings.TrimPrefix(s, "+"), low, high)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func nonzero(s string, low, high int) (int, error) {
	if n, err := number(s, low, high); err != nil || n != 0 {
		return n, err
	}
	return 0, fmt.Errorf("0 counts nothing; want 1 to %d", high)
}

func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q: want %d to %d", clean(s), low, high)
	}
	return n, nil
}

// days are those that the rule gives from a start on. What it leaves open is as of the start.
func (r *rule) days(start day) []day {
	r.complete(start)
	var out []day
	for i := 0; ; i += r.interval {
		first, next := r.period(start, i)
		if first > r.until {
			return out
		}
		for _, d := range r.choose(first, next) {
			if d > r.until || r.count > 0 && len(out) == r.count {
				return out
			}
			if d >= start {
				out = append(out, d)
			}
		}
	}
}

// complete fills in from the start which days are meant when no part names any.
func (r *rule) complete(start day) {
	if len(r.monthdays)+len(r.yeardays)+len(r.weekdays) > 0 {
		return
	}
	date := start.utc()
	switch r.every {
	case "YEARLY":
		if len(r.months) == 0 {
			r.months = []int{int(date.Month())}
		}
		r.monthdays = []int{date.Day()}
	case "MONTHLY":
		r.monthdays = []int{date.Day()}
	case "WEEKLY":
		r.weekdays = []nth{{0, date.Weekday()}}
	}
}

// period is the i-th year, month, week or day from that of the start on: its first day, and that of the next.
func (r *rule) period(start day, i int) (first, next day) {
	year, month, _ := start.utc().Date()
	switch r.every {
	case "YEARLY":
		return dateOf(year+i, time.January, 1), dateOf(year+i+1, time.January, 1)
	case "MONTHLY":
		return dateOf(year, month+time.Month(i), 1), dateOf(year, month+time.Month(i)+1, 1)
	case "WEEKLY":
		monday := start - day((start.weekday()-r.weekStart+7)%7)
		return monday + day(7*i), monday + day(7*i+7)
	}
	return start + day(i), start + day(i) + 1
}

// choose are the days of a period that meet the rule, in order.
func (r *rule) choose(first, next day) []day {
	var all []day
	for d := first; d < next; d++ {
		if r.meets(d) {
			all = append(all, d)
		}
	}
	if len(r.setpos) == 0 {
		return all
	}
	var out []day
	for i, d := range all {
		if slices.Contains(r.setpos, i+1) || slices.Contains(r.setpos, i-len(all)) {
			out = append(out, d)
		}
	}
	return out
}

func (r *rule) meets(d day) bool {
	date := d.utc()
	year, month, inMonth := date.Date()
	has := func(list []int, n, length int) bool {
		return len(list) == 0 || slices.Contains(list, n) || slices.Contains(list, n-length-1)
	}
	monthLength := dateOf(year, month+1, 1) - dateOf(year, month, 1)
	yearLength := dateOf(year+1, time.January, 1) - dateOf(year, time.January, 1)
	switch {
	case len(r.months) > 0 && !slices.Contains(r.months, int(month)):
	case !has(r.monthdays, inMonth, int(monthLength)), !has(r.yeardays, date.YearDay(), int(yearLength)):
	case len(r.weekdays) == 0:
		return true
	case r.every == "MONTHLY" || r.every == "YEARLY" && len(r.months) > 0:
		return r.onWeekday(date.Weekday(), inMonth, int(monthLength))
	default:
		return r.onWeekday(date.Weekday(), date.YearDay(), int(yearLength))
	}
	return false
}

// onWeekday tells whether one of the rule's weekdays is the weekday of the at-th day of a month or a year.
func (r *rule) onWeekday(weekday time.Weekday, at, length int) bool {
	return slices.ContainsFunc(r.weekdays, func(w nth) bool {
		switch {
		case w.weekday != weekday:
			return false
		case w.n == 0 || r.every == "WEEKLY" || r.every == "DAILY":
			return true
		}
		return w.n == (at-1)/7+1 || w.n == -((length-at)/7+1)
	})
}
