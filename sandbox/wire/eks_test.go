package wire

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	as "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2t "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekst "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"drover.dev/sandbox/cloud"
)

// nodegroup makes the cluster "prod" with a node group "web" through the client, and lets it settle.
func (r *rig) nodegroup() (*eks.Client, *ekst.Nodegroup) {
	r.t.Helper()
	r.cloud.AddCluster("prod", "1.33")
	client := eks.NewFromConfig(r.cfg)
	var subnets []string
	for _, s := range r.cloud.Subnets() {
		subnets = append(subnets, s.ID)
	}
	made := ok[*eks.CreateNodegroupOutput](r.t)(client.CreateNodegroup(ctx, &eks.CreateNodegroupInput{
		ClusterName: new("prod"), NodegroupName: new("web"), NodeRole: new("arn:aws:iam::123456789012:role/node"), Subnets: subnets, InstanceTypes: []string{"m5.large"},
		ScalingConfig: &ekst.NodegroupScalingConfig{MinSize: new(int32(1)), MaxSize: new(int32(4)), DesiredSize: new(int32(3))},
		Labels:        map[string]string{"pool": "<web> & \"more\""}, Tags: map[string]string{"team": "blue"}, DiskSize: new(int32(50)), CapacityType: ekst.CapacityTypesSpot,
		Taints:       []ekst.Taint{{Key: new("dedicated"), Value: new("web"), Effect: ekst.TaintEffectNoSchedule}},
		UpdateConfig: &ekst.NodegroupUpdateConfig{MaxUnavailable: new(int32(2))},
	}))
	if made.Nodegroup.Status != ekst.NodegroupStatusCreating {
		r.t.Fatalf("made %+v", made.Nodegroup)
	}
	r.settle()
	return client, ok[*eks.DescribeNodegroupOutput](r.t)(client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: new("prod"), NodegroupName: new("web")})).Nodegroup
}

func TestNodegroupsOverTheWire(t *testing.T) {
	r := newRig(t)
	client, n := r.nodegroup()
	if n.Status != ekst.NodegroupStatusActive || n.Labels["pool"] != "<web> & \"more\"" || *n.UpdateConfig.MaxUnavailable != 2 || *n.DiskSize != 50 || !n.CreatedAt.Before(*n.ModifiedAt) {
		t.Fatalf("node group %+v", n)
	}
	in := &eks.DescribeNodegroupInput{ClusterName: new("prod"), NodegroupName: new("web")}
	r.same("eks", "DescribeNodegroup", in, ok[*eks.DescribeNodegroupOutput](t)(client.DescribeNodegroup(ctx, in)))
	who := &eks.DescribeClusterInput{Name: new("prod")}
	r.same("eks", "DescribeCluster", who, ok[*eks.DescribeClusterOutput](t)(client.DescribeCluster(ctx, who)))
	names := ok[*eks.ListNodegroupsOutput](t)(client.ListNodegroups(ctx, &eks.ListNodegroupsInput{ClusterName: new("prod"), MaxResults: new(int32(1))}))
	if len(names.Nodegroups) != 1 || names.Nodegroups[0] != "web" {
		t.Fatalf("names %q", names.Nodegroups)
	}
	if effect := r.cloud.Instances()[0].Taints[0].Effect; effect != "NoSchedule" {
		t.Fatalf("effect %s", effect)
	}
	groups := ok[*as.DescribeAutoScalingGroupsOutput](t)(r.as.DescribeAutoScalingGroups(ctx, &as.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{*n.Resources.AutoScalingGroups[0].Name}}))
	if len(groups.AutoScalingGroups) != 1 || len(groups.AutoScalingGroups[0].Instances) != 3 {
		t.Fatalf("groups %+v", groups.AutoScalingGroups)
	}

	u := ok[*eks.UpdateNodegroupConfigOutput](t)(client.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{
		ClusterName: new("prod"), NodegroupName: new("web"), Labels: &ekst.UpdateLabelsPayload{AddOrUpdateLabels: map[string]string{"pool": "api"}},
		Taints: &ekst.UpdateTaintsPayload{RemoveTaints: n.Taints}, ScalingConfig: &ekst.NodegroupScalingConfig{DesiredSize: new(int32(2))},
	})).Update
	r.settle()
	asked := &eks.DescribeUpdateInput{Name: new("prod"), NodegroupName: new("web"), UpdateId: u.Id}
	done := ok[*eks.DescribeUpdateOutput](t)(client.DescribeUpdate(ctx, asked))
	r.same("eks", "DescribeUpdate", asked, done)
	after := ok[*eks.DescribeNodegroupOutput](t)(client.DescribeNodegroup(ctx, in)).Nodegroup
	if done.Update.Status != ekst.UpdateStatusSuccessful || after.Labels["pool"] != "api" || len(after.Taints) != 0 || *after.ScalingConfig.DesiredSize != 2 {
		t.Fatalf("update %+v, node group %+v", done.Update, after)
	}

	r.cloud.PublishRelease("1.33", "1.33.5-20261101")
	ok[*eks.UpdateNodegroupVersionOutput](t)(client.UpdateNodegroupVersion(ctx, &eks.UpdateNodegroupVersionInput{ClusterName: new("prod"), NodegroupName: new("web"), Force: true}))
	for range 20 {
		r.settle()
	}
	if after := ok[*eks.DescribeNodegroupOutput](t)(client.DescribeNodegroup(ctx, in)).Nodegroup; *after.ReleaseVersion != "1.33.5-20261101" || after.Status != ekst.NodegroupStatusActive {
		t.Fatalf("node group %+v", after)
	}
	ok[*eks.DeleteNodegroupOutput](t)(client.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: new("prod"), NodegroupName: new("web")}))
	r.settle()
	_, err := client.DescribeNodegroup(ctx, in)
	r.code(err, "ResourceNotFoundException", "No node group found for name: web.")
}

