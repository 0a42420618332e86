package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"drover.dev/fleet"
)

// Annotations by which the owner of a store declares it, after prefix; those of terms come on top.
const (
	prefix       = "drover.dev/"
	moverKey     = "mover"
	storeKey     = "store"
	roleKey      = "role"
	dataRole     = "data"
	sentinelRole = "sentinel"
	noMover      = "none"
)

// Where Redis and its Sentinels listen, unless somebody says.
const (
	dataPort     = 6379
	sentinelPort = 26379
)

var movers = []string{string(fleet.SentinelMover), string(fleet.ClusterMover), string(fleet.ScriptMover), string(fleet.LeaderMover), noMover}

var (
	speaking  = []fleet.Mover{fleet.SentinelMover, fleet.ClusterMover}
	watched   = []fleet.Mover{fleet.SentinelMover}
	scripted  = []fleet.Mover{fleet.ScriptMover}
	leadLast  = []fleet.Mover{fleet.LeaderMover}
	failbacks = []string{string(fleet.FailbackNever), string(fleet.FailbackIfPinned), string(fleet.FailbackAlways)}
)

// term is one thing that the owner of a store may say of it.
type term struct {
	key   string        // of the annotation, after prefix
	field string        // in a MoverPolicy's spec
	heed  []fleet.Mover // who goes by it; others do not, which the owner has to know
	read  func(s *fleet.StoreSpec, value string) (want string)
}

var terms = []term{
	{"port", "port", speaking, port(func(s *fleet.StoreSpec) *int { return &s.Port })},
	{"sentinel-port", "sentinelPort", watched, port(func(s *fleet.StoreSpec) *int { return &s.SentinelPort })},
	{"master", "master", watched, text(func(s *fleet.StoreSpec) *string { return &s.Master })},
	{"tls", "tls", speaking, readTLS},
	{"server-name", "serverName", speaking, text(func(s *fleet.StoreSpec) *string { return &s.ServerName })},
	{"secret", "secret", speaking, text(func(s *fleet.StoreSpec) *string { return &s.Secret })},
	{"sentinel-secret", "sentinelSecret", watched, text(func(s *fleet.StoreSpec) *string { return &s.SentinelSecret })},
	{"failback", "failback", speaking, readFailback},
	{"floor", "floor", speaking, readFloor},
	{"linger", "linger", speaking, lasting(0, math.MaxInt64, "0s or more", func(s *fleet.StoreSpec) *time.Duration { return &s.Linger })},
	{"leader", "leader", leadLast, readLeader},
	{fleet.HookPre, "hooks.preMove", scripted, hook(fleet.HookPre)},
	{fleet.HookReady, "hooks.ready", scripted, hook(fleet.HookReady)},
	{fleet.HookPost, "hooks.postMove", scripted, hook(fleet.HookPost)},
	{"hook-timeout", "hookTimeout", scripted, lasting(1, longestHook, "more than 0s and at most 7s: a hook that needs longer is called again", func(s *fleet.StoreSpec) *time.Duration { return &s.HookTimeout })},
}

func text(of func(*fleet.StoreSpec) *string) func(*fleet.StoreSpec, string) string {
	return func(s *fleet.StoreSpec, value string) string {
		if *of(s) = value; value == "" {
			return "a name"
		}
		return ""
	}
}

func port(of func(*fleet.StoreSpec) *int) func(*fleet.StoreSpec, string) string {
	return func(s *fleet.StoreSpec, value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 65535 {
			return "a port, 1 to 65535"
		}
		*of(s) = n
		return ""
	}
}

// longestHook is how long the mover waits for one call of a hook at most.
const longestHook = 7 * time.Second

func lasting(least, most time.Duration, bound string, of func(*fleet.StoreSpec) *time.Duration) func(*fleet.StoreSpec, string) string {
	return func(s *fleet.StoreSpec, value string) string {
		d, err := time.ParseDuration(value)
		if err != nil || d < least || d > most {
			return "a duration such as 5s, " + bound
		}
		*of(s) = d
		return ""
	}
}

func hook(name string) func(*fleet.StoreSpec, string) string {
	return func(s *fleet.StoreSpec, value string) string {
		if _, err := parseHook(strings.TrimSpace(value)); errors.Is(err, errHookForm) {
			return hookForms
		} else if err != nil {
			return fmt.Sprintf("%s (%v)", hookForms, err)
		}
		if s.Hooks == nil {
			s.Hooks = map[string]string{}
		}
		s.Hooks[name] = value
		return ""
	}
}

func readTLS(s *fleet.StoreSpec, value string) string {
	if s.TLS = value == "true"; !s.TLS && value != "false" {
		return "true or false"
	}
	return ""
}

func readFailback(s *fleet.StoreSpec, value string) string {
	if !slices.Contains(failbacks, value) {
		return oneOf(failbacks)
	}
	s.Failback = fleet.Failback(value)
	return ""
}

