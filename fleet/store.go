package fleet

import (
	"slices"
	"time"
)

// Mover is how the pods of a store are taken off a node.
type Mover string

// The movers of stores. Pods of no store leave by their lanes, or by the surge mover.
const (
	SentinelMover Mover = "sentinel"     // Redis with replicas, watched by Sentinels
	ClusterMover  Mover = "rediscluster" // Redis Cluster
	ScriptMover   Mover = "script"       // one pod at a time, with hooks that its owner wrote
	LeaderMover   Mover = "leader-last"  // one pod at a time, the one that leads last
)

// Store is pods that hold one set of data together: which of them may leave, and when, their data decides and no budget alone.
type Store struct {
	Name      string // namespace/name
	Mover     Mover
	Source    string // who says so, for people: "annotation of StatefulSet shop/orders", "policy caches", "probing"
	Confirmed bool   // false when only probing says so: then it is reported, and nothing is done by it
	Spec      StoreSpec
	Members   []Member   // pods with data, by name; one whose pod is away is not among them
	Sentinels []Sentinel // by name
	Move      *StoreMove // the move in progress; nil when there is none
	Read      time.Time  // when its facts were read; zero when they were not
	Trouble   string     // why the store cannot be understood, and what to do: nothing of it moves
}

// StoreSpec is what the owner of a store has declared.
type StoreSpec struct {
	Master         string // Sentinel: name of the master they watch; "" for the only one
	Port           int    // of the data; 6379
	SentinelPort   int    // 26379
	TLS            bool
	ServerName     string // that certificates are checked against; "" for the pod's own name
	Secret         string // name in the store's namespace; keys username, password, and ca.crt, tls.crt, tls.key
	SentinelSecret string // the same for Sentinels; "" for Secret's
	Failback       Failback
	Floor          int               // copies besides the master that have to be there while a pod is away; a temporary one counts
	Linger         time.Duration     // between a change of roles and the eviction of who had it: clients follow meanwhile; 5s
	Leader         Requirement       // leader-last: label of the pod that leads
	Hooks          map[string]string // script: by HookPre, HookReady, HookPost; "http://:8080/path" or "exec: command"
	HookTimeout    time.Duration     // of one call of a hook; 5s, 7s at most: it is called again until it succeeds
	Replicas       int               // data pods that its workloads want together; 0 when unknown
	Watchers       int               // Sentinel pods that their workload wants; 0 when unknown
}

// Hooks of a script.
const (
	HookPre   = "pre-move"  // in the pod that is to leave, until it succeeds
	HookReady = "ready"     // in its successor, until it succeeds
	HookPost  = "post-move" // in the successor, once
)

// Failback tells whether a role goes back to the pod that had it.
type Failback string

// When it does.
const (
	FailbackNever    Failback = "never"
	FailbackIfPinned Failback = "ifPinned" // where a Service or the Sentinels' own settings expect it there; also where nothing is said
	FailbackAlways   Failback = "always"
)

// Role is what a Redis says it is.
type Role string

// The roles.
const (
	RoleMaster  Role = "master"
	RoleReplica Role = "replica"
)

// Member is a pod of a store, with what it says of itself. Facts are zero when it did not answer.
type Member struct {
	Pod     PodRef
	Node    string
	Host    string   // the pod's address
	Port    int      //
	Known   []string // host:port under which other members may know it: its address, what it announces, what it is bound to
	Pinned  bool     // something static expects its workload to have the role that it has when all is well
	Temp    bool     // made by drover for a move
	Ready   bool     // the pod
	Leaving bool     // the pod is shutting down
	Trouble string   // why it did not answer, and what to do; "" when it did

	RunID    string
	Role     Role
	Master   string // host:port that it replicates
	Link     bool   // to the master, up
	Syncing  bool   // a full copy is on its way
	Loading  bool
	Saving   bool // a save or a rewrite of the log runs: SIGTERM would not be heard
	SaveErr  string
	Offset   int64  // of the replication stream
	History  string // its id: offsets of different histories cannot be compared
	History2 string // the one before it became a master, "" when none; good up to Offset2, exclusive
	Offset2  int64
	Keys     int64
	Replicas []Replica // of a master
	Fence    Fence
	Priority int // replica-priority

	// Cluster only.
	ID        string
	StateOK   bool // cluster_state:ok
	Migration bool // cluster-allow-replica-migration
	View      []Peer
}

// Replica is what a master says of one.
type Replica struct {
	Address string // host:port
	Online  bool
	Offset  int64
	Lag     time.Duration // since it was last heard
}

// Fence is how many replicas a master needs to accept writes: min-replicas-to-write and min-replicas-max-lag.
type Fence struct {
	Replicas int
	Lag      int // seconds
}

// Peer is how a member of a cluster sees one of its nodes, itself included.
type Peer struct {
	ID      string
	Address string // host:port
	Self    bool
	Role    Role
	Of      string // id of its master
	Fail    bool   // sure
	Doubt   bool   // fail?
	Meeting bool   // handshake: not one of the cluster yet
	NoAddr  bool
	Linked  bool
	Epoch   int64
	Slots   int // how many it owns
	Moving  int // how many migrate or are imported
}

