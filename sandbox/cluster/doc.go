// Package cluster is a small Kubernetes in memory: one state machine on an injected clock, in which drover's stories run in milliseconds.
//
// Make one with [New], fill it with [Cluster.AddNode], [Cluster.Apply] and [Cluster.Protect], then let the clock run. Observe, Confirm, Act and
// Changed make it the engine's hand on a cluster. [Cluster.Ledger] is what an independent witness saw; [Cluster.Settings] is everything that
// drover may change, in lines that can be compared.
//
// It models nodes and their machines, the scheduler's filters and its default scoring, the controllers of Deployments, StatefulSets, DaemonSets
// and Jobs, a pod's life from binding to the end of its grace, volumes that one node at a time may use, PodDisruptionBudgets as the disruption
// controller counts them and the eviction API charges them, HorizontalPodAutoscalers, KEDA's ScaledObjects, CronJobs, GitOps controllers that put back
// what a repository says, Services with their endpoints, webhooks that bar pods while nobody answers for them, Environment objects, pods that crash
// while a database or a workload that they need does not work, and load balancer targets by pod IP. Controllers, scheduler and the counting of budgets
// act at the moment of the change they react to (the scheduler at the end of a moment in which nodes changed); only pods, volumes, targets, autoscalers,
// CronJobs and GitOps take time. A cluster without CronJobs whose work is done has no events. The same seed and the same calls give the same life.
//
// It refuses loudly what it does not know: an unknown kind of workload, an unknown verb, a budget with both or neither bound. It rolls out no template
// but one that drover itself has placed elsewhere. It has no preemption, no preferred affinities, no quotas; a NoExecute taint keeps pods off but removes
// none, out-of-service excepted; and a pod is Running as soon as it is bound and its volume is attached.
package cluster
