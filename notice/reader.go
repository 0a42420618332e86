package notice

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// value is a node with its path, in the text that it is from.
type value struct {
	node *node // nil when it is missing
	path string
	body string
	from *node // what it is missing from
}

func (v value) kind() kind {
	if v.node == nil {
		return absent
	}
	return v.node.kind
}

func (v value) has(key string) bool { return v.get(key).node != nil }

func (v value) get(key string) value {
	field := value{path: v.path + step(key), body: v.body, from: v.node}
	if v.node != nil {
		field.node = v.node.fields[key]
	}
	return field
}

// items are those of a list; of anything else none.
func (v value) items() []value {
	if v.node == nil {
		return nil
	}
	out := make([]value, len(v.node.items))
	for i, n := range v.node.items {
		out[i] = value{node: n, path: fmt.Sprintf("%s[%d]", v.path, i), body: v.body}
	}
	return out
}

// keys are those of an object, in words, not all of many.
func (v value) keys() string {
	const most = 8
	if len(v.node.keys) == 0 {
		return "it has no keys"
	}
	var shown []string
	for _, k := range v.node.keys[:min(most, len(v.node.keys))] {
		shown = append(shown, quote(k))
	}
	return fmt.Sprintf("it has %d keys: %s", len(v.node.keys), strings.Join(shown, ", "))
}

// reader collects the first error, so that what reads a message reads straight down. After it, values are zero.
type reader struct{ err *Error }

func (r *reader) wrong(v value, format string, args ...any) { r.fail(Malformed, v, format, args...) }

func (r *reader) unsupported(v value, format string, args ...any) {
	r.fail(Unsupported, v, format, args...)
}

func (r *reader) fail(kind Fault, v value, format string, args ...any) {
	if r.err != nil {
		return
	}
	at := 0
	switch {
	case v.node != nil:
		at = v.node.at
	case v.from != nil:
		at = v.from.at
	}
	r.err = &Error{Kind: kind, Where: shorten(v.path), What: fmt.Sprintf(format, args...), Line: 1 + strings.Count(v.body[:at], "\n"), Offset: int64(at)}
}

// shorten keeps both ends of a path that somebody's nested keys made long. Paths are ASCII.
func shorten(path string) string {
	const end = 100
	if len(path) <= 3*end {
		return path
	}
	return path[:end] + "..." + path[len(path)-end:]
}

// need reads a text that must be there.
func (r *reader) need(v value, key string) string {
	if s := r.optional(v, key); s != "" {
		return s
	}
	switch field := v.get(key); field.kind() {
	case absent:
		r.wrong(field, "is missing")
	case text:
		r.wrong(field, "is empty")
	default:
		r.wrong(field, "is %s, want text", field.kind())
	}
	return ""
}

// optional reads a text that may be missing or null.
func (r *reader) optional(v value, key string) string {
	field := v.get(key)
	switch field.kind() {
	case absent, null:
		return ""
	case text:
		return r.text(field)
	}
	r.wrong(field, "is %s, want text", field.kind())
	return ""
}

// text reads a text that will be kept: in objects, logs and terminals.
func (r *reader) text(v value) string {
	s := v.node.text
	if len(s) > maxText {
		r.wrong(v, "has %d bytes, at most %d are kept", len(s), maxText)
		return ""
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		r.wrong(v, "%s has control characters", quote(s))
		return ""
	}
	return s
}

// object reads an object that must be there.
func (r *reader) object(v value, key string) value {
	field := v.get(key)
	if field.kind() == absent {
		r.wrong(field, "is missing")
	} else if field.kind() != object {
		r.wrong(field, "is %s, want an object", field.kind())
	}
	return field
}

var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

func (r *reader) instance(v value, key string) string {
	id := r.need(v, key)
	if id != "" && !instanceID.MatchString(id) {
		r.wrong(v.get(key), "%s is no instance id", quote(id))
		return ""
	}
	return id
}

// moments are the ways in which AWS writes a moment. Fractions of a second are read with each. Names of zones other than GMT and UTC are not in here:
// without the zone's own rules they say nothing.
var moments = []string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00",
	"Mon, 2 Jan 2006 15:04:05 GMT", "Mon, 2 Jan 2006 15:04:05 UTC", "Mon, 2 Jan 2006 15:04:05 -0700",
	"2 Jan 2006 15:04:05 GMT",
}

// Moment reads a moment as AWS writes them, in any of its ways.
func Moment(s string) (time.Time, error) {
	for _, layout := range moments {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is no moment, such as 2026-01-02T15:04:05Z or Fri, 02 Jan 2026 15:04:05 GMT", quote(s))
}

// moment reads one that must be there.
func (r *reader) moment(v value, key string) time.Time {
	s := r.need(v, key)
	if s == "" {
		return time.Time{}
	}
	t, err := Moment(s)
	if err != nil {
		r.wrong(v.get(key), "%s", err)
	}
	return t
}
