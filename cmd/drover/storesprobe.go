package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"drover.dev/fleet"
	"drover.dev/redis"
)

// Where a Redis and a Sentinel listen unless somebody says otherwise.
const (
	redisPort    = 6379
	sentinelPort = 26379
)

// probesAtOnce is how many pods are asked at the same time.
const probesAtOnce = 16

// instanceLabel is what stores are named after where nobody names them.
const instanceLabel = "app.kubernetes.io/instance"

// probed is a StatefulSet of no store that looks like a Redis, with what its pods answered.
type probed struct {
	Workload string   `json:"workload"` // namespace/name of the StatefulSet
	Answers  []answer `json:"answers"`
	Confirm  []string `json:"confirm,omitempty"` // commands that declare it
	Mind     string   `json:"mind,omitempty"`    // why there are none, or what to know before
}

// answer is what one port of a pod is.
type answer struct {
	Pod   string `json:"pod"`
	Port  int    `json:"port"`
	Found string `json:"found"` // for people

	redis redis.Found
	err   error
}

// suspect is a pod that may be a Redis.
type suspect struct {
	ref      fleet.PodRef
	host     string
	owner    fleet.Owner
	instance string
	ports    []int
	answers  []answer
}

// probe asks the pods that look like a Redis and are of no store.
func (s *site) probe(ctx context.Context, snapshot *fleet.Snapshot) ([]probed, error) {
	pods, err := s.cluster.Client().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods to probe: %w", err)
	}
	all := suspects(snapshot, pods.Items)
	slots := make(chan struct{}, probesAtOnce)
	var wg sync.WaitGroup
	for i := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			all[i].ask(ctx, s.stores)
		})
	}
	wg.Wait()
	return judged(all), nil
}

// suspects are pods of StatefulSets that nobody declared to be of a store, and that have a Redis' port or image.
func suspects(s *fleet.Snapshot, raw []corev1.Pod) []suspect {
	containers := map[string][]corev1.Container{}
	for i := range raw {
		containers[string(raw[i].UID)] = raw[i].Spec.Containers
	}
	var out []suspect
	for i := range s.Pods {
		p := &s.Pods[i]
		if p.Owner.Kind != "StatefulSet" || p.Finished || p.IP == "" || p.Courted != nil || s.StoreOf(p.Ref.UID) != nil {
			continue
		}
		if ports := likely(containers[p.Ref.UID]); len(ports) > 0 {
			out = append(out, suspect{ref: p.Ref, host: p.IP, owner: p.Owner, instance: p.Labels[instanceLabel], ports: ports})
		}
	}
	return out
}

