package fleet

import "fmt"

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
	{"env-spec", "yes", "What is declared of the environment cannot be understood, contradicts itself, or chooses nothing."},
	{"env-protected", "yes", "The environment is protected: nobody switches it off."},
	{"env-overlap", "yes", "A workload, a group or a database belongs to two environments."},
	{"env-no-record", "yes", "The cluster cannot hold the record of a sleep."},
	{"env-right", "yes", "A right is missing that the stop or the start needs."},
	{"env-archive", "yes", "The archive of the environment cannot be read or written, so nothing outside of the cluster would know how everything was."},
	{"env-group", "yes", "A group of the environment does not exist, cannot be read, or something else is changing it."},
	{"env-guests", "sometimes", "A group of the environment carries pods of others: their nodes stay. It blocks when the environment's policy says so."},
	{"env-no-room", "no", "A pod that may be carried off a node fits nowhere else, so its node stays."},
	{"env-nothing", "sometimes", "A selection of the environment chooses nothing that is there. It blocks unless it is forced."},
	{"env-targets", "no", "A load balancer's target group loses every target."},
	{"env-jobs", "sometimes", "A Job of the environment is running. It blocks unless it is forced."},
	{"env-bare-pod", "sometimes", "A pod of the environment has no controller: nothing would start it again. It blocks unless it is forced."},
	{"env-unscalable", "sometimes", "Nobody knows how to switch what keeps a pod of the environment running. It blocks unless it is forced."},
	{"env-last-copy", "sometimes", "A workload keeps its only data where it is lost with its pods. It blocks unless it is forced."},
	{"env-backend", "sometimes", "A webhook or an API of the API server is served by the environment; asleep, it would keep others, or the start, from working. It blocks unless it is forced."},
	{"env-parent", "sometimes", "A GitOps application is kept by another one, which would take its pause back. It blocks unless the environment's policy says to ignore that."},
	{"env-unsynced", "no", "A GitOps application of the environment's workloads keeps other workloads too, and is paused for those as well."},
	{"env-database", "yes", "A database of the environment does not exist, cannot be read, or is in no state to be switched."},
	{"env-database-stuck", "yes", "RDS cannot stop the database."},
	{"env-sessions", "sometimes", "Somebody else is connected to a database of the environment. It blocks unless it is forced."},
	{"env-unasked", "no", "Who is connected to a database cannot be seen, or whether it answers can only be told from its port."},
	{"env-one-copy", "no", "No archive is named, so nothing outside of the cluster knows how everything was."},
	{"env-stranger", "yes", "Something is marked as switched off by another environment, or by a sleep that nobody has on file."},
	{"env-prices", "no", "The price of something is not known, so the money is reckoned without it."},
	{"iso-kept", "sometimes", "The workload is kept as a repository says, so a patch of it would be taken back: commit it there. It blocks --apply."},
	{"iso-store", "no", "The pods of a store are not carried over by a new template: their data decides when they may leave."},
	{"iso-elsewhere", "yes", "The workload is bound to other nodes already, or cannot be placed by a template."},
	{"iso-group", "yes", "The group to be taken for a pattern cannot be, or the new one's name is taken."},
	{"iso-volume", "no", "A pod's volume is bound to a zone, so the new group needs nodes there."},
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

// Found is a finding of the table. Whether one that blocks sometimes does is for Block to say.
func Found(code, subject, reason string, args ...any) Finding {
	return Finding{Code: code, Blocks: RuleOf(code).Blocks == "yes", Subject: subject, Reason: fmt.Sprintf(reason, args...)}
}

// Then says what to do about a finding.
func (f Finding) Then(next string, args ...any) Finding {
	f.Next = fmt.Sprintf(next, args...)
	return f
}

// Block has a finding block, or not.
func (f Finding) Block(blocks bool) Finding {
	f.Blocks = blocks
	return f
}
