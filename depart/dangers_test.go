package depart

import (
	"testing"
	"time"

	"drover.dev/fleet"
)

// sweepOnce files what a sweep finds about i-old, and tells how much that was.
func sweepOnce(s *fleet.Snapshot, p fleet.Policy) int {
	n := 0
	for _, x := range Sweep(s, p) {
		if Moot(s, x, p) != "" {
			continue
		}
		have := fleet.Case{Departure: fleet.Departure{Instance: x.Instance}}
		if c := s.Case(x.Instance); c != nil {
			have = *c
		}
		want, differs := Hear(s, have, x, p)
		if !differs {
			continue
		}
		n++
		if c := s.Case(x.Instance); c != nil {
			*c = want
		} else {
			s.Cases = append(s.Cases, want)
		}
	}
	return n
}

func oldOf(s *fleet.Snapshot) *fleet.Instance { _, in := s.Instance("i-old"); return in }

func TestDangerAnEventThatIsPastAndStillListedSettles(t *testing.T) {
	s := three()
	in := oldOf(&s)
	in.Lifecycle = fleet.InService
	in.Scheduled = []fleet.Scheduled{{ID: "instance-event-1", Effect: "maintain", NotBefore: s.Now.Add(-11 * time.Minute), Words: "maintenance"}}
	writes := 0
	for range 50 {
		s.Now = s.Now.Add(time.Second)
		writes += sweepOnce(&s, fleet.UsualPolicy)
	}
	if writes > 2 {
		t.Errorf("%d writes in 50 sweeps: never settles", writes)
	}
}

func TestDangerAnEndDoesNotSwallowASignalHeardMeanwhile(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, advised)
	c.Signals[0].Ended = s.Now
	want := c.Clone() // what the tick decided by
	want.Marks.Ended, want.Marks.End = s.Now, "stays"
	c = hear(t, &s, c, reclaims) // a receiver, before the tick's File; the message is deleted
	got, _ := Join(c, want)
	if !got.Open() && got.Holds(fleet.SpotInterruption) != nil {
		t.Error("the case is over with a spot interruption that holds:", got.Marks)
	}
}

func TestDangerAHookHeardLateStillHasItsTime(t *testing.T) {
	s := three()
	for i := range s.Groups {
		s.Groups[i].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: 2 * time.Hour}}
	}
	n := hooked
	n.At = s.Now.Add(-70 * time.Minute) // nobody led for 70 minutes; AWS lets it wait for 48 h
	c := hear(t, &s, fleet.Case{}, n)
	if !c.Deadline.After(s.Now) {
		t.Errorf("deadline %s is past at %s: every pod is deleted at once, with a second to stop", c.Deadline, s.Now)
	}
}

func TestDangerARetainedInstanceNotOnFileIsFound(t *testing.T) {
	s := three()
	oldOf(&s).Lifecycle = fleet.Retained
	for i := range s.Groups {
		s.Groups[i].Retains, s.Groups[i].Hooks = true, []fleet.Hook{{Name: "drover-terminate", Heartbeat: time.Minute}}
	}
	if len(Sweep(&s, fleet.UsualPolicy)) == 0 {
		t.Error("held, and paid for, for ever")
	}
}

func TestDangerARecommendationWhoseRunIsOverEnds(t *testing.T) {
	s := three()
	oldOf(&s).Lifecycle = fleet.InService
	c := hear(t, &s, fleet.Case{}, advised)
	c.Marks.Rotation, c.Marks.Replaced = "notice-i-old", s.Now // the run was aborted, or the process died before its record was written
	s.Cases = []fleet.Case{c}
	s.Now = s.Now.Add(72 * time.Hour)
	d, _ := Timely(&s, fleet.UsualPolicy, nil)
	if sweepOnce(&s, fleet.UsualPolicy) == 0 && len(d) == 0 {
		t.Error("three days later: neither replaced nor opened again")
	}
}

func TestDangerARecommendationEndsWhenTheyAreIgnoredFromNowOn(t *testing.T) {
	s := three()
	oldOf(&s).Lifecycle = fleet.InService
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, advised)}
	p := fleet.UsualPolicy
	p.Rebalance = fleet.AdviceIgnore
	s.Now = s.Now.Add(72 * time.Hour)
	if sweepOnce(&s, p) == 0 {
		t.Error("its node stays closed for ever")
	}
}

