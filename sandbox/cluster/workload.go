package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"drover.dev/fleet"
)

// Spec is a workload as its manifest says it. All of its pods are alike.
type Spec struct {
	// Owner names the workload. Kind is Deployment, ReplicaSet, StatefulSet, DaemonSet or Job; "Pod" makes one pod of that name that nobody owns,
	// and any kind with a dot in it (rollouts.argoproj.io) stands for an operator's own, which no fleet.Workload speaks for.
	Owner    fleet.Owner
	Replicas int               // pods; of a Job, completions, all at once
	Labels   map[string]string // of the pods; default app=NAME

	Requests    fleet.Resources
	Selector    map[string]string
	Affinity    []fleet.Term
	Tolerations []fleet.Toleration
	Apart       []fleet.PodTerm // terms without namespaces mean the workload's own
	Together    []fleet.PodTerm
	Spread      []fleet.Spread
	OwnDisk     bool // a volume of its own: one per ordinal of a StatefulSet, else one for the whole workload. Its zone is that of its first node.
	Local       string
	Recreate    bool
	Parallel    bool   // a StatefulSet that does not wait for the ordinal before
	Node        string // binds a bare pod to this node, past the scheduler
	Mirror      bool   // a static pod's image; needs Node

	// A pod's life. Zero takes the default, a negative value means at once.
	Start   time.Duration // Running to Ready; default 5 s
	Stop    time.Duration // SIGTERM to gone; default 1 s
	PreStop time.Duration // default none
	Grace   time.Duration // bounds PreStop and Stop together; default 30 s
	Runs    time.Duration // of a Job's pod, Ready to finished; default 1 min

	BadOn map[string]string // its pods never become Ready on nodes with all of these labels
	Held  string            // an admission webhook's words that refuse its pods' eviction; "" when none does
	Stuck bool              // a finalizer keeps its pods' objects when they have stopped, until LetGo
	Cost  string            // its pods' own deletion cost; "" when they have none

	Own      map[string]string // labels of the workload itself; default those of its pods
	Needs    []string          // its pods crash while one of these does not work: a database's id, or a workload as it prints
	Pooler   bool              // it pools connections to a database
	OnDelete bool              // of a StatefulSet: its pods get a new template only when somebody takes the old one away

	Target string // ARN of the target group in which its pods are registered by IP
	Part   *Part  // of which store its pods are; nil for none
	Scaler *Scaler
	GitOps *GitOps
}

// Scaler is a HorizontalPodAutoscaler over a workload.
type Scaler struct {
	Name     string
	Min, Max int
	Want     int // replicas its metrics ask for; 0 when they ask for what there is
}

// GitOps is a controller that keeps a workload as a repository says: its replicas, or with an autoscaler the autoscaler's bounds.
type GitOps struct {
	By    string        // such as Argo CD
	After time.Duration // from a change to its being taken back; 0 when it only watches
}

// workload is a Spec with its pods.
type workload struct {
	fleet.Workload
	object
	spec    Spec
	surging *fleet.SurgeMark // on the workload itself; with an autoscaler it is on that
	pods    []*pod           // in order of making
	budgets []*budget        // by name, with names
	names   []string         // shared by its pods, replaced when it changes
	due     bool             // its controller is to look at it
	tried   int              // Cluster.room when one of its pods last found no node
	words   string           // what the scheduler said then
	looks   bool             // its autoscaler will look at it
	reverts bool             // its repository will be read
	deleted bool
	done    int // pods of a Job that came to their end

	entry     bool    // an Ingress leads to it
	keda      *scaled // scales it; nil when none does
	revision  int     // of its template
	maker     *cron   // of a Job; nil for one that a person made
	barred    bool    // its controller tries again later
	suspended bool    // of a Job

	counted bool // its pods are to be counted for the ledger
	serving int
	dark    int // index+1 of its outage that lasts, in the ledger
}

