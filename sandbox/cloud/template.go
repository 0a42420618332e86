package cloud

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Template is a launch template with all its versions.
type Template struct {
	ID, Name  string
	Created   time.Time
	CreatedBy string
	Default   int // version number
	Tags      map[string]string
	Versions  []TemplateVersion // by number, ascending
	seq       int               // order of creation
}

// Latest is the highest version number.
func (t *Template) Latest() int { return t.Versions[len(t.Versions)-1].Number }

// TemplateVersion is one version; it never changes.
type TemplateVersion struct {
	Number      int
	Description string
	Created     time.Time
	Data        TemplateData
	seq         int // order of creation among all templates, for policies that ask which is oldest
}

// TemplateData is what instances are made from.
type TemplateData struct {
	ImageID         string
	InstanceType    string
	KeyName         string
	UserData        string
	SecurityGroups  []string
	InstanceProfile string            // name or ARN, kept as given
	Tags            map[string]string // of the instance
	Spot            bool
}

// TemplateSpec names a version of a template as users do: by ID or Name; Version is a number, $Latest, $Default, or empty for
// $Default.
type TemplateSpec struct{ ID, Name, Version string }

// TemplateRef names a version of a template as instances do: exactly.
type TemplateRef struct {
	ID, Name string
	Version  int
}

func (t *Template) clone() Template {
	n := *t
	n.Tags = maps.Clone(t.Tags)
	n.Versions = slices.Clone(t.Versions)
	return n
}

func (t *Template) version(number int) (TemplateVersion, bool) {
	n := slices.IndexFunc(t.Versions, func(v TemplateVersion) bool { return v.Number == number })
	if n < 0 {
		return TemplateVersion{}, false
	}
	return t.Versions[n], true
}

