package wire

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"drover.dev/sandbox/cloud"
)

const (
	nodegroupsPath = "/clusters/{clusterName}/node-groups"
	nodegroupPath  = nodegroupsPath + "/{nodegroupName}"
	nodegroupIDs   = "ClusterName NodegroupName "
)

var eksActions = map[string]action{
	"DescribeCluster": at("GET", "/clusters/{name}", on("Name",
		func(c *cloud.Cloud, in *eks.DescribeClusterInput) (*eks.DescribeClusterOutput, error) {
			k, err := c.DescribeCluster(aws.ToString(in.Name))
			return &eks.DescribeClusterOutput{Cluster: &types.Cluster{Name: &k.Name, Arn: &k.ARN, Version: &k.Version, CreatedAt: &k.Created, Status: types.ClusterStatusActive}}, err
		})),
	"CreateNodegroup": at("POST", nodegroupsPath, on(nodegroupIDs+`NodeRole Subnets AmiType CapacityType ClientRequestToken DiskSize InstanceTypes Labels LaunchTemplate ReleaseVersion
		ScalingConfig Tags Taints UpdateConfig Version`, createNodegroup)),
	"DescribeNodegroup": at("GET", nodegroupPath, on(nodegroupIDs,
		func(c *cloud.Cloud, in *eks.DescribeNodegroupInput) (*eks.DescribeNodegroupOutput, error) {
			n, err := c.DescribeNodegroup(aws.ToString(in.ClusterName), aws.ToString(in.NodegroupName))
			return &eks.DescribeNodegroupOutput{Nodegroup: showNodegroup(n)}, err
		})),
	"DeleteNodegroup": at("DELETE", nodegroupPath, on(nodegroupIDs,
		func(c *cloud.Cloud, in *eks.DeleteNodegroupInput) (*eks.DeleteNodegroupOutput, error) {
			n, err := c.DeleteNodegroup(aws.ToString(in.ClusterName), aws.ToString(in.NodegroupName))
			return &eks.DeleteNodegroupOutput{Nodegroup: showNodegroup(n)}, err
		})),
	"ListNodegroups": at("GET", nodegroupsPath, on("ClusterName MaxResults NextToken",
		func(c *cloud.Cloud, in *eks.ListNodegroupsInput) (*eks.ListNodegroupsOutput, error) {
			all, err := c.ListNodegroups(aws.ToString(in.ClusterName))
			if err != nil {
				return nil, err
			}
			shown, next, err := page(all, func(name string) string { return name }, in.NextToken, in.MaxResults, 100, 100)
			return &eks.ListNodegroupsOutput{Nodegroups: orEmpty(shown), NextToken: next}, err
		})),
	"UpdateNodegroupConfig": at("POST", nodegroupPath+"/update-config", on(nodegroupIDs+"ClientRequestToken Labels ScalingConfig Taints UpdateConfig", updateNodegroupConfig)),
	"UpdateNodegroupVersion": at("POST", nodegroupPath+"/update-version", on(nodegroupIDs+"ClientRequestToken Force LaunchTemplate ReleaseVersion Version",
		func(c *cloud.Cloud, in *eks.UpdateNodegroupVersionInput) (*eks.UpdateNodegroupVersionOutput, error) {
			u, err := c.UpdateNodegroupVersion(aws.ToString(in.ClusterName), aws.ToString(in.NodegroupName), aws.ToString(in.Version), aws.ToString(in.ReleaseVersion),
				readNodeTemplate(in.LaunchTemplate), in.Force)
			return &eks.UpdateNodegroupVersionOutput{Update: showUpdate(u)}, err
		})),
	"DescribeUpdate": at("GET", "/clusters/{name}/updates/{updateId}", on("Name UpdateId NodegroupName",
		func(c *cloud.Cloud, in *eks.DescribeUpdateInput) (*eks.DescribeUpdateOutput, error) {
			if in.NodegroupName == nil {
				return nil, cloud.NotSimulated("updates of clusters", "DescribeUpdate")
			}
			u, err := c.DescribeUpdate(aws.ToString(in.Name), *in.NodegroupName, aws.ToString(in.UpdateId))
			return &eks.DescribeUpdateOutput{Update: showUpdate(u)}, err
		})),
}

