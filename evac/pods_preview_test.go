package evac

import (
	"testing"

	"drover.dev/fleet"
)

func TestZZPreviewPods(t *testing.T) {
	s := web()
	st := seed(&s)
	p, f := MakePods(&s, []fleet.PodRef{st.Members[0].Pod}, Options{Run: "r-1"})
	fc := Preview(p, s)
	t.Log(f, fc.Stuck, fc.Took)
	for _, e := range fc.Events {
		t.Log(e.After, e.Action)
	}
	p, f = MakePods(&s, []fleet.PodRef{s.Pods[0].Ref}, Options{Run: "r-1"})
	fc = Preview(p, s)
	t.Log(f, fc.Stuck, fc.Took)
	for _, e := range fc.Events {
		t.Log(e.After, e.Action)
	}
}
