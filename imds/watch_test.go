package imds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/fleet"
)

// watched is a watch on a clock of its own, and what was heard of it.
type watched struct {
	*service
	began   time.Time
	refuse  bool
	heard   []string
	notices []fleet.Notice
	trouble []string
	end     func() error
}

// watching begins a watch of a new service, every two seconds, and ends it after the story.
func watching(t *testing.T, story func(w *watched)) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{service: newService(), began: time.Now()}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		w.end = func() error { cancel(errors.New("enough")); return <-ended }
		go func() { ended <- Watch(ctx, w.client(), 2*time.Second, w.emit, w.troubled) }()
		synctest.Wait()
		story(w)
		if err := w.end(); err == nil || err.Error() != "enough" {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

func (w *watched) emit(n fleet.Notice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse {
		return errors.New("not now")
	}
	over := map[bool]string{true: " is over"}[n.Over]
	w.heard = append(w.heard, fmt.Sprintf("%s %s%s", time.Since(w.began), n.ID, over))
	w.notices = append(w.notices, n)
	return nil
}

func (w *watched) troubled(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = append(w.trouble, fmt.Sprintf("%s %s", time.Since(w.began).Round(time.Second), err))
}

// pass lets time pass. While it does, the watch runs; otherwise only the story does, and may look at and change everything.
func (w *watched) pass(d time.Duration) {
	w.sync()
	time.Sleep(d)
	synctest.Wait()
	w.sync()
}

// sync orders the story and the watch for the race detector, which does not know that they take turns.
func (s *service) sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

func (w *watched) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(w.heard, want) {
		t.Errorf("heard %q, want %q", w.heard, want)
	}
}

func spotAt(at time.Time) string {
	return `{"action": "terminate", "time": "` + at.Format(time.RFC3339) + `"}`
}

func planned(id, code, state string) string {
	return fmt.Sprintf(`{"NotBefore": "21 Jan 2026 09:00:43 GMT", "Code": %q, "Description": "", "EventId": %q, "NotAfter": "21 Jan 2026 09:17:23 GMT", "State": %q}`, code, id, state)
}

// A change is told once, and its end; nothing is told of what stays as it is.
func TestOnlyChangesAreTold(t *testing.T) {
	watching(t, func(w *watched) {
		w.set("autoscaling/target-lifecycle-state", "InService")
		w.pass(5 * time.Second)
		w.want(t)
		w.set("spot/instance-action", spotAt(w.began.Add(125*time.Second)))
		w.pass(10 * time.Second)
		w.want(t, "6s spot")
		w.set("spot/instance-action", "")
		w.pass(10 * time.Second)
		w.want(t, "6s spot", "16s spot is over")
		w.set("spot/instance-action", spotAt(w.began.Add(145*time.Second)))
		w.pass(10 * time.Second)
		w.want(t, "6s spot", "16s spot is over", "26s spot")
		if len(w.trouble) > 0 {
			t.Error(w.trouble)
		}
	})
}

