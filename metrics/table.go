package metrics

import (
	"fmt"
	"strings"
)

// Type is the type of a metric, in Prometheus' words.
type Type string

// The types.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Metric is one line of the table.
type Metric struct {
	Name    string
	Type    Type
	Labels  []Label
	Means   string
	Buckets []float64 // of a histogram: upper bounds, in seconds
}

// Label is a label with the words that it takes.
type Label struct{ Name, Words string }

const (
	notices        = "drover_notices_total"
	noticeDelay    = "drover_notice_delay_seconds"
	poison         = "drover_poison_messages_total"
	queueMessages  = "drover_queue_messages"
	queueOldest    = "drover_queue_oldest_seconds"
	cases          = "drover_cases"
	caseMargin     = "drover_case_deadline_margin_seconds"
	caseDuration   = "drover_case_duration_seconds"
	timeToShut     = "drover_time_to_shut_seconds"
	evictions      = "drover_evictions_total"
	guarded        = "drover_guard_reviews_total"
	podsKilled     = "drover_pods_killed_total"
	hookHeartbeats = "drover_hook_heartbeats_total"
	hookCompletion = "drover_hook_completions_total"
	awsCalls       = "drover_aws_calls_total"
	actions        = "drover_actions_total"
	holds          = "drover_holds"
	storeMoves     = "drover_store_moves_total"
	storeSwitch    = "drover_store_switch_seconds"
	storeMove      = "drover_store_move_seconds"
	storeActive    = "drover_store_move_active"
	envState       = "drover_environment_state"
	envSaved       = "drover_environment_saved_total"
	envHolds       = "drover_environment_holds"
	envFights      = "drover_environment_fights"
	envBlocked     = "drover_environment_blocked"
	leader         = "drover_leader"
	tick           = "drover_tick_seconds"
	build          = "drover_build_info"
)

var (
	kind   = Label{"kind", "terminate-hook, launch-hook, spot, rebalance, state, scheduled, capacity-block, capacity-reservation, test, canary; none for what was not understood"}
	source = Label{"source", "eventbridge, auto-scaling, sns, sweep, imds, person; none for what was not understood"}
	store  = Label{"store", "namespace/name of a store"}
	named  = Label{"environment", "name of an environment"}
	fate   = Label{"fate", "stored, known, ignored, foreign, poison, canary, failed"}
)

// Table is every metric of drover's own. docs/metrics.md is made of it.
var Table = []Metric{
	{notices, Counter, []Label{kind, source, fate}, "Notices, by what became of them.", nil},
	{noticeDelay, Histogram, nil, "From when AWS sent a notice to when it was on file.", []float64{0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 3600}},
	{poison, Counter, nil, "Messages that were not understood and were set aside. Each wants a person.", nil},
	{queueMessages, Gauge, []Label{{"state", "visible, in-flight, delayed"}}, "Messages of the queue, as SQS counts them: approximately.", nil},
	{queueOldest, Gauge, nil, "Age of the oldest message that this process has in hand; SQS tells of no other.", nil},
	{cases, Gauge, []Label{{"phase", "the phases of open cases"}}, "Open cases.", nil},
	{caseMargin, Histogram, nil, "Time left to the deadline when a node was empty; below 0 when it was not in time. Cases without a deadline are not counted.",
		[]float64{-600, -120, -60, -30, -10, 0, 10, 30, 60, 90, 120, 300, 900, 3600, 86400}},
	{caseDuration, Histogram, nil, "From when a case was opened to its end.", []float64{1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400, 172800}},
	{timeToShut, Histogram, nil, "From when it was heard that a node goes to when it was tainted and out of load balancers.", []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300}},
	{evictions, Counter, []Label{{"result", "done, refused, failed"}}, "Evictions, by answer. Refused is what a budget does.", nil},
	{guarded, Counter, []Label{{"decision", "passed, own, held, timed-out, failed"}}, "Evictions that the guard was asked about, by its decision. Timed-out and failed ones went through though a mover should have moved the pod first.", nil},
	{podsKilled, Counter, nil, "Pods that a deadline forced out: deleted past their budget, or with less time to stop than their own.", nil},
	{hookHeartbeats, Counter, []Label{{"result", "done, refused, failed"}}, "Heartbeats, by answer. Refused: AWS is busy, or a right is missing.", nil},
	{hookCompletion, Counter, []Label{{"result", "done, refused, failed"}}, "Completions of hooks, by answer. A hook that waits no more is done.", nil},
	{awsCalls, Counter, []Label{{"action", "AWS's names of its actions"}, {"code", "AWS's error codes; OK; none for no answer"}}, "Calls to AWS, each attempt.", nil},
	{actions, Counter, []Label{{"verb", "drover's verbs"}, {"result", "done, refused, failed"}}, "Effects on the world, by how they went.", nil},
	{holds, Gauge, []Label{{"class", "kinds of reasons, in one word"}}, "How often drover stands still now, by why.", nil},
	{storeMoves, Counter, []Label{store, {"mover", "sentinel, rediscluster, script, leader-last"}, {"result", "done; refused, failed for one that could not begin"}}, "Moves of pods of stores, by how they went.", nil},
	{storeSwitch, Histogram, nil, "How long a role took to change from one pod of a store to another: with Sentinels clients cannot write for most of it, in a cluster for a part.",
		[]float64{0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8}},
	{storeMove, Histogram, nil, "From when a move of a pod of a store was written down to when everything was as before.", []float64{5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400}},
	{storeActive, Gauge, []Label{store}, "1 while a pod of the store is being moved, by whichever run.", nil},
	{envState, Gauge, []Label{named, {"state", "on, stopping, asleep, starting, unclear"}}, "1 for the state in which an environment is, 0 for the others that it was in.", nil},
	{envSaved, Counter, []Label{named, {"currency", "USD, EUR, ..."}}, "Money that sleeping has saved since this process leads: prices times hours in which everything was off, less what still billed.", nil},
	{envHolds, Gauge, []Label{named}, "What the switching of an environment waits for now.", nil},
	{envFights, Gauge, []Label{named}, "How often somebody else switched parts of an environment back on in this sleep.", nil},
	{envBlocked, Gauge, []Label{named}, "Findings that keep an environment from being switched off, though it should be.", nil},
	{leader, Gauge, nil, "1 for the process that leads, otherwise 0.", nil},
	{tick, Histogram, nil, "How long a tick took to observe the fleet and decide.", []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}},
	{build, Gauge, []Label{{"version", "drover's"}}, "Always 1.", nil},
}

// Page is the reference of metrics, in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat `drover controller` tells Prometheus at `/metrics`, beside the usual `go_` and `process_` metrics of its process. Of a label's values, ")
	fmt.Fprintf(&b, "at most %d are kept; the others become `%s`.\n\n| metric | type | labels | |\n|---|---|---|---|\n", mostWords, other)
	for _, m := range Table {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, l.Words))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(labels, "<br>"), m.Means)
	}
	return b.String()
}
