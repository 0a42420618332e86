package keys

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// View is what a Sentinel, or a member of a cluster, says of its store.
type View struct {
	From  string // host:port of who says it
	Err   error  // it did not answer
	Nodes []Node // a Sentinel's: the master first, then replicas, then the other Sentinels; a member's: all, by id
}

// Node is one of those it knows.
type Node struct {
	ID      string // run id at Sentinels
	Address string // host:port
	Flags   []string
	Master  string // id (at Sentinels: host:port) of its master; "" for one
	Epoch   int64  // config-epoch
	Slots   []string
}

// Is tells whether a node carries a flag.
func (n Node) Is(flag string) bool { return slices.Contains(n.Flags, flag) }

// Look asks all that can be asked now.
func (s Store) Look(ctx context.Context, dial Dial) []View {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	members := slices.Sorted(slices.Values(s.Members()))
	views := make([]View, len(members))
	var work sync.WaitGroup
	for i, address := range members {
		work.Go(func() {
			c := plain(address, dial)
			defer c.Close()
			views[i] = View{From: address}
			v := &views[i]
			if s.Master != "" {
				v.Nodes, v.Err = askSentinel(ctx, c, s.Master)
			} else {
				v.Nodes, v.Err = askMember(ctx, c, address)
			}
		})
	}
	work.Wait()
	return views
}

// plain is a client that speaks to one process and hides nothing.
func plain(address string, dial Dial) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: address, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: 1,
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) },
	})
}

func askSentinel(ctx context.Context, c *redis.Client, name string) ([]Node, error) {
	master, err := c.Do(ctx, "sentinel", "master", name).StringSlice()
	if err != nil {
		return nil, err
	}
	nodes := []Node{sentinelNode(master)}
	for _, of := range []string{"replicas", "sentinels"} {
		entries, err := c.Do(ctx, "sentinel", of, name).Slice()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			fields, ok := e.([]any)
			if !ok {
				return nil, fmt.Errorf("sentinel %s %s: an entry is a %T", of, name, e)
			}
			nodes = append(nodes, sentinelNode(texts(fields)))
		}
	}
	return nodes, nil
}

func texts(fields []any) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = fmt.Sprint(f)
	}
	return out
}

// sentinelNode reads an entry: names and values in turn.
func sentinelNode(pairs []string) Node {
	f := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f[pairs[i]] = pairs[i+1]
	}
	n := Node{ID: f["runid"], Address: net.JoinHostPort(f["ip"], f["port"]), Flags: strings.Split(f["flags"], ",")}
	n.Epoch, _ = strconv.ParseInt(f["config-epoch"], 10, 64) // only masters have one
	if f["master-host"] != "" {
		n.Master = net.JoinHostPort(f["master-host"], f["master-port"])
	}
	return n
}

func askMember(ctx context.Context, c *redis.Client, address string) ([]Node, error) {
	text, err := c.ClusterNodes(ctx).Result()
	if err != nil {
		return nil, err
	}
	var nodes []Node
	for line := range strings.Lines(text) {
		n, err := clusterNode(line)
		if err != nil {
			return nil, fmt.Errorf("cluster nodes of %s: %w", address, err)
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return nodes, nil
}

// clusterNode reads a line: id, address, flags, master, ping, pong, epoch, link, slots.
func clusterNode(line string) (Node, error) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return Node{}, fmt.Errorf("line %q: want 8 fields or more", line)
	}
	epoch, err := strconv.ParseInt(f[6], 10, 64)
	if err != nil {
		return Node{}, fmt.Errorf("line %q: epoch: %w", line, err)
	}
	address, _, _ := strings.Cut(f[1], "@")
	n := Node{ID: f[0], Address: address, Flags: strings.Split(f[2], ","), Epoch: epoch, Slots: f[8:]}
	n.Flags = slices.DeleteFunc(n.Flags, func(flag string) bool { return flag == "myself" })
	if f[3] != "-" {
		n.Master = f[3]
	}
	return n, nil
}

// Same tells whether all who answered say the same, apart from epochs of replicas, and otherwise who differs.
func Same(views []View) (bool, string) {
	for _, v := range views {
		if v.Err != nil {
			return false, fmt.Sprintf("%s does not answer: %v", v.From, v.Err)
		}
		if a, b := v.String(), views[0].String(); a != b {
			return false, fmt.Sprintf("%s sees\n%s%s sees\n%s", views[0].From, b, v.From, a)
		}
	}
	return len(views) > 0, ""
}

// String is a view for comparison: a line for each node.
func (v View) String() string {
	var b strings.Builder
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "  %s %s %s %s %s\n", n.ID, n.Address, strings.Join(n.Flags, ","), n.Master, strings.Join(n.Slots, " "))
	}
	return b.String()
}

// Covered counts the slots of a cluster that have an owner in the eyes of who sees the fewest.
func Covered(views []View) int {
	least := -1
	for _, v := range views {
		count := 0
		for _, n := range v.Nodes {
			if n.Is("fail") {
				continue
			}
			for _, s := range n.Slots {
				count += slotCount(s)
			}
		}
		if least < 0 || count < least {
			least = count
		}
	}
	return max(least, 0)
}

// slotCount is how many slots "0-5460" or "7" are; those on their way, in brackets, are counted at their owner.
func slotCount(s string) int {
	if strings.HasPrefix(s, "[") {
		return 0
	}
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return 1
	}
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if errA != nil || errB != nil {
		return 0
	}
	return b - a + 1
}

// Stale lists what views name that is at none of the addresses given, with who names it.
func Stale(views []View, alive []string) []string {
	by := map[string]int{}
	for _, v := range views {
		for _, n := range v.Nodes {
			if !slices.Contains(alive, n.Address) {
				by[n.Address]++
			}
		}
	}
	var out []string
	for _, address := range slices.Sorted(maps.Keys(by)) {
		out = append(out, fmt.Sprintf("%s (listed %d times)", address, by[address]))
	}
	return out
}

// Masters are the addresses that have the authority: whom most Sentinels name, or who owns slots by the highest epoch that anybody has seen.
func Masters(s Store, views []View) []string {
	if s.Master == "" {
		return owners(views)
	}
	votes := map[string]int{}
	for _, v := range views {
		if len(v.Nodes) > 0 {
			votes[v.Nodes[0].Address]++
		}
	}
	best := slices.MaxFunc(append(slices.Sorted(maps.Keys(votes)), ""), func(a, b string) int { return votes[a] - votes[b] })
	if best == "" {
		return nil
	}
	return []string{best}
}

func owners(views []View) []string {
	best := map[string]Node{}
	for _, v := range views {
		for _, n := range v.Nodes {
			for _, s := range n.Slots {
				if old, known := best[s]; !known || n.Epoch > old.Epoch {
					best[s] = n
				}
			}
		}
	}
	var out []string
	for _, n := range best {
		out = append(out, n.Address)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
