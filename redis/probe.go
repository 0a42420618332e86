package redis

import (
	"context"
	"slices"

	"drover.dev/fleet"
)

// Kind is what was found at an address.
type Kind string

// The kinds.
const (
	Plain       Kind = "redis" // with replicas or without
	Watcher     Kind = "sentinel"
	ClusterNode Kind = "cluster"
)

// Found is what was found at an address, with those that it knows.
type Found struct {
	Kind      Kind
	Mover     fleet.Mover
	Version   string
	Role      fleet.Role // of one with data
	Masters   []string   // names of those that a Sentinel watches
	Peers     []string   // host:port of others with data
	Sentinels []string   // host:port of other Sentinels
}

// Probe finds out what is behind an address. It changes nothing.
func (h *Hand) Probe(ctx context.Context, ep Endpoint) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	l := &line{hand: h, ep: ep}
	defer l.close()
	text, err := l.text(ctx, "INFO")
	if err != nil {
		return Found{}, err
	}
	in := parseInfo(text)
	f := Found{Mover: fleet.SentinelMover, Version: in["redis_version"], Role: in.role()}
	switch in["redis_mode"] {
	case modeStandalone:
		f.plain(in)
	case modeSentinel:
		err = f.watcher(ctx, l)
	case modeCluster:
		err = f.node(ctx, l)
	default:
		err = &kindError{is: in["redis_mode"]}
	}
	return f, err
}

func (f *Found) plain(in info) {
	f.Kind = Plain
	if m := in.master(); m != "" {
		f.Peers = append(f.Peers, m)
	}
	for _, r := range in.replicas() {
		f.Peers = append(f.Peers, r.Address)
	}
}

func (f *Found) watcher(ctx context.Context, l *line) error {
	f.Kind, f.Role = Watcher, ""
	w := watcher{line: l}
	masters, err := w.list(ctx, "SENTINEL", "MASTERS")
	if err != nil {
		return err
	}
	for _, m := range masters {
		replicas, err := w.list(ctx, "SENTINEL", "REPLICAS", m["name"])
		if err != nil {
			return err
		}
		others, err := w.list(ctx, "SENTINEL", "SENTINELS", m["name"])
		if err != nil {
			return err
		}
		f.Masters = append(f.Masters, m["name"])
		f.Peers = known(f.Peers, address(m["ip"], m["port"]))
		f.Peers = known(f.Peers, addresses(replicas)...)
		f.Sentinels = known(f.Sentinels, addresses(others)...)
	}
	slices.Sort(f.Masters)
	return nil
}

func addresses(entries []info) []string {
	var list []string
	for _, e := range listed(entries) {
		list = append(list, e.Address)
	}
	return list
}

func (f *Found) node(ctx context.Context, l *line) error {
	f.Kind, f.Mover = ClusterNode, fleet.ClusterMover
	m := heard{line: l}
	if err := m.readView(ctx); err != nil {
		return err
	}
	for _, p := range m.View {
		if !p.Self && p.Address != "" {
			f.Peers = append(f.Peers, p.Address)
		}
	}
	return nil
}
