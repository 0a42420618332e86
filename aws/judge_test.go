package aws

import (
	"strings"
	"testing"
)

// roomy are limits that nothing of group web comes near.
func roomy() *limits {
	zones := []string{"a", "b"}
	l := &limits{
		groups:  []growth{{name: "web", more: 4, zones: zones, subnets: []string{"s-a", "s-b"}, types: []string{"m5.large"}}},
		subnets: map[string]subnet{"s-a": {"a", 100}, "s-b": {"b", 100}}, offered: map[capacity]bool{},
		types: map[string]shape{"m5.large": {2, 10}, "m5.xlarge": {4, 15}, "g5.xlarge": {4, 15}}, quota: 100, used: 50,
	}
	for _, zone := range zones {
		for kind := range l.types {
			l.offered[capacity{zone, kind}] = true
		}
	}
	return l
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(l *limits)
		want  string // CODE, a * if it blocks, and the finding
	}{
		"room for all":  {func(*limits) {}, ""},
		"just enough":   {func(l *limits) { l.quota = 58; l.subnets["s-a"] = subnet{"a", 20} }, ""},
		"one zone less": {func(l *limits) { delete(l.offered, capacity{"b", "m5.large"}) }, "type-not-offered group web: 1 of its 2 zones (b) offer none of its instance types (m5.large); add a type that those zones offer, or leave those zones out of the group"},
		"another type": {func(l *limits) {
			delete(l.offered, capacity{"b", "m5.large"})
			l.groups[0].types = append(l.groups[0].types, "m5.xlarge")
		}, ""},
		"no zone left":  {func(l *limits) { clear(l.offered) }, "type-not-offered* group web: 2 of its 2 zones (a, b) offer none"},
		"few addresses": {func(l *limits) { l.subnets["s-b"] = subnet{"b", 19} }, "subnet-addresses group web: 2 instances more in a zone may take 20 addresses with their pods, free are b: 19; add subnets"},
		"no addresses":  {func(l *limits) { l.subnets["s-a"], l.subnets["s-b"] = subnet{"a", 1}, subnet{"b", 2} }, "subnet-addresses* group web: 4 instances more need 4 addresses at least, its subnets have 3 free (a: 1, b: 2); add a subnet or free addresses, or choose a surge of at most 3"},
		"shared subnets": {func(l *limits) {
			second := l.groups[0]
			second.name = "zoo"
			l.groups = append(l.groups, second)
			l.subnets["s-a"], l.subnets["s-b"] = subnet{"a", 20}, subnet{"b", 20}
		}, "subnet-addresses* group zoo: 4 instances more need 4 addresses at least, its subnets have 0 free (a: 0, b: 0)"},
		"subnet gone": {func(l *limits) { clear(l.subnets) }, "subnet-addresses* group web: 4 instances more need 4 addresses at least, its subnets have 0 free ()"},
		"no subnets":  {func(l *limits) { l.groups[0].subnets = nil }, "limit-unchecked group web: the free addresses of its subnets could not be checked: it names no subnets"},
		"quota":       {func(l *limits) { l.quota = 57 }, "cpu-quota* quota L-1216C47A: 50 vCPUs run on demand and 8 more are needed (web 4 x 2), the quota is 57; ask AWS for a quota of at least 58, or choose a smaller surge"},
		"largest type counts": {func(l *limits) { l.quota = 65; l.groups[0].types = []string{"m5.large", "m5.xlarge"} },
			"cpu-quota* quota L-1216C47A: 50 vCPUs run on demand and 16 more are needed (web 4 x 4), the quota is 65"},
		"full, nothing needed": {func(l *limits) { l.quota = 10; l.groups[0].types = []string{"g5.xlarge"} }, "limit-unchecked group web: the quota for g5.xlarge, which is one of its own, is not checked; look it up in Service Quotas"},
		"spot":                 {func(l *limits) { l.quota, l.groups[0].spot = 10, true }, "limit-unchecked group web: the quota for spot instances, which is one of its own, is not checked"},
		"rights missing": {func(l *limits) {
			l.noQuota, l.gaps = true, []gap{{what: "the quota of vCPUs", right: "servicequotas:GetServiceQuota"}}
			l.quota = 0
		}, "limit-unchecked the quota of vCPUs: could not be checked: needs servicequotas:GetServiceQuota; grant drover that right, or check it yourself"},
		"broken": {func(l *limits) {
			l.noQuota, l.gaps = true, []gap{{what: "the quota of vCPUs", why: "InternalError: broken"}}
		},
			"limit-unchecked the quota of vCPUs: could not be checked: InternalError: broken; plan again later, or check it yourself"},
		"nothing known": {func(l *limits) {
			l.noQuota, l.noSubnets, l.noOffers = true, true, true
			clear(l.subnets)
			clear(l.offered)
			l.quota = 0
		}, ""},
		"release": {func(l *limits) { l.groups[0].unknown = "nobody says" }, "release-unknown group web: nobody says; grant ssm:GetParameter"},
	} {
		t.Run(name, func(t *testing.T) {
			l := roomy()
			c.spoil(l)
			var got []string
			for _, f := range l.judge() {
				mark := " "
				if f.Blocks {
					mark = "* "
				}
				got = append(got, f.Code+mark+f.String())
			}
			if all := strings.Join(got, "\n"); !strings.HasPrefix(all, c.want) || c.want == "" && all != "" || strings.Contains(all, "\n") {
				t.Errorf("got\n%s\nwant\n%s", all, c.want)
			}
		})
	}
}

func TestStandardFamilies(t *testing.T) {
	for kind, want := range map[string]bool{
		"m5.large": true, "c7gn.xlarge": true, "t4g.nano": true, "im4gn.large": true, "is4gen.large": true, "i3en.large": true, "z1d.large": true, "h1.2xlarge": true,
		"g5.xlarge": false, "p4d.24xlarge": false, "inf2.xlarge": false, "trn1.2xlarge": false, "dl1.24xlarge": false, "x2gd.large": false, "hpc6a.48xlarge": false, "mac2.metal": false, "u-6tb1.metal": false,
	} {
		if standard(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}

func TestNextTemplateVersion(t *testing.T) {
	for _, c := range []struct{ latest, current, running, want int64 }{
		{5, 1, 3, 5}, // nobody moved the default
		{5, 4, 3, 4}, // somebody did, forward
		{5, 3, 3, 3}, // and the group follows it
		{5, 2, 3, 5}, // the group is past it: it follows the newest
		{1, 1, 1, 1},
	} {
		if got := (versions{"", c.latest, c.current}).next(c.running); got != c.want {
			t.Errorf("newest %d, default %d, running %d: got %d, want %d", c.latest, c.current, c.running, got, c.want)
		}
	}
}
