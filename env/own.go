package env

import (
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// view is a snapshot as one environment sees it.
type view struct {
	s    *fleet.Snapshot
	e    *fleet.Environment
	part map[fleet.Owner]*fleet.Part
	byIP map[string][]*fleet.Pod // several where they are on their node's own network
}

func look(s *fleet.Snapshot, e *fleet.Environment) *view {
	v := &view{s: s, e: e, part: make(map[fleet.Owner]*fleet.Part, len(s.Parts)), byIP: map[string][]*fleet.Pod{}}
	for i := range s.Parts {
		v.part[s.Parts[i].Owner] = &s.Parts[i]
	}
	for i := range s.Pods {
		if p := &s.Pods[i]; p.IP != "" && !p.Finished {
			v.byIP[p.IP] = append(v.byIP[p.IP], p)
		}
	}
	return v
}

// labelled is whose labels tell what environment a pod belongs to: those of the workload that keeps it, its own where nobody does.
func (v *view) labelled(p *fleet.Pod) (fleet.Owner, map[string]string) {
	if part := v.part[p.Owner]; part != nil {
		return part.Owner, part.Labels
	}
	if p.Owner.Kind == "" {
		return fleet.Owner{Kind: "Pod", Namespace: p.Ref.Namespace, Name: p.Ref.Name}, p.Labels
	}
	return p.Owner, p.Labels
}

// owns tells whether a pod is the environment's.
func (v *view) owns(p *fleet.Pod) bool { return v.e.Spec.Has(v.labelled(p)) }

// environmentOf names the environment that a pod belongs to; "" for none.
func (v *view) environmentOf(p *fleet.Pod) string {
	o, labels := v.labelled(p)
	for i := range v.s.Environments {
		if v.s.Environments[i].Spec.Has(o, labels) {
			return v.s.Environments[i].Name
		}
	}
	return ""
}

// parts are those of the environment that a stop switches, but for the GitOps objects that keep them. Jobs that run are waited for, unless a person has
// said not to: then they are suspended, and go on after the start.
func (v *view) parts(jobs bool) []*fleet.Part {
	var out []*fleet.Part
	for i := range v.s.Parts {
		if p := &v.s.Parts[i]; p.Turn != fleet.Unsynced && (jobs || p.Kind != "Job") && v.mine(p) {
			out = append(out, p)
		}
	}
	return out
}

// mine tells whether a part is the environment's: it is chosen itself, or scales a workload that is.
func (v *view) mine(p *fleet.Part) bool {
	if p.Turn == fleet.Held {
		target := v.part[p.Scales]
		return target != nil && v.mine(target)
	}
	return v.e.Spec.Has(p.Owner, p.Labels)
}

// apps are the GitOps objects that keep the environment's parts, nearest first.
func (v *view) apps(parts []*fleet.Part) []*fleet.Part {
	var out []*fleet.Part
	for _, p := range parts {
		if len(p.Apps) == 0 {
			continue
		}
		if app := v.part[p.Apps[0]]; app != nil && !slices.Contains(out, app) {
			out = append(out, app)
		}
	}
	return out
}

// carries tells whether a pod that is nobody's may be moved off the environment's nodes.
func (v *view) carries(p *fleet.Pod) bool {
	return v.carried(p.Ref.Namespace) && v.environmentOf(p) == "" && p.Owner.Kind != "" // one without a controller could not be moved
}

// carried tells whether pods of a namespace are nobody's.
func (v *view) carried(namespace string) bool {
	carry := v.e.Spec.Policy.Carry
	if carry == nil {
		carry = []string{"kube-system"}
	}
	return slices.Contains(carry, namespace)
}

// unplaced is a pod of somebody else's that waits for a node; nil when none does. A node that has just come may be for it.
func (v *view) unplaced() *fleet.Pod {
	for i := range v.s.Pods {
		if p := &v.s.Pods[i]; p.Node == "" && !p.Finished && !p.Terminating && v.s.Now.Sub(p.Created) < patience && !v.owns(p) {
			return p
		}
	}
	return nil
}

// guests are the pods on a node that are somebody else's: the node stays for them.
func (v *view) guests(node string) []fleet.Guest {
	if node == "" {
		return nil
	}
	var out []fleet.Guest
	for _, p := range v.s.PodsOn(node) {
		if p.Finished || p.Terminating && v.alive(node) || p.Stays() != "" || v.owns(p) || v.carries(p) {
			continue
		}
		out = append(out, fleet.Guest{Pod: p.Ref, Node: node, Owner: p.Owner, Of: v.environmentOf(p)})
	}
	return out
}

// alive tells whether a node answers. On one that does not, a pod that is Terminating may run still.
func (v *view) alive(node string) bool {
	n := v.s.Node(node)
	return n != nil && n.Ready
}

// patience is how long a pod that finds no node is one that a node may come for.
const patience = 30 * time.Minute

// pods are the environment's own that are there still, those of a part when one is given.
func (v *view) pods(of *fleet.Owner) []*fleet.Pod {
	var out []*fleet.Pod
	for i := range v.s.Pods {
		p := &v.s.Pods[i]
		if p.Finished || p.Stays() != "" || of != nil && p.Owner != *of || of == nil && !v.owns(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// strangers are the sessions on a database whose clients are not the environment's pods, in words.
func (v *view) strangers(db *fleet.Database) []string {
	if db.Answer == nil {
		return nil
	}
	count := map[string]int{}
	var out []string
	for _, c := range db.Answer.Sessions {
		who := v.client(c)
		if who == "" {
			continue
		}
		if count[who]++; count[who] == 1 {
			out = append(out, who)
		}
	}
	slices.Sort(out)
	return out
}

// client says who a session is; "" for one of the environment's own pods.
func (v *view) client(c fleet.Session) string {
	var p *fleet.Pod
	for _, q := range v.byIP[c.From] {
		if p == nil || !v.owns(q) {
			p = q
		}
	}
	switch {
	case c.From == "hidden":
		return "user " + c.User + ", from where the login may not see (grant it pg_monitor)"
	case p == nil && c.From == "":
		return "user " + c.User + " on the database's own machine"
	case p == nil:
		return strings.TrimSpace("user " + c.User + " from " + c.From + ", which is no pod of this cluster " + c.App)
	case v.owns(p):
		return ""
	}
	return fleet.Guest{Pod: p.Ref, Owner: p.Owner, Of: v.environmentOf(p)}.String() + " as user " + c.User
}
