package wire

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	ast "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2t "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbt "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"drover.dev/sandbox/cloud"
)

// rig is a cloud on a virtual clock behind HTTP, with one client of each service.
type rig struct {
	t     *testing.T
	cloud *cloud.Cloud
	clock *cloud.VirtualClock
	url   string
	cfg   aws.Config
	as    *as.Client
	ec2   *ec2.Client
	elb   *elb.Client
	sts   *sts.Client

	mu    sync.Mutex
	calls []Call
}

var ctx = context.Background()

func newRig(t *testing.T) *rig {
	r := &rig{t: t, clock: cloud.NewVirtualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	r.cloud = cloud.New(cloud.Config{Clock: r.clock})
	server := httptest.NewServer(Handler(r.cloud, Options{Log: func(c Call) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, c)
	}}))
	t.Cleanup(server.Close)
	r.url = server.URL
	r.cfg = r.config("test")
	r.as, r.ec2, r.elb, r.sts = as.NewFromConfig(r.cfg), ec2.NewFromConfig(r.cfg), elb.NewFromConfig(r.cfg), sts.NewFromConfig(r.cfg)
	return r
}

// config is the SDK's own, retries included, but retrying at once.
func (r *rig) config(key string) aws.Config {
	return aws.Config{
		Region: r.cloud.Region(), BaseEndpoint: &r.url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: "test"}, nil
		}),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}
}

func ok[T any](t *testing.T) func(out T, err error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// same compares what a client got for a Describe with what the action answers when asked directly: every field that is sent
// must arrive under the name the SDK expects.
func (r *rig) same(service, name string, in, got any) {
	r.t.Helper()
	want, err := serviceOf(service, "").actions[name].run(r.cloud, in)
	if err != nil {
		r.t.Fatal(err)
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool {
		last := p.Last().String()
		return last == ".ResultMetadata" || last == ".noSmithyDocumentSerde"
	}, cmp.Ignore())
	if diff := cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
		r.t.Fatalf("%s does not survive the wire (-sent +received):\n%s", name, diff)
	}
}

func (r *rig) code(err error, want, text string) {
	r.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != want || !strings.Contains(api.ErrorMessage(), text) {
		r.t.Fatalf("got %v, want %s with %q", err, want, text)
	}
}

// fleet makes a template "nodes" with two versions, a target group "web", and a group "g" with three instances in it.
func (r *rig) fleet() (targetGroup string) {
	r.t.Helper()
	t := r.t
	ok[*ec2.CreateLaunchTemplateOutput](t)(r.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: new("nodes"), VersionDescription: new("first"),
		LaunchTemplateData: &ec2t.RequestLaunchTemplateData{
			ImageId: new("ami-1"), InstanceType: ec2t.InstanceTypeM5Large, UserData: new("ZWNobw=="), SecurityGroupIds: []string{"sg-1"}, KeyName: new("ops"),
			IamInstanceProfile: &ec2t.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: new("node")},
			TagSpecifications:  []ec2t.LaunchTemplateTagSpecificationRequest{{ResourceType: ec2t.ResourceTypeInstance, Tags: []ec2t.Tag{{Key: new("role"), Value: new("node")}}}},
		},
		TagSpecifications: []ec2t.TagSpecification{{ResourceType: ec2t.ResourceTypeLaunchTemplate, Tags: []ec2t.Tag{{Key: new("team"), Value: new("blue")}}}},
	}))
	v := ok[*ec2.CreateLaunchTemplateVersionOutput](t)(r.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: new("nodes"), SourceVersion: new("1"), LaunchTemplateData: &ec2t.RequestLaunchTemplateData{ImageId: new("ami-2")},
	}))
	if *v.LaunchTemplateVersion.VersionNumber != 2 || v.LaunchTemplateVersion.LaunchTemplateData.InstanceType != "m5.large" {
		t.Fatalf("version 2 is %+v", v.LaunchTemplateVersion)
	}
	tg := ok[*elb.CreateTargetGroupOutput](t)(r.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: new("web"), Port: new(int32(8080)), Protocol: elbt.ProtocolEnumHttp, HealthCheckPath: new("/ready"), Matcher: &elbt.Matcher{HttpCode: new("200-299")},
	})).TargetGroups[0].TargetGroupArn
	ok[*as.CreateAutoScalingGroupOutput](t)(r.as.CreateAutoScalingGroup(ctx, &as.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new("g"), MinSize: new(int32(1)), MaxSize: new(int32(8)), DesiredCapacity: new(int32(3)),
		LaunchTemplate:    &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes"), Version: new("$Latest")},
		AvailabilityZones: r.cloud.Zones(), TargetGroupARNs: []string{*tg}, HealthCheckGracePeriod: new(int32(30)),
		Tags: []ast.Tag{{Key: new("env"), Value: new("<staging> & \"more\""), PropagateAtLaunch: new(true)}},
	}))
	r.settle()
	return *tg
}

