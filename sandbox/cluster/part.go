package cluster

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"drover.dev/fleet"
)

// Part says of which store the pods of a workload are, as annotations on their template do.
type Part struct {
	Store    string // namespace/name
	Mover    fleet.Mover
	Sentinel bool // they watch; otherwise they have data
	Port     int
	Pinned   bool // a Service tells them from the store's other pods
	Temp     bool // of a temporary pod only
	Declared fleet.StoreSpec
}

// Processes are what the pods of stores run. It is told under the cluster's lock, and does not call back.
type Processes interface {
	Start(p fleet.Pod, part Part, volume string) // volume is "" for a pod without one
	Stop(p fleet.Pod, graceful bool)
}

// launch starts the process in a pod of a store.
func (c *Cluster) launch(p *pod) {
	part := p.w.spec.Part
	if part == nil || c.runs == nil || p.alive {
		return
	}
	p.alive = true
	volume := ""
	switch {
	case p.volume != nil:
		volume = p.volume.name
	case p.Local != "":
		volume = "emptyDir of " + p.Ref.UID
	}
	c.runs.Start(p.Pod, *part, volume)
}

// halt ends the process in a pod of a store, if it still runs.
func (c *Cluster) halt(p *pod, graceful bool) {
	if p.alive {
		p.alive = false
		c.runs.Stop(p.Pod, graceful)
	}
}

// Crash kills the process in a pod. Its kubelet starts it again after a while, in the same place.
func (c *Cluster) Crash(ref fleet.PodRef) error {
	return c.onPod("crash", ref, func(p *pod) {
		c.halt(p, false)
		p.started = false
		c.setPodReady(p, false)
		c.after(crashBack, func() {
			if !p.ended && !p.lost && !p.Terminating && !p.alive {
				c.run(p)
			}
		})
	})
}

// Strike removes a pod at once, as kubectl delete --force --grace-period=0 does, and its process is killed.
func (c *Cluster) Strike(ref fleet.PodRef) error {
	return c.onPod("strike", ref, func(p *pod) {
		c.because("pod " + p.Ref.String() + " was struck")
		c.gone(p)
	})
}

// Ask notes on a pod that somebody wants it to leave its node. Who asked first stays named.
func (c *Cluster) Ask(ref fleet.PodRef, by string) error {
	return c.onPod("ask", ref, func(p *pod) {
		if p.Asked == nil {
			p.Asked = &fleet.Asked{At: c.now, By: by}
		}
	})
}

func (c *Cluster) onPod(what string, ref fleet.PodRef, f func(p *pod)) error {
	return c.do(func() error {
		p := c.find(ref)
		if p == nil {
			return noPod(what, ref)
		}
		f(p)
		return nil
	})
}

// stores groups the pods by store.
func (c *Cluster) stores() []fleet.Store {
	var out []fleet.Store
	at := map[string]int{}
	of := func(name string) *fleet.Store {
		i, known := at[name]
		if !known {
			i, at[name] = len(out), len(out)
			out = append(out, fleet.Store{Name: name, Confirmed: true})
		}
		return &out[i]
	}
	for _, p := range c.pods {
		if part := p.w.spec.Part; part != nil && !p.Finished {
			part.add(of(part.Store), p)
		}
	}
	for _, w := range c.workloads {
		if part := w.spec.Part; part != nil && !part.Temp {
			if i, shown := at[part.Store]; shown {
				part.declare(&out[i], w)
			}
		}
	}
	for name, m := range c.moves {
		st := of(name)
		st.Move = m.Clone()
		st.Move.Idle = c.idle(m.Run)
		if st.Mover == "" {
			st.Trouble = "run " + m.Run + " began to move pod " + m.Pod.String() + " of it, and now no pod says that it is of this store"
		}
	}
	slices.SortFunc(out, func(a, b fleet.Store) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// declare adds what a workload says of its store.
func (part *Part) declare(st *fleet.Store, w *workload) {
	replicas, watchers := st.Spec.Replicas, st.Spec.Watchers
	if part.Sentinel {
		st.Spec.Watchers = watchers + w.Replicas
		return
	}
	st.Mover, st.Source = part.Mover, "annotation of "+w.Owner.String()
	st.Spec = part.Declared
	st.Spec.Replicas, st.Spec.Watchers = replicas+w.Replicas, watchers
}

// add puts a pod into its store.
func (part *Part) add(st *fleet.Store, p *pod) {
	var known []string
	if p.IP != "" {
		known = []string{net.JoinHostPort(p.IP, strconv.Itoa(part.Port))}
	}
	if part.Sentinel {
		st.Sentinels = append(st.Sentinels, fleet.Sentinel{Pod: p.Ref, Node: p.Node, Host: p.IP, Port: part.Port, Known: known, Ready: p.Ready, Leaving: p.Terminating})
		return
	}
	st.Members = append(st.Members, fleet.Member{
		Pod: p.Ref, Node: p.Node, Host: p.IP, Port: part.Port, Known: known, Pinned: part.Pinned && !part.Temp, Temp: part.Temp, Ready: p.Ready, Leaving: p.Terminating,
	})
}
