package evac

import "drover.dev/fleet"

// copyOf is a managed node group that EKS is about to make as a copy of another.
func copyOf(g *fleet.Group, a fleet.Action) fleet.Group {
	return fleet.Group{
		Name: a.Copy, Min: g.Min, Max: max(g.Max, a.To), Desired: a.To, Zones: g.Zones, Wants: g.Wants, Targets: g.Targets,
		Managed: &fleet.Managed{Cluster: g.Managed.Cluster, Status: "CREATING", Version: g.Managed.Latest, Latest: g.Managed.Latest, CopyOf: g.Name, Run: a.Run},
	}
}
