package env_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

func off(s *fleet.Snapshot) env.Step { return env.Next(env.Plan{Environment: "staging"}, *s) }
func on(s *fleet.Snapshot) env.Step  { return env.Next(env.Plan{Environment: "staging", On: true}, *s) }

func acts(step env.Step) string {
	var b strings.Builder
	for _, a := range step.Actions {
		fmt.Fprintln(&b, a)
	}
	return b.String()
}

// half carries a stop out until an action begins so, and returns the world before that one.
func half(t *testing.T, s *fleet.Snapshot, until string) *fleet.Snapshot {
	t.Helper()
	p, found := stop(s)
	if b := blocking(found); b != "" {
		t.Fatal(b)
	}
	for i, e := range p.Forecast.Events {
		if strings.HasPrefix(e.Action.String(), until) {
			return env.AfterActions(p, *s, i)
		}
	}
	t.Fatalf("no %q in\n%s", until, tell(p.Forecast))
	return nil
}

func TestDangerNewInstanceForTheNeighbourIsPlannedToGo(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-10", "") // waits for the node that comes
		g := s.Group("stg")
		g.Instances, g.Desired = append(g.Instances, fleet.Instance{ID: "i-new", Zone: "a", Type: "m5.large", Lifecycle: fleet.Pending, Launched: noon.Add(-20 * time.Second)}), 3
	})
	p, _ := stop(s)
	if told := tell(p.Forecast); strings.Contains(told, "terminate i-new") {
		t.Errorf("the autoscaler launched i-new for prod/web-10 20 s ago, and it is ended:\n%s", told)
	}
}

func TestDangerNeighboursScaleUpWhileAsleepIsEnded(t *testing.T) {
	s := asleep(t, staging())
	pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "")
	g := s.Group("stg")
	s.Now = s.Now.Add(time.Hour)
	g.Instances, g.Desired = append(g.Instances, fleet.Instance{ID: "i-new", Zone: "a", Type: "m5.large", Lifecycle: fleet.Pending, Launched: s.Now}), 1
	for range 8 {
		step := off(s)
		if told := acts(step); strings.Contains(told, "terminate i-new") {
			t.Fatalf("the node that comes for prod/web-9 is ended before the pod can be bound:\n%s", told)
		}
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
}

func TestDangerCarryMovesAnotherEnvironmentsPods(t *testing.T) {
	s := staging(second(func(o *fleet.EnvironmentSpec) { o.Workloads = []fleet.Selection{{Namespaces: []string{"prod"}}} }), func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Policy.Carry = []string{"kube-system", "prod"}
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	})
	p, found := stop(s)
	if len(p.Record.Exits) != 1 || !strings.Contains(fmt.Sprint(found), "of environment other") {
		t.Errorf("exits %v carry %v: pods of environment other are moved as nobody's", p.Record.Exits, p.Carried)
	}
}

func TestDangerForeignDaemonSetThatLosesAllItsNodes(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		ds := fleet.Owner{Kind: "DaemonSet", Namespace: "prod", Name: "ingress"}
		pod(s, ds, "ingress-a", "stg-1")
		pod(s, ds, "ingress-b", "stg-2")
	})
	_, found := stop(s)
	if !strings.Contains(fmt.Sprint(found), "prod/ingress") {
		t.Errorf("DaemonSet prod/ingress runs on staging's nodes only and loses all its pods; no finding names it: %v", found)
	}
}

func TestDangerGroupMarkedByAnotherEnvironmentLosesNodes(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	s.Group("stg").Sleep = &fleet.GroupSleep{Environment: "other", Run: "other-1", Min: 2, Max: 6, Desired: 2}
	for range 5 {
		step := off(s)
		if told := acts(step); strings.Contains(told, "taint") || strings.Contains(told, "terminate") {
			t.Fatalf("the group is another environment's (%v), and:\n%s", step.Holds, told)
		}
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
}

func TestDangerStartResizesAGroupOfAnotherEnvironment(t *testing.T) {
	s := asleep(t, staging())
	s.Group("stg").Sleep = &fleet.GroupSleep{Environment: "other", Run: "other-1", Min: 2, Max: 6, Desired: 2}
	for range 3 {
		step := on(s)
		if told := acts(step); strings.Contains(told, "resize") {
			t.Fatalf("the group sleeps for environment other:\n%s", told)
		}
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
}

func TestDangerAZRebalanceComesBackOverUnevenZones(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-2")
	}))
	g := s.Group("stg") // zone a has no capacity: the new one came in b, beside the neighbour's
	g.Desired, g.Min = 2, 2
	g.Instances = append(g.Instances, fleet.Instance{ID: "i-n", Zone: "b", Lifecycle: fleet.InService, Launched: s.Now})
	s.Nodes = append(s.Nodes, fleet.Node{Name: "n", Instance: "i-n", Zone: "b", Ready: true})
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); strings.Contains(told, "resume AZRebalance") && strings.Contains(told, "unprotect") {
		t.Errorf("zones a 0, b 2: AWS evens them out by ending a node of b that nobody drained, the neighbour's for one:\n%s", told)
	}
}

