package scenario

import (
	"context"
	"testing"
	"time"

	"drover.dev/fleet"
)

// sleepMisdeeds break the sentences about environments. Each is done when the record of a stop has been written, and nothing else.
var sleepMisdeeds = map[string]func(c *culprit){
	"strangers":  func(c *culprit) { c.switching(c.evict(c.w.Cluster.Pods(c.owner("shop"))[0])) },
	"own-things": func(c *culprit) { c.turn(fleet.TurnOff, "shop") },
	"own-subject": func(c *culprit) {
		r := c.partRecord("api")
		other := fleet.Action{Verb: fleet.TurnOff, Environment: "staging", Run: c.run, Part: &r}
		mine := c.partRecord("web")
		c.act(fleet.Action{Verb: fleet.TurnOff, Environment: "staging", Part: &mine}, func() error { return c.w.Cluster.Act(context.Background(), other) })
	},
	"own-nodes": func(c *culprit) { c.markShared(); c.end("shared/1") },
	"on-record": func(c *culprit) {
		c.tell("deployment late ns=staging replicas=1")
		c.turn(fleet.TurnOff, "late")
	},
	"write-once": func(c *culprit) {
		e, _ := c.w.Cluster.Environment("staging")
		r := e.Record.Clone()
		r.Parts[len(r.Parts)-1].Value = "0"
		c.w.Cluster.Undeclare("staging", true)
		c.w.Cluster.Declare("staging", e.Spec)
		c.switching(fleet.Action{Verb: fleet.Remember, Sleep: &r})
	},
	"two-places": func(c *culprit) {
		c.turn(fleet.TurnOff, "web")
		r := c.partRecord("web")
		c.act(fleet.Action{Verb: fleet.Unmark, Environment: "staging", Part: &r}, func() error { return c.w.Cluster.Wipe(c.owner("web")) })
	},
	"synced-first": func(c *culprit) { c.turn(fleet.TurnOff, "web") },
	"front-first":  func(c *culprit) { c.turn(fleet.TurnOff, "api") },
	"data-last":    func(c *culprit) { c.switching(fleet.Action{Verb: fleet.StopDatabase, Database: "instance db"}) },
	"keepers":      func(c *culprit) { c.markShared(); c.end("shared/3") },
	"fights": func(c *culprit) {
		for range 5 {
			c.turn(fleet.TurnOff, "web")
			c.must(c.w.Cluster.WriteBy(c.owner("web"), "2", "tilt"))
			c.watch.forget()
		}
	},
	"protected": func(c *culprit) {
		e, _ := c.w.Cluster.Environment("staging")
		e.Spec.Protected = true
		c.w.Cluster.Declare("staging", e.Spec)
		c.watch.forget()
		c.turn(fleet.TurnOff, "web")
	},
	"asleep": func(*culprit) {},
	"awake": func(c *culprit) {
		c.turn(fleet.TurnOff, "web")
		c.beds.watched.nap.on = true
	},
	"refused": func(c *culprit) { c.watch.endSleep(outcome{kind: blocked}) },
	"once-a-night": func(c *culprit) {
		c.officeHours()
		c.beds.watched.begun["staging"] = []string{"2026-11-23 19:00", "2026-11-23 19:00"}
	},
	"on-time": func(c *culprit) {
		c.officeHours()
		c.beds.watched.vigil = c.w.Now()
		c.play(2 * time.Hour) // it is Saturday night
	},
}

func (c *culprit) officeHours() {
	e, _ := c.w.Cluster.Environment("staging")
	e.Spec.Schedule = scheduleOf(parse([]string{"schedule=08:00-19:00"}))
	c.w.Cluster.Declare("staging", e.Spec)
	c.watch.forget()
}

// switching does an action of the environment's as the real hands do it.
func (c *culprit) switching(a fleet.Action) {
	a.Environment = "staging"
	if a.Verb.Cloud() {
		c.cloudAct(a)
		return
	}
	c.cluster(a)
}

func (c *culprit) partRecord(name string) fleet.PartRecord {
	p, ok := c.w.Cluster.PartOf(c.owner(name))
	if !ok {
		c.t.Fatalf("no part %s", name)
	}
	return fleet.PartRecord{Turn: p.Turn, APIVersion: p.APIVersion, Owner: p.Owner, UID: p.UID, Value: p.Value, Absent: p.Absent}
}

func (c *culprit) turn(verb fleet.Verb, name string) {
	r := c.partRecord(name)
	c.switching(fleet.Action{Verb: verb, Part: &r})
}

func (c *culprit) markShared() {
	g := c.watch.now().s.Group("shared")
	c.switching(fleet.Action{Verb: fleet.MarkGroup, Group: "shared", Bed: &fleet.GroupSleep{Environment: "staging", Run: c.run, Min: g.Min, Max: g.Max, Desired: g.Desired, Suspended: true}})
	c.switching(fleet.Action{Verb: fleet.Suspend, Group: "shared", Process: fleet.AZRebalance})
}

func (c *culprit) end(alias string) {
	in, err := c.member(alias)
	c.must(err)
	c.switching(fleet.Action{Verb: fleet.Terminate, Group: "shared", Instance: in.ID, Node: in.PrivateDNS})
}

// napping is a stage on which a stop has begun: everything is on record, and nothing is switched yet.
func napping(t *testing.T) *culprit {
	c := &culprit{NewStage(Variation{Kind: Plain}), t}
	for _, line := range []string{
		"group shared nodes=4 min=1 max=6", "database db", "settle", "deployment shop ns=production replicas=2 apart", "deployment api ns=staging replicas=1 needs=db",
		"deployment web ns=staging replicas=2 needs=api", "application apps keeps=web", "environment staging ns=staging groups=shared databases=db", "settle",
		"env-stop staging until=noted:1",
	} {
		c.tell(line)
	}
	e, _ := c.w.Cluster.Environment("staging")
	c.run = e.Record.Run
	if err := c.watch.broken(); err != nil {
		t.Fatalf("broken before: %v", err)
	}
	return c
}