func (r *rig) settle() { r.clock.Advance(10 * time.Minute) }

func (r *rig) members() []ast.Instance {
	r.t.Helper()
	out := ok[*as.DescribeAutoScalingGroupsOutput](r.t)(r.as.DescribeAutoScalingGroups(ctx, &as.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"g"}}))
	return out.AutoScalingGroups[0].Instances
}

func (r *rig) names() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		out = append(out, strings.TrimSpace(c.Action+" "+c.Code))
	}
	return out
}

func TestEveryDescribeSurvivesTheWire(t *testing.T) {
	r := newRig(t)
	tg := r.fleet()
	ok[*as.CreateLaunchConfigurationOutput](t)(r.as.CreateLaunchConfiguration(ctx, &as.CreateLaunchConfigurationInput{
		LaunchConfigurationName: new("old"), ImageId: new("ami-0"), InstanceType: new("m5.large"), KeyName: new("ops"), UserData: new("ZWNobw=="),
	}))
	ok[*as.CreateAutoScalingGroupOutput](t)(r.as.CreateAutoScalingGroup(ctx, &as.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new("mixed"), MinSize: new(int32(0)), MaxSize: new(int32(4)), DesiredCapacity: new(int32(2)),
		VPCZoneIdentifier: new(r.cloud.Subnets()[0].ID + "," + r.cloud.Subnets()[1].ID), TerminationPolicies: []string{"OldestLaunchTemplate", "Default"},
		MixedInstancesPolicy: &ast.MixedInstancesPolicy{
			InstancesDistribution: &ast.InstancesDistribution{OnDemandPercentageAboveBaseCapacity: new(int32(50)), OnDemandBaseCapacity: new(int32(0))},
			LaunchTemplate: &ast.LaunchTemplate{
				LaunchTemplateSpecification: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes"), Version: new("1")},
				Overrides: []ast.LaunchTemplateOverrides{
					{InstanceType: new("c5.large"), LaunchTemplateSpecification: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes"), Version: new("2")}},
					{InstanceRequirements: &ast.InstanceRequirements{VCpuCount: &ast.VCpuCountRequest{Min: new(int32(4))}, MemoryMiB: &ast.MemoryMiBRequest{Min: new(int32(1024)), Max: new(int32(20000))}}},
				},
			},
		},
	}))
	ok[*as.SuspendProcessesOutput](t)(r.as.SuspendProcesses(ctx, &as.SuspendProcessesInput{AutoScalingGroupName: new("g"), ScalingProcesses: []string{"AZRebalance"}}))
	r.settle()
	first := *r.members()[0].InstanceId
	ok[*ec2.TerminateInstancesOutput](t)(r.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{first}}))
	r.clock.Advance(20 * time.Second)
	r.cloud.SetDrought(r.cloud.Zones()[0], "", true)

	check := func(service, name string, in, got any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r.same(service, name, in, got)
	}
	{
		in := &as.DescribeAutoScalingGroupsInput{Filters: []ast.Filter{{Name: new("tag:env"), Values: []string{"*"}}}}
		got, err := r.as.DescribeAutoScalingGroups(ctx, in)
		check("autoscaling", "DescribeAutoScalingGroups", in, got, err)
		if len(got.AutoScalingGroups) != 1 || *got.AutoScalingGroups[0].Tags[0].Value != "<staging> & \"more\"" {
			t.Fatalf("the filter or the tag is lost: %+v", got.AutoScalingGroups)
		}
	}
	{
		in := &as.DescribeAutoScalingGroupsInput{}
		got, err := r.as.DescribeAutoScalingGroups(ctx, in)
		check("autoscaling", "DescribeAutoScalingGroups", in, got, err)
		if len(got.AutoScalingGroups) != 2 {
			t.Fatalf("%d groups", len(got.AutoScalingGroups))
		}
	}
	{
		in := &as.DescribeAutoScalingInstancesInput{InstanceIds: []string{*r.members()[1].InstanceId}}
		got, err := r.as.DescribeAutoScalingInstances(ctx, in)
		check("autoscaling", "DescribeAutoScalingInstances", in, got, err)
		if len(got.AutoScalingInstances) != 1 {
			t.Fatalf("%d instances", len(got.AutoScalingInstances))
		}
	}
	{
		in := &as.DescribeScalingActivitiesInput{AutoScalingGroupName: new("g")}
		got, err := r.as.DescribeScalingActivities(ctx, in)
		check("autoscaling", "DescribeScalingActivities", in, got, err)
		if len(got.Activities) < 3 {
			t.Fatalf("%d activities", len(got.Activities))
		}
	}
	{
		in := &as.DescribeTagsInput{Filters: []ast.Filter{{Name: new("auto-scaling-group"), Values: []string{"g"}}}}
		got, err := r.as.DescribeTags(ctx, in)
		check("autoscaling", "DescribeTags", in, got, err)
	}
	{
		in := &as.DescribeLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("g")}
		got, err := r.as.DescribeLoadBalancerTargetGroups(ctx, in)
		check("autoscaling", "DescribeLoadBalancerTargetGroups", in, got, err)
		if *got.LoadBalancerTargetGroups[0].State != "InService" {
			t.Fatalf("state %s", *got.LoadBalancerTargetGroups[0].State)
		}
	}
	{
		in := &as.DescribeLaunchConfigurationsInput{}
		got, err := r.as.DescribeLaunchConfigurations(ctx, in)
		check("autoscaling", "DescribeLaunchConfigurations", in, got, err)
	}
	{
		in := &ec2.DescribeInstancesInput{Filters: []ec2t.Filter{{Name: new("tag:role"), Values: []string{"node"}}}}
		got, err := r.ec2.DescribeInstances(ctx, in)
		check("ec2", "DescribeInstances", in, got, err)
		if len(got.Reservations) < 5 {
			t.Fatalf("%d reservations", len(got.Reservations))
		}
	}
	{
		in := &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"nodes"}}
		got, err := r.ec2.DescribeLaunchTemplates(ctx, in)
		check("ec2", "DescribeLaunchTemplates", in, got, err)
	}
	{
		in := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: new("nodes"), Versions: []string{"$Latest", "$Default"}}
		got, err := r.ec2.DescribeLaunchTemplateVersions(ctx, in)
		check("ec2", "DescribeLaunchTemplateVersions", in, got, err)
		if len(got.LaunchTemplateVersions) != 2 || *got.LaunchTemplateVersions[0].VersionNumber != 2 {
			t.Fatalf("versions %+v", got.LaunchTemplateVersions)
		}
	}
	{
		in := &ec2.DescribeTagsInput{Filters: []ec2t.Filter{{Name: new("resource-type"), Values: []string{"instance"}}}}
		got, err := r.ec2.DescribeTags(ctx, in)
		check("ec2", "DescribeTags", in, got, err)
	}
	{
		in := &ec2.DescribeSubnetsInput{Filters: []ec2t.Filter{{Name: new("availability-zone"), Values: r.cloud.Zones()[:2]}}}
		got, err := r.ec2.DescribeSubnets(ctx, in)
		check("ec2", "DescribeSubnets", in, got, err)
		if len(got.Subnets) != 2 {
			t.Fatalf("%d subnets", len(got.Subnets))
		}
	}
	{
		in := &ec2.DescribeAvailabilityZonesInput{ZoneNames: r.cloud.Zones()[1:]}
		got, err := r.ec2.DescribeAvailabilityZones(ctx, in)
		check("ec2", "DescribeAvailabilityZones", in, got, err)
		if len(got.AvailabilityZones) != 2 {
			t.Fatalf("%d zones", len(got.AvailabilityZones))
		}
	}
	{
		in := &elb.DescribeTargetGroupsInput{Names: []string{"web"}}
		got, err := r.elb.DescribeTargetGroups(ctx, in)
		check("elasticloadbalancing", "DescribeTargetGroups", in, got, err)
	}
	{
		in := &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &tg}
		got, err := r.elb.DescribeTargetGroupAttributes(ctx, in)
		check("elasticloadbalancing", "DescribeTargetGroupAttributes", in, got, err)
	}
	{
		in := &elb.DescribeTargetHealthInput{TargetGroupArn: &tg}
		got, err := r.elb.DescribeTargetHealth(ctx, in)
		check("elasticloadbalancing", "DescribeTargetHealth", in, got, err)
		if len(got.TargetHealthDescriptions) < 3 {
			t.Fatalf("%d targets", len(got.TargetHealthDescriptions))
		}
	}
	{
		in := &sts.GetCallerIdentityInput{}
		got, err := r.sts.GetCallerIdentity(ctx, in)
		check("sts", "GetCallerIdentity", in, got, err)
	}
}

