package depart

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

var now = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

func lt(id, version string, types ...string) fleet.Template {
	return fleet.Template{ID: id, Name: "name-" + id, Version: version, Types: types}
}

func TestOutdated(t *testing.T) {
	for _, tc := range []struct {
		name  string
		wants []fleet.Template
		typ   string
		runs  fleet.Template
		why   string
	}{
		{"current", []fleet.Template{lt("lt-1", "2")}, "m5.large", lt("lt-1", "2"), ""},
		{"older version", []fleet.Template{lt("lt-1", "2")}, "m5.large", lt("lt-1", "1"), "runs launch template name-lt-1:1, the group launches launch template name-lt-1:2"},
		{"newer version, rolled back", []fleet.Template{lt("lt-1", "1")}, "m5.large", lt("lt-1", "2"), "runs launch template name-lt-1:2, the group launches launch template name-lt-1:1"},
		{"renamed template", []fleet.Template{{ID: "lt-1", Name: "new", Version: "2"}}, "m5.large", fleet.Template{ID: "lt-1", Name: "old", Version: "2"}, ""},
		{"other template of the same name", []fleet.Template{{ID: "lt-2", Name: "web", Version: "1"}}, "m5.large", fleet.Template{ID: "lt-1", Name: "web", Version: "1"}, "runs launch template web:1, the group launches launch template web:1"},
		{"override's own template", []fleet.Template{lt("lt-1", "2", "m5.large"), lt("lt-2", "7", "m6g.large")}, "m6g.large", lt("lt-2", "7"), ""},
		{"override's template is not for this type", []fleet.Template{lt("lt-1", "2", "m5.large"), lt("lt-2", "7", "m6g.large")}, "m5.large", lt("lt-2", "7"), "runs launch template name-lt-2:7, the group launches launch template name-lt-1:2"},
		{"type no longer listed", []fleet.Template{lt("lt-1", "2", "m5.large")}, "c5.large", lt("lt-1", "2"), "is a c5.large, and no override of the group launches that type any more"},
		{"attribute-based override takes any type", []fleet.Template{lt("lt-1", "2")}, "r7i.xlarge", lt("lt-1", "2"), ""},
		{"launch configuration", []fleet.Template{{Configuration: "b"}}, "m5.large", fleet.Template{Configuration: "a"}, "runs launch configuration a, the group launches launch configuration b"},
		{"from launch configuration to template", []fleet.Template{lt("lt-1", "1")}, "m5.large", fleet.Template{Configuration: "a"}, "runs launch configuration a, the group launches launch template name-lt-1:1"},
		{"attached by hand", []fleet.Template{lt("lt-1", "1")}, "m5.large", fleet.Template{}, "runs no launch template, the group launches launch template name-lt-1:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := fleet.Group{Wants: tc.wants}
			if got := g.Outdated(&fleet.Instance{Type: tc.typ, Template: tc.runs}); got != tc.why {
				t.Errorf("%q, want %q", got, tc.why)
			}
		})
	}
}

// three is a group of an old node, a current one and an instance that has not registered yet.
func three() fleet.Snapshot {
	g := fleet.Group{Name: "web", Desired: 3, Wants: []fleet.Template{lt("lt-1", "2")}, Instances: []fleet.Instance{
		{ID: "i-old", Lifecycle: fleet.InService, Template: lt("lt-1", "1"), Launched: now.Add(-time.Hour)},
		{ID: "i-new", Lifecycle: fleet.InService, Template: lt("lt-1", "2"), Launched: now.Add(-time.Minute)},
		{ID: "i-boot", Lifecycle: fleet.Pending, Template: lt("lt-1", "2")},
	}}
	return fleet.Snapshot{Now: now, Groups: []fleet.Group{g}, Nodes: []fleet.Node{{Name: "old", Instance: "i-old"}, {Name: "new", Instance: "i-new"}}}
}

func chosen(t *testing.T, s fleet.Snapshot, c Criterion, groups ...string) string {
	t.Helper()
	d, err := Rotate(&s, groups, c)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, x := range d {
		out = append(out, x.Instance)
	}
	return strings.Join(out, " ")
}

func TestRotateChooses(t *testing.T) {
	for want, c := range map[string]Criterion{
		"i-old":              {Kind: Outdated},
		"i-old i-new i-boot": {Kind: All},
		"i-old i-new":        {Kind: OlderThan, Before: now},
		"i-new":              {Kind: Selector, Match: func(n *fleet.Node) bool { return n.Name == "new" }},
	} {
		if got := chosen(t, three(), c, "web"); got != want {
			t.Errorf("%s: %q, want %q", c, got, want)
		}
	}
}

func TestRotateErrors(t *testing.T) {
	s := three()
	s.Groups[0].Instances = s.Groups[0].Instances[1:2]
	_, err := Rotate(&s, []string{"web"}, Criterion{Kind: Outdated})
	if !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "all 1 nodes of group web already run what it launches (launch template name-lt-1:2)") {
		t.Error(err)
	}
	s.Groups[0].Wants = nil
	if _, err := Rotate(&s, []string{"web"}, Criterion{Kind: Outdated}); err == nil || !strings.Contains(err.Error(), "neither a launch template nor a launch configuration") {
		t.Error(err)
	}
	if _, err := Rotate(&s, []string{"nope"}, Criterion{Kind: Outdated}); err == nil || err.Error() != "group nope: not found" {
		t.Error(err)
	}
}

func TestDrainErrors(t *testing.T) {
	for want, change := range map[string]func(*fleet.Snapshot){
		"node old: not found in the cluster":                    func(s *fleet.Snapshot) { s.Nodes = nil },
		`its providerID "metal://7" is not an EC2 instance`:     func(s *fleet.Snapshot) { s.Nodes[0].Instance, s.Nodes[0].Provider = "", "metal://7" },
		"node old (i-old): belongs to no Auto Scaling group":    func(s *fleet.Snapshot) { s.Groups = nil },
		"run r-1 is rotating its group web":                     func(s *fleet.Snapshot) { s.Groups[0].Mark = &fleet.GroupMark{Run: "r-1"} },
		"group web is at its minimum of 3, closing the machine": func(s *fleet.Snapshot) { s.Groups[0].Min = 3 },
	} {
		s := three()
		change(&s)
		if _, err := Drain(&s, "old", true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := three()
	d, err := Drain(&s, "old", true)
	if got := fmt.Sprintln(d.Group, d.Release, d.Replace, err); got != "web true false <nil>\n" {
		t.Error(got)
	}
}
