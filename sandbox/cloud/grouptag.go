package cloud

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

func checkGroupTag(t GroupTag) error {
	switch {
	case t.Key == "" || len(t.Key) > 128:
		return invalid("Tag key '%s' must have 1 to 128 characters", t.Key)
	case strings.HasPrefix(t.Key, "aws:"):
		return invalid("Invalid tag key: '%s'. Tag keys starting with 'aws:' are reserved for AWS use", t.Key)
	}
	return nil
}

// CreateOrUpdateTags sets tags of groups. Instances that run keep the tags they were launched with.
func (c *Cloud) CreateOrUpdateTags(tags []GroupTag) error {
	return c.write("autoscaling:CreateOrUpdateTags", func() error {
		for _, t := range tags {
			if _, err := c.w.findGroup(t.Group); err != nil {
				return err
			}
			if err := checkGroupTag(t); err != nil {
				return err
			}
		}
		for _, t := range tags {
			g := c.w.groups[t.Group]
			n := slices.IndexFunc(g.Tags, func(o GroupTag) bool { return o.Key == t.Key })
			if n >= 0 {
				g.Tags[n] = t
			} else {
				g.Tags = append(g.Tags, t)
			}
			c.emit(Event{Kind: GroupChanged, Group: g.Name})
		}
		return nil
	})
}

// DeleteGroupTags is DeleteTags of Auto Scaling: it removes tags of groups by key, whatever their value.
func (c *Cloud) DeleteGroupTags(tags []GroupTag) error {
	return c.write("autoscaling:DeleteTags", func() error {
		for _, t := range tags {
			if _, err := c.w.findGroup(t.Group); err != nil {
				return err
			}
		}
		for _, t := range tags {
			g := c.w.groups[t.Group]
			g.Tags = slices.DeleteFunc(g.Tags, func(o GroupTag) bool { return o.Key == t.Key })
			c.emit(Event{Kind: GroupChanged, Group: g.Name})
		}
		return nil
	})
}

// DescribeGroupTags is DescribeTags of Auto Scaling: all tags of groups that pass all filters, by group and then in the order in
// which they were set.
func (c *Cloud) DescribeGroupTags(filters []Filter) ([]GroupTag, error) {
	return read(c, "autoscaling:DescribeTags", func(w *world) ([]GroupTag, error) {
		if err := checkFilters("DescribeTags", filters, "auto-scaling-group", "key", "value", "propagate-at-launch"); err != nil {
			return nil, err
		}
		var out []GroupTag
		for _, name := range slices.Sorted(maps.Keys(w.groups)) {
			for _, t := range w.groups[name].Tags {
				if matchAll(filters, t.filterValue) {
					out = append(out, t)
				}
			}
		}
		return out, nil
	})
}

func (t GroupTag) filterValue(name string) []string {
	return []string{map[string]string{
		"auto-scaling-group": t.Group, "key": t.Key, "value": t.Value, "propagate-at-launch": strconv.FormatBool(t.Propagate),
	}[name]}
}
