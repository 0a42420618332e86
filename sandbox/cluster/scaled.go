package cluster

import (
	"fmt"
	"strconv"

	"drover.dev/fleet"
)

// ScaledSpec is a KEDA ScaledObject over a workload.
type ScaledSpec struct {
	Owner    fleet.Owner // of kind ScaledObject
	Labels   map[string]string
	Scales   fleet.Owner
	Min, Max int
	Want     int // replicas that its triggers ask for; 0 when they ask for nothing
}

// scaled is a ScaledObject with its annotation paused-replicas.
type scaled struct {
	object
	spec   ScaledSpec
	paused *int
}

// ApplyScaled makes a ScaledObject. From then on KEDA scales its workload: between its bounds, to 0 and back when it may, and to what it is paused at.
func (c *Cluster) ApplyScaled(s ScaledSpec) error {
	return c.do(func() error {
		w := c.workload[s.Scales]
		if s.Owner.Kind != "ScaledObject" || w == nil || c.things[s.Owner] != nil {
			return fmt.Errorf("apply %s: want a new ScaledObject over a workload that is there, not over %s", s.Owner, s.Scales)
		}
		x := &scaled{object: c.newObject(s.Labels, "kubectl"), spec: s}
		c.things[s.Owner] = x
		w.keda = x
		w.spec.Scaler = &Scaler{Name: "keda-hpa-" + s.Owner.Name, Min: max(s.Min, 1), Max: s.Max, Want: s.Want}
		w.Scaler = &fleet.Scaler{Name: w.spec.Scaler.Name, Min: w.spec.Scaler.Min, Max: s.Max}
		c.look(w)
		return nil
	})
}

func (x *scaled) named() fleet.Owner { return x.spec.Owner }

func (x *scaled) part() fleet.Part {
	p := fleet.Part{Turn: fleet.Held, APIVersion: "keda.sh/v1alpha1", Scales: x.spec.Scales, Absent: x.paused == nil, Off: x.paused != nil && *x.paused == 0}
	if x.paused != nil {
		p.Value = strconv.Itoa(*x.paused)
	}
	return p
}

func (x *scaled) set(c *Cluster, value string, absent bool) error {
	if x.paused = nil; !absent {
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("pause %s: %w", x.spec.Owner, err)
		}
		x.paused = &n
	}
	if w := c.workload[x.spec.Scales]; w != nil {
		c.look(w)
	}
	return nil
}

// said is nothing: a repository that does not name an annotation leaves it alone.
func (x *scaled) said() (string, bool, bool) { return "", true, false }

// asks is what KEDA wants of a workload that may be at 0; kept is false where that is the autoscaler's to say.
func (x *scaled) asks(replicas int) (want int, kept bool) {
	switch {
	case x.paused != nil:
		return *x.paused, true
	case replicas == 0 && (x.spec.Min > 0 || x.spec.Want > 0):
		return max(x.spec.Min, 1), true
	}
	return 0, false
}