// TestEveryChangeArrives calls each changing action and looks for its effect in the cloud itself.
func TestEveryChangeArrives(t *testing.T) {
	r := newRig(t)
	tg := r.fleet()
	group := func() cloud.Group {
		all, err := r.cloud.DescribeAutoScalingGroups([]string{"g"}, nil)
		if err != nil || len(all) == 0 {
			return cloud.Group{}
		}
		return all[0]
	}
	first, second := *r.members()[0].InstanceId, *r.members()[1].InstanceId
	steps := []struct {
		name string
		do   func() error
		seen func() bool
	}{
		{"SetDesiredCapacity", func() error {
			_, err := r.as.SetDesiredCapacity(ctx, &as.SetDesiredCapacityInput{AutoScalingGroupName: new("g"), DesiredCapacity: new(int32(4)), HonorCooldown: new(false)})
			return err
		}, func() bool { return group().Desired == 4 }},
		{"UpdateAutoScalingGroup", func() error {
			_, err := r.as.UpdateAutoScalingGroup(ctx, &as.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("g"), MaxSize: new(int32(6)), DefaultCooldown: new(int32(60)),
				HealthCheckType: new("ELB"), HealthCheckGracePeriod: new(int32(45)), NewInstancesProtectedFromScaleIn: new(true), TerminationPolicies: []string{"OldestInstance"},
				VPCZoneIdentifier: new(r.cloud.Subnets()[0].ID), LaunchTemplate: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes"), Version: new("2")}})
			return err
		}, func() bool {
			g := group()
			return g.Max == 6 && g.Cooldown == time.Minute && g.HealthCheckType == "ELB" && g.HealthCheckGrace == 45*time.Second && g.ProtectNew &&
				slices.Equal(g.TerminationPolicies, []string{"OldestInstance"}) && slices.Equal(g.Zones, r.cloud.Zones()[:1]) && g.Source.Template.Version == "2"
		}},
		{"SuspendProcesses", func() error {
			_, err := r.as.SuspendProcesses(ctx, &as.SuspendProcessesInput{AutoScalingGroupName: new("g"), ScalingProcesses: []string{"Launch", "AZRebalance"}})
			return err
		}, func() bool { return len(group().Suspended) == 2 }},
		{"ResumeProcesses", func() error {
			_, err := r.as.ResumeProcesses(ctx, &as.ResumeProcessesInput{AutoScalingGroupName: new("g"), ScalingProcesses: []string{"Launch"}})
			return err
		}, func() bool { return len(group().Suspended) == 1 }},
		{"SetInstanceProtection", func() error {
			_, err := r.as.SetInstanceProtection(ctx, &as.SetInstanceProtectionInput{AutoScalingGroupName: new("g"), InstanceIds: []string{first}, ProtectedFromScaleIn: new(true)})
			return err
		}, func() bool { return group().Members[0].Protected }},
		{"SetInstanceHealth", func() error {
			_, err := r.as.SetInstanceHealth(ctx, &as.SetInstanceHealthInput{InstanceId: &second, HealthStatus: new("Unhealthy"), ShouldRespectGracePeriod: new(false)})
			return err
		}, func() bool { return group().Members[1].Unhealthy }},
		{"TerminateInstanceInAutoScalingGroup", func() error {
			out, err := r.as.TerminateInstanceInAutoScalingGroup(ctx, &as.TerminateInstanceInAutoScalingGroupInput{InstanceId: &first, ShouldDecrementDesiredCapacity: new(true)})
			if err == nil && !strings.Contains(*out.Activity.Cause, "shrinking the capacity from 4 to 3") {
				t.Errorf("cause %s", *out.Activity.Cause)
			}
			return err
		}, func() bool { return group().Desired == 3 && group().Members[0].State == cloud.Terminating }},
		{"CreateOrUpdateTags", func() error {
			_, err := r.as.CreateOrUpdateTags(ctx, &as.CreateOrUpdateTagsInput{Tags: []ast.Tag{{ResourceId: new("g"), ResourceType: new("auto-scaling-group"), Key: new("k"), Value: new("v"), PropagateAtLaunch: new(false)}}})
			return err
		}, func() bool { return slices.Contains(group().Tags, cloud.GroupTag{Group: "g", Key: "k", Value: "v"}) }},
		{"autoscaling DeleteTags", func() error {
			_, err := r.as.DeleteTags(ctx, &as.DeleteTagsInput{Tags: []ast.Tag{{ResourceId: new("g"), ResourceType: new("auto-scaling-group"), Key: new("k")}}})
			return err
		}, func() bool { return len(group().Tags) == 1 }},
		{"DetachLoadBalancerTargetGroups", func() error {
			_, err := r.as.DetachLoadBalancerTargetGroups(ctx, &as.DetachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("g"), TargetGroupARNs: []string{tg}})
			return err
		}, func() bool { return len(group().TargetGroups) == 0 }},
		{"AttachLoadBalancerTargetGroups", func() error {
			_, err := r.as.AttachLoadBalancerTargetGroups(ctx, &as.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("g"), TargetGroupARNs: []string{tg}})
			return err
		}, func() bool { return len(group().TargetGroups) == 1 }},
		{"ModifyTargetGroupAttributes", func() error {
			_, err := r.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &tg, Attributes: []elbt.TargetGroupAttribute{{Key: new("deregistration_delay.timeout_seconds"), Value: new("7")}}})
			return err
		}, func() bool {
			return r.cloud.TargetGroups()[0].Attributes["deregistration_delay.timeout_seconds"] == "7"
		}},
		{"RegisterTargets", func() error {
			_, err := r.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &tg, Targets: []elbt.TargetDescription{{Id: &second, Port: new(int32(9090))}}})
			return err
		}, func() bool {
			return slices.ContainsFunc(r.cloud.Targets(tg), func(t cloud.Target) bool { return t.Port == 9090 && t.State == cloud.StateInitial })
		}},
		{"DeregisterTargets", func() error {
			_, err := r.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &tg, Targets: []elbt.TargetDescription{{Id: &second, Port: new(int32(9090))}}})
			return err
		}, func() bool {
			return slices.ContainsFunc(r.cloud.Targets(tg), func(t cloud.Target) bool { return t.Port == 9090 && t.State == cloud.StateDraining })
		}},
		{"CreateTags", func() error {
			_, err := r.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{second}, Tags: []ec2t.Tag{{Key: new("k"), Value: new("v")}}})
			return err
		}, func() bool { i, _ := r.cloud.Instance(second); return i.Tags["k"] == "v" }},
		{"ec2 DeleteTags", func() error {
			_, err := r.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{second}, Tags: []ec2t.Tag{{Key: new("k")}}})
			return err
		}, func() bool { i, _ := r.cloud.Instance(second); return i.Tags["k"] == "" && i.Tags["role"] == "node" }},
		{"ModifyLaunchTemplate", func() error {
			out, err := r.ec2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateName: new("nodes"), DefaultVersion: new("2")})
			if err == nil && *out.LaunchTemplate.DefaultVersionNumber != 2 {
				t.Errorf("default is %d", *out.LaunchTemplate.DefaultVersionNumber)
			}
			return err
		}, func() bool { all, _ := r.cloud.DescribeLaunchTemplates(nil, nil, nil); return all[0].Default == 2 }},
		{"DeleteLaunchTemplate", func() error {
			_, err := r.ec2.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateName: new("nodes")})
			return err
		}, func() bool { all, _ := r.cloud.DescribeLaunchTemplates(nil, nil, nil); return len(all) == 0 }},
		{"CreateLaunchConfiguration", func() error {
			_, err := r.as.CreateLaunchConfiguration(ctx, &as.CreateLaunchConfigurationInput{LaunchConfigurationName: new("lc"), ImageId: new("ami"), InstanceType: new("m5.large"), SpotPrice: new("1")})
			return err
		}, func() bool {
			all, _ := r.cloud.DescribeLaunchConfigurations(nil)
			return len(all) == 1 && all[0].Data.Spot
		}},
		{"DeleteLaunchConfiguration", func() error {
			_, err := r.as.DeleteLaunchConfiguration(ctx, &as.DeleteLaunchConfigurationInput{LaunchConfigurationName: new("lc")})
			return err
		}, func() bool { all, _ := r.cloud.DescribeLaunchConfigurations(nil); return len(all) == 0 }},
		{"DeleteAutoScalingGroup", func() error {
			_, err := r.as.DeleteAutoScalingGroup(ctx, &as.DeleteAutoScalingGroupInput{AutoScalingGroupName: new("g"), ForceDelete: new(true)})
			return err
		}, func() bool { return group().Status == "Delete in progress" }},
		{"DeleteTargetGroup", func() error {
			r.settle()
			_, err := r.elb.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: &tg})
			return err
		}, func() bool { return len(r.cloud.TargetGroups()) == 0 }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if !s.seen() {
			t.Fatalf("%s has no effect: %+v", s.name, group())
		}
	}
}

