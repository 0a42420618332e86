package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// drawing lays a view out on a screen of a given size. Colour only repeats what shape says already.
type drawing struct {
	width, height int
	paint         func(code, text string) string
	lines         []string
}

// glyphs are all one column wide, and differ in shape, so that they can be told apart without colour.
var glyphs = map[podState]struct{ text, code, means string }{
	podReady:    {"■", green, "ready"},
	podStarting: {"▫", yellow, "starting"},
	podGoing:    {"▸", yellow, "going"},
	podToMove:   {"▪", dim, "to move"},
}

// narrow terminals do without the zone.
const narrow = 60

// fewest is how many lines are laid out at least: smaller terminals show the first of them.
const fewest = 8

// draw returns the lines of the picture: never more than height, never wider than width.
func draw(v *view, width, height int, paint func(code, text string) string) []string {
	if len(v.moving) > 0 {
		c := *v
		c.waiting = slices.Concat(v.moving, v.waiting)
		v = &c
	}
	d := &drawing{width: max(width, 20), height: max(height, fewest), paint: paint}
	d.header(v)
	waits := v.waiting[:d.forWaits(v)]
	d.body(v, d.height-len(d.lines)-waitLines(waits, v)-1)
	if len(waits) > 0 {
		d.line("")
		d.line(paint(bold, "WAITING"))
		for _, w := range waits {
			d.line(" " + cut(strings.ReplaceAll(w, domain(v), ""), d.width-1))
		}
		if more := len(v.waiting) - len(waits); more > 0 {
			d.line(paint(dim, fmt.Sprintf(" … %d more", more)))
		}
	}
	for len(d.lines) < d.height-1 {
		d.line("")
	}
	d.lines = d.lines[:d.height-1]
	d.legend()
	return d.lines[:min(d.height, max(height, 1))]
}

func (d *drawing) line(s string) { d.lines = append(d.lines, s) }

func (d *drawing) header(v *view) {
	title := cut("Run "+v.run+" on "+v.groups, d.width-len(v.phase)-1)
	d.line(d.paint(bold, title) + strings.Repeat(" ", max(d.width-wide(title)-len(v.phase), 1)) + d.paint(phaseColour(v.phase), v.phase))
	d.line(d.paint(dim, cut(v.place+", asked by "+v.who, d.width)))
	d.bar(v)
	if v.note != "" {
		d.line(d.paint(yellow, cut(v.note, d.width)))
	}
	if v.bake > 0 {
		d.line(d.paint(yellow, cut("Old nodes stay in Standby for "+clock(v.bake)+" more; drover rollback returns to them", d.width)))
	}
}

func phaseColour(phase string) string {
	switch phase {
	case "Paused", "Undoing":
		return yellow
	case "Unhealthy", "Diverged":
		return red
	}
	return green
}

// bar shows how many pods have moved, and how the time compares with the forecast.
func (d *drawing) bar(v *view) {
	figures := fmt.Sprintf(" %d/%d pods  %d/%d nodes  %s", v.moved, v.pods, v.gone, v.exits, clock(v.took))
	if v.forecast > 0 {
		figures += " of " + clock(v.forecast)
	}
	if v.left > 0 {
		figures += ", " + clock(v.left) + " left"
	}
	room := min(d.width-wide(figures)-2, 40)
	if room < 5 {
		d.line(cut(strings.TrimSpace(figures), d.width))
		return
	}
	full := 0
	if done, all := v.moved+v.gone, v.pods+v.exits; all > 0 {
		full = min(room*done/all, room)
	}
	d.line("[" + d.paint(green, strings.Repeat("█", full)) + d.paint(dim, strings.Repeat("░", room-full)) + "]" + figures)
}

// shareOfWaits is the part of the screen that waits have however many nodes there are: 3 lines of 24.
const shareOfWaits = 8

// forWaits is how many waits are shown: as many as nodes leave room for.
func (d *drawing) forWaits(v *view) int {
	nodes := len(v.old) + len(v.fresh) + 4 // with a blank line and a title for each list
	room := d.height - len(d.lines) - 1 - nodes - 2
	if room < len(v.waiting) {
		room-- // a line tells how many more there are
	}
	return min(len(v.waiting), max(room, d.height/shareOfWaits, 1))
}