func TestDangerScaledObjectKeepsItsDeploymentDownDuringTheStart(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Held, APIVersion: "keda.sh/v1alpha1", Owner: fleet.Owner{Kind: "ScaledObject", Namespace: "staging", Name: "api"}, UID: "uid-so", Absent: true,
			Scales: fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "api"}})
		fleet.SortParts(s.Parts)
	}))
	for range 60 {
		step := on(s)
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
		if s.Environments[0].Record == nil {
			return
		}
		db, g := &s.Databases[0], s.Group("stg")
		db.Status, db.Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
		for len(g.Instances) < g.Desired {
			id := fmt.Sprint("i-n", len(g.Instances))
			g.Instances = append(g.Instances, fleet.Instance{ID: id, Lifecycle: fleet.InService})
			s.Nodes = append(s.Nodes, fleet.Node{Name: id, Instance: id, Ready: true})
		}
		for i := range s.Parts { // pods are Ready at once; KEDA keeps what is paused at 0 at 0
			p := &s.Parts[i]
			p.Ready = map[bool]int{true: 0, false: 2}[p.Off]
		}
		if so, api := part(s, "ScaledObject staging/api"), part(s, "Deployment staging/api"); so.Off {
			api.Off, api.Value, api.Ready = true, "0", 0
		}
		s.Now = s.Now.Add(30 * time.Second)
	}
	t.Errorf("after 30 minutes it is still:\n%s%v", acts(on(s)), on(s).Holds)
}

func TestDangerSlowDatabaseTakesAllGatesAway(t *testing.T) {
	s := asleep(t, staging())
	rec := s.Environments[0].Record
	rec.Marks.Starting = s.Now
	s.Now = s.Now.Add(70 * time.Minute) // RDS took that long, or drover was away or paused
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	s.Group("stg").Sleep.Suspended = false
	rec.Groups, s.Group("stg").Sleep = nil, nil
	for range 12 {
		step := on(s)
		for _, a := range step.Actions {
			if a.Verb == fleet.TurnOn && a.Part.Name == "web" && part(s, "Deployment staging/api").Ready == 0 {
				t.Fatalf("web is switched on before api has a pod: the hour of policy.within was over before api was switched on")
			}
			env.Assume(s, a)
		}
		s.Now = s.Now.Add(time.Second)
	}
}

func TestDangerForceComesTooLate(t *testing.T) {
	s := asleep(t, staging())
	s.Databases[0].Status = fleet.DatabaseAvailable
	s.Databases[0].Answer = &fleet.Answer{Works: true, Login: true, Sessions: []fleet.Session{{User: "u", From: "10.9.9.9"}}}
	if said := fmt.Sprint(off(s).Holds); !strings.Contains(said, "--force env-sessions") {
		t.Fatal(said)
	}
	p, _ := stop(s, "env-sessions") // as the hold says
	if step := env.Next(p, *s); !strings.Contains(acts(step), "stop database") {
		t.Errorf("forced as it says, and still: %v", step.Holds)
	}
}

func TestDangerTwoFightsAtOnceAreNotCounted(t *testing.T) {
	s := asleep(t, staging())
	count := map[string]int{}
	for range 30 {
		for _, id := range []string{"Deployment staging/api", "Deployment staging/web"} {
			p := part(s, id)
			p.Off, p.Value, p.By = false, "1", "argocd-controller"
		}
		step := off(s)
		keys := map[string]string{}
		for _, a := range step.Actions {
			if a.Verb == fleet.TurnOff {
				count[a.Part.ID()]++
			}
			if a.Verb == fleet.Remember {
				if was, twice := keys[a.Key()]; twice && was != fmt.Sprint(a.Sleep.Fights) {
					t.Logf("two actions with key %q that differ: %s and %v", a.Key(), was, a.Sleep.Fights)
				}
				keys[a.Key()] = fmt.Sprint(a.Sleep.Fights)
			}
			env.Assume(s, a)
		}
		s.Now = s.Now.Add(15 * time.Second)
	}
	for id, n := range count {
		if n > 4 {
			t.Errorf("%s was switched off %d times; policy.fights is 3", id, n)
		}
	}
}

func TestDangerStopAgainAfterAFightDoesNothing(t *testing.T) {
	s := asleep(t, staging())
	api := part(s, "Deployment staging/api")
	api.Off, api.Value, api.By = false, "1", "hpa"
	s.Environments[0].Record.Fights = []fleet.Fight{{Subject: "Deployment staging/api", By: "hpa", Times: 3}}
	if said := fmt.Sprint(off(s).Holds); !strings.Contains(said, "drover env stop staging") {
		t.Fatal(said)
	}
	p, _ := stop(s) // as the hold says
	if step := env.Next(p, *s); len(step.Actions) == 0 {
		t.Errorf("asked for as it says, and still: %v", step.Holds)
	}
}

func TestDangerAFightOverGitOpsLeavesTheDatabaseRunning(t *testing.T) {
	s := asleep(t, staging(gitops("")))
	app := part(s, "Application argocd/stg")
	app.Off, app.By = false, "argocd-controller"
	s.Environments[0].Record.Fights = []fleet.Fight{{Subject: "Application argocd/stg", By: "argocd-controller", Times: 3}}
	s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true, Login: true}
	if step := off(s); !strings.Contains(acts(step), "stop database") {
		t.Errorf("an Application that nobody may pause any more, all workloads off, and the database that RDS started again runs for ever: %v", step.Holds)
	}
}

func TestDangerGroupGoneAndTakenOutOfTheEnvironment(t *testing.T) {
	s := asleep(t, staging())
	s.Groups = s.Groups[1:]
	s.Environments[0].Spec.Groups = nil // as the hold says
	for range 4 {
		for _, a := range on(s).Actions {
			env.Assume(s, a)
		}
		s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	}
	if step := on(s); strings.Contains(fmt.Sprint(step.Holds), "group stg") {
		t.Errorf("taken out as it says, and still: %v", step.Holds)
	}
}

func TestDangerDatabaseGoneAndTakenOutOfTheEnvironment(t *testing.T) {
	s := asleep(t, staging())
	s.Databases[0] = fleet.Database{ID: "instance stg", Trouble: "RDS knows no instance stg"}
	s.Environments[0].Spec.Databases = nil // as finding env-database says: mend that
	if _, found := env.Start(s, "staging", env.Options{}); blocking(found) != "" {
		t.Errorf("the environment can never be started again: %s", blocking(found))
	}
}