func readFloor(s *fleet.StoreSpec, value string) string {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return "a whole number, 0 or more"
	}
	s.Floor = n
	return ""
}

func readLeader(s *fleet.StoreSpec, value string) string {
	key, is, ok := strings.Cut(value, "=")
	if !ok || len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(is)) > 0 {
		return "label=value"
	}
	s.Leader = fleet.Requirement{Key: key, Operator: string(corev1.NodeSelectorOpIn), Values: []string{is}}
	return ""
}

func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// plain is the spec of a store whose owner said nothing.
func plain() fleet.StoreSpec {
	return fleet.StoreSpec{Port: dataPort, SentinelPort: sentinelPort, Failback: fleet.FailbackIfPinned, Linger: 5 * time.Second, HookTimeout: 5 * time.Second}
}

// declaration is what somebody says of pods of a store.
type declaration struct {
	policy     string            // name of the MoverPolicy that says it; "" when annotations do
	of         string            // whose annotations: "StatefulSet shop/orders"
	says       map[string]string // by annotation, without prefix; known ones only
	storeLabel string            // of a policy: label of the pods that names their store
	trouble    []string
	broken     bool // it cannot be read, and says nothing but what its trouble is
}

// source is who says it.
func (d *declaration) source() string {
	if d.policy != "" {
		return "policy " + d.policy
	}
	return "annotation of " + d.of
}

// at is where it says something of a key.
func (d *declaration) at(key string) string {
	if d.policy == "" {
		return "annotation " + prefix + key + " of " + d.of
	}
	field := key
	if i := slices.IndexFunc(terms, func(t term) bool { return t.key == key }); i >= 0 {
		field = terms[i].field
	}
	return "field spec." + field + " of policy " + d.policy
}

func (d *declaration) bad(key, want string) string {
	return fmt.Sprintf("%s is %q: want %s", d.at(key), d.says[key], want)
}

// storeKeys are the annotations of a store, and otherKeys those of drover's that are about something else, all without prefix.
var (
	storeKeys = append([]string{moverKey, storeKey, roleKey}, keysOf(terms)...)
	otherKeys = []string{"asked-at", "asked-by", "court", "court-annotation", "court-done", "deletion-cost", "environment", "run"}
)

func keysOf(terms []term) []string {
	var out []string
	for _, t := range terms {
		out = append(out, t.key)
	}
	return out
}

// declared reads annotations; nil when they say nothing of a store. A key that is nearly one of a store's is not ignored: whoever wrote it relies on it.
func declared(annotations map[string]string, of string) *declaration {
	d := &declaration{of: of}
	for full, value := range annotations {
		key, ours := strings.CutPrefix(full, prefix)
		if !ours || slices.Contains(otherKeys, key) {
			continue
		}
		if slices.Contains(storeKeys, key) {
			if d.says == nil {
				d.says = map[string]string{}
			}
			d.says[key] = value
		} else if meant := nearest(key); meant != "" {
			d.trouble = append(d.trouble, fmt.Sprintf("%s is unknown: is %s%s meant?", d.at(key), prefix, meant))
		}
	}
	if d.says == nil && d.trouble == nil {
		return nil
	}
	slices.Sort(d.trouble)
	return d
}

// same tells whether two declarations say the same, wherever they do.
func (d *declaration) same(o *declaration) bool {
	return d != nil && o != nil && maps.Equal(d.says, o.says) && len(d.trouble) == len(o.trouble)
}

// nearest is the key of a store that somebody may have meant; "" when none is near.
func nearest(key string) string {
	bare := strings.NewReplacer("-", "", "_", "", ".", "")
	fold := func(s string) string { return bare.Replace(strings.ToLower(s)) }
	best, least := "", 3
	for _, known := range storeKeys {
		limit := 2
		if len(known) < 5 {
			limit = 1
		}
		if n := edits(fold(key), fold(known)); n <= limit && n < least {
			best, least = known, n
		}
	}
	return best
}

// edits counts the letters to change, add or leave out to make one word of the other.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// specOf is what declarations say of one store together, and what is wrong with that.
func specOf(mover fleet.Mover, from []*declaration) (fleet.StoreSpec, []string) {
	spec := plain()
	var trouble []string
	for _, d := range from {
		trouble = append(trouble, d.trouble...)
	}
	for _, t := range terms {
		saying := slices.DeleteFunc(slices.Clone(from), func(d *declaration) bool { _, says := d.says[t.key]; return !says })
		if len(saying) == 0 {
			continue
		}
		first := saying[0]
		for _, other := range saying[1:] {
			if first.says[t.key] != other.says[t.key] {
				trouble = append(trouble, fmt.Sprintf("%s is %q, %s is %q: they are of one store, and have to agree", first.at(t.key), first.says[t.key], other.at(t.key), other.says[t.key]))
			}
		}
		if mover != "" && !slices.Contains(t.heed, mover) {
			trouble = append(trouble, fmt.Sprintf("%s says nothing to the mover %s: take it away, or choose another mover", first.at(t.key), mover))
		}
		if want := t.read(&spec, first.says[t.key]); want != "" {
			trouble = append(trouble, first.bad(t.key, want))
		}
	}
	return spec, append(trouble, lacking(mover, &spec, from)...)
}

