package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sender is a service of AWS that sends on behalf of a resource.
type sender struct{ service, source string }

// grant is one statement of a queue's policy, as far as it can concern a service that sends.
type grant struct {
	deny       bool
	services   []string // "*" is everybody
	actions    []string
	resources  []string
	conditions []condition
}

type condition struct {
	key  string // in small letters
	like bool   // values hold wildcards
	any  []string
}

// many is a list in a policy document, where a list of one may be written without its brackets.
type many []string

func (m *many) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("[")) {
		return json.Unmarshal(b, (*[]string)(m))
	}
	var one any
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	switch v := one.(type) {
	case string:
		*m = many{v}
	case bool:
		*m = many{strconv.FormatBool(v)}
	default:
		return errors.New("neither a text nor a list of texts")
	}
	return nil
}

type policyDocument struct {
	Version, ID string
	Statement   statements
}

type statement struct {
	Sid, Effect                          string
	Principal                            json.RawMessage
	Action, Resource                     many
	Condition                            map[string]map[string]many
	NotPrincipal, NotAction, NotResource json.RawMessage
}

type statements []statement

func (s *statements) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte("[")) {
		b = slices.Concat([]byte("["), b, []byte("]"))
	}
	var all []statement
	err := strictly(b, &all)
	*s = all
	return err
}

// strictly refuses fields that are not known and text behind the end.
func strictly(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// readPolicy understands the policy of a queue. What it cannot judge it refuses, since to guess would be to let in or shut out.
func readPolicy(document string) ([]grant, error) {
	if document == "" {
		return nil, nil
	}
	var d policyDocument
	if err := strictly([]byte(document), &d); err != nil || len(d.Statement) == 0 {
		return nil, badAttribute("Policy")
	}
	var out []grant
	for _, s := range d.Statement {
		g, err := s.grant()
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func (s statement) grant() (grant, error) {
	if s.NotPrincipal != nil || s.NotAction != nil || s.NotResource != nil {
		return grant{}, NotSimulated("NotPrincipal, NotAction and NotResource", "a queue's policy")
	}
	services, err := readPrincipal(s.Principal)
	if err != nil || s.Effect != "Allow" && s.Effect != "Deny" || len(s.Action) == 0 || len(s.Resource) == 0 {
		return grant{}, badAttribute("Policy")
	}
	g := grant{deny: s.Effect == "Deny", services: services, actions: s.Action, resources: s.Resource}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			c, err := readCondition(operator, key, values)
			if err != nil {
				return grant{}, err
			}
			g.conditions = append(g.conditions, c)
		}
	}
	return g, nil
}

// readPrincipal lists the services that a principal names; users and accounts are nobody here, everybody is "*".
func readPrincipal(raw json.RawMessage) ([]string, error) {
	var all many
	if json.Unmarshal(raw, &all) == nil {
		if !slices.Equal(all, many{"*"}) {
			return nil, badAttribute("Policy")
		}
		return all, nil
	}
	var kinds struct{ AWS, Service, Federated, CanonicalUser many }
	if err := strictly(raw, &kinds); err != nil {
		return nil, badAttribute("Policy")
	}
	if slices.Contains(kinds.AWS, "*") {
		return []string{"*"}, nil
	}
	return kinds.Service, nil
}

var conditionKeys = []string{"aws:sourcearn", "aws:sourceaccount", "aws:securetransport"}

func readCondition(operator, key string, values []string) (condition, error) {
	c := condition{key: strings.ToLower(key), any: values}
	if !slices.Contains(conditionKeys, c.key) {
		return c, NotSimulated("the condition key "+key, "a queue's policy")
	}
	switch operator {
	case "StringEquals", "Bool":
	case "StringLike", "ArnLike", "ArnEquals": // AWS: the last two behave alike
		c.like = true
	default:
		return c, NotSimulated("the condition operator "+operator, "a queue's policy")
	}
	return c, nil
}

// covers tells whether a statement speaks of this sender. A key that the request does not have fails its condition.
func (g grant) covers(from sender, account, queueARN string) bool {
	known := map[string]string{"aws:sourcearn": from.source, "aws:sourceaccount": account, "aws:securetransport": "true"}
	holds := func(c condition) bool {
		value := known[c.key]
		return value != "" && slices.ContainsFunc(c.any, func(want string) bool { return want == value || c.like && glob(want, value) })
	}
	return (slices.Contains(g.services, "*") || slices.Contains(g.services, from.service)) &&
		slices.ContainsFunc(g.actions, func(a string) bool { return glob(strings.ToLower(a), "sqs:sendmessage") }) &&
		slices.ContainsFunc(g.resources, func(r string) bool { return glob(r, queueARN) }) &&
		!slices.ContainsFunc(g.conditions, func(c condition) bool { return !holds(c) })
}

// managedKey is AWS's own key for queues. Its policy lets no service in and cannot be changed.
const managedKey = "alias/aws/sqs"

// admits tells whether a service may send to the queue.
func (q *queue) admits(from sender, account string) bool {
	if q.attributes["KmsMasterKeyId"] == managedKey {
		return false
	}
	allowed := from.service == scaling // it sends with the hook's role, which the account's own queue needs no policy for
	for _, g := range q.grants {
		if g.covers(from, account, q.arn) {
			if g.deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

// glob matches a pattern in which * is any text and ? any one character.
func glob(pattern, s string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return pattern == s
	}
	expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`(?s)^` + expression + `$`).MatchString(s)
}
