package aws

// Right is one action of IAM that drover has to be allowed.
type Right struct {
	Action string // as IAM writes it
	On     Scope
	For    string
}

// Scope is what a policy can limit an action to.
type Scope string

// The scopes.
const (
	OnAll     Scope = "all"          // IAM knows nothing narrower for it
	OnGroups  Scope = "groups"       // Auto Scaling groups: GroupCondition limits them to the cluster's
	OnTargets Scope = "targets"      // target groups
	OnQueue   Scope = "queue"        // the queue of notices
	OnLetters Scope = "dead-letters" // the queue for its dead letters
	OnCluster Scope = "cluster"      // the EKS cluster and its node groups
	OnPublic  Scope = "public"       // parameters that AWS publishes

	OnDatabases Scope = "databases" // the environments' databases
	OnMarked    Scope = "marked"    // those of them that an environment has marked, which it does before it switches them
	OnBucket    Scope = "bucket"    // the bucket of records itself
	OnObjects   Scope = "objects"   // what is in it, below a prefix
	OnRole      Scope = "role"      // the role of the cluster's nodes
)

// MarkedCondition is the condition, by the operator StringLike, under which an action on databases is one on those that an environment has marked.
func MarkedCondition(environment string) (key, value string) {
	return "aws:ResourceTag/" + environmentTag, environment + " *"
}

// GroupCondition is the condition, and its value, under which an action on groups is one on the groups of a cluster: by the tag that its nodes need
// anyway. Groups that somebody tagged as shared are not in it.
func GroupCondition(cluster string) (key, value string) {
	return "autoscaling:ResourceTag/" + ownerTag + cluster, "owned"
}

// NoticeActions are all that a controller does in AWS: it takes notices in, empties nodes, answers hooks, and begins rotations of single nodes.
// Without one of them it does the rest, and says what is missing; only without DescribeAutoScalingGroups it sees nothing. sts:GetCallerIdentity
// needs no right.
var NoticeActions = []Right{
	{"sqs:GetQueueUrl", OnQueue, "find the queue by its name"},
	{"sqs:GetQueueAttributes", OnQueue, "how full it is, and where its dead letters go"},
	{"sqs:ReceiveMessage", OnQueue, "hear of what happens to instances"},
	{"sqs:DeleteMessage", OnQueue, "be done with what is on file"},
	{"sqs:ChangeMessageVisibility", OnQueue, "leave the messages of other clusters to them"},
	{"sqs:SendMessage", OnLetters, "set aside what nobody understands"},

	{"autoscaling:DescribeAutoScalingGroups", OnAll, "which groups and instances there are, and what they wait for"},
	{"autoscaling:DescribeAutoScalingInstances", OnAll, "look again before an instance is closed"},
	{"autoscaling:DescribeLifecycleHooks", OnAll, "what holds an instance, and for how long"},
	{"autoscaling:DescribeWarmPool", OnAll, "which instances a hook holds on their way into a warm pool or back"},
	{"autoscaling:DescribeScalingActivities", OnAll, "why an instance went: drover history"},
	{"autoscaling:RecordLifecycleActionHeartbeat", OnGroups, "have a hook hold an instance longer"},
	{"autoscaling:CompleteLifecycleAction", OnGroups, "let an instance go when its node is empty, or into service when it is Ready"},
	{"autoscaling:TerminateInstanceInAutoScalingGroup", OnGroups, "close an instance that is empty"},
	{"autoscaling:SetDesiredCapacity", OnGroups, "have the replacement come first"},
	{"autoscaling:SuspendProcesses", OnGroups, "keep zones from being evened out meanwhile"},
	{"autoscaling:ResumeProcesses", OnGroups, "let that go on"},
	{"autoscaling:CreateOrUpdateTags", OnGroups, "the journal of a rotation"},
	{"autoscaling:DeleteTags", OnGroups, "the journal of a rotation"},
	{"autoscaling:EnterStandby", OnGroups, "keep an instance, out of service"},
	{"autoscaling:ExitStandby", OnGroups, "put it back"},

	{"ec2:DescribeInstances", OnAll, "whose instance it is, whether it is gone, whether it is spot"},
	{"ec2:DescribeInstanceStatus", OnAll, "what EC2 has scheduled for instances"},
	{"ec2:DescribeSpotInstanceRequests", OnAll, "which spot instances EC2 takes back, where no message told"},
	{"ec2:DescribeLaunchTemplates", OnAll, "what a group launches from"},

	{"elasticloadbalancing:DescribeTargetGroups", OnAll, "where instances are targets"},
	{"elasticloadbalancing:DescribeTargetGroupAttributes", OnAll, "how long requests in flight may take"},
	{"elasticloadbalancing:DescribeTargetHealth", OnAll, "whether an instance is out of its load balancers"},
	{"elasticloadbalancing:DeregisterTargets", OnTargets, "take it out of them"},
	{"elasticloadbalancing:RegisterTargets", OnTargets, "put it back when it stays after all"},

	{"eks:DescribeCluster", OnCluster, "what a managed node group is to run"},
	{"eks:DescribeNodegroup", OnCluster, "what a managed node group runs"},
	{"ssm:GetParameter", OnPublic, "the newest release of EKS's images: parameters under /aws/service/, which are public"},
}

