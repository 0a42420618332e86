package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestDeploymentReplacesAPodThatIsOnItsWayOut(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("api", 2)
	s.PreStop, s.Stop, s.Start = 10*time.Second, 5*time.Second, 20*time.Second
	o := l.apply(s)
	l.wait(20 * time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 2)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.equal("at once", len(l.Pods(o)), 3)
	p := l.Pods(o)[0]
	l.equal("the end of its grace", p.Deleted.Sub(start), 50*time.Second)
	l.wait(14 * time.Second)
	l.equal("before it stopped", len(l.Pods(o)), 3)
	l.wait(time.Second)
	l.equal("after", len(l.Pods(o)), 2)
	l.equal("ready", len(ready(l.Pods(o))), 1)
	l.wait(5 * time.Second)
	l.equal("ready", len(ready(l.Pods(o))), 2)
}

func TestGraceBoundsTheShutdown(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := deployment("slow", 1)
	s.PreStop, s.Stop, s.Grace = time.Hour, time.Hour, 7*time.Second
	o := l.apply(s)
	l.rest()
	l.must(l.Scale(o, 0))
	l.wait(7*time.Second - 1)
	l.equal("within its grace", len(l.Pods(o)), 1)
	l.wait(1)
	l.equal("after", len(l.Pods(o)), 0)
}

// TestWhoGoesFirst scales down by one and asks who went.
func TestWhoGoesFirst(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(l *lab, o fleet.Owner, pods []fleet.Pod)
		want int // index in order of making
	}{
		"the newest of equals":  {func(*lab, fleet.Owner, []fleet.Pod) {}, 2},
		"one that is not Ready": {func(l *lab, _ fleet.Owner, pods []fleet.Pod) { l.must(l.SetPodReady(pods[1].Ref, false)) }, 1},
		"the cheapest":          {func(l *lab, _ fleet.Owner, pods []fleet.Pod) { l.pod[pods[0].Ref.UID].cost = "-1" }, 0},
		"not the dearest":       {func(l *lab, _ fleet.Owner, pods []fleet.Pod) { l.pod[pods[2].Ref.UID].cost = "1" }, 1},
		"not Ready before the cheapest": {func(l *lab, _ fleet.Owner, pods []fleet.Pod) {
			l.must(l.SetPodReady(pods[1].Ref, false))
			l.pod[pods[0].Ref.UID].cost = "-1"
		}, 1},
		"without a node before everything": {func(l *lab, o fleet.Owner, pods []fleet.Pod) {
			l.must(l.SetPodReady(pods[1].Ref, false))
			l.Cordon("a", true)
			l.Cordon("b", true)
			l.Cordon("c", true)
			l.must(l.Scale(o, 4))
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Options{})
			l.nodes(3)
			o := l.apply(deployment("api", 3))
			l.rest()
			c.do(l, o, l.Pods(o))
			pods := l.Pods(o)
			l.must(l.Scale(o, len(pods)-1))
			left := l.Pods(o)
			for i, p := range pods {
				gone := i >= len(left) || left[i].Ref != p.Ref || left[i].Terminating
				if gone {
					l.equal("went", i, c.want)
					return
				}
			}
			t.Fatal("nobody went")
		})
	}
}

func TestStatefulSet(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(3)
	s := deployment("db", 3)
	s.Owner.Kind, s.Stop = "StatefulSet", 4*time.Second
	o := l.apply(s)
	l.equal("one by one", len(l.Pods(o)), 1)
	l.rest()
	pods := l.Pods(o)
	l.equal("names", pods[0].Ref.Name+" "+pods[1].Ref.Name+" "+pods[2].Ref.Name, "db-0 db-1 db-2")
	l.must(l.evictPod(pods[0]))
	l.must(l.evictPod(pods[2]))
	l.equal("no new pod while the old one is there", len(l.Pods(o)), 3)
	l.wait(4 * time.Second)
	l.equal("the lowest first", strings.Fields(says(l.Pods(o)))[1][:4], "db-0")
	l.equal("and alone", len(l.Pods(o)), 2)
	l.rest()
	l.equal("ready", len(ready(l.Pods(o))), 3)
	for _, p := range l.Pods(o) {
		if p.Ref.Name == "db-0" && p.Ref.UID == pods[0].Ref.UID {
			t.Fatal("db-0 came back with its old UID")
		}
	}
	l.must(l.Scale(o, 1))
	l.equal("from the highest", says(l.Pods(o)[1:2])[:4] != "db-1" || !l.Pods(o)[1].Terminating, true)
	l.rest()
	l.equal("left", len(l.Pods(o)), 1)
	l.equal("left", l.Pods(o)[0].Ref.Name, "db-0")
}

