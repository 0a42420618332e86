package scenario

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
	"drover.dev/sandbox/store"
)

// The ports of stores.
const (
	dataPort     = 6379
	sentinelPort = 26379
)

// stores are what the pods of a story's stores run: processes of a model of Redis, each for as long as its pod, under a new address every time.
type stores struct {
	stage  *Stage
	world  *store.World
	layout map[string]*layout // by store
	at     map[string]string  // addresses of processes, by the UID of their pods
	host   map[string]string  // the last address of a pod's host, by the pod's name
	lost   map[string]bool    // names of pods whose volume is empty when they come back
}

// layout is how a store is wired: what a start script makes of a pod.
type layout struct {
	name     string // namespace/name
	mover    fleet.Mover
	pinned   bool // the master has a StatefulSet of its own, and its Service is the master to everybody who starts
	announce bool // members are known by host names
	joined   bool // Cluster: its nodes know each other
	shards   int
	sets     []string // StatefulSets with data, those of the masters first
	keys     int
	aof      bool
	password string
	wrong    bool // from now on processes start with another's password for their master
	priority map[string]int
	settings map[string]string
	master   string // that the Sentinels named last
}

func newStores(s *Stage) *stores {
	return &stores{stage: s, layout: map[string]*layout{}, at: map[string]string{}, host: map[string]string{}, lost: map[string]bool{}}
}

// open begins a world on the stage's clock.
func (x *stores) open(seed int64) {
	x.world = store.New(store.Options{Now: x.stage.w.Now, Sleep: x.stage.sleep, Seed: uint64(seed), Timeout: 2 * time.Second})
}

// Start starts a pod's process. The cluster is locked.
func (x *stores) Start(p fleet.Pod, part cluster.Part, volume string) {
	l := x.layout[part.Store]
	if l == nil {
		return // no model plays it
	}
	l.remember(x.world)
	c := l.config(p, part, volume)
	if x.lost[p.Ref.Name] {
		x.world.DropVolume(volume)
		delete(x.lost, p.Ref.Name)
	}
	name := p.Ref.Name + "." + l.short()
	if x.host[name] = p.IP; !part.Sentinel {
		x.world.SetName(name, p.IP)
	}
	if !x.wire(&c, l, p, part) {
		x.stage.w.Clock.AfterFunc(time.Second, func() { x.retry(p, part, volume) }) // its script waits for the name to resolve
		return
	}
	if err := x.world.Start(c); err != nil {
		x.stage.watch.complain("story", err.Error())
		return
	}
	x.at[p.Ref.UID] = c.Addr
}

// retry starts a process whose script has waited, unless its pod is gone by now.
func (x *stores) retry(p fleet.Pod, part cluster.Part, volume string) {
	for _, q := range x.stage.w.Cluster.Pods(fleet.Owner{}) {
		if q.Ref.UID == p.Ref.UID && !q.Terminating && x.at[p.Ref.UID] == "" {
			x.Start(p, part, volume)
		}
	}
}

// Stop ends a pod's process. The cluster is locked.
func (x *stores) Stop(p fleet.Pod, graceful bool) {
	addr := x.at[p.Ref.UID]
	if addr == "" {
		return
	}
	for _, l := range x.layout {
		l.remember(x.world)
	}
	x.stage.watch.ends(addr, graceful)
	delete(x.at, p.Ref.UID)
	if err := x.world.Stop(addr, graceful); err != nil {
		x.stage.watch.complain("story", err.Error())
	}
}

// remember notes whom the Sentinels name.
func (l *layout) remember(w *store.World) {
	if l.mover != fleet.SentinelMover {
		return
	}
	if masters := w.Masters(l.name); len(masters) > 0 {
		l.master = masters[0]
	}
}

func (l *layout) short() string { return l.name[strings.Index(l.name, "/")+1:] }

// config is what a pod's manifest says of its process, wherever it runs.
func (l *layout) config(p fleet.Pod, part cluster.Part, volume string) store.Config {
	c := store.Config{
		Addr: net.JoinHostPort(p.IP, strconv.Itoa(part.Port)), Store: l.name, Volume: volume, AOF: l.aof, Password: l.password, Settings: maps.Clone(l.settings),
	}
	if l.wrong {
		c.MasterAuth = "another's"
	}
	if part.Sentinel {
		c.Kind, c.MasterAuth, c.Settings = store.Sentinel, l.password, nil
		return c
	}
	if c.Priority = l.priority[p.Ref.Name]; l.announce {
		c.Announce = p.Ref.Name + "." + l.short()
	}
	if l.mover == fleet.ClusterMover {
		c.Cluster, c.Announce = true, p.IP
	}
	return c
}

