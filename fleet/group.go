package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AZRebalance is the Auto Scaling process that terminates instances to even out zones. Drover suspends it for the time of a rotation:
// it picks its victims without asking anybody and drains nothing.
const AZRebalance = "AZRebalance"

// Group is nodes that come from one place: an Auto Scaling group, or an EKS managed node group with the Auto Scaling group under it.
type Group struct {
	Name              string
	Min, Max, Desired int
	Zones             []string
	Suspended         []string   // processes that are off
	Wants             []Template // what the group launches from now, $Latest and $Default resolved; more than one with a mixed instances policy
	Instances         []Instance
	Targets           []TargetGroup // load balancer target groups attached to the group
	Mark              *GroupMark    // drover's own journal on the group; nil when no run has changed it
	Managed           *Managed      // what EKS says of it; nil for a self-managed group
	Trouble           string        // why the rest could not be read; such a group is listed and nothing else

	Blind bool // what EC2 announces about its instances has not been read yet: that none is shown says nothing

	Sleep *GroupSleep // an environment's copy of how the group was; nil when none has changed it

	Cluster string // of its tag kubernetes.io/cluster/NAME; "" when it has none
	Hooks   []Hook
	Retains bool // an instance whose hook is abandoned or runs out is kept, outside of the group's desired capacity, until it is ended by id
}

// Hook returns the hook of that name, or nil.
func (g *Group) Hook(name string) *Hook {
	for i := range g.Hooks {
		if g.Hooks[i].Name == name {
			return &g.Hooks[i]
		}
	}
	return nil
}

// Instance returns the member of that id, or nil.
func (g *Group) Instance(id string) *Instance {
	for i := range g.Instances {
		if g.Instances[i].ID == id {
			return &g.Instances[i]
		}
	}
	return nil
}

// Ours names the hooks that drover answers for an instance: its own by name, and those that tell drover's own queue themselves, which the case shows.
// A rule of EventBridge tells of everybody's hooks. A hook that was deleted while it waited, or that was not read yet, is known from the case too.
func (g *Group) Ours(c *Case, launching bool) []string {
	if g == nil {
		return nil
	}
	var out []string
	for _, h := range g.Hooks {
		if h.Launching == launching && (strings.HasPrefix(h.Name, HookPrefix) || c.told(h.Name)) {
			out = append(out, h.Name)
		}
	}
	if c == nil || launching {
		return out
	}
	for _, k := range c.Signals {
		if k.own() && k.Ended.IsZero() && !slices.Contains(out, k.Hook) {
			out = append(out, k.Hook)
		}
	}
	return out
}

// Scaling is the name of the Auto Scaling group: the group itself, or the one under a managed node group.
func (g *Group) Scaling() string {
	if g.Managed != nil {
		return g.Managed.Scaling
	}
	return g.Name
}

// IsSuspended tells whether a scaling process is off.
func (g *Group) IsSuspended(process string) bool { return slices.Contains(g.Suspended, process) }

func (g Group) clone() Group {
	g.Suspended = slices.Clone(g.Suspended)
	g.Instances = slices.Clone(g.Instances)
	g.Hooks = slices.Clone(g.Hooks)
	for i := range g.Instances {
		g.Instances[i].Targets = slices.Clone(g.Instances[i].Targets)
		g.Instances[i].Waits = slices.Clone(g.Instances[i].Waits)
	}
	if g.Mark != nil {
		m := *g.Mark
		m.Suspended = slices.Clone(m.Suspended)
		g.Mark = &m
	}
	if g.Managed != nil {
		m := *g.Managed
		g.Managed = &m
	}
	if g.Sleep != nil {
		m := *g.Sleep
		g.Sleep = &m
	}
	return g
}

// Managed is an EKS managed node group. Its Group's Name is the node group's; Auto Scaling is EKS's to use, not drover's.
type Managed struct {
	Cluster string
	Scaling string // name of the Auto Scaling group under it
	Status  string // ACTIVE, CREATING, UPDATING, DELETING, DEGRADED...
	Version string // Kubernetes version and AMI release, as it is: 1.33 / 1.33.1-20260801
	Latest  string // as it would be for a new group now
	CopyOf  string // the group that this one was made to replace; "" otherwise
	Run     string // the run that made it
	Trouble string // EKS's own health issues, in a sentence
}

