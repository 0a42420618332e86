package fleet

import (
	"fmt"
	"time"
)

// Hold is standing still: on what, why in figures, and since when.
type Hold struct {
	Subject string
	Reason  string
	Since   time.Time // zero when the world cannot show it; the engine then fills in when it first saw it
}

func (h Hold) String() string { return h.Subject + ": " + h.Reason }

// For is how long the hold has lasted, rounded to seconds.
func (h Hold) For(now time.Time) string {
	if h.Since.IsZero() {
		return ""
	}
	return fmt.Sprint(now.Sub(h.Since).Round(time.Second))
}
