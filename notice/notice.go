// Package notice reads what AWS says about machines that go and come.
//
// Parse turns the body of one queue message into notices: an EventBridge event, a lifecycle hook's own notification, either of them inside an SNS
// notification, or the canary of drover check. A body that is understood and takes nobody away gives no notice and no error: an instance that is
// pending or running, AWS Health about another service, of another category, or about no instance. Everything else that is not a notice is an
// Error, which says where in the body the trouble is.
//
// The package never guesses: a field that it cannot read is an error and no default. It looks at no clock, and asks nobody.
package notice

import (
	"strings"
	"time"
	"unicode/utf8"

	"drover.dev/fleet"
)

// Limits of a body. They are far above what AWS sends, and low enough that no message costs more than a moment.
const (
	MaxBody     = 256 << 10 // SQS's own for many years
	MaxEntities = 1000      // of one AWS Health event; longer ones come in pages
	maxDepth    = 64        // nested objects and lists
	maxText     = 1600      // bytes of a text; the longest that AWS documents is the ARN of a Health event
)

// field is a name in a notice, and how many bytes of it a Departure object takes, as its definition says.
type field struct {
	name, text string
	most       int
}

// fields are the names that go on file. Words are shortened there; a name that was would be another's.
func fields(n fleet.Notice) []field {
	return []field{
		{"id", n.ID, 512}, {"group", n.Group, 256}, {"hook", n.Hook, 256}, {"token", n.Token, 256}, {"origin", n.Origin, 64}, {"destination", n.Destination, 64},
		{"effect", n.Effect, 64}, {"account", n.Account, 64}, {"region", n.Region, 64},
	}
}

// SpotNotice is how long EC2 leaves a spot instance that it takes back.
const SpotNotice = 2 * time.Minute

// ID is the Notice.ID of a signal: its kind and, where an instance can have several of that kind, which one: the hook's name, or the scheduled
// event's. It is the same however the signal came.
func ID(kind fleet.NoticeKind, which string) string {
	switch kind {
	case fleet.TerminateHook, fleet.LaunchHook, fleet.ScheduledChange:
		return string(kind) + "/" + which
	}
	return string(kind)
}

// Effect is what a scheduled change does to the machine, from AWS's code for it (instance-reboot, AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED): reboot,
// stop, retire, terminate, maintain, in the words of fleet.Scheduled. It is "" when the code does not tell.
func Effect(code string) string {
	code = strings.ToUpper(code)
	for _, e := range []struct{ in, effect string }{ // the first that fits: a reboot for maintenance is a reboot
		{"RETIREMENT", "retire"}, {"TERMINATION", "terminate"}, {"REBOOT", "reboot"}, {"STOP", "stop"}, {"MAINTENANCE", "maintain"},
	} {
		if strings.Contains(code, e.in) {
			return e.effect
		}
	}
	return ""
}

// Parse reads the body of a message. Its error is an *Error.
func Parse(body string) ([]fleet.Notice, error) {
	r := &reader{}
	v := r.document(body, "$")
	if r.err != nil {
		return nil, r.err
	}
	ns := r.message(v)
	for _, n := range ns {
		r.fits(v, n)
	}
	if r.err != nil {
		return nil, r.err
	}
	return ns, nil
}

// fits refuses what no object could hold: it would be tried again and again. A canary goes into no Departure.
func (r *reader) fits(v value, n fleet.Notice) {
	if n.Kind == fleet.CanaryNotice {
		return
	}
	for _, f := range fields(n) {
		if len(f.text) > f.most {
			r.wrong(v, "%s %s: at most %d bytes are kept", f.name, quote(f.text), f.most)
		}
	}
}

// message tells what shape a message has by its keys.
func (r *reader) message(v value) []fleet.Notice {
	switch {
	case v.kind() == text:
		r.wrong(v, "is text, want an object (encoded twice?)")
		return nil
	case v.kind() != object:
		r.wrong(v, "is %s, want an object", v.kind())
		return nil
	case v.has("detail-type"), v.has("detail_type"):
		return r.event(v)
	case v.has("TopicArn"), v.has("Message"):
		return r.sns(v)
	case v.has("LifecycleTransition"), v.has("LifecycleHookName"), v.has("Event"):
		return r.direct(v)
	}
	r.unsupported(v, "is no event, no notification of a lifecycle hook and no SNS notification: %s", v.keys())
	return nil
}

// sns unwraps an SNS notification. Its signature is not looked at: only the queue's own policy says who may send.
func (r *reader) sns(v value) []fleet.Notice {
	if kind := r.optional(v, "Type"); kind != "" && kind != "Notification" {
		r.unsupported(v.get("Type"), "%s is no Notification", quote(kind))
		return nil
	}
	message := v.get("Message")
	if message.kind() != text {
		r.wrong(message, "is %s, want the message as text", message.kind())
		return nil
	}
	inner := r.document(message.node.text, message.path)
	if r.err != nil {
		return nil
	}
	if inner.has("TopicArn") || inner.has("Message") {
		r.unsupported(inner, "is an SNS notification inside another")
		return nil
	}
	ns := r.message(inner)
	for i := range ns {
		ns[i].Source = fleet.FromSNS
	}
	return ns
}

// document reads a whole text as JSON. Text inside a text, as SNS has it, counts its lines by itself.
func (r *reader) document(body, path string) value {
	root := value{node: &node{}, path: path, body: body}
	if len(body) > MaxBody {
		r.wrong(root, "has %d bytes, at most %d are read", len(body), MaxBody)
		return root
	}
	if !utf8.ValidString(body) {
		root.node.at = firstInvalid(body)
		r.wrong(root, "is not UTF-8")
		return root
	}
	n, err := parse(body)
	if err != nil {
		root.node.at = err.at
		r.wrong(value{node: root.node, path: path + err.path, body: body}, "%s", err.what)
		return root
	}
	root.node = n
	return root
}

func firstInvalid(s string) int {
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(s)
}
