package cloud

// userID is who all users of the sandbox are.
const userID = "AIDADROVERSANDBOX0000"

// Identity says who calls.
type Identity struct {
	Account, ARN, UserID string
}

// GetCallerIdentity answers the same user to everybody: the sandbox has no access control.
func (c *Cloud) GetCallerIdentity() (Identity, error) {
	return read(c, "sts:GetCallerIdentity", func(*world) (Identity, error) {
		return Identity{c.cfg.Account, "arn:aws:iam::" + c.cfg.Account + ":user/drover-sandbox", userID}, nil
	})
}
