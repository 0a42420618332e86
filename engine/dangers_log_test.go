package engine

import (
	"testing"

	"drover.dev/fleet"
)

func TestDangerARotationWithoutGroups(t *testing.T) {
	o := newOffice()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v", r)
		}
	}()
	o.controller().Begin().takeUp(&fleet.Snapshot{Rotations: []fleet.RotationRecord{{Run: "x", Requester: Requester}}})
}
