package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// wayBack is what taking a run back would do.
type wayBack struct {
	Returning []oldNode
	Going     []evac.Exit
	Replaced  []string // closed already
	Moves     int
	Took      time.Duration
}

// oldNode is an old node that returns to service.
type oldNode struct{ Name, Group, Zone, From string }

func wayBackOf(s *fleet.Snapshot, p *evac.Plan) wayBack {
	w := wayBack{Going: p.Exits, Moves: len(p.Moves), Took: p.Forecast.Took}
	for _, d := range p.Record.Exits {
		_, in := s.Instance(d.Instance)
		if in == nil || in.Leaving() {
			w.Replaced = append(w.Replaced, d.Name())
			continue
		}
		from := in.Lifecycle
		if n := s.NodeOf(in.ID); n != nil && n.Mark() == nil && !in.Parked() {
			from += ", not marked"
		}
		w.Returning = append(w.Returning, oldNode{d.Name(), d.Group, in.Zone, from})
	}
	return w
}

func (w *wayBack) parked() int {
	n := 0
	for _, o := range w.Returning {
		if o.From == fleet.OnStandby || o.From == "EnteringStandby" {
			n++
		}
	}
	return n
}

func (w *wayBack) print(out io.Writer, rec *fleet.RotationRecord, place string) {
	fmt.Fprintf(out, "The way back of run %s on %s, %s\n", rec.Run, groupNames(rec), place)
	if rec.Paused != nil {
		fmt.Fprintf(out, "The run is %s. Taking it back ends that pause.\n", rec.Paused)
	}
	if len(w.Returning) > 0 {
		fmt.Fprintln(out)
		var rows [][]string
		for _, o := range w.Returning {
			rows = append(rows, []string{o.Name, o.Group, orDash(o.Zone), o.From})
		}
		columns(out, "RETURNS GROUP ZONE NOW", rows)
	}
	if len(w.Going) > 0 {
		fmt.Fprintln(out)
		var rows [][]string
		for _, e := range w.Going {
			rows = append(rows, []string{e.Name(), e.Group, orDash(e.Zone)})
		}
		columns(out, "GOES GROUP ZONE", rows)
	}
	fmt.Fprintln(out)
	if n := len(w.Replaced); n > 0 {
		slices.Sort(w.Replaced)
		fmt.Fprintf(out, "%s closed already and stay%s replaced: %s\n", counted(n, "old node is", "old nodes are"), verbS(n), orNone(w.Replaced))
	}
	fmt.Fprintf(out, "Forecast: %s, in about %s.\n", counted(w.Moves, "pod moves", "pods move"), w.Took.Round(time.Second))
}
