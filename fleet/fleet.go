// Package fleet holds drover's nouns: what exists (groups, instances, nodes, pods, budgets), what is wanted (departures) and what may be
// done about it (actions). A Snapshot is all of it at one moment.
//
// Everything here is a value. Hands (kube, aws) fill snapshots and carry out actions; the mind (depart, evac) turns snapshots into plans and
// actions. The package knows no clock, no network and no Kubernetes or AWS library, so any decision can be replayed from a file.
package fleet

import (
	"cmp"
	"slices"
	"time"
)

// Snapshot is the fleet at one moment. Its slices are not shared with the observer: whoever gets a Snapshot may change it.
type Snapshot struct {
	Now         time.Time
	Cluster     string // this cluster's name in AWS; "" when nobody knows it
	Groups      []Group
	Nodes       []Node
	Pods        []Pod
	Budgets     []Budget
	Workloads   []Workload
	Stores      []Store          // by name
	Rotations   []RotationRecord // runs that are not over, by name
	Cases       []Case           // departures that AWS gave notice of, by instance: those that are not over, and those that ended within the hour
	Machines    []Machine        // what EC2 says of instances on file that no group has
	Probes      []Probe          // what the run's health probes say
	Stopped     *Pause           // the cluster-wide stop; nil when it is off
	Unjournaled string           // why this cluster cannot hold rotation records; "" when it can

	// What follows is there for those who switch environments, and empty for everybody else.

	Environments []Environment // by name
	Parts        []Part        // what a stop may change, of all environments and of nobody's, as SortParts orders them
	Services     []Service
	Backends     []Backend
	Busy         []Busy
	Databases    []Database // those that environments name, by ID
	Unslept      string     // why this cluster cannot hold records of sleeps; "" when it can
}

// Group returns the group of that name, or nil.
func (s *Snapshot) Group(name string) *Group {
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i]
		}
	}
	return nil
}

// Node returns the node of that name, or nil.
func (s *Snapshot) Node(name string) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// NodeOf returns the node that runs on an instance, or nil while none registered.
func (s *Snapshot) NodeOf(instance string) *Node {
	if instance == "" {
		return nil
	}
	for i := range s.Nodes {
		if s.Nodes[i].Instance == instance {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Instance returns the instance of that id with its group, or nils. It belongs to a group by the cloud's own word, never by its name.
func (s *Snapshot) Instance(id string) (*Group, *Instance) {
	for i := range s.Groups {
		if in := s.Groups[i].Instance(id); in != nil {
			return &s.Groups[i], in
		}
	}
	return nil, nil
}

// PodsOn returns the pods bound to a node, by name.
func (s *Snapshot) PodsOn(node string) []*Pod {
	var out []*Pod
	for i := range s.Pods {
		if s.Pods[i].Node == node {
			out = append(out, &s.Pods[i])
		}
	}
	slices.SortFunc(out, func(a, b *Pod) int { return cmp.Compare(a.Ref.String(), b.Ref.String()) })
	return out
}

// Budget returns the budget of that namespace/name, or nil.
func (s *Snapshot) Budget(name string) *Budget {
	for i := range s.Budgets {
		if s.Budgets[i].Name == name {
			return &s.Budgets[i]
		}
	}
	return nil
}

// Workload returns what an owner wants, or nil when nobody says.
func (s *Snapshot) Workload(o Owner) *Workload {
	for i := range s.Workloads {
		if s.Workloads[i].Owner == o {
			return &s.Workloads[i]
		}
	}
	return nil
}

// Owns tells whether a group is this cluster's: its tag says so, or, without a tag or a name to compare, one of its instances is a node here.
func (s *Snapshot) Owns(g *Group) bool {
	if g.Cluster != "" && s.Cluster != "" {
		return g.Cluster == s.Cluster
	}
	return slices.ContainsFunc(g.Instances, func(in Instance) bool { return s.NodeOf(in.ID) != nil })
}

// ClusterByTags is the name that most groups with nodes here are tagged with; "" when they are not.
func (s *Snapshot) ClusterByTags() string {
	named := map[string]int{}
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Cluster != "" && slices.ContainsFunc(g.Instances, func(in Instance) bool { return s.NodeOf(in.ID) != nil }) {
			named[g.Cluster]++
		}
	}
	best := ""
	for name, n := range named {
		if n > named[best] || n == named[best] && name < best {
			best = name
		}
	}
	return best
}

// Case returns what is on file about an instance, or nil.
func (s *Snapshot) Case(instance string) *Case {
	for i := range s.Cases {
		if s.Cases[i].Instance == instance {
			return &s.Cases[i]
		}
	}
	return nil
}

// Store returns the store of that namespace/name, or nil.
func (s *Snapshot) Store(name string) *Store {
	for i := range s.Stores {
		if s.Stores[i].Name == name {
			return &s.Stores[i]
		}
	}
	return nil
}

// StoreOf returns the store that a pod is one of, or nil.
func (s *Snapshot) StoreOf(uid string) *Store {
	for i := range s.Stores {
		if s.Stores[i].Has(uid) {
			return &s.Stores[i]
		}
	}
	return nil
}

// Rotation returns the record of a run, or nil.
func (s *Snapshot) Rotation(run string) *RotationRecord {
	for i := range s.Rotations {
		if s.Rotations[i].Run == run {
			return &s.Rotations[i]
		}
	}
	return nil
}

// Clone copies the snapshot deep enough that changing the copy's groups, nodes, pods and budgets leaves the original alone.
func (s Snapshot) Clone() Snapshot {
	c := s
	c.Groups = slices.Clone(s.Groups)
	for i := range c.Groups {
		c.Groups[i] = c.Groups[i].clone()
	}
	c.Nodes = slices.Clone(s.Nodes)
	for i := range c.Nodes {
		c.Nodes[i].Taints = slices.Clone(c.Nodes[i].Taints)
	}
	c.Pods = slices.Clone(s.Pods)
	c.Budgets = slices.Clone(s.Budgets)
	c.Workloads = slices.Clone(s.Workloads)
	c.Stores = slices.Clone(s.Stores)
	for i := range c.Stores {
		c.Stores[i] = c.Stores[i].Clone()
	}
	c.Rotations = slices.Clone(s.Rotations)
	c.Cases = slices.Clone(s.Cases)
	for i := range c.Cases {
		c.Cases[i] = c.Cases[i].Clone()
	}
	c.Probes = slices.Clone(s.Probes)
	c.Environments = slices.Clone(s.Environments)
	for i := range c.Environments {
		c.Environments[i] = c.Environments[i].Clone()
	}
	c.Parts, c.Databases = slices.Clone(s.Parts), slices.Clone(s.Databases)
	return c
}
