package cloud

import (
	"fmt"
	"slices"
	"time"
)

// halt stops a machine, which can be started again; one that does not run stays as it is.
func (c *Cloud) halt(i *Instance, why reason) {
	if i.Gone() {
		return
	}
	i.life++
	i.Booted = false
	life := i.life
	c.explain(i, why)
	c.setState(i, Stopping)
	c.emit(Event{Kind: InstanceStopping, Instance: i.clone()})
	c.targetGone(i.ID)
	c.memberStopping(i)
	c.after(c.cfg.Timing.ShutdownTime, func() {
		if i.State != Stopping || i.life != life {
			return
		}
		c.setState(i, Stopped)
		c.stoppedSpot(i)
		c.emit(Event{Kind: InstanceStopped, Instance: i.clone()})
		c.memberRested(i.ID)
	})
}

// powerOn starts a stopped machine.
func (c *Cloud) powerOn(i *Instance) {
	i.life++
	i.ReasonCode, i.ReasonMessage, i.Transition = "", "", ""
	i.LaunchTime = c.now().Truncate(time.Second)
	i.Interruption, i.Recommended = nil, time.Time{}
	c.setState(i, Pending)
	c.emit(Event{Kind: InstanceStarted, Instance: i.clone()})
	c.targetReturned(i.ID)
	c.comeUp(i)
}

// reboot takes the operating system of a running machine down and up again. To EC2 it runs all the while.
func (c *Cloud) reboot(i *Instance) {
	if i.State != Running {
		return
	}
	i.life++
	i.Booted = false
	c.emit(Event{Kind: InstanceStopping, Instance: i.clone()})
	c.boot(i)
}

// StopInstances stops instances; all of them or, when one cannot be, none.
func (c *Cloud) StopInstances(ids []string) ([]StateChange, error) {
	return c.switchPower("ec2:StopInstances", ids, "be stopped", []InstanceState{Pending, Running, Stopping, Stopped}, func(i *Instance) { c.halt(i, byUser) })
}

// StartInstances starts stopped instances; all of them or, when one cannot be, none.
func (c *Cloud) StartInstances(ids []string) ([]StateChange, error) {
	return c.switchPower("ec2:StartInstances", ids, "be started", []InstanceState{Pending, Running, Stopped}, func(i *Instance) {
		if i.State == Stopped {
			c.powerOn(i)
		}
	})
}

// RebootInstances reboots instances; all of them or, when one cannot be, none.
func (c *Cloud) RebootInstances(ids []string) error {
	_, err := c.switchPower("ec2:RebootInstances", ids, "be rebooted", []InstanceState{Running}, c.reboot)
	return err
}

// switchPower does to every instance what do does, if all are in one of the states.
func (c *Cloud) switchPower(action string, ids []string, what string, from []InstanceState, do func(*Instance)) (out []StateChange, err error) {
	err = c.write(action, func() error {
		if len(ids) == 0 {
			return refuse("MissingParameter", "The request must contain the parameter InstanceId")
		}
		found, err := c.w.findInstances(ids)
		if err != nil {
			return err
		}
		for _, i := range found {
			if !slices.Contains(from, i.State) {
				return refuse("IncorrectInstanceState", "The instance '%s' is not in a state from which it can %s.", i.ID, what)
			}
		}
		for _, i := range found {
			before := i.State
			do(i)
			out = append(out, StateChange{i.ID, before, i.State})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// byAWS is EC2's reason for what it does itself.
func byAWS(code, words string) reason { return reason{code, words, "Service initiated"} }

// happen is for what comes from the world rather than from a caller: no fault strikes it.
func (c *Cloud) happen(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	c.commit()
	return nil
}

// running finds an instance that runs, or is coming up.
func (w *world) running(id string) (*Instance, error) {
	i, ok := w.instances[id]
	if !ok {
		return nil, fmt.Errorf("there is no instance %s", id)
	}
	if i.Gone() {
		return nil, fmt.Errorf("instance %s is %s", id, i.State)
	}
	return i, nil
}
