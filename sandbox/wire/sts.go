package wire

import (
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"drover.dev/sandbox/cloud"
)

var stsActions = map[string]action{
	"GetCallerIdentity": on("",
		func(c *cloud.Cloud, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
			who, err := c.GetCallerIdentity()
			return &sts.GetCallerIdentityOutput{Account: &who.Account, Arn: &who.ARN, UserId: &who.UserID}, err
		}),
}