// wire says whom a process follows or watches when it starts, and tells whether that can be found out.
func (x *stores) wire(c *store.Config, l *layout, p fleet.Pod, part cluster.Part) bool {
	first := l.sets[0] + "-0"
	home := first + "." + l.short()
	switch {
	case l.mover == fleet.ClusterMover:
		return true
	case part.Sentinel:
		c.Monitor = x.address(l, home)
		if l.master != "" && !l.pinned {
			c.Monitor = l.master // its script asks the other Sentinels
		}
		return c.Monitor != ""
	case l.pinned:
		if !strings.HasPrefix(p.Ref.Name, l.sets[0]+"-") {
			c.ReplicaOf = net.JoinHostPort(home, strconv.Itoa(dataPort))
		}
	case l.master != "" && len(x.world.Masters(l.name)) == 0 && x.elects(l):
		return false // its script fails while whom the Sentinels name does not answer
	case l.master != "":
		if x.world.Resolve(l.master) != c.Addr && l.master != net.JoinHostPort(c.Announce, strconv.Itoa(dataPort)) {
			c.ReplicaOf = l.master
		}
	case p.Ref.Name != first:
		c.ReplicaOf = net.JoinHostPort(home, strconv.Itoa(dataPort))
	}
	if c.ReplicaOf == "" && l.master == "" {
		c.Keys = l.keys // the first of all
	}
	return true
}

// elects tells whether somebody is left who may become the master.
func (x *stores) elects(l *layout) bool {
	return slices.ContainsFunc(x.looks(l.name), func(p store.Look) bool { return p.Kind == store.Data })
}

// address is what a Sentinel's script makes of a pod's name: the name where it may be one, else what it resolves to; "" while it does not.
func (x *stores) address(l *layout, name string) string {
	host := x.host[name]
	if host == "" {
		return ""
	}
	if l.announce {
		host = name
	}
	return net.JoinHostPort(host, strconv.Itoa(dataPort))
}

// join makes clusters of the nodes of those that are none yet, and tells whether there was any.
func (x *stores) join() (any bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(x.layout)) {
		l := x.layout[name]
		if l.mover != fleet.ClusterMover || l.joined {
			continue
		}
		var masters []string
		replicas := map[string]string{}
		for i, set := range l.sets {
			for shard := range l.shards {
				addr := net.JoinHostPort(x.host[fmt.Sprintf("%s-%d.%s", set, shard, l.short())], strconv.Itoa(dataPort))
				if i == 0 {
					masters = append(masters, addr)
				} else {
					replicas[addr] = masters[shard]
				}
			}
		}
		if err := x.world.Join(masters, replicas); err != nil {
			return any, err
		}
		any, l.joined = true, true
	}
	return any, nil
}

// settings are those of every process that drover may change and has to put back.
func (x *stores) settings() []string {
	var out []string
	names := x.pods()
	for _, l := range x.world.Look() {
		if l.Kind != store.Data {
			continue
		}
		s := l.Settings
		out = append(out, fmt.Sprintf("store %s pod %s min-replicas=%s/%s priority=%s announced=%s migration=%s", l.Store, names[l.Addr], s["min-replicas-to-write"], s["min-replicas-max-lag"],
			s["replica-priority"], s["replica-announced"], s["cluster-allow-replica-migration"]))
	}
	return out
}

// pods are the names of pods by the addresses of their processes.
func (x *stores) pods() map[string]string {
	out := map[string]string{}
	for _, p := range x.stage.w.Cluster.Pods(fleet.Owner{}) {
		if addr := x.at[p.Ref.UID]; addr != "" {
			out[addr] = p.Ref.Name
		}
	}
	return out
}