func waitLines(shown []string, v *view) int {
	switch {
	case len(shown) == 0:
		return 0
	case len(shown) < len(v.waiting):
		return len(shown) + 3
	}
	return len(shown) + 2
}

// body shows the nodes in the lines that there are: each list gets half, or more when the other needs less.
func (d *drawing) body(v *view, lines int) {
	for _, rows := range [][]row{v.old, v.fresh} {
		if len(rows) > 0 {
			lines -= 2 // a blank line and a title
		}
	}
	forOld := min(len(v.old), max(lines/2, lines-len(v.fresh), 1))
	forFresh := min(len(v.fresh), max(lines-forOld, 1))
	name := 0
	for _, r := range append(v.old[:len(v.old):len(v.old)], v.fresh...) {
		name = max(name, wide(short(r.name)))
	}
	name = min(name, d.width/3)
	d.rows("OLD NODES", v.old, forOld, name)
	d.rows("NEW NODES", v.fresh, forFresh, name)
}

func (d *drawing) rows(title string, rows []row, most, name int) {
	if len(rows) == 0 {
		return
	}
	d.line("")
	d.line(d.paint(bold, title))
	shown := rows
	if len(rows) > most {
		shown = rows[:max(most-1, 0)]
	}
	for _, r := range shown {
		d.line(d.row(r, name))
	}
	if len(shown) < len(rows) {
		more := "more"
		if len(shown) == 0 {
			more = "nodes"
		}
		d.line(d.paint(dim, cut(fmt.Sprintf(" … %d %s: %s", len(rows)-len(shown), more, tally(rows[len(shown):])), d.width)))
	}
}

// tally counts rows by state.
func tally(rows []row) string {
	var order []string
	count := map[string]int{}
	for _, r := range rows {
		if count[r.state] == 0 {
			order = append(order, r.state)
		}
		count[r.state]++
	}
	var parts []string
	for _, s := range order {
		parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
	}
	return strings.Join(parts, ", ")
}

func (d *drawing) row(r row, name int) string {
	label := fmt.Sprintf(" %-*s  %-12s %-9s ", name, cut(short(r.name), name), cut(r.zone, 12), r.state)
	if d.width < narrow {
		label = cut(fmt.Sprintf(" %-*s %-9s ", name, cut(short(r.name), name), r.state), d.width)
	}
	if len(r.pods) == 0 {
		return strings.TrimRight(label, " ")
	}
	return label + d.blocks(r.pods, d.width-wide(label))
}

// blocks draws pods as far as there is room, and counts the rest.
func (d *drawing) blocks(pods []podState, room int) string {
	shown := len(pods)
	rest := ""
	if shown > room {
		shown = max(room-5, 0)
		rest = cut(fmt.Sprintf(" +%d", len(pods)-shown), room-shown)
	}
	var out strings.Builder
	for i := 0; i < shown; {
		j := i
		for j < shown && pods[j] == pods[i] {
			j++
		}
		g := glyphs[pods[i]]
		out.WriteString(d.paint(g.code, strings.Repeat(g.text, j-i)))
		i = j
	}
	return out.String() + rest
}

func (d *drawing) legend() {
	var parts []string
	plain := 0
	for _, s := range []podState{podToMove, podGoing, podStarting, podReady} {
		g := glyphs[s]
		parts = append(parts, d.paint(g.code, g.text)+" "+g.means)
		plain += 2 + wide(g.means) + 2
	}
	line, leave := strings.Join(parts, "  "), "q leaves"
	if gap := d.width - plain - len(leave); gap >= 0 {
		line += strings.Repeat(" ", gap+2) + d.paint(dim, leave)
	} else if d.width < plain {
		line = leave
	}
	d.line(line)
}

// noDomain occurs in no text.
const noDomain = "\x00"

// domain is what all node names end with, with its dot.
func domain(v *view) string {
	for _, r := range v.old {
		if host := short(r.name); host != r.name {
			return strings.TrimPrefix(r.name, host)
		}
	}
	return noDomain
}

// short is a node's name without the domain that all nodes share.
func short(name string) string {
	host, _, _ := strings.Cut(name, ".")
	return host
}

func wide(s string) int { return utf8.RuneCountInString(s) }

// cut shortens a text to so many columns.
func cut(s string, width int) string {
	if wide(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}