func TestDangerANodeOfNoGroupThatCameBackIsOpened(t *testing.T) {
	s := three()
	s.Nodes = append(s.Nodes, fleet.Node{Name: "alone", Instance: "i-alone", Ready: true, Changed: s.Now})
	n := fleet.Notice{Kind: fleet.StateChange, ID: "state", At: s.Now, Instance: "i-alone", Effect: "stopped"}
	m := fleet.Notice{Kind: fleet.ScheduledChange, ID: "scheduled/arn:1", At: s.Now, Instance: "i-alone", Effect: "reboot", Deadline: s.Now.Add(time.Minute)}
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{Departure: fleet.Departure{Instance: "i-alone"}}, n, m)}
	s.Machines = []fleet.Machine{{ID: "i-alone", State: "running"}}
	s.Now = s.Now.Add(72 * time.Hour)
	if got := sweepOnce(&s, fleet.UsualPolicy); got != 2 {
		t.Error("three days later, Ready and running:", got, "of 2 signals were taken back")
	}
}

func TestDangerTheEndOfAMachineDoesNotOpenItsCaseAgain(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, reclaims)
	c.Marks.Ended, c.Marks.End = s.Now.Add(3*time.Minute), "gone"
	n := fleet.Notice{Kind: fleet.StateChange, ID: "state", At: s.Now.Add(2 * time.Minute), Instance: "i-old", Effect: "terminated", Why: "EC2 said terminated"}
	s.Cluster = "blue"
	s.Nodes, s.Groups = nil, nil // both are gone
	s.Now = s.Now.Add(4 * time.Minute)
	s.Machines = []fleet.Machine{{ID: "i-old", State: fleet.MachineGone, Cluster: "blue"}}
	if whose := WhoseIs(&s, n); whose != Nobodys {
		t.Errorf("a machine that is gone, with neither a node nor a group, is %s", whose)
	}
	got, differs := Hear(&s, c, n, fleet.UsualPolicy)
	if differs {
		t.Errorf("sent before the end, heard after it: opened again, node %q was %q, why %q was %q", got.Node, c.Node, got.Why, c.Why)
	}
}

func TestDangerARotationsMarkIsNotADrain(t *testing.T) {
	s := three()
	s.NodeOf("i-old").Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-1", Effect: fleet.PreferNoSchedule}}
	s.Rotations = []fleet.RotationRecord{{Run: "r-1"}}
	if c := hear(t, &s, fleet.Case{}, reclaims); c.Drained != "" {
		t.Error("given back, the node carries the hard taint of run", c.Drained, "even when that run is over")
	}
}

func TestDangerOnItsWayToTheWarmPoolItIsHeldUntilAnswered(t *testing.T) {
	for name, state := range map[string]string{"listed": fleet.WarmedWait, "not listed": ""} {
		s := three()
		n := hooked
		n.Destination = "WarmPool"
		s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, n)}
		if oldOf(&s).Lifecycle = state; state == "" {
			for i := range s.Groups {
				g := &s.Groups[i]
				for j := range g.Instances {
					if g.Instances[j].ID == "i-old" {
						g.Instances = append(g.Instances[:j:j], g.Instances[j+1:]...)
						break
					}
				}
			}
			s.Machines = []fleet.Machine{{ID: "i-old", State: "running"}}
		}
		s.Now = s.Now.Add(2 * time.Minute)
		if sweepOnce(&s, fleet.UsualPolicy) != 0 {
			t.Errorf("%s: opened to pods again while the hook waits", name)
		}
	}
}

func TestDangerASignalOfAHookThatToldUsDirectlyCanBeTakenBack(t *testing.T) {
	s := three()
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: time.Minute}, {Name: "drain", Heartbeat: time.Hour}}
	n := fleet.Notice{Kind: fleet.TerminateHook, ID: "terminate-hook/drain", Source: fleet.FromHook, Hook: "drain", Group: "web", At: s.Now, Instance: "i-old"}
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, n)}
	s.Now = s.Now.Add(2 * time.Minute) // in service after all
	for _, x := range Sweep(&s, fleet.UsualPolicy) {
		if why := Moot(&s, x, fleet.UsualPolicy); why != "" {
			t.Errorf("never taken back, and AWS is asked again at every tick: %s", why)
		}
	}
}
