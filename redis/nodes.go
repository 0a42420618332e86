package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover.dev/fleet"
)

// node is one line of CLUSTER NODES.
type node struct {
	fleet.Peer
	port, bus string // of the data, and of the cluster's own talk
}

// parseNodes reads CLUSTER NODES. An unreadable line is an error: half a view is none.
func parseNodes(text string) ([]node, error) {
	var list []node
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		n, err := parseNode(line)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// parseNode reads: id ip:port@bus[,hostname] flags master ping pong epoch link slot...
func parseNode(line string) (node, error) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return node{}, fmt.Errorf("CLUSTER NODES: line %.60q has %d words, needs 8", line, len(f))
	}
	n := node{Peer: fleet.Peer{ID: f[0], Linked: f[7] == "connected"}}
	if err := n.at(f[1]); err != nil {
		return node{}, err
	}
	n.flags(strings.Split(f[2], ","))
	if f[3] != "-" {
		n.Of = f[3]
	}
	epoch, err := strconv.ParseInt(f[6], 10, 64)
	if err != nil {
		return node{}, fmt.Errorf("CLUSTER NODES: %.60q is no epoch", f[6])
	}
	n.Epoch = epoch
	for _, s := range f[8:] {
		if err := n.slots(s); err != nil {
			return node{}, err
		}
	}
	return n, nil
}

// at reads ip:port@bus, with names after a comma that nobody connects to. A node that was told no address of its own has an empty one.
func (n *node) at(s string) error {
	s, _, _ = strings.Cut(s, ",")
	s, n.bus, _ = strings.Cut(s, "@")
	host, port, err := splitAddress(s)
	if err != nil {
		return fmt.Errorf("CLUSTER NODES: %w", err)
	}
	n.port = port
	if host != "" {
		n.Address = address(host, port)
	}
	return nil
}

// flags are whole words: "nofailover" is no "fail".
func (n *node) flags(words []string) {
	for _, w := range words {
		switch w {
		case "myself":
			n.Self, n.Linked = true, true
		case "master":
			n.Role = fleet.RoleMaster
		case "slave":
			n.Role = fleet.RoleReplica
		case "fail":
			n.Fail = true
		case "fail?":
			n.Doubt = true
		case "handshake":
			n.Meeting = true
		case "noaddr":
			n.NoAddr = true
		}
	}
}

// slots counts "5", "0-100", and slots on their way: "[93-<-id]", "[77->-id]".
func (n *node) slots(s string) error {
	if strings.HasPrefix(s, "[") {
		n.Moving++
		return nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 14)
	b, errB := strconv.ParseUint(last, 10, 14)
	if errA != nil || errB != nil || b < a {
		return fmt.Errorf("CLUSTER NODES: %.60q is no slot", s)
	}
	n.Slots += int(b-a) + 1
	return nil
}

// peers is the view that the mind sees.
func peers(nodes []node) []fleet.Peer {
	view := make([]fleet.Peer, len(nodes))
	for i := range nodes {
		view[i] = nodes[i].Peer
	}
	return view
}

// self is the line of the node that was asked.
func self(view []fleet.Peer) (fleet.Peer, bool) {
	i := slices.IndexFunc(view, func(p fleet.Peer) bool { return p.Self })
	if i < 0 {
		return fleet.Peer{}, false
	}
	return view[i], true
}

// find is the line about a node.
func find(view []fleet.Peer, id string) (fleet.Peer, bool) {
	i := slices.IndexFunc(view, func(p fleet.Peer) bool { return p.ID == id && id != "" })
	if i < 0 {
		return fleet.Peer{}, false
	}
	return view[i], true
}
