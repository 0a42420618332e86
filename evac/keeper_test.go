package evac

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// steps are what the keeper of the snapshot's only store does while pods have to leave: its actions by verb and pods, then what it waits for.
func steps(s *fleet.Snapshot, left time.Duration, leaving ...string) string {
	ix := newIndex(s)
	st := &s.Stores[0]
	v := &tick{ix: ix, s: s, plan: &Plan{Run: "r-1"}, leaving: map[string]bool{}}
	var goals []kept
	for _, name := range leaving {
		for i := range s.Pods {
			if p := &s.Pods[i]; p.Ref.Name == name {
				g := goal{p: p, node: p.Node, why: "leaves"}
				if left > 0 {
					g.until = s.Now.Add(left)
				}
				goals = append(goals, kept{goal: g})
				v.leaving[p.Node] = true
			}
		}
	}
	k := v.keeperOf(st, goals)
	k.next()
	var out []string
	for _, a := range k.acts {
		line := string(a.Verb) + " " + a.Pod.Name
		if a.Peer.Name != "" {
			line += ">" + a.Peer.Name
		}
		if a.Effect != "" {
			line += " " + a.Effect
		}
		if a.ID != "" {
			line += a.ID
		}
		out = append(out, line)
	}
	if k.freed != nil {
		out = append(out, "free "+k.freed.p.Ref.Name)
	}
	if len(out) == 0 && len(k.holds) > 0 {
		out = append(out, "hold: "+k.holds[0].Reason)
	}
	return strings.Join(out, "; ")
}

// moved writes that a pod's move has begun.
func moved(st *fleet.Store, pod string) *fleet.StoreMove {
	m := &fleet.StoreMove{Run: "r-1", Since: start, Home: true}
	for i := range st.Members {
		x := &st.Members[i]
		m.Prior = append(m.Prior, fleet.Setting{Pod: x.Pod.Name, ID: x.ID, Fence: x.Fence, Priority: x.Priority, Migration: x.Migration})
		x.Migration = false
		if x.Pod.Name == pod {
			m.Pod, m.Node, m.ID = x.Pod, x.Node, x.ID
		}
	}
	for i := range st.Sentinels {
		if w := &st.Sentinels[i]; w.Pod.Name == pod {
			m.Pod, m.Node, m.Home = w.Pod, w.Node, false
		}
	}
	st.Move = m
	return m
}

// reborn gives a pod a successor on another node, under another address.
func reborn(s *fleet.Snapshot, name string) *fleet.Member {
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Ref.Name == name {
			p.Ref.UID, p.Node, p.Created = "uid-new", "node-5", s.Now
			m := s.Stores[0].Member(name)
			m.Pod, m.Node, m.Known = p.Ref, p.Node, []string{"new-" + name + ":6379"}
			replicas(&s.Stores[0])
			return m
		}
	}
	return nil
}

const (
	master  = "redis-master-0"
	replica = "redis-replica-0"
)