func createNodegroup(c *cloud.Cloud, in *eks.CreateNodegroupInput) (*eks.CreateNodegroupOutput, error) {
	n := cloud.Nodegroup{
		Cluster: aws.ToString(in.ClusterName), Name: aws.ToString(in.NodegroupName), Version: aws.ToString(in.Version), Release: aws.ToString(in.ReleaseVersion),
		Template: readNodeTemplate(in.LaunchTemplate), InstanceTypes: in.InstanceTypes, Subnets: in.Subnets, AMIType: string(in.AmiType), CapacityType: string(in.CapacityType),
		DiskSize: int(aws.ToInt32(in.DiskSize)), Role: aws.ToString(in.NodeRole), Min: 1, Max: 2, Desired: 2, // EKS's own sizes for those who give none
		Labels: in.Labels, Taints: list(in.Taints, readTaint), Pace: readPace(in.UpdateConfig), Tags: in.Tags,
	}
	if s := in.ScalingConfig; s != nil {
		n.Min, n.Max = int(aws.ToInt32(s.MinSize)), int(aws.ToInt32(s.MaxSize))
		n.Desired = n.Min
		if s.DesiredSize != nil {
			n.Desired = int(*s.DesiredSize)
		}
	}
	n, err := c.CreateNodegroup(n, aws.ToString(in.ClientRequestToken))
	return &eks.CreateNodegroupOutput{Nodegroup: showNodegroup(n)}, err
}

func updateNodegroupConfig(c *cloud.Cloud, in *eks.UpdateNodegroupConfigInput) (*eks.UpdateNodegroupConfigOutput, error) {
	change := cloud.NodegroupChange{}
	if s := in.ScalingConfig; s != nil {
		change.Min, change.Max, change.Desired = integer(s.MinSize), integer(s.MaxSize), integer(s.DesiredSize)
	}
	if in.Labels != nil {
		change.AddLabels, change.RemoveLabels = in.Labels.AddOrUpdateLabels, in.Labels.RemoveLabels
	}
	if in.Taints != nil {
		change.AddTaints, change.RemoveTaints = list(in.Taints.AddOrUpdateTaints, readTaint), list(in.Taints.RemoveTaints, readTaint)
	}
	if in.UpdateConfig != nil {
		change.Pace = new(readPace(in.UpdateConfig))
	}
	u, err := c.UpdateNodegroupConfig(aws.ToString(in.ClusterName), aws.ToString(in.NodegroupName), change)
	return &eks.UpdateNodegroupConfigOutput{Update: showUpdate(u)}, err
}

func readNodeTemplate(t *types.LaunchTemplateSpecification) cloud.TemplateSpec {
	if t == nil {
		return cloud.TemplateSpec{}
	}
	return cloud.TemplateSpec{ID: aws.ToString(t.Id), Name: aws.ToString(t.Name), Version: aws.ToString(t.Version)}
}

func readPace(u *types.NodegroupUpdateConfig) cloud.Pace {
	if u == nil {
		return cloud.Pace{}
	}
	return cloud.Pace{MaxUnavailable: int(aws.ToInt32(u.MaxUnavailable)), Percentage: int(aws.ToInt32(u.MaxUnavailablePercentage)), Strategy: string(u.UpdateStrategy)}
}

// effects are EKS's words for the effects of taints, by Kubernetes' own.
var effects = map[string]types.TaintEffect{
	"NoSchedule": types.TaintEffectNoSchedule, "NoExecute": types.TaintEffectNoExecute, "PreferNoSchedule": types.TaintEffectPreferNoSchedule,
}

