package cluster

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"drover.dev/fleet"
)

// Options say which cluster to simulate. Only the Clock is needed.
type Options struct {
	Clock       Clock
	Seed        int64 // decides every choice between equals
	Timing      Timing
	Pack        bool   // the scheduler fills nodes up instead of spreading load
	Unjournaled string // why the cluster cannot hold rotation records; "" when it can
	Processes   Processes
	Unslept     string // why the cluster cannot hold records of sleeps; "" when it can
}

// Timing says how long things take. Zero takes the default, a negative value means at once.
type Timing struct {
	Silence     time.Duration // a dead machine's last word to its node's NotReady; default 40 s
	Unreachable time.Duration // a node's NotReady to the deletion of its pods; default 300 s
	Attach      time.Duration // of a volume; default 3 s
	Detach      time.Duration // of a volume, after its last pod on the node is gone; default 3 s
	ForceDetach time.Duration // of a volume whose machine died or whose node is gone; default 6 min
	Register    time.Duration // a pod's Ready to its registration as a target; default 2 s
	Healthy     time.Duration // registration to healthy; default 10 s
	Deregister  time.Duration // a pod's deletion to the begin of draining; default 1 s
	Drain       time.Duration // draining to unused; default 30 s
	Scale       time.Duration // between two looks of an autoscaler; default 15 s
}

func (t Timing) withDefaults() Timing {
	for _, f := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&t.Silence, 40 * time.Second}, {&t.Unreachable, 300 * time.Second}, {&t.Attach, 3 * time.Second}, {&t.Detach, 3 * time.Second},
		{&t.ForceDetach, 6 * time.Minute}, {&t.Register, 2 * time.Second}, {&t.Healthy, 10 * time.Second}, {&t.Deregister, time.Second},
		{&t.Drain, 30 * time.Second}, {&t.Scale, 15 * time.Second},
	} {
		*f.value = duration(*f.value, f.usual)
	}
	return t
}

// duration is a setting's value: zero takes the usual one, a negative value means none.
func duration(value, usual time.Duration) time.Duration { return max(cmp.Or(value, usual), 0) }

// Cluster is one Kubernetes cluster. All methods may be called from any goroutine.
type Cluster struct {
	clock   Clock
	timing  Timing
	pack    bool
	without string // Options.Unjournaled
	runs    Processes
	changed chan struct{}

	mu     sync.Mutex
	now    time.Time // of the clock, when the lock was taken
	began  time.Time
	dice   *rand.Rand
	agenda agenda
	serial int

	nodes     []*node // by name
	node      map[string]*node
	pods      []*pod // by namespace, name and age
	pod       map[string]*pod
	workloads []*workload // in order of making, bare pods included
	workload  map[fleet.Owner]*workload
	shown     []*workload // those that drover sees, by kind, namespace and name
	budgets   []*budget   // by name
	volumes   map[string]*volume
	records   []fleet.RotationRecord // by run
	stopped   *fleet.Pause
	progress  map[string]fleet.Progress // by run
	cases     []fleet.Case              // by instance
	moves     map[string]fleet.StoreMove
	attended  []string                                         // runs, or requesters of runs, for whom a process acts
	answer    func(store, hook string, pod fleet.PodRef) error // of stores' hooks

	environments map[string]*environment
	things       map[fleet.Owner]switched // CronJobs, ScaledObjects, GitOps objects
	services     []ServiceSpec            // by namespace and name
	backends     []BackendSpec
	unslept      string // Options.Unslept
	answers      func(database string) bool
	made         int  // objects
	needy        bool // some pods need others, or databases

	pending []*pod // in order of making
	room    int    // grows whenever a pod that found no node might find one now
	retry   bool   // the scheduler has something to do
	looks   bool   // it will look at the end of this moment
	due     []*workload
	recount []*budget
	count   []*workload
	causes  []string
	ledger  Ledger
}

// New returns an empty cluster.
func New(o Options) *Cluster {
	now := o.Clock.Now()
	return &Cluster{
		clock: o.Clock, timing: o.Timing.withDefaults(), pack: o.Pack, without: o.Unjournaled, runs: o.Processes, changed: make(chan struct{}, 1),
		now: now, began: now, dice: rand.New(rand.NewPCG(uint64(o.Seed), 3)),
		node: map[string]*node{}, pod: map[string]*pod{}, workload: map[fleet.Owner]*workload{}, volumes: map[string]*volume{}, progress: map[string]fleet.Progress{},
		moves: map[string]fleet.StoreMove{}, environments: map[string]*environment{}, things: map[fleet.Owner]switched{}, unslept: o.Unslept,
	}
}

// Changed is readable after something in the cluster changed. Any number of changes wake once.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

// do makes one change and lets the controllers react to it.
func (c *Cluster) do(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.clock.Now()
	err := f()
	c.settle()
	return err
}

// settle lets controllers and scheduler work until nothing is left for them, then counts the budgets anew.
func (c *Cluster) settle() {
	c.work()
	for c.needy && c.forsake() {
		c.work()
	}
	c.countBudgets()
	c.causes = nil
	c.arm()
	select {
	case c.changed <- struct{}{}:
	default: // not heard yet
	}
}

func (c *Cluster) work() {
	for len(c.due) > 0 || c.retry {
		due := c.due
		c.due = nil
		for _, w := range due {
			w.due = false
			c.tend(w)
		}
		if len(c.due) == 0 && c.retry {
			c.retry = false
			c.schedule()
		}
	}
}

// because notes what brings about the changes that follow, for the ledger.
func (c *Cluster) because(cause string) { c.causes = append(c.causes, cause) }

// wake has a workload's controller look at it.
func (c *Cluster) wake(w *workload) {
	if !w.due {
		w.due = true
		c.due = append(c.due, w)
	}
}

// freed tells the scheduler that a pod without a node may find one now.
func (c *Cluster) freed() {
	c.room++
	c.retry = c.retry || len(c.pending) > 0
}

func (c *Cluster) nextSerial() int {
	c.serial++
	return c.serial
}

// suffix is a short text of letters and digits that no other object of this cluster has.
func suffix(serial int) string {
	s := strconv.FormatInt(int64(serial), 36)
	return "00000"[:max(0, 5-len(s))] + s
}

// drop removes the first element that is v.
func drop[T comparable](list []T, v T) []T {
	if i := slices.Index(list, v); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
