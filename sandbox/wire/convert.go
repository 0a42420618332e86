package wire

import (
	"time"

	"drover.dev/sandbox/cloud"
)

// The SDK's types are all pointers, the cloud's are none; these are the bridges that have no better home.

func list[T, U any](in []T, f func(T) U) []U {
	var out []U
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

// orEmpty makes AWS's empty list, which is shown, of one that is not there.
func orEmpty[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

// optional leaves out what is empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func i32(n int) *int32 { return new(int32(n)) }

// bound is an upper limit, of which 0 is none.
func bound(n int) *int32 {
	if n == 0 {
		return nil
	}
	return i32(n)
}

func integer(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

func seconds(n *int32) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}

func missing(field string) error {
	return &cloud.Error{Code: "ValidationError", Message: "The request must contain the parameter " + field, Status: 400}
}
