package scenario

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"drover.dev/engine"
	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
	memory "drover.dev/sandbox/fast"
)

// Stage is a world in memory on which one run of one story is played. Its commands are the story's lines; every effect that drover has on it goes
// past the safety list.
type Stage struct {
	variation Variation
	w         *memory.World
	cloud     *memory.CloudHand // as drover's process has it: remembers nothing after a restart
	truth     *memory.CloudHand // as a witness has it
	stores    *stores
	dice      *rand.Rand
	targets   map[string]string       // ARN by name
	specs     map[string]cluster.Spec // by name, as applied last
	images    int
	probes    []*probe
	coming    []happening
	watch     *watch
	lag       *lag
	names     names
	diary     diary
	calls     calls
	crash     context.CancelFunc // ends the process that runs now, after every action; nil where it lives on
	end       context.CancelFunc // ends it
	dead      bool               // it was killed, and is to do nothing more
	bound     time.Time          // by when what it is doing to a store has to be over
	runs      int
	run       string // the latest run
	outcome   outcome
	mail      mailbox
	down      map[bool]time.Time // until when AWS (true) or the API server (false) does not answer
	stirred   time.Time          // when the story last did something
	kills     map[string]bool    // after what the process was killed, of which the world shows nothing
	announced string             // ARN of the latest scheduled event

	announcedFor []string // its instances
	beds         *beds    // what it knows of environments; nil for a story without any
}

// happening is an event of the story that is still to come: at a moment after the next run began, or when something is true.
type happening struct {
	after time.Duration
	when  func() bool
	words string
	do    func() error
	stop  func()
	over  bool
}

// NewStage returns an empty stage.
func NewStage(v Variation) *Stage {
	s := &Stage{variation: v, targets: map[string]string{}, specs: map[string]cluster.Spec{}, names: names{}, down: map[bool]time.Time{}, kills: map[string]bool{}, dice: rand.New(rand.NewPCG(v.Seed, 7))}
	s.open(memory.Options{})
	return s
}

func (s *Stage) open(o memory.Options) {
	s.stores = newStores(s)
	o.Processes = s.stores
	s.w = memory.New(o)
	s.stores.open(o.Seed)
	s.truth = s.w.CloudHand()
	s.watch = newWatch(s)
	s.lag = &lag{stage: s}
}

// command is one word of the grammar.
type command struct {
	means string
	do    func(s *Stage, args []string) (said string, err error)
}

// Commands lists the grammar: what a story may say.
func Commands() map[string]string {
	out := map[string]string{}
	for name, c := range commands() {
		out[name] = c.means
	}
	return out
}