func TestPaging(t *testing.T) {
	r := newRig(t)
	r.fleet()
	ok[*as.SetDesiredCapacityOutput](t)(r.as.SetDesiredCapacity(ctx, &as.SetDesiredCapacityInput{AutoScalingGroupName: new("g"), DesiredCapacity: new(int32(8))}))
	r.settle()
	count := func(sizes []int) (n int) {
		for _, s := range sizes {
			n += s
		}
		return n
	}
	var sizes []int
	for p := ec2.NewDescribeInstancesPaginator(r.ec2, &ec2.DescribeInstancesInput{MaxResults: new(int32(5))}); p.HasMorePages(); {
		sizes = append(sizes, len(ok[*ec2.DescribeInstancesOutput](t)(p.NextPage(ctx)).Reservations))
	}
	if !slices.Equal(sizes, []int{5, 3}) {
		t.Fatalf("instances came in pages of %v", sizes)
	}
	sizes = nil
	for p := as.NewDescribeScalingActivitiesPaginator(r.as, &as.DescribeScalingActivitiesInput{MaxRecords: new(int32(3))}); p.HasMorePages(); {
		sizes = append(sizes, len(ok[*as.DescribeScalingActivitiesOutput](t)(p.NextPage(ctx)).Activities))
	}
	if !slices.Equal(sizes, []int{3, 3, 2}) {
		t.Fatalf("activities came in pages of %v", sizes)
	}
	sizes = nil
	for p := ec2.NewDescribeTagsPaginator(r.ec2, &ec2.DescribeTagsInput{MaxResults: new(int32(7))}); p.HasMorePages(); {
		sizes = append(sizes, len(ok[*ec2.DescribeTagsOutput](t)(p.NextPage(ctx)).Tags))
	}
	if got := count(sizes); got != 8*5+1 || len(sizes) != 6 {
		t.Fatalf("tags came in pages of %v", sizes)
	}
	for p := as.NewDescribeAutoScalingGroupsPaginator(r.as, &as.DescribeAutoScalingGroupsInput{MaxRecords: new(int32(1))}); p.HasMorePages(); {
		ok[*as.DescribeAutoScalingGroupsOutput](t)(p.NextPage(ctx))
	}
	_, err := r.as.DescribeAutoScalingGroups(ctx, &as.DescribeAutoScalingGroupsInput{NextToken: new("!")})
	r.code(err, "InvalidNextToken", "")
	_, err = r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: new(int32(4))})
	r.code(err, "InvalidParameterValue", "maxResults")
}

