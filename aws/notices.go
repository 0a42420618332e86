package aws

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"drover.dev/fleet"
)

// How long an answer stands. Each question but that for hooks is one for the whole region, whatever the number of instances.
const (
	// hooksEvery is how old the word on a group's hooks may be before it is asked again, a share of the groups at a time. Only people change hooks, and it
	// takes a call for each group.
	hooksEvery  = time.Minute
	hooksAtOnce = 4
	// spotEvery is a quarter of the two minutes between EC2's word and the machine's end: the sweep finds what no message told.
	spotEvery = 30 * time.Second
	// scheduleEvery serves those who look; what is scheduled is days ahead.
	scheduleEvery = 30 * time.Second
	// spotNotice is how long before its end EC2 says that it takes an instance back.
	spotNotice = 2 * time.Minute
	// requestsAtOnce and statusesAtOnce are AWS's limits on what one page may hold.
	requestsAtOnce = 1000
	statusesAtOnce = 1000
)

// hooked is the hooks of a group at a moment.
type hooked struct {
	at, seen time.Time
	hooks    []fleet.Hook
}

// spotNews is when EC2 said that it takes spot instances back, by instance.
type spotNews struct {
	at   time.Time
	told map[string]time.Time
}

// scheduleNews is what EC2 will do to instances, by instance.
type scheduleNews struct {
	at   time.Time
	told map[string][]fleet.Scheduled
}

// observeNotices fills in what is about to happen to the instances. What cannot be read is a gap, and the last answer stands: the groups are to be
// seen without it. Only what no further call would survive is an error.
func (c *Cloud) observeNotices(ctx context.Context, groups []fleet.Group) error {
	if err := c.learnHooks(ctx, groups); err != nil {
		return err
	}
	if err := c.learnSpot(ctx, groups); err != nil {
		return err
	}
	if err := c.learnSchedule(ctx, groups); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range groups {
		g := &groups[i]
		g.Hooks = slices.Clone(c.hooks[g.Scaling()].hooks)
		for j := range g.Instances {
			in := &g.Instances[j]
			g.Blind = c.schedule.at.IsZero()
			in.Reclaimed, in.Scheduled = c.spot.told[in.ID], slices.Clone(c.schedule.told[in.ID])
		}
	}
	return nil
}

