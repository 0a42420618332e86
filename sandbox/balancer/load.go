package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// LoadOptions say what a Load sends. URL and Rate have no default.
type LoadOptions struct {
	URL         string
	Rate        float64       // requests per second
	Timeout     time.Duration // per request; 0 means 10s
	Concurrency int           // requests in flight at most; 0 means what Rate needs when each takes all of Timeout
	// Dial replaces the plain dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Load sends GET requests at a steady rate whatever becomes of them: a slow service gets no rest, as from people. Each has a
// connection of its own, because a client that keeps connections repeats, unseen, what a closed one lost.
type Load struct {
	o      LoadOptions
	client *http.Client
	cancel context.CancelFunc
	work   sync.WaitGroup
	places chan struct{}

	mu     sync.Mutex
	report Report
}

// StartLoad begins at once and sends until Stop or the end of ctx.
func StartLoad(ctx context.Context, o LoadOptions) (*Load, error) {
	if o.URL == "" || o.Rate <= 0 {
		return nil, fmt.Errorf("load on %q at %v requests/s: want a URL and a rate above 0", o.URL, o.Rate)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Concurrency == 0 {
		o.Concurrency = int(o.Rate*o.Timeout.Seconds()) + 1
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	l := &Load{
		o:      o,
		places: make(chan struct{}, o.Concurrency),
		client: &http.Client{
			Timeout:       o.Timeout,
			Transport:     &http.Transport{DisableKeepAlives: true, DialContext: o.Dial},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		report: Report{Started: time.Now(), Failures: map[string]int{}},
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.work.Go(func() { l.pace(ctx) })
	return l, nil
}

// pace sends request i at start + i/rate. When the machine was busy elsewhere it catches up, so the mean rate holds.
func (l *Load) pace(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for i := 0; ; i++ {
		due := l.report.Started.Add(time.Duration(float64(i) / l.o.Rate * float64(time.Second)))
		wait.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		l.mu.Lock()
		l.report.Sent++
		l.mu.Unlock()
		select {
		case l.places <- struct{}{}:
			l.work.Go(func() {
				err := l.send()
				<-l.places
				l.note(due, err)
			})
		default:
			l.note(due, errOverflow)
		}
	}
}

var errOverflow = errors.New("too many requests are in flight")

// statusError is an answer that is no success.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("status %d", int(s)) }

// send is not bound to the Load's context: a request that was sent is waited for.
func (l *Load) send() error {
	r, err := http.NewRequest(http.MethodGet, l.o.URL, nil)
	if err != nil {
		return err
	}
	answer, err := l.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return statusError(answer.StatusCode)
	}
	return nil
}

// note counts a request that ended. Its latency counts from when it was due, so that waiting for a turn is not forgotten.
func (l *Load) note(due time.Time, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.note(due, now, err)
}

// cause names a failure in one or two words.
func cause(err error) string {
	var status statusError
	var slow net.Error
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errOverflow):
		return "overflow"
	case errors.As(err, &slow) && slow.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut short"
	}
	return "other"
}

// Snapshot is the report so far. Report.Since turns two of them into a progress line.
func (l *Load) Snapshot() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report.copy()
}

// Stop ends the sending, waits for the requests in flight (Timeout at most) and returns the whole report.
func (l *Load) Stop() Report {
	l.cancel()
	l.mu.Lock()
	if l.report.Ended.IsZero() {
		l.report.Ended = time.Now() // of the sending: the rate is meant to be that
	}
	l.mu.Unlock()
	l.work.Wait()
	return l.Snapshot()
}