func readTaint(t types.Taint) cloud.NodeTaint {
	effect := string(t.Effect)
	for ours, theirs := range effects {
		if theirs == t.Effect {
			effect = ours
		}
	}
	return cloud.NodeTaint{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value), Effect: effect}
}

func showNodegroup(n cloud.Nodegroup) *types.Nodegroup {
	out := &types.Nodegroup{
		ClusterName: &n.Cluster, NodegroupName: &n.Name, NodegroupArn: &n.ARN, Status: types.NodegroupStatus(n.Status), Version: &n.Version, ReleaseVersion: &n.Release,
		AmiType: types.AMITypes(n.AMIType), CapacityType: types.CapacityTypes(n.CapacityType), NodeRole: &n.Role, Subnets: n.Subnets, InstanceTypes: n.InstanceTypes,
		ScalingConfig: &types.NodegroupScalingConfig{MinSize: i32(n.Min), MaxSize: i32(n.Max), DesiredSize: i32(n.Desired)},
		UpdateConfig: &types.NodegroupUpdateConfig{
			MaxUnavailable: bound(n.Pace.MaxUnavailable), MaxUnavailablePercentage: bound(n.Pace.Percentage), UpdateStrategy: types.NodegroupUpdateStrategies(n.Pace.Strategy),
		},
		Labels: n.Labels, Tags: n.Tags, DiskSize: bound(n.DiskSize), CreatedAt: &n.Created, ModifiedAt: &n.Modified,
		Taints: list(n.Taints, func(t cloud.NodeTaint) types.Taint {
			return types.Taint{Key: &t.Key, Value: optional(t.Value), Effect: effects[t.Effect]}
		}),
		Health: &types.NodegroupHealth{Issues: orEmpty(list(n.Issues, func(i cloud.NodegroupIssue) types.Issue {
			return types.Issue{Code: types.NodegroupIssueCode(i.Code), Message: &i.Message, ResourceIds: i.Resources}
		}))},
	}
	if n.Scaling != "" {
		out.Resources = &types.NodegroupResources{AutoScalingGroups: []types.AutoScalingGroup{{Name: &n.Scaling}}}
	}
	if n.Template.ID != "" {
		out.LaunchTemplate = &types.LaunchTemplateSpecification{Id: &n.Template.ID, Name: optional(n.Template.Name), Version: &n.Template.Version}
	}
	return out
}

func showUpdate(u cloud.NodegroupUpdate) *types.Update {
	return &types.Update{
		Id: &u.ID, Type: types.UpdateType(u.Type), Status: types.UpdateStatus(u.Status), CreatedAt: &u.Created,
		Params: orEmpty(list(u.Params, func(p cloud.UpdateParam) types.UpdateParam {
			return types.UpdateParam{Type: types.UpdateParamType(p.Type), Value: &p.Value}
		})),
		Errors: orEmpty(list(u.Errors, func(e cloud.NodegroupIssue) types.ErrorDetail {
			return types.ErrorDetail{ErrorCode: types.ErrorCode(e.Code), ErrorMessage: &e.Message, ResourceIds: e.Resources}
		})),
	}
}

// releaseParameter finds the Kubernetes version in the name of a public parameter that tells the newest AMI release.
func releaseParameter(name string) (version string, ok bool) {
	if rest, is := strings.CutPrefix(name, "/aws/service/eks/optimized-ami/"); is && strings.HasSuffix(rest, "/recommended/release_version") {
		version, _, ok = strings.Cut(rest, "/")
		return version, ok
	}
	if rest, is := strings.CutPrefix(name, "/aws/service/bottlerocket/aws-k8s-"); is && strings.HasSuffix(rest, "/latest/image_version") {
		version, _, ok = strings.Cut(rest, "/")
		return strings.TrimSuffix(version, "-nvidia"), ok
	}
	return "", false
}
