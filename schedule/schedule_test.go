package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

var week = []time.Weekday{0, 1, 2, 3, 4, 5, 6}

func days(first, last time.Weekday) []time.Weekday {
	var out []time.Weekday
	for d := first; d <= last; d++ {
		out = append(out, d)
	}
	return out
}

var office = fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{
	{Days: days(time.Monday, time.Friday), From: "08:00", To: "19:00"},
	{Days: []time.Weekday{time.Saturday}, From: "10:00", To: "14:00"},
}}

func with(s fleet.Schedule, change func(*fleet.Schedule)) fleet.Schedule {
	s.On = slices.Clone(s.On)
	change(&s)
	return s
}

func parse(t *testing.T, spec fleet.Schedule) *schedule.Schedule {
	t.Helper()
	s, errs := schedule.Parse(spec)
	if len(errs) > 0 {
		t.Fatalf("%+v: %v", spec, errs)
	}
	return s
}

// at reads a local time, or one with its offset where that says more.
func at(t *testing.T, zone, s string) time.Time {
	t.Helper()
	if when, err := time.Parse("2006-01-02T15:04Z07:00", s); err == nil {
		return when
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02T15:04", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// story prints the changes between two local times, a line each: when, with the offset from UTC, and what.
func story(t *testing.T, spec fleet.Schedule, from, to string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range parse(t, spec).Changes(at(t, spec.Zone, from), at(t, spec.Zone, to)) {
		word := "off"
		if c.On {
			word = "on"
		}
		fmt.Fprintf(&b, "%s %s\n", c.At.Format("Mon 01-02 15:04 -0700"), word)
	}
	return strings.TrimSpace(b.String())
}

func TestAt(t *testing.T) {
	spec := with(office, func(s *fleet.Schedule) {
		s.Holidays = []string{"2026-10-26", "01-06"}
		s.Calendar = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas Day\nEND:VEVENT\nEND:VCALENDAR\n"
		s.Exceptions = []fleet.Exception{
			{From: "2026-12-24T12:00", To: "2026-12-28T08:00", Why: "nobody is here"},
			{From: "2026-12-26T09:00", To: "2026-12-26T18:00", On: true, Why: "release"},
			{From: "2026-11-03T12:00", To: "2026-11-03T13:00"},
		}
	})
	for _, c := range []struct {
		when string
		on   bool
		why  string
	}{
		{"2026-11-02T07:59", false, "outside Mon-Fri 08:00-19:00, Sat 10:00-14:00 Europe/Vienna"},
		{"2026-11-02T08:00", true, "Mon-Fri 08:00-19:00 Europe/Vienna"},
		{"2026-11-02T18:59", true, "Mon-Fri 08:00-19:00 Europe/Vienna"},
		{"2026-11-02T19:00", false, "outside Mon-Fri 08:00-19:00, Sat 10:00-14:00 Europe/Vienna"},
		{"2026-11-07T13:59", true, "Sat 10:00-14:00 Europe/Vienna"},
		{"2026-11-03T12:59", false, "exception until 2026-11-03 13:00"},
		{"2026-11-03T13:00", true, "Mon-Fri 08:00-19:00 Europe/Vienna"},
		{"2026-10-26T09:00", false, "holiday 2026-10-26"},
		{"2026-10-26T03:00", false, "holiday 2026-10-26"},
		{"2027-01-06T09:00", false, "holiday 2027-01-06"},
		{"2028-01-06T09:00", false, "holiday 2028-01-06"},
		{"2026-12-24T11:59", true, "Mon-Fri 08:00-19:00 Europe/Vienna"},
		{"2026-12-24T12:00", false, "exception until 2026-12-28 08:00: nobody is here"},
		{"2026-12-26T09:00", true, "exception until 2026-12-26 18:00: release"},
		{"2026-12-26T18:00", false, "exception until 2026-12-28 08:00: nobody is here"},
		{"2026-12-28T08:00", true, "Mon-Fri 08:00-19:00 Europe/Vienna"},
	} {
		if on, why := parse(t, spec).At(at(t, spec.Zone, c.when)); on != c.on || why != c.why {
			t.Errorf("at %s: %t, %q; want %t, %q", c.when, on, why, c.on, c.why)
		}
	}
	spec.Exceptions = nil
	if on, why := parse(t, spec).At(at(t, spec.Zone, "2026-12-25T09:00")); on || why != "holiday 2026-12-25 Christmas Day" {
		t.Errorf("at Christmas: %t, %q", on, why)
	}
	only := fleet.Schedule{Zone: "UTC", Exceptions: []fleet.Exception{{From: "2026-12-26T09:00", To: "2026-12-26T18:00", On: true}}}
	if on, why := parse(t, only).At(at(t, "UTC", "2026-01-01T00:00")); on || why != "no exception says on" {
		t.Errorf("with exceptions only: %t, %q", on, why)
	}
}

func TestChanges(t *testing.T) {
	daily := func(zone, from, to string) fleet.Schedule {
		return fleet.Schedule{Zone: zone, On: []fleet.Window{{Days: week, From: from, To: to}}}
	}
	nights := fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: days(time.Monday, time.Friday), From: "22:00", To: "06:00"}}}
	for _, c := range []struct {
		name     string
		spec     fleet.Schedule
		from, to string
		want     string
	}{
		{"from and to", office, "2026-11-06T08:00", "2026-11-07T10:00", "Fri 11-06 19:00 +0100 off\nSat 11-07 10:00 +0100 on"},
		{"a night of a week's last day", nights, "2026-11-06T12:00", "2026-11-09T23:00",
			"Fri 11-06 22:00 +0100 on\nSat 11-07 06:00 +0100 off\nMon 11-09 22:00 +0100 on"},
		{"the evening before a day off runs to its end, that of the day off does not begin",
			with(nights, func(s *fleet.Schedule) { s.Holidays = []string{"2026-11-11"} }), "2026-11-10T12:00", "2026-11-13T12:00",
			"Tue 11-10 22:00 +0100 on\nWed 11-11 06:00 +0100 off\nThu 11-12 22:00 +0100 on\nFri 11-13 06:00 +0100 off"},
		{"a whole day, with a day off", with(daily("Europe/Vienna", "00:00", "24:00"), func(s *fleet.Schedule) { s.Holidays = []string{"11-11"} }),
			"2026-11-01T12:00", "2026-11-30T12:00", "Wed 11-11 00:00 +0100 off\nThu 11-12 00:00 +0100 on"},
		{"a whole day from eight", fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: days(time.Monday, time.Wednesday), From: "08:00", To: "08:00"}}},
			"2026-11-01T12:00", "2026-11-08T00:00", "Mon 11-02 08:00 +0100 on\nThu 11-05 08:00 +0100 off"},
		{"windows that touch", fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{
			{Days: days(time.Monday, time.Friday), From: "08:00", To: "12:00"}, {Days: []time.Weekday{time.Monday}, From: "12:00", To: "16:00"}}},
			"2026-11-01T12:00", "2026-11-03T23:00", "Mon 11-02 08:00 +0100 on\nMon 11-02 16:00 +0100 off\nTue 11-03 08:00 +0100 on\nTue 11-03 12:00 +0100 off"},
		{"an exception that touches", with(office, func(s *fleet.Schedule) {
			s.Exceptions = []fleet.Exception{{From: "2026-11-02T19:00", To: "2026-11-02T23:30", On: true}}
		}), "2026-11-02T12:00", "2026-11-03T07:00", "Mon 11-02 23:30 +0100 off"},

		{"spring: a begin that the clock skips is the first moment after", daily("Europe/Vienna", "02:30", "08:00"), "2026-03-28T12:00", "2026-03-29T12:00",
			"Sun 03-29 03:00 +0200 on\nSun 03-29 08:00 +0200 off"},
		{"spring: so is an end", daily("Europe/Vienna", "22:00", "02:30"), "2026-03-28T12:00", "2026-03-29T12:00",
			"Sat 03-28 22:00 +0100 on\nSun 03-29 03:00 +0200 off"},
		{"spring: all of a window is skipped", daily("Europe/Vienna", "02:00", "03:00"), "2026-03-28T01:00", "2026-03-30T12:00",
			"Sat 03-28 02:00 +0100 on\nSat 03-28 03:00 +0100 off\nMon 03-30 02:00 +0200 on\nMon 03-30 03:00 +0200 off"},
		{"autumn: a begin that comes twice is the first", daily("Europe/Vienna", "02:30", "08:00"), "2026-10-24T12:00", "2026-10-25T12:00",
			"Sun 10-25 02:30 +0200 on\nSun 10-25 08:00 +0100 off"},
		{"autumn: so is an end", daily("Europe/Vienna", "22:00", "02:30"), "2026-10-24T12:00", "2026-10-25T12:00",
			"Sat 10-24 22:00 +0200 on\nSun 10-25 02:30 +0200 off"},
		{"autumn: windows that touch within the hour that comes twice", fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{
			{Days: week, From: "01:00", To: "02:30"}, {Days: week, From: "02:30", To: "04:00"}}}, "2026-10-24T12:00", "2026-10-25T12:00",
			"Sun 10-25 01:00 +0200 on\nSun 10-25 04:00 +0100 off"},
		{"Lord Howe: half an hour", daily("Australia/Lord_Howe", "02:15", "06:00"), "2026-10-03T12:00", "2026-10-05T12:00",
			"Sun 10-04 02:30 +1100 on\nSun 10-04 06:00 +1100 off\nMon 10-05 02:15 +1100 on\nMon 10-05 06:00 +1100 off"},
		{"Santiago: the clock skips midnight", daily("America/Santiago", "00:00", "06:00"), "2026-09-05T12:00", "2026-09-06T12:00",
			"Sun 09-06 01:00 -0300 on\nSun 09-06 06:00 -0300 off"},
		{"Santiago: and shows the hour before it twice", daily("America/Santiago", "00:00", "06:00"), "2026-04-04T12:00", "2026-04-05T12:00",
			"Sun 04-05 00:00 -0400 on\nSun 04-05 06:00 -0400 off"},
		{"Havana: midnight comes twice", daily("America/Havana", "00:00", "06:00"), "2026-10-31T12:00", "2026-11-01T12:00",
			"Sun 11-01 00:00 -0400 on\nSun 11-01 06:00 -0500 off"},
		{"Apia left out a Friday", daily("Pacific/Apia", "08:00", "19:00"), "2011-12-29T12:00", "2011-12-31T20:00",
			"Thu 12-29 19:00 -1000 off\nSat 12-31 08:00 +1400 on\nSat 12-31 19:00 +1400 off"},
		{"Apia: over the day that was not there", daily("Pacific/Apia", "22:00", "06:00"), "2011-12-29T12:00", "2011-12-31T20:00",
			"Thu 12-29 22:00 -1000 on\nSat 12-31 06:00 +1400 off"},
		{"Casablanca: back for Ramadan", daily("Africa/Casablanca", "02:30", "19:00"), "2026-02-14T20:00", "2026-02-15T20:00",
			"Sun 02-15 02:30 +0100 on\nSun 02-15 19:00 +0000 off"},
		{"Troll: two hours", daily("Antarctica/Troll", "02:00", "04:00"), "2026-03-28T12:00", "2026-03-29T12:00",
			"Sun 03-29 03:00 +0200 on\nSun 03-29 04:00 +0200 off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(t, c.spec, c.from, c.to); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	s := parse(t, office)
	when, on, why, ok := s.Next(at(t, office.Zone, "2026-11-06T19:00"))
	if !ok || !on || why != "Sat 10:00-14:00 Europe/Vienna" || when.Format(time.RFC3339) != "2026-11-07T10:00:00+01:00" {
		t.Errorf("after Friday's end: %s %t %q %t", when, on, why, ok)
	}
	away := fleet.Schedule{Zone: "UTC", Exceptions: []fleet.Exception{{From: "2026-12-26T09:00", To: "2026-12-26T18:00", On: true}}}
	for from, want := range map[string]string{
		"2024-12-26T09:00": "2026-12-26 09:00 true",
		"2026-12-26T09:00": "2026-12-26 18:00 false",
		"2026-12-26T18:00": "none",
		"2022-01-01T00:00": "none", // further off than it looks
	} {
		got := "none"
		if when, on, _, ok := parse(t, away).Next(at(t, "UTC", from)); ok {
			got = fmt.Sprint(when.Format("2006-01-02 15:04"), " ", on)
		}
		if got != want {
			t.Errorf("after %s: %s, want %s", from, got, want)
		}
	}
}