// Template names what an instance was or would be launched from: a launch template and a version number, or a launch configuration.
type Template struct {
	ID, Name, Version string // launch template; Version is always a number here
	Configuration     string // launch configuration
	Types             []string
	// Types limits the template to instance types: the override of a mixed instances policy that named it. Empty means any type,
	// as with an attribute-based override.
}

func (t Template) String() string {
	switch {
	case t.Configuration != "":
		return "launch configuration " + t.Configuration
	case t.Name != "":
		return "launch template " + t.Name + ":" + t.Version
	case t.ID != "":
		return "launch template " + t.ID + ":" + t.Version
	}
	return "no launch template"
}

// Same tells whether both name one launch template version (by id, since names can be reused) or one launch configuration.
func (t Template) Same(u Template) bool {
	return t.Configuration == u.Configuration && t.ID == u.ID && t.Version == u.Version
}

// Fits tells whether the template may launch an instance of that type.
func (t Template) Fits(instanceType string) bool {
	return len(t.Types) == 0 || slices.Contains(t.Types, instanceType)
}

// Outdated says in what an instance differs from what its group would launch today; "" when in nothing.
//
// Several templates are possible under a mixed instances policy. An override that names types speaks for those types only; one without
// (attribute-based) speaks for any type. So an instance is current when some template that may launch its type is its own.
func (g *Group) Outdated(in *Instance) string {
	if m := g.Managed; m != nil && m.Version != m.Latest {
		return fmt.Sprintf("runs %s, a managed node group made now would run %s", m.Version, m.Latest)
	}
	var fitting []string
	for _, w := range g.Wants {
		if !w.Fits(in.Type) {
			continue
		}
		if w.Same(in.Template) {
			return ""
		}
		fitting = append(fitting, w.String())
	}
	if len(g.Wants) == 0 {
		return ""
	}
	if len(fitting) == 0 {
		return fmt.Sprintf("is a %s, and no override of the group launches that type any more", in.Type)
	}
	slices.Sort(fitting)
	return fmt.Sprintf("runs %s, the group launches %s", in.Template, strings.Join(slices.Compact(fitting), " or "))
}

// Lifecycle states of a group's member, in AWS's words.
const (
	InService = "InService"
	Pending   = "Pending"
	OnStandby = "Standby"

	PendingWait     = "Pending:Wait"         // a launch hook holds it
	TerminatingWait = "Terminating:Wait"     // a terminate hook holds it
	Retained        = "Terminating:Retained" // its hook was abandoned, and the group retains it
	WarmedWait      = "Warmed:Pending:Wait"  // a hook holds it on its way into the warm pool, or back
)

// Instance is one machine of a group.
type Instance struct {
	ID, Zone, Type string
	Lifecycle      string // InService, Pending, Terminating...
	Template       Template
	Launched       time.Time // zero when the cloud no longer knows
	Targets        []Target  // its state in each attached target group that knows it

	Protected bool // from scale-in
	Spot      bool
	Reclaimed time.Time   // when EC2 said that it takes the spot instance back; zero when it has not
	Scheduled []Scheduled // what EC2 will do to it
	Waits     []Wait      // what this process has done with hooks that hold it, which AWS does not show
	Joining   time.Time   // when this process first saw a launch hook hold it; zero when it has not
}

// Wait is what a process has done with a hook that holds an instance.
type Wait struct {
	Hook     string
	Beat     time.Time // when it last had the hook hold it longer; zero when it has not
	Answered bool
}

// Wait returns what this process has done with a hook.
func (i *Instance) Wait(hook string) Wait {
	for _, w := range i.Waits {
		if w.Hook == hook {
			return w
		}
	}
	return Wait{Hook: hook}
}

// Leaving tells whether the group is already ending the instance.
func (i *Instance) Leaving() bool {
	return strings.HasPrefix(i.Lifecycle, "Terminat") || strings.HasPrefix(i.Lifecycle, "Detach")
}

