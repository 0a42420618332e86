package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Environment is workloads, groups and databases that are switched off and on together.
type Environment struct {
	Name        string
	Source      string // where it was read, for people: "Environment staging", "file staging.yaml"
	Spec        EnvironmentSpec
	Trouble     []string     // what is wrong with its spec, each located; such an environment is never acted on
	Wish        *Wish        // what a person wants over its schedule; nil for nothing
	WishTrouble string       // why a wish that is there cannot be read, located; Wish is nil then
	Record      *SleepRecord // of the sleep under way: from before its first change until the start is verified. Nil otherwise
	Sleeps      []Sleep      // that are over, newest last; a bounded number
	Copied      string       // what this process has written outside of the cluster and read back, as SleepRecord.Copy names it; "" when nothing
}

// EnvironmentSpec is what the owner of an environment has declared.
type EnvironmentSpec struct {
	Protected bool // is never switched off, whoever asks
	Workloads []Selection
	Groups    []string
	Databases []DatabaseSpec
	Order     []Tier // which workloads need which; what is in no tier has a place by its kind
	Schedule  *Schedule
	Policy    EnvironmentPolicy
	Archive   string // where the second copy of its record goes: a folder (file:///...) or a bucket (s3://bucket/prefix); "" for none
	Rates     []Rate // prices that its owner gives
}

// Selection chooses workloads: those in any of the namespaces whose labels meet all requirements. With neither it chooses nothing.
type Selection struct {
	Namespaces []string // empty for all
	Labels     Term
	Kind, Name string // of one workload; "" for any
}

// Has tells whether a workload is chosen.
func (s *Selection) Has(o Owner, labels map[string]string) bool {
	switch {
	case len(s.Namespaces) == 0 && len(s.Labels) == 0 && s.Name == "":
		return false
	case len(s.Namespaces) > 0 && !slices.Contains(s.Namespaces, o.Namespace), s.Kind != "" && s.Kind != o.Kind, s.Name != "" && s.Name != o.Name:
		return false
	}
	return s.Labels.Holds(labels)
}

// Has tells whether a workload is the environment's.
func (e *EnvironmentSpec) Has(o Owner, labels map[string]string) bool {
	return slices.ContainsFunc(e.Workloads, func(s Selection) bool { return s.Has(o, labels) })
}

// Tier is workloads that are switched together: off after those that need them, on before them.
type Tier struct {
	Name      string
	Workloads []Selection // within the environment; empty namespaces are all of the environment's
	Needs     []string    // tiers that have to work before this one
}

// EnvironmentPolicy is what the owner of an environment leaves to drover.
type EnvironmentPolicy struct {
	Shared  SharedRule    // what becomes of groups that carry pods of others
	Carry   []string      // namespaces whose pods may be moved off the environment's nodes, as nobody's: kube-system where nothing is said
	Fights  int           // how often what somebody else switched back is switched off again; 3 where nothing is said
	Within  time.Duration // how long a stop or a start may take before it is called late: 1h where nothing is said
	Parents ParentRule    // what becomes of GitOps applications that a parent keeps as a repository says
}

// SharedRule is what becomes of a group that carries pods of others.
type SharedRule string

// The rules.
const (
	SharedOwn    SharedRule = "own"    // exactly the nodes that carry none are ended; also where nothing is said
	SharedRefuse SharedRule = "refuse" // nothing of the environment is stopped
)

// ParentRule is what becomes of an application that another one keeps as a repository says: a pause of it may be taken back.
type ParentRule string

// The rules.
const (
	ParentRefuse ParentRule = "refuse" // also where nothing is said
	ParentIgnore ParentRule = "ignore"
)

// Schedule says when an environment is to be on. It is read at a moment, never waited for: what should be true now.
type Schedule struct {
	Zone       string // IANA name
	On         []Window
	Holidays   []string    // days off as 2026-12-25, or yearly as 12-25
	Calendar   string      // the text of an iCalendar whose all-day events are days off
	Exceptions []Exception // the last one that covers a moment wins over all else
}

// Window is a time of the week in which an environment is on, by the wall clock of the schedule's zone. One that ends at or before its begin ends
// the next day.
type Window struct {
	Days     []time.Weekday
	From, To string // 08:00; To may be 24:00
}

