package depart

import (
	"fmt"
	"testing"
	"time"

	"drover.dev/fleet"
)

// spotted is a notice about instance i-old of the group that three returns.
func spotted(kind fleet.NoticeKind, id string, deadline time.Duration) fleet.Notice {
	n := fleet.Notice{Kind: kind, ID: id, At: now, Instance: "i-old", Why: string(kind)}
	if deadline != 0 {
		n.Deadline = now.Add(deadline)
	}
	if kind == fleet.TerminateHook {
		n.Group, n.Hook = "web", "drover-terminate"
	}
	return n
}

func hear(t *testing.T, s *fleet.Snapshot, c fleet.Case, ns ...fleet.Notice) fleet.Case {
	t.Helper()
	for _, n := range ns {
		c, _ = Hear(s, c, n, fleet.UsualPolicy)
	}
	return c
}

var (
	hooked   = spotted(fleet.TerminateHook, "terminate-hook/drover-terminate", 0)
	reclaims = spotted(fleet.SpotInterruption, "spot", 2*time.Minute)
	advised  = spotted(fleet.Rebalance, "rebalance", 0)

	sweptDate = func() fleet.Notice {
		n := spotted(fleet.ScheduledChange, "scheduled/e-1", time.Hour)
		n.Source = fleet.FromSweep
		return n
	}()
)

func TestAllSignalsOfAnInstanceAreOneCase(t *testing.T) {
	all := []fleet.Notice{hooked, reclaims, advised}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		s := three()
		c := fleet.Case{Departure: fleet.Departure{Instance: "i-old"}}
		for _, i := range order {
			c = hear(t, &s, c, all[i], all[i]) // twice: it may be delivered again
		}
		if len(c.Signals) != 3 || !c.Deadline.Equal(reclaims.Deadline) || c.Node != "old" || c.Group != "web" || c.Replace {
			t.Errorf("%v: %+v", order, c)
		}
		if c.Why != "spot; terminate-hook; rebalance" {
			t.Errorf("%v: %s", order, c.Why)
		}
	}
}

func TestHearingAgainSaysNothingNew(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, hooked)
	for _, n := range []fleet.Notice{hooked, func() fleet.Notice { n := hooked; n.Source, n.At = fleet.FromSweep, now.Add(time.Minute); return n }()} {
		if _, differs := Hear(&s, c, n, fleet.UsualPolicy); differs {
			t.Errorf("%+v", n)
		}
	}
}

func TestAnOldMessageOpensNoCaseAgain(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, reclaims)
	c.Marks.Ended, c.Marks.End = now.Add(time.Minute), "gone"
	s.Now = now.Add(2 * time.Minute)
	if _, differs := Hear(&s, c, reclaims, fleet.UsualPolicy); differs {
		t.Error("a message from before the end")
	}
	again := reclaims
	again.At = s.Now
	c, differs := Hear(&s, c, again, fleet.UsualPolicy)
	if !differs || !c.Open() || c.Opened != s.Now || len(c.Signals) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestTakingBackEndsASignal(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, spotted(fleet.ScheduledChange, "scheduled/a", time.Hour), advised)
	back := spotted(fleet.ScheduledChange, "scheduled/a", 0)
	back.Over = true
	c = hear(t, &s, c, back)
	if !c.Deadline.IsZero() || c.Holds(fleet.ScheduledChange) != nil || c.Holds(fleet.Rebalance) == nil {
		t.Errorf("%+v", c)
	}
	if _, differs := Hear(&s, fleet.Case{}, back, fleet.UsualPolicy); differs {
		t.Error("taking back what nobody heard opens a case")
	}
}

func TestADateMoves(t *testing.T) {
	s := three()
	c := hear(t, &s, fleet.Case{}, spotted(fleet.ScheduledChange, "scheduled/a", time.Hour))
	later := spotted(fleet.ScheduledChange, "scheduled/a", 3*time.Hour)
	later.At = now.Add(time.Minute)
	if c = hear(t, &s, c, later); !c.Deadline.Equal(later.Deadline) || len(c.Signals) != 1 {
		t.Errorf("%+v", c)
	}
	if earlier := hear(t, &s, c, spotted(fleet.ScheduledChange, "scheduled/a", time.Hour)); !earlier.Deadline.Equal(later.Deadline) {
		t.Error("an old message arrives late, and wins")
	}
}

