package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/cluster"
)

// environmentCommands are the words about environments and what they are made of.
var environmentCommands = map[string]command{
	"environment": {"environment NAME ns=staging labels=k:v groups=web databases=stg order=web>api schedule=08:00-19:00 zone=Europe/Berlin archive shared=refuse fights=2 parents=ignore protected shared-data", setup((*Stage).environment)},
	"database":    {"database NAME class=db.t3.micro cluster acu=0.5:4 replica=NAME: an RDS instance, or an Aurora cluster of one", setup((*Stage).database)},
	"cronjob":     {"cronjob NAME ns=staging every=10m runs=2m needs=stg suspended", setup((*Stage).cronjob)},
	"keda":        {"keda WORKLOAD min=1 max=5 want=2: a ScaledObject over it", setup((*Stage).keda)},
	"application": {"application NAME keeps=web,report after=3m kind=Kustomization: a GitOps object that puts back what it keeps", setup((*Stage).application)},
	"service":     {"service WORKLOAD entry: a Service of that name leads to it, and an Ingress to the Service", setup((*Stage).service)},
	"webhook":     {"webhook NAME service=WORKLOAD: no pod can be made while nobody answers for it", setup((*Stage).webhook)},

	"env-stop":    {"env-stop NAME force=env-jobs until=closed:1 for=1h or=blocked by=ann: drover env stop", func(s *Stage, args []string) (string, error) { return s.switchOver(args, false) }},
	"env-start":   {"env-start NAME until=on:1 for=1h: drover env start", func(s *Stage, args []string) (string, error) { return s.switchOver(args, true) }},
	"env-plan":    {"env-plan NAME force=env-jobs: what a stop would do", (*Stage).envPlan},
	"env-watch":   {"env-watch for=24h every=1m: drover controller, as far as it minds schedules and wishes", (*Stage).envWatch},
	"env-isolate": {"env-isolate NAME for=2h: drover isolate, applied", (*Stage).envIsolate},
	"env-repair":  {"env-repair NAME from=archive: the record again, from its second copy or from the marks", (*Stage).envRepair},
	"env-tale":    {"env-tale: how environments stand, and what it did to others", (*Stage).tellSleeps},
}

// environmentEvents are what others do.
var environmentEvents = map[string]event{
	"write":            {"write NAME 3 by=kubectl: somebody else sets its value: replicas, suspend, a pause; - takes it away", (*Stage).write},
	"wipe":             {"wipe NAME: somebody replaces it, and drover's mark on it is gone", (*Stage).wipe},
	"remake":           {"remake WORKLOAD: somebody deletes it and makes it anew", (*Stage).remake},
	"undeclare":        {"undeclare NAME force: somebody deletes the Environment", (*Stage).undeclare},
	"redeclare":        {"redeclare NAME: somebody makes it again", (*Stage).redeclare},
	"wish":             {"wish NAME off for=3h by=ann: somebody wants it off, or on; or nothing any more", (*Stage).wish},
	"connect":          {"connect DATABASE user=ann from=10.9.9.9: somebody else uses it", (*Stage).connect},
	"disconnect":       {"disconnect DATABASE: they leave", func(s *Stage, w *words) error { s.w.Disconnect(s.databaseID(w.name())); return nil }},
	"restart-database": {"restart-database NAME: RDS starts it, as it does after seven days", (*Stage).restartDatabase},
	"archive-away":     {"archive-away: nobody answers there", func(s *Stage, _ *words) error { s.w.Archive().Away(true); return nil }},
	"archive-back":     {"archive-back", func(s *Stage, _ *words) error { s.w.Archive().Away(false); return nil }},
	"archive-lost":     {"archive-lost: it is empty", func(s *Stage, _ *words) error { s.w.Archive().Lose(); return nil }},
}

// beds are what a story knows of environments.
type beds struct {
	stage     *Stage
	specs     map[string]fleet.EnvironmentSpec
	things    map[string]fleet.Owner // CronJobs, ScaledObjects and GitOps objects by the story's names
	databases map[string]string      // ids by name
	watched   *bedside
	wished    map[string]bool // environments of which somebody wished something
	excused   map[string]bool // what the story takes from pods that need it
}

