package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words are a command's arguments: names, settings as key=value, and flags, which are bare words that the command knows.
type words struct {
	names []string
	set   map[string]string
	asked map[string]bool
	err   error // the first setting that could not be read
}

// parse sorts arguments. A bare word that is none of the flags is a name.
func parse(args []string, flags ...string) *words {
	w := &words{set: map[string]string{}, asked: map[string]bool{}}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		switch {
		case ok:
			w.set[key] = value
		case slices.Contains(flags, a):
			w.set[a], w.asked[a] = "yes", true
		default:
			w.names = append(w.names, a)
		}
	}
	return w
}

func (w *words) text(key, usual string) string {
	w.asked[key] = true
	if v, ok := w.set[key]; ok {
		return v
	}
	return usual
}

func (w *words) flag(key string) bool { return w.text(key, "") != "" }

func (w *words) list(key string) []string {
	v := w.text(key, "")
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func (w *words) number(key string, usual int) int {
	v := w.text(key, strconv.Itoa(usual))
	n, err := strconv.Atoi(v)
	w.note(key, v, err)
	return n
}

func (w *words) duration(key string, usual time.Duration) time.Duration {
	v := w.text(key, usual.String())
	d, err := time.ParseDuration(v)
	w.note(key, v, err)
	return d
}

// pairs reads a=1,b=2, which follows the first equals sign.
func (w *words) pairs(key string) map[string]string {
	out := map[string]string{}
	for _, pair := range w.list(key) {
		k, v, _ := strings.Cut(pair, ":")
		out[k] = v
	}
	return out
}

func (w *words) note(key, value string, err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s=%s: %w", key, value, err)
	}
}

// name returns the only name.
func (w *words) name() string {
	if len(w.names) != 1 && w.err == nil {
		w.err = fmt.Errorf("want one name, have %q", w.names)
	}
	if len(w.names) == 0 {
		return ""
	}
	return w.names[0]
}

// done returns the first thing that was wrong: a setting that nobody asked for is a word that the command does not know.
func (w *words) done() error {
	if w.err != nil {
		return w.err
	}
	for key := range w.set {
		if !w.asked[key] {
			return fmt.Errorf("unknown setting %s", key)
		}
	}
	return nil
}
