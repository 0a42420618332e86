package schedule_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

// vevents wraps lines of events as calendar programs write them.
func vevents(events ...string) string {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//somebody//EN\n")
	for _, e := range events {
		b.WriteString("BEGIN:VEVENT\n" + strings.TrimSpace(e) + "\nEND:VEVENT\n")
	}
	b.WriteString("END:VCALENDAR\n")
	return strings.ReplaceAll(b.String(), "\n", "\r\n")
}

// daysOff lists those of a calendar between two dates, as At words them.
func daysOff(t *testing.T, calendar, from, to string) (list string, warnings []string) {
	t.Helper()
	s := parse(t, fleet.Schedule{Zone: "Pacific/Auckland", On: []fleet.Window{{Days: week, From: "08:00", To: "19:00"}}, Calendar: calendar})
	var out []string
	for now := at(t, "Pacific/Auckland", from+"T12:00"); !now.After(at(t, "Pacific/Auckland", to+"T12:00")); now = now.AddDate(0, 0, 1) {
		if on, why := s.At(now); !on {
			out = append(out, strings.TrimPrefix(why, "holiday "))
		}
	}
	return strings.Join(out, "\n"), s.Warnings()
}

func TestCalendar(t *testing.T) {
	for _, c := range []struct {
		name, calendar, from, to string
		want                     string
		warnings                 string
	}{
		{"one day", vevents("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226\nSUMMARY:Christmas Day\nTRANSP:TRANSPARENT"),
			"2026-12-01", "2026-12-31", "2026-12-25 Christmas Day", ""},
		{"several days, the end is none", vevents("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227\nSUMMARY:Closed"),
			"2026-12-01", "2026-12-31", "2026-12-24 Closed\n2026-12-25 Closed\n2026-12-26 Closed", ""},
		{"without an end, with the same, and with a duration", vevents("DTSTART;VALUE=DATE:20261201", "DTSTART;VALUE=DATE:20261205\nDTEND;VALUE=DATE:20261205",
			"DTSTART;VALUE=DATE:20261210\nDURATION:P2D", "DTSTART:20261220\nDURATION:P1W\nSUMMARY:week"), "2026-12-01", "2026-12-24",
			"2026-12-01\n2026-12-05\n2026-12-10\n2026-12-11\n2026-12-20 week\n2026-12-21 week\n2026-12-22 week\n2026-12-23 week\n2026-12-24 week", ""},
		{"every year", vevents("DTSTART;VALUE=DATE:20201226\nRRULE:FREQ=YEARLY\nSUMMARY:Boxing Day"), "2026-12-01", "2027-12-31",
			"2026-12-26 Boxing Day\n2027-12-26 Boxing Day", ""},
		{"the fourth Thursday of November", vevents("DTSTART;VALUE=DATE:20201126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\nSUMMARY:Thanksgiving"),
			"2026-01-01", "2027-12-31", "2026-11-26 Thanksgiving\n2027-11-25 Thanksgiving", ""},
		{"until, the day itself too", vevents("DTSTART;VALUE=DATE:20240501\nRRULE:FREQ=YEARLY;UNTIL=20260501"), "2025-01-01", "2028-01-01", "2025-05-01\n2026-05-01", ""},
		{"until, with a time", vevents("DTSTART;VALUE=DATE:20240501\nRRULE:FREQ=YEARLY;UNTIL=20260501T235959Z"), "2025-01-01", "2028-01-01", "2025-05-01\n2026-05-01", ""},
		{"until for ever", vevents("DTSTART;VALUE=DATE:20240501\nRRULE:FREQ=YEARLY;UNTIL=99991231"), "2025-01-01", "2026-12-31", "2025-05-01\n2026-05-01", ""},
		{"a number of times", vevents("DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260103\nRRULE:FREQ=MONTHLY;COUNT=2"), "2026-01-01", "2026-12-31",
			"2026-01-01\n2026-01-02\n2026-02-01\n2026-02-02", ""},
		{"but for some", vevents("DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=5\nEXDATE;VALUE=DATE:20260105,20260119\nEXDATE:20260126T000000Z\nRDATE;VALUE=DATE:20260301"),
			"2026-01-01", "2026-12-31", "2026-01-12\n2026-02-02\n2026-03-01", ""},
		{"one of a series is moved, another called off", vevents("UID:a\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=3\nSUMMARY:Monday",
			"UID:a\nRECURRENCE-ID;VALUE=DATE:20260112\nDTSTART;VALUE=DATE:20260113\nSUMMARY:Tuesday", "UID:a\nRECURRENCE-ID;VALUE=DATE:20260119\nDTSTART;VALUE=DATE:20260119\nSTATUS:CANCELLED",
			"UID:b\nDTSTART;VALUE=DATE:20260201"), "2026-01-01", "2026-12-31", "2026-01-05 Monday\n2026-01-13 Tuesday\n2026-02-01", ""},
		{"cancelled", vevents("DTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED", "DTSTART;VALUE=DATE:20261226\nSTATUS:CONFIRMED"), "2026-12-01", "2026-12-31", "2026-12-26", ""},
		{"appointments", vevents("DTSTART:20261225T080000Z\nSUMMARY:Lunch", "DTSTART;TZID=Europe/Vienna:20261225T080000\nSUMMARY:Tea", "DTSTART:20261225T080000", "DTSTART:20261225T080000\nSTATUS:CANCELLED"),
			"2026-12-01", "2026-12-31", "", `calendar: events no days off, because they have a time of day: "Lunch" (line 4), "Tea" (line 8), 1 more
calendar: no day off is in it`},
		{"what is not followed", vevents("UID:a\nDTSTART;VALUE=DATE:20261201\nEXRULE:FREQ=DAILY\nSUMMARY:x", "UID:a\nRECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20261201\nDTSTART;VALUE=DATE:20261202"),
			"2026-12-01", "2026-12-31", "2026-12-02", `calendar: events with an EXRULE, which is not followed: "x" (line 4)
calendar: events that change all later ones, of which only the day itself is changed: "" (line 10)`},
		{"words folded, escaped, quoted, and with a bell", "\ufeff" + vevents("DTSTART;X-A=\"a:b;c\";VALUE=DATE:20261225\nSUMMARY;LANGUAGE=de:Weih\n nachten\\, Fest\\nder \u0007Liebe\\; \\\\o/\nBEGIN:VALARM\nSUMMARY:Wake up\nTRIGGER:-P1D\nEND:VALARM"),
			"2026-12-01", "2026-12-31", `2026-12-25 Weihnachten, Fest der Liebe; \o/`, ""},
		{"no event", vevents(), "2026-12-01", "2026-12-31", "", "calendar: no day off is in it"},
		{"two calendars, and a to-do", vevents("DTSTART;VALUE=DATE:20261225") + "BEGIN:VCALENDAR\nBEGIN:VTODO\nDTSTART;VALUE=DATE:20261201\nEND:VTODO\nEND:VCALENDAR\n" + vevents("DTSTART;VALUE=DATE:20261226"),
			"2026-12-01", "2026-12-31", "2026-12-25\n2026-12-26", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warnings := daysOff(t, c.calendar, c.from, c.to)
			if got != c.want {
				t.Errorf("days off:\n%s\nwant:\n%s", got, c.want)
			}
			if got := strings.Join(warnings, "\n"); got != c.warnings {
				t.Errorf("warnings:\n%s\nwant:\n%s", got, c.warnings)
			}
		})
	}
}

