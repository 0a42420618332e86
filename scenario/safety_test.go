package scenario

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// misdeeds has for every sentence something that breaks it. Each is done in the middle of a rotation of group web, by a hand that does what it
// was not asked for.
var misdeeds = map[string]func(c *culprit){
	"budget": func(c *culprit) {
		pods := c.w.Cluster.Pods(c.owner("http"))
		c.act(c.evict(pods[0]), func() error {
			for _, p := range pods[:3] {
				c.w.Cluster.DeletePod(p.Ref)
			}
			return nil
		})
	},
	"bound": func(c *culprit) {
		c.cluster(fleet.Action{Verb: fleet.Taint_, Node: c.nodeAt("other/1"), Effect: fleet.NoSchedule})
	},
	"subject": func(c *culprit) {
		c.instead(fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/1")}, fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/2")})
	},
	"foreign": func(c *culprit) {
		c.act(fleet.Action{Verb: fleet.Untaint, Node: c.nodeAt("web/1")}, func() error {
			c.w.Cluster.Untaint(c.nodeAt("web/1"), "dedicated")
			return nil
		})
	},
	"once": func(c *culprit) {
		for range 2 {
			i := slices.IndexFunc(c.w.Cluster.Pods(c.owner("solo")), func(p fleet.Pod) bool { return !p.Terminating })
			c.cluster(c.evict(c.w.Cluster.Pods(c.owner("solo"))[i]))
			c.play(time.Minute)
		}
	},
	"closed-first": func(c *culprit) {
		c.w.Cluster.Untaint(c.nodeAt("web/3"), fleet.TaintKey)
		c.watch.forget()
		c.cluster(c.evict(c.w.Cluster.Pods(c.owner("http"))[0]))
	},
	"by-uid": func(c *culprit) {
		pods := c.w.Cluster.Pods(c.owner("http"))
		c.instead(c.evict(pods[0]), c.evict(pods[1]))
	},
	"empty":     func(c *culprit) { c.terminate("web/1") },
	"balancers": func(c *culprit) { c.terminate("web/1") },
	"volumes":   func(c *culprit) { c.terminate(c.names[c.instanceOn(c.w.Cluster.Pods(c.owner("store"))[0].Node)]) },
	"capacity":  func(c *culprit) { c.terminate("web/1"); c.terminate("web/2") },
	"last-target": func(c *culprit) {
		for _, t := range c.w.Cloud.Targets(c.targets["front"]) {
			c.cloudAct(fleet.Action{Verb: fleet.Deregister, Group: "web", Instance: t.ID, Target: c.targets["front"]})
		}
	},
	"size": func(c *culprit) {
		g := c.watch.now().s.Group("web")
		c.cloudAct(fleet.Action{Verb: fleet.Resize, Group: "web", From: g.Desired, To: g.Max})
	},
	"by-id": func(c *culprit) {
		c.act(fleet.Action{Verb: fleet.Resize, Group: "web", From: 4, To: 1}, func() error { return c.w.Cloud.SetDesiredCapacity("web", 1, false) })
		c.play(time.Minute)
	},
	"recorded": func(c *culprit) {
		c.must(c.w.Cluster.LoseRecord(c.run))
		c.cluster(fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/1")})
	},
	"journaled": func(c *culprit) {
		c.cloudAct(fleet.Action{Verb: fleet.Forget, Group: "web"})
		c.cloudAct(fleet.Action{Verb: fleet.Resume, Group: "web", Process: fleet.AZRebalance})
	},
	"explained": func(c *culprit) {
		c.act(fleet.Action{Verb: fleet.Surge, Workload: c.owner("solo"), From: 1, To: 2}, func() error { return c.w.Cluster.Scale(c.owner("solo"), 2) })
	},
	"singleton": func(c *culprit) { c.cluster(c.evict(c.w.Cluster.Pods(c.owner("solo"))[0])) },
	"lost":      func(c *culprit) { c.terminate("web/1"); c.play(5 * time.Minute) },
	"already-so": func(c *culprit) {
		a := fleet.Action{Verb: fleet.CreateGroup, Group: "web", Copy: "copy"}
		for _, size := range []int{6, 7} {
			c.act(a, func() error { return c.w.Cloud.SetDesiredCapacity("web", size, false) })
		}
	},
	"paused": func(c *culprit) {
		c.must(c.happen("pause", nil))
		c.play(time.Minute)
		c.cluster(fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/1")})
	},
	"probes": func(c *culprit) {
		c.must(c.happen("ail", []string{"front"}))
		c.probes[0].Ask(context.Background())
		c.cluster(c.evict(c.w.Cluster.Pods(c.owner("http"))[0]))
	},
	"canary": func(c *culprit) {
		pods := c.w.Cluster.Pods(c.owner("http"))
		other := slices.IndexFunc(pods, func(p fleet.Pod) bool { return p.Node != pods[0].Node })
		c.cluster(c.evict(pods[0]))
		c.play(time.Minute)
		c.cluster(c.evict(pods[other]))
	},
	"bake": func(c *culprit) { c.terminate("web/1") },
	"ended": func(c *culprit) {
		r := *c.watch.record()
		r.Marks.Ended = c.w.Now()
		c.cluster(fleet.Action{Verb: fleet.Record, Rotation: &r})
		c.cluster(fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/1")})
	},
	"zones": func(c *culprit) {
		in, err := c.member("web/1")
		c.must(err)
		for _, o := range c.w.Cloud.Instances() {
			if o.Group == "web" && o.Zone == in.Zone {
				_, err = c.w.Cloud.TerminateInstanceInAutoScalingGroup(o.ID, true)
				c.must(err)
			}
		}
		c.watch.forget()
		c.cloudAct(fleet.Action{Verb: fleet.Resume, Group: "web", Process: fleet.AZRebalance})
	},
	"restored": func(c *culprit) { c.cluster(fleet.Action{Verb: fleet.Keep, Node: c.nodeAt("web/1")}) },
	"returned": func(c *culprit) {
		c.watch.p.Record.Intent = fleet.Back
		in, err := c.member("web/1")
		c.must(err)
		_, err = c.w.Cloud.EnterStandby("web", []string{in.ID}, true)
		c.must(err)
		c.play(time.Minute)
	},
}

// culprit is a stage in the middle of a rotation, with hands that misbehave.
type culprit struct {
	*Stage
	t *testing.T
}

func (c *culprit) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *culprit) tell(line string) {
	c.t.Helper()
	f := strings.Fields(line)
	_, err := c.Do(f[0], f[1:])
	c.must(err)
}

// cluster does an action as the real hand does it, refusals included.
func (c *culprit) cluster(a fleet.Action) {
	a.Run = c.run
	c.must(clusterHand{c.Stage}.Act(context.Background(), a))
}

func (c *culprit) cloudAct(a fleet.Action) {
	a.Run = c.run
	c.must(cloudHand{c.Stage}.Act(context.Background(), a))
}

// act claims to do one thing and does another.
func (c *culprit) act(a fleet.Action, do func() error) {
	a.Run = c.run
	c.must(c.Stage.act(a.Verb.Cloud(), a, do))
}

func (c *culprit) instead(claimed, done fleet.Action) {
	done.Run = c.run
	c.act(claimed, func() error { return c.w.Cluster.Act(context.Background(), done) })
}

func (c *culprit) evict(p fleet.Pod) fleet.Action {
	return fleet.Action{Verb: fleet.Evict, Pod: p.Ref, Node: p.Node}
}

func (c *culprit) nodeAt(alias string) string {
	in, err := c.member(alias)
	c.must(err)
	return in.PrivateDNS
}

func (c *culprit) instanceOn(node string) string { return c.watch.now().s.Node(node).Instance }

func (c *culprit) terminate(alias string) {
	in, err := c.member(alias)
	c.must(err)
	c.cloudAct(fleet.Action{Verb: fleet.Terminate, Group: "web", Instance: in.ID, Node: in.PrivateDNS})
}

// A check that never complains proves nothing: every sentence of the list has a misdeed that breaks it.
func TestEverySentenceCanBeBroken(t *testing.T) {
	for _, s := range Safety {
		t.Run(s.Name, func(t *testing.T) {
			misdeed, c := misdeeds[s.Name], (*culprit)(nil)
			if s.of == notices {
				misdeed, c = patrolMisdeeds[s.Name], patrolling(t)
			} else if s.of == holdings {
				misdeed, c = storeMisdeeds[s.Name], keepingStores(t)
			} else if s.of == sleeps {
				misdeed, c = sleepMisdeeds[s.Name], napping(t)
			} else {
				c = rotating(t)
			}
			if misdeed == nil {
				t.Fatal("nothing breaks this sentence")
			}
			misdeed(c)
			c.watch.end(outcome{kind: over})
			if s.of == sleeps {
				c.watch.endSleep(outcome{kind: over})
			}
			broken := slices.ContainsFunc(c.watch.complaints, func(why string) bool { return strings.HasPrefix(why, s.Name+": ") })
			if !broken {
				t.Errorf("%q was not found broken; complaints: %q", s.Says, c.watch.complaints)
			}
		})
	}
}

// rotating is a stage in the middle of a rotation.
func rotating(t *testing.T) *culprit {
	c := &culprit{NewStage(Variation{Kind: Plain}), t}
	for _, line := range []string{
		"target-group front delay=30s", "group web nodes=4 max=8 min=1 zones=a,b targets=front taints=dedicated:web", "group other nodes=1",
		"deployment http replicas=6 budget=5 on=web tolerate=dedicated", "deployment solo replicas=1 on=web tolerate=dedicated",
		"statefulset store replicas=1 disk on=web tolerate=dedicated", "probe front", "settle", "publish web",
		"rotate web surge=2 until=moving canary=5m bake=1h",
	} {
		c.tell(line)
	}
	if err := c.watch.broken(); err != nil {
		t.Fatalf("broken before: %v", err)
	}
	return c
}