// Counted tells whether the group's desired capacity counts the instance. Standby instances, for one, are outside of it.
func (i *Instance) Counted() bool {
	return i.Lifecycle == InService || strings.HasPrefix(i.Lifecycle, Pending)
}

// Parked tells whether the instance is in Standby, or on its way there.
func (i *Instance) Parked() bool { return i.Lifecycle == OnStandby || i.Lifecycle == "EnteringStandby" }

// Target returns the instance's state in a target group; TargetUnused when it is not registered there.
func (i *Instance) Target(group string) string {
	for _, t := range i.Targets {
		if t.Group == group {
			return t.State
		}
	}
	return TargetUnused
}

// Target states, in AWS's words.
const (
	TargetInitial  = "initial"
	TargetHealthy  = "healthy"
	TargetDraining = "draining"
	TargetUnused   = "unused"
)

// TargetGroup is a load balancer's list of targets.
type TargetGroup struct {
	ARN, Name string
	Delay     time.Duration // deregistration delay: how long requests in flight may still finish
	Warmup    time.Duration // health check interval: a new target is healthy after the first check that succeeds
	IP        bool          // its targets are pods, by IP; otherwise instances
	Loose     bool          // not attached to the Auto Scaling group: a controller in the cluster registers its targets
}

// Target is the state of one instance in one target group.
type Target struct {
	Group string // ARN
	State string
}

// GroupMark is what a run writes on a group before it changes it, because the group itself cannot show it afterwards. It prints to one
// line of at most 256 characters (the limit of an Auto Scaling tag) and reads back exactly.
type GroupMark struct {
	Run       string    // id of the run
	At        time.Time // when the run began: only instances launched before it may be its exits
	Criterion string    // which nodes the run replaces, as depart.Criterion prints it
	Desired   int       // desired capacity to return to; moves when somebody else moves desired
	From, Set int       // the last change of desired: from, to
	Left      int       // exits still in the group when Set was chosen
	Surge     int       // approved surge, so that a restart goes on with it
	Suspended []string  // processes that this run suspended, because they were on
}

func (m GroupMark) String() string {
	return fmt.Sprintf("v1 run=%s at=%s why=%s desired=%d from=%d set=%d left=%d surge=%d suspended=%s", m.Run, m.At.UTC().Format(time.RFC3339), m.Criterion, m.Desired, m.From, m.Set, m.Left, m.Surge, strings.Join(m.Suspended, "+"))
}

// ParseGroupMark reads what String printed. An unreadable mark is an error to show, never a default: it guards somebody's prior values.
func ParseGroupMark(s string) (*GroupMark, error) {
	rest, ok := strings.CutPrefix(s, "v1 ")
	if !ok {
		return nil, fmt.Errorf("mark %q: does not begin with v1: written by another version of drover?", s)
	}
	var m GroupMark
	numbers := map[string]*int{"desired": &m.Desired, "from": &m.From, "set": &m.Set, "left": &m.Left, "surge": &m.Surge}
	seen := 0
	for _, field := range strings.Fields(rest) {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "run":
			m.Run = value
		case "at":
			m.At, err = time.Parse(time.RFC3339, value)
		case "why":
			m.Criterion = value
		case "suspended":
			if value != "" {
				m.Suspended = strings.Split(value, "+")
			}
		default:
			n := numbers[key]
			if n == nil {
				return nil, fmt.Errorf("mark %q: unknown field %q", s, key)
			}
			_, err = fmt.Sscanf(value, "%d", n)
		}
		if err != nil {
			return nil, fmt.Errorf("mark %q: field %s: %w", s, key, err)
		}
		seen++
	}
	if seen != 9 || m.Run == "" {
		return nil, fmt.Errorf("mark %q: %d of 9 fields", s, seen)
	}
	return &m, nil
}

// Raised tells whether the run may have raised desired already.
func (m GroupMark) Raised() bool { return m.Set != m.From || m.Set != m.Desired }

// Equal compares two marks field by field.
func (m GroupMark) Equal(n GroupMark) bool { return m.String() == n.String() }

// SortInstances orders instances by zone, then id: the order every list prints in.
func SortInstances(in []Instance) {
	slices.SortFunc(in, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
	})
}