// sentinelStore declares Redis with Sentinels: as one StatefulSet, or, where the role is pinned, as one of the master and one of its replicas.
func (s *Stage) sentinelStore(w *words) error {
	base := s.spec("StatefulSet", w)
	l := s.lay(w, fleet.SentinelMover)
	l.pinned, l.announce = w.flag("pinned"), w.flag("announce")
	replicas, sentinels := w.number("replicas", 1), w.number("sentinels", 3)
	if n := w.number("masters", 1); n != 1 {
		return fmt.Errorf("masters=%d: Sentinels watch one", n)
	}
	part := cluster.Part{Store: l.name, Mover: l.mover, Port: dataPort, Pinned: l.pinned, Declared: s.declared(w)}
	name := base.Owner.Name
	data := map[string]int{name: 1 + replicas}
	if l.sets = []string{name}; l.pinned {
		l.sets = []string{name + "-master", name + "-replica"}
		data = map[string]int{l.sets[0]: 1, l.sets[1]: replicas}
	}
	for i, p := range w.list("priorities") {
		n, err := strconv.Atoi(p)
		if err != nil {
			return fmt.Errorf("priorities: %w", err)
		}
		l.priority[fmt.Sprintf("%s-%d", l.sets[len(l.sets)-1], i)] = n
	}
	if err := w.done(); err != nil {
		return err
	}
	for _, set := range l.sets {
		if err := s.partSet(base, part, set, data[set], "data"); err != nil {
			return err
		}
	}
	part.Sentinel, part.Pinned, part.Port = true, false, sentinelPort
	return s.partSet(base, part, name+"-sentinel", sentinels, "sentinels")
}

// redisCluster declares a Redis Cluster: a StatefulSet for the masters and one for each replica, each in a zone where zones are given.
func (s *Stage) redisCluster(w *words) error {
	base := s.spec("StatefulSet", w)
	l := s.lay(w, fleet.ClusterMover)
	l.shards = w.number("shards", 3)
	base.OwnDisk = w.flag("volumes")
	zones, replicas := w.list("zones"), w.number("replicas", 1)
	part := cluster.Part{Store: l.name, Mover: l.mover, Port: dataPort, Declared: s.declared(w)}
	name := base.Owner.Name
	if l.sets = []string{name}; replicas > 0 {
		l.sets = nil
		for i := range replicas + 1 {
			l.sets = append(l.sets, fmt.Sprintf("%s-%c", name, 'a'+i))
		}
	}
	if err := w.done(); err != nil {
		return err
	}
	for i, set := range l.sets {
		one := base
		if len(zones) > 0 {
			one.Selector = map[string]string{"topology.kubernetes.io/zone": zone(zones[i%len(zones)])}
		}
		if err := s.partSet(one, part, set, l.shards, set); err != nil {
			return err
		}
	}
	return nil
}

// lay reads what stores of both kinds have in common.
func (s *Stage) lay(w *words, mover fleet.Mover) *layout {
	l := &layout{
		name: "default/" + w.name(), mover: mover, keys: w.number("keys", 1000), aof: w.flag("aof"), password: w.text("password", ""), priority: map[string]int{},
		settings: map[string]string{"repl-diskless-sync-delay": w.text("sync-delay", "0")},
	}
	if n := w.number("fence", 0); n > 0 {
		l.settings["min-replicas-to-write"] = strconv.Itoa(n)
	}
	s.stores.layout[l.name] = l
	return l
}

// declared is what annotations of a store say.
func (s *Stage) declared(w *words) fleet.StoreSpec {
	out := fleet.StoreSpec{
		Port: dataPort, SentinelPort: sentinelPort, Failback: fleet.Failback(w.text("failback", string(fleet.FailbackIfPinned))), Floor: w.number("floor", 0), Linger: w.duration("linger", 5*time.Second),
		HookTimeout: 30 * time.Second,
	}
	if w.text("password", "") != "" {
		out.Secret = "redis"
	}
	return out
}

// scripted is what annotations say of a workload that is moved by hooks of its owner; nil where there are none.
func scripted(o fleet.Owner, w *words) *cluster.Part {
	mover := w.text("mover", "")
	if mover == "" {
		return nil
	}
	hooks := map[string]string{}
	for _, h := range w.list("hooks") {
		hooks[h] = "exec: /hooks/" + h
	}
	return &cluster.Part{Store: o.Namespace + "/" + o.Name, Mover: fleet.Mover(mover), Declared: fleet.StoreSpec{Hooks: hooks, HookTimeout: 30 * time.Second}}
}