func TestHowLongAHookHolds(t *testing.T) {
	for heartbeat, want := range map[time.Duration]time.Duration{30 * time.Second: 49 * time.Minute, time.Hour: time.Hour} {
		s := three()
		s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: heartbeat}}
		if c := hear(t, &s, fleet.Case{}, hooked); c.Deadline.Sub(now) != want {
			t.Errorf("heartbeat %s: %s, want %s", heartbeat, c.Deadline.Sub(now), want)
		}
	}
}

func TestWhoseANoticeIs(t *testing.T) {
	for name, tc := range map[string]struct {
		notice fleet.Notice
		change func(*fleet.Snapshot)
		want   Whose
	}{
		"a node here":                       {reclaims, func(*fleet.Snapshot) {}, Ours},
		"an instance that is no node yet":   {fleet.Notice{Instance: "i-boot"}, func(*fleet.Snapshot) {}, Ours},
		"an instance that its group lost":   {fleet.Notice{Instance: "i-x", Group: "web"}, func(*fleet.Snapshot) {}, Ours},
		"a group of another cluster":        {fleet.Notice{Instance: "i-9"}, func(s *fleet.Snapshot) { s.Groups = append(s.Groups, theirs("green")) }, Others},
		"a group that tells no cluster":     {fleet.Notice{Instance: "i-9"}, func(s *fleet.Snapshot) { s.Groups = append(s.Groups, theirs("")) }, Unknown},
		"EC2 tags it with another cluster":  {fleet.Notice{Instance: "i-7"}, func(s *fleet.Snapshot) { s.Machines = []fleet.Machine{{ID: "i-7", State: "running", Cluster: "green"}} }, Others},
		"EC2 tags it with this cluster":     {fleet.Notice{Instance: "i-7"}, func(s *fleet.Snapshot) { s.Machines = []fleet.Machine{{ID: "i-7", State: "running", Cluster: "blue"}} }, Ours},
		"EC2 tags it with none, or is gone": {fleet.Notice{Instance: "i-7"}, func(s *fleet.Snapshot) { s.Machines = []fleet.Machine{{ID: "i-7"}} }, Nobodys},
		"nobody knows":                      {fleet.Notice{Instance: "i-7"}, func(*fleet.Snapshot) {}, Unknown},
	} {
		s := three()
		s.Groups[0].Cluster = "blue"
		s.Cluster = s.ClusterByTags()
		tc.change(&s)
		if got := WhoseIs(&s, tc.notice); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func theirs(cluster string) fleet.Group {
	return fleet.Group{Name: "other", Cluster: cluster, Instances: []fleet.Instance{{ID: "i-9", Lifecycle: fleet.InService}}}
}

func swept(s fleet.Snapshot) string {
	out := ""
	for _, n := range Sweep(&s, fleet.UsualPolicy) {
		out += fmt.Sprint(n.ID, " ", n.Instance, " over=", n.Over, "; ")
	}
	return out
}

func TestTheSweepFindsWhatNoMessageTold(t *testing.T) {
	s := three()
	in := &s.Groups[0].Instances[0]
	s.Groups[0].Hooks = []fleet.Hook{{Name: "drover-terminate", Heartbeat: time.Hour}, {Name: "others", Heartbeat: time.Hour}}
	if got := swept(s); got != "" {
		t.Error(got)
	}
	in.Lifecycle = fleet.TerminatingWait
	in.Reclaimed = now
	in.Scheduled = []fleet.Scheduled{{ID: "e-1", NotBefore: now.Add(time.Hour)}}
	want := "terminate-hook/drover-terminate i-old over=false; spot i-old over=false; scheduled/e-1 i-old over=false; "
	if got := swept(s); got != want {
		t.Error(got)
	}
	c := fleet.Case{}
	for _, n := range Sweep(&s, fleet.UsualPolicy) {
		c = hear(t, &s, c, n)
	}
	s.Cases = []fleet.Case{c}
	if got := swept(s); got != "" {
		t.Error("on file already:", got)
	}
	s.Groups = append(s.Groups, theirs("green"))
	s.Groups[1].Hooks, s.Groups[1].Instances[0].Lifecycle = s.Groups[0].Hooks, fleet.TerminatingWait
	if got := swept(s); got != "" {
		t.Error("another cluster's:", got)
	}
}

func TestTheSweepTakesBackWhatNoLongerHolds(t *testing.T) {
	for name, tc := range map[string]struct {
		notice fleet.Notice
		after  time.Duration
		change func(*fleet.Snapshot)
		over   bool
	}{
		"a recommendation is young": {advised, 29 * time.Minute, nil, false},
		"a recommendation ran out":  {advised, 30 * time.Minute, nil, true},
		"a recommendation that is acted on": {advised, time.Hour, func(s *fleet.Snapshot) {
			s.Cases[0].Marks.Rotation, s.Cases[0].Marks.Replaced, s.Rotations = "r", now, []fleet.RotationRecord{{Run: "r"}}
		}, false},
		"AWS shows the wait later than it says it": {hooked, 30 * time.Second, nil, false},
		"back in service after all":                {hooked, 2 * time.Minute, nil, true},
		"ended by Auto Scaling":                    {hooked, 2 * time.Minute, func(s *fleet.Snapshot) { s.Groups[0].Instances[0].Lifecycle = fleet.TerminatingWait }, false},
		"a group that could not be read":           {hooked, 2 * time.Minute, func(s *fleet.Snapshot) { s.Groups[0].Trouble = "denied" }, false},
		"it went to the warm pool": {hooked, 2 * time.Minute, func(s *fleet.Snapshot) {
			s.Groups[0].Instances = nil
			s.Machines = []fleet.Machine{{ID: "i-old", State: "stopped"}}
		}, true},
		"it is being ended": {hooked, 2 * time.Minute, func(s *fleet.Snapshot) {
			s.Groups[0].Instances = nil
			s.Machines = []fleet.Machine{{ID: "i-old", State: "shutting-down"}}
		}, false},
		"EC2 announces it no more":        {sweptDate, 2 * time.Minute, nil, true},
		"what EC2 announces is not known": {sweptDate, 2 * time.Minute, func(s *fleet.Snapshot) { s.Groups[0].Blind = true }, false},
		"spared":                          {reclaims, 13 * time.Minute, nil, true},
		"a node that came back":           {spotted(fleet.StateChange, "state", 0), 2 * time.Minute, func(s *fleet.Snapshot) { s.Nodes[0].Ready = true }, true},
		"a node that did not":             {spotted(fleet.StateChange, "state", 0), 2 * time.Minute, nil, false},
	} {
		s := three()
		s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, tc.notice)}
		if s.Now = now.Add(tc.after); tc.change != nil {
			tc.change(&s)
		}
		got := Sweep(&s, fleet.UsualPolicy)
		if (len(got) == 1 && got[0].Over) != tc.over {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWhatLeavesTimeIsReplacedFirst(t *testing.T) {
	s := three()
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, advised)}
	timely := func() string {
		d, holds := Timely(&s, fleet.UsualPolicy, nil)
		return fmt.Sprint(len(d), " ", holds)
	}
	if got := timely(); got != "1 []" {
		t.Error(got)
	}
	old := s.Cases[0].Clone()
	old.Instance, old.Marks.Rotation, old.Marks.Replaced, old.Marks.Ended = "i-1", "r-1", now.Add(-time.Minute), now
	older := old.Clone()
	older.Instance = "i-2"
	s.Cases = append(s.Cases, old, older)
	if got := timely(); got != "0 [node old: 2 nodes of group web were replaced for recommendations within an hour; no more are]" {
		t.Error(got)
	}
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, advised, reclaims)}
	if got := timely(); got != "0 []" {
		t.Error("no time:", got)
	}
	s.Cases = []fleet.Case{hear(t, &s, fleet.Case{}, spotted(fleet.ScheduledChange, "scheduled/a", 48*time.Hour))}
	if d, _ := Timely(&s, fleet.UsualPolicy, nil); len(d) != 1 || !d[0].Release || !d[0].Deadline.IsZero() {
		t.Errorf("%+v", d)
	}
	s.Rotations = []fleet.RotationRecord{{Run: "r"}}
	if got := timely(); got != "0 [node old: is replaced when the run under way is over]" {
		t.Error(got)
	}
}

func TestJoinOnlySets(t *testing.T) {
	s := three()
	have := hear(t, &s, fleet.Case{}, reclaims)
	want := have.Clone()
	want.Marks = fleet.CaseMarks{Ended: now, End: "gone"}
	want.Log = []fleet.Entry{{What: "x"}}
	got, differs := Join(have, want)
	if !differs || got.Marks.End != "gone" || len(got.Log) != 1 {
		t.Errorf("%+v", got)
	}
	if _, differs := Join(got, want); differs {
		t.Error("it is over already")
	}
	reopened := have.Clone()
	reopened.Opened = now.Add(time.Hour)
	if _, differs := Join(reopened, want); differs {
		t.Error("the end of one case ends another")
	}
}