func TestEKSRefusesLoudly(t *testing.T) {
	r := newRig(t)
	client, _ := r.nodegroup()
	_, err := client.ListClusters(ctx, &eks.ListClustersInput{})
	r.code(err, "NotSimulated", "does not simulate GET /clusters of eks")
	_, err = client.CreateNodegroup(ctx, &eks.CreateNodegroupInput{
		ClusterName: new("prod"), NodegroupName: new("x"), NodeRole: new("r"), Subnets: []string{"s"}, RemoteAccess: &ekst.RemoteAccessConfig{Ec2SshKey: new("ops")},
	})
	r.code(err, "NotSimulated", "RemoteAccess.Ec2SshKey of CreateNodegroup")
	_, err = client.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: new("prod"), UpdateId: new("u")})
	r.code(err, "NotSimulated", "updates of clusters")
	_, err = servicequotas.NewFromConfig(r.cfg).GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: new("ec2"), QuotaCode: new("L-0")})
	r.code(err, "NotSimulated", "quota L-0 of ec2")
	_, err = servicequotas.NewFromConfig(r.cfg).ListServices(ctx, &servicequotas.ListServicesInput{})
	r.code(err, "NotSimulated", "ListServices of servicequotas")
	_, err = ssm.NewFromConfig(r.cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: new("/mine")})
	r.code(err, "NotSimulated", "parameter /mine")
}

func TestMalformedJSON(t *testing.T) {
	h := Handler(cloud.New(cloud.Config{}), Options{})
	for body, want := range map[string]string{
		`{`:                     "SerializationException",
		`{"subnets":"one"}`:     "The value for Subnets is invalid. Expected a list.",
		`{"diskSize":"many"}`:   "The value for DiskSize is invalid. Expected an integer.",
		`{"labels":{"a":1}}`:    "The value for Labels is invalid. Expected a map of texts.",
		`{"scalingConfig":[]}`:  "The value for ScalingConfig is invalid. Expected a structure.",
		`{"nodeRole":7}`:        "The value for NodeRole is invalid. Expected a text.",
		`{"colour":"red"}`:      "does not simulate colour of CreateNodegroup",
		`{"nodeRole":"r"}`:      "No cluster found for name: a b.",
		`{"ResultMetadata":{}}`: "does not simulate ResultMetadata",
	} {
		r := httptest.NewRequest("POST", "/clusters/a%20b/node-groups", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", strings.Replace(signedFor, "%s", "eks", 1))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s; want %s", body, w.Code, w.Body, want)
		}
	}
}

func TestLimitsOverTheWire(t *testing.T) {
	r := newRig(t)
	r.fleet()
	r.cloud.SetQuota(64)
	r.cloud.SetOffered(r.cloud.Zones()[1], "m5.large", false)
	r.cloud.OccupyAddresses(r.cloud.Zones()[0], 200)
	quota := ok[*servicequotas.GetServiceQuotaOutput](t)(servicequotas.NewFromConfig(r.cfg).GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{
		ServiceCode: new("ec2"), QuotaCode: new(cloud.StandardQuota),
	}))
	if *quota.Quota.Value != 64 {
		t.Errorf("quota %v", *quota.Quota.Value)
	}
	types := &ec2.DescribeInstanceTypesInput{InstanceTypes: []ec2t.InstanceType{"m5.large", "c5.xlarge"}}
	got := ok[*ec2.DescribeInstanceTypesOutput](t)(r.ec2.DescribeInstanceTypes(ctx, types))
	r.same("ec2", "DescribeInstanceTypes", types, got)
	if len(got.InstanceTypes) != 2 || *got.InstanceTypes[0].VCpuInfo.DefaultVCpus != 4 {
		t.Errorf("types %+v", got.InstanceTypes)
	}
	offers := &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: ec2t.LocationTypeAvailabilityZone, Filters: []ec2t.Filter{{Name: new("instance-type"), Values: []string{"m5.large"}}},
	}
	where := ok[*ec2.DescribeInstanceTypeOfferingsOutput](t)(r.ec2.DescribeInstanceTypeOfferings(ctx, offers))
	r.same("ec2", "DescribeInstanceTypeOfferings", offers, where)
	if len(where.InstanceTypeOfferings) != 2 {
		t.Errorf("offerings %+v", where.InstanceTypeOfferings)
	}
	subnets := ok[*ec2.DescribeSubnetsOutput](t)(r.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{}))
	if free := *subnets.Subnets[0].AvailableIpAddressCount; free != 50 { // 251, less 200 and the one instance there
		t.Errorf("%d addresses are free", free)
	}
	_, err := r.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []ec2t.InstanceType{"x9.huge"}})
	r.code(err, "InvalidInstanceType", "x9.huge")
	r.cloud.PublishRelease("1.33", "1.33.5-20261101")
	release := ok[*ssm.GetParameterOutput](t)(ssm.NewFromConfig(r.cfg).GetParameter(ctx, &ssm.GetParameterInput{
		Name: new("/aws/service/eks/optimized-ami/1.33/amazon-linux-2023/x86_64/standard/recommended/release_version"),
	}))
	if *release.Parameter.Value != "1.33.5-20261101" {
		t.Errorf("release %s", *release.Parameter.Value)
	}
}