func TestOnFor(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     time.Duration
	}{
		{"2026-11-02T00:00", "2026-11-09T00:00", 59 * time.Hour},
		{"2026-11-02T09:00", "2026-11-02T10:30", 90 * time.Minute},
		{"2026-11-02T18:00", "2026-11-03T09:00", 2 * time.Hour},
		{"2026-11-02T20:00", "2026-11-03T07:00", 0},
		{"2026-11-03T09:00", "2026-11-02T09:00", 0},
	} {
		if got := parse(t, office).OnFor(at(t, office.Zone, c.from), at(t, office.Zone, c.to)); got != c.want {
			t.Errorf("from %s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
	all := fleet.Schedule{Zone: "Europe/Vienna", On: []fleet.Window{{Days: []time.Weekday{time.Sunday}, From: "00:00", To: "24:00"}}}
	for day, want := range map[string]time.Duration{"2026-03-29": 23 * time.Hour, "2026-10-25": 25 * time.Hour, "2026-11-01": 24 * time.Hour} {
		from := at(t, all.Zone, day+"T00:00")
		if got := parse(t, all).OnFor(from.Add(-time.Hour), from.Add(30*time.Hour)); got != want {
			t.Errorf("the Sunday %s lasts %s, want %s", day, got, want)
		}
	}
}

func TestParseTells(t *testing.T) {
	one := func(w fleet.Window) fleet.Schedule { return fleet.Schedule{Zone: "UTC", On: []fleet.Window{w}} }
	monday := []time.Weekday{time.Monday}
	for _, c := range []struct {
		spec fleet.Schedule
		want string
	}{
		{fleet.Schedule{On: office.On}, `zone "": name an IANA zone, such as Europe/Vienna`},
		{fleet.Schedule{Zone: "Local", On: office.On}, `zone "Local": name an IANA zone, such as Europe/Vienna`},
		{fleet.Schedule{Zone: "Europe/Viena", On: office.On}, `zone "Europe/Viena": no IANA zone is called that; near names: Europe/Vienna`},
		{fleet.Schedule{Zone: "new york", On: office.On}, `zone "new york": no IANA zone is called that; near names: America/New_York`},
		{fleet.Schedule{Zone: "+02:00", On: office.On}, `zone "+02:00": no IANA zone is called that; want one such as Europe/Vienna`},
		{fleet.Schedule{Zone: "../etc/passwd", On: office.On}, `zone "../etc/passwd": no IANA zone is called that; want one such as Europe/Vienna`},
		{one(fleet.Window{Days: monday, From: "25:00", To: "8:00"}), `on[0].from "25:00": no time of day; want 00:00 to 23:59
on[0].to "8:00": no time of day; want 00:00 to 24:00`},
		{one(fleet.Window{Days: monday, From: "24:00", To: "24:01"}), `on[0].from "24:00": no time of day; want 00:00 to 23:59
on[0].to "24:01": no time of day; want 00:00 to 24:00`},
		{one(fleet.Window{From: "08:00", To: "19:00"}), "on[0].days: none: name the days it begins on, such as Mon"},
		{one(fleet.Window{Days: []time.Weekday{1, 7, 1, -1}, From: "08:00", To: "19:00"}), `on[0].days[1]: 7 is no day of the week; want 0 (Sunday) to 6
on[0].days[2]: Monday is there twice
on[0].days[3]: -1 is no day of the week; want 0 (Sunday) to 6`},
		{with(office, func(s *fleet.Schedule) { s.On[1].Days, s.On[1].From = []time.Weekday{time.Friday}, "18:59" }),
			"on[1] Fri 18:59-14:00: overlaps on[0] Mon-Fri 08:00-19:00 on Friday"},
		{with(office, func(s *fleet.Schedule) {
			s.On = []fleet.Window{{Days: monday, From: "x", To: "y"}, s.On[0], {Days: monday, From: "00:00", To: "24:00"}}
		}),
			`on[0].from "x": no time of day; want 00:00 to 23:59
on[0].to "y": no time of day; want 00:00 to 24:00
on[2] Mon 00:00-24:00: overlaps on[1] Mon-Fri 08:00-19:00 on Monday`},
		{fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: []time.Weekday{time.Saturday}, From: "20:00", To: "08:00"}, {Days: []time.Weekday{time.Sunday}, From: "07:00", To: "09:00"}}},
			"on[1] Sun 07:00-09:00: overlaps on[0] Sat 20:00-08:00 on Sunday"},
		{fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: week, From: "00:00", To: "23:00"}, {Days: week, From: "22:59", To: "00:00"}}},
			"on[1] Mon-Sun 22:59-24:00: overlaps on[0] Mon-Sun 00:00-23:00 on Sunday"},
		{with(office, func(s *fleet.Schedule) {
			s.Holidays = []string{"2026-12-25", "2026-02-29", "02-29", "13-01", "Christmas"}
		}),
			`holidays[1] "2026-02-29": no date; want one as 2026-12-25, or 12-25 for every year
holidays[3] "13-01": no date; want one as 2026-12-25, or 12-25 for every year
holidays[4] "Christmas": no date; want one as 2026-12-25, or 12-25 for every year`},
		{with(office, func(s *fleet.Schedule) {
			s.Exceptions = []fleet.Exception{{From: "2026-12-24", To: "2026-12-24T12:00Z"}, {From: "2026-12-24T12:00", To: "2026-12-23T12:00"},
				{From: "2026-12-24T12:00", To: "2026-12-24T12:00"}, {From: "2026-03-29T02:00", To: "2026-03-29T03:00"}}
		}), `exceptions[0].from "2026-12-24": no local time; want one as 2026-12-24T12:00
exceptions[0].to "2026-12-24T12:00Z": no local time; want one as 2026-12-24T12:00
exceptions[1]: ends at 2026-12-23T12:00, before it begins at 2026-12-24T12:00
exceptions[2]: lasts no time, from 2026-12-24T12:00 to 2026-12-24T12:00
exceptions[3]: lasts no time, from 2026-03-29T02:00 to 2026-03-29T03:00`},
		{fleet.Schedule{Zone: "UTC"}, "on: no window and no exception that is on: it would never be on"},
		{fleet.Schedule{Zone: "UTC", Exceptions: []fleet.Exception{{From: "2026-12-24T12:00", To: "2026-12-25T12:00"}}},
			"on: no window and no exception that is on: it would never be on"},
		{one(fleet.Window{Days: week, From: "08:00", To: "08:00"}), "on: Mon-Sun 08:00-08:00 UTC: it would never be off; leave the schedule out"},
		{fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: days(1, 6), From: "00:00", To: "24:00"}, {Days: days(0, 0), From: "00:00", To: "12:00"}, {Days: days(0, 0), From: "12:00", To: "00:00"}}},
			"on: Mon-Sat 00:00-24:00, Sun 00:00-12:00, Sun 12:00-24:00 UTC: it would never be off; leave the schedule out"},
		{fleet.Schedule{Zone: "Mars", Holidays: []string{"x"}, Calendar: "hello"}, `zone "Mars": no IANA zone is called that; want one such as Europe/Vienna
holidays[0] "x": no date; want one as 2026-12-25, or 12-25 for every year
calendar line 1: no iCalendar: it does not begin with BEGIN:VCALENDAR`},
	} {
		s, errs := schedule.Parse(c.spec)
		var lines []string
		for _, err := range errs {
			lines = append(lines, err.Error())
		}
		if got := strings.Join(lines, "\n"); got != c.want || s != nil {
			t.Errorf("%+v (a schedule: %t):\n%s\nwant:\n%s", c.spec, s != nil, got, c.want)
		}
	}
}

func TestString(t *testing.T) {
	for want, spec := range map[string]fleet.Schedule{
		"Mon-Fri 08:00-19:00, Sat 10:00-14:00 Europe/Vienna": office,
		"Mon,Sat,Sun 22:00-06:00 UTC":                        {Zone: "UTC", On: []fleet.Window{{Days: []time.Weekday{6, 0, 1}, From: "22:00", To: "06:00"}}},
		"Mon,Tue,Thu-Sun 00:00-24:00 UTC":                    {Zone: "UTC", On: []fleet.Window{{Days: []time.Weekday{1, 2, 4, 5, 6, 0}, From: "00:00", To: "24:00"}}},
	} {
		if got := parse(t, spec).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
