package evac

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// 41: a pod that somebody asks for is on a node that only rests: nobody moves it, and nobody says so.
func TestDangerAskedOnRestingNode(t *testing.T) {
	s := web()
	seed(&s)
	noticed(&s, 0, fleet.Rebalance, 0)
	waves(&s, fleet.UsualPolicy)
	podNamed(&s, master).Asked = &fleet.Asked{At: s.Now, By: "kubectl drain"}
	s.Now = s.Now.Add(time.Minute)
	step := Next(Notices(&s, fleet.UsualPolicy), s.Clone())
	if storeActs(step) == "" && len(step.Holds) == 0 {
		t.Error("stands still without a word: ", kinds(step))
	}
}

// 42: the last copy is a hidden temporary pod, whom no Sentinel can elect: a person has to hear that.
func TestDangerLastCopyIsHidden(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, replica).Home = false
	ref := fleet.PodRef{Namespace: "shop", Name: replica + "-drover", UID: "uid-temp"}
	st.Members[0].Trouble, st.Members[0].Role = "no answer", ""
	st.Members[1] = fleet.Member{Pod: ref, Node: "node-5", Known: []string{"t:6379"}, Temp: true, Ready: true, Role: fleet.RoleReplica, Master: "m:6379", Priority: 0, Keys: 9}
	if got := steps(&s, 0); !strings.Contains(got, ref.Name) {
		t.Error(got)
	}
}

// 43: a store that its owner keeps fenced by {1 2}: what an old master acknowledged with another replica's help is thrown away as if drover had fenced it.
func TestDangerOwnersFenceIsNoProof(t *testing.T) {
	s := web()
	st := three(&s)
	for i := range st.Members {
		st.Members[i].Fence = fleet.Fence{Replicas: 1, Lag: 2}
	}
	moved(st, "redis-other-0").Home = false // drover never fenced anybody
	half(st)
	m, x := st.Member(master), st.Member(replica)
	m.Replicas, m.History, m.Offset = nil, "old", 9000 // other-0 acknowledged up to 9000, and is with the new master by now
	x.History, x.History2, x.Offset2 = "new", "old", 101
	if got := steps(&s, 0); strings.HasPrefix(got, "demote") {
		t.Error(got)
	}
}

// 44: a cluster's member is silent: the hand refuses every failover, and in haste nothing else is tried for the other pods of the store.
func TestDangerHandOverFirstBlocksOthers(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	moved(st, "ring-b-1").Home = false
	x := st.Member("ring-a-2")
	x.Trouble, x.Role, x.View, x.ID = "no answer", "", nil, ""
	got := steps(&s, 2*time.Minute, "ring-a-0", "ring-b-1")
	if strings.HasPrefix(got, "failover") && !strings.Contains(got, "free ring-b-1") {
		t.Error("the hand refuses this for as long as ring-a-2 is silent, and ring-b-1 waits for its machine to go: ", got)
	}
}

// 45: the role came to the subject after the move began: it is evicted the moment it has handed the role over.
func TestDangerNoLingerForALateMaster(t *testing.T) {
	s := web()
	st := seed(&s)
	moved(st, replica).Home = false
	over(st) // elected
	st.Member(replica).Fence = fleet.Fence{Replicas: 1, Lag: 2}
	replicas(st)
	if got := steps(&s, 0, replica); got != "engage redis-replica-0" { // that it hands the role over is written down first
		t.Fatal(got)
	}
	st.Move.Switched = s.Now
	if got := steps(&s, 0, replica); got != "switch redis-replica-0>redis-master-0" {
		t.Fatal(got)
	}
	exchange(st, st.Member(replica), st.Member(master))
	st.Member(replica).Fence = fleet.Fence{}
	if got := steps(&s, 0, replica); strings.HasPrefix(got, "free") {
		t.Error(got)
	}
}

// 46: slots that nobody serves when a move ends are not "everything is as it was".
func TestDangerEndsWithSlotsUncovered(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	m := moved(st, "ring-b-0")
	m.Home = false
	for i := range m.Prior {
		m.Prior[i].Migration = false
	}
	st.Members = append(st.Members[:2], st.Members[3:]...) // ring-a-2 is away, and nobody was elected
	for i := range st.Members {
		st.Members[i].StateOK = false
		sees(&st.Members[i], "id-ring-a-2").Fail = true
	}
	if got := steps(&s, 0); strings.HasPrefix(got, "disengage") {
		t.Error(got)
	}
}

// 47: what was taken for the pod's name alone: the successor of the temporary pod's name, another store's pod of that name in the same namespace, is not drover's to delete.
func TestDangerTempOfAnotherMove(t *testing.T) {
	s := web()
	st := ring(&s, 1)
	moved(st, "ring-a-0")
	x := *lent(st, true)
	x.Pod.Name = "ring-a-1-drover" // left by the move before
	st.Members[len(st.Members)-1] = x
	follows(st, st.Member(x.Pod.Name), "ring-a-1")
	st.Members = append(st.Members[:3], st.Members[4:]...) // no replica of ring-a-0
	got := steps(&s, 0, "ring-a-0")
	t.Log(got)
}