func TestDangerRecreatedPartIsEvictedOntoTheNeighbour(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	api := part(s, "Deployment staging/api") // helm deletes it and makes it again
	api.UID, api.Off, api.Value, api.Mark, api.By, api.Ready = "uid-2", false, "1", nil, "helm", 1
	pod(s, api.Owner, "api-new", "stg-1")
	for range 8 {
		step := off(s)
		if told := acts(step); strings.Contains(told, "evict pod staging/api-new") {
			t.Fatalf("it is left as it is (%v), and its pod is evicted, to run on production's nodes:\n%s", step.Holds, told)
		}
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
}

func TestDangerConcludedWhileARecreatedPartIsOff(t *testing.T) {
	s := asleep(t, staging())
	api := part(s, "Deployment staging/api") // restored from a backup that was made while it slept
	api.UID, api.Mark = "uid-2", nil
	s = env.After(first(env.Start(s, "staging", env.Options{})), *s)
	if api := part(s, "Deployment staging/api"); s.Environments[0].Record == nil && api.Off {
		t.Errorf("the record is gone, and api is at %s: it had 1 (%v)", api.Value, s.Environments[0].Sleeps[0].Exceptions)
	}
}

func TestDangerLatePartsAreNotInTheSecondCopy(t *testing.T) {
	s := asleep(t, staging())
	deploy(s, "staging", "late", 1, false, "prod-1")
	fleet.SortParts(s.Parts)
	for range 4 {
		step := off(s)
		for _, a := range step.Actions {
			if a.Verb == fleet.Archive {
				return
			}
			if a.Verb == fleet.TurnOff {
				t.Fatalf("it is switched off, and the second copy knows nothing of it: Copied is %q still", s.Environments[0].Copied)
			}
			env.Assume(s, a)
		}
	}
}

func TestDangerLateGitOpsIsNotPaused(t *testing.T) {
	s := asleep(t, staging())
	app := fleet.Owner{Kind: "Application", Namespace: "argocd", Name: "late"}
	deploy(s, "staging", "late", 1, false, "prod-1")
	s.Parts[len(s.Parts)-1].Apps = []fleet.Owner{app}
	s.Parts = append(s.Parts, fleet.Part{Turn: fleet.Unsynced, APIVersion: "argoproj.io/v1alpha1", Owner: app, UID: "uid-late-app", Absent: true})
	fleet.SortParts(s.Parts)
	told := ""
	for range 8 {
		step := off(s)
		told += acts(step)
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
	if !strings.Contains(told, "turn Application argocd/late off") {
		t.Errorf("a deployment came with its Application; that is not paused, and will put it back:\n%s", told)
	}
}

func TestDangerLatePartOfAnotherEnvironment(t *testing.T) {
	s := asleep(t, staging())
	deploy(s, "staging", "late", 1, false, "prod-1")
	fleet.SortParts(s.Parts)
	second(func(o *fleet.EnvironmentSpec) { o.Workloads = []fleet.Selection{{Kind: "Deployment", Name: "late"}} })(s)
	told := ""
	for range 6 {
		step := off(s)
		told += acts(step)
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
	}
	if strings.Contains(told, "turn Deployment staging/late off") {
		t.Errorf("it belongs to environment other too (finding env-overlap), and is switched off:\n%s", told)
	}
}

func TestDangerJobThatBeganDuringTheStopLosesItsBackend(t *testing.T) {
	s := half(t, staging(), "turn Deployment staging/web off")
	s.Busy = []fleet.Busy{{Code: "env-jobs", Subject: "Job staging/report-1", Reason: "runs", Owner: fleet.Owner{Kind: "Job", Namespace: "staging", Name: "report-1"}}}
	told := ""
	for range 8 {
		step := off(s)
		told += acts(step)
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
		s.Pods = nil
	}
	if strings.Contains(told, "turn Deployment staging/api off") {
		t.Errorf("its CronJob began it just before it was suspended; what it talks to is switched off under it:\n%s", told)
	}
}

func TestDangerRepairOfAWholeRecordTurnsOnWhatWasOff(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		deploy(s, "staging", "legacy", 0, false, "stg-1")
		s.Parts[len(s.Parts)-1].Off = true
		s.Workloads[len(s.Workloads)-1].Scaler = &fleet.Scaler{Name: "legacy", Min: 2}
		fleet.SortParts(s.Parts)
	}))
	made, _ := env.Repair(s, "staging", nil)
	if made.Differs || made.Record.Part(fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "legacy"}) != nil {
		t.Errorf("the record on file is whole, and the repair adds legacy, which was off before: %v", made.Sources)
	}
}

func TestDangerRepairLosesTheCapacityOfAServerlessDatabase(t *testing.T) {
	lower := 0.5
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Databases[0].Lower = &lower
		s.Databases[0].MinACU, s.Databases[0].MaxACU = 4, 16
	}))
	s.Environments[0].Record = nil
	made, found := env.Repair(s, "staging", nil)
	if got := made.Record.Databases[0]; got.MinACU == lower && !strings.Contains(fmt.Sprint(found), "instance stg") {
		t.Errorf("its least capacity was 4; the repaired record says %g, and no finding says that it is lost: %v", got.MinACU, found)
	}
}

func TestDangerRepairStartsADatabaseThatWasStopped(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) { s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseStopped, nil }))
	s.Environments[0].Record = nil
	made, _ := env.Repair(s, "staging", nil)
	if d := made.Record.Databases; len(d) > 0 && d[0].Status != fleet.DatabaseStopped {
		t.Errorf("it was stopped before the sleep; repaired, it is %s", d[0].Status)
	}
}