// The state table of Sentinel (reference/redis.md, 4.1): each row as it is observed, and what is done.
func TestSentinelStates(t *testing.T) {
	good, bad := []string{}, []string{master}
	for _, c := range []struct {
		name    string
		leaving []string
		change  func(s *fleet.Snapshot, st *fleet.Store)
		want    string
	}{
		{"S0 two masters", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Member(replica).Role = fleet.RoleMaster }, "hold: stays on node-0: store shop/orders: pods redis-master-0 and redis-replica-0 both say that they are the master"},
		{"S0 no quorum", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Sentinels[1].NoQuorum = "not enough" }, "hold: stays on node-0: store shop/orders: Sentinel sentinel-1 could have no failover authorized"},
		{"S0 disagreement", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Sentinels[2].Master = "r:6379" }, "hold: stays on node-0: store shop/orders: 2 of 3 Sentinels that answer name m:6379 as the master; sentinel-2 names r:6379"},
		{"S0 Sentinel silent", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Sentinels[0].Trouble = "no answer" }, "hold: stays on node-0: store shop/orders: Sentinel sentinel-0: no answer"},
		{"S0 wrong password", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Trouble = "WRONGPASS" }, "hold: stays on node-0: WRONGPASS"},
		{"S0 replica behind", bad, func(s *fleet.Snapshot, st *fleet.Store) { st.Member(replica).Link = false }, "hold: stays on node-0: store shop/orders: replica redis-replica-0 is not in sync"},
		{"begin", bad, func(s *fleet.Snapshot, st *fleet.Store) {}, "engage redis-master-0"},
		{"begin with the replica", []string{master, replica}, func(s *fleet.Snapshot, st *fleet.Store) {}, "engage redis-replica-0"},
		{"S1 no replica at all", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			st.Members, st.Spec.Replicas = st.Members[:1], 1
			moved(st, master)
		}, "lend redis-master-0>redis-master-0-drover"},
		{"S1 replica to come", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			m := moved(st, master)
			st.Members = st.Members[:1]
			st.Members[0].Fence = fleet.Fence{Replicas: 1, Lag: 2}
			m.Prior = m.Prior[:1]
		}, "fence redis-master-0"},
		{"S2 fence", bad, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, master) }, "fence redis-master-0"},
		{"S2 switch", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			st.Member(master).Fence = fleet.Fence{Replicas: 1, Lag: 2}
		}, "switch redis-master-0>redis-replica-0"},
		{"S3 half switched", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			half(st)
			m, x := st.Member(master), st.Member(replica)
			m.Fence, m.Replicas, m.History, m.Offset = fleet.Fence{Replicas: 1, Lag: 2}, nil, "old", 120
			x.History, x.History2, x.Offset2 = "new", "old", 101
		}, "demote redis-master-0>redis-replica-0"},
		{"S4 fenced, candidate gone", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			st.Member(master).Fence = fleet.Fence{Replicas: 1, Lag: 2}
			st.Member(replica).Link = false
		}, "fence redis-master-0"},
		{"S5 linger", bad, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, master); over(st) }, "engage redis-master-0"},
		{"S5 lingers", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master).Switched = start.Add(-4 * time.Second)
			over(st)
		}, "hold: moves pod redis-master-0: its clients follow the role, until 5s after it was handed over"},
		{"S5 free", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master).Switched = start.Add(-5 * time.Second)
			over(st)
		}, "free redis-master-0"},
		{"S5 saving", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master).Switched = start.Add(-5 * time.Second)
			over(st)
			st.Member(master).Saving = true
		}, "hold: moves pod redis-master-0: it is saving"},
		{"S6 away", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			st.Members = st.Members[1:]
		}, "hold: moves pod redis-master-0: waits for pod redis-master-0 to run again elsewhere"},
		{"S7 empty master", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			m := reborn(s, master)
			m.Role, m.Keys, m.Master, m.Link = fleet.RoleMaster, 0, "", false
		}, "attach redis-master-0>redis-replica-0"},
		{"S7' written to", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			m := reborn(s, master)
			m.Role, m.Keys, m.Offset, m.History, m.Master, m.Link = fleet.RoleMaster, 3, 1, "other", "", false
		}, "fence redis-master-0"},
		{"S7' stuck", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			m := reborn(s, master)
			m.Role, m.Keys, m.Offset, m.History, m.Master, m.Link = fleet.RoleMaster, 3, 1, "other", "", false
			m.Fence = fleet.Fence{Replicas: 1, Lag: 1}
		}, "hold: moves pod redis-master-0: pods redis-replica-0 and redis-master-0 both took writes"},
		{"S8 syncing", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			reborn(s, master).Link = false
		}, "hold: moves pod redis-master-0: it gets its data from redis-replica-0"},
		{"S9 not heard of yet", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			reborn(s, master)
		}, "hold: moves pod redis-master-0: Sentinel sentinel-0 has yet to hear of replica redis-master-0"},
		{"S9 stale", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			reborn(s, master)
			for i := range st.Sentinels {
				hear(st, &st.Sentinels[i])
			}
		}, "reset sentinel-0"},
		{"S9 one at a time", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			reborn(s, master)
			for i := range st.Sentinels {
				hear(st, &st.Sentinels[i])
			}
			st.Sentinels[0].Replicas, st.Sentinels[0].Peers = nil, nil
		}, "hold: moves pod redis-master-0: Sentinel sentinel-0 has yet to hear of replica redis-master-0"},
		{"S10 home", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			reborn(s, master)
			for i := range st.Sentinels {
				lists(st, &st.Sentinels[i])
			}
			st.Member(replica).Replicas = []fleet.Replica{{Address: "new-redis-master-0:6379", Online: true}}
		}, "fence redis-replica-0"},
		{"S10 not home", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			over(st)
			st.Spec.Failback = fleet.FailbackNever
			reborn(s, master)
			for i := range st.Sentinels {
				lists(st, &st.Sentinels[i])
			}
		}, "disengage redis-master-0"},
		{"S11 settings", good, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			st.Member(replica).Fence = fleet.Fence{Replicas: 1, Lag: 2}
		}, "fence redis-replica-0"},
		{"the last copy", bad, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, master)
			st.Member(master).Trouble = "no answer"
			st.Member(replica).Trouble = "no answer"
		}, "hold: moves pod redis-master-0: the master redis-master-0 does not answer: no answer; no other pod has a copy: a person has to decide"},
		{"another run", bad, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, master).Run = "r-2" }, "hold: stays on node-0: run r-2 moves pod shop/redis-master-0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := web()
			c.change(&s, seed(&s))
			if got := steps(&s, 0, c.leaving...); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// half has the Sentinels name the replica, which has taken the role, while the old master has not heard.
