package wire

import (
	"context"
	"slices"
	"strings"

	"drover.dev/sandbox/cloud"
)

// dialect is how a service writes requests and answers.
type dialect int

const (
	query    dialect = iota // AWS query: lists as X.member.1, answers wrapped in <ActionResponse><ActionResult>
	ec2q                    // EC2 query: lists as X.1 under names of their own, lower-camel answers with <item>
	json1                   // AWS JSON: the action in a header, names as they are
	restjson                // REST-JSON: the action in method and path, names with a small first letter
	rdsq                    // AWS query as RDS speaks it: members of lists have names of their own
)

// service is one AWS service: its name in credential scopes, its API version, and what of it is simulated.
type service struct {
	name    string
	version string
	xmlns   string
	dialect dialect
	actions map[string]action
}

var services = []*service{
	{"autoscaling", "2011-01-01", "http://autoscaling.amazonaws.com/doc/2011-01-01/", query, autoscalingActions},
	{"ec2", "2016-11-15", "http://ec2.amazonaws.com/doc/2016-11-15/", ec2q, ec2Actions},
	{"elasticloadbalancing", "2015-12-01", "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", query, elbActions},
	{"eks", "2017-11-01", "", restjson, eksActions},
	{"events", "2015-10-07", "", json1, eventsActions},
	{"rds", "2014-10-31", "http://rds.amazonaws.com/doc/2014-10-31/", rdsq, rdsActions},
	{"servicequotas", "2019-06-24", "", json1, quotaActions},
	{"sns", "2010-03-31", "http://sns.amazonaws.com/doc/2010-03-31/", query, snsActions},
	{"sqs", "2012-11-05", "", json1, sqsActions},
	{"ssm", "2014-11-06", "", json1, ssmActions},
	{"sts", "2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/", query, stsActions},
}

// serviceOf finds a service by the name in the credential scope, or by version for those who sign for something else.
func serviceOf(name, version string) *service {
	for _, s := range services {
		if s.name == name && (version == "" || version == s.version) {
			return s
		}
	}
	for _, s := range services {
		if s.version == version {
			return s
		}
	}
	return nil
}

// action is one simulated action. run makes exactly one call of the cloud, so that a fault strikes once.
type action struct {
	in      func() any // a new Input
	honours []string   // paths of Input fields, "Filters" or "Overrides.InstanceType"; a path covers what is below it
	run     func(c *cloud.Cloud, in any) (any, error)
	wait    func(ctx context.Context, c *cloud.Cloud, in any) (any, error) // instead of run, for an action that may wait; ends with its request

	method, path string // of REST services only
}

// on makes an action of a typed function; honours is a list of paths separated by space.
func on[In, Out any](honours string, run func(*cloud.Cloud, *In) (*Out, error)) action {
	return action{
		in:      func() any { return new(In) },
		honours: strings.Fields(honours),
		run: func(c *cloud.Cloud, in any) (any, error) {
			out, err := run(c, in.(*In))
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// long makes an action that may wait of a typed function.
func long[In, Out any](honours string, run func(context.Context, *cloud.Cloud, *In) (*Out, error)) action {
	a := on(honours, func(c *cloud.Cloud, in *In) (*Out, error) { return run(context.Background(), c, in) })
	a.wait = func(ctx context.Context, c *cloud.Cloud, in any) (any, error) {
		out, err := run(ctx, c, in.(*In))
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	return a
}

func (a action) answer(ctx context.Context, c *cloud.Cloud, in any) (any, error) {
	if a.wait != nil {
		return a.wait(ctx, c, in)
	}
	return a.run(c, in)
}

// refuse answers for the first field that was set and is not honoured.
func (a action) refuse(set []string, name string) error {
	for _, path := range set {
		if !slices.ContainsFunc(a.honours, func(h string) bool { return path == h || strings.HasPrefix(path, h+".") }) {
			return cloud.NotSimulated(path, name)
		}
	}
	return nil
}