func TestDangerRepairUnprotectsWhatWasProtected(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
		s.Group("stg").Instances[0].Protected = true
	}))
	s.Environments[0].Record = nil
	made, found := env.Repair(s, "staging", nil)
	s.Environments[0].Record = &made.Record
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); strings.Contains(told, "unprotect") {
		t.Errorf("the neighbour's node was protected before; the start takes that off (%v):\n%s", found, told)
	}
}

func TestDangerStaleMarkMakesAnOldSleepTheOneToRepair(t *testing.T) {
	s := staging()
	s.Environments[0].Sleeps = []fleet.Sleep{{Run: "staging-0", Awake: noon.Add(-24 * time.Hour)}}
	api := part(s, "Deployment staging/api") // kubectl rollout undo brought the annotation back
	api.Mark = &fleet.PartMark{Environment: "staging", Run: "staging-0", UID: api.UID, Value: "1"}
	if made, _ := env.Repair(s, "staging", nil); made.Record.Run == "staging-0" {
		t.Errorf("sleep staging-0 is over (it is in the history), everything is on, and a record of it is made: %+v", made.Record.Parts)
	}
}

func TestDangerForeignTagOnADatabase(t *testing.T) {
	s := half(t, staging(), "mark database")
	s.Databases[0].Mark = "other other-1"
	if step := off(s); strings.Contains(acts(step), "stop database") {
		t.Errorf("another environment has switched it (%s), and it is stopped: %v", s.Databases[0].Mark, step.Holds)
	}
}

func TestDangerStrangerBehindTheSameIP(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "exporter"}, "exporter", "stg-1")
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "api"}, "api-host", "stg-1")
		for i := range 2 { // both use the host's network
			s.Pods[len(s.Pods)-1-i].IP = "10.1.0.1"
		}
		s.Databases[0].Answer.Sessions = []fleet.Session{{User: "exporter", From: "10.1.0.1"}}
	})
	if _, found := stop(s); !strings.Contains(blocking(found), "env-sessions") {
		t.Errorf("a pod of production has the same address; who is connected is not known, and nothing is said: %v", found)
	}
}

func TestDangerGroupOfAnotherCluster(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Groups = append(s.Groups, fleet.Group{Name: "theirs", Cluster: "other-cluster", Max: 5})
		s.Environments[0].Spec.Groups = []string{"stg", "theirs"}
	})
	_, found := stop(s)
	if !strings.Contains(blocking(found), "env-group") {
		t.Errorf("group theirs is of another cluster, and has no nodes just now: what it launches would be ended as staging's: %v", found)
	}
}

func TestDangerBrokenNodeOfTheNeighbourKeepsTheStart(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	}))
	s.Node("stg-1").Ready = false
	p, _ := env.Start(s, "staging", env.Options{})
	w := env.After(p, *s)
	if w.Environments[0].Record != nil {
		t.Errorf("staging cannot start because of the neighbour's node: %v", p.Forecast.Stuck)
	}
}

func TestDangerStopAtNightHoldsThroughTheNextDay(t *testing.T) {
	e := fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: office()}, Wish: &fleet.Wish{On: false, By: "ada", At: vienna(t, "2026-11-18 22:00")}}
	if got := env.Want(&e, vienna(t, "2026-11-19 10:00")); !got.On {
		t.Errorf("ada stopped it at 22:00, after working late; the schedule said off already. Next morning nobody can work: %s", got.Why)
	}
}

func TestDangerEnvironmentTakesDroverItself(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		deploy(s, "kube-system", "drover", 1, false, "stg-1")
		fleet.SortParts(s.Parts)
		s.Environments[0].Spec.Workloads = []fleet.Selection{{Labels: fleet.Term{{Key: "env", Operator: "NotIn", Values: []string{"prod"}}}}}
	})
	p, found := stop(s)
	if b := blocking(found); b == "" {
		t.Errorf("a selector that everything without a label meets switches the whole cluster off, production, DNS and drover with it:\n%s", tell(p.Forecast))
	}
}

func TestDangerStartFightsWithoutEnd(t *testing.T) {
	s := asleep(t, staging())
	s.Environments[0].Record.Groups, s.Group("stg").Sleep = nil, nil
	n, named := 0, false
	for range 40 {
		step := on(s)
		for _, a := range step.Actions {
			if a.Verb == fleet.TurnOn && a.Part.Name == "api" {
				n++
			}
			env.Assume(s, a)
		}
		named = named || strings.Contains(fmt.Sprint(step.Holds), "kube-green")
		api := part(s, "Deployment staging/api")
		api.Off, api.Value, api.By = true, "0", "kube-green"
		s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
		s.Now = s.Now.Add(15 * time.Second)
	}
	if n > 4 || !named {
		t.Errorf("somebody else switches it off each time: it is switched on %d times, and who it is is said: %v", n, named)
	}
}

// tick carries out what Next says, n times, a second apart, and tells it.
func tick(s *fleet.Snapshot, next func(*fleet.Snapshot) env.Step, n int, between ...func()) string {
	told := ""
	for range n {
		step := next(s)
		told += acts(step)
		for _, a := range step.Actions {
			env.Assume(s, a)
		}
		for _, b := range between {
			b()
		}
		s.Now = s.Now.Add(time.Second)
	}
	return told
}