func TestDaemonSetAndDroversTaint(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(2)
	s := deployment("log", 0)
	s.Owner.Kind = "DaemonSet"
	o := l.apply(s)
	s.Owner.Name, s.Tolerations = "net", []fleet.Toleration{{Exists: true}}
	tolerating := l.apply(s)
	l.rest()
	l.equal("one per node", l.nodesOf(o), map[string]int{"a": 1, "b": 1})
	l.Taint("a", fleet.Taint{Key: fleet.TaintKey, Value: "r", Effect: fleet.NoSchedule})
	l.rest()
	l.equal("those that are there stay", l.nodesOf(o), map[string]int{"a": 1, "b": 1})
	for _, w := range []fleet.Owner{o, tolerating} {
		for _, p := range l.Pods(w) {
			l.DeletePod(p.Ref)
		}
	}
	l.rest()
	l.equal("none comes back under the taint", l.nodesOf(o), map[string]int{"b": 1})
	l.equal("unless it tolerates", l.nodesOf(tolerating), map[string]int{"a": 1, "b": 1})
	l.Cordon("b", true)
	l.DeletePod(l.Pods(o)[0].Ref)
	l.rest()
	l.equal("a cordon is nothing to it", l.nodesOf(o), map[string]int{"b": 1})
	l.RemoveNode("b")
	l.equal("gone with its node", len(l.Pods(o)), 0)
}

func TestJob(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := deployment("import", 2)
	s.Owner.Kind, s.Runs = "Job", 30*time.Second
	o := l.apply(s)
	l.wait(20 * time.Second)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.rest()
	finished := 0
	for _, p := range l.Pods(o) {
		if p.Finished {
			finished++
		}
	}
	l.equal("finished", finished, 2)
	l.equal("the one started again came to its end last", l.clock.Now().Sub(start), 55*time.Second)
	l.equal("took no room any more", l.node["a"].free, fleet.Resources{CPU: 4000, Memory: 16 << 30, Pods: 20})
	l.RemoveNode("a")
	l.nodes(1)
	l.equal("is not started again", len(l.Pods(o)), 0)
}

func TestBarePodsGoForEver(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	s := small("debug", 0)
	s.Owner.Kind = "Pod"
	l.apply(s)
	s.Owner.Name, s.Node, s.Mirror = "kube-proxy", "a", true
	l.apply(s)
	l.rest()
	l.equal("pods", says(l.Pods(fleet.Owner{})), "debug@a+ kube-proxy@a+")
	pods := l.Pods(fleet.Owner{})
	l.equal("owner", pods[0].Owner.Kind, "")
	l.equal("stays", pods[1].Stays() != "", true)
	l.must(l.evictPod(pods[0]))
	l.rest()
	l.equal("pods", says(l.Pods(fleet.Owner{})), "kube-proxy@a+")
}

func TestBadMachines(t *testing.T) {
	l := newLab(t, Options{})
	l.nodes(1)
	l.Label("a", "ami", "bad")
	s := deployment("api", 1)
	s.BadOn = map[string]string{"ami": "bad"}
	o := l.apply(s)
	l.rest()
	l.equal("never ready", says(l.Pods(o)), fmt.Sprintf("%s@a", l.Pods(o)[0].Ref.Name))
	l.must(l.AddNode(fleet.Node{Name: "b", Ready: true, Room: fleet.Resources{CPU: 4000, Memory: 16 << 30}}))
	l.Cordon("a", true)
	l.must(l.evictPod(l.Pods(o)[0]))
	l.rest()
	l.equal("elsewhere it is", len(ready(l.Pods(o))), 1)
}

func TestUnknownKindsAreRefused(t *testing.T) {
	l := newLab(t, Options{})
	s := deployment("x", 1)
	s.Owner.Kind = "CronJob"
	if err := l.Apply(s); err == nil || !strings.Contains(err.Error(), `does not play kind "CronJob"`) {
		t.Fatal(err)
	}
	if err := l.act(fleet.Action{Verb: fleet.Terminate}); err == nil {
		t.Fatal("the cluster terminated an instance")
	}
}
