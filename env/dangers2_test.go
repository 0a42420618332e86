package env_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

func TestDanger2StartAfterAnInterruptedSecondStopBringsTooMany(t *testing.T) {
	s := asleep(t, staging())
	up, _ := env.Start(s, "staging", env.Options{})
	for i, e := range up.Forecast.Events { // the nodes are there
		if strings.HasPrefix(e.Action.String(), "turn ") {
			s = env.AfterActions(up, *s, i)
			break
		}
	}
	s.Now = s.Now.Add(time.Hour)
	tick(s, off, 1) // the wrong button, and back at once
	s.Now = s.Now.Add(time.Minute)
	told := tick(s, on, 5)
	if strings.Contains(told, "resize group stg from 2 to 4") || s.Group("stg").Desired > 2 {
		t.Errorf("it had 2 nodes, it has them, and it is to have %d:\n%s", s.Group("stg").Desired, told)
	}
}

func TestDanger2APartThatIsGivenUpIsUnmarkedWhileOff(t *testing.T) {
	s := asleep(t, staging())
	rec := s.Environments[0].Record
	rec.Groups, s.Group("stg").Sleep = nil, nil
	rec.Marks.Starting, rec.Marks.Served = s.Now, s.Now
	rec.Fights = []fleet.Fight{{Subject: "Deployment staging/api", By: "kube-green", Times: 3, Last: s.Now}}
	s.Now = s.Now.Add(5 * time.Hour)
	for i := range s.Parts {
		if p := &s.Parts[i]; p.Namespace == "staging" && p.Name != "api" {
			p.Off, p.Value, p.Ready = false, map[bool]string{true: "2", false: "false"}[p.Turn == fleet.Scaled], 2
		}
	}
	part(s, "Deployment staging/api").By = "kube-green"
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	told := tick(s, on, 6)
	if strings.Contains(told, "unmark Deployment staging/api") {
		t.Errorf("api is off; its mark says how it was, and is taken off (the hand refuses that for ever):\n%s%v", told, on(s).Holds)
	}
}

func TestDanger2PartMarkedByAnotherIsTurnedOffForEver(t *testing.T) {
	for name, mark := range map[string]fleet.PartMark{"another environment's": {Environment: "other", Run: "other-1", UID: "uid-staging-api", Value: "1"}, "a copied one": {Environment: "staging", Run: "staging-0", UID: "uid-else", Value: "1"}} {
		s := half(t, staging(), "turn Deployment staging/api off")
		api := part(s, "Deployment staging/api")
		api.Off, api.Value, api.Mark = true, "0", &mark
		n := 0
		for range 20 {
			step := off(s)
			n += strings.Count(acts(step), "turn Deployment staging/api off")
			for _, a := range step.Actions {
				env.Assume(s, a)
			}
			s.Now = s.Now.Add(time.Second)
		}
		began := time.Now()
		stop(s)
		if took := time.Since(began); n > 2 || took > 2*time.Second {
			t.Errorf("%s: it is off, marked, and turned off %d times in 20 looks, without a hold (%v); a plan of it takes %s", name, n, off(s).Holds, took)
		}
	}
}

func TestDanger2APartThatWasGivenUpLosesItsNode(t *testing.T) {
	s := asleep(t, staging())
	api := part(s, "Deployment staging/api")
	api.Off, api.Value, api.By, api.Ready = false, "1", "hpa", 1
	s.Environments[0].Record.Fights = []fleet.Fight{{Subject: "Deployment staging/api", By: "hpa", Times: 3, Last: s.Now}}
	g := s.Group("stg") // the autoscaler brought a node for it
	g.Desired, g.Instances = 1, []fleet.Instance{{ID: "i-x", Zone: "a", Lifecycle: fleet.InService, Launched: s.Now}}
	s.Nodes = append(s.Nodes, fleet.Node{Name: "x", Instance: "i-x", Ready: true, Created: s.Now})
	pod(s, api.Owner, "api-9", "x")
	s.Now = s.Now.Add(time.Hour)
	told := tick(s, off, 8)
	if strings.Contains(told, "taint node x") || strings.Contains(told, "api-9") {
		t.Errorf("drover says that it leaves api on, and takes the node from under it (one replica more, evicted; the autoscaler brings the next):\n%s", told)
	}
}

func TestDanger2PodsThatAreMadeAgainAndAgainKeepTheStart(t *testing.T) {
	s := asleep(t, staging())
	rec := s.Environments[0].Record
	rec.Groups, s.Group("stg").Sleep = nil, nil
	rec.Marks.Starting, rec.Marks.Served = s.Now, s.Now
	api := part(s, "Deployment staging/api")
	api.Off, api.Value, api.Ready = false, "1", 0
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	told := ""
	for i := range 24 { // its node evicts it every five minutes, for memory; for two hours
		s.Now = s.Now.Add(5 * time.Minute)
		s.Pods = nil
		pod(s, api.Owner, fmt.Sprint("api-", i), "prod-1")
		s.Pods[0].Created, s.Pods[0].Ready = s.Now.Add(-time.Minute), false
		told += tick(s, on, 1)
	}
	if !strings.Contains(told, "turn Deployment staging/web on") {
		t.Errorf("policy.within is an hour; after two it is not given up: %v", on(s).Holds)
	}
}