func TestDangerCarriedSinglePodLeavesItsSurgeBehind(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) { deploy(s, "kube-system", "metrics", 1, false, "stg-1") })
	p, found := stop(s)
	if len(p.Forecast.Stuck) > 0 || blocking(found) != "" {
		t.Errorf("the forecast is stuck: %v %v", p.Forecast.Stuck, found)
	}
	if told := tell(p.Forecast); strings.Contains(told, "surge Deployment kube-system/metrics") && !strings.Contains(told, "unsurge") {
		t.Errorf("one replica more for kube-system/metrics, which nobody takes back:\n%s", told)
	}
}

func TestDangerTwoFightsInOneTierAreNotCounted(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) { deploy(s, "staging", "worker", 1, false, "stg-1"); fleet.SortParts(s.Parts) }))
	count, keys := map[string]int{}, map[string]map[string]bool{}
	for range 30 {
		for _, id := range []string{"Deployment staging/api", "Deployment staging/worker"} {
			p := part(s, id)
			p.Off, p.Value, p.By = false, "1", "argocd-controller"
		}
		for _, a := range off(s).Actions {
			if a.Verb == fleet.TurnOff {
				count[a.Part.ID()]++
			}
			if a.Verb == fleet.Remember {
				k := a.Key() + s.Now.String()
				if keys[k] == nil {
					keys[k] = map[string]bool{}
				}
				if keys[k][fmt.Sprint(a.Sleep.Fights)] = true; len(keys[k]) == 2 {
					t.Errorf("rule 3: two actions of one step with the key %q that differ: %v", a.Key(), keys[k])
					return
				}
			}
			env.Assume(s, a)
		}
		s.Now = s.Now.Add(15 * time.Second)
	}
	for id, n := range count {
		if n > 4 {
			t.Errorf("%s was switched off %d times; policy.fights is 3", id, n)
		}
	}
}

func TestDangerRecreatedPartGetsAReplicaMoreAndMovesOn(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	api := part(s, "Deployment staging/api") // helm deletes it and makes it again
	api.UID, api.Off, api.Value, api.Mark, api.By, api.Ready = "uid-2", false, "1", nil, "helm", 1
	pod(s, api.Owner, "api-new", "stg-1")
	if told := tick(s, off, 10); strings.Contains(told, "surge Deployment staging/api") || strings.Contains(told, "evict pod staging/api-new") {
		t.Errorf("staging is to be off, and its api gets one replica more, on production's nodes:\n%s", told)
	}
}

func TestDangerPodOfTheNeighbourThatHangsOnASilentNode(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "StatefulSet", Namespace: "prod", Name: "db"}, "db-0", "stg-1")
		p := &s.Pods[len(s.Pods)-1]
		p.Terminating, p.Deleted, p.Ready = true, noon.Add(-time.Hour), false
		s.Node("stg-1").Ready = false // cut off from the API server; what runs there runs on
	})
	p, found := stop(s)
	if told := tell(p.Forecast); strings.Contains(told, "terminate i-stg-1") && !strings.Contains(fmt.Sprint(found), "prod/db-0") {
		t.Errorf("production's db-0 may still run there; the machine is ended, and nothing is said of it: %v\n%s", found, told)
	}
}

func balanced(s *fleet.Snapshot) {
	g := s.Group("stg")
	g.Targets = []fleet.TargetGroup{{ARN: "arn:x:targetgroup/shop/1", Name: "shop", Delay: time.Minute}}
	for i := range g.Instances {
		g.Instances[i].Targets = []fleet.Target{{Group: "arn:x:targetgroup/shop/1", State: fleet.TargetHealthy}}
	}
}

func TestDangerLastTargetsOfALoadBalancerAreNotNamed(t *testing.T) {
	p, found := stop(staging(balanced))
	if told := tell(p.Forecast); strings.Contains(told, "from target group shop") && !strings.Contains(fmt.Sprint(found), "shop") {
		t.Errorf("every target of target group shop goes; through NodePorts it may well serve production's pods; no finding names it: %v\n%s", found, told)
	}
}

func TestDangerGuestComesToANodeThatLeftItsLoadBalancer(t *testing.T) {
	s := half(t, staging(balanced), "terminate")
	for i := range s.Group("stg").Instances {
		s.Group("stg").Instances[i].Targets = nil // out
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, fmt.Sprint("late-", i), fmt.Sprint("stg-", i+1))
	}
	told := tick(s, off, 6)
	if !strings.Contains(told, "untaint") && !strings.Contains(told, "include") || strings.Contains(told, "terminate") {
		t.Fatalf("that is not what this is about:\n%s", told)
	}
	if !strings.Contains(told, "register ") {
		t.Errorf("the nodes stay, and get no requests from shop any more:\n%s", told)
	}
}

func TestDangerStartAfterAHalfStopLeavesNodesOutOfTheLoadBalancer(t *testing.T) {
	s := half(t, staging(balanced), "terminate")
	for i := range s.Group("stg").Instances {
		s.Group("stg").Instances[i].Targets = nil
	}
	p, _ := env.Start(s, "staging", env.Options{})
	told := tell(p.Forecast)
	if strings.Contains(told, "conclude") && !strings.Contains(told, "register ") {
		t.Errorf("both nodes stay, are out of target group shop, and the start concludes:\n%s", told)
	}
}

func TestDangerGroupWhoseTagIsLostIsNeverBroughtBack(t *testing.T) {
	s := asleep(t, staging())
	s.Group("stg").Sleep = nil // terraform apply takes tags off that it does not know
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); !strings.Contains(told, "resize group stg from 0 to 2") {
		t.Errorf("the record says that it had 2 nodes and a minimum of 2; the start goes on without:\n%s", told)
	}
}