// look adds to a view what is known of environments.
func (b *beds) look(v *view) {
	if b == nil {
		return
	}
	ctx := context.Background()
	err := b.stage.w.Cluster.ObserveEnvironments(ctx, &v.s)
	if err == nil {
		v.s.Databases, err = b.stage.truth.Databases(ctx, slices.Sorted(maps.Values(b.databases)))
	}
	v.archived = map[string][]fleet.SleepRecord{}
	for name := range b.specs {
		v.archived[name], _ = b.stage.w.Archive().Load(ctx, archiveURL, name) // one that is away knows nothing now
	}
	if err != nil {
		b.stage.watch.complain("story", err.Error())
	}
}

// happened takes over what an event of the story has changed.
func (b *beds) happened(before, after *view) {
	if b != nil {
		b.watched.story(before, after)
	}
}

// saw takes in an action.
func (b *beds) saw(d *deed) {
	if b != nil {
		b.watched.saw(d)
	}
}

// bed returns what the story knows of environments; from its first word about them on their witness looks too.
func (s *Stage) bed() *beds {
	if s.beds == nil {
		s.beds = &beds{stage: s, specs: map[string]fleet.EnvironmentSpec{}, things: map[string]fleet.Owner{}, databases: map[string]string{}, watched: newBedside(), wished: map[string]bool{}, excused: map[string]bool{}}
	}
	return s.beds
}

// thing finds what a story calls by a name.
func (s *Stage) thing(name string) (fleet.Owner, error) {
	if o, ok := s.bed().things[name]; ok {
		return o, nil
	}
	if spec, ok := s.specs[name]; ok {
		return spec.Owner, nil
	}
	return fleet.Owner{}, fmt.Errorf("there is nothing called %s", name)
}

func (s *Stage) databaseID(name string) string { return s.bed().databases[name] }

// needs reads what a workload's pods need: databases and workloads by the story's names.
func (s *Stage) needs(w *words) []string {
	var out []string
	for _, name := range w.list("needs") {
		id := ""
		if s.beds != nil {
			id = s.beds.databases[name]
		}
		if id == "" {
			o := s.specs[name].Owner
			if id = o.String(); o.Name == "" && w.err == nil {
				w.err = fmt.Errorf("needs=%s: there is no database and no workload of that name", name)
			}
		}
		out = append(out, id)
	}
	return out
}

const archiveURL = "file:///archive"

func (s *Stage) environment(w *words) error {
	spec := fleet.EnvironmentSpec{Groups: w.list("groups"), Protected: w.flag("protected")}
	spec.Policy = fleet.EnvironmentPolicy{Shared: fleet.SharedRule(w.text("shared", "")), Fights: w.number("fights", 0), Parents: fleet.ParentRule(w.text("parents", ""))}
	spec.Policy.Within = w.duration("within", 0)
	if w.flag("archive") {
		spec.Archive = archiveURL
	}
	choice := fleet.Selection{Namespaces: w.list("ns")}
	for k, v := range w.pairs("labels") {
		choice.Labels = append(choice.Labels, fleet.Requirement{Key: k, Operator: "In", Values: []string{v}})
	}
	if len(choice.Namespaces)+len(choice.Labels) > 0 {
		spec.Workloads = []fleet.Selection{choice}
	}
	if err := s.databasesOf(&spec, w); err != nil {
		return err
	}
	spec.Order = tiersOf(w.text("order", ""))
	spec.Schedule = scheduleOf(w)
	s.bed().specs[w.name()] = spec
	s.w.Cluster.Declare(w.name(), spec)
	return nil
}

func (s *Stage) databasesOf(spec *fleet.EnvironmentSpec, w *words) error {
	lower, shared := w.text("lower", ""), w.flag("shared-data")
	for _, name := range w.list("databases") {
		id := s.databaseID(name)
		if id == "" {
			id = name // the story wants one that is not there
		}
		db := fleet.DatabaseSpec{ID: id, Secret: "staging/login", Shared: shared}
		if lower != "" {
			acu, err := strconv.ParseFloat(lower, 64)
			if err != nil {
				return fmt.Errorf("lower: %w", err)
			}
			db.Lower = &acu
		}
		spec.Databases = append(spec.Databases, db)
	}
	return nil
}

