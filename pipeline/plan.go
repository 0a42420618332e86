package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// Plan returns the changes that make what was found what is wanted, in the order in which they are to be carried out: queues, rules, then hooks,
// so that nothing holds an instance before somebody can hear of it. Where a name is somebody else's it finds that, and the rest waits.
func Plan(w Wanted, f Found) ([]Change, []fleet.Finding) {
	queues, taken := w.planQueues(f)
	rules, more := w.planRules(f)
	if taken = append(taken, more...); len(taken) > 0 {
		return nil, taken
	}
	return slices.Concat(queues, rules, w.planHooks(f)), nil
}

func (w Wanted) planQueues(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var taken []fleet.Finding
	policy, err := w.policy(f.Queue)
	if err != nil {
		taken = append(taken, finding(queuePermission, "queue "+f.Queue.Name, "its %v", err).next("mend or remove the policy; drover adds its own statements and leaves the others"))
	}
	for _, pair := range []struct {
		have *Queue
		want Queue
		says string
	}{
		{f.Dead, w.dead(), fmt.Sprintf("keeps what was set aside for %s, for a person to look at", days(DeadRetention))},
		{f.Queue, w.queue(policy), fmt.Sprintf("keeps messages for %s, encrypted; what was received %d times goes to %s", days(Retention), Receives, w.DeadName())},
	} {
		switch have := pair.have; {
		case have == nil:
			out = append(out, Change{Verb: CreateQueue, Queue: pair.want, Says: pair.says})
		case have.Owner != w.Cluster:
			taken = append(taken, notOurs("queue "+have.Name, have.Owner, w.Cluster).next("choose another name with --queue, or give it the tag %s=%s if it is meant for this", OwnerTag, w.Cluster))
		default:
			if mended, differs := mend(*have, pair.want, w.statements()); len(differs) > 0 {
				out = append(out, Change{Verb: RepairQueue, Queue: mended, Was: have, Differs: differs})
			}
		}
	}
	return out, taken
}

// policy is the queue's policy with drover's statements in it.
func (w Wanted) policy(have *Queue) (string, error) {
	var was string
	if have != nil {
		was = have.Policy
	}
	d, err := parsePolicy(was)
	if err != nil {
		return "", err
	}
	return d.with(w.statements()).String(), nil
}

// servicesKey is SQS's own KMS key, by which EventBridge may not encrypt.
const servicesKey = "alias/aws/sqs"

// mend returns the queue as it is to be, and in what it differs now. What somebody made more generous stays: longer retention, more receives, a
// KMS key of the account (whose policy has to let EventBridge in: the canary proves it).
func mend(have, want Queue, ours []statement) (Queue, []Difference) {
	out := have
	var differs []Difference
	differ := func(what string, before, after any) {
		differs = append(differs, Difference{what, fmt.Sprint(before), fmt.Sprint(after)})
	}
	if have.Retention < want.Retention {
		out.Retention = want.Retention
		differ("retention", lasting(have.Retention), lasting(want.Retention))
	}
	if have.Wait < want.Wait {
		out.Wait = want.Wait
		differ("long polling", lasting(have.Wait), lasting(want.Wait))
	}
	if !have.Encrypted && (have.Key == "" || strings.HasSuffix(have.Key, servicesKey)) {
		out.Encrypted, out.Key = true, ""
		differ("encryption", orNone(have.Key), "SQS's own keys")
	}
	if want.Dead != "" && (have.Dead != want.Dead || have.Receives < want.Receives) {
		out.Dead, out.Receives = want.Dead, max(have.Receives, want.Receives)
		differ("dead letters", letters(have), letters(out))
	}
	if want.Policy == "" {
		return out, differs
	}
	d, err := parsePolicy(have.Policy)
	if lacks := d.lacks(ours); err == nil && len(lacks) > 0 {
		out.Policy = want.Policy
		differ("policy", "lacks "+strings.Join(lacks, " and "), "as it is to be; other statements stay")
	}
	return out, differs
}

