package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// watcher is what a Sentinel says, with what only this package needs.
type watcher struct {
	fleet.Sentinel
	line    *line    // to it; nil when it did not answer
	name    string   // of the store's master
	runID   string   // of that master, as far as the Sentinel has heard
	watches []string // names of all masters
}

// watch asks a Sentinel for everything about the store's master.
func (h *Hand) watch(ctx context.Context, st *fleet.Store, s fleet.Sentinel, l login) watcher {
	w := watcher{Sentinel: bareSentinel(s)}
	if s.Host == "" {
		w.Trouble = noAddress("Sentinel", s.Pod)
		return w
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	ep := l.endpoint(st.Spec, s.Pod, s.Host, s.Port)
	err := h.speak(ctx, ep, l, func(to *line) error {
		w = watcher{Sentinel: bareSentinel(s), line: to}
		return w.read(ctx, st.Spec.Master)
	})
	if err != nil {
		watches := w.watches
		w = watcher{Sentinel: bareSentinel(s), watches: watches}
		w.Trouble = h.trouble(ctx, party{"Sentinel", ep, l}, err)
	}
	return w
}

// isStill leaves a trouble where another Sentinel answers than the one that was looked at.
func (w *watcher) isStill(s fleet.Sentinel) {
	if s.ID == "" || w.ID == s.ID || w.Trouble != "" {
		return
	}
	*w = watcher{Sentinel: bareSentinel(s)}
	w.Trouble = restarted("Sentinel", s.Pod)
}

// bareSentinel is a Sentinel as the cluster's hand knows it.
func bareSentinel(s fleet.Sentinel) fleet.Sentinel {
	return fleet.Sentinel{Pod: s.Pod, Node: s.Node, Host: s.Host, Port: s.Port, Known: slices.Clone(s.Known), Ready: s.Ready, Leaving: s.Leaving}
}

func (w *watcher) read(ctx context.Context, declared string) error {
	text, err := w.line.text(ctx, "INFO", "server")
	if err != nil {
		return err
	}
	if mode := parseInfo(text)["redis_mode"]; mode != modeSentinel {
		return &kindError{is: mode, wanted: modeSentinel}
	}
	if w.ID, err = w.line.text(ctx, "SENTINEL", "MYID"); err != nil {
		return err
	}
	masters, err := w.list(ctx, "SENTINEL", "MASTERS")
	if err != nil {
		return err
	}
	master, err := w.choose(masters, declared)
	if err != nil {
		return err
	}
	w.take(master)
	if err := w.readLists(ctx); err != nil {
		return err
	}
	if err := w.readBound(ctx); err != nil {
		return err
	}
	return w.line.mayAct(ctx, fleet.SentinelMover, "SENTINEL")
}

// choose finds the store's master among those that the Sentinel watches.
func (w *watcher) choose(masters []info, declared string) (info, error) {
	for _, m := range masters {
		w.watches = append(w.watches, m["name"])
	}
	slices.Sort(w.watches)
	for _, m := range masters {
		if m["name"] == declared || declared == "" && len(masters) == 1 {
			w.name = m["name"]
			return m, nil
		}
	}
	return nil, &masterError{declared, w.watches}
}

// masterError is that a Sentinel does not watch what it should.
type masterError struct {
	declared string
	watches  []string
}

func (e *masterError) Error() string {
	list := strings.Join(e.watches, ", ")
	switch {
	case len(e.watches) == 0:
		return "watches no master at all: have it monitor the store's"
	case e.declared == "":
		return fmt.Sprintf("watches %d masters (%s): say which is the store's, by the annotation drover.dev/master", len(e.watches), list)
	}
	return fmt.Sprintf("watches no master %s but %s: correct the annotation drover.dev/master, or have it monitor that one", e.declared, list)
}

// take fills in what a Sentinel says of the master.
func (w *watcher) take(m info) {
	flags := strings.Split(m["flags"], ",")
	w.Master, w.runID = address(m["ip"], m["port"]), m["runid"]
	w.Epoch, w.Quorum = m.number("config-epoch"), int(m.number("quorum"))
	w.Down = down(flags)
	w.Failover = slices.Contains(flags, "failover_in_progress")
}

// down reads a Sentinel's flags; they are whole words.
func down(flags []string) bool {
	return slices.ContainsFunc(flags, func(f string) bool { return f == "s_down" || f == "o_down" || f == "disconnected" })
}

func (w *watcher) readLists(ctx context.Context) error {
	replicas, err := w.list(ctx, "SENTINEL", "REPLICAS", w.name)
	if err != nil {
		return err
	}
	others, err := w.list(ctx, "SENTINEL", "SENTINELS", w.name)
	if err != nil {
		return err
	}
	w.Replicas, w.Peers = listed(replicas), listed(others)
	_, err = w.line.do(ctx, "SENTINEL", "CKQUORUM", w.name)
	if text, answered := said(err); answered && !says(err, "NOPERM") {
		w.NoQuorum, err = cut(without(text, w.line.ep.Password)), nil
	}
	return err
}

func listed(entries []info) []fleet.Listed {
	var list []fleet.Listed
	for _, e := range entries {
		list = append(list, fleet.Listed{
			Address: address(e["ip"], e["port"]),
			ID:      e["runid"],
			Prio:    int(e.number("slave-priority")),
			Down:    down(strings.Split(e["flags"], ",")),
		})
	}
	return list
}

// list asks for a list of flat lists.
func (w *watcher) list(ctx context.Context, args ...any) ([]info, error) {
	v, err := w.line.do(ctx, args...)
	if err != nil {
		return nil, err
	}
	rows, _ := v.([]any)
	list := make([]info, 0, len(rows))
	for _, row := range rows {
		cells, ok := row.([]any)
		if !ok {
			return nil, &commandError{named(args), errors.New("an entry of the answer is no list")}
		}
		list = append(list, flat(cells))
	}
	return list, nil
}

// readBound adds the address by which the Sentinel knows itself.
func (w *watcher) readBound(ctx context.Context) error {
	text, err := w.line.text(ctx, "CLIENT", "INFO")
	if _, answered := said(err); err != nil && (!answered || says(err, "NOPERM")) {
		return err
	}
	if ip, port, ok := boundTo(text, w.Host); ok {
		w.Known = known(w.Known, address(ip, port))
	}
	return nil
}

// storeTrouble is why Sentinels that each answer, or do not, make no store together.
func storeTrouble(st *fleet.Store, all []*watcher) string {
	var names, first []string
	answered := 0
	for _, w := range all {
		if w.name != "" && !slices.Contains(names, w.name) {
			names = append(names, w.name)
		}
		if len(w.watches) > 0 {
			first = w.watches
		}
		if w.Trouble == "" || len(w.watches) > 0 {
			answered++
		}
	}
	switch {
	case len(all) == 0:
		return fmt.Sprintf("store %s has no Sentinel: annotate their pods with drover.dev/mover=sentinel, drover.dev/role=sentinel and the same drover.dev/store", st.Name)
	case answered == 0:
		return fmt.Sprintf("none of the %d Sentinels of store %s answers; the first: %s", len(all), st.Name, all[0].Trouble)
	case len(names) == 0:
		return fmt.Sprintf("each Sentinel of store %s that answers %s", st.Name, &masterError{st.Spec.Master, first})
	case len(names) > 1:
		return fmt.Sprintf("the Sentinels of store %s watch different masters (%s): say which is the store's, by the annotation drover.dev/master", st.Name, strings.Join(names, ", "))
	}
	return ""
}
