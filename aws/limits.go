package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"drover.dev/fleet"
)

// standardQuota is the quota for vCPUs of running on-demand instances of the standard families.
const standardQuota = "L-1216C47A"

// Limits says what would keep groups from having so many instances more at once, by group, apart from their own maximum: addresses in their
// subnets, what their zones offer, the account's quota of vCPUs. What cannot be read is a finding that does not block; only a group that cannot
// be found, and credentials that are no good, are an error.
func (c *Cloud) Limits(ctx context.Context, more map[string]int) ([]fleet.Finding, error) {
	if len(more) == 0 {
		return nil, nil
	}
	l := &limits{subnets: map[string]subnet{}, offered: map[capacity]bool{}, types: map[string]shape{}}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		groups, err := c.find(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		if len(groups) == 0 {
			return nil, fmt.Errorf("group %s does not exist", name)
		}
		if err := c.learnGrowth(ctx, l, &groups[0], more[name]); err != nil {
			return nil, err
		}
	}
	for _, learn := range []func(context.Context, *limits) error{c.learnSubnets, c.learnOffers, c.learnQuota} {
		if err := learn(ctx, l); err != nil {
			return nil, err
		}
	}
	return l.judge(), nil
}

// tolerate turns an error into a gap: these checks give advice. What no further call would survive stays an error.
func (l *limits) tolerate(ctx context.Context, err error, what, right string) error {
	g, err := gapOf(ctx, err, what, right)
	if g != nil {
		l.gaps = append(l.gaps, *g)
	}
	return err
}

func (c *Cloud) learnGrowth(ctx context.Context, l *limits, f *found, more int) error {
	raw := &f.raw
	g := growth{
		name: f.name, more: more, zones: slices.Sorted(slices.Values(raw.AvailabilityZones)), spot: spotOnly(raw),
	}
	for _, id := range strings.Split(sdk.ToString(raw.VPCZoneIdentifier), ",") {
		if id = strings.TrimSpace(id); id != "" {
			g.subnets = append(g.subnets, id)
		}
	}
	var err error
	if g.types, err = c.typesOf(ctx, l, raw); err != nil {
		return err
	}
	if f.nodegroup != "" {
		n, err := c.nodegroupUnder(ctx, f)
		if err == nil && n != nil {
			_, g.unknown, err = c.latest(ctx, n, newAdvice())
		}
		if err := l.tolerate(ctx, err, "the version that node group "+f.name+" is to have", "eks:DescribeNodegroup and eks:DescribeCluster"); err != nil {
			return err
		}
	}
	l.groups = append(l.groups, g)
	return nil
}

// spotOnly tells whether a group launches no instance on demand, as far as its mixed instances policy says.
func spotOnly(raw *astypes.AutoScalingGroup) bool {
	if raw.MixedInstancesPolicy == nil || raw.MixedInstancesPolicy.InstancesDistribution == nil {
		return false
	}
	d := raw.MixedInstancesPolicy.InstancesDistribution
	return d.OnDemandPercentageAboveBaseCapacity != nil && *d.OnDemandPercentageAboveBaseCapacity == 0 && sdk.ToInt32(d.OnDemandBaseCapacity) == 0
}

// typesOf lists the instance types that a group may launch: those its policy names, else its launch template's, else those it has.
func (c *Cloud) typesOf(ctx context.Context, l *limits, raw *astypes.AutoScalingGroup) ([]string, error) {
	out := map[string]bool{}
	for _, w := range wants(raw) {
		for _, t := range w.Types {
			out[t] = true
		}
		if len(w.Types) > 0 || w.ID == "" {
			continue
		}
		answer, err := c.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &w.ID, Versions: []string{w.Version}})
		if err := l.tolerate(ctx, err, "the instance type in "+w.String(), "ec2:DescribeLaunchTemplateVersions"); err != nil {
			return nil, err
		}
		if err != nil {
			continue
		}
		for _, v := range answer.LaunchTemplateVersions {
			if v.LaunchTemplateData != nil && v.LaunchTemplateData.InstanceType != "" {
				out[string(v.LaunchTemplateData.InstanceType)] = true
			}
		}
	}
	if len(out) == 0 {
		for _, in := range raw.Instances {
			out[sdk.ToString(in.InstanceType)] = true
		}
	}
	return slices.Sorted(maps.Keys(out)), nil
}

