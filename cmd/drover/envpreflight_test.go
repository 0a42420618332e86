package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"

	"drover.dev/env"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/sandbox/cluster"
)

// carry is drover env stop or start as far as the plan, in a room of the test's, and then the rest.
func (s *stage) carry(room *switchroom, on bool, r switching, meanwhile func()) error {
	s.t.Helper()
	r.run.yes, r.run.wait = true, true
	j, err := room.prepare(s.t.Context(), "staging", on, &r)
	s.must(err)
	if meanwhile != nil {
		meanwhile()
	}
	return s.app.carrySwitch(s.t.Context(), j, &r.run)
}

// late adds a workload to staging.
func (s *stage) late() {
	s.must(s.Deploy(cluster.Spec{Owner: fleet.Owner{Kind: "Deployment", Namespace: "staging", Name: "late"}, Replicas: 1, Requests: fleet.Resources{CPU: 100, Memory: 64 << 20}, Selector: map[string]string{"env": "stg"}}))
	s.Await(1e12, s.Settled)
}

// A plan that grew while somebody thought about it is refused, and no controller is left to do what nobody has seen: what was wished before counts again.
func TestEnvRefusedPlanTakesTheWishBack(t *testing.T) {
	for name, before := range map[string]*fleet.Wish{"none": nil, "another": {On: true, By: "grace@example"}} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				if before != nil {
					before.At = s.Now()
				}
				s.must(s.Cluster.Wish("staging", before))
				codeIs(t, s.carry(s.newRoom(), false, switching{}, s.late), exitBlocked, "Deployment staging/late; nothing was done, and what you asked for is taken back: look at it again")
				w := s.environment().Wish
				if (w == nil) != (before == nil) || w != nil && (w.By != before.By || !w.On) {
					t.Errorf("wished is %+v", w)
				}
			})
		})
	}
}

// A wish that somebody else made meanwhile is theirs.
func TestEnvRefusedPlanLeavesOthersWishes(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		room := s.newRoom()
		j, err := room.prepare(t.Context(), "staging", false, &switching{})
		s.must(err)
		s.must(s.Cluster.Wish("staging", &fleet.Wish{By: "grace@example", At: s.Now()}))
		e := s.environment()
		if said := j.takeBack(t.Context(), &e); said != "nothing was done" || s.environment().Wish == nil {
			t.Errorf("%s; wished is %+v", said, s.environment().Wish)
		}
	})
}

// One environment of a file is stopped; the others in it were not shown, and are not written.
func TestEnvStopFromAFileWritesOneEnvironment(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		both := stagingFile + "---\n" + strings.NewReplacer("name: staging", "name: production", "[staging]", "[production]", "groups: [stg]", "groups: [prod]", "instance: stg", "instance: prod").Replace(stagingFile)
		all, wrong := parsed(both)
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		room := s.newRoom()
		room.declare(&envFile{source: "file both.yaml", text: []byte(both), environments: all[:1]})
		s.must(s.carry(room, false, switching{}, nil))
		if _, there := s.Cluster.Environment("production"); there || s.state() != "asleep" {
			t.Errorf("staging is %s, and production was written: %t", s.state(), there)
		}
		room.declare(&envFile{source: "file both.yaml", text: []byte(both), environments: all})
		s.must(s.app.writeRecord(t.Context(), room, s.environment().Record))
		if _, there := s.Cluster.Environment("production"); there {
			t.Error("a repair has written production")
		}
	})
}

// What the record needs is asked for before the wish: half a stop is worse than none.
func TestEnvStopWithoutARight(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var asked []string
		denied := "deployments"
		room := s.newRoom()
		room.may = func(_ context.Context, r authorizationv1.ResourceAttributes) (bool, error) {
			asked = append(asked, neededRight{r, ""}.String())
			return r.Resource != denied, nil
		}
		codeIs(t, s.carry(room, false, switching{}, nil), exitBlocked, "nothing was done")
		s.says("env-right", "patch deployments.apps in namespace staging", "is not allowed, and is needed to switch Deployments")
		for _, want := range []string{"patch environments.drover.dev", "patch environments.drover.dev/status", "patch nodes", "update leases.coordination.k8s.io in namespace kube-system"} {
			if !slices.Contains(asked, want) {
				t.Errorf("%q is not asked for, but %q", want, asked)
			}
		}
		if s.environment().Wish != nil || s.environment().Record != nil {
			t.Error("something was done")
		}
		denied = ""
		s.must(s.carry(room, false, switching{}, nil))
		denied = "deployments"
		s.out.Reset()
		codeIs(t, s.carry(room, true, switching{}, nil), exitBlocked, "nothing was done")
		s.says("env-right")
	})
}

// Where the controller is to do it, a person needs no more than to wish.
func TestEnvRightsOfWhoOnlyWishes(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.desk.leader = "controller-1"
		room := s.newRoom()
		room.may = func(_ context.Context, r authorizationv1.ResourceAttributes) (bool, error) {
			return r.Resource == "environments" && r.Subresource == "", nil
		}
		room.try = func(context.Context, string, string, bool) error { return errors.New("not from here") }
		r := switching{run: running{yes: true}}
		j, err := room.prepare(t.Context(), "staging", false, &r)
		s.must(err)
		s.must(s.app.carrySwitch(t.Context(), j, &r.run))
		if w := s.environment().Wish; w == nil || w.On {
			t.Errorf("wished is %+v", w)
		}
	})
}

