// Package pipeline says what has to exist in AWS so that notices reach drover: a queue with a dead-letter queue, EventBridge rules that fill it,
// and lifecycle hooks that hold an instance until its pods have left.
//
// Plan compares what is wanted with what was found and returns changes, in an order in which a hook never exists before what tells of it does.
// Removal is the way back. Check says of what was found what is missing. The hand (aws) reads and writes; here nothing happens.
//
// It changes nothing that is not drover's: queues and rules are drover's by their tag, hooks by their name. Where a name is somebody else's, it says
// so and stops.
package pipeline

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// OwnerTag is the tag of a queue or rule that is drover's; its value is the cluster's name.
const OwnerTag = "drover.dev/cluster"

// How the queues are.
const (
	// Retention is how long a message is kept. Drover deletes one as soon as it is on file, so this only matters while no drover runs. Auto Scaling
	// ends every hook's wait within 48 hours, so that a message older than that is about an instance that is gone.
	Retention = 48 * time.Hour

	// DeadRetention is how long a message that was set aside is kept for a person: SQS's longest.
	DeadRetention = 14 * 24 * time.Hour

	// LongPoll is SQS's longest wait: fewest calls, and a message is still delivered at once.
	LongPoll = 20 * time.Second

	// Receives is how often a message is delivered before SQS sets it aside. Drover sets aside by itself what it cannot read; this catches what it
	// never gets to answer for. It is large because an API server that does not answer for an hour, or another cluster's message that is released until
	// its own cluster takes it, is no fault of the message.
	Receives = 100
)

// Heartbeat is how long a new hook waits without a word from drover, which beats long before it ends. It is what a group waits for when no drover runs.
const Heartbeat = 5 * time.Minute

// Auto Scaling's limits on a hook's heartbeat.
const (
	shortestBeat = 30 * time.Second
	longestBeat  = 2 * time.Hour
)

// Names of drover's hooks.
const (
	TerminateHook = fleet.HookPrefix + "terminate"
	LaunchHook    = fleet.HookPrefix + "launch"
)

// Wanted is what a cluster's pipeline is to be.
type Wanted struct {
	Cluster         string
	Account, Region string
	Queue           string // its name; "" for the usual one
	Groups          []Group
	Heartbeat       time.Duration // of hooks; zero keeps what a hook has, and gives a new one the usual
	LaunchHooks     bool          // new instances are held too, until they are Ready nodes
	Managed         bool          // managed node groups get hooks beside those of EKS
	DrainFor        time.Duration // the controller's policy: how long a hook may hold an instance for its pods
	Environments    Environments  // whose switching Rights may grant

	Others []Group // Removal: groups of which nothing but a hook's own mark may say that they are the cluster's
	Force  bool    // Removal: also while hooks hold instances
}

// Group is a group as far as its hooks are concerned.
type Group struct {
	Name    string // as drover calls it
	Scaling string // as Auto Scaling does
	Managed bool
	Grace   time.Duration // the longest that a pod on its nodes may take to stop
	Pod     string        // which pod that is
}

// Found is what exists.
type Found struct {
	Queue, Dead *Queue // nil when there is none
	Rules       map[string]Rule
	Groups      map[string]Scaling // by the name that Auto Scaling has for it
}

// Queue is an SQS queue.
type Queue struct {
	Name      string
	Owner     string // value of its OwnerTag; "" without one
	Retention time.Duration
	Wait      time.Duration // of a receive that says nothing else
	Encrypted bool          // by SQS's own keys
	Key       string        // KMS key that encrypts it instead; "" for none
	Dead      string        // ARN of the queue for what was received Receives times; "" for none
	Receives  int
	Policy    string // JSON
	Messages  int    // about as many as it has
}

// Rule is an EventBridge rule on the default bus.
type Rule struct {
	Name    string
	Owner   string // value of its OwnerTag; "" without one
	Pattern string // JSON
	Off     bool
	Targets []Target
}

// Target is where a rule sends events.
type Target struct{ ID, ARN string }

// targetID is the id of drover's target in drover's rules.
const targetID = "drover"