func late(s *fleet.Snapshot, kind string) *fleet.Part {
	o := fleet.Owner{Kind: kind, Namespace: "staging", Name: "late"}
	s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: o, UID: "uid-late", Value: "1", Ready: 1, Pods: 1})
	fleet.SortParts(s.Parts)
	pod(s, o, "late-0", "stg-1")
	return s.Part(o)
}

func TestDanger2LatePartWithItsOnlyCopyLosesItsNode(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	late(s, "StatefulSet").Scratch = "emptyDir data"
	if told := tick(s, off, 10); strings.Contains(told, "terminate i-stg-1") || strings.Contains(told, "late-0") {
		t.Errorf("it is left on, for its data is in an emptyDir; its pod is evicted:\n%s%v", told, off(s).Holds)
	}
}

func TestDanger2LatePartOfTwoLosesItsNode(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	late(s, "Deployment")
	second(func(o *fleet.EnvironmentSpec) {
		o.Workloads = []fleet.Selection{{Kind: "Deployment", Name: "late", Namespaces: []string{"staging"}}}
	})(s)
	if told := tick(s, off, 10); strings.Contains(told, "taint node stg-1") || strings.Contains(told, "late-0") {
		t.Errorf("it is environment other's too, and left on; its pod is no guest, and is moved:\n%s%v", told, off(s).Holds)
	}
}

func TestDanger2ForcedOnceCannotBeForcedAgain(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Databases[0].Answer.Sessions = []fleet.Session{{User: "u", From: "10.9.9.9"}}
	})
	s = asleep(t, s, "env-sessions")
	s.Now = s.Now.Add(7 * 24 * time.Hour)
	s.Databases[0].Status = fleet.DatabaseAvailable
	s.Databases[0].Answer = &fleet.Answer{Works: true, Login: true, Sessions: []fleet.Session{{User: "report", From: "10.8.8.8"}}}
	if said := fmt.Sprint(off(s).Holds); !strings.Contains(said, "--force env-sessions") {
		t.Fatal(said)
	}
	p, _ := stop(s, "env-sessions")
	if step := env.Next(p, *s); !strings.Contains(acts(step), "stop database") {
		t.Errorf("forced as it says, and still: %v", step.Holds)
	}
}

func TestDanger2PendingPodFarAwayKeepsAllNodesThatCame(t *testing.T) {
	s := asleep(t, staging())
	pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "gpu"}, "gpu-0", "")
	s.Pods[len(s.Pods)-1].Selector = map[string]string{"gpu": "true"} // no node of stg could ever take it
	g := s.Group("stg")
	g.Desired, g.Instances = 1, []fleet.Instance{{ID: "i-x", Zone: "a", Lifecycle: fleet.InService, Launched: s.Now}}
	s.Nodes = append(s.Nodes, fleet.Node{Name: "x", Instance: "i-x", Ready: true, Created: s.Now})
	s.Now = s.Now.Add(5 * time.Hour)
	if told := tick(s, off, 10); !strings.Contains(told, "terminate i-x") {
		t.Errorf("prod/gpu-0 waits for a gpu since long; node x is none, is 5 hours old, and stays: %v", off(s).Holds)
	}
}

func TestDanger2NeighboursPodsOnAnExitWhileTheSurgeIsOpen(t *testing.T) {
	s := half(t, staging(), "mark database")
	w := fleet.Workload{Owner: fleet.Owner{Kind: "Deployment", Namespace: "kube-system", Name: "metrics"}, Replicas: 2, Surge: &fleet.SurgeMark{Run: "staging-1", Pod: "x", Replicas: 1}}
	s.Workloads = append(s.Workloads, w)
	pod(s, w.Owner, "metrics-new", "prod-2")
	if told := tick(s, on, 4); !strings.Contains(told, "unsurge") { // a start takes over before that was taken back
		for range 40 {
			s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
			told += tick(s, on, 1)
		}
		if !strings.Contains(told, "unsurge") {
			t.Errorf("nobody takes the replica back in a start:\n%s", told)
		}
	}
}

func TestDanger2KeysChangeWithTheClock(t *testing.T) {
	s := asleep(t, staging())
	a := on(s).Actions[0]
	s.Now = s.Now.Add(time.Second)
	b := on(s).Actions[0]
	if a.Verb == fleet.Remember && a.Key() != b.Key() {
		t.Errorf("the same effect, asked for a second later, has another key, so a refusal never makes it wait (and backoffs pile up):\n%s\n%s", a.Key(), b.Key())
	}
}