func TestThrottlingIsRetriedBySDK(t *testing.T) {
	r := newRig(t)
	r.fleet()
	r.cloud.Throttle("SetDesiredCapacity", 2)
	r.cloud.Throttle("DescribeInstances", 1)
	before := len(r.names())
	ok[*as.SetDesiredCapacityOutput](t)(r.as.SetDesiredCapacity(ctx, &as.SetDesiredCapacityInput{AutoScalingGroupName: new("g"), DesiredCapacity: new(int32(4))}))
	ok[*ec2.DescribeInstancesOutput](t)(r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{}))
	want := []string{"SetDesiredCapacity Throttling", "SetDesiredCapacity Throttling", "SetDesiredCapacity", "DescribeInstances RequestLimitExceeded", "DescribeInstances"}
	if got := r.names()[before:]; !slices.Equal(got, want) {
		t.Fatalf("calls %q, want %q", got, want)
	}
}

func TestErrorsSurface(t *testing.T) {
	r := newRig(t)
	r.fleet()
	_, err := r.as.SetDesiredCapacity(ctx, &as.SetDesiredCapacityInput{AutoScalingGroupName: new("g"), DesiredCapacity: new(int32(9))})
	r.code(err, "ValidationError", "New SetDesiredCapacity value 9 is above max value 8 for the AutoScalingGroup.")
	_, err = r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000000000000000"}})
	r.code(err, "InvalidInstanceID.NotFound", "does not exist")
	_, err = r.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: new("arn:none")})
	r.code(err, "TargetGroupNotFound", "")
	var notFound *elbt.TargetGroupNotFoundException
	if !errors.As(err, &notFound) {
		t.Fatalf("the SDK does not know %v as its own type", err)
	}

	expired := r.config("EXPIRED1")
	_, err = sts.NewFromConfig(expired).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	r.code(err, "ExpiredToken", "expired")
	_, err = ec2.NewFromConfig(expired).DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	r.code(err, "ExpiredToken", "expired")
	unsigned := r.config("test")
	unsigned.Credentials = aws.AnonymousCredentials{}
	_, err = as.NewFromConfig(unsigned).DescribeAutoScalingGroups(ctx, &as.DescribeAutoScalingGroupsInput{})
	r.code(err, "MissingAuthenticationToken", "")
}