func commands() map[string]command {
	all := map[string]command{
		"world":          {"world zones=a,b seed=1 start=2026-02-01T06:00Z pack records=WHY-NOT lingers=20m: nodes outlive their machines", setup((*Stage).world)},
		"target-group":   {"target-group NAME ip delay=30s", setup((*Stage).targetGroup)},
		"group":          {"group NAME nodes=6 zones=a,b,c type=m5.large min=1 max=12 targets=NAME", setup((*Stage).group)},
		"nodegroup":      {"nodegroup NAME nodes=2 min=1: an EKS managed node group", setup((*Stage).nodegroup)},
		"deployment":     {"deployment NAME replicas=6 budget=5 cpu=300m prestop=3s", setup((*Stage).deployment)},
		"statefulset":    {"statefulset NAME replicas=3 budget=2 disk mover=script hooks=pre-move,ready,post-move", setup((*Stage).statefulset)},
		"daemonset":      {"daemonset NAME", setup((*Stage).daemonset)},
		"job":            {"job NAME runs=10m", setup((*Stage).job)},
		"rollout":        {"rollout NAME replicas=3: a workload of an operator's own kind", setup((*Stage).rollout)},
		"sentinel-store": {"sentinel-store NAME replicas=1 sentinels=3 pinned announce fence=1 priorities=50,100 floor=1 failback=never: Redis with Sentinels", setup((*Stage).sentinelStore)},
		"redis-cluster":  {"redis-cluster NAME shards=3 replicas=1 zones=a,b volumes aof floor=1: a Redis Cluster", setup((*Stage).redisCluster)},
		"writers":        {"writers STORE aware=1 sticky=1 rate=4: clients write to a store from now on", setup((*Stage).writers)},
		"pod":            {"pod NAME: a pod that nobody owns", setup((*Stage).bare)},
		"budget":         {"budget NAME min=1 app=NAME: one budget more", setup((*Stage).budget)},
		"hpa":            {"hpa NAME min=1 max=5: an autoscaler over a deployment", setup((*Stage).autoscaler)},
		"gitops":         {"gitops NAME by=Flux after=30s: a controller that puts it back", setup((*Stage).gitops)},
		"probe":          {"probe NAME: a health probe of the next runs", setup((*Stage).addProbe)},
		"queue":          {"queue: what drover setup makes: a queue, a dead-letter queue, and the rules that fill it", setup((*Stage).addQueue)},
		"hook":           {"hook GROUP heartbeat=300s default=continue name=drover-terminate launch retain direct: a lifecycle hook", setup((*Stage).addHook)},
		"warm-pool":      {"warm-pool GROUP min=1 reuse: stopped instances in reserve", setup((*Stage).addPool)},
		"controller":     {"controller for=1h until=completed:2 drain=10m retain rebalance=cordon two: drover controller, until nothing is left to do", (*Stage).controller},
		"settle":         {"settle: until every node is Ready and every pod runs", (*Stage).settle},
		"later":          {"later 10m: time passes", (*Stage).later},
		"plan":           {"plan GROUP... surge=1: what would be done", (*Stage).plan},
		"rotate":         {"rotate GROUP... surge=1 canary=2m bake=30m all force until=closed:2 for=1h", (*Stage).rotate},
		"drain":          {"drain NODE terminate", (*Stage).drain},
		"abort":          {"abort GROUP: take the run back", (*Stage).abort},
		"rollback":       {"rollback GROUP: return to the old nodes in Standby", (*Stage).abort},
		"diary":          {"diary: what was done, when", (*Stage).tellDiary},
		"margins":        {"margins: how much time was left, by node", (*Stage).tellMargins},
		"tale":           {"tale: what came of it", (*Stage).tellTale},
		"writes":         {"writes: what became of the writes to stores", (*Stage).tellStores},
		"move":           {"move POD...: single pods, as drover move does", (*Stage).movePods},
	}
	maps.Copy(all, environmentCommands)
	all["at"] = command{"at 2m EVENT: in the next run", (*Stage).at}
	all["when"] = command{"when moved:2 EVENT: in the next run", (*Stage).whenever}
	for name, e := range happenings {
		all[name] = command{e.means, func(s *Stage, args []string) (string, error) { return "", s.happen(name, args) }}
	}
	return all
}

// setup is a command that takes words and says nothing.
func setup(f func(*Stage, *words) error) func(*Stage, []string) (string, error) {
	return func(s *Stage, args []string) (string, error) {
		w := parse(args, "pack", "ip", "spot", "disk", "recreate", "parallel", "tolerates", "apart", "spread", "honor", "local", "attributes", "launch", "retain", "direct", "reuse", "stuck", "pinned", "announce", "volumes", "aof", "cluster", "entry", "suspended", "archive", "protected", "shared-data", "weekends")
		err := f(s, w)
		if words := w.done(); words != nil {
			return "", words
		}
		s.watch.forget()
		return "", err
	}
}

// Do carries out one line of the story.
func (s *Stage) Do(name string, args []string) (said string, err error) {
	c, ok := commands()[name]
	if !ok {
		return "", fmt.Errorf("a story has no command %s", name)
	}
	said, err = c.do(s, args)
	if err == nil {
		err = s.watch.broken()
	}
	return said, err
}

func (s *Stage) world(w *words) error {
	if len(s.w.Cloud.Instances()) > 0 {
		return fmt.Errorf("world comes first")
	}
	var zones []string
	for _, z := range w.list("zones") {
		zones = append(zones, zone(z))
	}
	start, err := startOf(w)
	if err != nil {
		return err
	}
	s.open(memory.Options{Start: start, Zones: zones, Seed: int64(w.number("seed", 0)), Pack: w.flag("pack"), Unjournaled: w.text("records", ""), Lingers: w.duration("lingers", 0)})
	return nil
}

// startOf reads start=2026-02-01T06:00Z; zero for the usual one.
func startOf(w *words) (time.Time, error) {
	text := w.text("start", "")
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse("2006-01-02T15:04Z", text)
}

