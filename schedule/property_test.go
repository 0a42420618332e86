package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

// odd are zones whose clocks do, or did within memory, more than skip and repeat one hour at two in the morning.
var odd = []string{
	"Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Johannesburg", "Africa/Juba", "Africa/Khartoum", "Africa/Sao_Tome", "Africa/Tripoli",
	"Africa/Windhoek", "America/Adak", "America/Anchorage", "America/Asuncion", "America/Bogota", "America/Buenos_Aires", "America/Caracas",
	"America/Chicago", "America/Godthab", "America/Goose_Bay", "America/Havana", "America/Los_Angeles", "America/Mexico_City", "America/Miquelon",
	"America/Montevideo", "America/New_York", "America/Nuuk", "America/Port-au-Prince", "America/Punta_Arenas", "America/Santiago", "America/Sao_Paulo",
	"America/Scoresbysund", "America/St_Johns", "America/Toronto", "Antarctica/Casey", "Antarctica/Davis", "Antarctica/Macquarie", "Antarctica/Troll",
	"Antarctica/Vostok", "Asia/Almaty", "Asia/Amman", "Asia/Beirut", "Asia/Damascus", "Asia/Famagusta", "Asia/Gaza", "Asia/Hebron", "Asia/Jerusalem",
	"Asia/Kabul", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Pyongyang", "Asia/Tehran", "Asia/Tokyo", "Asia/Yangon", "Atlantic/Azores", "Australia/Eucla",
	"Australia/Lord_Howe", "Australia/Sydney", "Chile/EasterIsland", "Europe/Berlin", "Europe/Dublin", "Europe/Istanbul", "Europe/Lisbon",
	"Europe/Moscow", "Europe/Vienna", "Europe/Volgograd", "Pacific/Apia", "Pacific/Auckland", "Pacific/Bougainville", "Pacific/Chatham",
	"Pacific/Fakaofo", "Pacific/Fiji", "Pacific/Kiritimati", "Pacific/Norfolk", "Pacific/Tongatapu", "UTC",
}

// wall is a clock that stands still when it is set back, until it has made up for that.
type wall struct {
	zone *time.Location
	max  int64 // seconds since 1970 by the wall
}

func (w *wall) see(t time.Time) (date time.Time, minute int) {
	_, offset := t.In(w.zone).Zone()
	w.max = max(w.max, t.Unix()+int64(offset))
	local := time.Unix(w.max, 0).UTC()
	return local.Truncate(24 * time.Hour), local.Hour()*60 + local.Minute()
}

// dumb reads a schedule's windows and holidays off a wall clock, one moment after the other.
func dumb(spec fleet.Schedule, date time.Time, minute int) bool {
	for _, w := range spec.On {
		begin, end := hhmm(w.From), hhmm(w.To)
		if end <= begin {
			end += 24 * 60
		}
		for ago := range 2 {
			day, now := date.AddDate(0, 0, -ago), minute+ago*24*60
			if now < begin || now >= end || !slices.Contains(w.Days, day.Weekday()) {
				continue
			}
			if !slices.Contains(spec.Holidays, day.Format("2006-01-02")) && !slices.Contains(spec.Holidays, day.Format("01-02")) {
				return true
			}
		}
	}
	return false
}

func hhmm(s string) int {
	return int(s[0]-'0')*600 + int(s[1]-'0')*60 + int(s[3]-'0')*10 + int(s[4]-'0')
}

// anySchedule makes one of up to three windows in quarters of an hour. It may be one that Parse refuses.
func anySchedule(r *rand.Rand, zone string, year int) fleet.Schedule {
	quarter := func(n int) string { return fmt.Sprintf("%02d:%02d", n/4, n%4*15) }
	spec := fleet.Schedule{Zone: zone}
	for range 1 + r.IntN(3) {
		w := fleet.Window{From: quarter(r.IntN(96)), To: quarter(r.IntN(97))}
		if r.IntN(3) == 0 {
			w.From = quarter(r.IntN(20)) // where the clocks change
		}
		for d := range 7 {
			if r.IntN(3) > 0 {
				w.Days = append(w.Days, time.Weekday(d))
			}
		}
		spec.On = append(spec.On, w)
	}
	for range r.IntN(20) {
		spec.Holidays = append(spec.Holidays, fmt.Sprintf("%d-%02d-%02d", year+r.IntN(2), 1+r.IntN(12), 1+r.IntN(28)))
	}
	if r.IntN(2) == 0 {
		spec.Holidays = append(spec.Holidays, "12-25", "02-29")
	}
	return spec
}

// Whatever the zone does, the schedule changes when one who watches a clock that never goes back would see it change; and At, Next and OnFor say the same.
func TestAsTheClockOnTheWall(t *testing.T) {
	for i, zone := range odd {
		seed := uint64(i + 1)
		r := rand.New(rand.NewPCG(seed, seed))
		years := []int{2025, 2008 + r.IntN(18)}
		if zone == "Pacific/Apia" {
			years[1] = 2010 // it lost its day at the end of 2011
		}
		for _, year := range years {
			s, spec := someSchedule(r, zone, year)
			from := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			to := from.AddDate(2, 0, 0)
			var want []time.Time
			var sum time.Duration
			w := wall{zone: at(t, zone, "2020-01-01T00:00").Location()}
			was := runUp(spec, &w, from.Add(-48*time.Hour), from)
			before := was
			for now := from.Add(15 * time.Minute); !now.After(to); now = now.Add(15 * time.Minute) {
				if was {
					sum += 15 * time.Minute
				}
				date, minute := w.see(now)
				if on := dumb(spec, date, minute); on != was {
					want, was = append(want, now), on
				}
			}
			got := s.Changes(from, to)
			if msg := differ(got, want, before); msg != "" {
				t.Errorf("seed %d, %s %d, %s holidays %v: %s", seed, zone, year, s, spec.Holidays, msg)
			}
			if on := s.OnFor(from, to); on != sum {
				t.Errorf("seed %d, %s %d, %s: on for %s, want %s", seed, zone, year, s, on, sum)
			}
			if few := got[:min(len(got), 200)]; len(few) > 0 {
				walk(t, s, few, from, few[len(few)-1].At)
			}
		}
	}
}

