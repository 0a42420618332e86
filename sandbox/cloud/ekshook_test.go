package cloud

import (
	"testing"
	"time"
)

// scaleInManaged takes one node of the node group away, and returns its id.
func (l *lab) scaleInManaged() string {
	l.t.Helper()
	g := l.under(l.managed())
	id := g.Members[0].InstanceID
	_, err := l.TerminateInstanceInAutoScalingGroup(id, true)
	l.must(err)
	return id
}

func TestEKSHoldsANodeWhileItDrains(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.SetDrainedByOthers(true)
	hooks, err := l.DescribeLifecycleHooks(l.managed().Scaling, nil)
	l.must(err)
	l.equal("hook", hooks[0].Name, "Terminate-LC-Hook")
	id := l.scaleInManaged()
	l.equal("held", l.state(id), TerminatingWait)
	l.equal("asked to drain it", l.lives(id), "NodeDrain ")
	l.ReportNodeDrained(id)
	l.equal("drained", l.state(id), TerminatingProceed)
	l.settle()
	l.equal("gone", l.state(id), "gone")

	id = l.scaleInManaged()
	l.clock.Advance(14 * time.Minute)
	l.equal("held", l.state(id), TerminatingWait)
	l.clock.Advance(2 * time.Minute)
	l.equal("EKS waits for no longer than that", l.state(id), "gone")
}

func TestEKSWaitsForNobodyWhenNobodyPlaysTheDrain(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	id := l.scaleInManaged()
	i, _ := l.Instance(id)
	l.equal("machine", i.State, ShuttingDown)
}

func TestOwnHookBesideThatOfEKS(t *testing.T) {
	l := newLab(t, Config{})
	l.nodegroup(nil)
	l.SetDrainedByOthers(true)
	g := l.managed().Scaling
	l.must(l.PutLifecycleHook(Hook{Name: "own", Group: g, Transition: HookTerminating}))
	id := l.scaleInManaged()
	l.ReportNodeDrained(id)
	l.equal("both hold it", l.state(id), TerminatingWait)
	l.must(l.CompleteLifecycleAction(g, "own", id, "", ResultContinue))
	l.settle()
	l.equal("gone", l.state(id), "gone")
}