// SwitchActions are all that switching an environment's groups off and on takes in AWS. Who rotates only needs none that NoticeActions has not.
var SwitchActions = []Right{
	{"autoscaling:DescribeAutoScalingGroups", OnAll, "which groups and instances there are"},
	{"autoscaling:DescribeAutoScalingInstances", OnAll, "look again before an instance is closed"},
	{"autoscaling:CreateOrUpdateTags", OnGroups, "how a group was, on the group itself"},
	{"autoscaling:DeleteTags", OnGroups, "take that off again"},
	{"autoscaling:UpdateAutoScalingGroup", OnGroups, "lower the minimum of a group, and set it back"},
	{"autoscaling:SetDesiredCapacity", OnGroups, "have a group's nodes come back"},
	{"autoscaling:SetInstanceProtection", OnGroups, "keep AWS from ending the nodes that stay"},
	{"autoscaling:SuspendProcesses", OnGroups, "keep zones from being evened out meanwhile"},
	{"autoscaling:ResumeProcesses", OnGroups, "let that go on"},
	{"autoscaling:TerminateInstanceInAutoScalingGroup", OnGroups, "close an instance that is empty"},
	{"ec2:DescribeInstances", OnAll, "when an instance was launched"},
	{"ec2:DescribeLaunchTemplates", OnAll, "what a group launches from"},
	{"elasticloadbalancing:DescribeTargetGroups", OnAll, "where instances are targets"},
	{"elasticloadbalancing:DescribeTargetGroupAttributes", OnAll, "how long requests in flight may take"},
	{"elasticloadbalancing:DescribeTargetHealth", OnAll, "whether an instance is out of its load balancers"},
	{"elasticloadbalancing:DeregisterTargets", OnTargets, "take it out of them"},
	{"eks:DescribeCluster", OnCluster, "what a managed node group is to run"},
	{"eks:DescribeNodegroup", OnCluster, "the sizes of a managed node group, and whether EKS is changing it"},
	{"eks:UpdateNodegroupConfig", OnCluster, "the sizes of a managed node group"},
	{"ssm:GetParameter", OnPublic, "the newest release of EKS's images"},
}

// DatabaseActions are what switching an environment's databases takes besides. Only an environment with databases needs them.
var DatabaseActions = []Right{
	{"rds:DescribeDBInstances", OnAll, "the state of databases, and why RDS cannot stop one"},
	{"rds:DescribeDBClusters", OnAll, "the state of clusters"},
	{"rds:AddTagsToResource", OnDatabases, "say on a database who switched it off"},
	{"rds:RemoveTagsFromResource", OnMarked, "take that off again"},
	{"rds:StopDBInstance", OnMarked, "stop a database"},
	{"rds:StartDBInstance", OnMarked, "start it"},
	{"rds:StopDBCluster", OnMarked, "stop a cluster"},
	{"rds:StartDBCluster", OnMarked, "start it"},
	{"rds:ModifyDBCluster", OnMarked, "lower the least capacity of a Serverless v2 cluster, and set it back"},
}

// ArchiveActions are what a second copy of records in a bucket takes. Only who keeps it there needs them.
var ArchiveActions = []Right{
	{"s3:ListBucket", OnBucket, "which records there are; without it a missing one looks like a missing right"},
	{"s3:GetObject", OnObjects, "read a record"},
	{"s3:PutObject", OnObjects, "write one"},
}

// IsolateActions are what making a node group for one environment takes. iam:PassRole and ec2:RunInstances are no calls of drover's: EKS asks whether who
// names a role and a launch template may use them.
var IsolateActions = []Right{
	{"autoscaling:DescribeAutoScalingGroups", OnAll, "find the group that is shared"},
	{"eks:DescribeNodegroup", OnCluster, "what to take over from it"},
	{"eks:CreateNodegroup", OnCluster, "make the new one"},
	{"eks:TagResource", OnCluster, "with its tags"},
	{"iam:PassRole", OnRole, "give the new nodes the role of the shared ones"},
	{"ec2:RunInstances", OnAll, "have EKS launch from the launch template of the shared group, where it has one"},
}
