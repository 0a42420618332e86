package notice

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Fault is the kind of an Error.
type Fault string

// The faults.
const (
	Malformed   Fault = "malformed"   // it breaks the form that it should have
	Unsupported Fault = "unsupported" // it is well formed, and nothing that drover knows
)

// Error says why a body gives no notices. The message is for a person: coming again does not mend it.
type Error struct {
	Kind   Fault
	Where  string // JSON path: $.detail.instance-id; of what an SNS notification carries, $.Message.detail.instance-id
	What   string
	Line   int   // from 1, in the text that the path is in: the body, or the text that SNS carries
	Offset int64 // bytes before it in that text
}

func (e *Error) Error() string {
	return fmt.Sprintf("read notice: %s at %s (line %d, byte %d): %s", e.Kind, e.Where, e.Line, e.Offset, e.What)
}

// quote shows a text of others: in one line, without control characters, not all of a long one.
func quote(s string) string {
	const longest = 80
	if len(s) <= longest {
		return strconv.Quote(s)
	}
	cut := longest
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(s[:cut]), len(s))
}
