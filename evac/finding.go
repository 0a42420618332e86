package evac

import (
	"fmt"

	"drover.dev/fleet"
)

// The rules that a plan is checked by.
var (
	runUnderWay  = fleet.RuleOf("run-under-way")
	stopped      = fleet.RuleOf("stopped")
	otherCluster = fleet.RuleOf("other-cluster")
	groupTrouble = fleet.RuleOf("group-trouble")
	noJournal    = fleet.RuleOf("no-journal")
	standby      = fleet.RuleOf("standby")
	maxTooSmall  = fleet.RuleOf("max-too-small")
	volumeZones  = fleet.RuleOf("volume-zones")
	twoBudgets   = fleet.RuleOf("two-budgets")
	noController = fleet.RuleOf("no-controller")
	toleratesAll = fleet.RuleOf("tolerates-all")
	budgetNever  = fleet.RuleOf("budget-never")
	managedBusy  = fleet.RuleOf("managed-busy")
	managedPart  = fleet.RuleOf("managed-part")
	managedBake  = fleet.RuleOf("managed-bake")
	singleMissed = fleet.RuleOf("single-not-served")
	daemonGap    = fleet.RuleOf("daemonset-gap")
	localData    = fleet.RuleOf("local-data")
	budgetNow    = fleet.RuleOf("budget-now")
	longGrace    = fleet.RuleOf("long-grace")
	gitOps       = fleet.RuleOf("gitops-reverts")
	storeTrouble = fleet.RuleOf("store-trouble")
	storeUnsound = fleet.RuleOf("store-unsound")
	noSuchPod    = fleet.RuleOf("no-such-pod")
	unevictable  = fleet.RuleOf("eviction-refused")
)

// found is a finding without its advice yet.
type found fleet.Finding

func finding(r fleet.Rule, subject, reason string, args ...any) found {
	return found{Code: r.Code, Blocks: r.Blocks == "yes", Subject: subject, Reason: fmt.Sprintf(reason, args...)}
}

func (f found) next(format string, args ...any) fleet.Finding {
	f.Next = fmt.Sprintf(format, args...)
	return fleet.Finding(f)
}
