// Package probe asks whether those who use the workloads notice anything: an HTTP address, or a query to Prometheus.
//
// Parse makes a Probe of what a person typed. Ask asks once, within a short time, and answers in one word and one sentence. A probe that cannot
// be asked is bad: a run goes on only while somebody says that all is well.
//
// The package never retries, caches or sends anything but GET, and refuses addresses with a password or a query, because a run's record shows its
// probes.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// within bounds one question. An answer that takes longer is no sign of health.
const within = 2 * time.Second

// longest is how much of an answer is read.
const longest = 1 << 20

// Probe is one health probe.
type Probe struct {
	name  string
	url   string
	judge func(status int, location string, body []byte) (healthy bool, why string)
}

// client follows no redirect: a login page answers 200 too.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// Name is the probe as people know it.
func (p *Probe) Name() string { return p.name }

// Ask asks once. why says what it saw, good or bad.
func (p *Probe) Ask(ctx context.Context) (healthy bool, why string) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %s", within))
	defer cancel()
	status, location, body, err := p.get(ctx)
	if err != nil {
		return false, sentence(err.Error())
	}
	healthy, why = p.judge(status, location, body)
	return healthy, sentence(why)
}

// longestWhy is how much of an answer is told: others choose what is in it, and records, events and terminals show it.
const longestWhy = 200

// sentence makes a text one line that is not too long.
func sentence(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > longestWhy {
		return string(runes[:longestWhy-1]) + "…"
	}
	return s
}

func (p *Probe) get(ctx context.Context) (status int, location string, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("User-Agent", "drover")
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", nil, shorter(ctx, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, longest))
	if err != nil {
		return 0, "", nil, shorter(ctx, err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), body, nil
}

// shorter is the cause alone: net/http puts the whole address before it, which the name says already.
func shorter(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
