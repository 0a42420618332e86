package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"drover.dev/fleet"
	"drover.dev/metrics"
)

// The page about notices names commands, flags, defaults and metrics that exist.
func TestNoticesPageIsTrue(t *testing.T) {
	raw, err := os.ReadFile("../../docs/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	root := testRoot()
	flags, verbs := map[string]bool{}, map[string]bool{}
	for _, c := range commands(root) {
		verbs[strings.TrimPrefix(c.CommandPath(), root.Name()+" ")] = true
		c.Flags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
	}
	for _, foreign := range []string{"message-attribute-names", "lifecycle-action-result", "instance-id", "lifecycle-hook-name", "auto-scaling-group-name"} {
		flags[foreign] = true // the aws CLI's
	}
	each(t, page, `--([a-z][a-z-]+)`, func(name string) bool { return flags[name] })
	each(t, page, "(?m)(?:`|^)drover ([a-z]+(?: node| pod)?)\\b", func(verb string) bool { return verbs[verb] })
	each(t, page, `\b(drover_[a-z_]+)`, func(name string) bool {
		return slices.ContainsFunc(metrics.Table, func(m metrics.Metric) bool { return m.Name == strings.TrimSuffix(name, "_bucket") })
	})
	controller, _, err := root.Find([]string{"controller"})
	if err != nil {
		t.Fatal(err)
	}
	each(t, page, "\\| `--([a-z-]+` \\| (?:`[^`]+`|off))", func(row string) bool {
		name, is, _ := strings.Cut(row, "` | ")
		f := controller.Flags().Lookup(name)
		want := strings.NewReplacer("off", "false", "`", "").Replace(is)
		return f != nil && (f.DefValue == want || f.DefValue == want+"0s" || f.DefValue == want+"0m0s")
	})
	if !strings.Contains(page, "`"+fleet.TaintKey+"="+fleet.NoticeRun+":NoSchedule`") {
		t.Error("the taint is another one")
	}
	for _, k := range []fleet.NoticeKind{fleet.TerminateHook, fleet.LaunchHook, fleet.SpotInterruption, fleet.Rebalance, fleet.StateChange, fleet.ScheduledChange, fleet.CapacityBlock,
		fleet.CapacityReservation, fleet.TestNotice, fleet.CanaryNotice} {
		if !strings.Contains(page, "`"+string(k)+"`") {
			t.Errorf("kind %s is not on the page", k)
		}
	}
}

// each finds something in the page, at least once, and holds every find true.
func each(t *testing.T, page, pattern string, holds func(string) bool) {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(page, -1)
	if len(found) == 0 {
		t.Errorf("nothing on the page is like %s", pattern)
	}
	for _, m := range found {
		if !holds(m[1]) {
			t.Errorf("%q does not exist, or is otherwise", m[1])
		}
	}
}
