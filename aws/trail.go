package aws

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"drover.dev/fleet"
)

const (
	// trailSource is who says so.
	trailSource = "auto scaling"
	// trailPages bounds how far back a trail goes, in pages of a hundred: a group that scales all day has thousands of activities in AWS's six weeks.
	trailPages = 20
)

// Trail is what Auto Scaling did with an instance of a group, and the cause in its words, in order of time. A group that is gone has a trail for six
// weeks; an instance of no known group has none.
func (c *Cloud) Trail(ctx context.Context, group, instance string) ([]fleet.Entry, error) {
	if group == "" || instance == "" {
		return nil, nil
	}
	scaling, err := c.scalingName(ctx, group)
	if err != nil {
		return nil, err
	}
	for _, deleted := range []bool{false, true} { // its group may be gone, or another one of the same name
		out, err := c.activities(ctx, scaling, instance, deleted)
		if err != nil {
			return nil, doing("describe the scaling activities of group "+group, err)
		}
		if len(out) > 0 {
			fleet.SortEntries(out)
			return out, nil
		}
	}
	return nil, nil
}

// activities lists what a group did with an instance, the newest first, back to its launch.
func (c *Cloud) activities(ctx context.Context, scaling, instance string, deleted bool) ([]fleet.Entry, error) {
	in := &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &scaling, MaxRecords: sdk.Int32(100)}
	if deleted {
		in.IncludeDeletedGroups = &deleted
	}
	var out []fleet.Entry
	pages := autoscaling.NewDescribeScalingActivitiesPaginator(c.scaling, in)
	for n := 0; n < trailPages && pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if codeIs(err, "ValidationError") && strings.Contains(err.Error(), "not found") {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range page.Activities {
			a := &page.Activities[i]
			if !strings.Contains(sdk.ToString(a.Description), instance) {
				continue
			}
			out = append(out, entries(a)...)
			if strings.HasPrefix(sdk.ToString(a.Description), "Launching") {
				return out, nil // nothing can have happened to it before
			}
		}
	}
	return out, nil
}

// entries are an activity's begin, with its cause, and its end.
func entries(a *astypes.Activity) []fleet.Entry {
	what := sdk.ToString(a.Description)
	begin := fleet.Entry{At: sdk.ToTime(a.StartTime), Source: trailSource, What: what}
	if cause := sdk.ToString(a.Cause); cause != "" {
		begin.What += ": " + cause
	}
	if a.EndTime == nil {
		return []fleet.Entry{begin}
	}
	end := fleet.Entry{At: *a.EndTime, Source: trailSource, What: what + ": " + string(a.StatusCode)}
	if words := sdk.ToString(a.StatusMessage); words != "" {
		end.What += ": " + words
	}
	return []fleet.Entry{begin, end}
}