func TestDanger2MoneyOfADatabaseThatWasOff(t *testing.T) {
	p, _ := stop(staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Rates = []fleet.Rate{{Subject: "instance stg", On: 10, Off: 1, Currency: "USD"}}
		s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseStopped, nil
	}))
	for _, r := range p.Record.Rates {
		if r.On == 10 {
			t.Errorf("it was stopped before, and its 9 USD/h are counted as saved: %+v", p.Money)
		}
	}
}

func TestDanger2NewInstanceWithoutALaunchTime(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
		g := s.Group("stg")
		g.Instances, g.Desired = append(g.Instances, fleet.Instance{ID: "i-new", Zone: "a", Type: "m5.large", Lifecycle: fleet.Pending}), 3
	})
	p, _ := stop(s)
	if told := tell(p.Forecast); strings.Contains(told, "terminate i-new") {
		t.Errorf("Pending, no node, no launch time: nobody knows whose it is:\n%s", told)
	}
}

func TestDanger2UnplannedTargetsAfterTheRecord(t *testing.T) { // the record's targets are those of the plan; a target group attached since is deregistered as well
	s := half(t, staging(), "taint node")
	balanced(s)
	told := tick(s, off, 3)
	for i := range s.Group("stg").Instances {
		s.Group("stg").Instances[i].Targets = nil
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, fmt.Sprint("late-", i), fmt.Sprint("stg-", i+1))
	}
	if !strings.Contains(told, "deregister") {
		t.Fatal(told)
	}
	if told = tick(s, off, 4); !strings.Contains(told, "register ") {
		t.Errorf("deregistered from shop, which was attached after the plan; they stay, and are not registered again:\n%s", told)
	}
}

func TestDanger2NodesOfASecondSleepAreRegisteredAgain(t *testing.T) { // nodes that a half start brought are in no Departure with targets
	s := asleep(t, staging(balanced))
	up, _ := env.Start(s, "staging", env.Options{})
	for i, e := range up.Forecast.Events {
		if strings.HasPrefix(e.Action.String(), "turn ") {
			s = env.AfterActions(up, *s, i)
			break
		}
	}
	balanced(s)
	s.Now = s.Now.Add(time.Hour)
	told := ""
	for range 30 { // stopped again, until they are out of their load balancer
		told += tick(s, off, 1, func() {
			s.Pods = nil
		})
		if strings.Contains(told, "deregister") {
			break
		}
	}
	if !strings.Contains(told, "deregister") {
		t.Fatal(told)
	}
	for i := range s.Group("stg").Instances {
		s.Group("stg").Instances[i].Targets = nil
	}
	if told = tick(s, on, 12, func() {
		s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	}); !strings.Contains(told, "register ") {
		t.Errorf("they stay for the start, and are in no load balancer:\n%s", told)
	}
}

func TestDanger2DatabaseTakenOutOfTheSpecIsNeverAsked(t *testing.T) {
	s := asleep(t, staging())
	s.Environments[0].Spec.Databases = nil
	tick(s, on, 3)
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, nil // engine.matters: only what the spec names is asked
	if said := fmt.Sprint(on(s).Holds); strings.Contains(said, "whether it answers is not known yet") {
		t.Errorf("it is out of the spec, so the controller never asks it, so the start never goes on: %s", said)
	}
}

func TestDanger2CarriedPodGoesToANodeThatGoesToo(t *testing.T) { // plan of one counts the room of the other's nodes
	s := staging(func(s *fleet.Snapshot) {
		group(s, "qa", 1, "qa-1")
		deploy(s, "kube-system", "big", 1, false, "stg-1")
		deploy(s, "kube-system", "big2", 1, false, "qa-1")
		for i := range s.Pods {
			if strings.HasPrefix(s.Pods[i].Ref.Name, "big") {
				s.Pods[i].Requests.CPU = 3000
			}
		}
		for _, n := range []string{"prod-1", "prod-2"} {
			s.Node(n).Room.CPU = 500
		}
		deploy(s, "qa", "web", 1, false, "qa-1")
		fleet.SortParts(s.Parts)
		s.Environments = append(s.Environments, fleet.Environment{Name: "qa", Source: "Environment qa", Spec: fleet.EnvironmentSpec{Workloads: []fleet.Selection{{Namespaces: []string{"qa"}}}, Groups: []string{"qa"}}})
	})
	began := time.Now()
	a, _ := env.Stop(s, "staging", env.Options{Run: "staging-1"})
	t.Log(len(a.Record.Exits), a.Forecast.Stuck, time.Since(began))
}
