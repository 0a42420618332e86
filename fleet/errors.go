package fleet

import "time"

// Refused is a hand's error: the world does not allow the action now.
type Refused struct {
	Reason string
	Wait   time.Duration // asking again sooner is no use; zero leaves it to the engine
	Held   bool          // by somebody who may do so for long
	Denied bool          // a right is missing
}

func (r *Refused) Error() string { return r.Reason }

// Fatal is a hand's error that no retry mends: credentials that expired, a right that is missing.
type Fatal struct{ Err error }

func (f *Fatal) Error() string { return f.Err.Error() }
func (f *Fatal) Unwrap() error { return f.Err }
