package scenario

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// patrolMisdeeds break the sentences about notices. Each is done while a hook holds web/1, which is shut and has its pods still.
var patrolMisdeeds = map[string]func(c *culprit){
	"noticed": func(c *culprit) { c.cluster(fleet.Action{Verb: fleet.Shut, Node: c.nodeAt("web/3")}) },
	"wave": func(c *culprit) {
		c.play(time.Minute)
		c.w.Cluster.Untaint(c.nodeAt("web/1"), fleet.TaintKey)
		c.watch.forget()
		c.cluster(c.evict(c.podOn("web/1")))
	},
	"past-budget": func(c *culprit) {
		p := c.podOn("web/1")
		c.cluster(fleet.Action{Verb: fleet.Delete, Pod: p.Ref, Node: p.Node, Grace: p.Grace})
	},
	"graceful": func(c *culprit) {
		c.play(3 * time.Minute)
		_, err := c.w.Cloud.TerminateInstances([]string{c.instanceOn(c.nodeAt("web/1"))})
		c.must(err)
		c.play(time.Minute)
	},
	"own-time": func(c *culprit) {
		a := c.evict(c.podOn("web/1"))
		a.Grace = time.Second
		c.cluster(a)
	},
	"held": func(c *culprit) { c.complete("web/1", "drover-terminate") },
	"own-hooks": func(c *culprit) {
		c.act(fleet.Action{Verb: fleet.Heartbeat, Group: "web", Instance: c.instanceOn(c.nodeAt("web/1")), Hook: "backup"}, func() error { return nil })
	},
	"hook-limit": func(c *culprit) {
		c.watch.duty.policy.DrainFor = time.Minute
		c.play(4 * time.Minute)
	},
	"run-out": func(c *culprit) { c.play(10 * time.Minute) },
	"came": func(c *culprit) {
		c.must(c.w.Cloud.PutLifecycleHook(cloud.Hook{Group: "web", Name: "drover-launch", Transition: cloud.HookLaunching}))
		c.must(c.w.Cloud.SetDesiredCapacity("web", 6, false))
		c.play(30 * time.Second)
		c.complete("web/6", "drover-launch")
	},
	"off":      func(c *culprit) { c.w.Cluster.SetReady(c.nodeAt("web/1"), false); c.declareOff("web/1") },
	"retained": func(c *culprit) { c.terminate("web/1") },
	"into-hook": func(c *culprit) {
		in, err := c.member("web/2")
		c.must(err)
		c.watch.doom(in.ID, time.Time{})
		c.cloudAct(fleet.Action{Verb: fleet.Replace, Group: "web", Instance: in.ID, Node: in.PrivateDNS, Hook: "drover-terminate"})
	},
	"on-file": func(c *culprit) {
		c.watch.deletes(fleet.Message{Body: fmt.Sprintf(`{"version":"0","id":"6c9d7a2e-0000-4000-8000-000000000001","detail-type":"EC2 Spot Instance Interruption Warning","source":"aws.ec2",`+
			`"account":"123456789012","time":"2026-11-21T20:10:00Z","region":"eu-west-1","resources":[],"detail":{"instance-id":%q,"instance-action":"terminate"}}`, c.instanceOn(c.nodeAt("web/3")))})
	},
	"kept":  func(c *culprit) { c.watch.poison = append(c.watch.poison, "hello") },
	"stays": func(c *culprit) { c.cluster(fleet.Action{Verb: fleet.Shut, Node: c.nodeAt("web/3")}) },
}

func (c *culprit) podOn(alias string) fleet.Pod {
	node := c.nodeAt(alias)
	pods := c.w.Cluster.Pods(c.owner("http"))
	i := slices.IndexFunc(pods, func(p fleet.Pod) bool { return p.Node == node })
	if i < 0 {
		c.t.Fatalf("%s has no pod", alias)
	}
	return pods[i]
}

func (c *culprit) complete(alias, hook string) {
	in, err := c.member(alias)
	c.must(err)
	c.cloudAct(fleet.Action{Verb: fleet.Complete, Group: "web", Instance: in.ID, Node: in.PrivateDNS, Hook: hook, Result: fleet.Continue})
}

func (c *culprit) declareOff(alias string) {
	c.cluster(fleet.Action{Verb: fleet.OutOfService, Node: c.nodeAt(alias), Expect: fleet.Expect{Off: true}})
}

// patrolling is a stage in the middle of a departure that AWS gave notice of.
func patrolling(t *testing.T) *culprit {
	c := &culprit{NewStage(Variation{Kind: Plain}), t}
	for _, line := range []string{
		"queue", "group web nodes=5 max=8 min=1 zones=a,b", "deployment http replicas=10 budget=8", "hook web", "settle", "terminate web/1 keep", "controller until=shut:1",
	} {
		c.tell(line)
	}
	c.run = fleet.NoticeRun
	if err := c.watch.broken(); err != nil {
		t.Fatalf("broken before: %v", err)
	}
	return c
}