// zone is a zone's name from its letter.
func zone(letter string) string { return "eu-west-1" + letter }

func (s *Stage) targetGroup(w *words) error {
	arn, err := s.w.AddTargetGroup(w.name(), w.flag("ip"))
	if err != nil {
		return err
	}
	s.targets[w.name()] = arn
	_, err = s.w.Cloud.ModifyTargetGroupAttributes(arn, map[string]string{"deregistration_delay.timeout_seconds": fmt.Sprint(int(w.duration("delay", 30*time.Second).Seconds()))})
	return err
}

func (s *Stage) group(w *words) error {
	spec := memory.GroupSpec{
		Name: w.name(), Size: w.number("nodes", 1), Type: w.text("type", "m5.large"), Min: w.number("min", 0), Spot: w.flag("spot"), Labels: w.pairs("labels"),
		Cluster: w.text("cluster", ""), Retain: w.flag("retain"),
	}
	spec.Max = w.number("max", 2*spec.Size)
	if len(spec.Labels) == 0 {
		spec.Labels = map[string]string{"pool": spec.Name}
	}
	for _, z := range w.list("zones") {
		spec.Zones = append(spec.Zones, zone(z))
	}
	for k, v := range w.pairs("taints") {
		spec.Taints = append(spec.Taints, fleet.Taint{Key: k, Value: v, Effect: fleet.NoSchedule})
	}
	for _, name := range w.list("targets") {
		arn, ok := s.targets[name]
		if !ok {
			return fmt.Errorf("there is no target group %s", name)
		}
		spec.Targets = append(spec.Targets, arn)
	}
	if err := s.w.AddGroup(spec); err != nil {
		return err
	}
	return s.mix(spec.Name, w)
}

func (s *Stage) nodegroup(w *words) error {
	size := w.number("nodes", 1)
	return s.w.AddNodegroup(memory.NodegroupSpec{Name: w.name(), Size: size, Min: w.number("min", 1), Labels: map[string]string{"pool": w.name()}})
}

// mix gives a group a mixed instances policy before its first instance is launched: override types, an attribute-based override, or one with a
// template of its own.
func (s *Stage) mix(group string, w *words) error {
	types, own := w.list("mixed"), w.text("own", "")
	if len(types) == 0 && !w.flag("attributes") && own == "" {
		return nil
	}
	m := &cloud.Mixed{Template: cloud.TemplateSpec{Name: group, Version: "$Latest"}}
	for _, kind := range types {
		m.Overrides = append(m.Overrides, cloud.Override{InstanceType: kind})
	}
	if w.flag("attributes") {
		m.Overrides = append(m.Overrides, cloud.Override{Needs: cloud.Needs{MinCPU: 2, MinMiB: 4096}})
	}
	if own != "" {
		if _, err := s.w.Cloud.CreateLaunchTemplate(group+"-own", "", cloud.TemplateData{ImageID: "ami-own", InstanceType: own}, nil); err != nil {
			return err
		}
		m.Overrides = append(m.Overrides, cloud.Override{InstanceType: own, Template: cloud.TemplateSpec{Name: group + "-own", Version: "$Latest"}})
	}
	return s.w.Cloud.UpdateAutoScalingGroup(group, cloud.GroupUpdate{Source: &cloud.Source{Mixed: m}})
}

