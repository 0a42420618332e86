package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// ServiceSpec is a Service. With Entry an Ingress leads to it.
type ServiceSpec struct {
	Namespace, Name string
	Selector        map[string]string
	Entry           bool
}

// BackendSpec is something of the API server's that a Service answers for. With Bars no pod can be made, outside of kube-system, while that has no endpoints.
type BackendSpec struct {
	fleet.Backend
	Bars bool
}

// barredWait is how long a controller waits before it tries again to make a pod that a webhook could not admit.
const barredWait = 5 * time.Second

// ApplyService makes a Service, or replaces the one of that name.
func (c *Cluster) ApplyService(s ServiceSpec) error {
	return c.do(func() error {
		if s.Name == "" || s.Namespace == "" || len(s.Selector) == 0 {
			return fmt.Errorf("apply service %s/%s: it needs a namespace, a name and a selector", s.Namespace, s.Name)
		}
		c.services = slices.DeleteFunc(c.services, func(o ServiceSpec) bool { return o.Namespace == s.Namespace && o.Name == s.Name })
		c.services = append(c.services, s)
		slices.SortFunc(c.services, func(a, b ServiceSpec) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		for _, w := range c.workloads {
			w.entry = slices.ContainsFunc(c.services, func(s ServiceSpec) bool { return s.Entry && s.leadsTo(w) })
		}
		return nil
	})
}

// AddBackend makes the API server depend on a Service.
func (c *Cluster) AddBackend(b BackendSpec) {
	_ = c.do(func() error { // it has no error to return
		c.backends = append(c.backends, b)
		return nil
	})
}

// leadsTo tells whether the Service selects a workload's pods.
func (s *ServiceSpec) leadsTo(w *workload) bool {
	if s.Namespace != w.Owner.Namespace {
		return false
	}
	for k, v := range s.Selector {
		if w.spec.Labels[k] != v {
			return false
		}
	}
	return true
}

func (c *Cluster) seenServices() []fleet.Service {
	var out []fleet.Service
	for i := range c.services {
		s := &c.services[i]
		out = append(out, fleet.Service{Namespace: s.Namespace, Name: s.Name, Selector: s.Selector, Endpoints: c.endpoints(s)})
	}
	return out
}

// endpoints counts a Service's ready pods.
func (c *Cluster) endpoints(s *ServiceSpec) int {
	n := 0
	for _, w := range c.workloads {
		if !s.leadsTo(w) {
			continue
		}
		for _, p := range w.pods {
			if p.Ready && !p.Terminating {
				n++
			}
		}
	}
	return n
}

// barred tells whether a webhook keeps pods of a namespace from being made, because nobody answers for it.
func (c *Cluster) barred(namespace string) bool {
	return namespace != "kube-system" && slices.ContainsFunc(c.backends, func(b BackendSpec) bool {
		i := slices.IndexFunc(c.services, func(s ServiceSpec) bool { return s.Namespace == b.Namespace && s.Name == b.Service })
		return b.Bars && (i < 0 || c.endpoints(&c.services[i]) == 0)
	})
}

// tryLater has a controller try again whose pods a webhook could not admit.
func (c *Cluster) tryLater(w *workload) {
	if w.barred {
		return
	}
	w.barred = true
	c.after(barredWait, func() {
		w.barred = false
		c.wake(w)
	})
}
