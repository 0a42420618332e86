package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/pipeline"
)

// wireline is a pipeline that takes a while, or loses what it is given. It is the controller's logbook, too.
type wireline struct {
	takes time.Duration
	loses bool
	deaf  error // reading the logbook fails
	sent  []pipeline.Canary
	at    time.Time
}

func (l *wireline) SendCanary(_ context.Context, c pipeline.Canary) error {
	l.sent, l.at = append(l.sent, c), time.Now()
	return nil
}

func (l *wireline) AwaitCanary(ctx context.Context, queue string, c pipeline.Canary, within time.Duration) (bool, error) {
	if queue != "drover-prod" || len(l.sent) != 1 || c != l.sent[0] || c.Cluster != "prod" {
		return false, errors.New("asked for something else")
	}
	if l.loses {
		<-ctx.Done()
		return false, nil
	}
	time.Sleep(l.takes)
	return true, nil
}

func (l *wireline) ReadCanaries(context.Context) (map[string]time.Time, error) {
	out := map[string]time.Time{"canary-of-yesterday": time.Now()}
	if l.deaf == nil && !l.loses && time.Since(l.at) >= l.takes {
		out[l.sent[0].ID] = time.Now()
	}
	return out, l.deaf
}

// finished is the yard with everything set up.
func finished() *ground {
	g := yard()
	changes, _ := pipeline.Plan(g.wanted, g.found)
	g.found = g.found.After(changes)
	return g
}

func reported(t *testing.T, g *ground, c courier) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: io.Discard, output: "table"}
	err := a.report(t.Context(), g, guardStatus{}, c, time.Minute)
	return out.String(), err
}

func codeOf(err error) int {
	var coded *exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &coded):
		return coded.code
	}
	return exitFailed
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		spoil      func(*ground)
		line       *wireline
		leader     string
		code       int
		says       string
	}{
		{"all well", "check.txt", nil, &wireline{takes: 1300 * time.Millisecond}, "drover-0, pid 1 (0a1b)", exitDone, "came through in 1.5s, received by controller drover-0"},
		{"nobody leads", "", nil, &wireline{takes: 1300 * time.Millisecond}, "", exitDone, "came through in 1.3s, received by this process"},
		{"lost", "check-lost.txt", nil, &wireline{loses: true}, "", exitBlocked, "canary-lost"},
		{"the controller does not receive", "", nil, &wireline{loses: true}, "drover-0", exitBlocked, "see the controller's log"},
		{"the controller's notes cannot be read", "", nil, &wireline{deaf: errors.New("forbidden")}, "drover-0", exitFailed, ""},
		{"a group without a hook", "check-hook.txt", func(g *ground) { g.found.Groups["web"] = pipeline.Scaling{} }, &wireline{}, "", exitChanges, "hook-missing"},
		{"no rule for the test", "", func(g *ground) { delete(g.found.Rules, "drover-prod-canary") }, &wireline{}, "", exitChanges, "No test message was sent: rule drover-prod-canary: there is none"},
		{"no queue", "", func(g *ground) { g.found.Queue = nil }, &wireline{}, "", exitBlocked, "No test message was sent: queue drover-prod: there is none"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := finished()
			if tc.spoil != nil {
				tc.spoil(g)
			}
			began := time.Now()
			text, err := reported(t, g, courier{tc.line, tc.line, tc.leader})
			if codeOf(err) != tc.code || !strings.Contains(text, tc.says) {
				t.Errorf("%s: %v\n%s", tc.name, err, text)
			}
			if lost := tc.line.loses; lost != (time.Since(began) == time.Minute) {
				t.Errorf("%s: took %s", tc.name, time.Since(began))
			}
			if skipped := strings.Contains(text, "No test message was sent"); len(tc.line.sent) > 1 || skipped == (len(tc.line.sent) == 1) {
				t.Errorf("%s: %d canaries sent", tc.name, len(tc.line.sent))
			}
			if tc.file != "" {
				golden(t, "testdata/"+tc.file, text)
			}
		})
	}
}

func TestCheckAsADocument(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: io.Discard, output: "json"}
	if err := a.report(t.Context(), finished(), guardStatus{}, courier{line: &wireline{}, leader: ""}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"kind": "Check"`, `"queue": "drover-prod"`, `"hook": "drover-terminate"`, `"heartbeatSeconds": 300`, `"came": true`, `"findings": []`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("lacks %s:\n%s", part, out.String())
		}
	}
}

func TestWhoLeads(t *testing.T) {
	who, lasts := "drover-0", int32(18)
	lease := func(ago time.Duration) *coordinationv1.Lease {
		at := metav1.NewMicroTime(noon.Add(-ago))
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &who, RenewTime: &at, LeaseDurationSeconds: &lasts}}
	}
	for ago, want := range map[time.Duration]string{2 * time.Second: who, 30 * time.Second: who, 37 * time.Second: "", -time.Second: who} {
		if got := leading(lease(ago), noon); got != want {
			t.Errorf("renewed %s ago: %q leads", ago, got)
		}
	}
	if got := leading(&coordinationv1.Lease{}, noon); got != "" {
		t.Errorf("an empty lease: %q leads", got)
	}
}