// likely are the ports at which containers may be a Redis or a Sentinel.
func likely(containers []corev1.Container) []int {
	var out []int
	named := false
	for i := range containers {
		c := &containers[i]
		image := strings.ToLower(imageName(c.Image))
		named = named || slices.ContainsFunc([]string{"redis", "valkey", "keydb"}, func(n string) bool { return strings.Contains(image, n) })
		for _, p := range c.Ports {
			if n := int(p.ContainerPort); (n == redisPort || n == sentinelPort) && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 && named {
		return []int{redisPort, sentinelPort}
	}
	slices.Sort(out)
	return out
}

// imageName is an image's name without registry, tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = lastPart(image)
	image, _, _ = strings.Cut(image, ":")
	return image
}

func lastPart(path string) string { return path[strings.LastIndex(path, "/")+1:] }

func (x *suspect) ask(ctx context.Context, hand *redis.Hand) {
	for _, port := range x.ports {
		found, err := hand.Probe(ctx, redis.Endpoint{Pod: x.ref, Host: x.host, Port: port})
		x.answers = append(x.answers, answer{Pod: x.ref.Name, Port: port, Found: tame(inWords(&found, err)), redis: found, err: err})
	}
}

// inWords is what was found, for people.
func inWords(f *redis.Found, err error) string {
	var said redis.Error
	switch {
	case errors.As(err, &said) && strings.Contains(said.Error(), "NOAUTH"):
		return "a Redis that wants a password"
	case errors.As(err, &said):
		return "a Redis that says: " + said.Error()
	case err != nil:
		return "no Redis, as far as one can tell: " + err.Error()
	case f.Kind == redis.Watcher:
		return fmt.Sprintf("Sentinel %s, watches %s", f.Version, orNone(f.Masters))
	case f.Kind == redis.ClusterNode:
		return fmt.Sprintf("node of a Redis Cluster %s, knows %s", f.Version, counted(len(f.Peers), "other", "others"))
	}
	return fmt.Sprintf("Redis %s, %s, knows %s", f.Version, f.Role, counted(len(f.Peers), "other", "others"))
}

// is tells whether the port answered as a Redis, whatever it said.
func (x *answer) is() bool {
	var said redis.Error
	return x.err == nil || errors.As(x.err, &said)
}

// circle is StatefulSets that are one store, because their pods know each other.
type circle struct {
	owners  []fleet.Owner
	members []*suspect
}

// judged says of each StatefulSet what its pods are, and how to declare it.
func judged(all []suspect) []probed {
	var out []probed
	for _, c := range circles(all) {
		mover, mind := c.mover()
		for _, o := range c.owners {
			p := probed{Workload: o.Namespace + "/" + o.Name, Mind: mind}
			for _, x := range c.members {
				if x.owner == o {
					p.Answers = append(p.Answers, x.answers...)
				}
			}
			if mover != "" {
				p.Confirm = c.confirm(o, mover)
			}
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b probed) int { return cmp.Compare(a.Workload, b.Workload) })
	return out
}

// circles puts those together that know each other, or belong to one StatefulSet.
func circles(all []suspect) []*circle {
	at := map[string]fleet.Owner{}
	of := map[fleet.Owner]*circle{}
	for i := range all {
		x := &all[i]
		at[x.host], at[x.ref.String()] = x.owner, x.owner
		if of[x.owner] == nil {
			of[x.owner] = &circle{owners: []fleet.Owner{x.owner}}
		}
		of[x.owner].members = append(of[x.owner].members, x)
	}
	for i := range all {
		for _, a := range all[i].answers {
			for _, peer := range slices.Concat(a.redis.Peers, a.redis.Sentinels) {
				if o, ok := at[spot(peer, all[i].ref.Namespace)]; ok {
					join(of, of[all[i].owner], of[o])
				}
			}
		}
	}
	var out []*circle
	for i := range all {
		if c := of[all[i].owner]; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// spot is the IP in host:port, or the pod that a host name is of: the first part of the name that its StatefulSet's Service gives it.
func spot(address, namespace string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil {
		return host
	}
	pod, _, _ := strings.Cut(host, ".")
	return namespace + "/" + pod
}

func join(of map[fleet.Owner]*circle, a, b *circle) {
	if a == b {
		return
	}
	a.owners, a.members = append(a.owners, b.owners...), append(a.members, b.members...)
	for _, o := range b.owners {
		of[o] = a
	}
}

// mover is the one that would move a circle, and what to know before; "" with the reason why none would.
func (c *circle) mover() (fleet.Mover, string) {
	var data, watchers, nodes, shut, silent, both int
	for _, x := range c.members {
		kinds := map[redis.Kind]bool{}
		for i := range x.answers {
			switch a := &x.answers[i]; {
			case !a.is():
				silent++
			case a.err != nil:
				shut++
			default:
				kinds[a.redis.Kind] = true
			}
		}
		if kinds[redis.Watcher] && len(kinds) > 1 {
			both++
		}
		data, watchers, nodes = data+has(kinds, redis.Plain), watchers+has(kinds, redis.Watcher), nodes+has(kinds, redis.ClusterNode)
	}
	switch {
	case both > 0:
		return "", "its pods have a Redis and a Sentinel each: drover moves them where each has pods of its own; until then they leave as other pods do"
	case nodes > 0 && data+watchers == 0:
		return fleet.ClusterMover, ""
	case watchers > 0 && nodes == 0 && data > 0:
		return fleet.SentinelMover, ""
	case watchers > 0 && nodes == 0:
		return fleet.SentinelMover, "whom these Sentinels watch was not found by address: give those the same drover.dev/store"
	case data > 0 && nodes == 0:
		return "", "no Sentinel that was asked watches it: declare those too, with the same drover.dev/store; without Sentinels drover can only call hooks (drover.dev/mover: script)"
	case shut > 0:
		return "", "name a Secret with its password (drover.dev/secret), and choose the mover: sentinel or rediscluster"
	case silent > 0:
		return "", "it does not answer as a Redis"
	}
	return "", "its pods are of several kinds: declare each by hand"
}

func has(kinds map[redis.Kind]bool, k redis.Kind) int {
	if kinds[k] {
		return 1
	}
	return 0
}

// confirm are the commands that declare one of a circle's StatefulSets. A store that would get another name by itself is given one.
func (c *circle) confirm(o fleet.Owner, mover fleet.Mover) []string {
	line := fmt.Sprintf("kubectl -n %s annotate statefulset %s drover.dev/mover=%s", o.Namespace, o.Name, mover)
	if name := c.name(); name != "" {
		line += " drover.dev/store=" + name
	}
	return []string{line}
}

// name is what the store has to be called so that all of a circle are in it; "" where they are by themselves.
func (c *circle) name() string {
	instance := c.members[0].instance
	alike := !slices.ContainsFunc(c.members, func(x *suspect) bool { return x.instance != instance })
	switch {
	case alike && (instance != "" || len(c.owners) == 1):
		return ""
	case storeName(instance):
		return instance
	}
	for _, x := range c.members {
		for _, a := range x.answers {
			if len(a.redis.Masters) > 0 && storeName(strings.ToLower(a.redis.Masters[0])) {
				return strings.ToLower(a.redis.Masters[0])
			}
		}
	}
	return c.owners[0].Name
}

// storeName tells whether a declaration may have that name. What a server calls its master may be anything, and this goes into a command that people paste.
func storeName(name string) bool {
	return len(validation.IsDNS1123Subdomain(name)) == 0 && len(name) <= validation.LabelValueMaxLength
}

// longestSaid is as much of what a server says as is shown.
const longestSaid = 200

// tame is what a server says that nobody trusts yet: in one line, without what a terminal would obey, and not too long.
func tame(said string) string {
	said = strings.Join(strings.FieldsFunc(said, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(said); len(runes) > longestSaid {
		return string(runes[:longestSaid-1]) + "…"
	}
	return said
}

func probedTable(w io.Writer, all []probed) {
	if len(all) == 0 {
		fmt.Fprintln(w, "Probed: no pod of a StatefulSet without a declaration looks like a Redis.")
		return
	}
	fmt.Fprintln(w, "Probed. Nothing is moved by this: it takes somebody to confirm it.")
	for _, p := range all {
		fmt.Fprintf(w, "\nStatefulSet %s\n", p.Workload)
		var rows [][]string
		for _, x := range p.Answers {
			rows = append(rows, []string{x.Pod, fmt.Sprint(x.Port), x.Found})
		}
		columns(w, "POD PORT FOUND", rows)
		for _, line := range p.Confirm {
			fmt.Fprintln(w, "Confirm:", line)
		}
		if p.Mind != "" {
			fmt.Fprintln(w, "Mind:", p.Mind)
		}
	}
}
