package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// The rules that a pipeline is checked by.
var (
	nameTaken         = fleet.RuleOf("name-taken")
	queueMissing      = fleet.RuleOf("queue-missing")
	queuePermission   = fleet.RuleOf("queue-permission")
	queueRetention    = fleet.RuleOf("queue-retention")
	queueDead         = fleet.RuleOf("queue-dead-letters")
	ruleMissing       = fleet.RuleOf("rule-missing")
	hookMissing       = fleet.RuleOf("hook-missing")
	hookResult        = fleet.RuleOf("hook-result")
	hookCompetes      = fleet.RuleOf("hook-competes")
	holdShort         = fleet.RuleOf("hold-short")
	zonesUnguarded    = fleet.RuleOf("zones-unguarded")
	delayLong         = fleet.RuleOf("delay-long")
	capacityRebalance = fleet.RuleOf("capacity-rebalance")
	instancesWait     = fleet.RuleOf("instances-wait")
	messagesKept      = fleet.RuleOf("messages-kept")
	leftBehind        = fleet.RuleOf("left-behind")
)

// found is a finding without its advice yet.
type found fleet.Finding

func finding(r fleet.Rule, subject, reason string, args ...any) found {
	return found{Code: r.Code, Blocks: r.Blocks == "yes", Subject: subject, Reason: fmt.Sprintf(reason, args...)}
}

func (f found) next(format string, args ...any) fleet.Finding {
	f.Next = fmt.Sprintf(format, args...)
	return fleet.Finding(f)
}

func notOurs(subject, owner, cluster string) found {
	if owner == "" {
		return finding(nameTaken, subject, "it exists, and no tag %s says that it is drover's", OwnerTag)
	}
	return finding(nameTaken, subject, "it is drover's for cluster %s, not for %s", owner, cluster)
}

const setupDoes = "drover setup does it"

// EKS's own hook on the Auto Scaling group under a managed node group, and how long EKS waits for pods in practice.
const (
	eksHook = "Terminate-LC-Hook"
	eksHold = 15 * time.Minute
)

// handler is in the names of workloads of another program that empties nodes for the same notices.
const handler = "aws-node-termination-handler"

// Check says what is missing, the pipeline first, then group by group.
func Check(w Wanted, f Found, s *fleet.Snapshot) []fleet.Finding {
	out := append(w.checkQueue(f), w.checkRules(f)...)
	for _, g := range w.Groups {
		scaling, there := f.Groups[g.Scaling]
		if !there {
			continue
		}
		out = append(out, w.checkHook(g, scaling)...)
		out = append(out, w.checkHold(g, scaling)...)
		if seen := s.Group(g.Name); seen != nil {
			out = append(out, w.checkGroup(seen, scaling)...)
		}
	}
	return append(out, competitors(s)...)
}

func (w Wanted) checkQueue(f Found) []fleet.Finding {
	subject := "queue " + w.QueueName()
	q := f.Queue
	switch {
	case q == nil:
		return []fleet.Finding{finding(queueMissing, subject, "there is none, so only the sweep finds instances that go").next(setupDoes)}
	case q.Owner != w.Cluster:
		return []fleet.Finding{notOurs(subject, q.Owner, w.Cluster).next("name the right one with --queue")}
	}
	var out []fleet.Finding
	d, err := parsePolicy(q.Policy)
	if err != nil {
		out = append(out, finding(queuePermission, subject, "its %v", err).next("mend or remove the policy"))
	} else if slices.Contains(d.lacks(w.statements()), eventsStatement) {
		out = append(out, finding(queuePermission, subject, "its policy does not let EventBridge send to it from drover's rules").next(setupDoes))
	}
	if longest, group := w.longestHold(f); q.Retention < longest {
		out = append(out, finding(queueRetention, subject, "it forgets a message after %s, and a hook of group %s may hold an instance for %s", lasting(q.Retention), group, lasting(longest)).next(setupDoes))
	}
	if f.Dead == nil || q.Dead != w.QueueARN(w.DeadName()) {
		out = append(out, finding(queueDead, subject, "it sets nothing aside in %s: a message that nobody can take in comes again until it is forgotten", w.DeadName()).next(setupDoes))
	} else if n := f.Dead.Messages; n > 0 {
		out = append(out, finding(messagesKept, "queue "+f.Dead.Name, "about %d messages were set aside", n).next("look at them; each carries the reason, or was received %d times", Receives))
	}
	return out
}

func (w Wanted) longestHold(f Found) (longest time.Duration, group string) {
	for _, g := range w.Groups {
		for _, h := range f.Groups[g.Scaling].Hooks {
			if !h.Launching && h.Held() > longest {
				longest, group = h.Held(), g.Name
			}
		}
	}
	return longest, group
}

