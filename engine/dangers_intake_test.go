package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/fleet"
)

// deafCensus is an EC2 that does not answer.
type deafCensus struct{}

func (deafCensus) Machines(context.Context, []string) ([]fleet.Machine, error) {
	return nil, errors.New("RequestLimitExceeded")
}

// steady is a queue in an account where every batch has somebody's instance in it that nobody here knows.
type steady struct {
	*office
	n int
}

func (q *steady) Receive(context.Context) ([]fleet.Message, error) {
	q.n++
	time.Sleep(10 * time.Millisecond)
	return []fleet.Message{{ID: fmt.Sprint("x", q.n), Body: fmt.Sprintf("state i-%017x", q.n), Times: 1}}, nil
}

func TestDangerStrangersSlowTheIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		q := &steady{office: o}
		c := o.controller()
		c.Queue, c.Census = q, deafCensus{}
		w := c.Begin()
		if _, err := w.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stop()
		w.receive(ctx)
		if q.n < 1000 {
			t.Errorf("a receiver took %d batches in five minutes: it waits up to 30 s after each that has a stranger in it", q.n)
		}
	})
}

// moody is a teller whose first word fails.
type moody struct{ calls int }

func (m *moody) PublishCase(context.Context, fleet.Case, fleet.ExitPhase, string, int) error {
	m.calls++
	if m.calls == 1 {
		return errors.New("etcdserver: request timed out")
	}
	return nil
}

func TestDangerAWordThatFailedIsSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		c := o.controller()
		m := &moody{}
		c.Teller = m
		w := c.Begin()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		p := fleet.ExitProgress{Departure: fleet.Departure{Instance: "i-1", Node: "n"}, Phase: fleet.ExitReturned}
		k := fleet.Case{Departure: p.Departure, Opened: time.Now()}
		var ticks sync.WaitGroup
		ticks.Go(func() {
			for ctx.Err() == nil { // each tick tells the same
				w.news.put(word{k, p, time.Now()})
				time.Sleep(time.Second)
			}
		})
		w.tellAll(ctx)
		ticks.Wait()
		if m.calls < 2 {
			t.Errorf("told %d times; the node's conditions stay as they were", m.calls)
		}
	})
}

func (m *moody) PublishMove(context.Context, fleet.Action) error { return nil }