func TestAWSCommandLineKnowsNodegroups(t *testing.T) {
	r := newRig(t)
	r.nodegroup()
	var got struct {
		Nodegroup struct {
			NodegroupName, Status, ReleaseVersion string
			ScalingConfig                         struct{ DesiredSize int }
			Labels                                map[string]string
		}
	}
	r.awsJSON(&got, "eks", "describe-nodegroup", "--cluster-name", "prod", "--nodegroup-name", "web")
	if n := got.Nodegroup; n.Status != "ACTIVE" || n.ScalingConfig.DesiredSize != 3 || n.Labels["pool"] != "<web> & \"more\"" {
		t.Fatalf("node group %+v", n)
	}
	r.awsJSON(nil, "eks", "update-nodegroup-config", "--cluster-name", "prod", "--nodegroup-name", "web", "--scaling-config", "desiredSize=4")
	r.settle()
	r.awsJSON(&got, "eks", "describe-nodegroup", "--cluster-name", "prod", "--nodegroup-name", "web")
	if got.Nodegroup.ScalingConfig.DesiredSize != 4 {
		t.Fatalf("node group %+v", got.Nodegroup)
	}
	var quota struct{ Quota struct{ Value float64 } }
	r.awsJSON(&quota, "service-quotas", "get-service-quota", "--service-code", "ec2", "--quota-code", cloud.StandardQuota)
	if quota.Quota.Value != 1152 {
		t.Fatalf("quota %+v", quota)
	}
	_, errs, err := r.awsCLI("eks", "describe-nodegroup", "--cluster-name", "prod", "--nodegroup-name", "none")
	if err == nil || !strings.Contains(errs, "(ResourceNotFoundException)") || !strings.Contains(errs, "No node group found for name: none.") {
		t.Errorf("%v, %s", err, errs)
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"nodeRole":"r","subnets":[null],"taints":[null],"scalingConfig":{"minSize":null,"desiredSize":1e3}}`,
		`{"labels":{"":""},"tags":null,"updateConfig":{"maxUnavailable":-1},"launchTemplate":{}}`,
		`{"scalingConfig":{"minSize":0,"maxSize":1,"desiredSize":99999999999}}`,
		`{"nodeRepairConfig":{"enabled":true},"warmPoolConfig":7}`,
		`[]`, `null`, `"x"`, ` `, `{"a":{"a":{"a":[[[]]]}}}`,
	} {
		f.Add("web", seed)
	}
	f.Add("..%2f", `{}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		c := cloud.New(cloud.Config{Clock: cloud.NewVirtualClock(cloud.RealClock(1).Now())})
		c.AddCluster("prod", "1.33")
		h := Handler(c, Options{})
		for _, path := range []string{"", "/" + url.PathEscape(name), "/" + url.PathEscape(name) + "/update-config", "/" + url.PathEscape(name) + "/update-version"} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				r := httptest.NewRequest(method, "/clusters/prod/node-groups"+path, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", strings.Replace(signedFor, "%s", "eks", 1))
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
					t.Fatalf("%s %s answered %d: %s", method, path, w.Code, w.Body)
				}
			}
		}
	})
}

func TestANodegroupWithoutAnAutoScalingGroupOverTheWire(t *testing.T) {
	r := newRig(t)
	client, n := r.nodegroup()
	r.cloud.FailNodegroup("Ec2SubnetNotFound", "no such subnet")
	ok[*eks.CreateNodegroupOutput](t)(client.CreateNodegroup(ctx, &eks.CreateNodegroupInput{ClusterName: n.ClusterName, NodegroupName: new("next"), NodeRole: n.NodeRole, Subnets: n.Subnets}))
	r.settle()
	n = ok[*eks.DescribeNodegroupOutput](t)(client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: n.ClusterName, NodegroupName: new("next")})).Nodegroup
	if n.Status != ekst.NodegroupStatusCreateFailed || n.Resources != nil || len(n.Health.Issues) != 1 || n.Health.Issues[0].Code != ekst.NodegroupIssueCodeEc2SubnetNotFound {
		t.Errorf("node group %+v", n)
	}
}