// someSchedule is the next one that can be parsed.
func someSchedule(r *rand.Rand, zone string, year int) (*schedule.Schedule, fleet.Schedule) {
	for {
		spec := anySchedule(r, zone, year)
		if s, errs := schedule.Parse(spec); len(errs) == 0 {
			return s, spec
		}
	}
}

// runUp lets the clock run from one moment to another, so that it knows of a change just before.
func runUp(spec fleet.Schedule, w *wall, from, to time.Time) bool {
	for now := from; now.Before(to); now = now.Add(15 * time.Minute) {
		w.see(now)
	}
	date, minute := w.see(to)
	return dumb(spec, date, minute)
}

func differ(got []schedule.Change, want []time.Time, was bool) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("no change at %s", want[i])
		case i >= len(want):
			return fmt.Sprintf("a change at %s, which is none", got[i].At)
		case !got[i].At.Equal(want[i]):
			return fmt.Sprintf("changes at %s, want %s", got[i].At, want[i])
		case got[i].On == was:
			return fmt.Sprintf("at %s it changes to what it was", got[i].At)
		}
		was = got[i].On
	}
	return ""
}

// walk holds At and Next against the changes.
func walk(t *testing.T, s *schedule.Schedule, changes []schedule.Change, from, to time.Time) {
	t.Helper()
	now := from
	for _, c := range changes {
		when, on, why, ok := s.Next(now)
		if !ok || !when.Equal(c.At) || on != c.On || why != c.Why {
			t.Fatalf("%s: after %s comes %s (%t %q %t), want %s (%t %q)", s, now, when, on, why, ok, c.At, c.On, c.Why)
		}
		if on, why := s.At(c.At); on != c.On || why != c.Why {
			t.Fatalf("%s: at %s %t %q, but it changes to %t %q", s, c.At, on, why, c.On, c.Why)
		}
		if on, _ := s.At(c.At.Add(-1)); on == c.On {
			t.Fatalf("%s: just before %s it is %t already", s, c.At, on)
		}
		now = c.At
	}
	if when, _, _, ok := s.Next(now); ok && !when.After(to) {
		t.Fatalf("%s: after %s comes %s, which is no change", s, now, when)
	}
}

// Minute by minute At says what the clock on the wall says.
func TestAtEveryMinute(t *testing.T) {
	spec := fleet.Schedule{On: []fleet.Window{{Days: week, From: "00:10", To: "02:20"}, {Days: days(1, 5), From: "02:50", To: "23:40"}}, Holidays: []string{"04-05"}}
	for zone, months := range map[string][]string{
		"Europe/Vienna": {"2026-03-27", "2026-10-23"}, "Australia/Lord_Howe": {"2026-04-03", "2026-10-02"}, "America/Santiago": {"2026-04-03", "2026-09-04"},
		"America/Havana": {"2026-03-06", "2026-10-30"}, "Antarctica/Troll": {"2026-03-27", "2026-10-23"}, "Pacific/Apia": {"2011-12-28"},
		"Africa/Cairo": {"2026-04-22", "2026-10-28"}, "Atlantic/Azores": {"2026-03-27", "2026-10-23"}, "America/Toronto": {"2010-11-05", "2011-03-11"},
	} {
		spec.Zone = zone
		s := parse(t, spec)
		for _, month := range months {
			now := at(t, zone, month+"T00:00")
			w := wall{zone: now.Location()}
			for end := now.Add(5 * 24 * time.Hour); now.Before(end); now = now.Add(time.Minute) {
				date, minute := w.see(now)
				if on, why := s.At(now); on != dumb(spec, date, minute) {
					t.Fatalf("%s: %t (%s), the clock on the wall says otherwise", now, on, why)
				}
			}
		}
	}
}

// On every day that a zone's clock shows there is one begin and one end.
func TestOnceADay(t *testing.T) {
	for _, zone := range odd {
		for _, w := range [][2]string{{"08:00", "19:00"}, {"00:00", "06:00"}, {"02:30", "07:00"}, {"22:00", "02:30"}} {
			s := parse(t, fleet.Schedule{Zone: zone, On: []fleet.Window{{Days: week, From: w[0], To: w[1]}}})
			for _, year := range []int{2011, 2025} {
				from := at(t, zone, fmt.Sprintf("%d-01-01T12:00", year))
				to := at(t, zone, fmt.Sprintf("%d-01-30T12:00", year+1))
				ons := map[string]int{}
				var last schedule.Change
				for _, c := range s.Changes(from.Add(-36*time.Hour), to.Add(36*time.Hour)) {
					if c.On {
						ons[c.At.Format(time.DateOnly)]++
					} else if !last.At.IsZero() && c.At.Sub(last.At) < time.Hour {
						t.Errorf("%s: on at %s for %s only", s, last.At, c.At.Sub(last.At))
					}
					if c.On == last.On && !last.At.IsZero() {
						t.Errorf("%s: %t twice, the second time at %s", s, c.On, c.At)
					}
					last = c
				}
				for now := from; now.Before(to); now = now.Add(3 * time.Hour) {
					if day := now.Format(time.DateOnly); ons[day] != 1 {
						t.Errorf("%s: %d begins on %s", s, ons[day], day)
						break
					}
				}
			}
		}
	}
}