// learnHooks asks about the groups whose hooks it does not know, or not since a while. What keeps one from being read keeps none of the others.
func (c *Cloud) learnHooks(ctx context.Context, groups []fleet.Group) error {
	asked := c.unhooked(groups)
	_, err := c.aside(ctx, "the lifecycle hooks of groups", "autoscaling:DescribeLifecycleHooks", func(ctx context.Context) error {
		var mu sync.Mutex
		var troubles []error
		err := someAtATime(ctx, hooksAtOnce, asked, func(ctx context.Context, scaling string) error {
			err := c.learnHooksOf(ctx, scaling)
			if stops(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			troubles = append(troubles, err)
			return nil
		})
		if err != nil {
			return err
		}
		return errors.Join(troubles...)
	})
	return err
}

func (c *Cloud) learnHooksOf(ctx context.Context, scaling string) error {
	hooks, err := c.describeHooks(ctx, scaling)
	if err != nil && !codeIs(err, "ValidationError") { // then the group went since it was described
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks[scaling] = hooked{c.now(), c.now(), hooks}
	return nil
}

// unhooked lists the Auto Scaling groups to ask about.
func (c *Cloud) unhooked(groups []fleet.Group) []string {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for i := range groups {
		name := groups[i].Scaling()
		if name == "" {
			continue
		}
		names = append(names, name)
		if h, ok := c.hooks[name]; ok {
			h.seen = now
			c.hooks[name] = h
		}
	}
	return due(names, now, hooksEvery, func(name string) time.Time { return c.hooks[name].at })
}

// reclaims are the states of a spot request whose instance EC2 takes back, and whether it has done so already.
var reclaims = map[string]bool{
	"marked-for-termination": false, "marked-for-stop": false,
	"instance-terminated-by-price": true, "instance-terminated-no-capacity": true, "instance-terminated-capacity-oversubscribed": true,
	"instance-terminated-by-service": true, "instance-stopped-by-price": true, "instance-stopped-no-capacity": true,
}

// learnSpot asks which spot instances EC2 takes back, unless the groups have none.
func (c *Cloud) learnSpot(ctx context.Context, groups []fleet.Group) error {
	now, any := c.now(), anyInstance(groups, func(in *fleet.Instance) bool { return in.Spot })
	c.mu.Lock()
	due := now.Sub(c.spot.at) >= spotEvery
	c.mu.Unlock()
	if any && !due {
		return nil
	}
	var told map[string]time.Time
	answered, err := c.aside(ctx, "which spot instances EC2 takes back", "ec2:DescribeSpotInstanceRequests", func(ctx context.Context) (err error) {
		if any {
			told, err = c.describeReclaims(ctx, now)
		}
		return err
	})
	if !answered || !any {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spot = spotNews{now, told}
	return nil
}

func (c *Cloud) describeReclaims(ctx context.Context, now time.Time) (map[string]time.Time, error) {
	told := map[string]time.Time{}
	pages := ec2.NewDescribeSpotInstanceRequestsPaginator(c.ec2, &ec2.DescribeSpotInstanceRequestsInput{
		Filters: []ec2types.Filter{{Name: sdk.String("status-code"), Values: slices.Sorted(maps.Keys(reclaims))}}, MaxResults: sdk.Int32(requestsAtOnce),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.SpotInstanceRequests {
			if r.InstanceId != nil && r.Status != nil {
				told[*r.InstanceId] = reclaimedAt(r.Status, now)
			}
		}
	}
	return told, nil
}

// reclaimedAt is when EC2 said so. Of an instance that it has taken already, the request tells only when: the word was due before that.
func reclaimedAt(status *ec2types.SpotInstanceStatus, now time.Time) time.Time {
	at := now
	if status.UpdateTime != nil {
		at = *status.UpdateTime
	}
	if reclaims[sdk.ToString(status.Code)] {
		return at.Add(-spotNotice)
	}
	return at
}

// effects says what scheduled events do, by EC2's codes.
var effects = map[string]string{
	string(ec2types.EventCodeInstanceReboot): "reboot", string(ec2types.EventCodeSystemReboot): "reboot", string(ec2types.EventCodeSystemMaintenance): "maintain",
	string(ec2types.EventCodeInstanceRetirement): "retire", string(ec2types.EventCodeInstanceStop): "stop",
}

// learnSchedule asks what EC2 will do to instances, unless the groups have none.
func (c *Cloud) learnSchedule(ctx context.Context, groups []fleet.Group) error {
	now := c.now()
	c.mu.Lock()
	due := now.Sub(c.schedule.at) >= scheduleEvery && anyInstance(groups, func(*fleet.Instance) bool { return true })
	c.mu.Unlock()
	if !due {
		return nil
	}
	var told map[string][]fleet.Scheduled
	answered, err := c.aside(ctx, "what EC2 has scheduled for instances", "ec2:DescribeInstanceStatus", func(ctx context.Context) (err error) {
		told, err = c.describeSchedule(ctx)
		return err
	})
	if !answered {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schedule = scheduleNews{now, told}
	return nil
}

func (c *Cloud) describeSchedule(ctx context.Context) (map[string][]fleet.Scheduled, error) {
	told := map[string][]fleet.Scheduled{}
	pages := ec2.NewDescribeInstanceStatusPaginator(c.ec2, &ec2.DescribeInstanceStatusInput{
		Filters: []ec2types.Filter{{Name: sdk.String("event.code"), Values: slices.Sorted(maps.Keys(effects))}}, MaxResults: sdk.Int32(statusesAtOnce),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.InstanceStatuses {
			if events := scheduled(s.Events); len(events) > 0 {
				told[sdk.ToString(s.InstanceId)] = events
			}
		}
	}
	return told, nil
}

// scheduled reads what is still to come, the earliest first: EC2 shows what is over for another week, and says so in the description only.
func scheduled(events []ec2types.InstanceStatusEvent) []fleet.Scheduled {
	var out []fleet.Scheduled
	for _, e := range events {
		words := sdk.ToString(e.Description)
		if strings.HasPrefix(words, "[Completed]") || strings.HasPrefix(words, "[Canceled]") {
			continue
		}
		out = append(out, fleet.Scheduled{
			ID: sdk.ToString(e.InstanceEventId), Effect: cmp.Or(effects[string(e.Code)], string(e.Code)), NotBefore: sdk.ToTime(e.NotBefore), Words: words,
		})
	}
	slices.SortFunc(out, func(a, b fleet.Scheduled) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func anyInstance(groups []fleet.Group, is func(*fleet.Instance) bool) bool {
	for i := range groups {
		for j := range groups[i].Instances {
			if is(&groups[i].Instances[j]) {
				return true
			}
		}
	}
	return false
}