func (w Wanted) checkRules(f Found) []fleet.Finding {
	var out []fleet.Finding
	kinds := w.kinds()
	for i, want := range w.rules() {
		have, there := f.Rules[want.Name]
		why := ""
		switch {
		case !there:
			why = "there is none"
		case have.Owner != w.Cluster:
			out = append(out, notOurs("rule "+want.Name, have.Owner, w.Cluster).next("rename or delete it, or give it the tag %s=%s if it is meant for this", OwnerTag, w.Cluster))
			continue
		case have.Off:
			why = "it is disabled"
		case !alike(have.Pattern, want.Pattern):
			why = "its pattern is " + have.Pattern
		case !have.aims(want.Targets[0]):
			why = "it does not send to queue " + w.QueueName()
		}
		if why != "" {
			out = append(out, finding(ruleMissing, "rule "+want.Name, "%s, so drover does not hear when %s", why, kinds[i].means).next(setupDoes))
		}
	}
	return out
}

func (w Wanted) checkHook(g Group, have Scaling) []fleet.Finding {
	var out []fleet.Finding
	subject := "group " + g.Name
	own := have.hook(TerminateHook)
	if own == nil && !g.Managed {
		out = append(out, finding(hookMissing, subject, "no hook of drover's holds its instances: one that goes takes its pods with it").next("drover setup %s", g.Name))
	}
	if own != nil && own.Abandon != have.Retains {
		why := "the group retains abandoned instances, but an unanswered hook goes on and ends them"
		if own.Abandon {
			why = "an unanswered hook is abandoned, which skips other hooks and saves nothing: the group does not retain abandoned instances"
		}
		out = append(out, finding(hookResult, subject, "%s", why).next("drover setup %s", g.Name))
	}
	for _, h := range have.Hooks {
		if !h.Launching && h.Name != TerminateHook && !(g.Managed && h.Name == eksHook) {
			out = append(out, finding(hookCompetes, subject, "hook %s holds its instances as well, for up to %s: an instance goes when all hooks are answered", h.Name, lasting(h.Held())).
				next("delete it if drover is to take over from what answers it"))
		}
	}
	if have.Handled {
		out = append(out, finding(hookCompetes, subject, "its tags say that %s empties its nodes", handler).next("remove that tag once drover does"))
	}
	return out
}

// checkHold compares the longest that a pod may take to stop with how long its instance is held for it.
func (w Wanted) checkHold(g Group, have Scaling) []fleet.Finding {
	own := have.hook(TerminateHook)
	short := func(what string, holds time.Duration, next string) []fleet.Finding {
		return []fleet.Finding{finding(holdShort, "group "+g.Name, "%s %s, and pod %s may take %s to stop", what, lasting(holds), g.Pod, lasting(g.Grace)).next("%s", next)}
	}
	switch {
	case own == nil && g.Managed && g.Grace > eksHold:
		return short("EKS gives pods", eksHold, "drover setup --managed "+g.Name+" adds a hook that waits for them")
	case own == nil:
		return nil
	case g.Grace > own.Held():
		return short("its hook can hold an instance for", own.Held(), "drover setup --heartbeat with a longer one, or a shorter grace period")
	case w.DrainFor > 0 && g.Grace > w.DrainFor:
		return short("the controller lets a hook hold an instance for", w.DrainFor, "a longer time for the controller, or a shorter grace period")
	case g.Grace > own.Heartbeat:
		return short("without drover its hook ends after", own.Heartbeat, "drover setup "+g.Name)
	}
	return nil
}

func (w Wanted) checkGroup(g *fleet.Group, have Scaling) []fleet.Finding {
	var out []fleet.Finding
	subject := "group " + g.Name
	held := slices.ContainsFunc(have.Hooks, func(h fleet.Hook) bool { return !h.Launching })
	if !held && len(g.Zones) > 1 && !g.IsSuspended(fleet.AZRebalance) {
		out = append(out, finding(zonesUnguarded, subject, "it has %d zones and AZRebalance is on, which ends instances to even them out, with all that runs on them", len(g.Zones)).
			next("drover setup %s, or suspend AZRebalance", g.Name))
	}
	for _, t := range g.Targets {
		if w.DrainFor > 0 && t.Delay > w.DrainFor {
			out = append(out, finding(delayLong, "target group "+t.Name, "requests may finish for %s, and the controller lets a hook hold an instance of group %s for %s", lasting(t.Delay), g.Name, lasting(w.DrainFor)).
				next("a shorter deregistration delay, or a longer time for the controller"))
		}
	}
	spot := have.Spot || slices.ContainsFunc(g.Instances, func(in fleet.Instance) bool { return in.Spot })
	if spot && !have.Rebalances {
		out = append(out, finding(capacityRebalance, subject, "it launches spot instances, and capacity rebalancing is off: a replacement comes only after an interruption").
			next("nothing, where drover's controller replaces what EC2 recommends to leave; otherwise turn it on"))
	}
	return out
}

// competitors finds other programs in the cluster that empty nodes for the same notices.
func competitors(s *fleet.Snapshot) []fleet.Finding {
	seen := map[string]fleet.Owner{}
	for i := range s.Pods {
		if o := s.Pods[i].Owner; strings.Contains(o.Name, handler) {
			seen[o.String()] = o
		}
	}
	var out []fleet.Finding
	for name := range seen {
		out = append(out, finding(hookCompetes, name, "it empties nodes for the same notices").next("remove it once drover does; until then both evict, which harms nothing but the order"))
	}
	slices.SortFunc(out, func(a, b fleet.Finding) int { return cmp.Compare(a.Subject, b.Subject) })
	return out
}
