package evac

import (
	"strings"
	"testing"

	"drover.dev/fleet"
)

// 61: explain of a pod whose store is only probed.
func TestDangerExplainProbed(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Confirmed = false
	_, step, _ := NextOf(&s, podNamed(&s, master))
	if !strings.Contains(step, "confirm") {
		t.Error(step)
	}
}

// 62: a temporary master that was fenced to give the role back, and whose replica is lost then, refuses every write.
func TestDangerTempStaysFenced(t *testing.T) {
	s := web()
	st := seed(&s)
	st.Members, st.Spec.Replicas = st.Members[:1], 1
	moved(st, master)
	ref := fleet.PodRef{Namespace: "shop", Name: master + "-drover", UID: "uid-temp"}
	st.Members = append(st.Members, fleet.Member{Pod: ref, Node: "node-5", Known: []string{"t:6379"}, Temp: true, Ready: true, Role: fleet.RoleReplica, Link: true, Master: "m:6379", Priority: 100, Keys: 9})
	exchange(st, st.Member(master), st.Member(ref.Name))
	m := reborn(&s, master)
	m.Link = false
	tm := st.Member(ref.Name)
	tm.Fence, tm.Replicas = fleet.Fence{Replicas: 1, Lag: 2}, nil
	if got := steps(&s, 0); !strings.HasPrefix(got, "fence "+ref.Name) {
		t.Error(got)
	}
}

func halfway(s *fleet.Snapshot) *fleet.Store {
	st := seed(s)
	moved(st, master)
	m, x := st.Member(master), st.Member(replica)
	m.Fence, m.Replicas, m.History, m.Offset = fleet.Fence{Replicas: 1, Lag: 2}, nil, "old", 100
	x.Role, x.Master, x.Link, x.History, x.History2, x.Offset2, x.Offset = fleet.RoleMaster, "", false, "new", "old", 101, 100 // promoted; the Sentinels have not said so yet
	return st
}

// 63: half switched and paused: the Sentinel that fails over has promoted the replica, and nobody names it yet. The fence is all that keeps writes from being lost.
func TestDangerPauseUnfencesHalfSwitched(t *testing.T) {
	s := web()
	st := halfway(&s)
	st.Sentinels[0].Failover = true
	s.Stopped = &fleet.Pause{By: "eve"}
	plan := Plan{Run: "r-1", At: s.Now, Pods: []fleet.PodRef{podNamed(&s, master).Ref}}
	if got := storeActs(Next(plan, s.Clone())); strings.Contains(got, "fence "+master) {
		t.Error("its writes will be lost: ", got)
	}
}

// 64: the same while the Sentinel that fails over does not answer drover.
func TestDangerUnfencesWhileASentinelIsSilent(t *testing.T) {
	s := web()
	st := halfway(&s)
	st.Sentinels[0].Trouble, st.Sentinels[0].Master = "no answer", ""
	if got := steps(&s, 0, master); !strings.HasPrefix(got, "hold") {
		t.Error("nobody knows what that Sentinel is doing: ", got)
	}
	s.Stores[0].Member(replica).Trouble = "no answer"
	if got := steps(&s, 0, master); !strings.HasPrefix(got, "hold") {
		t.Error("nobody knows what that Sentinel is doing: ", got)
	}
}

// 65: a pod that is pending has no address yet; forecasts have to bear that.
func TestDangerForecastWithPendingPods(t *testing.T) {
	for _, name := range []string{"sentinel-0", "redis-other-0", "redis-master-0"} {
		s := web()
		st := three(&s)
		p := podNamed(&s, name)
		p.Ready = false
		if m := st.Member(name); m != nil {
			*m = fleet.Member{Pod: m.Pod, Node: m.Node, Trouble: "it has no address yet"}
		} else {
			w := st.Sentinel(name)
			*w = fleet.Sentinel{Pod: w.Pod, Node: w.Node, Trouble: "it has no address yet"}
		}
		p2, _ := try(t, &s, Options{})
		t.Log(name, p2.Forecast.Stuck)
	}
	s := web()
	st := ring(&s, 0)
	moved(st, "ring-a-0")
	m := lent(st, false)
	m.Known = nil // it meets, and is gone and made anew before they know each other
	acquaint(st)
}
