package cloud

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// usualQuota is so many vCPUs on demand that stories which are not about it never meet it.
const usualQuota = 1152

// StandardQuota is the code of the quota for vCPUs of running on-demand instances of the standard families (A, C, D, H, I, M, R, T, Z).
const StandardQuota = "L-1216C47A"

// InstanceType is what EC2 says of a type.
type InstanceType struct {
	Name          string
	CPUs, MiB     int
	AddressesEach int // IPv4 addresses of one network interface
}

// families are the instance families on offer, with the memory in MiB for each vCPU.
var families = map[string]int{
	"t3": 2048, "t3a": 2048, "t4g": 2048, "m5": 4096, "m5a": 4096, "m6i": 4096, "m6g": 4096, "m7i": 4096, "m7g": 4096, "g5": 4096, "p3": 7808,
	"c5": 2048, "c6i": 2048, "c6g": 2048, "c7g": 2048, "r5": 8192, "r6i": 8192, "r6g": 8192,
}

var sizes = []struct {
	name            string
	cpus, addresses int
}{{"medium", 2, 6}, {"large", 2, 10}, {"xlarge", 4, 15}, {"2xlarge", 8, 15}, {"4xlarge", 16, 30}, {"8xlarge", 32, 30}}

// instanceTypes lists every type on offer, by name; standardCPUs is what each takes from the quota for standard families.
var instanceTypes, standardCPUs = catalog()

func catalog() ([]InstanceType, map[string]int) {
	cpus := map[string]int{}
	var out []InstanceType
	for family, mib := range families {
		for _, s := range sizes {
			t := InstanceType{family + "." + s.name, s.cpus, s.cpus * mib, s.addresses}
			out = append(out, t)
			if standardFamily.MatchString(family) {
				cpus[t.Name] = t.CPUs
			}
		}
	}
	slices.SortFunc(out, func(a, b InstanceType) int { return strings.Compare(a.Name, b.Name) })
	return out, cpus
}

var standardFamily = regexp.MustCompile(`^[acdhimrtz][0-9]`)

// DescribeInstanceTypes returns the types of these names (all, if there are none) that pass all filters, by name.
func (c *Cloud) DescribeInstanceTypes(names []string, filters []Filter) ([]InstanceType, error) {
	return read(c, "ec2:DescribeInstanceTypes", func(*world) ([]InstanceType, error) {
		if err := checkFilters("DescribeInstanceTypes", filters, "instance-type"); err != nil {
			return nil, err
		}
		all := slices.Clone(instanceTypes)
		for _, name := range names {
			if !slices.ContainsFunc(all, func(t InstanceType) bool { return t.Name == name }) {
				return nil, refuse("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
			}
		}
		return slices.DeleteFunc(all, func(t InstanceType) bool {
			return len(names) > 0 && !slices.Contains(names, t.Name) || !matchAll(filters, func(string) []string { return []string{t.Name} })
		}), nil
	})
}

// Offering says that a zone has a type.
type Offering struct{ Type, Zone string }

// DescribeInstanceTypeOfferings returns which zones offer which types, as far as they pass all filters, by type and zone.
func (c *Cloud) DescribeInstanceTypeOfferings(filters []Filter) ([]Offering, error) {
	return read(c, "ec2:DescribeInstanceTypeOfferings", func(*world) ([]Offering, error) {
		if err := checkFilters("DescribeInstanceTypeOfferings", filters, "instance-type", "location"); err != nil {
			return nil, err
		}
		var out []Offering
		for _, t := range instanceTypes {
			for _, zone := range c.cfg.Zones {
				o := Offering{t.Name, zone}
				if !c.withheld[capacity{zone, t.Name}] && matchAll(filters, o.filterValue) {
					out = append(out, o)
				}
			}
		}
		return out, nil
	})
}

func (o Offering) filterValue(name string) []string {
	return []string{map[string]string{"instance-type": o.Type, "location": o.Zone}[name]}
}

// SetOffered takes a type out of what a zone offers, or puts it back. Unlike a drought this never ends by itself in AWS.
func (c *Cloud) SetOffered(zone, instanceType string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.withheld[capacity{zone, instanceType}] = !on
}

// SetQuota sets the quota of vCPUs for standard types on demand.
func (c *Cloud) SetQuota(cpus int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quota = cpus
}

// GetServiceQuota answers for the one quota that is simulated, StandardQuota of ec2.
func (c *Cloud) GetServiceQuota(service, code string) (int, error) {
	return read(c, "servicequotas:GetServiceQuota", func(*world) (int, error) {
		if service != "ec2" || code != StandardQuota {
			return 0, NotSimulated("quota "+code+" of "+service, "GetServiceQuota")
		}
		return c.quota, nil
	})
}

// OccupyAddresses lets others (pods, load balancers) have so many addresses of a zone's subnet.
func (c *Cloud) OccupyAddresses(zone string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[zone] = n
}

// subnetSize is how many addresses of a /24 AWS leaves to its users.
const subnetSize = 251

// freeAddresses counts what a zone's subnet has left; every instance takes one.
func (c *Cloud) freeAddresses(w *world, zone string) int {
	free := subnetSize - c.taken[zone]
	for _, i := range w.instances {
		if i.Zone == zone && i.State != Terminated {
			free--
		}
	}
	return max(0, free)
}

// checkLimits refuses a launch that the account or the zone has no room for.
func (c *Cloud) checkLimits(zone, kind string, spot bool) error {
	if c.withheld[capacity{zone, kind}] {
		return refuse("Unsupported", "Your requested instance type (%s) is not supported in your requested Availability Zone (%s).", kind, zone)
	}
	if c.freeAddresses(c.w, zone) == 0 {
		return refuse("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", c.subnetOf(zone))
	}
	used := standardCPUs[kind]
	if spot || used == 0 {
		return nil
	}
	for _, i := range c.w.instances {
		if !i.Spot && !i.Gone() {
			used += standardCPUs[i.Type]
		}
	}
	if used > c.quota {
		return refuse("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %s allows for the instance bucket that the specified "+
			"instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", strconv.Itoa(c.quota))
	}
	return nil
}
