package fast

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"drover.dev/fleet"
	"drover.dev/sandbox/cluster"
)

// Archive keeps second copies of records, outside of the cluster, by place and environment.
type Archive struct {
	mu   sync.Mutex
	kept map[string][]fleet.SleepRecord // oldest first
	away bool
}

// Save keeps a record, or what has been added to it. Other originals under the same run are refused.
func (a *Archive) Save(_ context.Context, url string, r fleet.SleepRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return fmt.Errorf("save sleep %s at %s: nobody answers there", r.Run, url)
	}
	key := url + " " + r.Environment
	i := slices.IndexFunc(a.kept[key], func(k fleet.SleepRecord) bool { return k.Run == r.Run })
	if i < 0 {
		a.kept[key] = append(a.kept[key], r.Clone())
		return nil
	}
	if err := cluster.SameOriginals(a.kept[key][i], r); err != nil {
		return &fleet.Fatal{Err: fmt.Errorf("save sleep %s at %s: %w", r.Run, url, err)}
	}
	a.kept[key][i] = r.Clone()
	return nil
}

// Load returns what is kept of an environment, oldest first.
func (a *Archive) Load(_ context.Context, url, environment string) ([]fleet.SleepRecord, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return nil, fmt.Errorf("load sleeps of environment %s from %s: nobody answers there", environment, url)
	}
	var out []fleet.SleepRecord
	for _, r := range a.kept[url+" "+environment] {
		out = append(out, r.Clone())
	}
	return out, nil
}

// Lose empties the archive.
func (a *Archive) Lose() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.kept)
}

// Away has the archive answer nobody, or everybody again.
func (a *Archive) Away(away bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = away
}
