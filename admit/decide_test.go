package admit

import (
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	usual := Bound{Hold: 10 * time.Minute, OnTimeout: Allow}
	asked := func(ago time.Duration) func(*Pod) {
		return func(p *Pod) { p.Asked = &fleet.Asked{At: noon.Add(-ago), By: "bob (kubectl or the like)"} }
	}
	young := func(p *Pod) { p.Node, p.Created, p.Settled, p.Live = "n-2", noon.Add(-20*time.Second), true, true }
	for _, tc := range []struct {
		name    string
		e       Eviction
		pod     func(*Pod)
		bound   Bound
		verdict Verdict
		ask     bool
		says    string // contained; "" for nothing said
	}{
		{"the first time", Eviction{}, nil, usual, Held, true, "drover moves this pod: sentinel, store shop/orders: waits for its turn; asked for at 2026-11-22T12:00:00Z by alice; try again; at 2026-11-22T12:10:00Z it may be evicted in any case"},
		{"again", Eviction{}, asked(time.Minute), usual, Held, false, "asked for at 2026-11-22T11:59:00Z by bob (kubectl or the like)"},
		{"while it moves", Eviction{}, func(p *Pod) { p.Step = "waits for orders-1 to be in sync" }, usual, Held, true, "sentinel, store shop/orders: waits for orders-1 to be in sync; "},
		{"its successor, by name alone", Eviction{}, young, usual, Moved, false, "has left its node: this one of the same name was created 20s ago on node n-2, which nobody drains"},
		{"its successor, by its UID", Eviction{UID: "u-1"}, young, usual, Held, true, "drover moves"},
		{"its successor, by what was seen a moment ago", Eviction{}, func(p *Pod) { young(p); p.Live = false }, usual, Held, true, "drover moves"},
		{"its successor, that was asked for", Eviction{}, func(p *Pod) { young(p); asked(time.Second)(p) }, usual, Held, false, "drover moves"},
		{"its successor, on a node that is drained", Eviction{}, func(p *Pod) { young(p); p.Settled = false }, usual, Held, true, "drover moves"},
		{"a pod that has been there for long", Eviction{}, func(p *Pod) { young(p); p.Created = noon.Add(-time.Hour) }, usual, Held, true, "drover moves"},
		{"in trouble", Eviction{}, func(p *Pod) { p.Step, p.Trouble = "waits", "two masters" }, usual, Held, true, "it is not moved now: two masters; asked"},
		{"an operator's", Eviction{}, func(p *Pod) { p.Store, p.Mover = "", "CloudNativePG" }, usual, Held, true, "drover moves this pod: CloudNativePG: waits"},
		{"just before the bound", Eviction{}, asked(10*time.Minute - time.Second), usual, Held, false, "try again"},
		{"at the bound", Eviction{}, asked(10 * time.Minute), usual, TimedOut, false, "drover lets this pod be evicted though its mover has not moved it within 10m: sentinel, store shop/orders: waits for its turn; asked for at 2026-11-22T11:50:00Z by bob"},
		{"at the bound, blocked", Eviction{}, asked(time.Hour), Bound{10 * time.Minute, Block}, Held, false, "by bob (kubectl or the like); try again"},
		{"asked for by a clock that is ahead", Eviction{}, asked(-30 * time.Second), usual, Held, false, "asked for at 2026-11-22T12:00:30Z"},
		{"asked for in another year", Eviction{}, asked(-24 * 365 * time.Hour), usual, Held, true, "asked for at 2026-11-22T12:00:00Z by alice"},
		{"asked for at no moment", Eviction{}, func(p *Pod) { p.Asked = &fleet.Asked{By: "bob"} }, usual, Held, true, "asked for at 2026-11-22T12:00:00Z by alice"},
		{"the right UID", Eviction{UID: "u-1"}, nil, usual, Held, true, "drover moves"},
		{"another UID", Eviction{UID: "u-0"}, func(p *Pod) { p.Live = true }, usual, Passed, false, ""},
		{"another UID, as far as was seen", Eviction{Namespace: "shop", Name: "orders-0", UID: "u-0"}, nil, usual, Failed, false, "could not tell what pod shop/orders-0 with UID u-0 is: it was not looked up live"},
		{"asked for by a drain that goes on", Eviction{}, asked(70 * time.Minute), usual, TimedOut, false, "by bob"},
		{"asked for by a drain of three weeks ago", Eviction{}, asked(21 * 24 * time.Hour), usual, Held, true, "asked for at 2026-11-22T12:00:00Z by alice"},
		{"drover's own", Eviction{Run: "r-1"}, nil, usual, Own, false, ""},
		{"drover's own, tried", Eviction{Run: "r-1", DryRun: true}, nil, usual, Own, false, ""},
		{"a probe", Eviction{Run: Probe, DryRun: true}, nil, usual, Own, false, Here},
		{"a pod of no mover's", Eviction{}, func(p *Pod) { p.Mover = "" }, usual, Passed, false, ""},
		{"a pod that is over", Eviction{}, func(p *Pod) { p.Over = true }, usual, Passed, false, ""},
		{"a pod that may go", Eviction{}, func(p *Pod) { p.Free = true }, usual, Passed, false, ""},
		{"a dry run", Eviction{DryRun: true}, nil, usual, Held, false, "in any case; dry run: nothing was noted"},
		{"a dry run, blocked", Eviction{DryRun: true}, nil, Bound{time.Minute, Block}, Held, false, "try again; dry run: nothing was noted"},
		{"a dry run at the bound", Eviction{DryRun: true}, asked(time.Hour), usual, TimedOut, false, "dry run: nothing was noted"},
	} {
		p := &Pod{UID: "u-1", Mover: "sentinel", Store: "shop/orders"}
		if p.Bound = tc.bound; tc.pod != nil {
			tc.pod(p)
		}
		tc.e.By = "alice"
		d := Decide(tc.e, p, noon)
		if d.Verdict != tc.verdict || d.Ask != tc.ask || (tc.says == "") != (d.Says == "") || !strings.Contains(d.Says, tc.says) {
			t.Errorf("%s: %+v", tc.name, d)
		}
	}
	if d := Decide(Eviction{}, nil, noon); d != (Decision{Verdict: Passed}) {
		t.Errorf("no such pod: %+v", d)
	}
}