// spec reads what workloads of every kind have in common.
func (s *Stage) spec(kind string, w *words) cluster.Spec {
	spec := cluster.Spec{
		Owner: fleet.Owner{Kind: kind, Namespace: w.text("ns", "default"), Name: w.name()}, Replicas: w.number("replicas", 1),
		Requests: fleet.Resources{CPU: int64(milli(w)), Memory: int64(w.number("memory", 64)) << 20},
		Start:    w.duration("start", 5*time.Second), Stop: w.duration("stop", time.Second), PreStop: w.duration("prestop", 0), Grace: w.duration("grace", 30*time.Second),
		OwnDisk: w.flag("disk"), Recreate: w.flag("recreate"), Parallel: w.flag("parallel"), Held: w.text("held", ""), Stuck: w.flag("stuck"), Cost: w.text("cost", ""),
		Target: s.targets[w.text("target", "")], BadOn: w.pairs("bad-on"), Needs: s.needs(w),
	}
	if w.flag("local") {
		spec.Local = "emptyDir data"
	}
	if pools := w.list("on"); len(pools) > 0 {
		spec.Affinity = []fleet.Term{{{Key: "pool", Operator: "In", Values: pools}}}
	}
	if w.flag("tolerates") {
		spec.Tolerations = []fleet.Toleration{{Exists: true}}
	}
	for _, key := range w.list("tolerate") {
		spec.Tolerations = append(spec.Tolerations, fleet.Toleration{Key: key, Exists: true})
	}
	ours := fleet.Term{{Key: "app", Operator: "In", Values: []string{w.name()}}}
	if w.flag("apart") {
		spec.Apart = []fleet.PodTerm{{Match: ours, Topology: "kubernetes.io/hostname"}}
	}
	if w.flag("spread") {
		spec.Spread = []fleet.Spread{{Topology: "topology.kubernetes.io/zone", MaxSkew: 1, Match: ours, HonorTaints: w.flag("honor")}}
	}
	return spec
}

// milli reads cpu=300m or cpu=2.
func milli(w *words) int {
	digits, thousandths := strings.CutSuffix(w.text("cpu", "100m"), "m")
	w.set["cpu"] = digits
	n := w.number("cpu", 100)
	if !thousandths {
		n *= 1000
	}
	return n
}

// deploy applies a workload with its budget.
func (s *Stage) deploy(spec cluster.Spec, w *words) error {
	var budgets []cluster.BudgetSpec
	b := cluster.BudgetSpec{MinAvailable: w.text("budget", ""), MaxUnavailable: w.text("unavailable", ""), AlwaysAllow: w.text("unhealthy", "") == "always"}
	if b.MinAvailable != "" || b.MaxUnavailable != "" {
		budgets = append(budgets, b)
	}
	if err := w.done(); err != nil {
		return err
	}
	s.specs[spec.Owner.Name] = spec
	return s.w.Deploy(spec, budgets...)
}

func (s *Stage) deployment(w *words) error { return s.deploy(s.spec("Deployment", w), w) }
func (s *Stage) statefulset(w *words) error {
	spec := s.spec("StatefulSet", w)
	spec.Part = scripted(spec.Owner, w)
	return s.deploy(spec, w)
}
func (s *Stage) daemonset(w *words) error { return s.deploy(s.spec("DaemonSet", w), w) }
func (s *Stage) rollout(w *words) error   { return s.deploy(s.spec("Rollout.argoproj.io", w), w) }
func (s *Stage) bare(w *words) error      { return s.deploy(s.spec("Pod", w), w) }

func (s *Stage) job(w *words) error {
	spec := s.spec("Job", w)
	spec.Runs = w.duration("runs", time.Minute)
	return s.deploy(spec, w)
}

func (s *Stage) budget(w *words) error {
	return s.w.Cluster.Protect(cluster.BudgetSpec{
		Name: "default/" + w.name(), MinAvailable: w.text("min", ""), MaxUnavailable: w.text("unavailable", ""),
		Match: fleet.Term{{Key: "app", Operator: "In", Values: []string{w.text("app", w.name())}}},
	})
}

// change applies a workload anew.
func (s *Stage) change(name string, f func(*cluster.Spec)) error {
	spec, ok := s.specs[name]
	if !ok {
		return fmt.Errorf("there is no workload %s", name)
	}
	f(&spec)
	s.specs[name] = spec
	return s.w.Cluster.Apply(spec)
}

func (s *Stage) autoscaler(w *words) error {
	return s.change(w.name(), func(spec *cluster.Spec) {
		spec.Scaler = &cluster.Scaler{Name: w.name(), Min: w.number("min", 1), Max: w.number("max", 1), Want: w.number("want", 0)}
	})
}

func (s *Stage) gitops(w *words) error {
	return s.change(w.name(), func(spec *cluster.Spec) {
		spec.GitOps = &cluster.GitOps{By: w.text("by", "Argo CD"), After: w.duration("after", 0)}
	})
}

func (s *Stage) addProbe(w *words) error {
	s.probes = append(s.probes, &probe{name: w.name(), healthy: true})
	return nil
}

// probe is a health probe that the story makes good or bad.
type probe struct {
	name    string
	healthy bool
	said    bool // what it answered last
}

