package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// check is the health check of one target, for as long as it is registered.
type check struct {
	f     *front
	t     Target
	stop  context.CancelFunc
	state State // what the cloud shows; guarded by the front's mu
}

// watch has a target checked. Callers hold mu. The state is taken from the cloud each time: a target may have left and come back as a
// new one between two looks.
func (f *front) watch(t Target) {
	if c := f.checks[t.name()]; c != nil {
		c.state = t.State
		return
	}
	ctx, stop := context.WithCancel(f.ctx)
	c := &check{f: f, t: t, stop: stop, state: t.State}
	f.checks[t.name()] = c
	f.work.Go(func() { c.run(ctx) })
}

func (f *front) unwatch(n name) {
	if c := f.checks[n]; c != nil {
		c.stop()
		delete(f.checks, n)
	}
}

// run checks until ctx ends and reports every change. A target that is new has to pass once, one that was unhealthy as often as the
// group says.
func (c *check) run(ctx context.Context) {
	row, last := 0, true
	for {
		c.f.mu.Lock()
		g := c.f.group
		c.f.mu.Unlock()
		err := c.once(ctx, g.Check)
		if ctx.Err() != nil {
			return
		}
		if ok := err == nil; ok != last {
			last, row = ok, 0
		}
		row++
		if state, changed := c.judge(g.Check, last, row); changed {
			reason := ""
			if err != nil {
				reason = err.Error()
			}
			if err := c.f.b.Cloud.ReportTargetHealth(g.ARN, c.t.ID, c.t.Port, state == Healthy, reason); err != nil {
				c.f.b.Log.Warn("report health", "group", g.Name, "target", c.t.ID, "error", err)
			}
		}
		next := time.NewTimer(time.Duration(float64(g.Check.Interval) / c.f.b.Speed))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

// judge says what row equal results in a row make of the target.
func (c *check) judge(how Check, ok bool, row int) (_ State, changed bool) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	was := c.state
	switch {
	case ok && (was == Initial || row >= how.Healthy):
		c.state = Healthy
	case !ok && row >= how.Unhealthy:
		c.state = Unhealthy
	}
	return c.state, c.state != was
}

// once makes one check; the errors are in ELB's words.
func (c *check) once(ctx context.Context, how Check) error {
	port := 0
	if how.Port != "" && how.Port != "traffic-port" {
		var err error
		if port, err = strconv.Atoi(how.Port); err != nil {
			return fmt.Errorf("health check port %q is not a number", how.Port)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, how.Timeout)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.f.connect(ctx, c.t, port) }
	if how.Protocol == "TCP" {
		conn, err := dial(ctx, "", "")
		if err != nil {
			return inWords(err)
		}
		return conn.Close()
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("target", strconv.Itoa(c.t.Port))+"/"+strings.TrimPrefix(how.Path, "/"), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	answer, err := client.Do(r)
	if err != nil {
		return inWords(err)
	}
	answer.Body.Close()
	ok, err := matches(how.Matcher, answer.StatusCode)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("Health checks failed with these codes: [%d]", answer.StatusCode)
	}
	return nil
}

func inWords(err error) error {
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return errors.New("Request timed out")
	}
	return errors.New("Health checks failed")
}

// matches reads ELB's matcher: codes and ranges of codes, with commas between.
func matches(matcher string, code int) (bool, error) {
	if matcher == "" {
		matcher = "200"
	}
	for part := range strings.SplitSeq(matcher, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(low)
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(high)
		}
		if err != nil {
			return false, fmt.Errorf("matcher %q: %w", matcher, err)
		}
		if from <= code && code <= to {
			return true, nil
		}
	}
	return false, nil
}