// Sentinel is a pod that watches, with what it says.
type Sentinel struct {
	Pod     PodRef
	Node    string
	Host    string
	Port    int
	Known   []string
	Ready   bool
	Leaving bool
	Trouble string

	ID       string
	Master   string // host:port that it takes for the master
	Epoch    int64  // config-epoch
	Quorum   int
	Down     bool     // it takes the master for down
	Failover bool     // one is in progress
	NoQuorum string   // why it could not have a failover authorized; "" when it could
	Replicas []Listed // of the master
	Peers    []Listed // the other Sentinels
}

// Ahead tells whether a member may have taken writes that another does not have: unless both went through the same history, and it is not further.
func (m *Member) Ahead(of *Member) bool {
	switch {
	case m.History == "":
		return true
	case m.History == of.History:
		return m.Offset > of.Offset
	case m.History == of.History2:
		return m.Offset >= of.Offset2
	case m.History2 != "" && (m.History2 == of.History || m.History2 == of.History2):
		return m.Offset >= m.Offset2 // it began its own with the first write
	}
	return true
}

// Listed is an entry of a Sentinel's list.
type Listed struct {
	Address string
	ID      string // run id
	Prio    int    // replica-priority as this Sentinel has heard it
	Down    bool   // subjectively or objectively, or disconnected
}

// StoreMove is what drover writes of a move before it begins, as one object a store: who is moved, and all that the world would not show afterwards.
type StoreMove struct {
	Run      string
	Pod      PodRef // as it was before; its successor has another UID
	Node     string // that it leaves
	Why      string
	Since    time.Time
	ID       string    // of the cluster node in the pod
	Home     bool      // it had the role when the move began
	Prior    []Setting // of every member, before anything was changed
	Temp     string    // name of the temporary pod, if the move needs one
	Switched time.Time // when the role was last seen to have been handed over; zero before
	Switches int       // how often it was
	Ghosts   []Ghost   // of the cluster, forgotten a while ago
	Hooked   []string  // hooks that have succeeded
	Idle     bool      // no process acts for its run any more; filled by the observer
}

// Setting is what a member was set to.
type Setting struct {
	Pod       string // name; the setting is put back on whoever bears it then
	ID        string // of its cluster node
	Fence     Fence
	Priority  int
	Migration bool
}

// Ghost is a node that the cluster was told to forget.
type Ghost struct {
	ID string
	At time.Time
}

// Before returns what a pod's Redis was set to, if that is known.
func (m *StoreMove) Before(pod string) (Setting, bool) {
	i := slices.IndexFunc(m.Prior, func(s Setting) bool { return s.Pod == pod })
	if i < 0 {
		return Setting{}, false
	}
	return m.Prior[i], true
}

// Clone copies the move.
func (m *StoreMove) Clone() *StoreMove {
	if m == nil {
		return nil
	}
	c := *m
	c.Prior, c.Ghosts, c.Hooked = slices.Clone(m.Prior), slices.Clone(m.Ghosts), slices.Clone(m.Hooked)
	return &c
}

// Member returns the member in the pod of that name, or nil.
func (st *Store) Member(pod string) *Member {
	for i := range st.Members {
		if st.Members[i].Pod.Name == pod {
			return &st.Members[i]
		}
	}
	return nil
}

// Sentinel returns the Sentinel in the pod of that name, or nil.
func (st *Store) Sentinel(pod string) *Sentinel {
	for i := range st.Sentinels {
		if st.Sentinels[i].Pod.Name == pod {
			return &st.Sentinels[i]
		}
	}
	return nil
}

// At returns the member known under host:port, or nil.
func (st *Store) At(address string) *Member {
	for i := range st.Members {
		if address != "" && slices.Contains(st.Members[i].Known, address) {
			return &st.Members[i]
		}
	}
	return nil
}

// Has tells whether a pod is one of the store.
func (st *Store) Has(uid string) bool {
	return slices.ContainsFunc(st.Members, func(m Member) bool { return m.Pod.UID == uid }) ||
		slices.ContainsFunc(st.Sentinels, func(w Sentinel) bool { return w.Pod.UID == uid })
}

// Clone copies the store deep enough that changing the copy leaves the original alone.
func (st Store) Clone() Store {
	c := st
	c.Members = slices.Clone(st.Members)
	for i := range c.Members {
		m := &c.Members[i]
		m.Known, m.Replicas, m.View = slices.Clone(m.Known), slices.Clone(m.Replicas), slices.Clone(m.View)
	}
	c.Sentinels = slices.Clone(st.Sentinels)
	for i := range c.Sentinels {
		w := &c.Sentinels[i]
		w.Known, w.Replicas, w.Peers = slices.Clone(w.Known), slices.Clone(w.Replicas), slices.Clone(w.Peers)
	}
	c.Move = st.Move.Clone()
	return c
}

// Asked is an intent: somebody wants a pod to leave, and a mover is to do it.
type Asked struct {
	At time.Time
	By string // who, for people: "kubectl drain by alice (eviction refused by drover's guard)"
}

// Courted is a pod that another operator moves, asked in its own way.
type Courted struct {
	Operator string // "CloudNativePG"
	Leads    bool   // it has a role that its operator hands over first
	Signal   string // what is still to be said, for people: "annotate the pod strimzi.io/manual-rolling-update=true"; "" when all is said
	Go       bool   // nothing more is awaited: it may be evicted
	Awaits   string // what is, for people: "CloudNativePG to promote another instance"
}
