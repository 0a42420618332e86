package cloud

import "strings"

// Faults are named by action, with the service ("ec2:DescribeTags") or without ("DescribeTags", of any service); "*" is every
// action. They strike before the call does anything, except a lost reply.
type faults struct {
	rules   []*fault
	expired bool
}

type fault struct {
	action string
	left   int   // below 0: for ever
	err    error // nil: throttling, in the words of the service called
	after  bool  // strikes when the call has taken effect
}

// Throttle makes the next n calls of action answer Throttling (RequestLimitExceeded in EC2).
func (c *Cloud) Throttle(action string, n int) { c.addFault(&fault{action: action, left: n}) }

// FailNext makes the next call of action answer err and do nothing. Several wait in line.
func (c *Cloud) FailNext(action string, err error) {
	c.addFault(&fault{action: action, left: 1, err: err})
}

// Refuse makes every call of action answer err from now on and do nothing, as where a right is missing.
func (c *Cloud) Refuse(action string, err error) {
	c.addFault(&fault{action: action, left: -1, err: err})
}

// LoseReply makes the next call of action do its work and then answer InternalFailure, as when a connection breaks too late.
func (c *Cloud) LoseReply(action string) {
	c.addFault(&fault{action: action, left: 1, after: true, err: &Error{"InternalFailure", "the sandbox lost the reply, as told", 500}})
}

// ExpireCredentials makes every call answer ExpiredToken until it is switched off again.
func (c *Cloud) ExpireCredentials(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.expired = on
}

func (c *Cloud) addFault(f *fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.rules = append(c.faults.rules, f)
}

func (f *faults) before(action string) error {
	if f.expired {
		return &Error{"ExpiredToken", "The security token included in the request is expired", 403}
	}
	return f.strike(action, false)
}

func (f *faults) strike(action string, after bool) error {
	service, name, _ := strings.Cut(action, ":")
	for _, r := range f.rules {
		if r.left == 0 || r.after != after || r.action != "*" && r.action != action && r.action != name {
			continue
		}
		r.left--
		switch {
		case r.err != nil:
			return r.err
		case service == "ec2":
			return &Error{"RequestLimitExceeded", "Request limit exceeded.", 503}
		case service == "eks" || service == "ssm" || service == "servicequotas":
			return &Error{"ThrottlingException", "Rate exceeded", 429}
		case service == "events":
			return &Error{"ThrottlingException", "Rate exceeded", 400}
		case service == "sqs":
			return &Error{"RequestThrottled", "Request is throttled.", 403}
		case service == "s3":
			return &Error{"SlowDown", "Please reduce your request rate.", 503}
		}
		return &Error{"Throttling", "Rate exceeded", 400}
	}
	return nil
}
