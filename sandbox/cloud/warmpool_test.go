package cloud

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// pool prints how many of the pool are in which state.
func (l *lab) pool() string {
	l.t.Helper()
	_, members, err := l.DescribeWarmPool("g")
	l.must(err)
	count := map[string]int{}
	for _, m := range members {
		count[string(m.State)]++
	}
	var out []string
	for _, s := range zonesOf(count) {
		out = append(out, fmt.Sprint(s, " ", count[s]))
	}
	return strings.Join(out, ", ")
}

func TestWarmPoolFillsServesAndRefills(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 5, 2, nil)
	l.must(l.PutWarmPool(WarmPool{Group: "g", MaxPrepared: -1}))
	l.settle()
	l.equal("as many as the maximum leaves", l.pool(), "Warmed:Stopped 3")
	l.equal("they are no part of the group", len(l.get().Members), 2)
	_, members, err := l.DescribeWarmPool("g")
	l.must(err)
	for _, m := range members {
		i, _ := l.Instance(m.InstanceID)
		l.equal("machine", i.State, Stopped)
	}
	l.must(l.SetDesiredCapacity("g", 4, false))
	l.settle()
	l.equal("serving", len(l.serving()), 4)
	l.equal("left", l.pool(), "Warmed:Stopped 1")
	l.equal("out of the pool", slices.ContainsFunc(l.serving(), func(m Member) bool { return m.InstanceID == members[0].InstanceID }), true)
	l.equal("told", strings.HasPrefix(l.activities()[0].Description, "Launching a new EC2 instance from warm pool: "), true)
	_, err = l.TerminateInstanceInAutoScalingGroup(members[2].InstanceID, false)
	l.refused(err, "ValidationError", "warm pool")
	l.must(l.SetDesiredCapacity("g", 5, false))
	l.settle()
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Max: new(6)}))
	l.settle()
	l.equal("refilled", l.pool(), "Warmed:Stopped 1")
	l.must(l.DeleteWarmPool("g", false))
	l.settle()
	p, members, err := l.DescribeWarmPool("g")
	l.must(err)
	l.equal("deleted", fmt.Sprint(p, len(members)), fmt.Sprint(WarmPool{}, 0))
}

func TestWarmPoolHooks(t *testing.T) {
	l := newLab(t, Config{})
	e := l.listen()
	l.group(0, 2, 1, nil)
	l.must(l.PutLifecycleHook(Hook{Name: "in", Group: "g", Transition: HookLaunching, DefaultResult: ResultContinue}))
	l.must(l.PutLifecycleHook(Hook{Name: "out", Group: "g", Transition: HookTerminating, DefaultResult: ResultContinue}))
	l.must(l.PutWarmPool(WarmPool{Group: "g", MaxPrepared: -1, Reuse: true}))
	step := func(hook string, state LifecycleState, origin, destination string) string {
		t.Helper()
		l.clock.Advance(2 * time.Minute)
		waits := l.LifecycleWaits()
		if len(waits) != 1 || waits[0].Hook != hook || l.state(waits[0].Instance) != state {
			t.Fatalf("waits %+v in state %s, want %s", waits, l.pool(), state)
		}
		found := e.heard(waits[0].Token, fmt.Sprintf("%q:%q", "Origin", origin), fmt.Sprintf("%q:%q", "Destination", destination))
		l.equal("events from "+origin+" to "+destination, len(found), 1)
		l.must(l.CompleteLifecycleAction("g", hook, waits[0].Instance, "", ResultContinue))
		l.clock.Advance(5 * time.Minute)
		return waits[0].Instance
	}
	id := step("in", WarmedPendingWait, "EC2", "WarmPool")
	l.equal("rests", l.state(id), WarmedStopped)
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.equal("the same", step("in", PendingWait, "WarmPool", "AutoScalingGroup"), id)
	l.equal("serves", l.state(id), InService)
	l.must(l.SetDesiredCapacity("g", 1, false))
	back := step("out", WarmedPendingWait, "AutoScalingGroup", "WarmPool")
	l.equal("rests", l.state(back), WarmedStopped)
	l.must(l.DeleteWarmPool("g", false))
	l.equal("the same", step("out", WarmedTerminatingWait, "WarmPool", "EC2"), back)
	l.equal("gone", l.state(back), "gone")
}

