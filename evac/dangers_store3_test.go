package evac

import (
	"strings"
	"testing"
	"time"
)

// 31: the other copy is shutting down, or away, since the move began: the subject stays.
func TestDangerTwoMembersAway(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, replica).Home = false
	podNamed(&s, master).Terminating = true
	st.Member(master).Leaving = true
	if got := steps(&s, 0, replica); strings.HasPrefix(got, "free") {
		t.Error("the master is shutting down: ", got)
	}
	s = web()
	st = three(&s)
	moved(st, replica).Home = false
	st.Members = st.Members[:2]
	st.Members[0].Replicas = st.Members[0].Replicas[:1]
	if got := steps(&s, 0, replica); strings.HasPrefix(got, "free") {
		t.Error("another replica is away: ", got)
	}
	s = web()
	st = three(&s)
	moved(st, replica).Home = false
	x := st.Member("redis-other-0")
	x.Trouble, x.Role, x.Link = "no answer", "", false
	if got := steps(&s, 0, replica); strings.HasPrefix(got, "free") {
		t.Error("another replica does not answer: ", got)
	}
}

// 32: the same of a cluster: the shard's new master is shutting down.
func TestDangerShardsOtherCopyIsGoing(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	moved(st, "ring-a-0").Switched = start.Add(-time.Minute)
	exchange(st, st.Member("ring-a-0"), st.Member("ring-b-0"))
	podNamed(&s, "ring-b-0").Terminating = true
	st.Member("ring-b-0").Leaving = true
	if got := steps(&s, 0, "ring-a-0"); strings.HasPrefix(got, "free") {
		t.Error(got)
	}
}

// 33: a replica of somebody else is no candidate, and a master without any replica online is not fenced: it would refuse every write.
func TestDangerFencedWithoutReplica(t *testing.T) {
	s := web()
	st := seed(&s)
	x := st.Member(replica)
	x.Master, st.Members[0].Replicas = "elsewhere:6379", nil
	if got := steps(&s, 0, master); strings.HasPrefix(got, "engage") {
		t.Error("a replica of somebody else: ", got)
	}
	moved(st, master)
	if got := steps(&s, 0, master); strings.HasPrefix(got, "fence") {
		t.Error("a replica of somebody else: ", got)
	}
	s = web()
	st = seed(&s)
	moved(st, master)
	st.Members[0].Replicas[0].Online = false
	if got := steps(&s, 0, master); strings.HasPrefix(got, "fence") {
		t.Error("the master does not take it for online: ", got)
	}
	s = web()
	st = seed(&s)
	moved(st, master)
	st.Members[0].Replicas[0].Lag = 9 * time.Second
	if got := steps(&s, 0, master); strings.HasPrefix(got, "fence") {
		t.Error("it was last heard 9 s ago, the fence wants 2: ", got)
	}
}

// 34: in haste the role goes first, while there is somebody who can have it.
func TestDangerRoleFirstInHaste(t *testing.T) {
	s := web()
	layouts["shared nodes"](&s)
	if got := steps(&s, 2*time.Minute, "sentinel-0", master); got != "engage "+master {
		t.Error("a Sentinel on the same machine: ", got)
	}
	s = web()
	three(&s)
	if got := steps(&s, 2*time.Minute, replica, master); got != "engage "+master {
		t.Error("a replica stands by on a node that stays: ", got)
	}
}

// 35: a linger of ten minutes is no standing still; nor does a large fleet forget its stores.
func TestDangerForecastIsNotStuck(t *testing.T) {
	s := web()
	seed(&s).Spec.Linger = 10 * time.Minute
	if p, _ := try(t, &s, Options{}); len(p.Forecast.Stuck) > 0 {
		t.Error("long linger: ", p.Forecast.Stuck)
	}
	for name, lay := range layouts {
		s := web()
		lay(&s)
		p := rotation(t, &s, Options{})
		s = unstopped(s)
		w := &preview{s: s, began: s.Now, plan: &p, grid: time.Second, out: Forecast{Moves: map[string]int{}}}
		w.keepIndex()
		w.estimate()
		w.count()
		w.underWay()
		w.run()
		if len(w.out.Stuck) > 0 {
			t.Errorf("%s, 3000 pods: %v", name, w.out.Stuck)
		}
		if took := w.s.Now.Sub(w.began); took > p.Forecast.Took*3/2 {
			t.Errorf("%s, 3000 pods: %s, otherwise %s", name, took, p.Forecast.Took)
		}
	}
}
