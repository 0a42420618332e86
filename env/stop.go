package env

import (
	"fmt"
	"slices"

	"drover.dev/evac"
	"drover.dev/fleet"
)

// Stop plans to switch an environment off, or to go on with that. With a finding that blocks, the plan must not be carried out.
func Stop(s *fleet.Snapshot, name string, o Options) (Plan, []fleet.Finding) {
	p := Plan{Environment: name, By: o.By, Forced: o.Forced}
	findings := Check(s, name)
	if len(findings) > 0 {
		return p, findings
	}
	e := s.Environment(name)
	v := look(s, e)
	if e.Record != nil {
		return goOnOff(v, p)
	}
	p.Record = fleet.SleepRecord{Environment: name, Run: o.Run, By: o.By, Why: o.Why, At: s.Now, Forced: o.Forced}
	if findings = v.mayBegin(); evac.Blocked(findings) {
		return p, findings // what would have to be looked at for the rest takes long
	}
	findings = append(findings, v.recordParts(&p, &o)...)
	findings = append(findings, v.recordGroups(&p, &o)...)
	findings = append(findings, v.recordDatabases(&p, &o)...)
	findings = append(findings, v.inUse(&o)...)
	if e.Spec.Archive == "" {
		findings = append(findings, fleet.Found("env-one-copy", e.Source, "spec.archive is empty: nothing outside of the cluster will know how everything was").Then("name a folder (file:///...) or a bucket (s3://bucket/prefix)"))
	}
	findings = append(findings, v.rates(&p, &o)...)
	if nothingOn(&p.Record) {
		p.Nothing = "everything that it names is off already"
	}
	p.Record.Hash = p.Hash()
	if !evac.Blocked(findings) {
		p.Forecast = Preview(p, *s)
	}
	return p, findings
}

// goOnOff plans the rest of a stop that is on file.
func goOnOff(v *view, p Plan) (Plan, []fleet.Finding) {
	p.Record, p.Resumed, p.At = *v.e.Record, true, v.s.Now
	for i := range p.Record.Groups {
		p.Groups = append(p.Groups, v.group(&p.Record.Groups[i], p.Record.Exits))
	}
	p.Forecast = Preview(p, *v.s)
	return p, v.mayGoOn()
}

func (v *view) mayGoOn() []fleet.Finding {
	var out []fleet.Finding
	if v.e.Spec.Protected {
		out = append(out, fleet.Found("env-protected", v.e.Source, "spec.protected is true").Then("nobody switches it off; take that out first if it is wrong"))
	}
	if v.s.Stopped != nil {
		out = append(out, fleet.Found("stopped", "cluster", "everything is %s", v.s.Stopped).Then("drover resume --all, when they agree"))
	}
	return out
}

func (v *view) mayBegin() []fleet.Finding {
	out := v.mayGoOn()
	if v.s.Unslept != "" {
		out = append(out, fleet.Found("env-no-record", "cluster", "%s", v.s.Unslept).Then("install them: drover install"))
	}
	for i := range v.s.Parts {
		if p := &v.s.Parts[i]; p.Mark != nil && v.mine(p) && !v.over(p.Mark.Environment, p.Mark.Run) {
			out = append(out, fleet.Found("env-stranger", p.ID(), "is marked as switched off by sleep %s of environment %s, which is not on file", p.Mark.Run, p.Mark.Environment).Then("drover env repair %s", p.Mark.Environment))
		}
	}
	for _, name := range v.e.Spec.Groups {
		if g := v.s.Group(name); g != nil && g.Sleep != nil && !v.over(g.Sleep.Environment, g.Sleep.Run) {
			out = append(out, fleet.Found("env-stranger", "group "+name, "is marked by sleep %s of environment %s%s", g.Sleep.Run, g.Sleep.Environment, v.filed(g.Sleep)).Then("drover env status %s, or env repair if that knows nothing of it", g.Sleep.Environment))
		}
	}
	return out
}

// filed says whether the sleep of a group's mark is on file.
func (v *view) filed(m *fleet.GroupSleep) string {
	if e := v.s.Environment(m.Environment); e != nil && e.Record != nil && e.Record.Run == m.Run {
		return ", which sleeps"
	}
	return ", which is not on file"
}

