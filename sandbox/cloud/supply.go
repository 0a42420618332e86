package cloud

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// recipe is what one launch is made from.
type recipe struct {
	template      TemplateRef
	configuration string
	data          TemplateData
}

// adoptSource refuses a source no launch could use, and completes the names of its templates as AWS shows them: with id, name
// and version. From then on the id counts.
func (c *Cloud) adoptSource(s Source) (Source, error) {
	given := 0
	for _, is := range []bool{s.Template != TemplateSpec{}, s.Configuration != "", s.Mixed != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return s, invalid("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	s = s.clone()
	specs := []*TemplateSpec{&s.Template}
	if s.Mixed != nil {
		if s.Mixed.Template == (TemplateSpec{}) {
			return s, invalid("Launch template must be specified for MixedInstancesPolicy.")
		}
		specs = append(specs, &s.Mixed.Template)
		for n := range s.Mixed.Overrides {
			specs = append(specs, &s.Mixed.Overrides[n].Template)
		}
	}
	for _, spec := range specs {
		if *spec == (TemplateSpec{}) {
			continue
		}
		t, err := c.w.findTemplate(spec.ID, spec.Name)
		if err != nil {
			return s, unusable(err)
		}
		*spec = TemplateSpec{t.ID, t.Name, cmp.Or(spec.Version, "$Default")}
	}
	_, err := c.recipes(s)
	return s, err
}

// recipes lists what a source can launch, the preferred first. Versions are resolved now, because that is when AWS does it: at
// every launch.
func (c *Cloud) recipes(s Source) ([]recipe, error) {
	if s.Configuration != "" {
		lc, ok := c.w.configs[s.Configuration]
		if !ok {
			return nil, invalid("Launch configuration name not found - A launch configuration with the name: %s does not exist", s.Configuration)
		}
		return []recipe{{configuration: lc.Name, data: lc.Data}}, nil
	}
	if s.Mixed == nil {
		r, err := c.fromTemplate(s.Template, "")
		return []recipe{r}, err
	}
	overrides := s.Mixed.Overrides
	if len(overrides) == 0 {
		overrides = []Override{{}}
	}
	var out []recipe
	for _, o := range overrides {
		spec := o.Template
		if spec == (TemplateSpec{}) {
			spec = s.Mixed.Template
		}
		r, err := c.fromTemplate(spec, cmp.Or(o.InstanceType, o.Needs.pick()))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (c *Cloud) fromTemplate(spec TemplateSpec, instanceType string) (recipe, error) {
	t, err := c.w.findTemplate(spec.ID, "")
	if err != nil {
		return recipe{}, unusable(err)
	}
	v, err := t.resolve(spec.Version)
	if err != nil {
		return recipe{}, unusable(err)
	}
	data := v.Data.clone()
	data.InstanceType = cmp.Or(instanceType, data.InstanceType)
	switch {
	case data.ImageID == "":
		return recipe{}, unusable(refuse("MissingParameter", "The request must contain the parameter ImageId"))
	case data.InstanceType == "":
		return recipe{}, unusable(refuse("MissingParameter", "The request must contain the parameter InstanceType"))
	}
	return recipe{template: TemplateRef{t.ID, t.Name, v.Number}, data: data}, nil
}

func unusable(err error) error {
	return invalid("You must use a valid fully-formed launch template. %s", err.(*Error).Message)
}

// shapes are the types that stand for instance attributes, smallest first: a fixed choice, where AWS weighs prices.
var shapes = []struct {
	name     string
	cpu, mib int
}{{"t3.medium", 2, 4096}, {"m5.large", 2, 8192}, {"r5.large", 2, 16384}, {"m5.xlarge", 4, 16384}, {"r5.xlarge", 4, 32768}, {"m5.2xlarge", 8, 32768}, {"m5.4xlarge", 16, 65536}}

// pick returns the smallest type that meets the needs, nothing if there are no needs, and the largest if none does.
func (n Needs) pick() string {
	if n == (Needs{}) {
		return ""
	}
	for _, s := range shapes {
		if s.cpu >= n.MinCPU && s.mib >= n.MinMiB && (n.MaxCPU == 0 || s.cpu <= n.MaxCPU) && (n.MaxMiB == 0 || s.mib <= n.MaxMiB) {
			return s.name
		}
	}
	return shapes[len(shapes)-1].name
}

// recipe chooses what the group launches next in a zone: the first of its recipes that EC2 has capacity for.
func (c *Cloud) recipe(g *Group, zone string) (recipe, error) {
	all, err := c.recipes(g.Source)
	if err != nil {
		return recipe{}, err
	}
	var limit error
	for _, r := range all {
		if c.dry(zone, r.data.InstanceType) {
			continue
		}
		r.data.Spot = r.data.Spot || g.wantsSpot()
		if limit = c.checkLimits(zone, r.data.InstanceType, r.data.Spot); limit == nil {
			return r, nil
		}
	}
	if limit != nil {
		return recipe{}, limit
	}
	return recipe{}, refuse("InsufficientInstanceCapacity", "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). "+
		"Our system will be working on provisioning additional capacity.", all[0].data.InstanceType, zone)
}

// onDemandOf says how many of n instances shall be on demand.
func (g *Group) onDemandOf(n int) int {
	if g.Source.Mixed == nil {
		return n
	}
	above := max(0, n-g.Source.Mixed.OnDemandBase)
	return n - above*g.Source.Mixed.SpotPercent/100
}

func (g *Group) wantsSpot() bool {
	onDemand, all := 0, 0
	for _, m := range g.Members {
		if m.counts() {
			all++
			if !m.Spot {
				onDemand++
			}
		}
	}
	return g.Source.Mixed != nil && onDemand >= g.onDemandOf(all+1)
}

// launchMember launches one instance in the first of the zones where it can. If it can in none, it records the failure of the
// first, asks for another look later, and returns false.
func (c *Cloud) launchMember(g *Group, zones []string, cause string) bool {
	var failure error
	for _, zone := range zones {
		r, err := c.recipe(g, zone)
		if err == nil {
			c.launchFrom(g, r, zone, cause)
			return true
		}
		if failure == nil {
			failure = err
		}
	}
	text := failure.(*Error).Message
	c.record(g, Activity{
		Zone: zones[0], Description: "Launching a new EC2 instance.  Status Reason: " + text + " Launching EC2 instance failed.",
		Cause: cause, Status: Failed, StatusMessage: text + " Launching EC2 instance failed.",
	})
	c.after(c.cfg.Timing.RetryTime, func() { c.wake(g) })
	return false
}

func (c *Cloud) launchFrom(g *Group, r recipe, zone, cause string) {
	i := c.launchAs(g, r, zone)
	a := c.record(g, Activity{
		Instance: i.ID, Zone: zone, Description: "Launching a new EC2 instance: " + i.ID, Cause: cause, Status: PreInService, Progress: 30,
	})
	m := g.newMember(i, r)
	m.moving = a.ID
	g.Members = append(slices.Clip(g.Members), m)
	c.emit(Event{Kind: GroupChanged, Group: g.Name})
}

func (g *Group) newMember(i *Instance, r recipe) Member {
	return Member{
		InstanceID: i.ID, Group: g.Name, Zone: i.Zone, Type: i.Type, Spot: i.Spot, State: LifecyclePending, Protected: g.ProtectNew,
		Template: r.template, Configuration: r.configuration,
	}
}

// launchAs launches a machine as the group's, with what the group gives to all of its own.
func (c *Cloud) launchAs(g *Group, r recipe, zone string) *Instance {
	tags := maps.Clone(r.data.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range g.Tags {
		if t.Propagate {
			tags[t.Key] = t.Value
		}
	}
	tags["aws:autoscaling:groupName"] = g.Name
	if r.template.ID != "" {
		tags["aws:ec2launchtemplate:id"] = r.template.ID
		tags["aws:ec2launchtemplate:version"] = strconv.Itoa(r.template.Version)
	}
	labels, taints := map[string]string(nil), []NodeTaint(nil)
	if n := c.w.nodegroupOf(g.Name); n != nil {
		labels, taints = n.nodeLabels(r.data.ImageID), slices.Clone(n.Taints)
	}
	return c.launch(Instance{
		Labels: labels, Taints: taints, Group: g.Name, Zone: zone, Type: r.data.InstanceType, ImageID: r.data.ImageID, Spot: r.data.Spot, KeyName: r.data.KeyName,
		UserData: r.data.UserData, LaunchTemplate: r.template, LaunchConfiguration: r.configuration, Tags: tags,
	})
}
