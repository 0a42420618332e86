// Package metrics counts what drover does, for Prometheus.
//
// A Set has a method for everything that is worth counting; Table says what there is, and the page of metrics is made of it. Serve answers Prometheus,
// and the kubelet's questions after health and readiness.
//
// No label names a node, a pod or an instance, and none carries the text of an error: the number of series stays bounded, whatever others send.
package metrics

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Set is the metrics of one process. It is safe for concurrent use.
type Set struct {
	registry   *prometheus.Registry
	counters   map[string]*prometheus.CounterVec
	gauges     map[string]*prometheus.GaugeVec
	histograms map[string]*prometheus.HistogramVec

	mu    sync.Mutex
	words map[string]map[string]bool // values that were seen, by metric and label

	states map[[2]string]bool // of environments, that were seen
}

// New makes the metrics of a process of that version. Those without labels are there from the start, at zero.
func New(version string) *Set {
	s := &Set{
		registry: prometheus.NewRegistry(), words: map[string]map[string]bool{}, states: map[[2]string]bool{},
		counters: map[string]*prometheus.CounterVec{}, gauges: map[string]*prometheus.GaugeVec{}, histograms: map[string]*prometheus.HistogramVec{},
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, m := range Table {
		s.add(m)
	}
	s.gauges[build].WithLabelValues(version).Set(1)
	return s
}

func (s *Set) add(m Metric) {
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	switch m.Type {
	case Counter:
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Means}, names)
		s.counters[m.Name] = v
		s.registry.MustRegister(v)
	case Gauge:
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Means}, names)
		s.gauges[m.Name] = v
		s.registry.MustRegister(v)
	case Histogram:
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Means, Buckets: m.Buckets}, names)
		s.histograms[m.Name] = v
		s.registry.MustRegister(v)
	}
	if len(names) == 0 {
		s.begin(m)
	}
}

// begin makes the one series of a metric without labels, so that an alert on it can tell zero from silence.
func (s *Set) begin(m Metric) {
	switch m.Type {
	case Counter:
		s.counters[m.Name].WithLabelValues()
	case Gauge:
		s.gauges[m.Name].WithLabelValues()
	case Histogram:
		s.histograms[m.Name].WithLabelValues()
	}
}

// Handler answers Prometheus.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry, MaxRequestsInFlight: 4, Timeout: within})
}

// Notice counts a notice by what became of it. kind and source are "" when it was not understood.
func (s *Set) Notice(kind, source, fate string) { s.count(notices, kind, source, fate) }

// Delay notes how long it took from sending a notice to filing it.
func (s *Set) Delay(d time.Duration) { s.observe(noticeDelay, d) }

// Poison counts a message that was set aside because nobody understands it.
func (s *Set) Poison() { s.count(poison) }

// Queue notes how many messages there are in each state, and the age of the oldest that nobody has received.
func (s *Set) Queue(byState map[string]int, oldest time.Duration) {
	s.replace(queueMessages, byState)
	s.gauges[queueOldest].WithLabelValues().Set(oldest.Seconds())
}

// Cases notes how many cases are open in each phase. Phases that are not named have none.
func (s *Set) Cases(byPhase map[string]int) { s.replace(cases, byPhase) }

// Ended notes that a case ended, and how long it was open.
func (s *Set) Ended(d time.Duration) { s.observe(caseDuration, d) }

// Margin notes how much time was left when a node with a deadline was empty; less than none when it was not in time.
func (s *Set) Margin(left time.Duration) { s.observe(caseMargin, left) }

// Shut notes how long it took from hearing of a node to shutting it.
func (s *Set) Shut(d time.Duration) { s.observe(timeToShut, d) }

// Evicted counts an eviction by its answer.
func (s *Set) Evicted(result string) { s.count(evictions, result) }

// Guarded counts an eviction that the guard was asked about, by its verdict.
func (s *Set) Guarded(decision string) { s.count(guarded, decision) }

