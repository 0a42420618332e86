package cloud

import (
	"maps"
	"slices"
	"time"
)

// LaunchConfiguration is the older form of a template; it has no versions and never changes.
type LaunchConfiguration struct {
	Name    string
	ARN     string
	Created time.Time
	Data    TemplateData
	seq     int
}

// CreateLaunchConfiguration makes a launch configuration.
func (c *Cloud) CreateLaunchConfiguration(name string, data TemplateData) error {
	return c.write("autoscaling:CreateLaunchConfiguration", func() error {
		switch {
		case name == "":
			return invalid("Launch configuration name is required")
		case c.w.configs[name] != nil:
			return refuse("AlreadyExists", "Launch Configuration by this name already exists - A launch configuration already exists with the name %s", name)
		case data.ImageID == "" || data.InstanceType == "":
			return invalid("Valid requests must contain either the InstanceID parameter or both the ImageId and InstanceType parameters.")
		}
		c.w.configs[name] = &LaunchConfiguration{name, c.arn("autoscaling", "launchConfiguration:"+c.uuid()+":launchConfigurationName/"+name), c.now(), data.clone(), c.nextSeq()}
		return nil
	})
}

// DescribeLaunchConfigurations returns the launch configurations of these names, or all, by name.
func (c *Cloud) DescribeLaunchConfigurations(names []string) ([]LaunchConfiguration, error) {
	return read(c, "autoscaling:DescribeLaunchConfigurations", func(w *world) ([]LaunchConfiguration, error) {
		var out []LaunchConfiguration
		for _, name := range slices.Sorted(maps.Keys(w.configs)) {
			if len(names) == 0 || slices.Contains(names, name) {
				out = append(out, *w.configs[name])
			}
		}
		return out, nil
	})
}

// DeleteLaunchConfiguration removes a launch configuration no group uses.
func (c *Cloud) DeleteLaunchConfiguration(name string) error {
	return c.write("autoscaling:DeleteLaunchConfiguration", func() error {
		if c.w.configs[name] == nil {
			return invalid("Launch configuration name not found - Launch configuration %s not found", name)
		}
		for _, g := range c.w.groups {
			if g.Source.Configuration == name {
				return refuse("ResourceInUse", "Cannot delete launch configuration %s because it is attached to AutoScalingGroup %s", name, g.Name)
			}
		}
		delete(c.w.configs, name)
		return nil
	})
}
