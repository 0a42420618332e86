package cloud

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// InstanceState is EC2's word for where an instance is in its life.
type InstanceState string

const (
	Pending      InstanceState = "pending"
	Running      InstanceState = "running"
	ShuttingDown InstanceState = "shutting-down"
	Terminated   InstanceState = "terminated"
	Stopping     InstanceState = "stopping"
	Stopped      InstanceState = "stopped"
)

// Code is the number EC2 gives with the state.
func (s InstanceState) Code() int {
	return map[InstanceState]int{Pending: 0, Running: 16, ShuttingDown: 32, Terminated: 48, Stopping: 64, Stopped: 80}[s]
}

// Instance is a copy of what EC2 knows of one machine.
type Instance struct {
	ID                  string
	Index               int // the n given to Config.Addresses
	Group               string
	Zone                string
	Subnet              string
	VPC                 string
	Type                string
	ImageID             string
	Spot                bool
	PrivateIP           string // kept after termination for whoever has to clean up; Describe calls hide it then, as AWS does
	PrivateDNS          string
	LaunchTime          time.Time
	State               InstanceState
	Booted              bool // the operating system is ready; AWS itself does not know this
	LaunchTemplate      TemplateRef
	LaunchConfiguration string
	KeyName             string
	UserData            string // base64, as it was given
	Tags                map[string]string
	Labels              map[string]string // its node is to register with, by the node group it is in; none otherwise
	Taints              []NodeTaint       // likewise
	ReasonCode          string            // StateReason
	ReasonMessage       string
	Transition          string // StateTransitionReason
	Reservation         string
	SpotRequest         string        // id of the request that a spot instance fulfils
	Recommended         time.Time     // when EC2 recommended to replace it, a spot instance at risk; zero when it has not
	Interruption        *Interruption // EC2 takes the spot instance back; never changed once made
	CapacityReservation string        // id of the reservation that it runs in

	life int // of how many it is: a timer of an earlier one means nothing
}

func (i *Instance) clone() Instance {
	n := *i
	n.Tags, n.Labels, n.Taints = maps.Clone(i.Tags), maps.Clone(i.Labels), slices.Clone(i.Taints)
	return n
}

// Gone tells whether the machine is off or going off, for good or not.
func (i *Instance) Gone() bool { return i.State != Pending && i.State != Running }

// ended tells whether it is off or going off for good.
func (i *Instance) ended() bool { return i.State == ShuttingDown || i.State == Terminated }

// launch starts the life of an instance; the caller has filled in what it is made from.
func (c *Cloud) launch(i Instance) *Instance {
	c.launched++
	i.ID, i.Index = c.hexID("i"), c.launched
	i.Reservation = c.hexID("r")
	i.PrivateIP = c.cfg.Addresses(i.Index)
	i.PrivateDNS = c.dnsName(i.PrivateIP)
	i.Subnet, i.VPC = c.subnetOf(i.Zone), c.vpc()
	i.LaunchTime = c.now().Truncate(time.Second)
	if i.Tags == nil {
		i.Tags = map[string]string{}
	}
	c.w.instances[i.ID] = &i
	if i.Spot {
		c.fulfil(&i)
	}
	c.setState(&i, Pending)
	c.emit(Event{Kind: InstanceLaunched, Instance: i.clone()})
	c.comeUp(&i)
	return &i
}

// comeUp brings a pending machine up.
func (c *Cloud) comeUp(i *Instance) {
	life := i.life
	c.after(c.cfg.Timing.StartTime, func() {
		if i.State != Pending || i.life != life {
			return
		}
		c.setState(i, Running)
		c.emit(Event{Kind: InstanceRunning, Instance: i.clone()})
		c.boot(i)
		c.memberRunning(i.ID)
	})
}

// boot brings the operating system of a running machine up.
func (c *Cloud) boot(i *Instance) {
	life := i.life
	c.after(c.cfg.Timing.BootTime+c.jitter(), func() {
		if i.State != Running || i.life != life {
			return
		}
		i.Booted = true
		c.emit(Event{Kind: InstanceBooted, Instance: i.clone()})
		c.targetBooted(i.ID)
		c.memberBooted(i.ID)
	})
}

func (c *Cloud) jitter() time.Duration {
	if j := c.cfg.Timing.BootJitter; j > 0 {
		return time.Duration(c.dice.Int64N(int64(j)))
	}
	return 0
}

// reason is why a machine goes off, in EC2's words.
type reason struct{ code, words, transition string }

var byUser = reason{"Client.UserInitiatedShutdown", "User initiated shutdown", "User initiated"}

// explain writes on a machine why it goes off.
func (c *Cloud) explain(i *Instance, why reason) {
	i.ReasonCode, i.ReasonMessage = why.code, why.code+": "+why.words
	i.Transition = why.transition + " (" + c.now().Format("2006-01-02 15:04:05") + " GMT)"
}