// kinds are the workloads whose controllers the cluster plays.
var kinds = map[string]func(*Cluster, *workload){
	"Deployment": (*Cluster).tendReplicas, "ReplicaSet": (*Cluster).tendReplicas, "StatefulSet": (*Cluster).tendOrdinals,
	"DaemonSet": (*Cluster).tendNodes, "Job": (*Cluster).tendJob, "Pod": func(*Cluster, *workload) {},
}

// Apply makes a workload, or for one that exists sets its replicas, its autoscaler and its GitOps; its pods' template changes by fleet.Place only.
func (c *Cluster) Apply(s Spec) error {
	return c.do(func() error { return c.apply(s) })
}

func (c *Cluster) apply(s Spec) error {
	if err := c.check(&s); err != nil {
		return fmt.Errorf("apply %s: %w", s.Owner, err)
	}
	if w := c.workload[s.Owner]; w != nil {
		w.spec.Replicas, w.spec.Scaler, w.spec.GitOps = s.Replicas, s.Scaler, s.GitOps
		c.adopt(w)
		return nil
	}
	c.needy = c.needy || len(s.Needs) > 0
	w := &workload{spec: s, tried: -1, object: c.newObject(s.Own, "kubectl")}
	w.Owner, w.Recreate = s.Owner, s.Recreate
	c.workload[s.Owner] = w
	c.workloads = append(c.workloads, w)
	if shown(s.Owner.Kind) {
		i, _ := slices.BinarySearchFunc(c.shown, w, byOwner)
		c.shown = slices.Insert(c.shown, i, w)
	}
	w.entry = slices.ContainsFunc(c.services, func(s ServiceSpec) bool { return s.Entry && s.leadsTo(w) })
	c.cover(w)
	c.adopt(w)
	if s.Owner.Kind == "Pod" {
		return c.bare(w)
	}
	return nil
}

func byOwner(a, b *workload) int {
	return cmp.Or(cmp.Compare(a.Owner.Kind, b.Owner.Kind), cmp.Compare(a.Owner.Namespace, b.Owner.Namespace), cmp.Compare(a.Owner.Name, b.Owner.Name))
}

// check completes a spec and refuses what the cluster does not play.
func (c *Cluster) check(s *Spec) error {
	if _, known := kinds[s.Owner.Kind]; !known && !foreign(s.Owner.Kind) {
		return fmt.Errorf("the sandbox does not play kind %q", s.Owner.Kind)
	}
	if s.Owner.Name == "" || s.Owner.Namespace == "" {
		return fmt.Errorf("it needs a namespace and a name")
	}
	if s.Mirror && (s.Node == "" || s.Owner.Kind != "Pod") {
		return fmt.Errorf("a static pod is of kind Pod and says its Node")
	}
	if s.Node != "" && c.node[s.Node] == nil {
		return fmt.Errorf("there is no node %s", s.Node)
	}
	if len(s.Labels) == 0 {
		s.Labels = map[string]string{"app": s.Owner.Name}
	}
	s.Labels = maps.Clone(s.Labels)
	if len(s.Own) == 0 {
		s.Own = s.Labels
	}
	s.Requests.Pods = 1
	s.Apart, s.Together = inNamespace(s.Apart, s.Owner.Namespace), inNamespace(s.Together, s.Owner.Namespace)
	s.Start, s.Stop = duration(s.Start, 5*time.Second), duration(s.Stop, time.Second)
	s.PreStop, s.Grace = max(s.PreStop, 0), duration(s.Grace, 30*time.Second)
	s.Runs = duration(s.Runs, time.Minute)
	if s.Owner.Kind == "DaemonSet" {
		s.Tolerations = append(slices.Clone(s.Tolerations), daemonTolerations...)
	}
	return nil
}

// foreign tells whether a kind is an operator's own.
func foreign(kind string) bool { return slices.Contains([]byte(kind), '.') }