func (p *probe) Name() string { return p.name }

func (p *probe) Ask(context.Context) (bool, string) {
	p.said = p.healthy
	if p.healthy {
		return true, "answers"
	}
	return false, "5 of 20 requests failed"
}

var _ engine.Prober = (*probe)(nil)

// worldTime bounds how long a story waits for a world at rest.
const worldTime = 2 * time.Hour

func (s *Stage) settle([]string) (string, error) {
	if !s.w.Await(worldTime, s.w.Settled) {
		return "", fmt.Errorf("the world does not come to rest within %s", worldTime)
	}
	if _, err := s.stores.join(); err != nil {
		return "", err
	}
	if len(s.stores.layout) > 0 {
		s.w.Advance(time.Minute) // replicas are in sync, and everybody has heard of everybody
	} else {
		s.w.Advance(5 * time.Minute) // targets become healthy, autoscalers have looked
	}
	s.watch.forget()
	return "", nil
}

func (s *Stage) later(args []string) (string, error) {
	w := parse(args)
	d, err := time.ParseDuration(w.name())
	if err != nil {
		return "", err
	}
	s.play(d)
	return "", nil
}

// play lets time pass without drover.
func (s *Stage) play(d time.Duration) {
	end := s.w.Now().Add(d)
	for at, ok := s.w.Clock.Next(); ok && !at.After(end); at, ok = s.w.Clock.Next() {
		s.step()
	}
	s.w.Clock.Advance(end.Sub(s.w.Now()))
	s.stepped()
}

// step lets the next thing happen.
func (s *Stage) step() {
	s.w.Step()
	s.stepped()
}

// stepped looks at what has happened.
func (s *Stage) stepped() {
	s.watch.forget()
	s.watch.time()
	s.lag.sample()
	s.whatIsTrue()
}

// whatIsTrue lets the events happen whose condition holds by now.
func (s *Stage) whatIsTrue() {
	for i := range s.coming {
		h := &s.coming[i]
		if h.when == nil || h.over || !h.when() {
			continue
		}
		s.carry(h)
	}
}

func (s *Stage) carry(h *happening) {
	h.over, s.stirred = true, s.w.Now()
	s.diary.note(s.w.Now(), "- "+h.words)
	if err := h.do(); err != nil {
		s.watch.complain("story", fmt.Sprintf("%s: %v", h.words, err))
	}
}

// begin starts the clock of the events to come.
func (s *Stage) begin() {
	s.diary.begin(s.w.Now())
	for i := range s.coming {
		if h := &s.coming[i]; h.when == nil && h.stop == nil {
			h.stop = s.w.Clock.AfterFunc(h.after, func() { s.carry(&s.coming[i]) })
		}
	}
}

// close forgets the events that did not happen. In the plain run each of them has to: a story with an event after its end tells nothing.
func (s *Stage) close() error {
	coming := s.coming
	s.coming = nil
	for i := range coming {
		h := &coming[i]
		if h.stop != nil {
			h.stop()
		}
		if !h.over && s.variation.Kind == Plain {
			return fmt.Errorf("the run was over before: %s", h.words)
		}
	}
	return nil
}

func (s *Stage) at(args []string) (string, error) {
	if len(args) < 2 {
		return "", fmt.Errorf("want a duration and an event")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return "", err
	}
	return "", s.schedule(happening{after: d}, args[1:])
}

func (s *Stage) whenever(args []string) (string, error) {
	if len(args) < 2 {
		return "", fmt.Errorf("want a condition and an event")
	}
	when, err := s.condition(args[0])
	if err != nil {
		return "", err
	}
	return "", s.schedule(happening{when: when}, args[1:])
}

func (s *Stage) schedule(h happening, event []string) error {
	if _, ok := happenings[event[0]]; !ok {
		return fmt.Errorf("%s is no event; there are: %s", event[0], strings.Join(slices.Sorted(maps.Keys(happenings)), ", "))
	}
	h.words = strings.Join(event, " ")
	h.do = func() error { return s.happen(event[0], event[1:]) }
	s.coming = append(s.coming, h)
	return nil
}

