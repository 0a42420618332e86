package metrics

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// told is what a set tells of drover's own metrics: name{labels} value, of histograms count and sum.
func told(t *testing.T, s *Set) map[string]string {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "drover_") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = number(m)
		}
	}
	return out
}

func number(m *dto.Metric) string {
	switch {
	case m.Counter != nil:
		return fmt.Sprint(m.Counter.GetValue())
	case m.Gauge != nil:
		return fmt.Sprint(m.Gauge.GetValue())
	}
	return fmt.Sprintf("%d of %g", m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum())
}

// everything calls every method, with figures that tell them apart.
func everything(s *Set) {
	s.Notice("spot", "eventbridge", "stored")
	s.Notice("spot", "eventbridge", "stored")
	s.Notice("", "", "poison")
	s.Delay(1500 * time.Millisecond)
	s.Poison()
	s.Queue(map[string]int{"visible": 3, "dead": 1}, 90*time.Second)
	s.Cases(map[string]int{"draining": 2, "shut": 1})
	s.Ended(10 * time.Minute)
	s.Margin(-30 * time.Second)
	s.Margin(20 * time.Second)
	s.Shut(time.Second)
	s.Evicted("refused")
	s.Guarded("held")
	s.Killed()
	s.Heartbeat("done")
	s.Completed("gone")
	s.Call("CompleteLifecycleAction", "OK")
	s.Call("CompleteLifecycleAction", "")
	s.Action("create group", "failed")
	s.Holds(map[string]int{"budget": 4})
	s.StoreMove("shop/orders", "sentinel", "done")
	s.StoreMoved(90 * time.Second)
	s.Switched(1200 * time.Millisecond)
	s.Moving(map[string]int{"shop/orders": 1})
	s.Environments([]Environment{{Name: "staging", State: "stopping", Holds: 1}, {Name: "qa", State: "on"}})
	s.Environments([]Environment{{Name: "staging", State: "asleep", Holds: 2, Fights: 3, Blocked: 4}})
	s.Saved("staging", "USD", 1.5)
	s.Saved("staging", "USD", -1)
	s.Leader(true)
	s.Tick(20 * time.Millisecond)
}

func TestEverythingIsCounted(t *testing.T) {
	s := New("v1.2.3")
	everything(s)
	want := map[string]string{
		"drover_notices_total{fate=stored,kind=spot,source=eventbridge}":         "2",
		"drover_notices_total{fate=poison,kind=none,source=none}":                "1",
		"drover_notice_delay_seconds{}":                                          "1 of 1.5",
		"drover_poison_messages_total{}":                                         "1",
		"drover_queue_messages{state=visible}":                                   "3",
		"drover_queue_messages{state=dead}":                                      "1",
		"drover_queue_oldest_seconds{}":                                          "90",
		"drover_cases{phase=draining}":                                           "2",
		"drover_cases{phase=shut}":                                               "1",
		"drover_case_duration_seconds{}":                                         "1 of 600",
		"drover_case_deadline_margin_seconds{}":                                  "2 of -10",
		"drover_time_to_shut_seconds{}":                                          "1 of 1",
		"drover_evictions_total{result=refused}":                                 "1",
		"drover_guard_reviews_total{decision=held}":                              "1",
		"drover_pods_killed_total{}":                                             "1",
		"drover_hook_heartbeats_total{result=done}":                              "1",
		"drover_hook_completions_total{result=gone}":                             "1",
		"drover_aws_calls_total{action=CompleteLifecycleAction,code=OK}":         "1",
		"drover_aws_calls_total{action=CompleteLifecycleAction,code=none}":       "1",
		"drover_actions_total{result=failed,verb=create group}":                  "1",
		"drover_holds{class=budget}":                                             "4",
		"drover_store_moves_total{mover=sentinel,result=done,store=shop/orders}": "1",
		"drover_store_move_seconds{}":                                            "1 of 90",
		"drover_store_switch_seconds{}":                                          "1 of 1.2",
		"drover_store_move_active{store=shop/orders}":                            "1",
		"drover_environment_state{environment=staging,state=stopping}":           "0",
		"drover_environment_state{environment=staging,state=asleep}":             "1",
		"drover_environment_state{environment=qa,state=on}":                      "0",
		"drover_environment_saved_total{currency=USD,environment=staging}":       "1.5",
		"drover_environment_holds{environment=staging}":                          "2",
		"drover_environment_holds{environment=qa}":                               "0",
		"drover_environment_fights{environment=staging}":                         "3",
		"drover_environment_fights{environment=qa}":                              "0",
		"drover_environment_blocked{environment=staging}":                        "4",
		"drover_environment_blocked{environment=qa}":                             "0",
		"drover_leader{}":                                                        "1",
		"drover_tick_seconds{}":                                                  "1 of 0.02",
		"drover_build_info{version=v1.2.3}":                                      "1",
	}
	got := told(t, s)
	for series, v := range want {
		if got[series] != v {
			t.Errorf("%s is %q, want %s", series, got[series], v)
		}
	}
	for series := range got {
		if want[series] == "" {
			t.Errorf("%s was not expected", series)
		}
	}
	for _, m := range Table {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(s string) bool { return strings.HasPrefix(s, m.Name+"{") }) {
			t.Errorf("%s: no method counts it", m.Name)
		}
	}
}

