package env

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
	"drover.dev/schedule"
)

// Check finds what is wrong with the environments of a snapshot, each by itself and with each other. Nothing is done to one that has a finding.
func Check(s *fleet.Snapshot, name string) []fleet.Finding {
	e := s.Environment(name)
	if e == nil {
		return []fleet.Finding{fleet.Found("env-spec", "environment "+name, "is not there; %s", known(s)).Then("drover env list")}
	}
	var out []fleet.Finding
	for _, t := range append(slices.Clone(e.Trouble), Validate(&e.Spec)...) {
		out = append(out, fleet.Found("env-spec", e.Source, "%s", t).Then("mend it"))
	}
	if len(name) > longestName {
		out = append(out, fleet.Found("env-spec", e.Source, "its name has %d characters; with a moment behind it, it becomes a taint's value, so it may have %d", len(name), longestName).Then("give it a shorter one"))
	}
	if len(out) > 0 {
		return out
	}
	return overlaps(s, e)
}

// longestName leaves room in a taint's value for the moment that a sleep's name ends with.
const longestName = 63 - len("-20060102t150405")

// Orphans finds what is marked as switched off by an environment that has no sleep on file.
func Orphans(s *fleet.Snapshot, e *fleet.Environment) []fleet.Finding {
	v := look(s, e)
	var out []fleet.Finding
	found := func(subject, environment, run string) {
		if environment == e.Name && !v.over(environment, run) {
			out = append(out, fleet.Found("env-stranger", subject, "is marked as switched off by sleep %s, which is not on file", run).Then("drover env repair %s", e.Name))
		}
	}
	for i := range s.Parts {
		if m := s.Parts[i].Mark; m != nil {
			found(s.Parts[i].ID(), m.Environment, m.Run)
		}
	}
	for i := range s.Groups {
		if m := s.Groups[i].Sleep; m != nil {
			found("group "+s.Groups[i].Name, m.Environment, m.Run)
		}
	}
	for i := range s.Databases {
		if m := fleet.ParseDatabaseMark(s.Databases[i].Mark); m.Run != "" {
			found("database "+s.Databases[i].ID, m.Environment, m.Run)
		}
	}
	return out
}

func known(s *fleet.Snapshot) string {
	var names []string
	for i := range s.Environments {
		names = append(names, s.Environments[i].Name)
	}
	if len(names) == 0 {
		return "there are no environments"
	}
	return "there are " + strings.Join(names, ", ")
}

// Validate says what is wrong with a declaration, each located.
func Validate(spec *fleet.EnvironmentSpec) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(spec.Workloads)+len(spec.Groups)+len(spec.Databases) == 0 {
		add("spec: chooses nothing: want workloads, groups or databases")
	}
	for i, w := range spec.Workloads {
		if len(w.Namespaces) == 0 && len(w.Labels) == 0 && w.Name == "" {
			add("spec.workloads[%d]: chooses nothing: want namespaces, a selector or a name; an empty one would be everything", i)
		}
	}
	for i, w := range spec.Workloads {
		if len(w.Namespaces) == 0 && w.Name == "" && len(w.Labels) > 0 && !slices.ContainsFunc(w.Labels, func(q fleet.Requirement) bool { return q.Operator == "In" || q.Operator == "Exists" }) {
			add("spec.workloads[%d]: a selector that only leaves out would take the rest of the cluster: want namespaces, or a label that has to be there", i)
		}
		if w.Name != "" && len(w.Namespaces) == 0 {
			add("spec.workloads[%d]: name %s without namespaces is that name in every namespace: want namespaces", i, w.Name)
		}
		if w.Kind != "" && !slices.Contains(kinds, w.Kind) {
			add("spec.workloads[%d].kind: %s is none that can be switched: want one of %s", i, w.Kind, strings.Join(kinds, ", "))
		}
	}
	for _, twice := range repeated(spec.Groups) {
		add("spec.groups: %s is named twice", twice)
	}
	var ids []string
	for _, db := range spec.Databases {
		ids = append(ids, db.ID)
	}
	for _, twice := range repeated(ids) {
		add("spec.databases: %s is named twice", twice)
	}
	out = append(out, orderTroubles(spec.Order)...)
	if spec.Schedule != nil {
		_, errs := schedule.Parse(*spec.Schedule)
		for _, err := range errs {
			add("spec.schedule: %s", strings.Replace(err.Error(), "on[", "awake[", 1)) // as the field is called in a declaration
		}
	}
	if spec.Policy.Fights < 0 {
		add("spec.policy.fights: %d is negative", spec.Policy.Fights)
	}
	return out
}