func TestWarmPoolStates(t *testing.T) {
	for state, want := range map[string]string{PoolRunning: "Warmed:Running 2", PoolHibernated: "Warmed:Hibernated 2"} {
		l := newLab(t, Config{})
		l.group(0, 9, 1, nil)
		l.must(l.PutWarmPool(WarmPool{Group: "g", Min: 1, MaxPrepared: 3, State: state}))
		l.settle()
		l.equal("pool", l.pool(), want)
		l.must(l.SetDesiredCapacity("g", 3, false))
		l.settle()
		l.equal("serving", len(l.serving()), 3)
		l.equal("never fewer than the minimum", l.pool(), want[:len(want)-1]+"1")
		l.must(l.DeleteAutoScalingGroup("g", true))
		l.settle()
		for _, i := range l.Instances() {
			l.equal(i.ID, i.State, Terminated)
		}
	}
	l := newLab(t, Config{})
	l.spots(1, nil)
	l.refused(l.PutWarmPool(WarmPool{Group: "g"}), "ValidationError", "Spot Instances")
	l.refused(l.PutWarmPool(WarmPool{Group: "g", State: "Cold"}), "ValidationError", "")
	l.refused(l.DeleteWarmPool("g", true), "ValidationError", "No warm pool")
}

// A group with a warm pool comes to rest where it was wished, whatever was wished before, and never loses a machine on the way.
func TestRandomWarmLives(t *testing.T) {
	for seed := range int64(60) {
		dice := rand.New(rand.NewPCG(uint64(seed), 5))
		l := newLab(t, Config{Seed: seed})
		l.web("20", 3)
		l.hook("in", HookLaunching, ResultContinue)
		l.hook("out", HookTerminating, ResultContinue)
		l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Max: new(8)}))
		for range 40 {
			switch dice.IntN(6) {
			case 0, 1:
				l.must(l.SetDesiredCapacity("g", dice.IntN(9), false))
			case 2:
				l.must(l.PutWarmPool(WarmPool{Group: "g", Min: dice.IntN(3), MaxPrepared: dice.IntN(10) - 1, Reuse: dice.IntN(2) == 0, State: pick(dice, []string{PoolStopped, PoolRunning})}))
			case 3:
				is := l.Instances()
				_, err := l.TerminateInstances([]string{pick(dice, is).ID})
				l.must(err)
			case 4:
				if w := l.LifecycleWaits(); len(w) > 0 {
					l.must(l.CompleteLifecycleAction("g", w[0].Hook, w[0].Instance, "", pick(dice, []string{ResultContinue, ResultAbandon})))
				}
			case 5:
				_, _ = l.StopInstances([]string{pick(dice, l.Instances()).ID}) // whichever cannot be stopped is none to stop
			}
			l.clock.Advance(time.Duration(dice.IntN(120)) * time.Second)
		}
		l.must(l.PutWarmPool(WarmPool{Group: "g", MaxPrepared: -1}))
		l.must(l.SetDesiredCapacity("g", 5, false))
		for range 6 {
			l.settle()
		}
		_, members, err := l.DescribeWarmPool("g")
		l.must(err)
		if len(l.serving()) != 5 || len(members) != 3 || slices.ContainsFunc(members, func(m Member) bool { return !m.resting() }) {
			t.Fatalf("seed %d: %d serve, %s", seed, len(l.serving()), l.pool())
		}
		alive := 0
		for _, i := range l.Instances() {
			if i.State != Terminated {
				alive++
			}
		}
		l.equal(fmt.Sprint("seed ", seed, ": machines"), alive, 8)
	}
}
