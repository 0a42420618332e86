package cloud

import "slices"

// The processes of a group that can be suspended.
const (
	Launch            = "Launch"
	Terminate         = "Terminate"
	AddToLoadBalancer = "AddToLoadBalancer"
	AlarmNotification = "AlarmNotification"
	AZRebalance       = "AZRebalance"
	CheckHealth       = "HealthCheck"
	InstanceRefresh   = "InstanceRefresh"
	ReplaceUnhealthy  = "ReplaceUnhealthy"
	ScheduledActions  = "ScheduledActions"
)

// Processes lists them all, in AWS's order.
var Processes = []string{AZRebalance, AddToLoadBalancer, AlarmNotification, CheckHealth, InstanceRefresh, Launch, ReplaceUnhealthy, ScheduledActions, Terminate}

// SuspendedProcess says that a process is suspended, and why.
type SuspendedProcess struct{ Name, Reason string }

func (g *Group) suspended(process string) bool {
	return slices.ContainsFunc(g.Suspended, func(s SuspendedProcess) bool { return s.Name == process })
}

// SuspendProcesses suspends the named processes, or all of them.
func (c *Cloud) SuspendProcesses(name string, processes []string) error {
	return c.setProcesses("autoscaling:SuspendProcesses", name, processes, func(g *Group, p string) {
		if !g.suspended(p) {
			g.Suspended = append(g.Suspended, SuspendedProcess{p, "User suspended at " + c.stamp()})
		}
	})
}

// ResumeProcesses resumes the named processes, or all of them.
func (c *Cloud) ResumeProcesses(name string, processes []string) error {
	return c.setProcesses("autoscaling:ResumeProcesses", name, processes, func(g *Group, p string) {
		g.Suspended = slices.DeleteFunc(g.Suspended, func(s SuspendedProcess) bool { return s.Name == p })
	})
}

func (c *Cloud) setProcesses(action, name string, processes []string, set func(*Group, string)) error {
	return c.write(action, func() error {
		g, err := c.w.findGroup(name)
		if err != nil {
			return err
		}
		for _, p := range processes {
			if !slices.Contains(Processes, p) {
				return invalid("Invalid scaling process: [%s]", p)
			}
		}
		if len(processes) == 0 {
			processes = Processes
		}
		for _, p := range processes {
			set(g, p)
		}
		c.changed(g)
		return nil
	})
}
