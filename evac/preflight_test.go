package evac

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

func TestAdvisories(t *testing.T) {
	for _, tc := range []struct {
		code, want string
		change     func(*fleet.Snapshot)
	}{
		{"daemonset-gap", "DaemonSet default/agent: does not tolerate taint", func(*fleet.Snapshot) {}},
		{"single-not-served", "Deployment default/single: is not served while its only pod moves: its strategy Recreate forbids two pods at once", func(s *fleet.Snapshot) {
			s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "single"}).Recreate = true
		}},
		{"gitops-reverts", "Deployment default/single: gets one replica more while a pod of it moves, and Argo CD may take that back", func(s *fleet.Snapshot) {
			s.Workload(fleet.Owner{Kind: "Deployment", Namespace: "default", Name: "single"}).GitOps = "Argo CD"
		}},
		{"local-data", "Deployment default/http: keeps data on its node (emptyDir cache)", func(s *fleet.Snapshot) { s.Pods[0].Local = "emptyDir cache" }},
		{"long-grace", "Deployment default/http: may take 1h0m0s to shut down", func(s *fleet.Snapshot) { s.Pods[0].Grace = time.Hour }},
		{"budget-now", "budget default/http: allows nothing at the moment: 5 of 6 pods are healthy, it wants 5", func(s *fleet.Snapshot) {
			s.Pods[0].Ready = false
			s.Budgets[0].Healthy, s.Budgets[0].Allowed = 5, 0
		}},
	} {
		t.Run(tc.code, func(t *testing.T) {
			s := web()
			tc.change(&s)
			_, findings := try(t, &s, Options{})
			for _, f := range findings {
				if f.Code == tc.code && !f.Blocks && strings.HasPrefix(f.String(), tc.want) && f.Next != "" {
					return
				}
			}
			t.Errorf("not found in %v", findings)
		})
	}
}

func TestNewNodesThatLackALabel(t *testing.T) {
	s := web()
	for i := range s.Nodes {
		s.Nodes[i].Labels = map[string]string{"zone": s.Nodes[i].Zone, "role": "edge", "host": s.Nodes[i].Name}
	}
	p := rotation(t, &s, Options{Run: "r-1", Criterion: "outdated", Canary: time.Minute})
	w := world(s)
	said := false
	play(t, w, p, func(step Step) bool {
		for i := range w.s.Nodes {
			if n := &w.s.Nodes[i]; strings.HasPrefix(n.Name, "new-") {
				n.Labels = map[string]string{"zone": n.Zone, "host": n.Name}
			}
		}
		said = said || strings.Contains(fmt.Sprint(step.Holds), "lacks label role=edge, which every old node of group web carries")
		return said
	})
	if !said {
		t.Error("nobody was told")
	}
}

func TestFits(t *testing.T) {
	s := web()
	s.Nodes[1].Taints = []fleet.Taint{{Key: fleet.TaintKey, Value: "r-1", Effect: fleet.NoSchedule}}
	node, why := Fits(&s, &s.Pods[0])
	if node == "" || node == s.Pods[0].Node || node == "node-1" {
		t.Errorf("node %q, %s", node, why)
	}
	s.Pods[0].Requests.CPU = 100_000
	if node, why := Fits(&s, &s.Pods[0]); node != "" || !strings.Contains(why, "cpu") {
		t.Errorf("node %q, %q", node, why)
	}
}
