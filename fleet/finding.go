package fleet

// Rule is a kind of finding. Its code never changes; what it says may improve.
type Rule struct {
	Code   string
	Blocks string // yes, no, or sometimes
	Means  string
}

// Rules is the one table of what checks may find.
var Rules = []Rule{
	{"run-under-way", "yes", "A group or node is in the middle of another run."},
	{"stopped", "yes", "Somebody has stopped everything in this cluster (drover pause --all)."},
	{"other-cluster", "yes", "No instance of the group is a node of this cluster: the kubeconfig's context and the AWS profile do not belong together."},
	{"group-trouble", "yes", "The group could not be read in full."},
	{"no-journal", "yes", "The cluster cannot hold the record of a run."},
	{"standby", "yes", "An instance is in Standby, which is somebody's intention that drover does not know."},
	{"max-too-small", "yes", "The group's maximum leaves no room for the surge."},
	{"volume-zones", "yes", "The surge is smaller than the number of zones in which pods have volumes: AWS chooses where the new nodes go, and may never choose a volume's zone."},
	{"two-budgets", "yes", "Several PodDisruptionBudgets cover one pod; the eviction API always refuses those."},
	{"no-controller", "yes", "Nobody recreates the pod once it is evicted."},
	{"tolerates-all", "yes", "The pod tolerates drover's taint, so it could come back to a node that is leaving."},
	{"budget-never", "yes", "The budget can never allow a disruption, and the workload cannot be given its replacement first."},
	{"managed-busy", "yes", "EKS is changing the managed node group, or reports it as unhealthy."},
	{"managed-part", "yes", "A managed node group is replaced as a whole, never in part."},
	{"managed-bake", "yes", "A managed node group has no Standby, so old nodes cannot be kept there."},
	{"single-not-served", "no", "A single replica that cannot have its replacement first is not served while it moves."},
	{"daemonset-gap", "no", "A DaemonSet does not tolerate drover's taint: on a node that is leaving its pods are not recreated."},
	{"local-data", "no", "The pod keeps data on its node, which does not move with it."},
	{"budget-now", "no", "The budget allows nothing at the moment because pods are not ready."},
	{"long-grace", "no", "The pod may take long to shut down, and its node waits for it."},
	{"gitops-reverts", "no", "The workload gets a replica more for a while, and what keeps it as a repository says may take that back."},
	{"store-trouble", "yes", "What is declared of a store cannot be understood, or its members cannot be asked: wrong password, TLS, a missing right, a template without the port."},
	{"store-unsound", "yes", "A store is not in order: two masters, Sentinels that disagree, a replica that is not in sync, slots that are not served."},
	{"no-such-pod", "yes", "The pod is not there any more, or does not move."},
	{"eviction-refused", "no", "The API server refuses the pod's eviction in a dry run, for a reason other than its budget's pace."},
	{"type-not-offered", "sometimes", "A zone does not offer an instance type that the group wants; it blocks when no zone does."},
	{"subnet-addresses", "sometimes", "The group's subnets have too few free addresses for the surge; it blocks when all together have."},
	{"cpu-quota", "yes", "The surge would exceed the account's quota of vCPUs."},
	{"limit-unchecked", "no", "A limit could not be checked, for want of a right or because it has a quota of its own; or not every pod's eviction could be tried in time."},
	{"release-unknown", "no", "EKS does not say, and the parameter that does could not be read, which AMI release is the newest."},
	{"probe-bad", "yes", "A health probe is bad before anything has begun."},
	{"name-taken", "yes", "A queue or an EventBridge rule of the name that drover would use is somebody else's by its tags."},
	{"queue-missing", "yes", "There is no queue for notices, so only the sweep finds instances that go."},
	{"queue-permission", "yes", "The queue's policy does not let EventBridge send to it from drover's rules."},
	{"canary-lost", "yes", "A test message was put on the event bus and did not come through."},
	{"queue-retention", "no", "The queue forgets messages earlier than a hook lets go of its instance."},
	{"queue-dead-letters", "no", "The queue has no dead-letter queue: a message that nobody can take in comes again until it is forgotten."},
	{"rule-missing", "no", "An EventBridge rule is missing, disabled, changed or sends elsewhere, so one kind of notice is not heard."},
	{"hook-missing", "no", "No lifecycle hook of drover's holds the group's instances: one that goes takes its pods with it."},
	{"hook-result", "no", "What happens to an instance when nobody answers its hook does not suit whether the group retains abandoned instances."},
	{"hook-competes", "no", "Something else holds or empties the same instances for the same notices."},
	{"hold-short", "no", "A hook, the controller's policy or EKS holds an instance for less time than a pod on it may take to stop."},
	{"zones-unguarded", "no", "AZRebalance is on and no hook holds the group's instances, so it ends them with all that runs on them."},
	{"delay-long", "no", "A target group's deregistration delay is longer than the controller lets a hook hold an instance."},
	{"capacity-rebalance", "no", "The group launches spot instances and does not replace those that may be interrupted soon."},
	{"instances-wait", "sometimes", "A hook that is to be deleted holds instances now: Auto Scaling would end them at once. It blocks unless --force is given."},
	{"messages-kept", "no", "Messages were set aside for a person, or would go with their queue."},
	{"left-behind", "no", "Something of drover's cannot be removed because somebody else uses it, or because nothing says whose it is."},
}

// RuleOf returns the rule of a code. It panics for one that is not in the table: codes are ours.
func RuleOf(code string) Rule {
	for _, r := range Rules {
		if r.Code == code {
			return r
		}
	}
	panic("no rule has code " + code)
}