func TestDangerTypoInAScheduleTurnsAStartIntoAStop(t *testing.T) {
	e := fleet.Environment{Spec: fleet.EnvironmentSpec{Schedule: &fleet.Schedule{Zone: "Mars/Base"}}, Record: &fleet.SleepRecord{Run: "r", Marks: fleet.SleepMarks{Starting: noon}}}
	if got := env.Want(&e, noon); !got.On {
		t.Errorf("it is on its way on, its schedule cannot be read, and: %+v (the engine goes by On when there is a record)", got)
	}
}

func TestDangerNameWithoutNamespaceTakesTheNeighboursToo(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Workloads = []fleet.Selection{{Kind: "Deployment", Name: "web"}}
	})
	p, found := stop(s)
	if told := tell(p.Forecast); strings.Contains(told, "turn Deployment prod/web off") {
		t.Errorf("a name without namespaces is one workload in every namespace: %v\n%s", found, told)
	}
}

func TestDangerTierThatIsEmptyBreaksTheOrder(t *testing.T) {
	p, _ := stop(staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Order = []fleet.Tier{
			{Name: "api", Workloads: []fleet.Selection{{Kind: "Deployment", Name: "api"}}, Needs: []string{"mid"}},
			{Name: "mid", Workloads: []fleet.Selection{{Kind: "Deployment", Name: "off-today"}}, Needs: []string{"web"}},
			{Name: "web", Workloads: []fleet.Selection{{Kind: "Deployment", Name: "web"}}},
		}
	}))
	order(t, tell(p.Forecast), "turn Deployment staging/api off", "turn Deployment staging/web off")
}

func TestDangerScaledToZeroByKEDABeforeItIsMarked(t *testing.T) {
	s := half(t, staging(), "turn Deployment staging/api off")
	api := part(s, "Deployment staging/api") // its ScaledObject was held a tier before: KEDA has scaled it to 0
	api.Off, api.Value, api.By = true, "0", "keda-operator"
	told := tick(s, off, 3)
	if !strings.Contains(told, "turn Deployment staging/api off") {
		t.Errorf("no mark is ever written on it: one copy of its original is missing (and env repair from marks takes it for off before):\n%s", told)
	}
}

func TestDangerCopyOfASleepingPartIsNeverSwitchedOff(t *testing.T) {
	s := asleep(t, staging())
	deploy(s, "staging", "api-copy", 1, false, "prod-1") // kubectl get -o yaml | sed | kubectl apply
	m := *part(s, "Deployment staging/api").Mark
	s.Parts[len(s.Parts)-1].Mark = &m
	fleet.SortParts(s.Parts)
	told := tick(s, off, 6)
	if step := off(s); !strings.Contains(told, "turn Deployment staging/api-copy off") && !strings.Contains(fmt.Sprint(step.Holds), "api-copy") {
		t.Errorf("it runs while staging sleeps, and nothing is done or said: %q %v", told, step.Holds)
	}
}

func TestDangerServiceThatNeverHadEndpoints(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		for i := range s.Pods {
			if s.Pods[i].Owner.Name == "api" {
				s.Pods[i].Labels = map[string]string{"app": "api"}
			}
		}
		s.Services = []fleet.Service{{Namespace: "staging", Name: "old", Selector: map[string]string{"app": "api"}}} // wrong port name: none before either
	})
	s = asleep(t, s)
	s.Environments[0].Record.Groups, s.Group("stg").Sleep = nil, nil
	tick(s, on, 6, func() {
		s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseAvailable, &fleet.Answer{Works: true}
	})
	api := part(s, "Deployment staging/api")
	api.Ready, api.Pods = 1, 1
	pod(s, api.Owner, "api-9", "prod-1")
	s.Pods[len(s.Pods)-1].Labels = map[string]string{"app": "api"}
	if step := on(s); strings.Contains(fmt.Sprint(step.Holds), "has no endpoint yet") {
		t.Errorf("it had none before the stop either; the start waits an hour for it: %v", step.Holds)
	}
}

func TestDangerNeighbourGrewOnTheSharedGroup(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	}))
	g := s.Group("stg")
	g.Desired = 2
	g.Instances = append(g.Instances, fleet.Instance{ID: "i-p", Zone: "a", Lifecycle: fleet.InService, Launched: s.Now})
	s.Nodes = append(s.Nodes, fleet.Node{Name: "p", Instance: "i-p", Ready: true})
	pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-10", "p")
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); !strings.Contains(told, "resize group stg from 2 to 3") {
		t.Errorf("staging ended one node of its own, production has taken one since; the start brings none back:\n%s", told)
	}
}

func TestDangerGroupAddedWhileAsleepRunsUnnoticed(t *testing.T) {
	s := asleep(t, staging(func(s *fleet.Snapshot) { group(s, "stg2", 1, "stg2-1") }))
	s.Environments[0].Spec.Groups = []string{"stg", "stg2"}
	s.Environments[0].Spec.Databases = append(s.Environments[0].Spec.Databases, fleet.DatabaseSpec{ID: "instance two"})
	s.Databases = append(s.Databases, fleet.Database{ID: "instance two", Status: fleet.DatabaseAvailable})
	told := tick(s, off, 6)
	if step := off(s); told == "" && len(step.Holds) == 0 {
		t.Errorf("group stg2 and database two are staging's by now and run; the sleep neither ends them nor says so")
	}
}

func TestDangerForceOfOneEveningHoldsForTheWholeSleep(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Databases[0].Answer.Sessions = []fleet.Session{{User: "u", From: "10.9.9.9"}}
	})
	s = asleep(t, s, "env-sessions")
	s.Now = s.Now.Add(7 * 24 * time.Hour)
	s.Databases[0].Status = fleet.DatabaseAvailable // AWS has started it; production's report job has connected since
	s.Databases[0].Answer = &fleet.Answer{Works: true, Login: true, Sessions: []fleet.Session{{User: "report", From: "10.8.8.8"}}}
	if told := acts(off(s)); strings.Contains(told, "stop database") {
		t.Errorf("ada overrode user u a week ago; user report is cut off today: %s", told)
	}
}

