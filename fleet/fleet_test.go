package fleet

import (
	"strings"
	"testing"
	"time"
)

func TestGroupMarkReadsBackExactly(t *testing.T) {
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for _, m := range []GroupMark{
		{Run: "r-20261121-200000-abc", At: at, Criterion: "outdated", Desired: 6, From: 6, Set: 9, Left: 6, Surge: 3, Suspended: []string{AZRebalance}},
		{Run: "r-1", At: at, Criterion: "older-than"},
		{Run: "r-1", At: at, Criterion: "all", Desired: 100000, From: 100000, Set: 110000, Left: 100000, Surge: 10000, Suspended: []string{"AZRebalance", "ReplaceUnhealthy", "AlarmNotification", "ScheduledActions"}},
	} {
		s := m.String()
		if len(s) > 256 {
			t.Errorf("%d characters are too many for a tag: %s", len(s), s)
		}
		back, err := ParseGroupMark(s)
		if err != nil || !back.Equal(m) {
			t.Errorf("%s read back as %v, %v", s, back, err)
		}
	}
}

func FuzzParseGroupMark(f *testing.F) {
	f.Add(GroupMark{Run: "r-1", Criterion: "all"}.String())
	f.Add("v1 ")
	f.Add("v1 run= at=x")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseGroupMark(s)
		if err != nil {
			return
		}
		if back, err := ParseGroupMark(m.String()); err != nil || !back.Equal(*m) {
			t.Errorf("%q: %v, %v", s, back, err)
		}
	})
}

func TestUnreadableMarks(t *testing.T) {
	good := GroupMark{Run: "r-1", At: time.Unix(0, 0), Criterion: "all"}.String()
	for bad, want := range map[string]string{
		"":                                     "does not begin with v1",
		"v2 run=r-1":                           "does not begin with v1",
		good + " more=1":                       `unknown field "more"`,
		strings.Replace(good, "set=0 ", "", 1): "8 of 9 fields",
		strings.Replace(good, "set=0", "set=x", 1):  "field set",
		strings.Replace(good, "run=r-1", "run=", 1): "9 of 9 fields",
	} {
		if _, err := ParseGroupMark(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

func TestTolerations(t *testing.T) {
	taint := Taint{TaintKey, "r-1", NoSchedule}
	for _, tc := range []struct {
		o    Toleration
		want bool
	}{
		{Toleration{Exists: true}, true},
		{Toleration{Exists: true, Effect: NoExecute}, false},
		{Toleration{Key: TaintKey, Exists: true}, true},
		{Toleration{Key: TaintKey, Value: "r-1"}, true},
		{Toleration{Key: TaintKey, Value: "r-2"}, false},
		{Toleration{Key: "dedicated", Exists: true}, false},
		{Toleration{Key: "", Value: "x"}, false},
	} {
		p := Pod{Tolerations: []Toleration{tc.o}}
		if got := p.Tolerates(taint); got != tc.want {
			t.Errorf("%+v: %v", tc.o, got)
		}
	}
}

func TestResources(t *testing.T) {
	node := Resources{CPU: 2000, Memory: 4 << 30, Pods: 10, Other: map[string]int64{"gpu": 1}}
	pod := Resources{CPU: 1500, Memory: 1 << 30, Pods: 1, Other: map[string]int64{"gpu": 1}}
	if lacks := node.Lacks(pod); lacks != "" {
		t.Error(lacks)
	}
	left := node.Sub(pod)
	if got, want := left.Lacks(pod), "cpu 500m of 1500m, gpu 0 of 1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if node.Other["gpu"] != 1 {
		t.Error("subtracting changed the original")
	}
	if left.Lacks(Resources{CPU: 500, Pods: 1}) != "" {
		t.Error("what is left does not cover what fits")
	}
	if overdrawn := left.Sub(pod); overdrawn.Lacks(Resources{CPU: 1}) == "" || overdrawn.Lacks(Resources{}) != "" {
		t.Error("an overdrawn node may only take what asks for nothing")
	}
}

func TestCloneIsApart(t *testing.T) {
	s := Snapshot{Groups: []Group{{Name: "web", Mark: &GroupMark{Run: "r-1", Suspended: []string{"a"}}, Instances: []Instance{{ID: "i", Targets: []Target{{State: TargetHealthy}}}}}}, Nodes: []Node{{Name: "n", Taints: []Taint{{Key: "k"}}}}}
	c := s.Clone()
	c.Groups[0].Mark.Suspended[0] = "b"
	c.Groups[0].Instances[0].Targets[0].State = TargetDraining
	c.Nodes[0].Taints[0].Key = "other"
	if s.Groups[0].Mark.Suspended[0] != "a" || s.Groups[0].Instances[0].Targets[0].State != TargetHealthy || s.Nodes[0].Taints[0].Key != "k" {
		t.Error("changing a clone changed the original")
	}
}
