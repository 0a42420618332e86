package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTerminationPolicies asks who of a hand-made group goes first. A member is "name zone source age[ flags]": source is a
// template version (1, 2), another template's version (x1) or a launch configuration (old, new); flags are protected and spot.
func TestTerminationPolicies(t *testing.T) {
	for _, c := range []struct {
		name     string
		policies string
		members  []string
		want     string // who may be chosen
	}{
		{"the fullest zone goes before everything", "OldestInstance", []string{"1 a v1 900m", "2 b v2 10m", "3 b v2 20m"}, "3"},
		{"the fullest zone with somebody who may go", "OldestInstance", []string{"1 a v1 90m", "2 b v2 10m protected", "3 b v2 20m protected"}, "1"},
		{"equally full zones are all in the choice", "OldestInstance", []string{"1 a v1 10m", "2 b v1 30m", "3 c v1 20m"}, "2"},
		{"a zone that is not the group's comes first", "Default", []string{"1 a v1 90m", "2 a v1 90m", "3 z v2 10m"}, "3"},
		{"nobody may go", "Default", []string{"1 a v1 90m protected"}, ""},

		{"default: oldest version", "Default", []string{"1 a v2 50m", "2 b v1 10m", "3 c v2 59m"}, "2"},
		{"default: not the group's template before an old version of it", "Default", []string{"1 a v1 50m", "2 b x1 10m", "3 c v2 59m"}, "2"},
		{"default: launch configurations before templates", "Default", []string{"1 a x1 50m", "2 b new 10m", "3 c v1 59m"}, "2"},
		{"default: the oldest launch configuration", "Default", []string{"1 a new 50m", "2 b old 10m", "3 c new 59m"}, "2"},
		{"default: then closest to the hour", "Default", []string{"1 a v1 50m", "2 b v1 119m", "3 c v1 61m"}, "2"},
		{"default: then by dice", "Default", []string{"1 a v1 50m", "2 b v1 50m", "3 c v1 10m"}, "1 2"},

		{"oldest instance", "OldestInstance", []string{"1 a v2 50m", "2 b v1 10m", "3 c v2 119m"}, "3"},
		{"newest instance", "NewestInstance", []string{"1 a v1 50m", "2 b v1 10m", "3 c v1 119m"}, "2"},
		{"oldest launch template", "OldestLaunchTemplate", []string{"1 a v2 50m", "2 b v1 10m", "3 c v2 119m"}, "2"},
		{"oldest launch configuration", "OldestLaunchConfiguration", []string{"1 a new 50m", "2 b old 10m", "3 c new 119m"}, "2"},
		{"closest to the next hour", "ClosestToNextInstanceHour", []string{"1 a v2 50m", "2 b v1 10m", "3 c v2 119m"}, "3"},
		{"one after the other", "OldestLaunchTemplate NewestInstance", []string{"1 a v1 50m", "2 b v1 10m", "3 c v2 5m"}, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.members(strings.Fields(c.policies), c.members)
			seen := map[string]bool{}
			for range 50 {
				if m := l.victim(l.w.groups["g"]); m != nil {
					seen[strings.TrimPrefix(m.InstanceID, "i-")] = true
				}
			}
			var got []string
			for id := range seen {
				got = append(got, id)
			}
			slices.Sort(got)
			l.equal("victims", strings.Join(got, " "), c.want)
		})
	}
}

// members makes group "g" of template "nodes" in zones a, b and c with just these members, without any life of their own.
func (l *lab) members(policies []string, members []string) {
	l.t.Helper()
	l.must(l.CreateLaunchConfiguration("old", TemplateData{ImageID: "ami-1", InstanceType: "m5.large"}))
	l.must(l.CreateLaunchConfiguration("new", TemplateData{ImageID: "ami-1", InstanceType: "m5.large"}))
	nodes, other := l.template("nodes"), ""
	x, err := l.CreateLaunchTemplate("other", "", TemplateData{ImageID: "ami-1", InstanceType: "m5.large"}, nil)
	l.must(err)
	other = x.ID
	_, _, err = l.CreateLaunchTemplateVersion("", "nodes", "1", "", TemplateData{})
	l.must(err)
	l.must(l.CreateAutoScalingGroup(Group{
		Name: "g", Max: 9, Source: Source{Template: TemplateSpec{Name: "nodes", Version: "$Latest"}}, Zones: l.Zones(), TerminationPolicies: policies,
	}))
	g := l.w.groups["g"]
	for _, line := range members {
		var name, zone, source, age string
		fmt.Sscan(line, &name, &zone, &source, &age)
		d, err := time.ParseDuration(age)
		l.must(err)
		m := Member{InstanceID: "i-" + name, Group: "g", Zone: l.Region() + zone, State: InService, Protected: strings.Contains(line, "protected"), Spot: strings.Contains(line, "spot")}
		switch source[0] {
		case 'v':
			m.Template = TemplateRef{nodes, "nodes", int(source[1] - '0')}
		case 'x':
			m.Template = TemplateRef{other, "other", int(source[1] - '0')}
		default:
			m.Configuration = source
		}
		g.Members = append(g.Members, m)
		l.w.instances[m.InstanceID] = &Instance{ID: m.InstanceID, LaunchTime: l.clock.Now().Add(-d)}
	}
}

func (l *lab) template(name string) string {
	l.t.Helper()
	all, err := l.DescribeLaunchTemplates(nil, []string{name}, nil)
	l.must(err)
	return all[0].ID
}

func TestDiceAreTheSeeds(t *testing.T) {
	choice := func(seed int64) string {
		l := newLab(t, Config{Seed: seed})
		l.members([]string{"Default"}, []string{"1 a v1 50m", "2 b v1 50m", "3 c v1 50m"})
		out := ""
		for range 20 {
			out += l.victim(l.w.groups["g"]).InstanceID
		}
		return out
	}
	if choice(1) != choice(1) {
		t.Fatal("the same seed chose differently")
	}
	if choice(1) == choice(2) {
		t.Fatal("another seed chose the same twenty times")
	}
}