func (w *world) findTemplate(id, name string) (*Template, error) {
	switch {
	case id != "" && name != "":
		return nil, refuse("InvalidParameterCombination", "You may specify either the launch template ID or the launch template name, but not both.")
	case id == "" && name == "":
		return nil, refuse("MissingParameter", "The request must contain the parameter LaunchTemplateId or LaunchTemplateName")
	case id != "":
		if t, ok := w.templates[id]; ok {
			return t, nil
		}
		return nil, refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	for _, t := range w.templates {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, refuse("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

func (t *Template) resolve(version string) (TemplateVersion, error) {
	number := 0
	switch version {
	case "$Latest":
		number = t.Latest()
	case "$Default", "":
		number = t.Default
	default:
		n, err := strconv.Atoi(version)
		if err != nil {
			return TemplateVersion{}, refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", version, t.ID)
		}
		number = n
	}
	v, ok := t.version(number)
	if !ok {
		return v, refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", version, t.ID)
	}
	return v, nil
}

// CreateLaunchTemplate makes a template with its version 1.
func (c *Cloud) CreateLaunchTemplate(name, description string, data TemplateData, tags map[string]string) (out Template, err error) {
	err = c.write("ec2:CreateLaunchTemplate", func() error {
		if name == "" {
			return refuse("MissingParameter", "The request must contain the parameter LaunchTemplateName")
		}
		if _, err := c.w.findTemplate("", name); err == nil {
			return refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
		if err := checkTagKeys(tags); err != nil {
			return err
		}
		own := maps.Clone(tags)
		if own == nil {
			own = map[string]string{}
		}
		t := &Template{
			ID: c.hexID("lt"), Name: name, Created: c.now(), CreatedBy: "arn:aws:iam::" + c.cfg.Account + ":user/drover-sandbox",
			Default: 1, Tags: own, seq: c.nextSeq(),
			Versions: []TemplateVersion{{1, description, c.now(), data.clone(), c.nextSeq()}},
		}
		c.w.templates[t.ID] = t
		out = t.clone()
		return nil
	})
	return out, err
}

// CreateLaunchTemplateVersion adds a version: data laid over the version source, or data alone if source is empty.
func (c *Cloud) CreateLaunchTemplateVersion(id, name, source, description string, data TemplateData) (ref TemplateRef, out TemplateVersion, err error) {
	err = c.write("ec2:CreateLaunchTemplateVersion", func() error {
		t, err := c.w.findTemplate(id, name)
		if err != nil {
			return err
		}
		if source != "" {
			from, err := t.resolve(source)
			if err != nil {
				return err
			}
			data = data.over(from.Data)
		}
		out = TemplateVersion{t.Latest() + 1, description, c.now(), data.clone(), c.nextSeq()}
		t.Versions = append(t.Versions, out)
		ref = TemplateRef{t.ID, t.Name, out.Number}
		return nil
	})
	return ref, out, err
}

// ModifyLaunchTemplate sets the default version.
func (c *Cloud) ModifyLaunchTemplate(id, name, defaultVersion string) (out Template, err error) {
	err = c.write("ec2:ModifyLaunchTemplate", func() error {
		t, err := c.w.findTemplate(id, name)
		if err != nil {
			return err
		}
		v, err := t.resolve(defaultVersion)
		if err != nil {
			return err
		}
		t.Default = v.Number
		out = t.clone()
		return nil
	})
	return out, err
}

// DeleteLaunchTemplate removes a template. Groups that use it keep their instances and can launch no more.
func (c *Cloud) DeleteLaunchTemplate(id, name string) (out Template, err error) {
	err = c.write("ec2:DeleteLaunchTemplate", func() error {
		t, err := c.w.findTemplate(id, name)
		if err != nil {
			return err
		}
		delete(c.w.templates, t.ID)
		out = t.clone()
		return nil
	})
	return out, err
}

// DescribeLaunchTemplates returns the templates with one of the ids or names (any, if there are none) that pass all filters, in
// order of creation.
func (c *Cloud) DescribeLaunchTemplates(ids, names []string, filters []Filter) ([]Template, error) {
	return read(c, "ec2:DescribeLaunchTemplates", func(w *world) ([]Template, error) {
		if err := checkFilters("DescribeLaunchTemplates", filters, "launch-template-name", "tag-key", "tag:"); err != nil {
			return nil, err
		}
		for _, id := range ids {
			if _, err := w.findTemplate(id, ""); err != nil {
				return nil, err
			}
		}
		for _, name := range names {
			if _, err := w.findTemplate("", name); err != nil {
				return nil, err
			}
		}
		var out []Template
		for _, t := range w.templates {
			ok := matchAll(filters, func(name string) []string {
				if name == "launch-template-name" {
					return []string{t.Name}
				}
				return tagValue(name, t.Tags)
			})
			if ok && (len(ids)+len(names) == 0 || slices.Contains(ids, t.ID) || slices.Contains(names, t.Name)) {
				out = append(out, t.clone())
			}
		}
		slices.SortFunc(out, func(a, b Template) int { return cmp.Compare(a.seq, b.seq) })
		return out, nil
	})
}

// DescribeLaunchTemplateVersions returns the named versions of a template, or all of them, newest first.
func (c *Cloud) DescribeLaunchTemplateVersions(id, name string, versions []string) (out Template, err error) {
	return read(c, "ec2:DescribeLaunchTemplateVersions", func(w *world) (Template, error) {
		t, err := w.findTemplate(id, name)
		if err != nil {
			return Template{}, err
		}
		out := t.clone()
		slices.Reverse(out.Versions)
		if len(versions) == 0 {
			return out, nil
		}
		out.Versions = nil
		for _, v := range versions {
			found, err := t.resolve(v)
			if err != nil {
				return Template{}, err
			}
			out.Versions = append(out.Versions, found)
		}
		return out, nil
	})
}

func (d TemplateData) clone() TemplateData {
	d.SecurityGroups = slices.Clone(d.SecurityGroups)
	d.Tags = maps.Clone(d.Tags)
	return d
}

// over fills what d leaves open from base.
func (d TemplateData) over(base TemplateData) TemplateData {
	d.ImageID = cmp.Or(d.ImageID, base.ImageID)
	d.InstanceType = cmp.Or(d.InstanceType, base.InstanceType)
	d.KeyName = cmp.Or(d.KeyName, base.KeyName)
	d.UserData = cmp.Or(d.UserData, base.UserData)
	d.InstanceProfile = cmp.Or(d.InstanceProfile, base.InstanceProfile)
	d.Spot = d.Spot || base.Spot
	if d.SecurityGroups == nil {
		d.SecurityGroups = base.SecurityGroups
	}
	if d.Tags == nil {
		d.Tags = base.Tags
	}
	return d
}

// nextSeq numbers things by creation: several can be made at the same moment of a virtual clock.
func (c *Cloud) nextSeq() int {
	c.made++
	return c.made
}