func inNamespace(terms []fleet.PodTerm, namespace string) []fleet.PodTerm {
	out := slices.Clone(terms)
	for i := range out {
		if len(out[i].Namespaces) == 0 {
			out[i].Namespaces = []string{namespace}
		}
	}
	return out
}

// adopt takes over what a repository may say of a workload that runs.
func (c *Cluster) adopt(w *workload) {
	if w.Scaler = nil; w.spec.Scaler != nil {
		w.Scaler = &fleet.Scaler{Name: cmp.Or(w.spec.Scaler.Name, w.Owner.Name), Min: w.spec.Scaler.Min, Max: w.spec.Scaler.Max}
	}
	if w.GitOps = ""; w.spec.GitOps != nil {
		w.GitOps = w.spec.GitOps.By
	}
	c.scale(w, w.spec.Replicas)
}

// Delete removes a workload; its pods shut down.
func (c *Cluster) Delete(o fleet.Owner) {
	_ = c.do(func() error { // deleting what is not there is no error
		w := c.workload[o]
		if w == nil {
			return nil
		}
		c.because(o.String() + " was deleted")
		c.erase(w)
		return nil
	})
}

// erase removes a workload; its pods shut down.
func (c *Cluster) erase(w *workload) {
	w.deleted = true
	delete(c.workload, w.Owner)
	c.workloads, c.shown = drop(c.workloads, w), drop(c.shown, w)
	for _, p := range slices.Clone(w.pods) {
		c.remove(p)
	}
}

// Scale sets a workload's replicas, as a person does.
func (c *Cluster) Scale(o fleet.Owner, replicas int) error {
	return c.onWorkload("scale", o, func(w *workload) {
		w.writer = "kubectl"
		c.scale(w, replicas)
	})
}

// SetWant tells a workload's autoscaler how many replicas its metrics ask for.
func (c *Cluster) SetWant(o fleet.Owner, want int) error {
	return c.onWorkload("set what is wanted of", o, func(w *workload) {
		if w.spec.Scaler != nil {
			s := *w.spec.Scaler
			s.Want = want
			w.spec.Scaler = &s
			c.look(w)
		}
	})
}

// SetScaler sets the bounds of a workload's autoscaler, as a person does.
func (c *Cluster) SetScaler(o fleet.Owner, least, most int) error {
	return c.onWorkload("set the autoscaler of", o, func(w *workload) {
		if w.Scaler != nil {
			c.setBounds(w, least, most)
		}
	})
}

// Hold makes an admission webhook refuse the eviction of a workload's pods in these words; "" lets them go.
func (c *Cluster) Hold(o fleet.Owner, words string) error {
	return c.onWorkload("hold", o, func(w *workload) { w.spec.Held = words })
}

func (c *Cluster) onWorkload(what string, o fleet.Owner, f func(w *workload)) error {
	return c.do(func() error {
		w := c.workload[o]
		if w == nil {
			return fmt.Errorf("%s %s: there is none", what, o)
		}
		f(w)
		return nil
	})
}

// tend has a workload's controller do its work.
func (c *Cluster) tend(w *workload) {
	if w.deleted {
		return
	}
	if scales(w.Owner.Kind) && len(w.live()) < w.Replicas && c.barred(w.Owner.Namespace) {
		c.tryLater(w)
		return
	}
	controller := kinds[w.Owner.Kind]
	if controller == nil {
		controller = (*Cluster).tendReplicas
	}
	controller(c, w)
}

// scale sets replicas; autoscaler and repository will have their say.
func (c *Cluster) scale(w *workload, replicas int) {
	if w.Replicas != replicas {
		c.because(fmt.Sprintf("%s was scaled from %d to %d", w.Owner, w.Replicas, replicas))
	}
	w.Replicas = replicas
	c.wake(w)
	c.recountAll(w)
	c.look(w)
	c.watchRepository(w)
	c.watchApps(w)
}