func TestDangerStartOfAStoppedLoweredDatabase(t *testing.T) {
	lower := 0.5
	s := asleep(t, staging(func(s *fleet.Snapshot) {
		s.Environments[0].Spec.Databases[0].Lower = &lower
		s.Databases[0].MinACU, s.Databases[0].MaxACU, s.Databases[0].Status, s.Databases[0].Answer = 4, 16, fleet.DatabaseStopped, nil
	}))
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); strings.Contains(told, "start database") {
		t.Errorf("it was stopped before:\n%s", told)
	}
}

func TestDangerDatabaseWhoseKeyWasOutOfReach(t *testing.T) {
	s := asleep(t, staging())
	s.Databases[0].Status = "inaccessible-encryption-credentials-recoverable"
	told := tick(s, on, 3)
	if !strings.Contains(told, "start database") {
		t.Errorf("the hand can start it from there (aws/rdsswitch.go startable); the mind never asks: %v", on(s).Holds)
	}
}

func TestDangerRenamedEnvironmentSaysItIsOn(t *testing.T) {
	s := asleep(t, staging())
	s.Environments[0].Name, s.Environments[0].Record = "stage", nil
	p, found := env.Start(s, "stage", env.Options{})
	if p.Nothing != "" && len(found) == 0 {
		t.Errorf("all of its workloads are marked as switched off by environment staging, and: %s", p.Nothing)
	}
}

func TestDangerPriceOfALoweredDatabaseCannotBeGiven(t *testing.T) {
	lower := 0.5
	p, found := stop(staging(func(s *fleet.Snapshot) {
		e := &s.Environments[0]
		e.Spec.Databases[0].Lower = &lower
		e.Spec.Rates = []fleet.Rate{{Subject: "instance stg", On: 0.48, Off: 0.06, Currency: "USD"}}
		s.Databases[0].MinACU, s.Databases[0].MaxACU = 4, 16
	}))
	if len(p.Money.Unknown) > 0 {
		t.Errorf("its price is given, and: %v", found)
	}
}

func TestDangerCapacitiesShareAKey(t *testing.T) {
	a := fleet.Action{Verb: fleet.SetCapacity, Database: "cluster c", ACU: 0.5}
	b := fleet.Action{Verb: fleet.SetCapacity, Database: "cluster c", ACU: 4}
	if a.Key() == b.Key() {
		t.Errorf("lowering and raising have one key %q: a refused lowering (backoff 5 min) holds the raise back", a.Key())
	}
	x, y := fleet.PartRecord{Owner: fleet.Owner{Kind: "Deployment", Namespace: "n", Name: "d"}, Value: "3"}, fleet.PartRecord{Owner: fleet.Owner{Kind: "Deployment", Namespace: "n", Name: "d"}, Value: "4"}
	if (fleet.Action{Verb: fleet.TurnOff, Part: &x}).Key() == (fleet.Action{Verb: fleet.TurnOff, Part: &y}).Key() {
		t.Errorf("a turn off that was refused because an HPA has moved it (3 is 4 by now) holds the next one, which knows 4, back")
	}
}

// 35b
func TestDangerSurgeOfTheRunIsTakenBack(t *testing.T) {
	s := half(t, staging(func(s *fleet.Snapshot) { deploy(s, "kube-system", "metrics", 1, false, "prod-1") }), "mark database")
	w := s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "kube-system", Name: "metrics"})
	w.Replicas, w.Surge = 2, &fleet.SurgeMark{Run: "staging-1", Pod: "kube-system/metrics-old", Replicas: 1} // the last node went before that was taken back
	pod(s, w.Owner, "metrics-new", "prod-2")
	told := tick(s, off, 20, func() { s.Databases[0].Status, s.Databases[0].Answer = fleet.DatabaseStopped, nil })
	if step := off(s); step.Done && !strings.Contains(told, "unsurge") {
		t.Errorf("asleep, and kube-system/metrics has a replica more for good:\n%s", told)
	}
}

func TestDangerCarriedPodsOfTwoMakeTheForecastStuck(t *testing.T) {
	p, _ := stop(staging(func(s *fleet.Snapshot) { deploy(s, "kube-system", "dns", 2, false, "stg-1", "stg-2") }))
	if len(p.Forecast.Stuck) > 0 {
		t.Errorf("%v", p.Forecast.Stuck)
	}
}

func TestDangerTwentyBlockedEnvironments(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		for i := range 60 {
			n := fmt.Sprint("big-", i)
			group(s, "big"+n, 0, n)
			s.Environments[0].Spec.Groups = append(s.Environments[0].Spec.Groups, "big"+n)
			for j := range 10 {
				o := fleet.Owner{Kind: "Deployment", Namespace: "kube-system", Name: fmt.Sprint("x", i, "-", j)}
				pod(s, o, fmt.Sprint("x", i, "-", j), n)
				s.Pods[len(s.Pods)-1].Requests.CPU = 3000 // fits nowhere
			}
		}
		s.Environments[0].Spec.Protected = true
	})
	began := time.Now()
	stop(s)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("one look at one blocked environment takes %s; 20 of them are looked at every 30 s, in the loop that holds the lease", took)
	}
}

