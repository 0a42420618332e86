package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// made prints what serves, by launch: "ami-1/m5.large@1".
func (l *lab) made() string {
	var out []string
	for _, m := range l.serving() {
		i, _ := l.Instance(m.InstanceID)
		s := fmt.Sprintf("%s/%s@%d", i.ImageID, i.Type, m.Template.Version)
		if m.Spot {
			s += " spot"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestVersionsAreResolvedAtLaunch(t *testing.T) {
	for _, c := range []struct{ version, after, afterDefault string }{
		{"$Latest", "ami-2/m5.large@2", "ami-2/m5.large@2"},
		{"$Default", "ami-1/m5.large@1", "ami-2/m5.large@2"},
		{"", "ami-1/m5.large@1", "ami-2/m5.large@2"},
		{"1", "ami-1/m5.large@1", "ami-1/m5.large@1"},
	} {
		l := newLab(t, Config{})
		l.group(0, 9, 1, func(g *Group) { g.Source.Template.Version = c.version })
		_, v, err := l.CreateLaunchTemplateVersion("", "nodes", "$Latest", "", TemplateData{ImageID: "ami-2"})
		l.must(err)
		l.equal("number", v.Number, 2)
		l.must(l.SetDesiredCapacity("g", 2, false))
		l.settle()
		_, err = l.ModifyLaunchTemplate("", "nodes", "2")
		l.must(err)
		l.must(l.SetDesiredCapacity("g", 3, false))
		l.settle()
		l.equal("version "+c.version, l.made(), "ami-1/m5.large@1, "+c.after+", "+c.afterDefault)
		l.equal("tag", l.Instances()[2].Tags["aws:ec2launchtemplate:version"], l.serving()[2].Template.Version)
	}
}

func TestDeletedTemplateFailsLaunches(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, nil)
	old := l.template("nodes")
	_, err := l.DeleteLaunchTemplate("", "nodes")
	l.must(err)
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.clock.Advance(150 * time.Second)
	as := l.activities()
	l.equal("tries", len(as), 1+3)
	l.equal("text", as[0].StatusMessage, "You must use a valid fully-formed launch template. The specified launch template, with template ID "+old+", does not exist. Launching EC2 instance failed.")
	_, err = l.CreateLaunchTemplate("nodes", "", TemplateData{ImageID: "ami-2", InstanceType: "m5.large"}, nil)
	l.must(err)
	l.settle()
	l.equal("another template of that name is not the group's", len(l.serving()), 1)
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Source: &Source{Template: TemplateSpec{Name: "nodes"}}}))
	l.settle()
	l.equal("made", l.made(), "ami-1/m5.large@1, ami-2/m5.large@1")
}

func TestUnusableSources(t *testing.T) {
	l := newLab(t, Config{})
	_, err := l.CreateLaunchTemplate("empty", "", TemplateData{InstanceType: "m5.large"}, nil)
	l.must(err)
	_, err = l.CreateLaunchTemplate("nodes", "", TemplateData{}, nil)
	l.refused(err, "InvalidLaunchTemplateName.AlreadyExistsException", "already in use")
	for _, c := range []struct {
		source Source
		want   string
	}{
		{Source{}, "Valid requests must contain either LaunchTemplate"},
		{Source{Template: TemplateSpec{Name: "none"}}, "with template name none, does not exist"},
		{Source{Template: TemplateSpec{Name: "nodes", Version: "7"}}, "Could not find the specified version 7"},
		{Source{Template: TemplateSpec{Name: "nodes", ID: "lt-1"}}, "but not both"},
		{Source{Template: TemplateSpec{Name: "empty"}}, "must contain the parameter ImageId"},
		{Source{Configuration: "none"}, "A launch configuration with the name: none does not exist"},
		{Source{Mixed: &Mixed{}}, "must be specified for MixedInstancesPolicy"},
	} {
		l.refused(l.CreateAutoScalingGroup(Group{Name: "x", Zones: l.Zones(), Source: c.source}), "ValidationError", c.want)
	}
}

func TestMixedInstances(t *testing.T) {
	l := newLab(t, Config{Zones: []string{"eu-west-1a"}})
	_, err := l.CreateLaunchTemplate("arm", "", TemplateData{ImageID: "ami-arm", InstanceType: "m6g.large"}, nil)
	l.must(err)
	l.group(0, 9, 1, func(g *Group) {
		g.Source = Source{Mixed: &Mixed{Template: TemplateSpec{Name: "nodes"}, Overrides: []Override{
			{InstanceType: "m6g.xlarge", Template: TemplateSpec{Name: "arm", Version: "$Latest"}},
			{InstanceType: "m5.xlarge"},
			{Needs: Needs{MinCPU: 8}},
		}}}
	})
	for n, dry := range []string{"m6g.xlarge", "m5.xlarge"} {
		l.SetDrought("eu-west-1a", dry, true)
		l.must(l.SetDesiredCapacity("g", n+2, false))
		l.settle()
	}
	l.equal("made", l.made(), "ami-arm/m6g.xlarge@1, ami-1/m5.xlarge@1, ami-1/m5.2xlarge@1")
	l.equal("its own template", l.serving()[0].Template.Name, "arm")
}

