package schedule

import (
	"fmt"
	"time"
)

// day is a date of the calendar, wherever: days since 1970-01-01.
type day int

const (
	minutesOfDay = 24 * 60
	secondsOfDay = 24 * 60 * 60
)

func dateOf(year int, month time.Month, d int) day {
	return day(time.Date(year, month, d, 0, 0, 0, 0, time.UTC).Unix() / secondsOfDay)
}

// dayOf is the date that the clock of t's zone shows.
func dayOf(t time.Time) day {
	_, offset := t.Zone()
	return dateIn(t.Unix() + int64(offset))
}

// dateIn is the date of a local time in seconds since 1970.
func dateIn(local int64) day {
	d := local / secondsOfDay
	if local%secondsOfDay < 0 {
		d--
	}
	return day(d)
}

// wall is the date and the second of the day that a clock shows which stands still when that of t's zone is set back, until it has made up for it.
func wall(t time.Time) (d day, second int) {
	const longest = 48 * time.Hour // of such a standstill: no zone was ever set back by more than a day
	_, offset := t.Zone()
	local := t.Unix() + int64(offset)
	for since, _ := t.ZoneBounds(); !since.IsZero() && t.Sub(since) < longest; {
		before := since.Add(-time.Second)
		_, offset = before.Zone()
		local = max(local, before.Unix()+int64(offset))
		since, _ = before.ZoneBounds()
	}
	d = dateIn(local)
	return d, int(local - int64(d)*secondsOfDay)
}

func (d day) utc() time.Time { return time.Unix(int64(d)*secondsOfDay, 0).UTC() }

func (d day) weekday() time.Weekday { return d.utc().Weekday() }

func (d day) String() string { return d.utc().Format(time.DateOnly) }

// first is the first moment at which the zone's clock shows that minute of the day, or a later time: the moment at which wall comes to it. It looks at
// one stretch of the same offset from UTC after the other, beginning where the clock cannot have come that far yet: no zone was ever sixteen hours off.
func first(zone *time.Location, d day, minute int) time.Time {
	want := int64(d)*secondsOfDay + int64(minute)*60
	for t := time.Unix(want, 0).Add(-16 * time.Hour).In(zone); ; {
		_, offset := t.Zone()
		_, end := t.ZoneBounds()
		hit := time.Unix(want-int64(offset), 0).In(zone)
		if hit.Before(t) {
			hit = t // skipped by the change at which this stretch begins
		}
		if end.IsZero() || hit.Before(end) {
			return hit
		}
		t = end
	}
}

// clock prints a minute of the day; 24:00 is the end of it.
func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