// Before anything happens, what has no labels is there at zero: an alert can tell zero from silence.
func TestFromTheStart(t *testing.T) {
	got := told(t, New("dev"))
	for _, m := range Table {
		v, there := got[m.Name+"{}"]
		if want := map[Type]string{Counter: "0", Gauge: "0", Histogram: "0 of 0"}[m.Type]; len(m.Labels) == 0 && (!there || v != want) {
			t.Errorf("%s is %q at the start, want %s", m.Name, v, want)
		}
	}
}

// What is not named any more is none, and does not disappear.
func TestGaugesAreReplaced(t *testing.T) {
	s := New("dev")
	s.Cases(map[string]int{"draining": 2, "shut": 1})
	s.Cases(map[string]int{"shut": 5})
	s.Leader(true)
	s.Leader(false)
	got := told(t, s)
	if got["drover_cases{phase=draining}"] != "0" || got["drover_cases{phase=shut}"] != "5" || got["drover_leader{}"] != "0" {
		t.Errorf("%v", got)
	}
}

// Whatever others send, series do not grow without end, and sentences do not become labels.
func TestSeriesAreBounded(t *testing.T) {
	s := New("dev")
	for i := range 5 * mostWords {
		s.Call("Act", fmt.Sprintf("Code%d", i))
	}
	s.Call("Act", "Code0")
	s.Call("Evict", "InvalidInstance: the instance i-1 is not in the group, and so on")
	s.Call("Evict", strings.Repeat("x", 65))
	s.Call("Evict", "bad\xff")
	s.Moving(map[string]int{strings.Repeat("n", 63) + "/" + strings.Repeat("s", 63): 1, "shop/orders/0": 1})
	got := told(t, s)
	series := 0
	for name := range got {
		if strings.HasPrefix(name, "drover_aws_calls_total{action=Act") {
			series++
		}
	}
	if rest := got["drover_aws_calls_total{action=Act,code=other}"]; series != mostWords+1 || rest != fmt.Sprint(4*mostWords) {
		t.Errorf("%d series, %s calls among the others", series, rest)
	}
	if got["drover_aws_calls_total{action=Act,code=Code0}"] != "2" || got["drover_aws_calls_total{action=Evict,code=other}"] != "3" {
		t.Errorf("%v", got)
	}
	if got["drover_store_move_active{store="+strings.Repeat("n", 63)+"/"+strings.Repeat("s", 63)+"}"] != "1" || got["drover_store_move_active{store=other}"] != "1" {
		t.Errorf("%v", got)
	}
	many := map[string]int{}
	for i := range 2 * mostWords {
		many[fmt.Sprintf("class-%d", i)] = 1
	}
	s.Holds(many)
	if got := told(t, s)["drover_holds{class=other}"]; got != fmt.Sprint(mostWords) {
		t.Errorf("%s holds among the others", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := New("dev")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				everything(s)
			}
		})
	}
	all.Wait()
	if got := told(t, s); got["drover_pods_killed_total{}"] != "400" || got["drover_cases{phase=shut}"] != "1" {
		t.Errorf("%v", got)
	}
}

// Prometheus' own rules for names, and ours for labels.
func TestNames(t *testing.T) {
	s := New("dev")
	everything(s)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range Table {
		for _, l := range m.Labels {
			if slices.Contains([]string{"node", "pod", "instance", "namespace", "error", "reason", "message", "case", "le"}, l.Name) {
				t.Errorf("%s has a label %s, whose values have no end", m.Name, l.Name)
			}
		}
		if m.Means == "" || !strings.HasSuffix(m.Means, ".") || (m.Type == Histogram) != (len(m.Buckets) > 0) || !slices.IsSorted(m.Buckets) {
			t.Errorf("%s is described badly: %+v", m.Name, m)
		}
		if m.Type == Histogram && (len(m.Labels) > 0 || !strings.HasSuffix(m.Name, "_seconds")) {
			t.Errorf("%s: histograms are of seconds, and have no labels", m.Name)
		}
	}
}

// The page of metrics says what the table says. UPDATE=1 go test ./metrics writes it.
func TestMetricsPage(t *testing.T) {
	const page = "../docs/metrics.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != Page() {
		t.Errorf("%s is not what the table says (%v); UPDATE=1 go test ./metrics writes it", page, err)
	}
}
