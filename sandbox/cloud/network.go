package cloud

import (
	"fmt"
	"slices"
	"strings"
)

// Subnet is the one subnet of a zone.
type Subnet struct {
	ID, Zone, VPC, CIDR string
	Free                int // addresses that nobody has; only DescribeSubnets says it
}

func (c *Cloud) vpc() string { return "vpc-0d70e400000000001" }

func (c *Cloud) subnetOf(zone string) string {
	return fmt.Sprintf("subnet-0d70e4%011d", slices.Index(c.cfg.Zones, zone)+1)
}

func (c *Cloud) dnsName(ip string) string {
	suffix := c.cfg.Region + ".compute.internal"
	if c.cfg.Region == "us-east-1" {
		suffix = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(ip, ".", "-") + "." + suffix
}

// Subnets returns the subnet of each zone, in the order of Config.Zones.
func (c *Cloud) Subnets() []Subnet {
	var out []Subnet
	for n, zone := range c.cfg.Zones {
		out = append(out, Subnet{ID: c.subnetOf(zone), Zone: zone, VPC: c.vpc(), CIDR: fmt.Sprintf("10.0.%d.0/24", n)})
	}
	return out
}

// DescribeSubnets returns the subnets that have one of the ids (any, if there are none) and pass all filters.
func (c *Cloud) DescribeSubnets(ids []string, filters []Filter) ([]Subnet, error) {
	return read(c, "ec2:DescribeSubnets", func(w *world) ([]Subnet, error) {
		if err := checkFilters("DescribeSubnets", filters, "subnet-id", "availability-zone", "vpc-id", "state"); err != nil {
			return nil, err
		}
		all := c.Subnets()
		for n := range all {
			all[n].Free = c.freeAddresses(w, all[n].Zone)
		}
		for _, id := range ids {
			if !slices.ContainsFunc(all, func(s Subnet) bool { return s.ID == id }) {
				return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
			}
		}
		return slices.DeleteFunc(all, func(s Subnet) bool {
			return len(ids) > 0 && !slices.Contains(ids, s.ID) || !matchAll(filters, s.filterValue)
		}), nil
	})
}

func (s Subnet) filterValue(name string) []string {
	return []string{map[string]string{"subnet-id": s.ID, "availability-zone": s.Zone, "vpc-id": s.VPC, "state": "available"}[name]}
}

// DescribeAvailabilityZones returns the zones that have one of the names (any, if there are none).
func (c *Cloud) DescribeAvailabilityZones(names []string) ([]string, error) {
	return read(c, "ec2:DescribeAvailabilityZones", func(*world) ([]string, error) {
		for _, name := range names {
			if !slices.Contains(c.cfg.Zones, name) {
				return nil, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", name)
			}
		}
		if len(names) > 0 {
			return slices.Clone(names), nil
		}
		return c.Zones(), nil
	})
}

// placement turns what a group's user gives, zones or subnets or both, into zones; the order given is kept.
func (c *Cloud) placement(zones, subnets []string) ([]string, error) {
	if len(zones) == 0 && len(subnets) == 0 {
		return nil, invalid("At least one Availability Zone or VPC Subnet is required.")
	}
	for _, z := range zones {
		if !slices.Contains(c.cfg.Zones, z) {
			return nil, invalid("Invalid availability zones: [%s]", z)
		}
	}
	if len(subnets) == 0 {
		return slices.Clone(zones), nil
	}
	var out []string
	for _, id := range subnets {
		n := slices.IndexFunc(c.Subnets(), func(s Subnet) bool { return s.ID == id })
		if n < 0 {
			return nil, invalid("The subnet ID '%s' does not exist", id)
		}
		out = append(out, c.cfg.Zones[n])
	}
	for _, z := range zones {
		if !slices.Contains(out, z) {
			return nil, invalid("The availability zones of the specified subnets and the Auto Scaling group do not match")
		}
	}
	return out, nil
}