// Exception is a time, by the wall clock of the schedule's zone, in which the schedule says something else.
type Exception struct {
	From, To string // 2026-12-24T12:00
	On       bool
	Why      string
}

// Wish is what a person wants of an environment over its schedule. Without Until it holds until the schedule next says the same, or without a schedule
// until somebody wishes something else.
type Wish struct {
	On     bool
	By     string
	Why    string
	At     time.Time
	Until  time.Time // zero for no end
	Forced []string  // codes of findings that the person overrides
}

// Sleep is one that is over.
type Sleep struct {
	Run                         string
	By, StartedBy               string
	At, Asleep, Starting, Awake time.Time // begun; everything off (zero when it never was); start begun; verified
	Saved                       string    // money, as it was reckoned: "1.23 USD"; "" when prices were not known
	Exceptions                  []string
}

// Turn is how one object is switched off and on.
type Turn string

// The turns.
const (
	Scaled    Turn = "replicas" // a workload with a scale: off is 0
	Suspended Turn = "suspend"  // a CronJob: off is true
	Held      Turn = "pause"    // a KEDA ScaledObject: off is its annotation autoscaling.keda.sh/paused-replicas at 0
	Unsynced  Turn = "gitops"   // an Argo CD Application or a Flux Kustomization or HelmRelease: off is not reconciled
)

// Part is one object in the cluster that a stop changes, with the one value of it that is changed.
type Part struct {
	Turn       Turn
	APIVersion string
	Owner      // its kind, namespace and name
	UID        string
	Labels     map[string]string
	Value      string // what it is now; "" when Absent
	Absent     bool   // the field or annotation is not there
	Off        bool   // it is switched off, whoever did it
	By         string // field manager that wrote the value last; "" when nobody says
	Mark       *PartMark

	Ready int // Scaled: pods that are Ready
	Pods  int // Scaled: pods that are there, those that stop included

	Scales      Owner             // Held: the workload that it scales
	Claims      bool              // Scaled: its pods have volumes of their own that stay
	Scratch     string            // Scaled: data that its pods would lose, such as an emptyDir of a store; "" when none
	Apps        []Owner           // the GitOps objects that keep it, nearest first; each is a Part too when it can be seen
	Reverts     string            // Unsynced: who would take a pause back, and why; "" when nobody
	Patch       string            // Unsynced: what to commit where that would be taken back
	Selector    map[string]string // Scaled: nodeSelector of its template
	Tolerations []Toleration      // Scaled: of its template
	Rolled      bool              // Scaled: every pod is of the newest template, and as many are Ready as it wants
	OnDelete    bool              // Scaled: pods get a new template only when somebody takes the old one away

	Entry  bool // Scaled: an Ingress, a Gateway or a LoadBalancer Service leads to it
	Pooler bool // Scaled: a connection pooler, by its image
}

// ID names the part within its cluster: "Deployment shop/web".
func (p *Part) ID() string { return p.Owner.String() }

// PartMark is what a stop writes on an object in the same patch that switches it off. It prints to one line and reads back exactly.
type PartMark struct {
	Environment, Run string
	UID              string // of the object, so that a copy under the same name is not taken for it
	Value            string // before
	Absent           bool
}

func (m PartMark) String() string {
	value := "value=" + m.Value
	if m.Absent {
		value = "absent"
	}
	return fmt.Sprintf("v1 env=%s run=%s uid=%s %s", m.Environment, m.Run, m.UID, value)
}

// ParsePartMark reads what String printed. A mark that cannot be read is an error to show, never a default: it is somebody's original.
func ParsePartMark(s string) (*PartMark, error) {
	fields := strings.SplitN(s, " ", 5)
	if len(fields) != 5 || fields[0] != "v1" {
		return nil, fmt.Errorf("mark %q: want v1 and four fields: written by another version of drover, or cut?", s)
	}
	var m PartMark
	for i, f := range []struct {
		key string
		to  *string
	}{{"env=", &m.Environment}, {"run=", &m.Run}, {"uid=", &m.UID}} {
		value, ok := strings.CutPrefix(fields[i+1], f.key)
		if !ok || value == "" {
			return nil, fmt.Errorf("mark %q: field %d is not %s", s, i+2, f.key)
		}
		*f.to = value
	}
	if fields[4] == "absent" {
		m.Absent = true
		return &m, nil
	}
	value, ok := strings.CutPrefix(fields[4], "value=")
	if !ok {
		return nil, fmt.Errorf("mark %q: the last field is neither value= nor absent", s)
	}
	m.Value = value
	return &m, nil
}

