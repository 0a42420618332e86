package cluster

import (
	"fmt"
	"slices"
	"time"

	"drover.dev/fleet"
)

// AppSpec is an object of a GitOps controller: it puts what it keeps back to what the repository says.
type AppSpec struct {
	Owner  fleet.Owner // of kind Application (Argo CD), Kustomization or HelmRelease (Flux)
	Labels map[string]string
	Keeps  []fleet.Owner // workloads, CronJobs, and other objects of this kind, whose pause it takes back
	After  time.Duration // from a change to its being taken back
}

// application is such an object.
type application struct {
	object
	spec   AppSpec
	paused bool
	reads  bool // it will look at its repository
}

// controllers are the field managers of GitOps controllers, with the API versions of their objects.
var controllers = map[string]struct{ manager, version string }{
	"Application":   {"argocd-application-controller", "argoproj.io/v1alpha1"},
	"Kustomization": {"kustomize-controller", "kustomize.toolkit.fluxcd.io/v1"},
	"HelmRelease":   {"helm-controller", "helm.toolkit.fluxcd.io/v2"},
}

// ApplyApp makes a GitOps object. What the repository says is what each of the things it keeps was applied with.
func (c *Cluster) ApplyApp(s AppSpec) error {
	return c.do(func() error {
		if _, known := controllers[s.Owner.Kind]; !known || c.things[s.Owner] != nil || s.After <= 0 {
			return fmt.Errorf("apply %s: want a new Application, Kustomization or HelmRelease that says after how long it looks", s.Owner)
		}
		a := &application{object: c.newObject(s.Labels, "kubectl"), spec: s}
		c.things[s.Owner] = a
		c.readRepository(a)
		return nil
	})
}

func (a *application) named() fleet.Owner { return a.spec.Owner }

func (a *application) part() fleet.Part {
	p := fleet.Part{Turn: fleet.Unsynced, APIVersion: controllers[a.spec.Owner.Kind].version, Absent: !a.paused, Off: a.paused}
	if a.paused {
		p.Value = "true"
	}
	return p
}

func (a *application) set(c *Cluster, value string, absent bool) error {
	a.paused = !absent && value == "true"
	c.readRepository(a)
	return nil
}

func (a *application) said() (string, bool, bool) { return "", true, true }

// appsOf lists the GitOps objects that keep something, nearest first.
func (c *Cluster) appsOf(o fleet.Owner) []fleet.Owner {
	var out []fleet.Owner
	for a := c.keeperOf(o); a != nil && !slices.Contains(out, a.spec.Owner); a = c.keeperOf(a.spec.Owner) {
		out = append(out, a.spec.Owner)
	}
	return out
}

// keeperOf is the GitOps object that keeps something; nil when none does.
func (c *Cluster) keeperOf(o fleet.Owner) *application {
	for _, a := range c.apps() {
		if slices.Contains(a.spec.Keeps, o) {
			return a
		}
	}
	return nil
}

// apps lists the GitOps objects in order of kind and name.
func (c *Cluster) apps() []*application {
	var out []*application
	for _, x := range c.allThings() {
		if a, ok := x.(*application); ok {
			out = append(out, a)
		}
	}
	return out
}

// watchApps has those look at their repositories that keep something which was changed.
func (c *Cluster) watchApps(x switched) {
	if len(c.things) == 0 {
		return
	}
	for _, a := range c.apps() {
		if slices.Contains(a.spec.Keeps, x.named()) {
			c.readRepository(a)
		}
	}
}

// readRepository puts back, in a while, what is not as the repository says. One that is paused does not look, and nor does one with nothing to do.
func (c *Cluster) readRepository(a *application) {
	if a.reads || a.paused || len(c.strays(a)) == 0 {
		return
	}
	a.reads = true
	c.after(a.spec.After, func() {
		a.reads = false
		if a.paused || c.things[a.spec.Owner] != switched(a) {
			return
		}
		for _, x := range c.strays(a) {
			value, absent, _ := x.said()
			_ = c.write(x, value, absent, controllers[a.spec.Owner.Kind].manager) // what it was applied with can be written again
		}
	})
}

// strays lists what a GitOps object keeps that is not as its repository says.
func (c *Cluster) strays(a *application) []switched {
	var out []switched
	for _, o := range a.spec.Keeps {
		x := c.thing(o)
		if x == nil {
			continue
		}
		have := x.part()
		if value, absent, keeps := x.said(); keeps && (have.Value != value || have.Absent != absent) {
			out = append(out, x)
		}
	}
	return out
}

// reverts says who would take the pause of a GitOps object back, and what to commit instead; "" when nobody would.
func (c *Cluster) reverts(o fleet.Owner) (who, patch string) {
	parent := c.keeperOf(o)
	if parent == nil || parent.paused {
		return "", ""
	}
	return fmt.Sprintf("%s keeps it as its repository says", parent.spec.Owner), fmt.Sprintf("pause %s in the repository of %s", o, parent.spec.Owner)
}
