package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover.dev/fleet"
)

// office is a world with a group, a queue and a docket.
type office struct {
	*world
	mu      sync.Mutex
	group   fleet.Group
	queue   []fleet.Message
	deleted []string
	aside   map[string]string
	again   map[string]time.Duration
	cases   map[string]fleet.Case
	broken  error // what File says
	known   []fleet.Machine
	census  [][]string
	heard   []Heard
}

func newOffice() *office {
	o := &office{world: newWorld(), aside: map[string]string{}, again: map[string]time.Duration{}, cases: map[string]fleet.Case{}}
	o.group = fleet.Group{Name: "web", Desired: 2, Hooks: []fleet.Hook{{Name: "drover-terminate", Heartbeat: time.Minute}}}
	for i := range o.s.Nodes {
		id := fmt.Sprintf("i-%08d", i)
		o.s.Nodes[i].Instance = id
		o.group.Instances = append(o.group.Instances, fleet.Instance{ID: id, Lifecycle: fleet.InService})
	}
	return o
}

func (o *office) Groups(context.Context, []string) ([]fleet.Group, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fleet.Snapshot{Groups: []fleet.Group{o.group}}.Clone().Groups, nil
}

func (o *office) Observe(ctx context.Context, s *fleet.Snapshot) error {
	if err := o.world.Observe(ctx, s); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Cases = nil
	for _, c := range o.cases {
		s.Cases = append(s.Cases, c.Clone())
	}
	return nil
}

// Act carries cloud actions out, which the world below does not know.
func (o *office) Act(ctx context.Context, a fleet.Action) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.Verb == fleet.Complete {
		o.group.Instances = slices.DeleteFunc(o.group.Instances, func(in fleet.Instance) bool { return in.ID == a.Instance })
		o.known = append(o.known, fleet.Machine{ID: a.Instance, State: fleet.MachineGone})
		o.s.Nodes = slices.DeleteFunc(o.s.Nodes, func(n fleet.Node) bool { return n.Instance == a.Instance })
		return nil
	}
	return o.world.Act(ctx, a)
}

func (o *office) File(_ context.Context, instance string, change func(fleet.Case) (fleet.Case, bool)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return o.broken
	}
	have, ok := o.cases[instance]
	if !ok {
		have.Instance = instance
	}
	if want, differs := change(have); differs {
		o.cases[instance] = want
	}
	return nil
}

func (o *office) Machines(_ context.Context, ids []string) ([]fleet.Machine, error) {
	o.census = append(o.census, ids)
	return slices.DeleteFunc(slices.Clone(o.known), func(m fleet.Machine) bool { return !slices.Contains(ids, m.ID) }), nil
}

func (o *office) Receive(context.Context) ([]fleet.Message, error) { return o.queue, nil }
func (o *office) Delete(_ context.Context, ms []fleet.Message) error {
	for _, m := range ms {
		o.deleted = append(o.deleted, m.ID)
	}
	return nil
}

func (o *office) Release(_ context.Context, m fleet.Message, after time.Duration) error {
	o.again[m.ID] = after
	return nil
}

func (o *office) SetAside(_ context.Context, m fleet.Message, why string) error {
	o.aside[m.ID] = why
	return nil
}

// words reads a body of the form "KIND INSTANCE", or fails.
func words(body string) ([]fleet.Notice, error) {
	kind, instance, ok := strings.Cut(body, " ")
	if !ok {
		return nil, errors.New("$: not two words")
	}
	return []fleet.Notice{{Kind: fleet.NoticeKind(kind), ID: kind, Instance: instance, At: time.Now(), Why: kind}}, nil
}

func (o *office) controller() *Controller {
	return &Controller{
		Engine: &Engine{Cloud: o, Cluster: o, AllGroups: true, Note: func(Note) {}, Now: time.Now, CloudEvery: 5 * time.Second, AtOnce: 1},
		Queue:  o, Docket: o, Census: o, Policy: fleet.UsualPolicy, Parse: words, ClusterName: "blue", Hear: func(h Heard) { o.heard = append(o.heard, h) },
	}
}

// take has a controller look once, and take the messages in.
func (o *office) take(t *testing.T, bodies ...string) (*Watch, error) {
	t.Helper()
	for i, b := range bodies {
		o.queue = append(o.queue, fleet.Message{ID: fmt.Sprint("m", i), Body: b, Times: 1})
	}
	w := o.controller().Begin()
	if _, err := w.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.Take(t.Context())
	return w, err
}

