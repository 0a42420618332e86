package cloud

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Cloud is one account in one region. All methods may be called from any goroutine.
type Cloud struct {
	cfg   Config
	clock Clock

	mu       sync.Mutex
	w        *world // the truth
	seen     *world // what Describe calls show; the truth itself unless reads lag
	commits  int
	seenAt   int // the commit that seen shows
	ids      *rand.Rand
	dice     *rand.Rand // kept apart from ids, so that a new kind of id changes no choice
	faults   faults
	feeds    map[int]*Feed
	lastFeed int
	seq      int
	launched int
	made     int
	closed   bool
	drought  map[capacity]bool
	withheld map[capacity]bool // types that a zone does not offer
	taken    map[string]int    // addresses that others have, by zone
	quota    int               // vCPUs of standard types on demand

	post post // queues, rules and topics

	unmakeable *NodegroupIssue // why the next node group is not to be made

	drainedByOthers bool
	spotReason      string
	losing          map[string]int // how many events of a kind are still to be lost

	dbGroups map[dbGroup]bool // parameter groups and subnet groups besides the default ones
	buckets  map[string]*bucket
	ctx      context.Context // of all that a Backing does; ends with Close
	cancel   context.CancelFunc
	working  sync.WaitGroup // calls of a Backing
}

// world is all that AWS remembers. Pointers in it are owned by it; what leaves the package is a copy.
type world struct {
	groups     map[string]*Group // by name
	instances  map[string]*Instance
	templates  map[string]*Template // by id
	configs    map[string]*LaunchConfiguration
	targets    map[string]*TargetGroup // by ARN
	activities map[string][]Activity   // by group name, oldest first
	clusters   map[string]*Cluster
	nodegroups map[nodegroupID]*Nodegroup
	releases   map[string]string       // newest AMI release by Kubernetes version
	spots      map[string]*SpotRequest // by id
	schedules  map[string]*schedule    // by the ARN of their Health event
	dbs        map[string]*DBInstance
	dbClusters map[string]*DBCluster
	snapshots  map[snapshotID]*DBSnapshot
	dbEvents   []DBEvent // oldest first
}

// New returns an empty account with a network: one VPC, one subnet per zone.
func New(cfg Config) *Cloud {
	cfg = cfg.withDefaults()
	c := &Cloud{
		cfg: cfg, clock: cfg.Clock,
		w: &world{
			groups: map[string]*Group{}, instances: map[string]*Instance{}, templates: map[string]*Template{},
			configs: map[string]*LaunchConfiguration{}, targets: map[string]*TargetGroup{}, activities: map[string][]Activity{},
			clusters: map[string]*Cluster{}, nodegroups: map[nodegroupID]*Nodegroup{}, releases: map[string]string{},
			spots: map[string]*SpotRequest{}, schedules: map[string]*schedule{},
			dbs: map[string]*DBInstance{}, dbClusters: map[string]*DBCluster{}, snapshots: map[snapshotID]*DBSnapshot{},
		},
		withheld: map[capacity]bool{}, taken: map[string]int{}, quota: usualQuota,
		ids:     rand.New(rand.NewPCG(uint64(cfg.Seed), 1)),
		dice:    rand.New(rand.NewPCG(uint64(cfg.Seed), 2)),
		post:    newPost(cfg.Seed),
		feeds:   map[int]*Feed{},
		drought: map[capacity]bool{}, losing: map[string]int{},
		dbGroups: map[dbGroup]bool{}, buckets: map[string]*bucket{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.seen = c.w
	if cfg.Timing.ConsistencyLag > 0 {
		c.seen = c.w.clone()
	}
	return c
}

// Close stops the world: nothing happens by itself any more, and subscriptions end once read to their end. It waits for what a Backing does,
// and tells it to end.
func (c *Cloud) Close() {
	c.cancel()
	c.close()
	c.working.Wait()
}

func (c *Cloud) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.post.close()
	for _, f := range c.feeds {
		f.end()
	}
	c.feeds = map[int]*Feed{}
}

// Region, Account and Zones tell where this cloud is.
func (c *Cloud) Region() string  { return c.cfg.Region }
func (c *Cloud) Account() string { return c.cfg.Account }
func (c *Cloud) Zones() []string { return slices.Clone(c.cfg.Zones) }

// write runs one changing action. f must check everything before it changes anything: there is no way back.
func (c *Cloud) write(action string, f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.faults.before(action); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	c.commit()
	return c.faults.strike(action, true)
}

// read runs one Describe action on the world as it may be seen, which can be a little old.
func read[T any](c *Cloud, action string, f func(w *world) (T, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var none T
	if err := c.faults.before(action); err != nil {
		return none, err
	}
	got, err := f(c.seen)
	if err != nil {
		return none, err
	}
	if err := c.faults.strike(action, true); err != nil {
		return none, err
	}
	return got, nil
}

// after runs f under the lock when d has passed, unless it is stopped. Whatever f captured may have changed or gone by then.
func (c *Cloud) after(d time.Duration, f func()) (stop func()) {
	return c.clock.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			return
		}
		f()
		c.commit()
	})
}

// commit ends a change: if reads lag, today's world becomes visible after the lag.
func (c *Cloud) commit() {
	lag := c.cfg.Timing.ConsistencyLag
	if lag <= 0 {
		return
	}
	c.commits++
	then, at := c.w.clone(), c.commits
	c.clock.AfterFunc(lag, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if at > c.seenAt { // a real clock may call back out of order
			c.seen, c.seenAt = then, at
		}
	})
}

func (c *Cloud) now() time.Time { return c.clock.Now().UTC() }

// hexID returns an id as EC2 makes them: a prefix and 17 hex digits of which the first is 0.
func (c *Cloud) hexID(prefix string) string { return fmt.Sprintf("%s-0%016x", prefix, c.ids.Uint64()) }

func (c *Cloud) uuid() string { return uuid(c.ids) }

func uuid(ids *rand.Rand) string {
	a, b := ids.Uint64(), ids.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

func (c *Cloud) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, c.cfg.Region, c.cfg.Account, resource)
}

func (w *world) clone() *world {
	n := &world{
		groups: cloneMap(w.groups, (*Group).clone), instances: cloneMap(w.instances, (*Instance).clone),
		templates: cloneMap(w.templates, (*Template).clone), targets: cloneMap(w.targets, (*TargetGroup).clone),
		configs:  maps.Clone(w.configs), // never changed once made
		clusters: cloneMap(w.clusters, func(k *Cluster) Cluster { return *k }), nodegroups: cloneMap(w.nodegroups, (*Nodegroup).clone), releases: maps.Clone(w.releases),
		spots: cloneMap(w.spots, func(r *SpotRequest) SpotRequest { return *r }), schedules: cloneMap(w.schedules, (*schedule).clone),
		dbs: cloneMap(w.dbs, (*DBInstance).clone), dbClusters: cloneMap(w.dbClusters, (*DBCluster).clone), snapshots: cloneMap(w.snapshots, (*DBSnapshot).clone),
		dbEvents: slices.Clone(w.dbEvents),
	}
	n.activities = map[string][]Activity{}
	for name, as := range w.activities {
		n.activities[name] = slices.Clone(as)
	}
	return n
}

func cloneMap[K comparable, T any](m map[K]*T, clone func(*T) T) map[K]*T {
	n := make(map[K]*T, len(m))
	for k, v := range m {
		c := clone(v)
		n[k] = &c
	}
	return n
}
