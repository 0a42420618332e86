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
	// hooksEvery is how old the word on a group's hooks may be. Only people change hooks, and it takes a call for each group.
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
	at    time.Time
	hooks []fleet.Hook
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
			in.Reclaimed, in.Scheduled = c.spot.told[in.ID], slices.Clone(c.schedule.told[in.ID])
		}
	}
	return nil
}

// Gaps says what the last observation with Notices could not read, each in a sentence.
func (c *Cloud) Gaps() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, what := range slices.Sorted(maps.Keys(c.gaps)) {
		f := c.gaps[what].finding()
		out = append(out, f.Subject+" "+f.Reason)
	}
	return out
}

// lack notes how a question went. A missing right counts as an answer, which stands as long as any; after other errors it is asked again in the
// next observation.
func (c *Cloud) lack(err error, what, right string) (answered bool, fatal error) {
	g, fatal := gapOf(err, what, right)
	c.mu.Lock()
	defer c.mu.Unlock()
	if g == nil {
		delete(c.gaps, what)
		return fatal == nil, fatal
	}
	c.gaps[what] = *g
	return g.right != "", nil
}

// learnHooks asks about the groups whose hooks it does not know, or not since a while. What keeps one from being read keeps none of the others.
func (c *Cloud) learnHooks(ctx context.Context, groups []fleet.Group) error {
	due := c.unhooked(groups)
	if len(due) == 0 {
		return nil
	}
	var mu sync.Mutex
	var troubles []error
	err := someAtATime(ctx, hooksAtOnce, due, func(ctx context.Context, scaling string) error {
		hooks, err := c.describeHooks(ctx, scaling)
		if codeIs(err, "ValidationError") {
			err = nil // the group went since it was described
		}
		switch _, fatal := gapOf(err, "", ""); {
		case fatal != nil:
			return fatal
		case err != nil:
			mu.Lock()
			troubles = append(troubles, err)
			mu.Unlock()
		}
		if err == nil || isDenied(err) {
			c.mu.Lock()
			c.hooks[scaling] = hooked{c.now(), hooks}
			c.mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = c.lack(errors.Join(troubles...), "the lifecycle hooks of groups", "autoscaling:DescribeLifecycleHooks")
	return err
}

// unhooked lists the Auto Scaling groups to ask about, and forgets those that have not been asked about for long.
func (c *Cloud) unhooked(groups []fleet.Group) []string {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.hooks, func(_ string, h hooked) bool { return now.Sub(h.at) > 10*hooksEvery })
	var out []string
	for i := range groups {
		name := groups[i].Scaling()
		if h, ok := c.hooks[name]; name != "" && (!ok || now.Sub(h.at) >= hooksEvery) {
			out = append(out, name)
		}
	}
	return out
}

// reclaims are the states of a spot request whose instance EC2 takes back, and whether it has done so already.
var reclaims = map[string]bool{
	"marked-for-termination": false, "marked-for-stop": false,
	"instance-terminated-by-price": true, "instance-terminated-no-capacity": true, "instance-terminated-capacity-oversubscribed": true,
	"instance-terminated-by-service": true, "instance-stopped-by-price": true, "instance-stopped-no-capacity": true,
}

// learnSpot asks which spot instances EC2 takes back, unless the groups have none.
func (c *Cloud) learnSpot(ctx context.Context, groups []fleet.Group) error {
	const what, right = "which spot instances EC2 takes back", "ec2:DescribeSpotInstanceRequests"
	if !anyInstance(groups, func(in *fleet.Instance) bool { return in.Spot }) {
		_, err := c.lack(nil, what, right)
		return err
	}
	now := c.now()
	c.mu.Lock()
	due := now.Sub(c.spot.at) >= spotEvery
	c.mu.Unlock()
	if !due {
		return nil
	}
	told, err := c.describeReclaims(ctx, now)
	answered, fatal := c.lack(err, what, right)
	if !answered {
		return fatal
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
	told, err := c.describeSchedule(ctx)
	answered, fatal := c.lack(err, "what EC2 has scheduled for instances", "ec2:DescribeInstanceStatus")
	if !answered {
		return fatal
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