func TestBrokenCalendar(t *testing.T) {
	for _, c := range []struct{ calendar, want string }{
		{"<html>", "calendar line 1: no iCalendar: it does not begin with BEGIN:VCALENDAR"},
		{"\n\n", "calendar line 1: no iCalendar: it does not begin with BEGIN:VCALENDAR"},
		{"BEGIN:VCALENDAR\n\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\n", "calendar line 3: VEVENT does not end: is the calendar cut?"},
		{"BEGIN:VCALENDAR\nEND:VEVENT\n", "calendar line 2: END:VEVENT, which has not begun"},
		{"BEGIN:VCALENDAR\nEND:VCALENDAR\nX-A:b\n", "calendar line 3: X-A is outside of the calendar"},
		{vevents("DTSTART;VALUE=DATE:20261225\n SUMMARY:folded by mistake"), `calendar line 5: DTSTART "20261225SUMMARY:folded by mistake": no date; want one as 20261225`},
		{vevents("DTSTART;VALUE=DATE:20261225\nwhat is this\nSUM MARY:x\n:x\nA;B:c"), `calendar line 6: "what is this" is no line of an iCalendar: want NAME:value
calendar line 7: "SUM MARY:x" is no line of an iCalendar: want NAME:value
calendar line 8: ":x" is no line of an iCalendar: want NAME:value
calendar line 9: A: parameter "B" has no value`},
		{vevents("SUMMARY:when", "DTSTART:20261301", "DTSTART:18991231", "DTSTART:20261225\nDTEND:20261224", "DTSTART:20261225\nDTEND:x"),
			`calendar line 4: event "when" has no DTSTART
calendar line 8: DTSTART "20261301": no date; want one as 20261225
calendar line 11: DTSTART "18991231": want a year from 1900 to 2100
calendar line 15: DTEND 2026-12-24 is before DTSTART 2026-12-25
calendar line 19: DTEND "x": no date; want one as 20261225`},
		{vevents("DTSTART:20261225\nDURATION:PT1H", "DTSTART:20261225\nDURATION:P0D", "DTSTART:20261225\nDTEND:20281225\nSUMMARY:gone"),
			`calendar line 6: DURATION "PT1H": want whole days, such as P2D
calendar line 10: DURATION "P0D": want whole days, such as P2D
calendar line 14: event "gone" lasts 731 days; more than a year off is no holiday`},
		{vevents("DTSTART:20261225\nRRULE:FREQ=HOURLY", "DTSTART:20261225\nRRULE:FREQ=YEARLY;BYHOUR=1", "DTSTART:20261225\nRRULE:INTERVAL=2", "DTSTART:20261225\nRRULE:FREQ=YEARLY;COUNT=0",
			"DTSTART:20261225\nRRULE:FREQ=MONTHLY;BYDAY=0MO", "DTSTART:20261225\nRRULE:FREQ=YEARLY;BYMONTH=12;BYDAY=XY", "DTSTART:20261225\nRRULE:FREQ=YEARLY;BYMONTH=13",
			"DTSTART:20261225\nRRULE:FREQ=YEARLY;UNTIL=soon", "DTSTART:20261225\nEXDATE:x"),
			`calendar line 6: RRULE "FREQ=HOURLY": FREQ: "HOURLY" is not for events that last whole days
calendar line 10: RRULE "FREQ=YEARLY;BYHOUR=1": BYHOUR: not followed in events that last whole days
calendar line 14: RRULE "INTERVAL=2": FREQ is missing
calendar line 18: RRULE "FREQ=YEARLY;COUNT=0": COUNT: "0": want 1 to 100000
calendar line 22: RRULE "FREQ=MONTHLY;BYDAY=0MO": BYDAY: 0 counts nothing; want 1 to 53
calendar line 26: RRULE "FREQ=YEARLY;BYMONTH=12;BYDAY=XY": BYDAY: "XY" is no weekday
calendar line 30: RRULE "FREQ=YEARLY;BYMONTH=13": BYMONTH: "13": want 1 to 12
calendar line 34: RRULE "FREQ=YEARLY;UNTIL=soon": UNTIL: "SOON" is no date; want one as 20261225
calendar line 38: EXDATE "x": no date; want one as 20261225`},
	} {
		s, errs := schedule.Parse(fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: week, From: "08:00", To: "19:00"}}, Calendar: c.calendar})
		var lines []string
		for _, err := range errs {
			lines = append(lines, err.Error())
		}
		if got := strings.Join(lines, "\n"); got != c.want || s != nil {
			t.Errorf("%q (a schedule: %t):\n%s\nwant:\n%s", c.calendar, s != nil, got, c.want)
		}
	}
}

