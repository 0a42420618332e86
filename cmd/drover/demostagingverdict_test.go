package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"drover.dev/sandbox/balancer"
	"drover.dev/sandbox/witness"
)

// goodStaging is what a verdict knows when every promise held.
func goodStaging() stagingVerdict {
	slept := func(group string, nodes []string, left int, notes string) night {
		return night{group: group, nodes: nodes, gone: nodes[:1], left: left, database: "stopped", login: fmt.Errorf("dial: %w", syscall.ECONNREFUSED), money: "0.05 USD an hour", copies: 1, notes: notes}
	}
	return stagingVerdict{
		production: []string{"production/api-1", "production/web-1"}, refusal: map[string]bool{"production/api-1": true, "production/web-1": true},
		onShared: slept("workers", []string{"n1", "n2", "n3"}, 2, noteBefore+"\n"), onOwn: slept("workers-staging", []string{"n4"}, 0, noteBefore+"\n"+noteLater+"\n"),
		traffic: balancer.Report{Sent: 100, OK: 100}, seen: witness.Report{Pods: 2, Stayed: []string{"production/api-1", "production/web-1"}, Checks: 9},
	}
}

// Each promise is broken by itself, and by nothing else.
func TestStagingVerdict(t *testing.T) {
	v := goodStaging()
	var out strings.Builder
	if err := v.print(&out); err != nil || strings.Count(out.String(), "\n  ok ") != stagingPromises {
		t.Fatalf("%v\n%s", err, &out)
	}
	for says, breaks := range map[string]func(*stagingVerdict){
		"101 requests sent, 1 failed":                            func(v *stagingVerdict) { v.traffic.Sent, v.traffic.Failed = 101, 1 },
		"0 requests sent":                                        func(v *stagingVerdict) { v.traffic.Sent = 0 },
		"1 of 2 pods moved or evicted":                           func(v *stagingVerdict) { v.seen.Stayed = v.seen.Stayed[1:] },
		"budgets broken: 1 times":                                func(v *stagingVerdict) { v.seen.Breaks = make([]witness.Break, 1) },
		"names 1 of 2 pods":                                      func(v *stagingVerdict) { delete(v.refusal, "production/api-1") },
		"with 1 pods of production on them":                      func(v *stagingVerdict) { v.onShared.foreign = []string{"production/api-1"} },
		"0 of 3 nodes left, by id":                               func(v *stagingVerdict) { v.onShared.gone = nil },
		"1 before the stop, 1 while it slept":                    func(v *stagingVerdict) { v.onOwn.left = 1 },
		"asleep in workers: the database is available":           func(v *stagingVerdict) { v.onShared.database = "available" },
		"a login works":                                          func(v *stagingVerdict) { v.onOwn.login = nil },
		"a login fails: password":                                func(v *stagingVerdict) { v.onOwn.login = errors.New("password") },
		"saves -":                                                func(v *stagingVerdict) { v.onShared.money = "" },
		"0 records outside":                                      func(v *stagingVerdict) { v.onOwn.copies = 0 },
		`answers with what was written before: ["` + noteLater:   func(v *stagingVerdict) { v.onOwn.notes = noteLater },
		"annotations; 1 things differ":                           func(v *stagingVerdict) { v.changed = []string{"x"} },
		"nothing else was touched, not even meanwhile; 1 things": func(v *stagingVerdict) { v.outside = []string{"x"} },
	} {
		v := goodStaging()
		breaks(&v)
		var out strings.Builder
		err := v.print(&out)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("1 of %d promises did not hold: ", stagingPromises)) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v\n%s", says, err, &out)
		}
	}
}

// stagingPromises is how many the verdict is about.
const stagingPromises = 10

func TestNaiveVerdict(t *testing.T) {
	v := naiveVerdict{
		nodes: []string{"n1", "n2", "n3"}, left: []string{"n2", "n3"}, ours: []string{"n3"}, carried: map[string][]string{"n1": {"production/api-1"}},
		traffic: balancer.Report{Sent: 10, Failed: 2}, seen: witness.Report{Pods: 2, Stayed: []string{"production/web-1"}},
	}
	err := v.print(io.Discard)
	if err == nil {
		t.Fatal("all is well")
	}
	for _, says := range []string{"5 of 5 promises", "AWS took node n1", "It carried production/api-1", "are paid for: n3", "10 requests sent, 2 failed", "1 of 2 pods had to go", "staging has 0 deployments"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("does not say %q: %v", says, err)
		}
	}
	v = naiveVerdict{nodes: []string{"n1", "n2"}, left: []string{"n1"}, ours: []string{"n2"}, carried: v.carried, deployments: []string{"web"}}
	if err := v.print(io.Discard); err != nil {
		t.Errorf("AWS was lucky, and yet: %v", err)
	}
}
