package aws_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// placed makes a group "app" of three that names its subnets, as those of a cluster do.
func (r *region) placed() {
	r.Helper()
	r.hand = r.connect(5)
	g := cloud.Group{Name: "app", Max: 10, Desired: 3, Source: cloud.Source{Template: cloud.TemplateSpec{ID: r.id, Version: "$Latest"}}}
	for _, s := range r.sim.Subnets() {
		g.Subnets = append(g.Subnets, s.ID)
	}
	r.ok(r.sim.CreateAutoScalingGroup(g))
	r.clock.Advance(5 * time.Minute)
}

func (r *region) limits(more map[string]int) []string {
	r.Helper()
	findings, err := r.hand.Limits(ctx, more)
	r.ok(err)
	var out []string
	for _, f := range findings {
		if strings.HasPrefix(f.Code, "limit-") == f.Blocks {
			r.Errorf("%s blocks: %v", f, f.Blocks)
		}
		out = append(out, f.Code+" "+f.String())
	}
	return out
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *region)
		want  string
	}{
		"none": {func(*region) {}, ""},
		"quota": {func(r *region) { r.sim.SetQuota(16) },
			"cpu-quota quota L-1216C47A: 12 vCPUs run on demand and 6 more are needed (app 3 x 2), the quota is 16"}, // 3 + 3 instances of 2 run
		"addresses": {func(r *region) {
			for _, zone := range r.sim.Zones() {
				r.sim.OccupyAddresses(zone, 249)
			}
		}, "subnet-addresses group app: 3 instances more need 3 addresses at least, its subnets have 0 free"},
		"offers": {func(r *region) {
			for _, zone := range r.sim.Zones() {
				r.sim.SetOffered(zone, "m5.large", false)
			}
		}, "type-not-offered group app: 3 of its 3 zones"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			r.placed()
			c.spoil(r)
			got := strings.Join(r.limits(map[string]int{"app": 3}), "\n")
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" || strings.Contains(got, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// What cannot be read is told, a missing right by name, and stops nothing.
func TestLimitsThatMayNotBeRead(t *testing.T) {
	for call, right := range map[string]string{
		"ec2:DescribeSubnets":                   "ec2:DescribeSubnets",
		"ec2:DescribeInstanceTypeOfferings":     "ec2:DescribeInstanceTypeOfferings",
		"ec2:DescribeInstanceTypes":             "ec2:DescribeInstanceTypes",
		"ec2:DescribeInstances":                 "ec2:DescribeInstances",
		"ec2:DescribeLaunchTemplateVersions":    "ec2:DescribeLaunchTemplateVersions",
		"servicequotas:GetServiceQuota":         "servicequotas:GetServiceQuota",
		"autoscaling:DescribeAutoScalingGroups": "",
	} {
		r := newRegion(t)
		r.placed()
		code := "UnauthorizedOperation"
		if strings.HasPrefix(call, "servicequotas:") {
			code = "AccessDeniedException"
		}
		r.sim.FailNext(call, &cloud.Error{Code: code, Message: "not authorized", Status: 403})
		if right == "" {
			if _, err := r.hand.Limits(ctx, map[string]int{"app": 1}); err == nil {
				t.Errorf("%s: no error", call)
			}
			continue
		}
		got := r.limits(map[string]int{"app": 1})
		if len(got) != 1 || !strings.Contains(got[0], "could not be checked: needs "+right+";") {
			t.Errorf("%s: %q", call, got)
		}
		r.sim.FailNext(call, &cloud.Error{Code: "InvalidParameterValue", Message: "broken", Status: 400})
		got = r.limits(map[string]int{"app": 1})
		if len(got) != 1 || !strings.Contains(got[0], "could not be checked: InvalidParameterValue: broken; plan again later") {
			t.Errorf("%s: %q", call, got)
		}
		expired := &cloud.Error{Code: "ExpiredTokenException", Message: "expired", Status: 403}
		r.sim.FailNext(call, expired)
		var fatal *fleet.Fatal
		if _, err := r.hand.Limits(ctx, map[string]int{"app": 1}); !errors.As(err, &fatal) {
			t.Errorf("%s: got %v, want that credentials are no good", call, err)
		}
	}
}

// An answer may lack what it is there for.
func TestLimitsOfEmptyAnswers(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	for call, want := range map[string]string{
		"ServiceQuotasV20190624.GetServiceQuota": "limit-unchecked the quota of vCPUs: could not be checked: AWS answers without a value",
		"AmazonSSM.GetParameter":                 "release-unknown group api: the newest AMI release is not known: parameter /aws/service/eks/",
		"GET /clusters/prod":                     "limit-unchecked the version that node group api is to have: could not be checked: describe cluster prod: AWS answers without its version",
		"GET /clusters/prod/node-groups/api":     "limit-unchecked the version that node group api is to have: could not be checked: AWS answers without the node group",
	} {
		r.silence(call)
		findings, err := r.hand.Limits(ctx, map[string]int{"api": 3})
		r.ok(err)
		if len(findings) != 1 || findings[0].Blocks || !strings.HasPrefix(findings[0].Code+" "+findings[0].String(), want) {
			t.Errorf("%s: %v", call, findings)
		}
	}
}

func TestLimitsOfAManagedGroup(t *testing.T) {
	r := newRegion(t)
	r.nodegroup("prod", "api", nil)
	if got := r.limits(map[string]int{"api": 3}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	denied := &cloud.Error{Code: "AccessDeniedException", Message: "not authorized", Status: 403}
	for call, want := range map[string]string{
		"ssm:GetParameter":      "release-unknown group api: the newest AMI release is not known: read parameter /aws/service/eks/",
		"eks:DescribeNodegroup": "limit-unchecked the version that node group api is to have: could not be checked: needs eks:DescribeNodegroup",
		"eks:DescribeCluster":   "limit-unchecked the version that node group api is to have: could not be checked: needs eks:DescribeNodegroup and eks:DescribeCluster",
	} {
		r.sim.FailNext(call, denied)
		findings, err := r.hand.Limits(ctx, map[string]int{"api": 3})
		r.ok(err)
		if len(findings) != 1 || findings[0].Blocks || !strings.HasPrefix(findings[0].Code+" "+findings[0].String(), want) {
			t.Errorf("%s: %v", call, findings)
		}
	}
}

func TestLimitsOfWhatIsNotThere(t *testing.T) {
	r := newRegion(t)
	if findings, err := r.hand.Limits(ctx, nil); err != nil || len(findings) > 0 {
		t.Errorf("of nothing: %v, %v", findings, err)
	}
	if _, err := r.hand.Limits(ctx, map[string]int{"nobody": 1}); err == nil || err.Error() != "group nobody does not exist" {
		t.Errorf("got %v", err)
	}
	findings, err := r.hand.Limits(ctx, map[string]int{"web": 1})
	r.ok(err)
	if !slices.ContainsFunc(findings, func(f fleet.Finding) bool { return strings.Contains(f.Reason, "it names no subnets") }) {
		t.Errorf("got %v", findings)
	}
}