// No eviction that goes on is held for longer than the bound, however often it is tried and whatever the mover does meanwhile.
func TestNobodyIsHostage(t *testing.T) {
	p := &Pod{UID: "u-1", Mover: "sentinel", Store: "shop/orders", Trouble: "no controller leads", Bound: Bound{Hold: 10 * time.Minute, OnTimeout: Allow}}
	for now := noon; ; now = now.Add(5 * time.Second) {
		d := Decide(Eviction{By: "alice"}, p, now)
		if d.Ask {
			p.Asked = &fleet.Asked{At: d.At, By: "alice"}
		}
		if d.Verdict == TimedOut {
			if now != noon.Add(p.Bound.Hold) {
				t.Errorf("let through after %s", now.Sub(noon))
			}
			return
		}
		if now.After(noon.Add(time.Hour)) {
			t.Fatal("still held after an hour")
		}
	}
}

// What would let a pod go, or send its eviction away, is read live first.
func TestDoubtful(t *testing.T) {
	pod := func(change func(*Pod)) *Pod {
		p := &Pod{UID: "u-1", Mover: "sentinel", Created: noon.Add(-time.Minute)}
		change(p)
		return p
	}
	for _, tc := range []struct {
		name string
		e    Eviction
		p    *Pod
		want bool
	}{
		{"not seen", Eviction{}, nil, true},
		{"drover's own", Eviction{Run: "r-1"}, nil, false},
		{"another UID", Eviction{UID: "u-2"}, pod(func(*Pod) {}), true},
		{"another UID, of no mover", Eviction{UID: "u-2"}, pod(func(p *Pod) { p.Mover = "" }), true},
		{"the UID", Eviction{UID: "u-1"}, pod(func(*Pod) {}), false},
		{"over", Eviction{}, pod(func(p *Pod) { p.Over = true }), true},
		{"over, of no mover", Eviction{}, pod(func(p *Pod) { p.Over, p.Mover = true, "" }), false},
		{"young and settled", Eviction{}, pod(func(p *Pod) { p.Settled = true }), true},
		{"young and settled, by its UID", Eviction{UID: "u-1"}, pod(func(p *Pod) { p.Settled = true }), false},
		{"young and settled, asked for", Eviction{}, pod(func(p *Pod) { p.Settled, p.Asked = true, &fleet.Asked{At: noon} }), false},
		{"young, its node is drained", Eviction{}, pod(func(*Pod) {}), false},
		{"settled for long", Eviction{}, pod(func(p *Pod) { p.Settled, p.Created = true, noon.Add(-time.Hour) }), false},
	} {
		if got := Doubtful(tc.e, tc.p, noon); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
