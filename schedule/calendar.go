package schedule

import (
	"fmt"
	"strings"
	"unicode"
)

// calendar is the days off of an iCalendar (RFC 5545): the days of its events that last whole days. Events with a time of day are appointments.
// A calendar of public holidays marks its events as transparent, so that they do not make people busy; that is not looked at.
type calendar struct {
	days     map[day]string // with the event's summary
	warnings []string
	errs     []error
}

const (
	years     = 2100 // up to the end of which rules are followed
	mostDays  = 100_000
	mostErrs  = 10 // after which reading a calendar ends: it is no calendar
	mostNamed = 2  // of what a warning is about
)

// readCalendar reads all that the text holds, be it one calendar or several.
func readCalendar(text string) calendar {
	c := calendar{days: map[day]string{}}
	events := c.events(text)
	if len(c.errs) > 0 {
		return c
	}
	moved := movedDays(events)
	for _, e := range events {
		if e.cancelled() {
			continue
		}
		if err := c.add(e, moved[e.text("UID")]); err != nil {
			c.errs = append(c.errs, err)
		}
		if len(c.errs) == mostErrs {
			return c
		}
	}
	c.warn(events)
	return c
}

func (c *calendar) add(e event, moved map[day]bool) error {
	if e.timed() {
		return nil
	}
	starts, length, err := e.occurrences()
	if err != nil {
		return err
	}
	if e.get("RECURRENCE-ID") != nil {
		moved = nil // it is what has been put in the place of one of them
	}
	for _, start := range starts {
		if moved[start] {
			continue
		}
		for d := start; d < start+length; d++ {
			if _, ok := c.days[d]; !ok {
				c.days[d] = e.summary()
			}
		}
		if len(c.days) > mostDays {
			return fmt.Errorf("calendar line %d: %q: more than %d days off with this event", e.line, e.summary(), mostDays)
		}
	}
	return nil
}

func (c *calendar) warn(events []event) {
	c.list(events, "no days off, because they have a time of day", func(e event) bool { return !e.cancelled() && e.timed() })
	c.list(events, "with an EXRULE, which is not followed", func(e event) bool { return !e.cancelled() && e.get("EXRULE") != nil })
	c.list(events, "that change all later ones, of which only the day itself is changed", func(e event) bool {
		id := e.get("RECURRENCE-ID")
		return id != nil && id.params["RANGE"] != ""
	})
	if len(c.days) == 0 && len(c.errs) == 0 {
		c.warnings = append(c.warnings, "calendar: no day off is in it")
	}
}

// list warns of the events that something holds for, in one line.
func (c *calendar) list(events []event, what string, holds func(event) bool) {
	var named []string
	n := 0
	for _, e := range events {
		if !holds(e) {
			continue
		}
		if n++; n <= mostNamed {
			named = append(named, fmt.Sprintf("%q (line %d)", e.summary(), e.line))
		}
	}
	if n == 0 {
		return
	}
	if n > mostNamed {
		named = append(named, fmt.Sprintf("%d more", n-mostNamed))
	}
	c.warnings = append(c.warnings, fmt.Sprintf("calendar: events %s: %s", what, strings.Join(named, ", ")))
}

// property is what a content line says.
type property struct {
	line   int
	name   string
	params map[string]string
	value  string
}

// events reads the text's events and what is wrong with its lines.
func (c *calendar) events(text string) []event {
	type component struct {
		name string
		line int
	}
	var open []component
	var out []event
	fault := func(line int, format string, args ...any) {
		c.errs = append(c.errs, fmt.Errorf("calendar line %d: "+format, append([]any{line}, args...)...))
	}
	lines := unfold(text)
	if len(lines) == 0 || !strings.EqualFold(strings.TrimSpace(lines[0].pieces[0]), "BEGIN:VCALENDAR") {
		fault(1, "no iCalendar: it does not begin with BEGIN:VCALENDAR")
		return nil
	}
	for _, l := range lines {
		p, err := l.split()
		switch {
		case len(c.errs) == mostErrs:
			return nil
		case err != nil:
			fault(l.at, "%w", err)
		case p.name == "BEGIN":
			open = append(open, component{strings.ToUpper(p.value), p.line})
			if len(open) == 2 && open[1].name == "VEVENT" {
				out = append(out, event{line: p.line})
			}
		case p.name == "END":
			if len(open) == 0 || open[len(open)-1].name != strings.ToUpper(p.value) {
				fault(p.line, "END:%s, which has not begun", clean(p.value))
				return nil
			}
			open = open[:len(open)-1]
		case len(open) == 0:
			fault(p.line, "%s is outside of the calendar", p.name)
		case len(open) == 2 && open[1].name == "VEVENT":
			e := &out[len(out)-1]
			e.properties = append(e.properties, p)
		}
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		fault(last.line, "%s does not end: is the calendar cut?", clean(last.name))
	}
	return out
}

// line is one content line, in the pieces that it was folded into.
type line struct {
	at     int // where it begins
	pieces []string
}

// unfold finds the content lines. Blank ones are left out.
func unfold(text string) []line {
	var out []line
	at := 0
	for piece := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		at++
		piece = strings.TrimSuffix(piece, "\r")
		switch {
		case strings.TrimSpace(piece) == "":
		case len(out) > 0 && (piece[0] == ' ' || piece[0] == '\t'):
			out[len(out)-1].pieces = append(out[len(out)-1].pieces, piece[1:])
		default:
			out = append(out, line{at, []string{piece}})
		}
	}
	return out
}

// split reads a line: NAME;PARAMETER=value;OTHER="quoted: value":value.
func (l line) split() (property, error) {
	p := property{line: l.at, params: map[string]string{}}
	text := strings.Join(l.pieces, "")
	var head []string // the name and the parameters
	from, quoted, ended := 0, false, false
	for i := 0; i < len(text) && !ended; i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case quoted:
		case text[i] == ';' || text[i] == ':':
			head, from, ended = append(head, text[from:i]), i+1, text[i] == ':'
		}
	}
	if !ended || head[0] == "" || strings.ContainsFunc(head[0], notInName) {
		return p, fmt.Errorf("%q is no line of an iCalendar: want NAME:value", clean(text[:min(len(text), 40)]))
	}
	p.name, p.value = strings.ToUpper(head[0]), strings.TrimSpace(text[from:])
	for _, param := range head[1:] {
		name, value, ok := strings.Cut(param, "=")
		if !ok {
			return p, fmt.Errorf("%s: parameter %q has no value", p.name, clean(param))
		}
		p.params[strings.ToUpper(name)] = strings.Trim(value, `"`)
	}
	return p, nil
}

func notInName(r rune) bool {
	return r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
}

// clean makes a text of others' fit for a line of words.
func clean(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