// over tells whether a sleep is over: a mark of it that came back, as with a rollback, says nothing.
func (v *view) over(environment, run string) bool {
	e := v.s.Environment(environment)
	return e != nil && slices.ContainsFunc(e.Sleeps, func(s fleet.Sleep) bool { return s.Run == run })
}

func nothingOn(r *fleet.SleepRecord) bool {
	return len(r.Parts) == 0 && len(r.Exits) == 0 && !slices.ContainsFunc(r.Databases, func(d fleet.SleepDatabase) bool { return d.Lower || d.Status != fleet.DatabaseStopped })
}

// recordParts puts down every part that is to be switched, and finds what keeps pods running that nobody can switch.
func (v *view) recordParts(p *Plan, o *Options) []fleet.Finding {
	parts := v.parts(o.forced("env-jobs"))
	on := slices.DeleteFunc(slices.Clone(parts), func(part *fleet.Part) bool { return part.Off })
	apps := v.apps(on)
	tier := v.tiers(on)
	for _, part := range on {
		p.Record.Parts = append(p.Record.Parts, recordOf(part, tier[part]))
	}
	findings := append(v.parents(apps, o), v.outOfSight(on, o)...)
	findings = append(findings, v.nothing(o)...)
	for _, app := range apps {
		if !app.Off {
			p.Record.Parts = append(p.Record.Parts, recordOf(app, 0))
		}
	}
	sortRecords(p.Record.Parts)
	for _, part := range on {
		if part.Scratch != "" && (part.Kind == "StatefulSet" || v.inStore(part) > 0) {
			findings = append(findings, fleet.Found("env-last-copy", part.ID(), "keeps its data in %s, which is lost with its pods", part.Scratch).
				Then("give it a volume, or --force env-last-copy").Block(!o.forced("env-last-copy")))
		}
	}
	return append(findings, v.unswitched(p, o)...)
}

func recordOf(p *fleet.Part, tier int) fleet.PartRecord {
	return fleet.PartRecord{Turn: p.Turn, APIVersion: p.APIVersion, Owner: p.Owner, UID: p.UID, Tier: tier, Ready: p.Ready, Value: p.Value, Absent: p.Absent}
}

// parents finds GitOps objects whose pause somebody would take back, and those that keep more than the environment.
func (v *view) parents(apps []*fleet.Part, o *Options) []fleet.Finding {
	var out []fleet.Finding
	for _, app := range apps {
		if app.Reverts != "" {
			next := "commit this first: " + app.Patch
			if app.Patch == "" {
				next = "pause it there too, or set spec.policy.parents to Ignore"
			}
			out = append(out, fleet.Found("env-parent", app.ID(), "%s", app.Reverts).Then("%s", next).Block(v.e.Spec.Policy.Parents != fleet.ParentIgnore && !o.forced("env-parent")))
		}
		if others := v.keepsToo(app); len(others) > 0 {
			out = append(out, fleet.Found("env-unsynced", app.ID(), "keeps %s too, which is not the environment's, and is paused for it as well", list(others)).Then("nothing, if that does no harm"))
		}
	}
	return out
}

// outOfSight finds what a GitOps object keeps that is not in this cluster, or of a kind that drover does not see: nobody could pause it.
func (v *view) outOfSight(parts []*fleet.Part, o *Options) []fleet.Finding {
	var out []fleet.Finding
	for _, p := range parts {
		if len(p.Apps) == 0 || v.part[p.Apps[0]] != nil {
			continue
		}
		out = append(out, fleet.Found("env-parent", p.ID(), "is kept by %s, which cannot be seen in this cluster", p.Apps[0]).Then("pause it where it is, then --force env-parent, or set spec.policy.parents to Ignore").
			Block(v.e.Spec.Policy.Parents != fleet.ParentIgnore && !o.forced("env-parent")))
	}
	return out
}

// nothing finds selections that choose nothing that is there: a name that was mistyped would leave everything running while databases and nodes go.
func (v *view) nothing(o *Options) []fleet.Finding {
	var out []fleet.Finding
	for i, sel := range v.e.Spec.Workloads {
		if slices.ContainsFunc(v.s.Parts, func(p fleet.Part) bool { return sel.Has(p.Owner, p.Labels) }) || slices.ContainsFunc(v.s.Pods, func(p fleet.Pod) bool { return sel.Has(v.labelled(&p)) }) {
			continue
		}
		out = append(out, fleet.Found("env-nothing", fmt.Sprintf("%s: spec.workloads[%d]", v.e.Source, i), "chooses nothing that is there").Then("look for a mistyped namespace, kind or label, or --force env-nothing").Block(!o.forced("env-nothing")))
	}
	return out
}