// end ends an instance for good; one that is ending already stays as it is.
func (c *Cloud) end(i *Instance, why reason) {
	if i.ended() {
		return
	}
	off := i.Gone()
	i.life++
	i.Booted = i.Booted && !off
	c.explain(i, why)
	c.setState(i, ShuttingDown)
	if !off {
		c.emit(Event{Kind: InstanceStopping, Instance: i.clone()})
	}
	c.targetGone(i.ID)
	c.memberStopping(i)
	c.after(c.cfg.Timing.ShutdownTime, func() {
		c.setState(i, Terminated)
		c.closeSpot(i, why)
		c.emit(Event{Kind: InstanceTerminated, Instance: i.clone()})
		c.memberStopped(i)
		c.after(c.cfg.Timing.RetainTime, func() {
			delete(c.w.instances, i.ID)
			delete(c.w.spots, i.SpotRequest)
			c.targetForgotten(i.ID)
		})
	})
}

// Instances returns the true state of all instances still visible, oldest first. It is meant for those who play the machines:
// it never lags and never fails.
func (c *Cloud) Instances() []Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.listInstances()
}

// Instance returns the true state of one instance.
func (c *Cloud) Instance(id string) (Instance, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.w.instances[id]
	if !ok {
		return Instance{}, false
	}
	return i.clone(), true
}

func (w *world) listInstances() []Instance {
	var out []Instance
	for _, i := range w.instances {
		out = append(out, i.clone())
	}
	slices.SortFunc(out, func(a, b Instance) int { return a.Index - b.Index })
	return out
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

func (w *world) findInstances(ids []string) ([]*Instance, error) {
	var found []*Instance
	var missing []string
	for _, id := range ids {
		if !instanceID.MatchString(id) {
			return nil, refuse("InvalidInstanceID.Malformed", "Invalid id: %q", id)
		}
		if i, ok := w.instances[id]; ok {
			found = append(found, i)
		} else {
			missing = append(missing, id)
		}
	}
	switch len(missing) {
	case 0:
		return found, nil
	case 1:
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", missing[0])
	}
	return nil, refuse("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
}

// instanceFilters are the filters of DescribeInstances.
var instanceFilters = map[string]func(Instance) string{
	"instance-id":         func(i Instance) string { return i.ID },
	"instance-state-name": func(i Instance) string { return string(i.State) },
	"instance-state-code": func(i Instance) string { return fmt.Sprint(i.State.Code()) },
	"instance-type":       func(i Instance) string { return i.Type },
	"availability-zone":   func(i Instance) string { return i.Zone },
	"subnet-id":           func(i Instance) string { return i.Subnet },
	"vpc-id":              func(i Instance) string { return i.VPC },
	"image-id":            func(i Instance) string { return i.ImageID },
	"key-name":            func(i Instance) string { return i.KeyName },
	"reservation-id":      func(i Instance) string { return i.Reservation },
	"state-reason-code":   func(i Instance) string { return i.ReasonCode },
	"private-dns-name":    func(i Instance) string { return i.unlessTerminated(i.PrivateDNS) },
	"private-ip-address":  func(i Instance) string { return i.unlessTerminated(i.PrivateIP) },
	"instance-lifecycle": func(i Instance) string {
		if i.Spot {
			return "spot"
		}
		return "on-demand"
	},
}

func (i Instance) unlessTerminated(s string) string {
	if i.State == Terminated {
		return ""
	}
	return s
}

func (i Instance) filterValue(name string) []string {
	if f, ok := instanceFilters[name]; ok {
		return []string{f(i)}
	}
	return tagValue(name, i.Tags)
}

// DescribeInstances returns the instances that have one of the ids (any, if there are none) and pass all filters, oldest first.
func (c *Cloud) DescribeInstances(ids []string, filters []Filter) ([]Instance, error) {
	known := append(slices.Collect(maps.Keys(instanceFilters)), "tag-key", "tag:")
	return read(c, "ec2:DescribeInstances", func(w *world) ([]Instance, error) {
		if err := checkFilters("DescribeInstances", filters, known...); err != nil {
			return nil, err
		}
		if _, err := w.findInstances(ids); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(w.listInstances(), func(i Instance) bool {
			return len(ids) > 0 && !slices.Contains(ids, i.ID) || !matchAll(filters, i.filterValue)
		}), nil
	})
}

// StateChange is the answer to TerminateInstances for one instance.
type StateChange struct {
	ID            string
	Before, After InstanceState
}

// TerminateInstances ends the instances at once, behind the back of their groups; all of them or, when one id is wrong, none.
func (c *Cloud) TerminateInstances(ids []string) (out []StateChange, err error) {
	err = c.write("ec2:TerminateInstances", func() error {
		if len(ids) == 0 {
			return refuse("MissingParameter", "The request must contain the parameter InstanceId")
		}
		found, err := c.w.findInstances(ids)
		if err != nil {
			return err
		}
		for _, i := range found {
			before := i.State
			c.end(i, byUser)
			out = append(out, StateChange{i.ID, before, i.State})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// capacity is what EC2 can run out of.
type capacity struct{ zone, instanceType string }

// SetDrought makes launches of a type in a zone fail with InsufficientInstanceCapacity, until it is switched off. An empty type
// means every type.
func (c *Cloud) SetDrought(zone, instanceType string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drought[capacity{zone, instanceType}] = on
	for _, g := range c.w.groups {
		c.wake(g)
	}
}

func (c *Cloud) dry(zone, instanceType string) bool {
	return c.drought[capacity{zone, instanceType}] || c.drought[capacity{zone, ""}]
}

// pick chooses by the cloud's own dice.
func pick[T any](dice *rand.Rand, from []T) T { return from[dice.IntN(len(from))] }
