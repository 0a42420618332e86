package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// rule is a kind of finding. Its code never changes; what it says may improve.
type rule struct {
	Code   string
	Blocks bool
	Means  string
}

// The rules that a plan is checked by.
var (
	runUnderWay  = rule{"run-under-way", true, "A group or node is in the middle of another run."}
	noJournal    = rule{"no-journal", true, "The cluster cannot hold the record of a run."}
	standby      = rule{"standby", true, "An instance is in Standby, which is somebody's intention that drover does not know."}
	maxTooSmall  = rule{"max-too-small", true, "The group's maximum leaves no room for the surge."}
	twoBudgets   = rule{"two-budgets", true, "Several PodDisruptionBudgets cover one pod; the eviction API always refuses those."}
	noController = rule{"no-controller", true, "Nobody recreates the pod once it is evicted."}
	toleratesAll = rule{"tolerates-all", true, "The pod tolerates drover's taint, so it could come back to a node that is leaving."}
	budgetNever  = rule{"budget-never", true, "The budget can never allow a disruption, and the workload cannot be given its replacement first."}
	managedBusy  = rule{"managed-busy", true, "EKS is changing the managed node group, or reports it as unhealthy."}
	managedPart  = rule{"managed-part", true, "A managed node group is replaced as a whole, never in part."}
	managedBake  = rule{"managed-bake", true, "A managed node group has no Standby, so old nodes cannot be kept there."}

	singleMissed = rule{"single-not-served", false, "A single replica that cannot have its replacement first is not served while it moves."}
	daemonGap    = rule{"daemonset-gap", false, "A DaemonSet does not tolerate drover's taint: on a node that is leaving its pods are not recreated."}
	localData    = rule{"local-data", false, "The pod keeps data on its node, which does not move with it."}
	budgetNow    = rule{"budget-now", false, "The budget allows nothing at the moment because pods are not ready."}
	longGrace    = rule{"long-grace", false, "The pod may take long to shut down, and its node waits for it."}
	gitOps       = rule{"gitops-reverts", false, "The workload gets a replica more for a while, and what keeps it as a repository says may take that back."}
	unevictable  = rule{"eviction-refused", false, "The API server refuses the pod's eviction in a dry run, for a reason other than its budget's pace."}
)

// Rules lists every rule with its code, whether it blocks, and what it means.
func Rules() []rule {
	return []rule{
		runUnderWay, noJournal, standby, maxTooSmall, twoBudgets, noController, toleratesAll, budgetNever, managedBusy, managedPart, managedBake,
		singleMissed, daemonGap, localData, budgetNow, longGrace, gitOps, unevictable,
	}
}

// found is a finding without its advice yet.
type found fleet.Finding

func finding(r rule, subject, reason string, args ...any) found {
	return found{Code: r.Code, Blocks: r.Blocks, Subject: subject, Reason: fmt.Sprintf(reason, args...)}
}

func (f found) next(format string, args ...any) fleet.Finding {
	f.Next = fmt.Sprintf(format, args...)
	return fleet.Finding(f)
}
