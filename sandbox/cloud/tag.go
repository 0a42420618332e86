package cloud

import (
	"cmp"
	"slices"
	"strings"
)

// Tag is one tag of an EC2 resource.
type Tag struct {
	Resource     string
	ResourceType string // instance or launch-template
	Key, Value   string
}

// tagsOf finds the tags of an EC2 resource that can be changed.
func (w *world) tagsOf(id string) (tags map[string]string, kind string, err error) {
	switch {
	case strings.HasPrefix(id, "i-"):
		found, err := w.findInstances([]string{id})
		if err != nil {
			return nil, "", err
		}
		return found[0].Tags, "instance", nil
	case strings.HasPrefix(id, "lt-"):
		if t, ok := w.templates[id]; ok {
			return t.Tags, "launch-template", nil
		}
		return nil, "", refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	return nil, "", refuse("InvalidID", "The ID '%s' is not valid", id)
}

func (w *world) tagsOfAll(resources []string) ([]map[string]string, error) {
	if len(resources) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter resourceIdSet")
	}
	var out []map[string]string
	for _, id := range resources {
		tags, _, err := w.tagsOf(id)
		if err != nil {
			return nil, err
		}
		out = append(out, tags)
	}
	return out, nil
}

// CreateTags sets tags on instances and launch templates.
func (c *Cloud) CreateTags(resources []string, tags map[string]string) error {
	return c.write("ec2:CreateTags", func() error {
		sets, err := c.w.tagsOfAll(resources)
		if err != nil {
			return err
		}
		if len(tags) == 0 {
			return refuse("MissingParameter", "The request must contain the parameter tagSet")
		}
		if err := checkTagKeys(tags); err != nil {
			return err
		}
		for _, set := range sets {
			for k, v := range tags {
				set[k] = v
			}
		}
		return nil
	})
}

// DeleteTags removes tags by key; with a value other than nil only if the tag has that value. No tags at all means all of them,
// except AWS's own.
func (c *Cloud) DeleteTags(resources []string, tags map[string]*string) error {
	return c.write("ec2:DeleteTags", func() error {
		sets, err := c.w.tagsOfAll(resources)
		if err != nil {
			return err
		}
		for k := range tags {
			if strings.HasPrefix(k, "aws:") {
				return refuse("InvalidParameterValue", "Value ( %s ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use", k)
			}
		}
		for _, set := range sets {
			for k, v := range set {
				want, named := tags[k]
				if named && (want == nil || *want == v) || len(tags) == 0 && !strings.HasPrefix(k, "aws:") {
					delete(set, k)
				}
			}
		}
		return nil
	})
}

// DescribeTags returns the tags of instances and launch templates that pass all filters, by resource and key.
func (c *Cloud) DescribeTags(filters []Filter) ([]Tag, error) {
	return read(c, "ec2:DescribeTags", func(w *world) ([]Tag, error) {
		if err := checkFilters("DescribeTags", filters, "resource-id", "resource-type", "key", "value", "tag:"); err != nil {
			return nil, err
		}
		var all []Tag
		for id, i := range w.instances {
			for k, v := range i.Tags {
				all = append(all, Tag{id, "instance", k, v})
			}
		}
		for id, t := range w.templates {
			for k, v := range t.Tags {
				all = append(all, Tag{id, "launch-template", k, v})
			}
		}
		slices.SortFunc(all, func(a, b Tag) int {
			return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Key, b.Key))
		})
		return slices.DeleteFunc(all, func(t Tag) bool { return !matchAll(filters, t.filterValue) }), nil
	})
}

func (t Tag) filterValue(name string) []string {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return tagValue("tag:"+key, map[string]string{t.Key: t.Value})
	}
	return []string{map[string]string{"resource-id": t.Resource, "resource-type": t.ResourceType, "key": t.Key, "value": t.Value}[name]}
}

func checkTagKeys(tags map[string]string) error {
	for k := range tags {
		switch {
		case k == "":
			return refuse("InvalidParameterValue", "Tag key cannot be empty")
		case len(k) > 127:
			return refuse("InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters")
		case strings.HasPrefix(k, "aws:"):
			return refuse("InvalidParameterValue", "Value ( %s ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use", k)
		}
	}
	return nil
}
