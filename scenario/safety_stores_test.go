package scenario

import (
	"context"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/store"
)

// storeMisdeeds break the sentences about stores. Each is done when the Sentinels of store orders have moved, and its replica is about to.
var storeMisdeeds = map[string]func(c *culprit){
	"writes": func(c *culprit) {
		c.said("orders-master-0", "CONFIG", "SET", "min-replicas-to-write", "0")
		c.said("orders-sentinel-0", "SENTINEL", "FAILOVER", "mymaster")
		c.play(30 * time.Second) // sticky clients go on writing to the old master, as nobody sends them away
	},
	"last-copy": func(c *culprit) { c.cluster(c.evict(c.podOf("orders-master-0"))) },
	"one-away": func(c *culprit) {
		c.must(c.w.Cluster.Strike(c.podOf("orders-sentinel-0").Ref))
		c.play(3 * time.Second)
		c.cluster(c.evict(c.podOf("orders-replica-0")))
	},
	"engaged": func(c *culprit) {
		c.must(c.w.Cluster.Act(context.Background(), fleet.Action{Verb: fleet.Disengage, Run: c.run, Store: "default/orders"}))
		c.watch.forget()
		c.onStore(fleet.Action{Verb: fleet.Fence_, Pod: c.podOf("orders-master-0").Ref, Fence: fleet.Fence{Replicas: 1, Lag: 2}})
	},
	"consent": func(c *culprit) { c.said("orders-replica-0", "CLUSTER", "FAILOVER", "TAKEOVER") },
	"blind": func(c *culprit) {
		for _, pod := range []string{"orders-sentinel-0", "orders-sentinel-1"} {
			c.said(pod, "SENTINEL", "RESET", "mymaster")
		}
	},
	"one-failover": func(c *culprit) {
		for range 4 {
			c.said("orders-sentinel-0", "SENTINEL", "FAILOVER", "mymaster")
			c.play(time.Minute)
		}
	},
	"tidy": func(c *culprit) {},
}

// podOf is a pod by its name.
func (c *culprit) podOf(name string) fleet.Pod {
	for _, p := range c.w.Cluster.Pods(fleet.Owner{}) {
		if p.Ref.Name == name {
			return p
		}
	}
	c.t.Fatalf("there is no pod %s", name)
	return fleet.Pod{}
}

// said says a command to a pod of a store as drover's hand does. What it answers is no matter.
func (c *culprit) said(pod string, args ...any) {
	conn, err := c.stores.world.Connect(context.Background(), c.stores.at[c.podOf(pod).Ref.UID])
	c.must(err)
	w := &wire{storeHand: c.storeHand(), conn: conn, pod: pod}
	_, _ = w.Do(context.Background(), args...)
	c.must(w.Close())
}

// onStore does an action on store orders as the real hand does it.
func (c *culprit) onStore(a fleet.Action) {
	a.Run, a.Store = c.run, "default/orders"
	h := c.storeHand()
	st := *c.watch.now().s.Store(a.Store)
	h.Observe(context.Background(), &st)
	c.must(h.Act(context.Background(), st, a))
}

// keepingStores is a stage in the middle of a rotation of nodes that bear a store.
func keepingStores(t *testing.T) *culprit {
	c := &culprit{NewStage(Variation{Kind: Plain}), t}
	for _, line := range []string{
		"group web nodes=3 max=6", "sentinel-store orders replicas=1 pinned", "settle", "writers orders sticky=2 rate=10", "publish web", "rotate web surge=3 until=engaged:4",
	} {
		c.tell(line)
	}
	if err := c.watch.broken(); err != nil {
		t.Fatalf("broken before: %v", err)
	}
	return c
}

// A process lives as long as its pod: it is gone with it, and back under another address.
func TestProcessesLiveAsLongAsTheirPods(t *testing.T) {
	c := keepingStores(t)
	before := c.podOf("orders-replica-0")
	addr := c.stores.at[before.Ref.UID]
	c.w.Cluster.DeletePod(before.Ref)
	c.play(time.Minute)
	after := c.podOf("orders-replica-0")
	now := c.stores.at[after.Ref.UID]
	if now == "" || now == addr {
		t.Errorf("the process was at %q and is at %q", addr, now)
	}
	for _, l := range c.stores.looks("default/orders") {
		switch {
		case l.Addr == addr:
			t.Errorf("a process still runs at %s, whose pod is gone", addr)
		case l.Addr == now && (!l.Linked || l.Kind != store.Data):
			t.Errorf("the replica is not in sync a minute after it came back: %+v", l)
		}
	}
}
