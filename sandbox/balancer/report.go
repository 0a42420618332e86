package balancer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Report is what became of a load's requests. Sent = OK + Failed + InFlight, and Failed is the sum of Failures.
type Report struct {
	Started, Ended time.Time
	Sent, OK       int
	Failed         int
	Failures       map[string]int // by cause: refused, reset, cut short, timeout, overflow, status 502, ...
	First          []Failure      // the first few
	Max            time.Duration  // the slowest of the successful ones

	latencies histogram
}

// Failure is one request that was lost.
type Failure struct {
	At    time.Time // when it failed
	After time.Duration
	Cause string
	Err   string
}

// firstFailures is enough to see how an outage began; the rest is in the counts.
const firstFailures = 10

func (r *Report) note(due, now time.Time, err error) {
	took := now.Sub(due)
	if err == nil {
		r.OK++
		r.Max = max(r.Max, took)
		r.latencies.add(took)
		return
	}
	why := cause(err)
	r.Failed++
	r.Failures[why]++
	if len(r.First) < firstFailures {
		r.First = append(r.First, Failure{At: now, After: took, Cause: why, Err: err.Error()})
	}
}

func (r *Report) copy() Report {
	c := *r
	c.Failures = maps.Clone(r.Failures)
	c.First = slices.Clone(r.First)
	if c.Ended.IsZero() {
		c.Ended = time.Now()
	}
	return c
}

// InFlight are the requests whose end was not known yet.
func (r Report) InFlight() int { return r.Sent - r.OK - r.Failed }

// Rate is what was sent per second.
func (r Report) Rate() float64 {
	if d := r.Ended.Sub(r.Started).Seconds(); d > 0 {
		return float64(r.Sent) / d
	}
	return 0
}

// Latency returns the time within which a part q (0.5, 0.99) of the successful requests was answered, within 2 %.
func (r Report) Latency(q float64) time.Duration {
	return min(r.latencies.quantile(q), r.Max)
}

// Since is what happened after an earlier snapshot of the same load. Its Max is the whole load's.
func (r Report) Since(earlier Report) Report {
	d := r
	d.Started = earlier.Ended
	d.Sent, d.OK, d.Failed = r.Sent-earlier.Sent, r.OK-earlier.OK, r.Failed-earlier.Failed
	d.Failures = map[string]int{}
	for why, n := range r.Failures {
		if n -= earlier.Failures[why]; n > 0 {
			d.Failures[why] = n
		}
	}
	d.First = r.First[min(len(earlier.First), len(r.First)):]
	for i := range d.latencies {
		d.latencies[i] -= earlier.latencies[i]
	}
	return d
}

// Line is the report in one line.
func (r Report) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d (%.1f/s over %v), ok %d, failed %d", r.Sent, r.Rate(), r.Ended.Sub(r.Started).Round(100*time.Millisecond), r.OK, r.Failed)
	for i, why := range slices.Sorted(maps.Keys(r.Failures)) {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%d %s", sep, r.Failures[why], why)
	}
	if n := r.InFlight(); n != 0 {
		fmt.Fprintf(&b, "; in flight %d", n)
	}
	if r.OK > 0 {
		fmt.Fprintf(&b, "; latency p50 %v, p99 %v, max %v", round(r.Latency(0.5)), round(r.Latency(0.99)), round(r.Max))
	}
	return b.String()
}

// String is the line, and under it the first failures.
func (r Report) String() string {
	var b strings.Builder
	b.WriteString(r.Line())
	for _, f := range r.First {
		fmt.Fprintf(&b, "\n  %s (+%v) %s after %v: %s", f.At.Format("15:04:05.000"), f.At.Sub(r.Started).Round(time.Millisecond), f.Cause, round(f.After), f.Err)
	}
	if more := r.Failed - len(r.First); more > 0 && len(r.First) > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// histogram counts durations in buckets that grow by 2 %, from a microsecond to some minutes: its size does not depend on how long
// the load runs.
type histogram [1000]int

const growth = 1.02

func (h *histogram) add(d time.Duration) {
	i := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		i = int(math.Log(us) / math.Log(growth))
	}
	h[min(i, len(h)-1)]++
}

// quantile returns the upper end of the bucket that holds it.
func (h *histogram) quantile(q float64) time.Duration {
	total := 0
	for _, n := range h {
		total += n
	}
	rank := int(math.Ceil(q * float64(total)))
	for i, n := range h {
		if rank -= n; rank <= 0 && total > 0 {
			return time.Duration(math.Pow(growth, float64(i+1)) * float64(time.Microsecond))
		}
	}
	return 0
}