func (v *view) keepsToo(app *fleet.Part) []string {
	var out []string
	for i := range v.s.Parts {
		if p := &v.s.Parts[i]; p.Turn != fleet.Unsynced && len(p.Apps) > 0 && p.Apps[0] == app.Owner && !v.mine(p) {
			out = append(out, p.ID())
		}
	}
	return out
}

// list joins names, the first few of many.
func list(names []string) string {
	const most = 4
	out := ""
	for i, n := range names {
		switch {
		case i == most:
			return fmt.Sprintf("%s and %d more", out, len(names)-most)
		case i > 0:
			out += ", "
		}
		out += n
	}
	return out
}

// unswitched finds pods of the environment that go on running whatever is switched off.
func (v *view) unswitched(p *Plan, o *Options) []fleet.Finding {
	var out []fleet.Finding
	seen := map[fleet.Owner]bool{}
	for _, pod := range v.pods(nil) {
		switch {
		case pod.Owner.Kind == "":
			out = append(out, fleet.Found("env-bare-pod", "pod "+pod.Ref.String(), "has no controller: stopped, nothing starts it again").Then("give it one, delete it, or --force env-bare-pod").Block(!o.forced("env-bare-pod")))
		case pod.Owner.Kind == "Job" || pod.Owner.Kind == "CronJob" || v.part[pod.Owner] != nil || seen[pod.Owner]:
		default:
			seen[pod.Owner] = true
			out = append(out, fleet.Found("env-unscalable", pod.Owner.String(), "keeps pods of the environment, and drover does not know how to switch a %s", pod.Owner.Kind).
				Then("switch it off yourself first, or --force env-unscalable").Block(!o.forced("env-unscalable")))
		}
	}
	for i := range v.s.Pods {
		if pod := &v.s.Pods[i]; pod.Owner.Kind == "DaemonSet" && v.owns(pod) && !seen[pod.Owner] {
			seen[pod.Owner] = true
			p.Stays = append(p.Stays, pod.Owner.String()+": a DaemonSet has no replicas; its pods go with their nodes")
		}
	}
	return out
}

// inUse finds what somebody uses right now, or would miss.
func (v *view) inUse(o *Options) []fleet.Finding {
	var out []fleet.Finding
	for i := range v.s.Busy {
		b := &v.s.Busy[i]
		if v.e.Spec.Has(b.Owner, b.Labels) {
			out = append(out, fleet.Found(b.Code, b.Subject, "%s", b.Reason).Then("wait for it, or --force %s", b.Code).Block(!o.forced(b.Code)))
		}
	}
	for i := range v.s.Backends {
		b := &v.s.Backends[i]
		if b.Blocks == "" || !v.sleeps(b) {
			continue
		}
		out = append(out, fleet.Found("env-backend", b.Kind+" "+b.Name, "is served by service %s/%s, whose pods would sleep: %s", b.Namespace, b.Service, b.Blocks).
			Then("leave it out of the environment, have it ignore failures, or --force env-backend").Block(!o.forced("env-backend")))
	}
	return out
}

// sleeps tells whether all pods behind a backend are the environment's.
func (v *view) sleeps(b *fleet.Backend) bool {
	for i := range v.s.Services {
		svc := &v.s.Services[i]
		if svc.Namespace != b.Namespace || svc.Name != b.Service || len(svc.Selector) == 0 {
			continue
		}
		ours := 0
		for j := range v.s.Pods {
			p := &v.s.Pods[j]
			if p.Finished || !leadsTo(svc, p) {
				continue
			}
			if !v.owns(p) {
				return false
			}
			ours++
		}
		return ours > 0
	}
	return false
}

func leadsTo(svc *fleet.Service, p *fleet.Pod) bool {
	if svc.Namespace != p.Ref.Namespace || len(svc.Selector) == 0 {
		return false
	}
	for k, want := range svc.Selector {
		if have, ok := p.Labels[k]; !ok || have != want {
			return false
		}
	}
	return true
}
