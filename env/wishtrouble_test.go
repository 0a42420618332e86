package env_test

import (
	"strings"
	"testing"
	"time"

	"drover.dev/env"
	"drover.dev/fleet"
)

// A wish that nobody can read counts as none, and is named; the one that replaces it counts.
func TestAWishThatCannotBeRead(t *testing.T) {
	noon := time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)
	e := fleet.Environment{WishTrouble: `wish "perhaps": want on, off`}
	if got := env.Want(&e, noon); got.Known || !strings.Contains(got.Why, `nobody has asked; a wish is there, and counts as none: wish "perhaps"`) {
		t.Errorf("without a schedule: %+v", got)
	}
	e.Spec.Schedule = office()
	if got := env.Want(&e, noon); !got.Known || !got.On || got.By != "schedule" || !strings.HasSuffix(got.Why, e.WishTrouble) {
		t.Errorf("with a schedule: %+v", got)
	}
	e.Wish = &fleet.Wish{By: "ada", At: noon.Add(-time.Hour)}
	if got := env.Want(&e, noon); !got.Known || got.On || strings.Contains(got.Why, "counts as none") {
		t.Errorf("replaced: %+v", got)
	}
}