// Scaling is an Auto Scaling group.
type Scaling struct {
	Hooks      []fleet.Hook
	Owned      bool     // it is tagged as the cluster's own
	Retains    bool     // instances whose hook is abandoned
	Spot       bool     // it launches spot instances
	Rebalances bool     // it replaces spot instances that may be interrupted soon
	Handled    bool     // carries the tag by which aws-node-termination-handler takes it for its own
	Waiting    []string // instances that a terminate hook holds now
	Coming     []string // instances that a launch hook holds now
}

func (s Scaling) hook(name string) *fleet.Hook {
	if i := slices.IndexFunc(s.Hooks, func(h fleet.Hook) bool { return h.Name == name }); i >= 0 {
		return &s.Hooks[i]
	}
	return nil
}

// Limits of AWS on names.
const (
	longestQueue = 80
	longestRule  = 64
)

// QueueName is the name of the queue.
func (w Wanted) QueueName() string {
	return cmp.Or(w.Queue, named("drover-", w.Cluster, "", longestQueue-len(deadEnd)))
}

const deadEnd = "-dead"

// DeadName is the name of the dead-letter queue.
func (w Wanted) DeadName() string { return w.QueueName() + deadEnd }

func (w Wanted) ruleName(kind string) string {
	return named("drover-", w.Cluster, "-"+kind, longestRule)
}

// named puts a cluster's name into one that AWS takes. A cluster's name may be longer than that, or have other characters; it is then cut and told
// from others by a digest.
func named(begin, cluster, end string, most int) string {
	plain := strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, cluster)
	room := most - len(begin) - len(end)
	if plain == cluster && len(plain) <= room {
		return begin + plain + end
	}
	digest := fmt.Sprintf("-%x", sha256.Sum256([]byte(cluster)))[:9]
	return begin + plain[:min(len(plain), room-len(digest))] + digest + end
}

// partition is the part of AWS that a region belongs to, as ARNs name it.
func partition(region string) string {
	for _, p := range []struct{ begin, name string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"}, {"eu-isoe-", "aws-iso-e"}, {"us-iso-", "aws-iso"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.begin) {
			return p.name
		}
	}
	return "aws"
}

func (w Wanted) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", partition(w.Region), service, w.Region, w.Account, resource)
}

// QueueARN is the ARN of the queue of that name.
func (w Wanted) QueueARN(name string) string { return w.arn("sqs", name) }

func (w Wanted) ruleARN(name string) string { return w.arn("events", "rule/"+name) }

// queue and dead are the queues as they are to be.
func (w Wanted) queue(policy string) Queue {
	return Queue{
		Name: w.QueueName(), Owner: w.Cluster, Retention: Retention, Wait: LongPoll, Encrypted: true, Dead: w.QueueARN(w.DeadName()), Receives: Receives,
		Policy: policy,
	}
}

func (w Wanted) dead() Queue {
	return Queue{Name: w.DeadName(), Owner: w.Cluster, Retention: DeadRetention, Wait: LongPoll, Encrypted: true}
}

// Beat is how long a hook of the group is to wait without a word. The longest that a pod may take to stop fits into it: should drover stop
// at the worst moment, a pod that was asked to leave still has its time.
func (w Wanted) beat(g Group, have *fleet.Hook) time.Duration {
	switch need := min(roundUp(g.Grace), longestBeat); {
	case w.Heartbeat > 0:
		return w.Heartbeat
	case have != nil:
		return max(have.Heartbeat, need)
	default:
		return max(Heartbeat, need)
	}
}

func roundUp(d time.Duration) time.Duration { return (d + time.Minute - 1).Truncate(time.Minute) }

// hook is drover's hook of a group as it is to be. What nobody answers goes on: an instance that goes is ended, and one that comes is put into service,
// so that a group without a drover still grows and shrinks. Only where the group retains what is abandoned does abandoning save the instance.
func (w Wanted) hook(g Group, name string, have *fleet.Hook, retains bool) fleet.Hook {
	h := fleet.Hook{Name: name, Launching: name == LaunchHook, Heartbeat: w.beat(g, have)}
	h.Abandon = retains && !h.Launching
	if have != nil {
		h.Target, h.Metadata = have.Target, have.Metadata
	}
	h.Metadata = cmp.Or(h.Metadata, w.mark())
	return h
}