func half(st *fleet.Store) {
	st.Member(replica).Role, st.Member(replica).Master = fleet.RoleMaster, ""
	for i := range st.Sentinels {
		st.Sentinels[i].Master = "r:6379"
	}
}

// over has the role handed over.
func over(st *fleet.Store) { exchange(st, st.Member(master), st.Member(replica)) }

// With little time the role is handed over to whoever can have it, and nothing else is made better first.
func TestSentinelHurried(t *testing.T) {
	s := web()
	st := seed(&s)
	if got := steps(&s, 2*time.Minute, master, replica); got != "engage "+replica {
		t.Errorf("both leave, and the replica is back first: %s", got)
	}
	moved(st, master)
	st.Member(master).Fence = fleet.Fence{Replicas: 1, Lag: 2}
	if got := steps(&s, 2*time.Minute, master); got != "switch redis-master-0>redis-replica-0" {
		t.Error(got)
	}
	over(st)
	st.Member(master).Fence, st.Move.Switched = fleet.Fence{}, s.Now
	if got := steps(&s, 2*time.Minute, master); got != "free "+master {
		t.Error(got)
	}
}

// The state table of Cluster (4.2).
func TestRingStates(t *testing.T) {
	for _, c := range []struct {
		name    string
		lone    bool
		leaving []string
		change  func(s *fleet.Snapshot, st *fleet.Store)
		want    string
	}{
		{"C0 slots not served", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { st.Members[4].StateOK = false }, "hold: stays on node-0: store shop/cache: pod ring-b-1 says that the cluster does not serve all slots"},
		{"C0 resharding", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { st.Members[1].View[0].Moving = 2 }, "hold: stays on node-0: store shop/cache: pod ring-a-1 says that 2 slots are on the move"},
		{"C0 failed", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { sees(&st.Members[1], "id-ring-b-2").Fail = true }, "hold: stays on node-0: store shop/cache: pod ring-a-1 takes pod ring-b-2 for failed"},
		{"C0 owners", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { sees(&st.Members[1], "id-ring-a-2").Slots = 1 }, "hold: stays on node-0: store shop/cache: pods ring-a-1 and ring-a-2 do not agree on how many slots ring-a-2 owns: 1 or 5461"},
		{"C1", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0") }, "failover ring-b-0>ring-a-0"},
		{"C1 not seen by all", false, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			sees(st.Member("ring-a-2"), "id-ring-b-0").Of = ""
		}, "hold: moves pod ring-a-0: replica ring-b-0 is to be in sync, and be seen so by ring-a-2"},
		{"C1 both leave", false, []string{"ring-a-0", "ring-b-0"}, func(s *fleet.Snapshot, st *fleet.Store) {}, "engage ring-b-0"},
		{"C2", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0") }, "lend ring-a-0>ring-a-0-drover"},
		{"C2 replica leaves too", false, []string{"ring-a-0", "ring-b-0"}, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0") }, "lend ring-a-0>ring-a-0-drover"},
		{"C3 unknown", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0"); lent(st, false) }, "meet ring-a-0-drover>ring-a-0"},
		{"C3 no replica yet", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0"); lent(st, true) }, "replicate ring-a-0-drover>ring-a-0"},
		{"C3 gossip", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			lent(st, true)
			m := st.Member("ring-a-2")
			m.View = m.View[:len(m.View)-1]
		}, "hold: moves pod ring-a-0: ring-a-2 and temporary pod ring-a-0-drover are to know each other"},
		{"C4", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			follows(st, lent(st, true), "ring-a-0")
		}, "failover ring-a-0-drover>ring-a-0"},
		{"C5", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
		}, "engage ring-a-0"},
		{"C6", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Switched = start.Add(-time.Minute)
			tookOver(st)
		}, "free ring-a-0"},
		{"C6 saving", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Switched = start.Add(-time.Minute)
			tookOver(st)
			st.Member("ring-a-0").Saving = true
		}, "hold: moves pod ring-a-0: it is saving"},
		{"C7 new address", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			reborn(s, "ring-a-0")
		}, "hold: moves pod ring-a-0: ring-a-1 is to hear where ring-a-0 is now"},
		{"C7 not heard for long", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			reborn(s, "ring-a-0")
			s.Now = s.Now.Add(time.Minute)
		}, "meet ring-a-0>ring-a-1"},
		{"C7' nodes.conf lost", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			m := reborn(s, "ring-a-0")
			m.ID, m.Role, m.View = "id-new", fleet.RoleMaster, []fleet.Peer{{ID: "id-new", Self: true, Role: fleet.RoleMaster}}
		}, "engage ring-a-0"},
		{"C8 home", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			heard(st, reborn(s, "ring-a-0"))
		}, "failover ring-a-0>ring-a-0-drover"},
		{"C9 written down", true, nil, func(s *fleet.Snapshot, st *fleet.Store) { moved(st, "ring-a-0"); tookOver(st); gaveBack(s, st) }, "engage ring-a-0"},
		{"C9 clients", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Ghosts = []fleet.Ghost{{ID: "id-temp", At: start}}
			tookOver(st)
			gaveBack(s, st)
		}, "hold: moves pod ring-a-0: clients of temporary pod ring-a-0-drover follow the slots"},
		{"C9 leave", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Ghosts = []fleet.Ghost{{ID: "id-temp", At: start.Add(-5 * time.Second)}}
			tookOver(st)
			gaveBack(s, st)
		}, "leave ring-a-0-drover"},
		{"C9 forget", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Ghosts = []fleet.Ghost{{ID: "id-temp", At: start}}
			tookOver(st)
			gaveBack(s, st)
			leftRing(st)
		}, "disown id-temp"},
		{"C9 died before it left", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			gaveBack(s, st)
			st.Members = st.Members[:len(st.Members)-1]
			for i := range st.Members {
				sees(&st.Members[i], "id-temp").Fail = true
			}
		}, "engage ring-a-0"},
		{"C9 another pod is away", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			for i := range st.Members[:3] {
				p := sees(&st.Members[i], "id-ring-a-2")
				p.Fail, p.Slots = true, 0
			}
			st.Members = st.Members[:2]
		}, "hold: moves pod ring-a-0: node id-ring- (ring-a-2:6379) was a pod's when the move began, and that pod is away"},
		{"C10 elected", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0").Ghosts = []fleet.Ghost{{ID: "id-temp", At: start}}
		}, "steady ring-a-0; steady ring-a-1; steady ring-a-2"},
		{"C11 uncovered", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			tookOver(st)
			heard(st, reborn(s, "ring-a-0"))
			st.Members = st.Members[:len(st.Members)-1]
			for i := range st.Members {
				sees(&st.Members[i], "id-temp").Fail = true
			}
		}, "hold: moves pod ring-a-0: its master is not there; 5461 slots of failed node id-temp are not served, and replica ring-a-0"},
		{"the ban", true, nil, func(s *fleet.Snapshot, st *fleet.Store) {
			m := moved(st, "ring-a-0")
			m.Ghosts = []fleet.Ghost{{ID: "id-temp", At: start}}
			for i := range m.Prior {
				m.Prior[i].Migration = false
			}
		}, "hold: moves pod ring-a-0: looks again until 1m15s after a node was forgotten"},
		{"replica migration", true, []string{"ring-a-0"}, func(s *fleet.Snapshot, st *fleet.Store) {
			moved(st, "ring-a-0")
			st.Member("ring-a-1").Migration = true
		}, "steady ring-a-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := web()
			n := 1
			if c.lone {
				n = 0
			}
			c.change(&s, ring(&s, n))
			if got := steps(&s, 0, c.leaving...); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// lent adds the temporary member, a node of the cluster or not yet.
func lent(st *fleet.Store, known bool) *fleet.Member {
	m := fleet.Member{
		Pod: fleet.PodRef{Namespace: "shop", Name: "ring-a-0-drover", UID: "uid-temp"}, Node: "node-5", Known: []string{"temp:6379"}, Temp: true, Ready: true,
		Role: fleet.RoleMaster, ID: "id-temp", StateOK: true, View: []fleet.Peer{{ID: "id-temp", Address: "temp:6379", Self: true, Role: fleet.RoleMaster}},
	}
	st.Members = append(st.Members, m)
	if known {
		acquaint(st)
	}
	return st.Member(m.Pod.Name)
}

// follows makes a member a replica in sync, seen by all.
func follows(st *fleet.Store, m *fleet.Member, of string) {
	m.Role, m.Master, m.Link = fleet.RoleReplica, st.Member(of).Known[0], true
	for i := range st.Members {
		p := sees(&st.Members[i], m.ID)
		p.Role, p.Of = fleet.RoleReplica, st.Member(of).ID
	}
}

// tookOver has the temporary member own the slots of ring-a-0.
func tookOver(st *fleet.Store) {
	follows(st, lent(st, true), "ring-a-0")
	exchange(st, st.Member("ring-a-0"), st.Member("ring-a-0-drover"))
}

// heard has everybody know where a member is.
func heard(st *fleet.Store, m *fleet.Member) {
	for i := range st.Members {
		if p := sees(&st.Members[i], m.ID); p != nil {
			p.Address = m.Known[0]
		}
	}
}

// gaveBack has the rebuilt pod own its slots again.
func gaveBack(s *fleet.Snapshot, st *fleet.Store) {
	m := reborn(s, "ring-a-0")
	heard(st, m)
	exchange(st, st.Member("ring-a-0-drover"), m)
}

// leftRing has the temporary node have left the cluster, which has not forgotten it.
func leftRing(st *fleet.Store) {
	t := st.Member("ring-a-0-drover")
	t.ID, t.Role, t.View = "id-left", fleet.RoleMaster, []fleet.Peer{{ID: "id-left", Self: true, Role: fleet.RoleMaster}}
}

// Slots of masters with little time are handed over all at once.
func TestRingHurried(t *testing.T) {
	s := web()
	ring(&s, 1)
	if got := steps(&s, 2*time.Minute, "ring-a-0", "ring-a-2"); got != "failover ring-b-0>ring-a-0; failover ring-b-2>ring-a-2" {
		t.Error(got)
	}
}
