package cloud

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// plights are what happens to a group of spot instances with hooks, at random. Those that take a machine away by force note it in doomed.
var plights = []func(l *lab, d *rand.Rand, doomed map[string]bool) error{
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		return l.SetDesiredCapacity("g", d.IntN(9), false)
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		return l.oneOf(d, func(m Member) error {
			_, err := l.TerminateInstanceInAutoScalingGroup(m.InstanceID, false)
			return err
		})
	},
	func(l *lab, d *rand.Rand, doomed map[string]bool) error {
		i := pick(d, l.Instances())
		doomed[i.ID] = true
		_, err := l.TerminateInstances([]string{i.ID})
		return err
	},
	func(l *lab, d *rand.Rand, doomed map[string]bool) error {
		i := pick(d, l.Instances())
		doomed[i.ID] = true
		_ = l.InterruptSpot(i.ID, pick(d, []string{"terminate", "stop", "hibernate"})) // one that is off is none to interrupt
		return nil
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		return l.oneOf(d, func(m Member) error {
			_ = l.RecommendRebalance(m.InstanceID) // its machine may be off, and the group has not noticed yet
			return nil
		})
	},
	func(l *lab, d *rand.Rand, doomed map[string]bool) error {
		return l.oneOf(d, func(m Member) error {
			doomed[m.InstanceID] = true
			_, _ = l.ScheduleEvent(pick(d, []string{"instance-stop", "instance-reboot"}), l.clock.Now().Add(time.Minute), "", m.InstanceID) // likewise
			return nil
		})
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		_ = l.RebalanceZones("g", "") // it says when nobody may move
		return nil
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		return l.UpdateAutoScalingGroup("g", GroupUpdate{Retain: new(d.IntN(2) == 0), CapacityRebalance: new(d.IntN(2) == 0)})
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error { return l.answerOne(d) },
	func(l *lab, d *rand.Rand, _ map[string]bool) error { return l.answerOne(d) },
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		for _, w := range l.LifecycleWaits() {
			if err := l.RecordLifecycleActionHeartbeat("g", w.Hook, "", w.Token); err != nil {
				return err
			}
		}
		return nil
	},
	func(l *lab, d *rand.Rand, _ map[string]bool) error {
		if d.IntN(4) > 0 {
			return nil
		}
		_ = l.DeleteLifecycleHook("g", "b") // it may be gone already
		return l.PutLifecycleHook(Hook{Name: "b", Group: "g", Transition: pick(d, []string{HookLaunching, HookTerminating}), Heartbeat: time.Minute})
	},
}

func (l *lab) answerOne(d *rand.Rand) error {
	w := l.LifecycleWaits()
	if len(w) == 0 {
		return nil
	}
	one := pick(d, w)
	return l.CompleteLifecycleAction("g", one.Hook, one.Instance, one.Token, pick(d, []string{ResultContinue, ResultAbandon}))
}

// held checks what must hold at all times, of waits and of the machines that are held.
func (l *lab) held(seed int64, before map[string]bool, doomed map[string]bool) map[string]bool {
	l.t.Helper()
	waiting := map[string]bool{}
	for _, w := range l.LifecycleWaits() {
		waiting[w.Instance] = true
		if w.Until.After(w.Wall) || l.clock.Now().After(w.Until) {
			l.t.Fatalf("seed %d: at %v still %+v", seed, l.clock.Now(), w)
		}
	}
	all, err := l.DescribeAutoScalingInstances(nil)
	l.must(err)
	for _, m := range all {
		if strings.HasSuffix(string(m.State), ":Wait") != waiting[m.InstanceID] {
			l.t.Fatalf("seed %d: %s is in %s, waits %v", seed, m.InstanceID, m.State, waiting[m.InstanceID])
		}
	}
	for _, e := range l.feed.Take() {
		id := e.Instance.ID
		if e.Kind == InstanceStopping && before[id] && waiting[id] && !doomed[id] {
			l.t.Fatalf("seed %d: %s was switched off while a hook held it", seed, id)
		}
	}
	return waiting
}

func TestRandomLivesWithHooks(t *testing.T) {
	for seed := range int64(60) {
		dice := rand.New(rand.NewPCG(uint64(seed), 7))
		l := newLab(t, Config{Seed: seed, Timing: Timing{BootJitter: time.Minute}})
		l.spots(3, func(g *Group) { g.Hooks = []Hook{{Name: "a", Transition: HookTerminating, Heartbeat: time.Minute}} })
		doomed, before := map[string]bool{}, map[string]bool{}
		for range 60 {
			l.must(pick(dice, plights)(l, dice, doomed))
			for range dice.IntN(20) {
				l.clock.Advance(time.Duration(dice.IntN(10)) * time.Second)
				before = l.held(seed, before, doomed)
			}
		}
		l.restHooks(seed)
	}
}

// restHooks leaves everything in peace, ends what is retained, and checks that the group came to what was wished.
func (l *lab) restHooks(seed int64) {
	l.t.Helper()
	l.must(l.SetDesiredCapacity("g", 4, false))
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Retain: new(false)}))
	hooks, err := l.DescribeLifecycleHooks("g", nil)
	l.must(err)
	for _, h := range hooks { // launches would be abandoned for ever otherwise
		l.must(l.PutLifecycleHook(Hook{Name: h.Name, Group: "g", DefaultResult: ResultContinue}))
	}
	for range 4 {
		l.settle()
		for _, m := range l.get().Members {
			if m.State == Retained {
				_, err := l.TerminateInstanceInAutoScalingGroup(m.InstanceID, false)
				l.must(err)
			}
		}
	}
	g := l.get()
	if len(g.Members) != 4 || slices.ContainsFunc(g.Members, func(m Member) bool { return m.State != InService }) {
		l.t.Fatalf("seed %d: %d members, %s: %+v", seed, len(g.Members), fmt.Sprint(l.zones()), g.Members)
	}
	all, err := l.DescribeSpotInstanceRequests(nil, []Filter{{"state", []string{"active"}}})
	l.must(err)
	l.equal(fmt.Sprint("seed ", seed, ": active requests"), len(all), 4)
}