func TestNotSimulatedSurfaces(t *testing.T) {
	r := newRig(t)
	r.fleet()
	_, err := r.as.CreateAutoScalingGroup(ctx, &as.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new("h"), MinSize: new(int32(1)), MaxSize: new(int32(1)), MaxInstanceLifetime: new(int32(86400)),
	})
	r.code(err, "NotSimulated", "the drover sandbox does not simulate MaxInstanceLifetime of CreateAutoScalingGroup")
	_, err = r.as.UpdateAutoScalingGroup(ctx, &as.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: new("g"), MixedInstancesPolicy: &ast.MixedInstancesPolicy{LaunchTemplate: &ast.LaunchTemplate{
			LaunchTemplateSpecification: &ast.LaunchTemplateSpecification{LaunchTemplateName: new("nodes")},
			Overrides:                   []ast.LaunchTemplateOverrides{{InstanceType: new("m5.large"), WeightedCapacity: new("2")}},
		}},
	})
	r.code(err, "NotSimulated", "MixedInstancesPolicy.LaunchTemplate.Overrides.WeightedCapacity of UpdateAutoScalingGroup")
	_, err = r.as.DetachInstances(ctx, &as.DetachInstancesInput{AutoScalingGroupName: new("g"), ShouldDecrementDesiredCapacity: new(true)})
	r.code(err, "NotSimulated", "DetachInstances of autoscaling")
	_, err = r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: new(true)})
	r.code(err, "NotSimulated", "DryRun of DescribeInstances")
	_, err = r.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: new("x"), LaunchTemplateData: &ec2t.RequestLaunchTemplateData{
		BlockDeviceMappings: []ec2t.LaunchTemplateBlockDeviceMappingRequest{{DeviceName: new("/dev/sda1")}},
	}})
	r.code(err, "NotSimulated", "LaunchTemplateData.BlockDeviceMappings.DeviceName of CreateLaunchTemplate")
	_, err = r.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{LoadBalancerArn: new("arn")})
	r.code(err, "NotSimulated", "LoadBalancerArn of DescribeTargetGroups")
}