func TestEnvRightsThatCannotBeAskedFor(t *testing.T) {
	room := roomOf()
	room.may = func(context.Context, authorizationv1.ResourceAttributes) (bool, error) {
		return false, errors.New("nobody answers")
	}
	found := room.missing(t.Context(), neededRights(&env.Plan{Environment: "staging"}, false))
	if len(found) != 1 || found[0].Blocks || !strings.Contains(found[0].Reason, "nobody answers") {
		t.Errorf("%v", found)
	}
}

// Every kind that a stop changes has a right in the list of those that drover installs.
func TestEnvRightsAreInstalled(t *testing.T) {
	for _, p := range []fleet.PartRecord{
		{APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "Deployment"}}, {APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "StatefulSet"}}, {APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "ReplicaSet"}},
		{APIVersion: "batch/v1", Owner: fleet.Owner{Kind: "CronJob"}}, {APIVersion: "argoproj.io/v1alpha1", Owner: fleet.Owner{Kind: "Rollout"}}, {APIVersion: "argoproj.io/v1alpha1", Owner: fleet.Owner{Kind: "Application"}},
		{APIVersion: "keda.sh/v1alpha1", Owner: fleet.Owner{Kind: "ScaledObject"}}, {APIVersion: "kustomize.toolkit.fluxcd.io/v1", Owner: fleet.Owner{Kind: "Kustomization"}}, {APIVersion: "helm.toolkit.fluxcd.io/v2", Owner: fleet.Owner{Kind: "HelmRelease"}},
	} {
		r := resourceOf(&p)
		if !slices.ContainsFunc(kube.EnvironmentRights, func(right kube.Right) bool {
			return slices.Contains(right.Rule.APIGroups, r.Group) && slices.Contains(right.Rule.Resources, r.Resource) && slices.Contains(right.Rule.Verbs, "patch")
		}) {
			t.Errorf("%s of %s is called %s, which no right names", p.Kind, p.APIVersion, r)
		}
	}
}

// An archive that cannot be used is found by the plan, or by the stop before it wishes.
func TestEnvStopWithoutItsArchive(t *testing.T) {
	for name, tc := range map[string]struct {
		reads bool
		says  string
	}{"no list": {false, "blocked; nothing was done"}, "no write": {true, "the archive of environment staging cannot be written: access denied; nothing was done"}} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				room := s.newRoom()
				room.try = func(_ context.Context, url, environment string, write bool) error {
					if url != "file:///records" || environment != "staging" {
						t.Errorf("tried is %s for %s", url, environment)
					}
					if tc.reads && !write {
						return nil
					}
					return errors.New("access denied")
				}
				codeIs(t, s.carry(room, false, switching{}, nil), exitBlocked, tc.says)
				if !tc.reads {
					s.says("env-archive", "file:///records", "cannot be used: access denied")
				}
				if s.environment().Wish != nil || s.environment().Record != nil {
					t.Error("something was done")
				}
				room.try = func(context.Context, string, string, bool) error { return nil }
				s.must(s.carry(room, false, switching{}, nil))
				room.try = func(context.Context, string, string, bool) error { return errors.New("gone") }
				s.must(s.carry(room, true, switching{}, nil)) // a start needs none
			})
		})
	}
}

// An archive that fails under way is named: when the stop gives up, and to who looks.
func TestEnvArchiveThatRefuses(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.Archive().Away(true)
		var published []kube.EnvironmentShown
		room := s.newRoom()
		room.publish = func(_ context.Context, name string, v kube.EnvironmentShown) error {
			published = append(published, v)
			return nil
		}
		r := switching{}
		r.run.timeout = 60e9
		codeIs(t, s.carry(room, false, r, nil), exitTimeout, "nobody answers there")
		if len(published) != 1 || published[0].State != "stopping" {
			t.Errorf("shown is %+v", published)
		}
		looks := s.newRoom()
		looks.try = func(context.Context, string, string, bool) error { return errors.New("no such bucket") }
		d, err := looks.status(t.Context(), "staging")
		s.must(err)
		if !slices.Contains(d.Waiting, "the copy outside of the cluster cannot be written: no such bucket") {
			t.Errorf("waiting for %v", d.Waiting)
		}
		s.Archive().Away(false)
		s.must(s.carry(room, false, switching{}, nil))
		if last := published[len(published)-1]; last.State != "asleep" || !last.Asleep {
			t.Errorf("shown is %+v", last)
		}
	})
}

// Marks tell of an environment that somebody has deleted with its record.
func TestEnvThatOnlyMarksKnow(t *testing.T) {
	s := asleepSnapshot(t)
	s.Environments = s.Environments[1:]
	if err := errNoEnvironment(s, "staging"); !strings.Contains(err.Error(), "objects bear marks of it; make it again: drover env repair staging -f FILE") {
		t.Error(err)
	}
	if err := errNoEnvironment(s, "qa"); !strings.Contains(err.Error(), "there are: production") {
		t.Error(err)
	}
}

func TestKickNeverWaits(t *testing.T) {
	c := make(chan struct{}, 1)
	for range 3 {
		kick(c)
	}
	if len(c) != 1 {
		t.Errorf("%d words", len(c))
	}
}
