package pipeline

import (
	"slices"
	"testing"
	"time"

	"drover.dev/fleet"
)

// farm is the groups of wanted as the fleet knows them, each with a node and its pod.
func farm() *fleet.Snapshot {
	s := &fleet.Snapshot{}
	for _, g := range wanted().Groups {
		in := fleet.Instance{ID: "i-" + g.Name}
		s.Groups = append(s.Groups, fleet.Group{Name: g.Name, Zones: []string{"a", "b"}, Instances: []fleet.Instance{in}})
		s.Nodes = append(s.Nodes, fleet.Node{Name: g.Name, Instance: in.ID})
		s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Name: "pod-" + g.Name}, Node: g.Name, Grace: g.Grace})
	}
	return s
}

func TestCheck(t *testing.T) {
	type world struct {
		w Wanted
		f Found
		s *fleet.Snapshot
	}
	scaling := func(v *world, change func(*Scaling)) { s := v.f.Groups["web"]; change(&s); v.f.Groups["web"] = s }
	unhooked := func(s *Scaling) { s.Hooks = nil }
	managed := func(v *world) { v.w.Groups[0].Managed, v.s.Groups[0].Managed = true, &fleet.Managed{Scaling: "web"} }
	for _, tc := range []struct {
		name  string
		drift func(*world)
		want  []string
	}{
		{"all well", func(*world) {}, nil},
		{"no queue", func(v *world) { v.f.Queue = nil }, []string{"queue-missing queue drover-prod"}},
		{"somebody else's queue", func(v *world) { v.f.Queue.Owner = "" }, []string{"name-taken queue drover-prod"}},
		{"no policy", func(v *world) { v.f.Queue.Policy = "" }, []string{"queue-permission queue drover-prod"}},
		{"forgets early", func(v *world) { v.f.Queue.Retention = 5 * time.Minute }, []string{"queue-retention queue drover-prod"}},
		{"no dead letters", func(v *world) { v.f.Queue.Dead = "" }, []string{"queue-dead-letters queue drover-prod"}},
		{"something was set aside", func(v *world) { v.f.Dead.Messages = 2 }, []string{"messages-kept queue drover-prod-dead"}},
		{"no rule", func(v *world) { delete(v.f.Rules, "drover-prod-spot") }, []string{"rule-missing rule drover-prod-spot"}},
		{"no target", func(v *world) { r := v.f.Rules["drover-prod-spot"]; r.Targets = nil; v.f.Rules["drover-prod-spot"] = r }, []string{"rule-missing rule drover-prod-spot"}},
		{"rule off", func(v *world) { r := v.f.Rules["drover-prod-spot"]; r.Off = true; v.f.Rules["drover-prod-spot"] = r }, []string{"rule-missing rule drover-prod-spot"}},
		{"no hook", func(v *world) { scaling(v, unhooked) }, []string{"hook-missing group web", "zones-unguarded group web"}},
		{"no hook, AZRebalance off", func(v *world) { scaling(v, unhooked); v.s.Groups[0].Suspended = []string{fleet.AZRebalance} }, []string{"hook-missing group web"}},
		{"no hook, one zone", func(v *world) { scaling(v, unhooked); v.s.Groups[0].Zones = []string{"a"} }, []string{"hook-missing group web"}},
		{"retains", func(v *world) { scaling(v, func(s *Scaling) { s.Retains = true }) }, []string{"hook-result group web"}},
		{"abandons for nothing", func(v *world) { v.f.Groups["web"].Hooks[0].Abandon = true }, []string{"hook-result group web"}},
		{"another hook", func(v *world) {
			scaling(v, func(s *Scaling) { s.Hooks = append(s.Hooks, fleet.Hook{Name: "my-drainer", Heartbeat: time.Minute}) })
		}, []string{"hook-competes group web"}},
		{"another launch hook is no rival", func(v *world) {
			scaling(v, func(s *Scaling) { s.Hooks = append(s.Hooks, fleet.Hook{Name: "warm-up", Launching: true}) })
		}, nil},
		{"the other handler's tag", func(v *world) { scaling(v, func(s *Scaling) { s.Handled = true }) }, []string{"hook-competes group web"}},
		{"the other handler's pods", func(v *world) {
			for range 2 {
				v.s.Pods = append(v.s.Pods, fleet.Pod{Owner: fleet.Owner{Kind: "DaemonSet", Namespace: "kube-system", Name: "aws-node-termination-handler"}})
			}
		}, []string{"hook-competes DaemonSet kube-system/aws-node-termination-handler"}},
		{"heartbeat below the grace", func(v *world) {
			v.f.Groups["web"].Hooks[0].Heartbeat = 30 * time.Second
			v.w.Groups[0].Grace = time.Minute
		}, []string{"hold-short group web"}},
		{"policy below the grace", func(v *world) { v.w.DrainFor = 10 * time.Minute }, []string{"hold-short group jobs"}},
		{"hook cannot hold that long", func(v *world) {
			v.f.Groups["web"].Hooks[0].Heartbeat = 30 * time.Second
			v.w.Groups[0].Grace = 2 * time.Hour
			v.w.DrainFor = 0
		}, []string{"hold-short group web"}},
		{"EKS does not wait that long", func(v *world) {
			managed(v)
			scaling(v, func(s *Scaling) { s.Hooks = []fleet.Hook{{Name: eksHook, Heartbeat: 30 * time.Minute}} })
			v.w.Groups[0].Grace = 20 * time.Minute
		}, []string{"hold-short group web"}},
		{"EKS waits", func(v *world) {
			managed(v)
			scaling(v, func(s *Scaling) { s.Hooks = []fleet.Hook{{Name: eksHook, Heartbeat: 30 * time.Minute}} })
		}, nil},
		{"load balancer waits longer", func(v *world) {
			v.s.Groups[0].Targets = []fleet.TargetGroup{{Name: "tg", Delay: time.Hour + time.Second}}
		}, []string{"delay-long target group tg"}},
		{"spot", func(v *world) { scaling(v, func(s *Scaling) { s.Spot = true }) }, []string{"capacity-rebalance group web"}},
		{"spot by its instances", func(v *world) { v.s.Groups[0].Instances[0].Spot = true }, []string{"capacity-rebalance group web"}},
		{"spot, replaced", func(v *world) { scaling(v, func(s *Scaling) { s.Spot, s.Rebalances = true, true }) }, nil},
		{"a group that is gone", func(v *world) { delete(v.f.Groups, "web") }, nil},
	} {
		v := world{wanted(), complete(t, wanted()), farm()}
		tc.drift(&v)
		var got []string
		for _, f := range Check(v.w, v.f, v.s) {
			got = append(got, f.Code+" "+f.Subject)
			if f.Reason == "" || f.Next == "" || f.Blocks != (fleet.RuleOf(f.Code).Blocks == "yes") {
				t.Errorf("%s: %+v", tc.name, f)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestGroupsOfACluster(t *testing.T) {
	s := farm()
	s.Pods = append(s.Pods, fleet.Pod{Ref: fleet.PodRef{Namespace: "kube-system", Name: "agent"}, Node: "web", Grace: time.Hour, Owner: fleet.Owner{Kind: "DaemonSet"}},
		fleet.Pod{Ref: fleet.PodRef{Namespace: "batch", Name: "done"}, Node: "web", Grace: time.Hour, Finished: true})
	s.Groups[0].Cluster = "prod"
	s.Groups = append(s.Groups, fleet.Group{Name: "empty", Cluster: "prod"}, fleet.Group{Name: "other", Cluster: "staging"}, fleet.Group{Name: "bare", Cluster: "prod", Managed: &fleet.Managed{}},
		fleet.Group{Name: "pool", Managed: &fleet.Managed{Cluster: "prod", Scaling: "eks-pool"}})
	var got []string
	for _, g := range Groups(s, "prod", nil) {
		got = append(got, g.Name+"="+g.Scaling)
	}
	if want := []string{"web=web", "jobs=jobs", "empty=empty", "pool=eks-pool"}; !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	if g := Groups(s, "prod", []string{"web"}); len(g) != 1 || g[0].Grace != 30*time.Second || g[0].Pod != "/pod-web" {
		t.Errorf("web: %+v; what stays on its node has no say", g)
	}
	if names := ClusterNames(s); !slices.Equal(names, []string{"prod"}) {
		t.Errorf("names %v", names)
	}
}