// condition reads moved:2, closed:1, standby:1, surged:1, moving, baking or launched:1, which count since the run began.
func (s *Stage) condition(text string) (func() bool, error) {
	w := parse(nil)
	what, digits, ok := strings.Cut(text, ":")
	if !ok {
		digits = "1"
	}
	w.set["count"] = digits
	n := w.number("count", 1)
	count, known := counts[what]
	if !known {
		return nil, fmt.Errorf("condition %s: there are: %s", text, strings.Join(slices.Sorted(maps.Keys(counts)), ", "))
	}
	return func() bool { return count(s.watch) >= n }, w.err
}

// counts are what a condition may wait for.
var counts = map[string]func(*watch) int{
	"moved":    func(w *watch) int { return w.did(fleet.Evict) + w.unsurged },
	"engaged":  func(w *watch) int { return w.did(fleet.Engage) },
	"fenced":   func(w *watch) int { return w.did(fleet.Fence_) },
	"switched": func(w *watch) int { return w.stage.stores.switched() - w.switches },
	"lent":     func(w *watch) int { return w.did(fleet.Lend) },
	"unlent":   func(w *watch) int { return w.did(fleet.Unlend) },
	"attached": func(w *watch) int { return w.did(fleet.Attach) + w.did(fleet.Replicate) },
	"reset":    func(w *watch) int { return w.did(fleet.Reset) },
	"forgot":   func(w *watch) int { return w.did(fleet.Disown) },
	"over":     func(w *watch) int { return w.did(fleet.Disengage) },
	"paused":   func(w *watch) int { return w.said["CLIENT PAUSE"] },
	"ordered":  func(w *watch) int { return w.said["SENTINEL FAILOVER"] + w.said["CLUSTER FAILOVER"] },
	"shut":     func(w *watch) int { return w.did(fleet.Shut) },
	"deleted":  func(w *watch) int { return w.did(fleet.Delete) },
	"answered": func(w *watch) int { return w.did(fleet.Complete) },
	"beats":    func(w *watch) int { return w.did(fleet.Heartbeat) },
	"filed":    func(w *watch) int { return len(w.now().cases) },
	"held":     func(w *watch) int { return len(w.now().waits) },
	"closed":   func(w *watch) int { return w.did(fleet.Terminate) },
	"standby":  func(w *watch) int { return w.did(fleet.Standby) },
	"surged":   func(w *watch) int { return w.did(fleet.Surge) },
	"raised":   func(w *watch) int { return w.did(fleet.Resize) },
	"off":      func(w *watch) int { return w.did(fleet.TurnOff) },
	"on":       func(w *watch) int { return w.did(fleet.TurnOn) },
	"stopped":  func(w *watch) int { return w.did(fleet.StopDatabase) },
	"started":  func(w *watch) int { return w.did(fleet.StartDatabase) },
	"noted":    func(w *watch) int { return w.did(fleet.Remember) },
	"tainted":  func(w *watch) int { return w.did(fleet.Taint_) },
	"excluded": func(w *watch) int { return w.did(fleet.Exclude) },
	"moving":   func(w *watch) int { return marked(w, func(m fleet.Marks) time.Time { return m.Moving }) },
	"canary":   func(w *watch) int { return marked(w, func(m fleet.Marks) time.Time { return m.Canary }) },
	"baking":   func(w *watch) int { return marked(w, func(m fleet.Marks) time.Time { return m.Baking }) },
}

func marked(w *watch, at func(fleet.Marks) time.Time) int {
	if r := w.record(); r != nil && !at(r.Marks).IsZero() {
		return 1
	}
	return 0
}

// image is a new AMI.
func (s *Stage) image(i memory.Image) string {
	s.images++
	id := fmt.Sprintf("ami-%d", s.images+1)
	s.w.SetImage(id, i)
	return id
}

// member finds an instance by its alias, such as web/2, or @orders/master for the one under that pod of a store.
func (s *Stage) member(alias string) (cloud.Instance, error) {
	s.watch.now() // everything that was launched has its name
	if pod, ok := strings.CutPrefix(alias, "@"); ok {
		return s.under(strings.Split(pod, "/"))
	}
	for id, name := range s.names {
		if name == alias && strings.HasPrefix(id, "i-") {
			if in, ok := s.w.Cloud.Instance(id); ok {
				return in, nil
			}
		}
	}
	return cloud.Instance{}, fmt.Errorf("there is no node %s", alias)
}