// tiersOf reads web>api>db: web needs api, api needs db.
func tiersOf(text string) []fleet.Tier {
	if text == "" {
		return nil
	}
	names := strings.Split(text, ">")
	var out []fleet.Tier
	for i, name := range names {
		t := fleet.Tier{Name: name, Workloads: []fleet.Selection{{Name: name}}}
		if i+1 < len(names) {
			t.Needs = names[i+1 : i+2]
		}
		out = append(out, t)
	}
	return out
}

// scheduleOf reads schedule=08:00-19:00 days=mon-fri zone=Europe/Berlin holidays=2026-12-25.
func scheduleOf(w *words) *fleet.Schedule {
	zone, holidays, weekend := w.text("zone", "UTC"), w.list("holidays"), w.flag("weekends")
	from, to, ok := strings.Cut(w.text("schedule", ""), "-")
	if !ok {
		return nil
	}
	days := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	if weekend {
		days = append(days, time.Saturday, time.Sunday)
	}
	return &fleet.Schedule{Zone: zone, On: []fleet.Window{{Days: days, From: from, To: to}}, Holidays: holidays}
}

// database makes an RDS instance, or an Aurora cluster with one member.
func (s *Stage) database(w *words) error {
	name, class := w.name(), w.text("class", "db.t3.micro")
	replica := w.text("replica", "")
	bounds := strings.Split(w.text("acu", "0:0"), ":")
	least, e1 := strconv.ParseFloat(bounds[0], 64)
	most, e2 := strconv.ParseFloat(bounds[len(bounds)-1], 64)
	if e1 != nil || e2 != nil {
		return fmt.Errorf("acu: %v %v", e1, e2)
	}
	if !w.flag("cluster") {
		s.bed().databases[name] = fleet.DatabaseID(false, name)
		_, err := s.w.Cloud.CreateDBInstance(cloud.DBInstance{Database: cloud.Database{ID: name, Engine: "postgres", User: "app", Retention: 7}, Class: class, Storage: 20}, "secret-word")
		if err != nil || replica == "" {
			return err
		}
		s.w.Await(worldTime, s.databasesReady)
		_, err = s.w.Cloud.CreateDBInstanceReadReplica(name, cloud.DBInstance{Database: cloud.Database{ID: replica}, Class: class})
		return err
	}
	s.bed().databases[name] = fleet.DatabaseID(true, name)
	if _, err := s.w.Cloud.CreateDBCluster(cloud.DBCluster{Database: cloud.Database{ID: name, Engine: "aurora-postgresql", User: "app"}, MinACU: least, MaxACU: most}, "secret-word"); err != nil {
		return err
	}
	s.w.Await(worldTime, s.databasesReady)
	if most > 0 {
		class = "db.serverless"
	}
	_, err := s.w.Cloud.CreateDBInstance(cloud.DBInstance{Database: cloud.Database{ID: name + "-1", Engine: "aurora-postgresql"}, Class: class, Cluster: name}, "")
	return err
}

// databasesReady tells whether every database has come up.
func (s *Stage) databasesReady() bool {
	all, err := s.w.Cloud.DescribeDBInstances("", nil)
	if err != nil {
		return false
	}
	for _, db := range all {
		if db.Status != fleet.DatabaseAvailable {
			return false
		}
	}
	clusters, err := s.w.Cloud.DescribeDBClusters("", nil)
	if err != nil {
		return false
	}
	for _, db := range clusters {
		if db.Status != fleet.DatabaseAvailable {
			return false
		}
	}
	return true
}

func (s *Stage) cronjob(w *words) error {
	o := fleet.Owner{Kind: "CronJob", Namespace: w.text("ns", "default"), Name: w.name()}
	spec := cluster.CronSpec{Owner: o, Labels: map[string]string{"app": w.name()}, Every: w.duration("every", 10*time.Minute), Runs: w.duration("runs", time.Minute), Needs: s.needs(w)}
	spec.Pod.Requests = fleet.Resources{CPU: 50, Memory: 32 << 20}
	if pools := w.list("on"); len(pools) > 0 {
		spec.Pod.Affinity = []fleet.Term{{{Key: "pool", Operator: "In", Values: pools}}}
	}
	if w.flag("suspended") {
		yes := true
		spec.Suspend = &yes
	}
	s.bed().things[w.name()] = o
	return s.w.Cluster.ApplyCron(spec)
}