func (c *Cloud) learnSubnets(ctx context.Context, l *limits) error {
	var ids []string
	for _, g := range l.groups {
		ids = append(ids, g.subnets...)
	}
	slices.Sort(ids)
	for some := range slices.Chunk(slices.Compact(ids), instancesAtOnce) {
		pages := ec2.NewDescribeSubnetsPaginator(c.ec2, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: sdk.String("subnet-id"), Values: some}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				l.noSubnets = true
				return l.tolerate(ctx, err, "the free addresses of subnets", "ec2:DescribeSubnets")
			}
			for _, s := range page.Subnets {
				l.subnets[sdk.ToString(s.SubnetId)] = subnet{sdk.ToString(s.AvailabilityZone), int(sdk.ToInt32(s.AvailableIpAddressCount))}
			}
		}
	}
	return nil
}

func (c *Cloud) learnOffers(ctx context.Context, l *limits) error {
	for some := range slices.Chunk(l.typesWanted(), instancesAtOnce) {
		pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(c.ec2, &ec2.DescribeInstanceTypeOfferingsInput{
			LocationType: ec2types.LocationTypeAvailabilityZone, Filters: []ec2types.Filter{{Name: sdk.String("instance-type"), Values: some}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				l.noOffers = true
				return l.tolerate(ctx, err, "which zones offer which instance types", "ec2:DescribeInstanceTypeOfferings")
			}
			for _, o := range page.InstanceTypeOfferings {
				l.offered[capacity{sdk.ToString(o.Location), string(o.InstanceType)}] = true
			}
		}
	}
	return nil
}

// learnQuota learns the quota of vCPUs and how many are in use, for which it has to know the types of all that runs.
func (c *Cloud) learnQuota(ctx context.Context, l *limits) error {
	running, err := c.runningTypes(ctx)
	if err != nil {
		l.noQuota = true
		return l.tolerate(ctx, err, "the instances that run", "ec2:DescribeInstances")
	}
	if err := c.learnTypes(ctx, l, slices.Concat(l.typesWanted(), slices.Collect(maps.Keys(running)))); err != nil {
		l.noQuota = true
		return l.tolerate(ctx, err, "the vCPUs of instance types", "ec2:DescribeInstanceTypes")
	}
	for kind, n := range running {
		if standard(kind) {
			l.used += n * l.types[kind].cpus
		}
	}
	out, err := c.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: sdk.String("ec2"), QuotaCode: sdk.String(standardQuota)})
	if err == nil && (out.Quota == nil || out.Quota.Value == nil) {
		err = errors.New("AWS answers without a value")
	}
	if err != nil {
		l.noQuota = true
		return l.tolerate(ctx, err, "the quota of vCPUs", "servicequotas:GetServiceQuota")
	}
	l.quota = int(*out.Quota.Value)
	return nil
}

// runningTypes counts the on-demand instances of the region that are up or coming up, by type.
func (c *Cloud) runningTypes(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: sdk.String("instance-state-name"), Values: []string{"pending", "running"}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, in := range r.Instances {
				if in.InstanceLifecycle == "" { // neither spot nor in a capacity block
					out[string(in.InstanceType)]++
				}
			}
		}
	}
	return out, nil
}

// learnTypes asks by filter: a type that EC2 does not know is left out of the answer, where by name it would spoil all of it.
func (c *Cloud) learnTypes(ctx context.Context, l *limits, names []string) error {
	slices.Sort(names)
	for some := range slices.Chunk(slices.Compact(names), instancesAtOnce) {
		pages := ec2.NewDescribeInstanceTypesPaginator(c.ec2, &ec2.DescribeInstanceTypesInput{Filters: []ec2types.Filter{{Name: sdk.String("instance-type"), Values: some}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, t := range page.InstanceTypes {
				var s shape
				if t.VCpuInfo != nil {
					s.cpus = int(sdk.ToInt32(t.VCpuInfo.DefaultVCpus))
				}
				if t.NetworkInfo != nil {
					s.addresses = int(sdk.ToInt32(t.NetworkInfo.Ipv4AddressesPerInterface))
				}
				l.types[string(t.InstanceType)] = s
			}
		}
	}
	return nil
}

// typesWanted lists the types that any of the groups may launch.
func (l *limits) typesWanted() []string {
	out := map[string]bool{}
	for _, g := range l.groups {
		for _, t := range g.types {
			out[t] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}
