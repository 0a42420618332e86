// Package cloud is the simulated AWS: Auto Scaling, EC2, EKS managed node groups, load balancer targets, quotas, caller identity,
// the databases of RDS, buckets of S3, and the queues, rules and topics of SQS, EventBridge and SNS as one state machine on an injected clock.
//
// A [Cloud] has one method per API action, with plain parameters and AWS's own error codes, so that an in-memory front can call
// it straight from Go and package wire can put it behind HTTP. Time passes only by the [Clock]: on a [VirtualClock] a story of an
// hour runs in milliseconds and always the same way; on a [RealClock] machines and load balancers take part, told by
// [Cloud.Subscribe] when an instance is launched, booted or must die, and telling by [Cloud.ReportTargetHealth] how targets fare.
//
// Of a Kubernetes cluster it knows the version and nothing else. What EKS would do to nodes and pods it asks of others by events
// (NodeCordon, NodeDrain, NodeChanged), and [Cloud.ReportNodeDrained] is their answer.
//
// Whatever takes a machine away is here, too: lifecycle hooks with their waits, spot interruptions ([Cloud.InterruptSpot]), scheduled events
// ([Cloud.ScheduleEvent]), rebalances of zones ([Cloud.RebalanceZones]), warm pools; and AWS says so by events, as far as [Cloud.LoseEvents] lets it.
//
// Databases (DB instances, Aurora clusters, their snapshots) have RDS's states, rules and events, the start after seven days among them. Their data
// is a [Backing]'s, if there is one: a change of state ends when its time is over and its data has followed.
//
// What it does not model it does not pretend: there are no scaling policies, no listeners (every target group counts as used by a load balancer), and
// a type of instance has no price. On a [RealClock] that runs faster, what AWS announces comes sooner than it says, since time stamps stay real.
package cloud
