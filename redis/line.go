package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// keepFor is how long a connection that nobody uses stays open: a store that waits is observed twice a second.
const keepFor = time.Minute

// line is a connection that is kept, and made when it is needed. What it is kept under names the pod's UID and how one gets in, so that a successor or
// new credentials have another.
type line struct {
	hand *Hand
	key  lineKey
	ep   Endpoint

	mu      sync.Mutex
	conn    Conn // nil before the first command, and after it broke
	used    time.Time
	allowed bool // its user was seen to have all rights that verbs need
}

type lineKey struct {
	namespace, name, uid string
	host                 string
	port                 int
	login                [32]byte
}

// lines are the connections of a Hand.
type lines struct {
	mu   sync.Mutex
	kept map[lineKey]*line
}

// to returns the line to an endpoint.
func (h *Hand) to(ep Endpoint, login [32]byte) *line {
	key := lineKey{ep.Pod.Namespace, ep.Pod.Name, ep.Pod.UID, ep.Host, ep.Port, login}
	h.lines.mu.Lock()
	defer h.lines.mu.Unlock()
	if l := h.lines.kept[key]; l != nil {
		return l
	}
	if h.lines.kept == nil {
		h.lines.kept = map[lineKey]*line{}
	}
	l := &line{hand: h, key: key, ep: ep, used: h.now()}
	h.lines.kept[key] = l
	return l
}

// sweep closes what leads to a predecessor of one of the pods, and what nobody has used for a while.
func (ls *lines) sweep(now time.Time, uids map[[2]string]string) {
	ls.take(func(l *line) bool {
		uid, known := uids[[2]string{l.key.namespace, l.key.name}]
		return known && uid != l.key.uid || now.Sub(l.lastUsed()) > keepFor
	})
}

// take closes the lines that match.
func (ls *lines) take(match func(*line) bool) {
	var closing []*line
	ls.mu.Lock()
	for key, l := range ls.kept {
		if match(l) {
			closing = append(closing, l)
			delete(ls.kept, key)
		}
	}
	ls.mu.Unlock()
	for _, l := range closing {
		l.close()
	}
}

func (l *line) lastUsed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// close gives the connection up. That it was broken already is no news.
func (l *line) close() {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

func (l *line) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// open returns the connection, making one if need be. Of two made at once the first is kept.
func (l *line) open(ctx context.Context) (Conn, error) {
	l.mu.Lock()
	l.used = l.hand.now()
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	made, err := l.hand.Connect(ctx, l.ep)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	late := l.conn != nil
	if !late {
		l.conn = made
	}
	conn = l.conn
	l.mu.Unlock()
	if late {
		_ = made.Close()
	}
	return conn, nil
}

// do carries one command out. A connection that breaks is not used again.
func (l *line) do(ctx context.Context, args ...any) (any, error) {
	conn, err := l.open(ctx)
	if err != nil {
		return nil, &commandError{named(args), err}
	}
	v, err := conn.Do(ctx, args...)
	if err == nil {
		return v, nil
	}
	if _, answered := said(err); !answered {
		l.close()
	}
	return nil, &commandError{named(args), err}
}

// named is a command without its arguments, which may be long or secret.
func named(args []any) string {
	first, _ := args[0].(string)
	if len(args) > 1 && isContainer(first) {
		if second, ok := args[1].(string); ok {
			return first + " " + second
		}
	}
	return first
}

// isContainer tells whether the second word belongs to a command's name.
func isContainer(command string) bool {
	switch command {
	case "ACL", "CLIENT", "CLUSTER", "CONFIG", "SENTINEL":
		return true
	}
	return false
}

// text asks for a string.
func (l *line) text(ctx context.Context, args ...any) (string, error) {
	v, err := l.do(ctx, args...)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", &commandError{named(args), errors.New("the answer is no text")}
	}
	return s, nil
}

// pairs asks for a flat list of names and values.
func (l *line) pairs(ctx context.Context, args ...any) (map[string]string, error) {
	v, err := l.do(ctx, args...)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, &commandError{named(args), errors.New("the answer is no list")}
	}
	return flat(list), nil
}

// flat makes a map of a flat list of names and values.
func flat(list []any) map[string]string {
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		value, _ := list[i+1].(string)
		m[name] = value
	}
	return m
}

// settings asks for settings; those that this Redis has not are absent. Before 7.0 one can be asked for at a time.
func (l *line) settings(ctx context.Context, names ...string) (map[string]string, error) {
	args := []any{"CONFIG", "GET"}
	for _, n := range names {
		args = append(args, n)
	}
	all, err := l.pairs(ctx, args...)
	if text, replied := said(err); !replied || !oneAtATime(text) {
		return all, err
	}
	all = map[string]string{}
	for _, n := range names {
		one, err := l.pairs(ctx, "CONFIG", "GET", n)
		if err != nil {
			return nil, err
		}
		for k, v := range one {
			all[k] = v
		}
	}
	return all, nil
}

// set changes settings, all in one command where Redis can.
func (l *line) set(ctx context.Context, pairs ...string) error {
	args := []any{"CONFIG", "SET"}
	for _, p := range pairs {
		args = append(args, p)
	}
	_, err := l.do(ctx, args...)
	if text, replied := said(err); !replied || len(pairs) == 2 || !oneAtATime(text) {
		return err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if _, err := l.do(ctx, "CONFIG", "SET", pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// oneAtATime recognizes how a Redis before 7.0 refuses several settings in one CONFIG.
func oneAtATime(text string) bool {
	return strings.Contains(text, "number of arguments") || strings.Contains(text, "Unknown subcommand or wrong number")
}