// What is said of a spot instance is what the queue's event would have said.
func TestSpotNotice(t *testing.T) {
	watching(t, func(w *watched) {
		deadline := w.began.Add(2 * time.Minute).UTC()
		w.set("spot/instance-action", spotAt(deadline))
		w.pass(3 * time.Second)
		got := w.notices[0]
		want := fleet.Notice{
			Kind: fleet.SpotInterruption, Source: fleet.FromMetadata, ID: "spot", At: w.began.UTC(), Why: got.Why, Instance: itself,
			Effect: "terminate", Deadline: deadline, Account: "210987654321", Region: "eu-west-1",
		}
		if got != want || !strings.Contains(got.Why, "terminate at "+deadline.Format(time.RFC3339)) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// Several events stand in one item. Each has its own beginning and end, and one that moves is told again.
func TestScheduledEvents(t *testing.T) {
	watching(t, func(w *watched) {
		const path = "events/maintenance/scheduled"
		w.set(path, "["+planned("e-1", "system-reboot", "active")+","+planned("e-2", "instance-retirement", "active")+"]")
		w.pass(3 * time.Second)
		w.want(t, "2s scheduled/e-1", "2s scheduled/e-2")
		if a, b := w.notices[0], w.notices[1]; a.Effect != "reboot" || b.Effect != "retire" || a.Deadline != time.Date(2026, 1, 21, 9, 0, 43, 0, time.UTC) {
			t.Errorf("%+v, %+v", a, b)
		}
		w.set(path, "["+strings.Replace(planned("e-1", "system-reboot", "active"), "21 Jan", "22 Jan", 1)+","+planned("e-2", "instance-retirement", "completed")+"]")
		w.pass(2 * time.Second)
		w.want(t, "2s scheduled/e-1", "2s scheduled/e-2", "4s scheduled/e-1", "4s scheduled/e-2 is over")
		w.set(path, "[]")
		w.pass(2 * time.Second)
		w.want(t, "2s scheduled/e-1", "2s scheduled/e-2", "4s scheduled/e-1", "4s scheduled/e-2 is over", "6s scheduled/e-1 is over")
	})
}

// What was not taken is told again until it is, its end too.
func TestToldUntilTaken(t *testing.T) {
	watching(t, func(w *watched) {
		w.refuse = true
		w.set("events/recommendations/rebalance", `{"noticeTime": "2026-03-04T10:00:00Z"}`)
		w.pass(5 * time.Second)
		w.want(t)
		if len(w.trouble) != 2 || !strings.Contains(w.trouble[0], "more likely than before") || !strings.HasSuffix(w.trouble[0], ": not now") {
			t.Errorf("trouble: %q", w.trouble)
		}
		w.refuse = false
		w.pass(2 * time.Second)
		w.want(t, "6s rebalance")
		w.refuse = true
		w.set("events/recommendations/rebalance", "")
		w.pass(4 * time.Second)
		w.refuse = false
		w.pass(2 * time.Second)
		w.want(t, "6s rebalance", "12s rebalance is over")
	})
}

// An instance on its way to the warm pool does not die; when it is to after all, that is told.
func TestTargetState(t *testing.T) {
	watching(t, func(w *watched) {
		const path = "autoscaling/target-lifecycle-state"
		w.set(path, "Warmed:Stopped\n")
		w.pass(3 * time.Second)
		w.set(path, "Warmed:Terminated")
		w.pass(2 * time.Second)
		w.set(path, "Terminated")
		w.pass(2 * time.Second)
		w.set(path, "InService")
		w.pass(2 * time.Second)
		w.want(t, "2s terminate-hook/", "4s terminate-hook/", "6s terminate-hook/", "8s terminate-hook/ is over")
		var ways []string
		for _, n := range w.notices[:3] {
			ways = append(ways, n.Origin+">"+n.Destination+" "+n.Effect+n.Hook)
		}
		if want := []string{">WarmPool ", "WarmPool>EC2 terminate", "AutoScalingGroup>EC2 terminate"}; !slices.Equal(ways, want) {
			t.Errorf("%q, want %q", ways, want)
		}
	})
}

// While nothing is answered, nothing that was said is taken back, and questions get further apart, up to a minute. Then all goes on.
func TestSilenceIsNoCancellation(t *testing.T) {
	watching(t, func(w *watched) {
		w.set("spot/instance-action", spotAt(w.began.Add(2*time.Minute)))
		w.pass(3 * time.Second)
		w.down = true
		w.pass(10 * time.Minute)
		w.want(t, "2s spot")
		if n := len(w.trouble); n < 20 || n > 4*18 {
			t.Errorf("%d errors of ten minutes: %q", n, w.trouble)
		}
		w.down = false
		w.set("spot/instance-action", "")
		w.pass(time.Minute)
		if len(w.heard) != 2 || !strings.HasSuffix(w.heard[1], "spot is over") {
			t.Errorf("heard %q", w.heard)
		}
		asked := w.asked
		w.pass(20 * time.Second)
		if w.asked != asked+10*len(items) {
			t.Errorf("asked %d times in 20s, want every 2s again", w.asked-asked)
		}
	})
}

// One item that cannot be read is no reason not to read the others.
func TestOneItemBroken(t *testing.T) {
	watching(t, func(w *watched) {
		w.set("spot/instance-action", `{"action": "explode", "time": "2026-03-04T10:00:00Z"}`)
		w.set("events/recommendations/rebalance", `{"noticeTime": "soon"}`)
		w.set("events/maintenance/scheduled", `[{"State": "active", "Code": "system-reboot"}]`)
		w.set("autoscaling/target-lifecycle-state", "Terminated")
		w.pass(3 * time.Second)
		w.want(t, "2s terminate-hook/")
		want := []string{
			`2s read metadata spot/instance-action: "explode" is nothing that EC2 is known to do to a spot instance`,
			`2s read metadata events/recommendations/rebalance: "soon" is no moment, such as 2026-01-02T15:04:05Z or Fri, 02 Jan 2026 15:04:05 GMT`,
			`2s read metadata events/maintenance/scheduled: a system-reboot without an id`,
		}
		if !slices.Equal(w.trouble, want) {
			t.Errorf("trouble %q, want %q", w.trouble, want)
		}
	})
}

func TestBrokenItems(t *testing.T) {
	for _, it := range items {
		for _, body := range []string{"{", "[1]", `"x"`, "7", "<html>", `{"action": 5}`, `[{"EventId": "e", "State": "active", "NotBefore": "x"}]`} {
			if ns, err := it.read(fleet.Notice{}, body); err == nil {
				t.Errorf("%s: %s reads as %v", it.path, body, ns)
			}
		}
	}
}

// Tokens run out after five minutes, or earlier when the service forgets them. Neither is noticed.
func TestTokensAreRenewed(t *testing.T) {
	watching(t, func(w *watched) {
		w.pass(17 * time.Minute)
		if w.made != 4 {
			t.Errorf("%d tokens in 17 minutes, want 4", w.made)
		}
		clear(w.tokens)
		w.set("spot/instance-action", spotAt(time.Now().Add(2*time.Minute)))
		w.pass(10 * time.Second)
		if len(w.heard) != 1 || len(w.trouble) > 0 {
			t.Errorf("heard %q, trouble %q", w.heard, w.trouble)
		}
	})
}

// A watch begins although the service is not there yet.
func TestServiceComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.far = true
		s.set("autoscaling/target-lifecycle-state", "Terminated")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		time.AfterFunc(time.Minute, func() { s.reach(true) })
		var heard []fleet.Notice
		err := Watch(ctx, s.client(), time.Second, func(n fleet.Notice) error { heard = append(heard, n); return nil }, nil)
		if !errors.Is(err, context.DeadlineExceeded) || len(heard) != 1 || heard[0].Instance != itself {
			t.Errorf("%v, %v", heard, err)
		}
	})
}

func TestWatchOfNoPace(t *testing.T) {
	if err := Watch(t.Context(), newService().client(), 0, nil, nil); err == nil || !strings.Contains(err.Error(), "every 0s") {
		t.Errorf("%v", err)
	}
}