// A text that is no calendar from some line on is told a few times, not for every line.
func TestBrokenCalendarIsToldBriefly(t *testing.T) {
	for _, calendar := range []string{
		"BEGIN:VCALENDAR\n" + strings.Repeat("nonsense\n", 5000),
		vevents(strings.Split(strings.Repeat("DTSTART:x,", 5000), ",")...),
	} {
		if _, errs := schedule.Parse(fleet.Schedule{Zone: "UTC", On: office.On, Calendar: calendar}); len(errs) != 10 {
			t.Errorf("%d errors, want 10", len(errs))
		}
	}
}

// A rule that never ends, or never comes true, costs no more than the years that are followed.
func TestEndlessRules(t *testing.T) {
	spec := fleet.Schedule{Zone: "UTC", On: []fleet.Window{{Days: week, From: "08:00", To: "19:00"}},
		Calendar: vevents("DTSTART;VALUE=DATE:19000101\nRRULE:FREQ=DAILY;INTERVAL=2", "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")}
	s := parse(t, spec)
	if got := s.OnFor(at(t, "UTC", "2026-01-01T00:00"), at(t, "UTC", "2026-01-05T00:00")); got != 22*time.Hour && got != 11*time.Hour {
		t.Errorf("on for %s of four days of which every other one is off", got)
	}
	spec.Calendar = vevents("DTSTART;VALUE=DATE:19000101\nDTEND;VALUE=DATE:19000301\nRRULE:FREQ=DAILY;INTERVAL=2", "DTSTART;VALUE=DATE:19000101")
	if s := parse(t, spec); s.OnFor(at(t, "UTC", "2026-01-01T00:00"), at(t, "UTC", "2027-01-01T00:00")) != 0 {
		t.Error("on though every day is off")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Europe/Vienna", "08:00", "19:00", uint8(62), "12-25", "2026-12-24T12:00", "2026-12-27T12:00", vevents("DTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas\nRRULE:FREQ=YEARLY"))
	f.Add("America/Santiago", "22:00", "06:00", uint8(127), "2026-02-29", "2026-12-24T12:00", "2026-12-23T12:00",
		vevents("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261228\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1;COUNT=3\nEXDATE;VALUE=DATE:20270129"))
	f.Add("Pacific/Apia", "00:00", "24:00", uint8(1), "", "2011-12-30T00:00", "2011-12-31T00:00",
		vevents("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYWEEKNO=1,-1,53;BYDAY=MO;WKST=SU;UNTIL=20301231T000000Z\nRDATE:20270101"))
	f.Add("UTC", "08:00", "08:00", uint8(127), "02-29", "", "", vevents("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,FR;BYMONTH=12", "DTSTART:20261225T000000"))
	f.Add("Nowhere", "", "", uint8(0), "x", "x", "y", vevents("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYDAY=53MO;BYYEARDAY=-366"))
	f.Fuzz(func(t *testing.T, zone, from, to string, on uint8, holiday, exFrom, exTo, calendar string) {
		spec := fleet.Schedule{Zone: zone, Holidays: []string{holiday}, Calendar: calendar, Exceptions: []fleet.Exception{{From: exFrom, To: exTo, On: on >= 128}}}
		w := fleet.Window{From: from, To: to}
		for d := range time.Weekday(7) {
			if on&(1<<d) != 0 {
				w.Days = append(w.Days, d)
			}
		}
		spec.On = []fleet.Window{w}
		if holiday == "" {
			spec.Holidays = nil
		}
		if exFrom == "" {
			spec.Exceptions = nil
		}
		s, errs := schedule.Parse(spec)
		if (s == nil) != (len(errs) > 0) {
			t.Fatalf("a schedule: %t, and %v", s != nil, errs)
		}
		for _, err := range errs {
			if strings.ContainsAny(err.Error(), "\n\r") && !strings.ContainsAny(zone+from+to+holiday+exFrom+exTo, "\n\r") {
				t.Errorf("an error of several lines: %q", err)
			}
		}
		if s == nil {
			return
		}
		now := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
		walk(t, s, s.Changes(now, now.AddDate(0, 1, 0)), now, now.AddDate(0, 1, 0))
	})
}