// lacking is what a mover cannot do without.
func lacking(mover fleet.Mover, spec *fleet.StoreSpec, from []*declaration) []string {
	says := func(keys ...string) bool {
		return slices.ContainsFunc(from, func(d *declaration) bool {
			return slices.ContainsFunc(keys, func(key string) bool { _, ok := d.says[key]; return ok })
		})
	}
	switch {
	case mover == fleet.LeaderMover && spec.Leader.Key == "" && !says("leader"):
		return []string{"the mover leader-last has to know the leader: say drover.dev/leader: label=value"}
	case mover == fleet.ScriptMover && len(spec.Hooks) == 0 && !says(fleet.HookPre, fleet.HookReady, fleet.HookPost):
		return []string{"the mover script has no hook: say drover.dev/pre-move, drover.dev/ready or drover.dev/post-move"}
	}
	return nil
}

// subject is a pod, or the pods that a workload's template makes.
type subject struct {
	namespace   string
	name        string // for people: "pod shop/orders-0"
	labels      map[string]string
	annotations map[string]string
	containers  []corev1.Container
	owner       fleet.Owner
}

// claim is a pod's, or a workload's, belonging to a store.
type claim struct {
	store    string // namespace/name
	mover    string // as it was said; noMover for pods that simply leave
	sentinel bool
	temp     bool // made by drover; it has no declaration
	owner    fleet.Owner
	from     *declaration
	trouble  []string
}

// instanceLabel names what a chart's installation is called.
const instanceLabel = "app.kubernetes.io/instance"

// claimBy is what a declaration makes of a subject.
func claimBy(d *declaration, s *subject) *claim {
	c := &claim{mover: d.says[moverKey], owner: s.owner, from: d}
	name := cmp.Or(d.says[storeKey], s.labels[d.storeLabel], s.labels[instanceLabel], s.owner.Name, s.name[strings.LastIndex(s.name, "/")+1:])
	c.store = s.namespace + "/" + name
	if _, says := d.says[storeKey]; says && (len(validation.IsDNS1123Subdomain(name)) > 0 || len(name) > validation.LabelValueMaxLength) {
		c.trouble = append(c.trouble, d.bad(storeKey, "small letters, digits, - and ., 63 at most"))
	} else if !says && (len(validation.IsDNS1123Subdomain(name)) > 0 || len(name) > validation.LabelValueMaxLength) {
		c.trouble = append(c.trouble, fmt.Sprintf("%s: its store would be named %q, which nothing can be named: say drover.dev/store", s.name, name))
	}
	if d.storeLabel != "" && s.labels[d.storeLabel] == "" {
		c.trouble = append(c.trouble, fmt.Sprintf("%s lacks label %s, by which policy %s names its store", s.name, d.storeLabel, d.policy))
	}
	switch {
	case d.broken:
		return c
	case c.mover == "":
		c.trouble = append(c.trouble, fmt.Sprintf("%s does not say %s: want %s", d.source(), prefix+moverKey, oneOf(movers)))
	case !slices.Contains(movers, c.mover):
		c.trouble = append(c.trouble, d.bad(moverKey, oneOf(movers)))
	}
	c.setRole(s)
	return c
}

// setRole decides whether the subject is a Sentinel: as it says, else by its containers' ports.
func (c *claim) setRole(s *subject) {
	role, says := c.from.says[roleKey]
	watcher, data := ports(c.from, s)
	switch {
	case says && role != dataRole && role != sentinelRole:
		c.trouble = append(c.trouble, c.from.bad(roleKey, oneOf([]string{dataRole, sentinelRole})))
	case role == sentinelRole && c.mover != string(fleet.SentinelMover):
		c.trouble = append(c.trouble, fmt.Sprintf("%s is %q, which is for the mover sentinel", c.from.at(roleKey), role))
	case says:
		c.sentinel = role == sentinelRole
	case c.mover != string(fleet.SentinelMover):
	case watcher && data:
		c.trouble = append(c.trouble, fmt.Sprintf("%s has the ports of a Redis and of a Sentinel: drover moves them where each has pods of its own; say drover.dev/mover: none to have it leave as other pods do", s.name))
	default:
		c.sentinel = watcher
	}
}

// ports tells whether the subject's containers have a Sentinel's port, or a Redis's.
func ports(d *declaration, s *subject) (watcher, data bool) {
	spec := plain()
	for _, t := range terms[:2] {
		if value, says := d.says[t.key]; says {
			t.read(&spec, value)
		}
	}
	for i := range s.containers {
		for _, p := range s.containers[i].Ports {
			watcher = watcher || int(p.ContainerPort) == spec.SentinelPort || p.Name == sentinelRole
			data = data || int(p.ContainerPort) == spec.Port
		}
	}
	return watcher, data
}