// partSet makes a StatefulSet of a store, no two pods of the same part on one node.
func (s *Stage) partSet(base cluster.Spec, part cluster.Part, name string, replicas int, kind string) error {
	base.Owner.Name, base.Replicas, base.Parallel, base.Part = name, replicas, true, &part
	base.Labels = map[string]string{"app": name, "store": part.Store[strings.Index(part.Store, "/")+1:], "part": kind}
	var ours fleet.Term
	for _, k := range []string{"part", "store"} {
		ours = append(ours, fleet.Requirement{Key: k, Operator: "In", Values: []string{base.Labels[k]}})
	}
	base.Apart = []fleet.PodTerm{{Match: ours, Topology: "kubernetes.io/hostname"}}
	if replicas == 0 {
		return nil
	}
	s.specs[name] = base
	return s.w.Deploy(base)
}

// writers has clients write to a store from now on.
func (s *Stage) writers(w *words) error {
	name, rate := "default/"+w.name(), w.number("rate", 4)
	if s.stores.layout[name] == nil {
		return fmt.Errorf("there is no store %s", w.name())
	}
	for i := range w.number("aware", 1) {
		s.stores.world.Write(store.Client{Name: fmt.Sprintf("%s-aware-%d", w.name(), i), Store: name, Kind: store.Aware, Rate: rate})
	}
	for i := range w.number("sticky", 1) {
		s.stores.world.Write(store.Client{Name: fmt.Sprintf("%s-sticky-%d", w.name(), i), Store: name, Kind: store.Sticky, Rate: rate})
	}
	return nil
}

// who finds a pod of a store: by its name, or as master, replica, temp or sentinel.
func (s *Stage) who(w *words) (fleet.PodRef, error) {
	if len(w.names) < 2 {
		return fleet.PodRef{}, fmt.Errorf("want a store and one of its pods, have %q", w.names)
	}
	name, what := "default/"+w.names[0], w.names[1]
	v := s.watch.now()
	st := v.s.Store(name)
	if st == nil {
		return fleet.PodRef{}, fmt.Errorf("there is no store %s", w.names[0])
	}
	masters := s.stores.world.Masters(name)
	for _, m := range st.Members {
		leads := slices.Contains(masters, s.stores.at[m.Pod.UID])
		role := map[bool]string{true: "master", false: "replica"}[leads]
		if m.Pod.Name == what || what == "temp" && m.Temp || !m.Temp && role == what {
			return m.Pod, nil
		}
	}
	for _, m := range st.Sentinels {
		if m.Pod.Name == what || what == "sentinel" {
			return m.Pod, nil
		}
	}
	return fleet.PodRef{}, fmt.Errorf("store %s has no %s now", w.names[0], what)
}

// under is the instance under a pod of a store.
func (s *Stage) under(words []string) (cloud.Instance, error) {
	pod, err := s.who(parse(words))
	if err != nil {
		return cloud.Instance{}, err
	}
	v := s.watch.now()
	for _, p := range v.s.Pods {
		if n := v.s.Node(p.Node); p.Ref.UID == pod.UID && n != nil {
			in, _ := s.w.Cloud.Instance(n.Instance)
			return in, nil
		}
	}
	return cloud.Instance{}, fmt.Errorf("pod %s is on no node", pod)
}

// tellStores says what became of the stores.
func (s *Stage) tellStores([]string) (string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.stores.layout)) {
		r := s.stores.world.Report(name)
		line := fmt.Sprintf("%s: %d acknowledged writes lost, longest pause under %d s", s.stores.layout[name].short(), r.Lost, int(math.Ceil(r.Gap.Seconds())))
		for _, shard := range slices.Sorted(maps.Keys(r.Failovers)) {
			of := ""
			if shard != "" {
				of = " of shard " + shard
			}
			line += fmt.Sprintf(", role%s handed over %d times", of, r.Failovers[shard])
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n", nil
}

// tail is what the processes of stores have done last, for whoever looks for what went wrong.
func (x *stores) tail() string {
	log := x.world.Log()
	text := strings.Join(log[max(0, len(log)-60):], "\n")
	for addr, name := range x.pods() {
		text = strings.ReplaceAll(text, addr, name)
	}
	return text
}
