package balancer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network without a kernel, so that it can live in a synctest bubble: every dial gives the server one end.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p *pipes) Dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	p.accept <- b
	return a, nil
}

// In virtual time the generator's promises hold exactly.
func TestLoadKeepsItsRateWhateverTheServiceDoes(t *testing.T) {
	for _, c := range []struct {
		name              string
		work              time.Duration
		concurrency       int
		ok, overflow, out int
		p50               time.Duration
	}{
		{"quick", 10 * time.Millisecond, 0, 1000, 0, 0, 10 * time.Millisecond},
		{"slow, and still nobody waits for it", 900 * time.Millisecond, 0, 1000, 0, 0, 900 * time.Millisecond},
		{"slower than the time-out", 2 * time.Second, 0, 0, 0, 1000, 0},
		// Ten places of 105ms each: in each round of eleven beats the last finds none.
		{"more than fits", 105 * time.Millisecond, 10, 910, 90, 0, 105 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &pipes{make(chan net.Conn), make(chan struct{})}
				server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(c.work) })}
				go server.Serve(network)
				l, err := StartLoad(t.Context(), LoadOptions{URL: "http://web/", Rate: 100, Timeout: time.Second, Concurrency: c.concurrency, Dial: network.Dial})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10*time.Second - time.Millisecond)
				r := l.Stop()
				server.Close()
				time.Sleep(5 * time.Second) // the server's last handlers
				if r.Sent != 1000 || r.OK != c.ok || r.Failures["overflow"] != c.overflow || r.Failures["timeout"] != c.out || r.InFlight() != 0 {
					t.Errorf("want 1000 sent, %d ok, %d overflow, %d timeout; got %s", c.ok, c.overflow, c.out, r)
				}
				if p50 := r.Latency(0.5); p50 < c.p50 || p50 > c.p50*102/100 {
					t.Errorf("p50 %v, want %v", p50, c.p50)
				}
			})
		})
	}
}

func TestReportAddsUp(t *testing.T) {
	r := Report{Started: time.Unix(100, 0), Failures: map[string]int{}}
	errs := []error{nil, nil, nil, statusError(502), statusError(503), &net.OpError{Err: syscall.ECONNREFUSED}, fmt.Errorf("read: %w", syscall.ECONNRESET), context.DeadlineExceeded, errOverflow, errors.New("odd")}
	for i := range 100 {
		r.Sent++
		if i%20 == 19 {
			continue // still in flight
		}
		r.note(r.Started, r.Started.Add(time.Duration(i)*time.Millisecond), errs[i%len(errs)])
	}
	r.Ended = r.Started.Add(10 * time.Second)
	sum := 0
	for _, n := range r.Failures {
		sum += n
	}
	if sum != r.Failed || r.Sent != r.OK+r.Failed+r.InFlight() || r.InFlight() != 5 {
		t.Errorf("does not add up: %s", r)
	}
	want := "sent 100 (10.0/s over 10s), ok 30, failed 65: 5 other, 10 overflow, 10 refused, 10 reset, 10 status 502, 10 status 503, 10 timeout; in flight 5; latency p50 "
	if got := r.Line(); !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if lines := strings.Count(r.String(), "\n"); lines != firstFailures+1 {
		t.Errorf("%d lines under the first, want %d failures and the rest in one:\n%s", lines, firstFailures, r)
	}

	earlier := r.copy()
	r.Sent++
	r.note(r.Started, r.Started.Add(time.Second), nil)
	d := r.Since(earlier)
	if d.Sent != 1 || d.OK != 1 || d.Failed != 0 || len(d.Failures) != 0 || len(d.First) != 0 || d.Latency(0.5) != time.Second {
		t.Errorf("the difference of one success: %s", d)
	}
}

// The histogram's dumb twin sorts.
func TestHistogramAgreesWithSorting(t *testing.T) {
	const seed = 1
	dice := rand.New(rand.NewPCG(seed, seed))
	for range 50 {
		var h histogram
		var all []time.Duration
		for range 1 + dice.IntN(2000) {
			d := time.Duration(dice.ExpFloat64() * float64(20*time.Millisecond))
			h.add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			exact := all[int(float64(len(all))*q+0.999999)-1]
			got := h.quantile(q)
			if got < exact || float64(got) > float64(exact)*growth*1.001+float64(2*time.Microsecond) {
				t.Errorf("seed %d, %d values: quantile %v is %v, sorting says %v", seed, len(all), q, got, exact)
			}
		}
	}
}

func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		matcher string
		code    int
		want    bool
	}{
		{"200", 200, true}, {"200", 204, false}, {"", 200, true}, {"200-399", 302, true}, {"200-399", 404, false}, {"200,404", 404, true}, {"200,300-302", 301, true},
	} {
		if got, err := matches(c.matcher, c.code); got != c.want || err != nil {
			t.Errorf("matches(%q, %d) = %v, %v; want %v", c.matcher, c.code, got, err, c.want)
		}
	}
	if _, err := matches("ok", 200); err == nil {
		t.Error("matcher ok was understood")
	}
}