func TestAMessageIsDeletedWhenItIsOnFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		if _, err := o.take(t, "spot i-00000000", "spot i-00000000", "rebalance i-00000001"); err != nil {
			t.Fatal(err)
		}
		if len(o.deleted) != 3 || len(o.cases) != 2 {
			t.Error(o.deleted, o.cases)
		}
	})
}

func TestAMessageThatCouldNotBeFiledComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.broken = errors.New("the API server is away")
		_, err := o.take(t, "spot i-00000000", "test i-00000000")
		if err == nil || !strings.Contains(err.Error(), "message m0: file notice spot about i-00000000: the API server is away") {
			t.Error(err)
		}
		if fmt.Sprint(o.deleted) != "[m1]" {
			t.Error(o.deleted)
		}
	})
}

func TestPoisonIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		if _, err := o.take(t, "garbage", "spot i-00000000"); err != nil {
			t.Fatal(err)
		}
		if o.aside["m0"] != "$: not two words" || fmt.Sprint(o.deleted) != "[m1]" || len(o.cases) != 1 || o.heard[0].Fate != Poison {
			t.Error(o.aside, o.deleted, o.heard)
		}
	})
}

func TestOthersMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.known = []fleet.Machine{{ID: "i-0000green", State: "running", Cluster: "green"}, {ID: "i-0000alone", State: "running"}}
		w, err := o.take(t, "spot i-0000green", "spot i-0000alone", "spot i-00000gone")
		if err != nil {
			t.Fatal(err)
		}
		if o.again["m0"] != releaseMin || fmt.Sprint(o.deleted) != "[m1 m2]" || len(o.cases) != 0 {
			t.Error(o.again, o.deleted, o.cases)
		}
		if len(o.census) != 1 || len(o.census[0]) != 3 {
			t.Error("EC2 is asked once for a batch:", o.census)
		}
		w.Foreign, o.queue[0].Times = Quarantine, 4
		if _, err := w.Take(t.Context()); err != nil || o.aside["m0"] == "" {
			t.Error(err, o.aside)
		}
	})
}

func TestTheSweepNeedsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.group.Instances[0].Lifecycle = fleet.TerminatingWait
		w := o.controller().Begin()
		for range 200 {
			wait, err := w.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c := o.cases["i-00000000"]; !c.Marks.Ended.IsZero() {
				if c.Marks.End != "gone" || len(c.Log) < 6 {
					t.Errorf("%+v", c)
				}
				return
			}
			time.Sleep(max(wait, time.Second))
		}
		t.Errorf("%+v", o.cases)
	})
}

func TestARightThatIsMissingStopsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.fail = func(a fleet.Action, _ int) error {
			if a.Verb == fleet.Shut && a.Node == "node-0" {
				return &fleet.Fatal{Err: errors.New("denied")}
			}
			return nil
		}
		w, err := o.take(t, "spot i-00000000", "spot i-00000001")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := w.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if o.acts["shut node node-1 to pods and load balancers"] == 0 && !o.s.Nodes[1].Excluded {
			t.Error(o.acts)
		}
	})
}

func TestAProcessWhoseOwnNodeGoesStepsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.queue = []fleet.Message{{ID: "m", Body: "spot i-00000001"}}
		c := o.controller()
		c.Self = "node-1"
		w := c.Begin()
		var err error
		for i := 0; i < 50 && err == nil; i++ {
			if _, err = w.Tick(t.Context()); err == nil && i == 0 {
				_, err = w.Take(t.Context())
			}
			time.Sleep(time.Second)
		}
		if !errors.Is(err, ErrSelf) {
			t.Fatal(err)
		}
		if n := o.s.Nodes[1]; n.Mark() == nil {
			t.Error("its node was not shut first")
		}
		w = c.Begin()
		if _, err := w.Tick(t.Context()); err != nil {
			t.Error("nobody else took the lead, and it does not go on:", err)
		}
	})
}

func TestABlockOfCapacityIsItsInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.known = []fleet.Machine{{ID: "i-00000000", Reservation: "cr-1"}, {ID: "i-00000001", Reservation: "cr-2"}}
		w := o.controller().Begin()
		w.Parse = func(string) ([]fleet.Notice, error) {
			return []fleet.Notice{{Kind: fleet.CapacityBlock, ID: "capacity-block", Origin: "cr-1", At: time.Now(), Deadline: time.Now().Add(10 * time.Minute)}}, nil
		}
		o.queue = []fleet.Message{{ID: "m"}}
		if _, err := w.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Take(t.Context()); err != nil || len(o.cases) != 1 || o.cases["i-00000000"].Deadline.IsZero() || len(o.deleted) != 1 {
			t.Error(err, o.cases, o.deleted)
		}
	})
}
