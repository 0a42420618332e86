package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
)

// heard is what a member says, with what only this package needs.
type heard struct {
	fleet.Member
	line       *line  // to it; nil when it did not answer
	host, port string // by which other members are to be told of it
	bus        string // port of the cluster's own talk
	good       int    // replicas that count for its fence
	announces  string
	noFailover bool
}

// hear asks a member for everything.
func (h *Hand) hear(ctx context.Context, st *fleet.Store, m fleet.Member, l login) heard {
	r := heard{Member: bareMember(m)}
	if m.Host == "" {
		r.Trouble = noAddress("Redis", m.Pod)
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	ep := l.endpoint(st.Spec, m.Pod, m.Host, m.Port)
	err := h.speak(ctx, ep, l, func(to *line) error {
		r = heard{Member: bareMember(m), line: to}
		return r.read(ctx, st.Mover)
	})
	if says(err, "LOADING") {
		r.Loading, err = true, nil
	}
	if err != nil {
		r = heard{Member: bareMember(m)}
		r.Trouble = h.trouble(ctx, party{"Redis", ep, l}, err)
	}
	return r
}

// isStill leaves a trouble where another process answers than the one that was looked at: what was decided was decided about that one.
func (r *heard) isStill(m fleet.Member) {
	if m.RunID == "" || r.RunID == m.RunID || r.Trouble != "" || r.Loading && r.RunID == "" {
		return
	}
	*r = heard{Member: bareMember(m)}
	r.Trouble = restarted("Redis", m.Pod)
}

func restarted(what string, pod fleet.PodRef) string {
	return fmt.Sprintf("%s in pod %s was started again, or is another one, since it was looked at", what, pod)
}

// bareMember is a member as the cluster's hand knows it.
func bareMember(m fleet.Member) fleet.Member {
	return fleet.Member{
		Pod: m.Pod, Node: m.Node, Host: m.Host, Port: m.Port, Known: slices.Clone(m.Known),
		Pinned: m.Pinned, Temp: m.Temp, Ready: m.Ready, Leaving: m.Leaving,
	}
}

func (r *heard) read(ctx context.Context, mover fleet.Mover) error {
	text, err := r.line.text(ctx, "INFO")
	if err != nil {
		return err
	}
	in := parseInfo(text)
	if err := fits(in["redis_mode"], mover); err != nil {
		return err
	}
	r.take(in)
	if err := r.readSettings(ctx, mover); err != nil {
		return err
	}
	if err := r.readBound(ctx); err != nil {
		return err
	}
	if mover == fleet.ClusterMover && !r.Loading {
		if err := r.readCluster(ctx); err != nil {
			return err
		}
	}
	return r.line.mayAct(ctx, mover)
}

// take fills in what INFO says.
func (r *heard) take(in info) {
	r.RunID, r.Role, r.Master = in["run_id"], in.role(), in.master()
	r.Link, r.Syncing = in["master_link_status"] == "up", in.on("master_sync_in_progress")
	r.Loading = in.on("loading") || in.on("async_loading")
	r.Saving = in.on("rdb_bgsave_in_progress") || in.on("aof_rewrite_in_progress")
	r.SaveErr, r.Offset, r.Keys, r.Replicas = in.saveError(), in.offset(), in.keys(), in.replicas()
	r.History = in["master_replid"]
	if before := in["master_replid2"]; strings.Trim(before, "0") != "" { // zeros mean none
		r.History2, r.Offset2 = before, in.number("second_repl_offset")
	}
}

// Settings that are read.
const (
	setFence       = "min-replicas-to-write"
	setLag         = "min-replicas-max-lag"
	setPriority    = "replica-priority"
	setMigration   = "cluster-allow-replica-migration"
	setNoFailover  = "cluster-replica-no-failover"
	setReplicaIP   = "replica-announce-ip"
	setReplicaPort = "replica-announce-port"
	setClusterIP   = "cluster-announce-ip"
	setClusterPort = "cluster-announce-port"
)

func (r *heard) readSettings(ctx context.Context, mover fleet.Mover) error {
	set, err := r.line.settings(ctx, setFence, setLag, setPriority, setMigration, setNoFailover, setReplicaIP, setReplicaPort, setClusterIP, setClusterPort)
	if err != nil {
		return err
	}
	n := info(set)
	r.Fence = fleet.Fence{Replicas: int(n.number(setFence)), Lag: int(n.number(setLag))}
	r.Priority = int(n.number(setPriority))
	r.Migration, r.noFailover = set[setMigration] == "yes", set[setNoFailover] == "yes"
	r.good = good(r.Replicas, r.Fence.Lag)
	ip, port := set[setReplicaIP], set[setReplicaPort]
	if mover == fleet.ClusterMover {
		ip, port = set[setClusterIP], set[setClusterPort]
	}
	r.announces, r.host = ip, ip
	if port != "0" {
		r.port = port
	}
	return nil
}

// good counts the replicas that a fence would count. Redis counts those it has heard within the lag.
func good(list []fleet.Replica, lag int) int {
	n := 0
	for _, r := range list {
		if r.Online && int(r.Lag.Seconds()) <= lag {
			n++
		}
	}
	return n
}

// readBound completes how the member is known: what it announces, else what it is bound to, else the pod's address. Before 6.2 it does not tell.
func (r *heard) readBound(ctx context.Context) error {
	text, err := r.line.text(ctx, "CLIENT", "INFO")
	if _, answered := said(err); err != nil && (!answered || says(err, "NOPERM") || says(err, "LOADING")) {
		return err
	}
	ip, port, ok := boundTo(text, r.Member.Host)
	if !ok {
		ip, port = r.Member.Host, strconv.Itoa(r.Member.Port)
	}
	if r.host == "" {
		r.host = ip
	}
	if r.port == "" {
		r.port = port
	}
	r.Known = known(r.Known, address(ip, port), address(r.host, r.port))
	return nil
}

// known adds addresses that are not there yet.
func known(list []string, more ...string) []string {
	for _, a := range more {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

func (r *heard) readCluster(ctx context.Context) error {
	state, err := r.line.text(ctx, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	r.StateOK = parseInfo(state)["cluster_state"] == "ok"
	return r.readView(ctx)
}

// readView reads how the member sees the cluster.
func (r *heard) readView(ctx context.Context) error {
	text, err := r.line.text(ctx, "CLUSTER", "NODES")
	if err != nil {
		return err
	}
	nodes, err := parseNodes(text)
	if err != nil {
		return &commandError{"CLUSTER NODES", err}
	}
	r.View = peers(nodes)
	for _, n := range nodes {
		if n.Self {
			// With TLS, the port that others name may be another than the one that answers.
			r.ID, r.port, r.bus = n.ID, n.port, n.bus
			r.Known = known(r.Known, address(r.host, n.port))
		}
	}
	return nil
}

// address is what other members are told of this one.
func (r *heard) address() string { return address(r.host, r.port) }

// is tells whether the member is known under an address.
func (r *heard) is(address string) bool { return address != "" && slices.Contains(r.Known, address) }
