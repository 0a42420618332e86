package notice

import (
	"fmt"
	"strings"

	"drover.dev/fleet"
)

// health reads an AWS Health event: one notice for every instance in it. AWS sends it again when something changes, and in pages when it has many
// entities; every page speaks for its own. That an entity is not in an event any more says nothing, since it may be on another page.
func health(r *reader, n fleet.Notice, detail value) []fleet.Notice {
	service, category := r.need(detail, "service"), r.need(detail, "eventTypeCategory")
	if r.err != nil || service != "EC2" {
		return nil
	}
	switch category {
	case "scheduledChange":
		return r.scheduled(n, detail)
	case "issue", "accountNotification", "investigation":
		return nil
	}
	r.unsupported(detail.get("eventTypeCategory"), "%s is no category of AWS Health that drover knows", quote(category))
	return nil
}

// scheduled reads a change that AWS announces days before. The event has a region and an account of its own: the envelope's are of who sent it.
func (r *reader) scheduled(n fleet.Notice, detail value) []fleet.Notice {
	arn, code := r.need(detail, "eventArn"), r.need(detail, "eventTypeCode")
	n.Kind, n.ID, n.Effect = fleet.ScheduledChange, ID(fleet.ScheduledChange, arn), Effect(code)
	n.Deadline, n.Over = r.moment(detail, "startTime"), r.over(detail, code)
	if region := r.optional(detail, "eventRegion"); region != "" {
		n.Region = region
	}
	if account := r.optional(detail, "affectedAccount"); account != "" {
		n.Account = account
	}
	var ns []fleet.Notice
	seen := map[string]bool{}
	for _, e := range r.entities(detail) {
		of := n
		of.Instance = r.entity(e)
		of.Over = n.Over || strings.EqualFold(r.optional(e, "status"), "RESOLVED")
		of.Why = scheduledWhy(of, code)
		if of.Instance != "" && !seen[of.Instance] {
			seen[of.Instance] = true
			ns = append(ns, of)
		}
	}
	return ns
}

func scheduledWhy(n fleet.Notice, code string) string {
	what := n.Effect
	if what == "" {
		what = "a change"
	}
	if n.Over {
		return fmt.Sprintf("AWS no longer plans for %s: %s at %s (%s)", n.Instance, what, clock(n.Deadline), code)
	}
	return fmt.Sprintf("AWS plans for %s: %s at %s (%s)", n.Instance, what, clock(n.Deadline), code)
}

// over tells whether an event takes back what it or another one announced. Events without a status are of older forms, which had none.
func (r *reader) over(detail value, code string) bool {
	for _, end := range []string{"_CANCELLED", "_CANCELED", "_COMPLETED", "_COMPLETE"} {
		if strings.HasSuffix(code, end) {
			return true
		}
	}
	switch status := r.optional(detail, "statusCode"); strings.ToLower(status) {
	case "open", "upcoming", "":
		return false
	case "closed", "cancelled", "canceled", "completed":
		return true
	default:
		r.unsupported(detail.get("statusCode"), "%s is no status of AWS Health that drover knows", quote(status))
		return false
	}
}

func (r *reader) entities(detail value) []value {
	v := detail.get("affectedEntities")
	switch v.kind() {
	case absent, null:
		return nil
	case list:
	default:
		r.wrong(v, "is %s, want a list", v.kind())
		return nil
	}
	if n := len(v.node.items); n > MaxEntities {
		r.wrong(v, "has %d entities, at most %d are read", n, MaxEntities)
		return nil
	}
	return v.items()
}

// entity is the instance that an entity is: by its id, or by an ARN that ends in it. It is "" for what is none: a host, a volume, an account.
func (r *reader) entity(v value) string {
	if v.kind() != object {
		r.wrong(v, "is %s, want an object", v.kind())
		return ""
	}
	name := r.need(v, "entityValue")
	if _, id, ok := strings.Cut(name, ":instance/"); ok {
		name = id
	}
	if !strings.HasPrefix(name, "i-") {
		return ""
	}
	if !instanceID.MatchString(name) {
		r.wrong(v.get("entityValue"), "%s is no instance id", quote(name))
		return ""
	}
	return name
}