// mark is the metadata of a hook of the cluster's. It tells whose a hook is on a group that has no instance and no tag.
func (w Wanted) mark() string { return OwnerTag + "=" + w.Cluster }

// hooks names the hooks that the group is to have. One that is there stays, whatever is asked for today: Removal takes it away.
func (w Wanted) hooks(g Group, have Scaling) []string {
	var out []string
	if !g.Managed || w.Managed || have.hook(TerminateHook) != nil {
		out = append(out, TerminateHook)
	}
	if w.LaunchHooks && (!g.Managed || w.Managed) || have.hook(LaunchHook) != nil {
		out = append(out, LaunchHook)
	}
	return out
}

// CheckHeartbeat refuses what Auto Scaling would.
func CheckHeartbeat(d time.Duration) error {
	if d != 0 && (d < shortestBeat || d > longestBeat || d%time.Second != 0) {
		return fmt.Errorf("heartbeat %s: Auto Scaling takes whole seconds from %s to %s", d, shortestBeat, longestBeat)
	}
	return nil
}

// Groups is what setup has to know of the groups of a snapshot: all of those of the cluster, or the named ones.
func Groups(s *fleet.Snapshot, cluster string, names []string) []Group {
	var out []Group
	for i := range s.Groups {
		g := &s.Groups[i]
		if len(names) > 0 && !slices.Contains(names, g.Name) || len(names) == 0 && !Belongs(s, g, cluster) || g.Scaling() == "" {
			continue
		}
		one := Group{Name: g.Name, Scaling: g.Scaling(), Managed: g.Managed != nil}
		for _, p := range podsOf(s, g) {
			if p.Grace > one.Grace {
				one.Grace, one.Pod = p.Grace, p.Ref.String()
			}
		}
		out = append(out, one)
	}
	return out
}

// Others are the groups of a snapshot of which nothing says whose they are: no instance is a node here, and no tag names a cluster. One that was the
// cluster's may be scaled to nothing.
func Others(s *fleet.Snapshot) []Group {
	var out []Group
	for i := range s.Groups {
		if g := &s.Groups[i]; clusterOf(g) == "" && !serves(s, g) && g.Scaling() != "" {
			out = append(out, Group{Name: g.Name, Scaling: g.Scaling(), Managed: g.Managed != nil})
		}
	}
	return out
}

// podsOf lists the pods on a group's nodes that have to leave, in an order that does not change.
func podsOf(s *fleet.Snapshot, g *fleet.Group) []*fleet.Pod {
	var out []*fleet.Pod
	for i := range g.Instances {
		n := s.NodeOf(g.Instances[i].ID)
		if n == nil {
			continue
		}
		for _, p := range s.PodsOn(n.Name) {
			if p.Stays() == "" && !p.Finished {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b *fleet.Pod) int { return cmp.Compare(a.Ref.String(), b.Ref.String()) })
	return out
}

// Belongs tells whether a group is the cluster's: by an instance that is a node here, or by what its tags say.
func Belongs(s *fleet.Snapshot, g *fleet.Group, cluster string) bool {
	return serves(s, g) || cluster != "" && clusterOf(g) == cluster
}

func serves(s *fleet.Snapshot, g *fleet.Group) bool {
	return slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return s.NodeOf(in.ID) != nil })
}

func clusterOf(g *fleet.Group) string {
	if g.Managed != nil {
		return cmp.Or(g.Managed.Cluster, g.Cluster)
	}
	return g.Cluster
}

// ClusterNames lists the names that the tags of groups with nodes here give to the cluster.
func ClusterNames(s *fleet.Snapshot) []string {
	var out []string
	for i := range s.Groups {
		if name := clusterOf(&s.Groups[i]); name != "" && serves(s, &s.Groups[i]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
