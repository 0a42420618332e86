package cloud

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// deed is something a user, or the world, does to group g at random.
type deed struct {
	name  string
	harsh bool // takes machines away, so that the group may fall below its minimum
	do    func(l *lab, dice *rand.Rand) error
}

var deeds = []deed{
	{"set desired", false, func(l *lab, d *rand.Rand) error { return l.SetDesiredCapacity("g", 2+d.IntN(9), false) }},
	{"set desired", false, func(l *lab, d *rand.Rand) error { return l.SetDesiredCapacity("g", 2+d.IntN(9), false) }},
	{"change zones", false, func(l *lab, d *rand.Rand) error {
		zones := l.Zones()
		d.Shuffle(len(zones), func(i, j int) { zones[i], zones[j] = zones[j], zones[i] })
		return l.UpdateAutoScalingGroup("g", GroupUpdate{Zones: zones[:1+d.IntN(3)]})
	}},
	{"suspend", false, func(l *lab, d *rand.Rand) error { return l.SuspendProcesses("g", []string{pick(d, Processes)}) }},
	{"resume", false, func(l *lab, d *rand.Rand) error { return l.ResumeProcesses("g", nil) }},
	{"protect", false, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error { return l.SetInstanceProtection("g", []string{m.InstanceID}, d.IntN(2) == 0) })
	}},
	{"new version", false, func(l *lab, d *rand.Rand) error {
		_, _, err := l.CreateLaunchTemplateVersion("", "nodes", "$Latest", "", TemplateData{ImageID: fmt.Sprint("ami-", d.IntN(99))})
		return err
	}},
	{"drought", false, func(l *lab, d *rand.Rand) error {
		l.SetDrought(pick(d, l.Zones()), "", d.IntN(2) == 0)
		return nil
	}},
	{"terminate in group", true, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error {
			_, err := l.TerminateInstanceInAutoScalingGroup(m.InstanceID, d.IntN(2) == 0)
			return err
		})
	}},
	{"kill", true, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error {
			_, err := l.TerminateInstances([]string{m.InstanceID})
			return err
		})
	}},
	{"mark unhealthy", true, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error { return l.SetInstanceHealth(m.InstanceID, false, false) })
	}},
	{"enter standby", true, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error {
			_, err := l.EnterStandby("g", []string{m.InstanceID}, d.IntN(2) == 0)
			return err
		})
	}},
	{"exit standby", true, func(l *lab, d *rand.Rand) error {
		g := l.get()
		for _, m := range g.Members {
			// While a rebalance runs over the maximum, one that comes back would top it, in AWS too.
			if m.State == OnStandby && g.count(InService, LifecyclePending) <= g.Desired {
				_, err := l.ExitStandby("g", []string{m.InstanceID})
				return err
			}
		}
		return nil
	}},
	{"deregister", true, func(l *lab, d *rand.Rand) error {
		return l.oneOf(d, func(m Member) error {
			return l.DeregisterTargets(l.TargetGroups()[0].ARN, []TargetID{{ID: m.InstanceID}})
		})
	}},
}

func (l *lab) oneOf(d *rand.Rand, f func(Member) error) error {
	s := l.serving()
	if len(s) == 0 {
		return nil
	}
	return f(pick(d, s))
}

// live lives through fifty random deeds, checks what must hold at all times, and returns everything that happened.
func live(t *testing.T, seed int64, harsh bool) string {
	t.Helper()
	dice := rand.New(rand.NewPCG(uint64(seed), 99))
	l := newLab(t, Config{Seed: seed, Timing: Timing{BootJitter: time.Minute, StartTime: time.Duration(1+dice.IntN(40)) * time.Second}})
	arn := l.web("60", 4)
	var log strings.Builder
	check := func() {
		t.Helper()
		g := l.w.groups["g"]
		if alive := g.count(InService, LifecyclePending); alive > g.Max+1 {
			t.Fatalf("seed %d: %d alive, the maximum is %d\n%s", seed, alive, g.Max, log.String())
		}
		if serving := g.count(InService); !harsh && serving < g.Min {
			t.Fatalf("seed %d: %d serve, the minimum is %d\n%s", seed, serving, g.Min, log.String())
		}
		for _, e := range l.feed.Take() {
			fmt.Fprintln(&log, e.At.Format("15:04:05"), e.Kind, e.Instance.ID, e.Target.ID, e.Activity.Status, e.Activity.Cause)
			if e.Kind == InstanceStopping && !harsh && slices.ContainsFunc(l.Targets(arn), func(t Target) bool { return t.ID == e.Instance.ID }) {
				t.Fatalf("seed %d: %s stopped while it was a target\n%s", seed, e.Instance.ID, log.String())
			}
		}
	}
	var group = l.get()
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Min: new(2), Max: new(10), Desired: new(max(2, group.Desired))}))
	for range 50 {
		d := pick(dice, deeds)
		if d.harsh && !harsh {
			continue
		}
		err := d.do(l, dice)
		fmt.Fprintln(&log, "--", d.name, err)
		for range dice.IntN(20) {
			l.clock.Advance(time.Duration(dice.IntN(10)) * time.Second)
			check()
		}
	}
	// Left in peace, everything comes to rest where it was wished.
	l.must(l.ResumeProcesses("g", nil))
	for _, z := range l.Zones() {
		l.SetDrought(z, "", false)
	}
	for _, m := range l.serving() {
		l.must(l.SetInstanceProtection("g", []string{m.InstanceID}, false))
	}
	for n := range 30 {
		l.clock.Advance(time.Minute)
		check()
		for _, m := range l.get().Members {
			if m.State == OnStandby && n == 10 { // by then its draining is over
				_, err := l.TerminateInstanceInAutoScalingGroup(m.InstanceID, false)
				l.must(err)
			}
		}
	}
	end := l.get()
	count := map[string]int{}
	for _, m := range end.Members {
		if m.State != InService || m.Unhealthy {
			t.Fatalf("seed %d: %+v has not come to rest\n%s", seed, m, log.String())
		}
		count[m.Zone]++
	}
	least, most := 99, 0
	for _, z := range end.Zones {
		least, most = min(least, count[z]), max(most, count[z])
		delete(count, z)
	}
	if len(end.Members) != end.Desired || most-least > 1 || len(count) > 0 {
		t.Fatalf("seed %d: %d of %d serve, in zones %s of %v\n%s", seed, len(end.Members), end.Desired, l.zones(), end.Zones, log.String())
	}
	return log.String()
}

func TestRandomLives(t *testing.T) {
	for seed := range int64(200) {
		live(t, seed, false)
		live(t, seed, true)
	}
}

func TestSameSeedSameLife(t *testing.T) {
	for seed := range int64(5) {
		if a, b := live(t, seed, true), live(t, seed, true); a != b {
			t.Fatalf("seed %d lived two lives:\n%s\n---\n%s", seed, a, b)
		}
	}
}
