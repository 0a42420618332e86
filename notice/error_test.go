package notice

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// event is an event of EventBridge, about to be broken.
func event(source, kind, detail string) string {
	return fmt.Sprintf("{\"source\": %q, \"detail-type\": %q, \"time\": \"2026-03-04T10:00:00Z\",\n\"detail\": %s}", source, kind, detail)
}

func TestRefused(t *testing.T) {
	spot := func(detail string) string { return event("aws.ec2", "EC2 Spot Instance Interruption Warning", detail) }
	change := func(more string) string {
		return event("aws.health", "AWS Health Event", `{"service": "EC2", "eventTypeCategory": "scheduledChange", "eventArn": "arn:1", "eventTypeCode": "X", "startTime": "Thu, 05 Mar 2026 15:10:00 GMT", `+more+`}`)
	}
	hook := func(transition, more string) string {
		return `{"Time": "2026-03-04T10:00:00Z", "LifecycleTransition": "` + transition + `", "LifecycleHookName": "h", "AutoScalingGroupName": "g", ` + more + `}`
	}
	const dying = `"EC2InstanceId": "i-0a1b2c3d"`
	for name, tc := range map[string]struct {
		body string
		kind Fault
		want string // where: what
	}{
		"nothing":           {"", Malformed, `$ (line 1 at ""): is empty`},
		"blanks":            {" \n ", Malformed, `$ (line 2 at " "): is empty`},
		"prose":             {"<html>", Malformed, `$ (line 1 at "<html>"): is no JSON: invalid character '<'`},
		"cut in half":       {"{\"a\":\n1", Malformed, `$ (line 2 at "1"): is no JSON: unexpected end of JSON input`},
		"a comma":           {"{\n\"a\": 1,\n}", Malformed, `$ (line 3 at "}"): is no JSON: invalid character '}'`},
		"two values":        {"{} {}", Malformed, `$ (line 1 at "{}"): is no JSON: invalid character '{'`},
		"not UTF-8":         {"{\"a\":\n\"\xff\"}", Malformed, `$ (line 2 at "\xff\"}"): is not UTF-8`},
		"a NUL":             {"{\"a\": \"\x00\"}", Malformed, `$ (line 1 at "\x00\"}"): is no JSON: invalid character '\x00'`},
		"too long":          {strings.Repeat(" ", MaxBody) + "{}", Malformed, `$ (line 1 at "            "): has 262146 bytes, at most 262144 are read`},
		"too deep":          {`{"a": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, Malformed, `is nested more than 64 deep`},
		"far too deep":      {strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5), Malformed, `exceeded max depth`},
		"a list":            {"[]", Malformed, `$ (line 1 at "[]"): is a list, want an object`},
		"null":              {"null", Malformed, `$ (line 1 at "null"): is null, want an object`},
		"encoded twice":     {`"{\"version\":\"0\"}"`, Malformed, `$ (line 1 at "\"{\\\"version\\"): is text, want an object (encoded twice?)`},
		"another message":   {`{"Records": [{"s3": {}}]}`, Unsupported, `$ (line 1 at "{\"Records\": "): is no event, no notification of a lifecycle hook and no SNS notification: it has 1 keys: "Records"`},
		"no keys":           {`{}`, Unsupported, `it has no keys`},
		"a key twice":       {"{\"detail-type\": \"a\",\n \"detail\": {\"x\": 1, \"x\": 2}}", Malformed, `$.detail (line 2 at "\"x\": 2}}"): has the key "x" twice`},
		"unknown source":    {event("aws.s3", "Object Created", "{}"), Unsupported, `$.source (line 1 at "\"aws.s3\", \"d"): "aws.s3" is no source that drover knows`},
		"unknown kind":      {event("aws.ec2", "EC2 Fleet Progress", "{}"), Unsupported, `$.detail-type (line 1 at "\"EC2 Fleet P"): "EC2 Fleet Progress" of aws.ec2 is no kind of event`},
		"no source":         {`{"detail-type": "x"}`, Malformed, `$.source (line 1 at "{\"detail-typ"): is missing`},
		"source a number":   {`{"detail-type": "x", "source": 1e400}`, Malformed, `$.source (line 1 at "1e400}"): is a number, want text`},
		"kind is null":      {`{"detail-type": null, "source": "aws.ec2"}`, Malformed, `$.detail-type (line 1 at "null, \"sourc"): is null, want text`},
		"no time":           {`{"source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation", "detail": {}}`, Malformed, `$.time (line 1 at "{\"source\": \""): is missing`},
		"time is a number":  {`{"time": 5, "source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation", "detail": {}}`, Malformed, `$.time (line 1 at "5, \"source\":"): is a number, want text`},
		"time is no time":   {`{"time": "soon", "source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation", "detail": {}}`, Malformed, `$.time (line 1 at "\"soon\", \"sou"): "soon" is no moment`},
		"no detail":         {`{"time": "2026-03-04T10:00:00Z", "source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation"}`, Malformed, `$.detail (line 1 at "{\"time\": \"20"): is missing`},
		"detail is null":    {spot("null"), Malformed, `$.detail (line 2 at "null}"): is null, want an object`},
		"detail is text":    {spot(`"{}"`), Malformed, `$.detail (line 2 at "\"{}\"}"): is text, want an object`},
		"detail is empty":   {spot("{}"), Malformed, `$.detail.instance-id (line 2 at "{}}"): is missing`},
		"instance null":     {spot(`{"instance-id": null, "instance-action": "stop"}`), Malformed, `$.detail.instance-id (line 2 at "null, \"insta"): is null, want text`},
		"instance empty":    {spot(`{"instance-id": "", "instance-action": "stop"}`), Malformed, `$.detail.instance-id (line 2 at "\"\", \"instanc"): is empty`},
		"instance of old":   {spot(`{"instance-id": "i-xyz", "instance-action": "stop"}`), Malformed, `"i-xyz" is no instance id`},
		"instance too long": {spot(`{"instance-id": "i-0a1b2c3d4e5f607180", "instance-action": "stop"}`), Malformed, `is no instance id`},
		"instance in caps":  {spot(`{"instance-id": "i-0A1B2C3D", "instance-action": "stop"}`), Malformed, `is no instance id`},
		"instance and more": {spot(`{"instance-id": "i-0a1b2c3d\n", "instance-action": "stop"}`), Malformed, `"i-0a1b2c3d\n" has control characters`},
		"other case":        {spot(`{"Instance-Id": "i-0a1b2c3d", "instance-action": "stop"}`), Malformed, `$.detail.instance-id (line 2 at "{\"Instance-I"): is missing`},
		"unknown action":    {spot(`{"instance-id": "i-0a1b2c3d", "instance-action": "explode"}`), Unsupported, `$.detail.instance-action (line 2 at "\"explode\"}}"): "explode" is nothing that EC2 is known to do`},
		"a long text":       {spot(`{"instance-id": "i-0a1b2c3d", "instance-action": "` + strings.Repeat("é", 1000) + `"}`), Malformed, `has 2000 bytes, at most 1600 are kept`},
		"unknown state":     {event("aws.ec2", "EC2 Instance State-change Notification", `{"instance-id": "i-0a1b2c3d", "state": "sleepy"}`), Unsupported, `$.detail.state (line 2 at "\"sleepy\"}}"): "sleepy" is no state`},
		"no deadline":       {event("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning", `{"instance-id": "i-0a1b2c3d", "instance-action": "terminate"}`), Malformed, `$.detail.instance-termination-time`},
		"block without end": {event("aws.ec2", "Capacity Block Expiration Warning", `{"capacity-reservation-id": "cr-1"}`), Malformed, `$.detail.end-date (line 2 at "{\"capacity-r"): is missing`},
		"block of nothing":  {event("aws.ec2", "Capacity Block Expiration Warning", `{"end-date": "2026-03-04T11:30:00Z"}`), Malformed, `$.detail.capacity-reservation-id`},
		"wrong transition":  {event("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action", `{"LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}`), Malformed, `$.detail.LifecycleTransition (line 2 at "\"autoscaling"): is "autoscaling:EC2_INSTANCE_LAUNCHING" in an event of a termination`},
		"wrong launch":      {event("aws.autoscaling", "EC2 Instance-launch Lifecycle Action", `{"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}`), Malformed, `in an event of a launch`},
		"no category":       {event("aws.health", "AWS Health Event", `{"service": "EC2"}`), Malformed, `$.detail.eventTypeCategory`},
		"unknown category":  {event("aws.health", "AWS Health Event", `{"service": "EC2", "eventTypeCategory": "rumour"}`), Unsupported, `"rumour" is no category`},
		"unknown status":    {change(`"statusCode": "perhaps"`), Unsupported, `$.detail.statusCode`},
		"entities a text":   {change(`"affectedEntities": "i-0a1b2c3d"`), Malformed, `$.detail.affectedEntities (line 2 at "\"i-0a1b2c3d\""): is text, want a list`},
		"entity a text":     {change(`"affectedEntities": [{"entityValue": "i-0a1b2c3d"}, "i-0a1b2c3e"]`), Malformed, `$.detail.affectedEntities[1] (line 2 at "\"i-0a1b2c3e\""): is text, want an object`},
		"entity of nothing": {change(`"affectedEntities": [{}]`), Malformed, `$.detail.affectedEntities[0].entityValue`},
		"entity broken":     {change(`"affectedEntities": [{"entityValue": "i-0a1b2c3d"}, {"entityValue": "i-all"}]`), Malformed, `$.detail.affectedEntities[1].entityValue (line 2 at "\"i-all\"}]}}"): "i-all" is no instance id`},
		"many entities":     {change(`"affectedEntities": [` + strings.Repeat(`{"entityValue":"i-0a1b2c3d"},`, 1000) + `{}]`), Malformed, `has 1001 entities, at most 1000 are read`},
		"no time of change": {event("aws.health", "AWS Health Event", `{"service": "EC2", "eventTypeCategory": "scheduledChange", "eventArn": "arn:1", "eventTypeCode": "X"}`), Malformed, `$.detail.startTime`},
		"change of no name": {event("aws.health", "AWS Health Event", `{"service": "EC2", "eventTypeCategory": "scheduledChange"}`), Malformed, `$.detail.eventArn`},
		"hook of nobody":    {hook(terminating, `"x": 0`), Malformed, `$.EC2InstanceId (line 1 at "{\"Time\": \"20"): is missing`},
		"hook's token":      {hook(terminating, dying+`, "LifecycleActionToken": 7`), Malformed, `$.LifecycleActionToken`},
		"other transition":  {hook("autoscaling:EC2_INSTANCE_DANCING", dying), Unsupported, `$.LifecycleTransition`},
		"other event":       {`{"Time": "2026-03-04T10:00:00Z", "Event": "autoscaling:EC2_INSTANCE_TERMINATE"}`, Unsupported, `$.Event (line 1 at "\"autoscaling")`},
		"test of no group":  {`{"Time": "2026-03-04T10:00:00Z", "Event": "autoscaling:TEST_NOTIFICATION"}`, Malformed, `$.AutoScalingGroupName`},
		"no canary":         {event(CanarySource, CanaryType, `{"id": "c"}`), Malformed, `$.detail.cluster`},
		"topic's question":  {`{"Type": "SubscriptionConfirmation", "TopicArn": "arn:t", "Message": "You have chosen"}`, Unsupported, `$.Type (line 1 at "\"Subscriptio"): "SubscriptionConfirmation" is no Notification`},
		"topic's silence":   {`{"TopicArn": "arn:t"}`, Malformed, `$.Message (line 1 at "{\"TopicArn\":"): is missing, want the message as text`},
		"topic's object":    {`{"TopicArn": "arn:t", "Message": {}}`, Malformed, `$.Message (line 1 at "{}}"): is an object, want the message as text`},
		"topic's prose":     {`{"TopicArn": "arn:t", "Message": "hello"}`, Malformed, `$.Message (line 1, byte 0): is no JSON`},
		"topic in a topic":  {`{"TopicArn": "arn:t", "Message": "{\"TopicArn\": \"arn:u\", \"Message\": \"{}\"}"}`, Unsupported, `$.Message (line 1, byte 0): is an SNS notification inside another`},
		"topic, no state":   {`{"TopicArn": "arn:t", "Message": "{\"source\": \"aws.ec2\",\n\"detail-type\": 5}"}`, Malformed, `$.Message.detail-type (line 2, byte 37): is a number, want text`},
		"long keys, deep":   {strings.Repeat(`{"`+strings.Repeat("é", 200)+`":`, 70) + "1" + strings.Repeat("}", 70), Malformed, `is nested more than 64 deep`},
		"long keys":         {`{"` + strings.Repeat("é", 1000) + `": 1, "` + strings.Repeat("x", 1000) + `": 2}`, Unsupported, `it has 2 keys: `},
		"an odd key":        {"{\"detail\\u0007\": {\"b\": 1, \"b\": 2}}", Malformed, `$["detail\a"] (line 1 at "\"b\": 2}}"): has the key "b" twice`},
	} {
		ns, err := Parse(tc.body)
		located := (*Error)(nil)
		if !errors.As(err, &located) {
			t.Errorf("%s: gave %v, %v", name, ns, err)
			continue
		}
		if got := place(tc.body, located); located.Kind != tc.kind || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s, want %s %s", name, got, tc.kind, tc.want)
		}
		if len(err.Error()) > 500 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// place shows an error with what is written where it points; inside of what SNS carries, with the line and byte only.
func place(body string, e *Error) string {
	if strings.HasPrefix(e.Where, "$.Message") && !strings.HasPrefix(e.What, "is missing") && !strings.HasPrefix(e.What, "is an object") {
		return fmt.Sprintf("%s (line %d, byte %d): %s", e.Where, e.Line, e.Offset, e.What)
	}
	return fmt.Sprintf("%s (line %d at %.12q): %s", e.Where, e.Line, body[e.Offset:], e.What)
}

// One entity that cannot be read must not let the others of its message be forgotten silently: the whole message is an error.
func TestNothingBesideAnError(t *testing.T) {
	body := event("aws.health", "AWS Health Event", `{"service": "EC2", "eventTypeCategory": "scheduledChange", "eventArn": "a", "eventTypeCode": "X",
		"startTime": "Thu, 05 Mar 2026 15:10:00 GMT", "affectedEntities": [{"entityValue": "i-0a1b2c3d"}, {"entityValue": 7}]}`)
	if ns, err := Parse(body); err == nil || ns != nil {
		t.Errorf("%v, %v", ns, err)
	}
}

// What is known not to matter has no say in whether the rest is read.
func TestIgnored(t *testing.T) {
	for name, body := range map[string]string{
		"resources of any form": event("aws.ec2", "EC2 Instance Rebalance Recommendation", `{"instance-id": "i-0a1b2c3d"}, "resources": {"a": [null, 1e999]}`),
		"a token of odd length": `{"Time": "2026-03-04T10:00:00Z", "LifecycleTransition": "` + terminating + `", "LifecycleHookName": "h", "AutoScalingGroupName": "g", "EC2InstanceId": "i-0a1b2c3d", "LifecycleActionToken": "x"}`,
		"metadata of any form":  `{"Time": "2026-03-04T10:00:00Z", "LifecycleTransition": "` + launching + `", "LifecycleHookName": "h", "AutoScalingGroupName": "g", "EC2InstanceId": "i-0a1b2c3d", "NotificationMetadata": {"a": 1}}`,
		"nulls":                 `{"Time": "2026-03-04T10:00:00Z", "LifecycleTransition": "` + launching + `", "LifecycleHookName": "h", "AutoScalingGroupName": "g", "EC2InstanceId": "i-0a1b2c3d", "Origin": null, "Event": null}`,
	} {
		if ns, err := Parse(body); err != nil || len(ns) != 1 {
			t.Errorf("%s: %v, %v", name, ns, err)
		}
	}
}
