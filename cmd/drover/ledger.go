package main

import (
	"fmt"
	"time"

	"drover.dev/engine"
	"drover.dev/evac"
)

// printLedger tells what a run that is done came to. took is this process's own time, the ledger's is the run's.
func (a *app) printLedger(p *evac.Plan, l engine.Ledger, took time.Duration) {
	forecast := p.Forecast.Took.Round(time.Second)
	if len(p.Pods) > 0 {
		foretold := ""
		if forecast > 0 {
			foretold = fmt.Sprintf(" (forecast %s)", forecast)
		}
		fmt.Fprintf(a.err, "%s in %s%s: %s.\n", a.paint(green, "Done"), took, foretold, counted(len(p.Pods), "pod moved", "pods moved"))
		return
	}
	if p.Back() {
		fmt.Fprintf(a.err, "%s in %s (forecast %s): %s again, the old ones serve.\n", a.paint(green, "Taken back"), took, forecast, counted(l.Nodes, "new node is gone", "new nodes are gone"))
	} else {
		fmt.Fprintf(a.err, "%s in %s (forecast %s): %d nodes, %d pods moved.\n", a.paint(green, "Done"), took, forecast, l.Nodes, l.Moved)
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(a.err, "  %s  %s\n", a.paint(dim, fmt.Sprintf("%-10s", name)), fmt.Sprintf(format, args...))
	}
	if l.Pods > 0 && !p.Back() {
		line("moves", "%d of %s, %.2f per pod", l.Moved, counted(l.Pods, "pod", "pods"), float64(l.Moved)/float64(l.Pods))
	}
	if forecast > 0 {
		line("forecast", "%s, took %.2f times that", forecast, ratio(took, forecast))
	}
	if l.Bound > 0 {
		line("bound", "%s: no order could be faster; took %.2f times that", l.Bound.Round(time.Second), ratio(took, l.Bound))
	}
	if p.Resumed {
		line("altogether", "%s since the run began", l.Took.Round(time.Second))
	}
	if len(l.Exceptions) == 0 {
		line("exceptions", "none")
	}
	for _, e := range l.Exceptions {
		fmt.Fprintf(a.err, "  %s  %s\n", a.paint(yellow, "exception "), e)
	}
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
