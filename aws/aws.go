// Package aws is the hand on AWS: it fills the cloud's half of a snapshot, carries out actions on groups, instances, hooks, targets and databases, brings
// the messages of a queue, and keeps texts in a bucket. It is the only reader and writer of AWS tags.
//
// It reaches AWS through the SDK's usual configuration (profile, region, environment, endpoint), so that whatever speaks AWS's protocols at
// that endpoint will do.
package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"drover.dev/fleet"
)

// markTag is the tag that carries a run's GroupMark on an Auto Scaling group.
const markTag = "drover.dev/rotation"

// Cloud is one AWS account in one region.
type Cloud struct {
	scaling *autoscaling.Client
	ec2     *ec2.Client
	elb     *elb.Client
	sts     *sts.Client
	eks     *eks.Client
	ssm     *ssm.Client
	quotas  *servicequotas.Client
	sqs     *sqs.Client
	events  *eventbridge.Client
	rds     *rds.Client
	s3      *s3.Client
	region  string
	now     func() time.Time

	// Notices has Groups tell also what is about to happen to instances: hooks, spot reclaims, scheduled events. It is for who works on many nodes for
	// long: a right that is missing refuses one action then, rather than being fatal. Set it before the first call.
	Notices bool
	// Cluster is the name of the cluster that Notices are for, as tags have it. Groups that are tagged with another one's are listed with their instances,
	// and nothing more is asked about them. Without it all groups are asked about. Set it before the first call.
	Cluster string

	mu        sync.Mutex
	met       map[string]birth    // by instance id
	targets   map[string]settings // by ARN
	scalings  map[string]scaling  // by the group's own name, as last observed
	clusters  map[string]bool     // of the node groups met so far
	surveyed  survey
	pods      pods
	templates map[string]versions    // by id, as last answered
	managed   map[string]managedNews // by CLUSTER/NAME of the node group
	hooks     map[string]hooked      // by Auto Scaling group
	spot      spotNews
	schedule  scheduleNews
	gaps      map[string]lacking // what the last observation could not read, by what it is
	forgot    time.Time          // when forget last did
}

// birth is what EC2 says of an instance once and for all.
type birth struct {
	at   time.Time
	spot bool
	seen time.Time // when a group last had the instance
}

// scaling is the name that Auto Scaling has for a group.
type scaling struct {
	name string
	seen time.Time
}

// New makes the clients. It calls nothing yet.
func New(cfg sdk.Config) *Cloud {
	return &Cloud{
		scaling: autoscaling.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), elb: elb.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg),
		eks: eks.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg), quotas: servicequotas.NewFromConfig(cfg),
		sqs: sqs.NewFromConfig(cfg), events: eventbridge.NewFromConfig(cfg), rds: rds.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, byPath), region: cfg.Region, now: time.Now,
		met: map[string]birth{}, hooks: map[string]hooked{}, managed: map[string]managedNews{}, gaps: map[string]lacking{},
		targets: map[string]settings{}, scalings: map[string]scaling{}, clusters: map[string]bool{},
		surveyed: survey{holds: map[string]map[string]bool{}, seen: map[string]time.Time{}, told: health{}, owed: map[string]bool{}},
	}
}

// Account says whose account this is, which also proves that the credentials work. An error is Fatal when they do not, and not while AWS is busy or away.
func (c *Cloud) Account(ctx context.Context) (account, region string, err error) {
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", doing("ask AWS who we are", err)
	}
	return sdk.ToString(out.Account), c.region, nil
}

// expired lists the codes by which AWS says that credentials are no good; no retry mends them.
var expired = map[string]bool{
	"ExpiredToken": true, "ExpiredTokenException": true, "RequestExpired": true, "InvalidClientTokenId": true, "UnrecognizedClientException": true,
	"AuthFailure": true, "SignatureDoesNotMatch": true, "MissingAuthenticationToken": true,
}

// denied lists the codes by which AWS says that a right is missing.
var denied = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "UnauthorizedOperation": true, "KmsAccessDenied": true, "KMS.AccessDeniedException": true,
}

// missingRight is AWS's refusal for want of a right.
type missingRight struct{ code, message string }

func (m *missingRight) Error() string {
	return fmt.Sprintf("AWS refuses: %s: %s; grant drover that permission", m.code, m.message)
}

// grantAgain is how long to wait for somebody to grant a right.
const grantAgain = time.Minute

// endure makes a missing right a refusal: whoever works on many nodes does meanwhile what it may.
func endure(err error) error {
	var right *missingRight
	if !errors.As(err, &right) {
		return err
	}
	return &fleet.Refused{Reason: err.Error(), Wait: grantAgain, Denied: true}
}

// isDenied tells whether a right is missing, before and after explain.
func isDenied(err error) bool {
	var api smithy.APIError
	var right *missingRight
	return errors.As(err, &right) || errors.As(err, &api) && denied[api.ErrorCode()]
}

// serverStatus finds the answer of a server that is busy or broken, where a provider of credentials tells of it in words only.
var serverStatus = regexp.MustCompile(`StatusCode: (429|5[0-9][0-9])\b`)

// isAway tells whether whoever hands out credentials is out of reach, busy or broken: waiting mends that. The metadata service does not count: a machine
// outside of EC2 has none, and there its silence means that nothing else had credentials.
func isAway(err error) bool {
	var reply interface{ HTTPStatusCode() int }
	if errors.As(err, &reply) && (reply.HTTPStatusCode() == http.StatusTooManyRequests || reply.HTTPStatusCode() >= http.StatusInternalServerError) {
		return true
	}
	var network net.Error
	return serverStatus.MatchString(err.Error()) || errors.As(err, &network) && !strings.Contains(err.Error(), "ec2imds")
}

// explain says what AWS answered, and what to do about it. What was being done is for the caller to say.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		unfetched := strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "refresh cached credentials")
		switch {
		case unfetched && isAway(err):
			return fmt.Errorf("AWS credentials cannot be had now: %w", err)
		case unfetched:
			return &fleet.Fatal{Err: fmt.Errorf("AWS credentials: %w; set AWS_PROFILE, or log in (aws sso login)", err)}
		}
		return err
	}
	code := api.ErrorCode()
	switch {
	case expired[code]:
		return &fleet.Fatal{Err: fmt.Errorf("AWS credentials are not accepted: %s: %s; renew them (aws sso login) and start again: drover goes on where it stopped", code, api.ErrorMessage())}
	case denied[code]:
		return &fleet.Fatal{Err: &missingRight{code, api.ErrorMessage()}}
	case code == "ScalingActivityInProgress" || code == "ResourceContention" || code == "ResourceInUseException" || code == "TooManyRequestsException" || strings.Contains(code, "Throttl") || code == "RequestLimitExceeded" || code == "SlowDown":
		return &fleet.Refused{Reason: fmt.Sprintf("AWS is busy: %s: %s", code, api.ErrorMessage())}
	}
	return fmt.Errorf("%s: %s", code, api.ErrorMessage())
}

// doing puts what was being done before what AWS answered.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, explain(err))
}

// said is AWS's own message, without its code.
func said(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return err.Error()
}

// codeIs tells whether an error of AWS has one of the codes.
func codeIs(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}