// SleepRecord is the durable record of one stop and its start: what was approved, and how everything was before. It is written before the first
// change, and but for Marks, Fights and Exceptions it never changes: what comes while the environment sleeps may be added to Parts.
type SleepRecord struct {
	Environment string
	Run         string
	By, Why     string
	At          time.Time
	Forced      []string // codes of findings that a person overrode
	Parts       []PartRecord
	Groups      []SleepGroup
	Databases   []SleepDatabase
	Exits       []Departure // the nodes that may go. No other one does
	Rates       []Rate      // what each thing costs while it is on, and while it is off
	Hash        string

	Marks      SleepMarks
	Fights     []Fight
	Exceptions []string // what did not go as it should
}

// PartRecord is a part as it was.
type PartRecord struct {
	Turn       Turn
	APIVersion string
	Owner
	UID    string
	Tier   int    // 0 is switched off first and on last
	Ready  int    // Scaled: pods that were Ready
	Value  string // "" when Absent
	Absent bool
}

// ID names the part, as Part.ID does.
func (p *PartRecord) ID() string { return p.Owner.String() }

// SleepGroup is a group as it was.
type SleepGroup struct {
	Name              string
	Scaling           string
	Managed           bool
	Cluster           string // EKS's, of a managed one
	Min, Max, Desired int
	Suspended         []string // processes that were off
	Protected         []string // instances that were protected from scale-in
	Keepers           []string // instances that stay, because they carry pods of others
	Exits             int
}

// Floor is the least number of nodes that the stop leaves.
func (g *SleepGroup) Floor() int { return max(0, g.Desired-g.Exits) }

// SleepDatabase is a database as it was.
type SleepDatabase struct {
	ID     string
	Class  string
	Status string  // available, stopped
	MinACU float64 // Serverless v2: capacity before
	MaxACU float64
	Lower  bool // its capacity is lowered; it is not stopped
	ToACU  float64
}

// SleepMarks are moments of a sleep that the world does not show. Each is written once.
type SleepMarks struct {
	Archived  time.Time // the second copy of the record was written and read back
	Off       time.Time // every workload was switched off
	Asleep    time.Time // everything was off
	Starting  time.Time // the start began; a later stop under the same record clears it
	StartedBy string
	Served    time.Time // databases answered and nodes were Ready: from here on it counts how long workloads take
	Again     time.Time // a stop took over from a start that was half done
}

// Names lists which marks are set.
func (m SleepMarks) Names() []string {
	var out []string
	for _, one := range []struct {
		name string
		at   time.Time
	}{{"archived", m.Archived}, {"off", m.Off}, {"asleep", m.Asleep}, {"starting", m.Starting}, {"served", m.Served}, {"again", m.Again}} {
		if !one.at.IsZero() {
			out = append(out, one.name)
		}
	}
	return out
}

// Fight is somebody else switching back what is switched off.
type Fight struct {
	Subject string
	By      string
	Times   int
	Last    time.Time
}

// GroupSleep is what a stop writes on a group before it changes it: the group's copy of the record. It prints to one line of at most 256 characters.
type GroupSleep struct {
	Environment, Run  string
	Min, Max, Desired int
	Suspended         bool // this stop suspended AZRebalance, because it was on
}

func (m GroupSleep) String() string {
	return fmt.Sprintf("v1 env=%s run=%s min=%d max=%d desired=%d suspended=%t", m.Environment, m.Run, m.Min, m.Max, m.Desired, m.Suspended)
}

