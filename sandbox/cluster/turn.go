package cluster

import (
	"fmt"
	"strconv"

	"drover.dev/fleet"
)

// manager is the field manager that drover writes as.
const manager = "drover"

// off is what a switched-off object's value is.
var off = map[fleet.Turn]string{fleet.Scaled: "0", fleet.Suspended: "true", fleet.Held: "0", fleet.Unsynced: "true"}

// marked refuses when another run has its mark on the object.
func marked(x switched, a fleet.Action) error {
	if m := x.base().mark; m != nil && !ours(m, a) {
		return &fleet.Refused{Reason: fmt.Sprintf("%s carries the mark of run %s of environment %s, expected %s", x.named(), m.Run, m.Environment, a.Run), Wait: ownerWait}
	}
	return nil
}

func ours(m *fleet.PartMark, a fleet.Action) bool {
	return m.Environment == a.Environment && m.Run == a.Run
}

// outlived drops a mark that an earlier run of the same environment left on an object that is on: what is undone by others brings such back.
func (o *object) outlived(a fleet.Action) {
	if m := o.mark; m != nil && m.Environment == a.Environment && m.Run != a.Run {
		o.mark = nil
	}
}

// turnOff switches an object off and writes its mark on it, in one write. One that somebody else has switched off meanwhile gets the mark alone: what the
// record says of it is what it returns to.
func (c *Cluster) turnOff(a fleet.Action) error {
	x, want := c.thing(a.Part.Owner), a.Part
	if x == nil {
		return &fleet.Refused{Reason: fmt.Sprintf("%s is gone", want.ID())}
	}
	have := x.part()
	if !have.Off && have.Value == want.Value && have.Absent == want.Absent {
		x.base().outlived(a)
	}
	if err := marked(x, a); err != nil {
		return err
	}
	switch o := x.base(); {
	case o.uid != want.UID:
		return &fleet.Refused{Reason: fmt.Sprintf("%s is another object by now: its UID is %s, expected %s", want.ID(), o.uid, want.UID)}
	case !have.Off && (have.Value != want.Value || have.Absent != want.Absent):
		return &fleet.Refused{Reason: fmt.Sprintf("%s is at %s by now, expected %s", want.ID(), worth(have.Value, have.Absent), worth(want.Value, want.Absent))}
	case o.mark == nil:
		o.mark = &fleet.PartMark{Environment: a.Environment, Run: a.Run, UID: want.UID, Value: want.Value, Absent: want.Absent}
	}
	if have.Off {
		return nil
	}
	return c.write(x, off[want.Turn], false, manager)
}

// worth prints a value for people.
func worth(value string, absent bool) string {
	if absent {
		return "nothing"
	}
	return value
}

// turnOn gives an object the value that it had. One that is on already is left as it is, and so is another object under the same name.
func (c *Cluster) turnOn(a fleet.Action) error {
	x := c.thing(a.Part.Owner)
	if x == nil || x.base().uid != a.Part.UID {
		return nil
	}
	if err := marked(x, a); err != nil {
		return err
	}
	if have := x.part(); !have.Off || have.Value == a.Part.Value && have.Absent == a.Part.Absent {
		return nil
	}
	value := a.Part.Value
	if w, ok := x.(*workload); ok && w.Scaler != nil {
		if n, err := strconv.Atoi(value); err == nil {
			value = strconv.Itoa(min(max(n, w.Scaler.Min), w.Scaler.Max)) // its autoscaler would bring it there anyway
		}
	}
	return c.write(x, value, a.Part.Absent, manager)
}

// unmark takes the run's mark off an object that is on again. The mark is the object's own copy of what it was: while it is off, that stays.
func (c *Cluster) unmark(a fleet.Action) error {
	x := c.thing(a.Part.Owner)
	if x == nil || x.base().mark == nil || !ours(x.base().mark, a) {
		return nil
	}
	was := x.base().mark
	if have := x.part(); have.Off && x.base().uid == was.UID && (have.Value != was.Value || have.Absent != was.Absent) {
		return &fleet.Refused{Reason: fmt.Sprintf("%s is still off", a.Part.ID())}
	}
	x.base().mark = nil
	return nil
}