// kinds are those of workloads that can be chosen.
var kinds = []string{"Deployment", "StatefulSet", "ReplicaSet", "Rollout", "CronJob", "Job", "ScaledJob", "DaemonSet", "Pod"}

func repeated(names []string) []string {
	seen := map[string]int{}
	var out []string
	for _, n := range names {
		if seen[n]++; seen[n] == 2 {
			out = append(out, n)
		}
	}
	return out
}

// orderTroubles finds tiers that are named twice, need what is not there, or need each other.
func orderTroubles(order []fleet.Tier) []string {
	var out []string
	at := map[string]int{}
	for i, t := range order {
		switch _, twice := at[t.Name]; {
		case t.Name == "":
			out = append(out, fmt.Sprintf("spec.order[%d]: has no name", i))
		case twice:
			out = append(out, fmt.Sprintf("spec.order[%d]: name %s is there twice", i, t.Name))
		}
		at[t.Name] = i
		if len(t.Workloads) == 0 {
			out = append(out, fmt.Sprintf("spec.order[%d] (%s): chooses no workloads", i, t.Name))
		}
	}
	for i, t := range order {
		for _, n := range t.Needs {
			if _, there := at[n]; !there {
				out = append(out, fmt.Sprintf("spec.order[%d] (%s): needs %s, which is no tier", i, t.Name, n))
			}
		}
	}
	if circle := circle(order, at); circle != "" {
		out = append(out, "spec.order: "+circle+": they need each other, so none could be first")
	}
	return out
}

// circle returns tiers that need each other in a circle, as "a needs b needs a"; "" when none do.
func circle(order []fleet.Tier, at map[string]int) string {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	var path []string
	var visit func(name string) string
	visit = func(name string) string {
		i, there := at[name]
		switch {
		case !there || state[name] == done:
			return ""
		case state[name] == open:
			return strings.Join(append(path[slices.Index(path, name):], name), " needs ")
		}
		state[name] = open
		path = append(path, name)
		for _, n := range order[i].Needs {
			if c := visit(n); c != "" {
				return c
			}
		}
		path = path[:len(path)-1]
		state[name] = done
		return ""
	}
	for _, t := range order {
		if c := visit(t.Name); c != "" {
			return c
		}
	}
	return ""
}

// overlaps finds what two environments have in common: switching one would switch the other's.
func overlaps(s *fleet.Snapshot, e *fleet.Environment) []fleet.Finding {
	var out []fleet.Finding
	for i := range s.Environments {
		o := &s.Environments[i]
		if o.Name == e.Name {
			continue
		}
		both := func(what string) {
			out = append(out, fleet.Found("env-overlap", what, "belongs to environment %s and to environment %s", e.Name, o.Name).Then("leave it in one of them"))
		}
		for _, db := range o.Spec.Databases {
			if slices.ContainsFunc(e.Spec.Databases, func(d fleet.DatabaseSpec) bool { return d.ID == db.ID }) {
				both("database " + db.ID)
			}
		}
		for _, g := range o.Spec.Groups {
			if slices.Contains(e.Spec.Groups, g) {
				both("group " + g)
			}
		}
		for j := range s.Parts {
			if p := &s.Parts[j]; p.Turn != fleet.Held && p.Turn != fleet.Unsynced && e.Spec.Has(p.Owner, p.Labels) && o.Spec.Has(p.Owner, p.Labels) {
				both(p.ID())
			}
		}
	}
	return out
}