func letters(q Queue) string {
	if q.Dead == "" {
		return "none"
	}
	return fmt.Sprintf("%s after %d receives", q.Dead[strings.LastIndex(q.Dead, ":")+1:], q.Receives)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lasting prints a duration without its zeros: 10m, not 10m0s.
func lasting(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", d/(24*time.Hour)) }

func (w Wanted) planRules(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var taken []fleet.Finding
	kinds := w.kinds()
	for i, want := range w.rules() {
		have, there := f.Rules[want.Name]
		switch differs := ruleDiffers(have, want); {
		case there && have.Owner != w.Cluster:
			taken = append(taken, notOurs("rule "+want.Name, have.Owner, w.Cluster).next("rename or delete it, or give it the tag %s=%s if it is meant for this", OwnerTag, w.Cluster))
			continue
		case !there:
			out = append(out, Change{Verb: CreateRule, Rule: want, Says: "tells the queue when " + kinds[i].means})
			continue
		case len(differs) > 0:
			out = append(out, Change{Verb: RepairRule, Rule: want, Differs: differs})
		}
		if !have.aims(want.Targets[0]) {
			out = append(out, Change{Verb: AimRule, Rule: want, Says: "at queue " + w.QueueName()})
		}
	}
	return out, taken
}

func ruleDiffers(have, want Rule) []Difference {
	var out []Difference
	if !alike(have.Pattern, want.Pattern) {
		out = append(out, Difference{"pattern", have.Pattern, want.Pattern})
	}
	if have.Off {
		out = append(out, Difference{"state", "disabled", "enabled"})
	}
	return out
}

func (r Rule) aims(t Target) bool { return slices.Contains(r.Targets, t) }

func (w Wanted) planHooks(f Found) []Change {
	var out []Change
	for _, g := range w.Groups {
		scaling, there := f.Groups[g.Scaling]
		if !there {
			continue
		}
		for _, name := range w.hooks(g, scaling) {
			have := scaling.hook(name)
			want := w.hook(g, name, have, scaling.Retains)
			c := Change{Verb: CreateHook, Group: g, Hook: want, Says: hookSays(g, want)}
			if have != nil {
				c.Verb, c.Says, c.Differs = RepairHook, "", hookDiffers(*have, want)
				if len(c.Differs) == 0 {
					continue
				}
			}
			out = append(out, c)
		}
	}
	return out
}

func hookSays(g Group, h fleet.Hook) string {
	holds := "holds an instance that goes until its pods have left"
	if h.Launching {
		holds = "holds a new instance until its node is Ready"
	}
	if h.Heartbeat > Heartbeat && g.Grace > Heartbeat {
		return fmt.Sprintf("%s; heartbeat %s because pod %s may take %s to stop, then %s", holds, lasting(h.Heartbeat), g.Pod, lasting(g.Grace), result(h))
	}
	return fmt.Sprintf("%s; heartbeat %s, then %s", holds, lasting(h.Heartbeat), result(h))
}

func result(h fleet.Hook) string {
	if h.Abandon {
		return fleet.Abandon
	}
	return fleet.Continue
}

func hookDiffers(have, want fleet.Hook) []Difference {
	var out []Difference
	if have.Heartbeat != want.Heartbeat {
		out = append(out, Difference{"heartbeat", lasting(have.Heartbeat), lasting(want.Heartbeat)})
	}
	if have.Abandon != want.Abandon {
		out = append(out, Difference{"default result", result(have), result(want)})
	}
	if have.Launching != want.Launching {
		out = append(out, Difference{"transition", transition(have), transition(want)})
	}
	if have.Metadata != want.Metadata {
		out = append(out, Difference{"metadata", orNone(have.Metadata), want.Metadata})
	}
	return out
}

func transition(h fleet.Hook) string {
	if h.Launching {
		return "launching"
	}
	return "terminating"
}

// Removal returns the changes that take away what is drover's, hooks first. Without all, the groups' hooks go and the rest stays for the other groups.
// What is somebody else's by its tag is left alone, as is what somebody added. While a hook holds instances it is blocked, unless it is forced.
func Removal(w Wanted, f Found, all bool) ([]Change, []fleet.Finding) {
	out, warnings := w.removeHooks(f)
	if !all {
		return out, warnings
	}
	marked, unknown := w.removeMarked(f)
	out, warnings = append(out, marked...), append(warnings, unknown...)
	rules, more := w.removeRules(f)
	queues, lost := w.removeQueues(f)
	return slices.Concat(out, rules, queues), slices.Concat(warnings, more, lost)
}

func (w Wanted) removeRules(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var warnings []fleet.Finding
	kinds := w.kinds()
	for i, want := range w.rules() {
		have, there := f.Rules[want.Name]
		if !there || have.Owner != w.Cluster {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(have.Targets), func(t Target) bool { return t.ID == targetID })
		if len(others) == 0 {
			out = append(out, Change{Verb: DeleteRule, Rule: want, Says: "told when " + kinds[i].means})
			continue
		}
		warnings = append(warnings, finding(leftBehind, "rule "+want.Name, "it has %s that drover did not give it", counted(len(others), "target", "targets")).next("it stays; delete it when nobody needs it"))
		if len(others) < len(have.Targets) {
			out = append(out, Change{Verb: UnaimRule, Rule: want, Says: "the rule stays for others"})
		}
	}
	return out, warnings
}

func (w Wanted) removeQueues(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var warnings []fleet.Finding
	for _, pair := range []struct {
		have *Queue
		gone Queue
	}{{f.Queue, w.queue("")}, {f.Dead, w.dead()}} {
		if pair.have == nil || pair.have.Owner != w.Cluster {
			continue
		}
		c := Change{Verb: DeleteQueue, Queue: pair.gone, Says: "it is empty"}
		if n := pair.have.Messages; n > 0 {
			c.Says = "with about " + counted(n, "message", "messages")
			warnings = append(warnings, finding(messagesKept, "queue "+pair.gone.Name, "it has about %s, which would be lost", counted(n, "message", "messages")).next("look at them before you say yes"))
		}
		out = append(out, c)
	}
	return out, warnings
}

func (w Wanted) removeHooks(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var warnings []fleet.Finding
	for _, g := range w.Groups {
		for _, h := range f.Groups[g.Scaling].ours() {
			c, held := w.removeHook(g, h, f.Groups[g.Scaling])
			out, warnings = append(out, c), append(warnings, held...)
		}
	}
	return out, warnings
}

// removeMarked takes the hooks away that say themselves that they are the cluster's. Those that say nothing may be another cluster's.
func (w Wanted) removeMarked(f Found) ([]Change, []fleet.Finding) {
	var out []Change
	var warnings []fleet.Finding
	for _, g := range w.Others {
		for _, h := range f.Groups[g.Scaling].ours() {
			switch {
			case h.Metadata == w.mark():
				c, held := w.removeHook(g, h, f.Groups[g.Scaling])
				out, warnings = append(out, c), append(warnings, held...)
			case !strings.HasPrefix(h.Metadata, OwnerTag+"="):
				warnings = append(warnings, finding(leftBehind, "group "+g.Name, "its hook %s stays: no instance of the group is a node here, and neither a tag nor the hook says of which cluster it is", h.Name).
					next("if it was this cluster's, give the group the tag kubernetes.io/cluster/%s=owned and remove again; until then each instance that goes waits for %s", w.Cluster, lasting(h.Heartbeat)))
			}
		}
	}
	return out, warnings
}

// ours are the hooks that setup made.
func (s Scaling) ours() []fleet.Hook {
	return slices.DeleteFunc(slices.Clone(s.Hooks), func(h fleet.Hook) bool { return h.Name != TerminateHook && h.Name != LaunchHook })
}

// removeHook deletes a hook. Auto Scaling completes what it waits for at once, and not as the hook says: CONTINUE for an instance that goes, ABANDON
// for one that comes.
func (w Wanted) removeHook(g Group, h fleet.Hook, s Scaling) (Change, []fleet.Finding) {
	c := Change{Verb: DeleteHook, Group: g, Hook: h, Says: "instances of the group are held no more"}
	held, how := s.Waiting, "they are ended at once, with the pods that have not left, unless another hook holds them, too"
	if h.Launching {
		held, how = s.Coming, "they are ended at once, and not put into service: Auto Scaling abandons their launch"
	}
	if len(held) == 0 {
		return c, nil
	}
	waits := finding(instancesWait, "group "+g.Name, "%s wait for a hook now; when %s is deleted, %s", strings.Join(held, ", "), h.Name, how)
	if waits.Blocks = !w.Force; w.Force {
		return c, []fleet.Finding{waits.next("nothing: --force says that it may be so")}
	}
	return c, []fleet.Finding{waits.next("wait until they are done, as drover status shows, or pass --force if that may be so")}
}