func TestMixedPurchase(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 6, func(g *Group) {
		g.Source = Source{Mixed: &Mixed{Template: TemplateSpec{Name: "nodes"}, OnDemandBase: 2, SpotPercent: 50}}
	})
	spot := func() (n int) {
		for _, m := range l.serving() {
			if m.Spot {
				n++
			}
		}
		return n
	}
	l.equal("of six", spot(), 2)
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.settle()
	l.equal("of two", spot(), 0)
}

func TestLaunchConfigurationGroup(t *testing.T) {
	l := newLab(t, Config{})
	l.must(l.CreateLaunchConfiguration("lc-1", TemplateData{ImageID: "ami-lc", InstanceType: "m4.large"}))
	l.group(0, 9, 1, func(g *Group) { g.Source = Source{Configuration: "lc-1"} })
	l.equal("made", l.made(), "ami-lc/m4.large@0")
	l.equal("member", l.serving()[0].Configuration, "lc-1")
	l.refused(l.DeleteLaunchConfiguration("lc-1"), "ResourceInUse", "attached to AutoScalingGroup g")
	l.must(l.UpdateAutoScalingGroup("g", GroupUpdate{Source: &Source{Template: TemplateSpec{Name: "nodes"}}}))
	l.must(l.DeleteLaunchConfiguration("lc-1"))
	l.must(l.SetDesiredCapacity("g", 2, false))
	l.settle()
	l.must(l.SetDesiredCapacity("g", 1, false))
	l.settle()
	l.equal("the launch configuration went first", l.made(), "ami-1/m5.large@1")
}

func TestTemplatesDescribed(t *testing.T) {
	l := newLab(t, Config{})
	_, v, err := l.CreateLaunchTemplateVersion("", "nodes", "", "bare", TemplateData{ImageID: "ami-2"})
	l.must(err)
	l.equal("nothing inherited", v.Data.InstanceType, "")
	got, err := l.DescribeLaunchTemplateVersions("", "nodes", nil)
	l.must(err)
	l.equal("newest first", []int{got.Versions[0].Number, got.Versions[1].Number}, []int{2, 1})
	_, err = l.DescribeLaunchTemplateVersions("lt-none", "", nil)
	l.refused(err, "InvalidLaunchTemplateId.NotFound", "lt-none")
	_, err = l.ModifyLaunchTemplate("", "nodes", "9")
	l.refused(err, "InvalidLaunchTemplateId.VersionNotFound", "9")
	_, err = l.DescribeLaunchTemplates(nil, []string{"none"}, nil)
	l.refused(err, "InvalidLaunchTemplateName.NotFoundException", "none")
}

func TestTags(t *testing.T) {
	l := newLab(t, Config{})
	l.group(0, 9, 1, func(g *Group) { g.Tags = []GroupTag{{Key: "a", Value: "1", Propagate: true}} })
	id := l.Instances()[0].ID
	l.must(l.CreateTags([]string{id, l.template("nodes")}, map[string]string{"k": "v"}))
	l.refused(l.CreateTags([]string{id}, map[string]string{"aws:x": "y"}), "InvalidParameterValue", "reserved")
	l.refused(l.CreateTags([]string{"vol-1"}, map[string]string{"x": "y"}), "InvalidID", "vol-1")
	tags, err := l.DescribeTags([]Filter{{"key", []string{"k"}}})
	l.must(err)
	l.equal("resources", len(tags), 2)
	other := "other"
	l.must(l.DeleteTags([]string{id}, map[string]*string{"k": &other}))
	i, _ := l.Instance(id)
	l.equal("another value stays", i.Tags["k"], "v")
	l.must(l.DeleteTags([]string{id}, nil))
	i, _ = l.Instance(id)
	var left []string
	for k := range i.Tags {
		left = append(left, k)
	}
	slices.Sort(left)
	l.equal("AWS's own stay", left, "[aws:autoscaling:groupName aws:ec2launchtemplate:id aws:ec2launchtemplate:version]")

	l.must(l.CreateOrUpdateTags([]GroupTag{{"g", "a", "2", true}, {"g", "b", "3", false}}))
	all, err := l.DescribeGroupTags([]Filter{{"auto-scaling-group", []string{"g"}}})
	l.must(err)
	l.equal("group tags", all, "[{g a 2 true} {g b 3 false}]")
	l.must(l.DeleteGroupTags([]GroupTag{{Group: "g", Key: "a"}}))
	l.equal("left", l.get().Tags, "[{g b 3 false}]")
	l.refused(l.CreateOrUpdateTags([]GroupTag{{Group: "none", Key: "a"}}), "ValidationError", "none")
}