// ParseGroupSleep reads what String printed.
func ParseGroupSleep(s string) (*GroupSleep, error) {
	var m GroupSleep
	if n, err := fmt.Sscanf(s, "v1 env=%s run=%s min=%d max=%d desired=%d suspended=%t", &m.Environment, &m.Run, &m.Min, &m.Max, &m.Desired, &m.Suspended); err != nil {
		return nil, fmt.Errorf("mark %q: %d of 6 fields: %w", s, n, err)
	}
	return &m, nil
}

// NewGroup is a node group to be made for one environment, like another group but for what is said here. It begins with no nodes.
type NewGroup struct {
	Name, From  string
	Environment string
	Max         int
	Labels      map[string]string
	Taints      []Taint
}

// Placement is where the pods of a workload are to run.
type Placement struct {
	APIVersion string
	Owner
	UID        string
	Labels     map[string]string // of nodes
	Toleration Toleration
}

// NewBudget is a PodDisruptionBudget to be made.
type NewBudget struct {
	Namespace, Name string
	Match           map[string]string
	MaxUnavailable  int
}

// Guest is a pod of somebody else on an environment's node.
type Guest struct {
	Pod   PodRef
	Node  string
	Owner Owner
	Of    string // the environment that it belongs to; "" when to none
}

func (g Guest) String() string {
	of := ""
	if g.Of != "" {
		of = " of environment " + g.Of
	}
	return fmt.Sprintf("pod %s (%s%s)", g.Pod, g.Owner, of)
}

// Service is what leads to pods.
type Service struct {
	Namespace, Name string
	Selector        map[string]string
	Endpoints       int // ready ones
}

// Backend is something of the API server's that depends on a Service: it fails, or blocks others, while that has no pods.
type Backend struct {
	Kind, Name         string // ValidatingWebhookConfiguration, APIService, ...
	Namespace, Service string
	Blocks             string // what it would keep from happening; "" when it is ignored when it fails
}

// Busy is something of an environment's that is in use.
type Busy struct {
	Code    string // of the finding: env-jobs, env-sessions
	Subject string
	Reason  string
	Owner   Owner // whose it is, to tell the environment; empty when Subject says it
	Labels  map[string]string
}

// Part returns the part of that id, or nil.
func (s *Snapshot) Part(o Owner) *Part {
	for i := range s.Parts {
		if s.Parts[i].Owner == o {
			return &s.Parts[i]
		}
	}
	return nil
}

// Environment returns the environment of that name, or nil.
func (s *Snapshot) Environment(name string) *Environment {
	for i := range s.Environments {
		if s.Environments[i].Name == name {
			return &s.Environments[i]
		}
	}
	return nil
}

// Database returns the database of that id, or nil.
func (s *Snapshot) Database(id string) *Database {
	for i := range s.Databases {
		if s.Databases[i].ID == id {
			return &s.Databases[i]
		}
	}
	return nil
}

// Clone copies the environment deep enough that the copy's record and sleeps can be changed.
func (e Environment) Clone() Environment {
	if e.Wish != nil {
		w := *e.Wish
		e.Wish = &w
	}
	if e.Record != nil {
		r := e.Record.Clone()
		e.Record = &r
	}
	e.Sleeps = slices.Clone(e.Sleeps)
	return e
}

// Clone copies the record.
func (r SleepRecord) Clone() SleepRecord {
	r.Parts, r.Groups, r.Databases, r.Exits = slices.Clone(r.Parts), slices.Clone(r.Groups), slices.Clone(r.Databases), slices.Clone(r.Exits)
	r.Rates, r.Fights, r.Exceptions = slices.Clone(r.Rates), slices.Clone(r.Fights), slices.Clone(r.Exceptions)
	return r
}

// Copy names what a second copy of the record would hold: it changes when parts are added.
func (r *SleepRecord) Copy() string { return fmt.Sprintf("%s/%d", r.Run, len(r.Parts)) }

// Part returns the record of a part, or nil.
func (r *SleepRecord) Part(o Owner) *PartRecord {
	for i := range r.Parts {
		if r.Parts[i].Owner == o {
			return &r.Parts[i]
		}
	}
	return nil
}

// SortParts orders parts by kind, namespace and name: the order every list prints in.
func SortParts(ps []Part) {
	slices.SortFunc(ps, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
