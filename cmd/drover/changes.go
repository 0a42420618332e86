package main

import (
	"fmt"
	"slices"
	"strings"
)

// changes says in lines what differs between two views of a run; everything when there was none before.
func changes(before, now *view) []string {
	var out []string
	say := func(what, format string, args ...any) {
		out = append(out, fmt.Sprintf("%7s  %-8s %s", "+"+clock(now.took), what, fmt.Sprintf(format, args...)))
	}
	if before == nil {
		say("run", "%s on %s, asked by %s", now.run, now.groups, now.who)
		before = &view{}
	}
	if now.phase != before.phase {
		say("phase", "%s", now.phase)
	}
	if now.note != before.note && now.note != "" {
		say("note", "%s", now.note)
	}
	if now.bake > 0 && before.bake == 0 {
		say("baking", "old nodes stay in Standby for %s more", clock(now.bake))
	}
	known := map[string]row{}
	for _, r := range slices.Concat(before.old, before.fresh) {
		known[r.name] = r
	}
	for _, r := range slices.Concat(now.old, now.fresh) {
		if was, ok := known[r.name]; !ok || was.state != r.state || len(was.pods) != len(r.pods) {
			say("node", "%s %s, %s", r.name, r.state, counted(len(r.pods), "pod", "pods"))
		}
	}
	told := map[string]bool{}
	for _, m := range before.moving {
		told[withoutFigures(m)] = true
	}
	for _, m := range now.moving {
		if !told[withoutFigures(m)] {
			say("moving", "%s", m)
		}
	}
	for _, w := range before.waiting {
		told[withoutFigures(w)] = true
	}
	for _, w := range now.waiting {
		if !told[withoutFigures(w)] {
			say("waiting", "%s", w)
		}
	}
	if now.moved != before.moved || now.gone != before.gone {
		say("moved", "%d of %d pods, %d of %d nodes done", now.moved, now.pods, now.gone, now.exits)
	}
	return out
}

// withoutFigures is what stays of a wait while it counts down.
func withoutFigures(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