func TestDangerDrainOfAnotherRunInTheMiddle(t *testing.T) {
	s := half(t, staging(), "taint node")
	n := s.Node("stg-1")
	n.Taints = append(n.Taints, fleet.Taint{Key: fleet.TaintKey, Value: "drain-7", Effect: fleet.NoSchedule}) // somebody drains it with drover just now
	told := tick(s, off, 6)
	if strings.Contains(told, "taint node stg-1") {
		t.Errorf("run drain-7 has it, and its taint is written over:\n%s", told)
	}
}

func TestDangerNodeObjectIsMissingForAMoment(t *testing.T) {
	s := half(t, staging(), "taint node")
	pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1") // a guest came
	for i := range s.Nodes {
		if s.Nodes[i].Name == "stg-1" {
			s.Nodes = append(s.Nodes[:i], s.Nodes[i+1:]...) // kubectl delete node: the kubelet makes it again
			break
		}
	}
	if told := tick(s, off, 3); strings.Contains(told, "terminate i-stg-1") {
		t.Errorf("a pod of production is bound to stg-1 (the record knows the name), whose Node object is missing; it is ended without a look at it:\n%s", told)
	}
}

func TestDangerCordonedByAPersonStaysCordoned(t *testing.T) {
	s := staging()
	s.Environments[0].Spec.Policy.Shared = fleet.SharedRefuse
	pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-1")
	p, found := stop(s, "env-guests")
	if blocking(found) != "" {
		t.Fatal("cannot be forced")
	}
	if told := tell(p.Forecast); strings.Contains(told, "terminate i-stg-1") {
		t.Errorf("forced, and the neighbour's node goes:\n%s", told)
	}
}

func TestDangerStopThatIsLateIsNeverCalledLate(t *testing.T) {
	s := half(t, staging(), "terminate")
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "staging", Name: "web-0", UID: "u"}, Owner: fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "web"}, Node: "stg-1", Terminating: true})
	s.Now = s.Now.Add(9 * time.Hour)
	if said := fmt.Sprint(off(s).Holds); !strings.Contains(said, "h") || !strings.Contains(said, "9h") && !strings.Contains(said, "late") {
		t.Errorf("policy.within is an hour, it takes nine: %s", said)
	}
}

func TestDangerConcludedAlthoughTheGroupIsSmaller(t *testing.T) {
	s := asleep(t, staging())
	g := s.Group("stg")
	g.Max = 0 // somebody closed it
	p, _ := env.Start(s, "staging", env.Options{})
	if told := tell(p.Forecast); strings.Contains(told, "unmark group stg") && strings.Contains(told, "conclude") {
		t.Errorf("it had 2 nodes, it has none, and what is on file about that goes:\n%s", told)
	}
}

func TestDangerScheduleWakesNothingWithoutARecord(t *testing.T) {
	s := asleep(t, staging())
	s.Environments[0].Record = nil
	s.Environments[0].Spec.Schedule = office()
	w := env.Want(&s.Environments[0], vienna(t, "2026-11-20 12:00"))
	_, found := env.Start(s, "staging", env.Options{})
	if w.On && len(found) == 0 {
		t.Error("nobody says that it is off without a record")
	}
}

func TestDangerLateStatefulSetWithItsOnlyCopy(t *testing.T) {
	s := asleep(t, staging())
	lastCopy(s)
	fleet.SortParts(s.Parts)
	if told := tick(s, off, 6); strings.Contains(told, "turn StatefulSet staging/queue off") {
		t.Errorf("its data is lost with its pods (env-last-copy), nobody has forced that:\n%s", told)
	}
}

func TestDangerLateBarePodIsLostWithItsNode(t *testing.T) {
	s := staging(func(s *fleet.Snapshot) {
		s.Busy = []fleet.Busy{{Code: "env-jobs", Subject: "Job staging/j", Reason: "runs", Owner: fleet.Owner{Kind: "Job", Namespace: "staging", Name: "j"}}}
	})
	p, _ := stop(s, "env-jobs")
	for i, e := range p.Forecast.Events {
		if strings.HasPrefix(e.Action.String(), "mark group stg") {
			s = env.AfterActions(p, *s, i)
			break
		}
	}
	pod(s, fleet.Owner{Namespace: "kube-system"}, "debug", "stg-1") // nobody has forced env-bare-pod
	if told := tick(s, off, 8); strings.Contains(told, "evict pod kube-system/debug") || strings.Contains(told, "delete pod kube-system/debug") {
		t.Errorf("forced was env-jobs; a bare pod of kube-system goes for it:\n%s", told)
	}
}

func TestDangerKeepersAreProtectedWhereNothingLeaves(t *testing.T) {
	p, _ := stop(staging(func(s *fleet.Snapshot) {
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-8", "stg-1")
		pod(s, fleet.Owner{Kind: "Deployment", Namespace: "prod", Name: "web"}, "web-9", "stg-2")
	}))
	if told := tell(p.Forecast); strings.Contains(told, "suspend AZRebalance") || strings.Contains(told, "protect") {
		t.Errorf("no node leaves, and the neighbour's group is changed all the same, for the whole sleep:\n%s", told)
	}
}

func TestDangerNodesThatNeverGoAreAsleep(t *testing.T) {
	s := half(t, staging(), "mark group stg")
	g := s.Group("stg")
	g.Instances = append(g.Instances, fleet.Instance{ID: "i-x", Zone: "a", Lifecycle: fleet.InService}) // launched since; EC2 has not said when
	s.Nodes = append(s.Nodes, fleet.Node{Name: "x", Instance: "i-x", Ready: true})
	told := tick(s, off, 12, func() { s.Databases[0].Status = fleet.DatabaseStopped })
	if !strings.Contains(told, "terminate i-x") && !strings.Contains(fmt.Sprint(off(s).Holds), "i-x") {
		t.Errorf("node x runs all night, and nothing says so:\n%s%v", told, off(s).Holds)
	}
}