// Killed counts a pod that a deadline forced out.
func (s *Set) Killed() { s.count(podsKilled) }

// Heartbeat counts a heartbeat by its answer.
func (s *Set) Heartbeat(result string) { s.count(hookHeartbeats, result) }

// Completed counts the completion of a hook by its answer.
func (s *Set) Completed(result string) { s.count(hookCompletion, result) }

// Call counts an attempt to call AWS: by AWS's error code, "OK", or "" when there was no answer.
func (s *Set) Call(action, code string) { s.count(awsCalls, action, code) }

// Action counts an effect on the world by how it went.
func (s *Set) Action(verb, result string) { s.count(actions, verb, result) }

// Holds notes how often drover stands still now. A class is a word for a kind of reason, never the reason itself.
func (s *Set) Holds(byClass map[string]int) { s.replace(holds, byClass) }

// StoreMove counts a move of a pod of a store, by how it went: once when it is over, and for every time that it could not begin.
func (s *Set) StoreMove(store, mover, result string) { s.count(storeMoves, store, mover, result) }

// StoreMoved notes how long a move of a pod of a store took, from when it was written down to when everything was as before.
func (s *Set) StoreMoved(d time.Duration) { s.observe(storeMove, d) }

// Switched notes how long a role took to change from one pod of a store to another.
func (s *Set) Switched(d time.Duration) { s.observe(storeSwitch, d) }

// Moving notes how many moves are in progress in each store: one or none. Stores that are not named have none.
func (s *Set) Moving(byStore map[string]int) { s.replace(storeActive, byStore) }

// Environment is what is told of one.
type Environment struct {
	Name, State            string
	Holds, Fights, Blocked int
}

// Environments notes how all environments are. One that is not named any more is in no state, and nothing is waited for.
func (s *Set) Environments(all []Environment) {
	state := map[[2]string]int{}
	waits, fought, blocked := map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range all {
		words := s.bound(envState, []string{e.Name, e.State})
		state[[2]string{words[0], words[1]}]++
		waits[e.Name], fought[e.Name], blocked[e.Name] = e.Holds, e.Fights, e.Blocked
	}
	s.stateOf(state)
	s.replace(envHolds, waits)
	s.replace(envFights, fought)
	s.replace(envBlocked, blocked)
}

// stateOf sets the states, and to 0 those that were.
func (s *Set) stateOf(now map[[2]string]int) {
	s.mu.Lock()
	for pair := range now {
		s.states[pair] = true
	}
	all := maps.Clone(s.states)
	s.mu.Unlock()
	for pair := range all {
		s.gauges[envState].WithLabelValues(pair[0], pair[1]).Set(float64(now[pair]))
	}
}

// Saved adds money that an environment's sleep has saved.
func (s *Set) Saved(environment, currency string, amount float64) {
	s.counters[envSaved].WithLabelValues(s.bound(envSaved, []string{environment, currency})...).Add(max(0, amount))
}

// Leader notes whether this process leads.
func (s *Set) Leader(leads bool) {
	is := 0.0
	if leads {
		is = 1
	}
	s.gauges[leader].WithLabelValues().Set(is)
}

// Tick notes how long a tick took.
func (s *Set) Tick(d time.Duration) { s.observe(tick, d) }

func (s *Set) count(metric string, labels ...string) {
	s.counters[metric].WithLabelValues(s.bound(metric, labels)...).Inc()
}

func (s *Set) observe(metric string, d time.Duration) {
	s.histograms[metric].WithLabelValues().Observe(d.Seconds())
}

// replace sets a gauge with one label. A value that was there before and is not named any more is zero: a series that disappears looks like a process
// that did.
func (s *Set) replace(metric string, now map[string]int) {
	sums := map[string]int{}
	for word, n := range now {
		sums[s.bound(metric, []string{word})[0]] += n
	}
	for _, word := range s.seen(metric) {
		s.gauges[metric].WithLabelValues(word).Set(float64(sums[word]))
	}
}
