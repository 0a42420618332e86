package cloud

import "fmt"

// Error is an answer of AWS that refuses a call: its code and text are AWS's own, Status is the HTTP status it comes with.
type Error struct {
	Code    string
	Message string
	Status  int
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 400}
}

func invalid(format string, args ...any) error { return refuse("ValidationError", format, args...) }

// NotSimulated is the loud answer to whatever the sandbox does not model; AWS has no such code, so nobody can take it for AWS's.
func NotSimulated(what, action string) error {
	return refuse("NotSimulated", "the drover sandbox does not simulate %s of %s", what, action)
}