func (s *Stage) keda(w *words) error {
	of, err := s.thing(w.name())
	if err != nil {
		return err
	}
	o := fleet.Owner{Kind: "ScaledObject", Namespace: of.Namespace, Name: of.Name}
	s.bed().things["keda-"+of.Name] = o
	return s.w.Cluster.ApplyScaled(cluster.ScaledSpec{Owner: o, Scales: of, Min: w.number("min", 1), Max: w.number("max", 5), Want: w.number("want", 0)})
}

func (s *Stage) application(w *words) error {
	o := fleet.Owner{Kind: w.text("kind", "Application"), Namespace: "gitops", Name: w.name()}
	spec := cluster.AppSpec{Owner: o, After: w.duration("after", 3*time.Minute)}
	for _, name := range w.list("keeps") {
		kept, err := s.thing(name)
		if err != nil {
			return err
		}
		spec.Keeps = append(spec.Keeps, kept)
	}
	s.bed().things[w.name()] = o
	return s.w.Cluster.ApplyApp(spec)
}

func (s *Stage) service(w *words) error {
	of, err := s.thing(w.name())
	if err != nil {
		return err
	}
	return s.w.Cluster.ApplyService(cluster.ServiceSpec{Namespace: of.Namespace, Name: of.Name, Selector: map[string]string{"app": of.Name}, Entry: w.flag("entry")})
}

func (s *Stage) webhook(w *words) error {
	of, err := s.thing(w.text("service", ""))
	if err != nil {
		return err
	}
	s.w.Cluster.AddBackend(cluster.BackendSpec{
		Backend: fleet.Backend{Kind: "ValidatingWebhookConfiguration", Name: w.name(), Namespace: of.Namespace, Service: of.Name, Blocks: "making pods"}, Bars: true,
	})
	return nil
}

func (s *Stage) write(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want a name and a value, have %q", w.names)
	}
	o, err := s.thing(w.names[0])
	if err != nil {
		return err
	}
	return s.w.Cluster.WriteBy(o, w.names[1], w.text("by", "kubectl"))
}

func (s *Stage) wipe(w *words) error {
	o, err := s.thing(w.name())
	if err != nil {
		return err
	}
	return s.w.Cluster.Wipe(o)
}

func (s *Stage) remake(w *words) error {
	spec, ok := s.specs[w.name()]
	if !ok {
		return fmt.Errorf("there is no workload %s", w.name())
	}
	s.w.Cluster.Delete(spec.Owner)
	return s.w.Cluster.Apply(spec)
}

func (s *Stage) undeclare(w *words) error {
	if len(w.names) == 2 && w.names[1] == "force" {
		s.w.Cluster.Undeclare(w.names[0], true)
		return nil
	}
	s.w.Cluster.Undeclare(w.name(), false)
	return nil
}

func (s *Stage) redeclare(w *words) error {
	spec, ok := s.bed().specs[w.name()]
	if !ok {
		return fmt.Errorf("there never was an environment %s", w.name())
	}
	s.w.Cluster.Declare(w.name(), spec)
	return nil
}

func (s *Stage) wish(w *words) error {
	if len(w.names) != 2 {
		return fmt.Errorf("want an environment, and on, off or nothing; have %q", w.names)
	}
	s.bed().wished[w.names[0]] = true
	if w.names[1] == "nothing" {
		return s.w.Cluster.Wish(w.names[0], nil)
	}
	wish := fleet.Wish{On: w.names[1] == "on", By: w.text("by", "ann"), At: s.w.Now(), Forced: w.list("force")}
	if d := w.duration("for", 0); d > 0 {
		wish.Until = s.w.Now().Add(d)
	}
	return s.w.Cluster.Wish(w.names[0], &wish)
}

// restartDatabase is what RDS does by itself; whatever uses the database loses it when it is stopped again.
func (s *Stage) restartDatabase(w *words) error {
	return s.w.Cloud.RestartDatabase(s.databaseID(w.name()))
}

func (s *Stage) connect(w *words) error {
	s.w.Connect(s.databaseID(w.name()), fleet.Session{User: w.text("user", "ann"), Database: "app", From: w.text("from", "10.9.9.9"), Since: s.w.Now(), State: "active"})
	return nil
}
