package fast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// fronts are the databases as clients meet them: which of them answer, and who is connected.
type fronts struct {
	mu       sync.Mutex // taken under the cluster's lock; nothing is called while it is held
	answers  map[string]bool
	turn     map[string]int // counts changes of status, to tell one from an earlier one
	sessions map[string][]fleet.Session
}

// opens is how long a database that is available takes until it answers.
const opens = 5 * time.Second

// databaseChanged hears that a database has another status.
func (w *World) databaseChanged(id string) {
	up := w.databaseStatus(id) == fleet.DatabaseAvailable
	f := &w.fronts
	f.mu.Lock()
	f.turn[id]++
	turn := f.turn[id]
	if !up {
		f.answers[id] = false
	}
	waits := up && !f.answers[id]
	f.mu.Unlock()
	if !waits {
		w.Cluster.Recheck()
		return
	}
	w.Clock.AfterFunc(opens, func() {
		f.mu.Lock()
		f.answers[id] = f.answers[id] || f.turn[id] == turn
		f.mu.Unlock()
		w.Cluster.Recheck()
	})
}

// Answers tells whether a database takes connections now.
func (w *World) Answers(id string) bool {
	w.fronts.mu.Lock()
	defer w.fronts.mu.Unlock()
	return w.fronts.answers[id]
}

// databaseStatus is what RDS says; "" for a database that it does not know.
func (w *World) databaseStatus(id string) string {
	kind, name, _ := strings.Cut(id, " ")
	if kind == "cluster" {
		if found, err := w.Cloud.DescribeDBClusters(name, nil); err == nil && len(found) > 0 {
			return found[0].Status
		}
		return ""
	}
	if found, err := w.Cloud.DescribeDBInstances(name, nil); err == nil && len(found) > 0 {
		return found[0].Status
	}
	return ""
}

// Connect has somebody be connected to a database, for as long as it answers, whoever else is.
func (w *World) Connect(id string, s fleet.Session) {
	w.fronts.mu.Lock()
	defer w.fronts.mu.Unlock()
	w.fronts.sessions[id] = append(w.fronts.sessions[id], s)
}

// Disconnect ends the sessions of others.
func (w *World) Disconnect(id string) {
	w.fronts.mu.Lock()
	defer w.fronts.mu.Unlock()
	delete(w.fronts.sessions, id)
}

// Ask asks a database whether it answers, and who is connected: others, and the Ready pods that need it.
func (h *CloudHand) Ask(_ context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer {
	a := fleet.Answer{At: h.w.Now(), Works: h.w.Answers(db.ID)}
	if !a.Works {
		a.Why = fmt.Sprintf("refuses connections at %s:%d", db.Host, db.Port)
		return a
	}
	if a.Why = "took the connection"; spec.Secret == "" {
		return a
	}
	a.Why, a.Login = "answered SQL", true
	h.w.fronts.mu.Lock()
	a.Sessions = slices.Clone(h.w.fronts.sessions[db.ID])
	h.w.fronts.mu.Unlock()
	for _, p := range h.w.Cluster.Clients(db.ID) {
		a.Sessions = append(a.Sessions, fleet.Session{User: "app", Database: "app", App: p.Owner.Name, From: p.IP, Since: p.ReadySince, State: "idle"})
	}
	return a
}

// Databases returns the databases of the ids, one entry for each. What cannot be read has Trouble.
func (h *CloudHand) Databases(_ context.Context, ids []string) ([]fleet.Database, error) {
	h.w.sync()
	out := make([]fleet.Database, 0, len(ids))
	for _, id := range ids {
		db, err := h.database(id)
		if err != nil {
			return nil, err
		}
		out = append(out, db)
	}
	return out, nil
}

// database reads one database as RDS says it is.
func (h *CloudHand) database(id string) (fleet.Database, error) {
	kind, name, _ := strings.Cut(id, " ")
	db := fleet.Database{ID: id, Trouble: "RDS knows no " + id}
	switch kind {
	case "instance":
		found, err := h.w.Cloud.DescribeDBInstances(name, nil)
		if err == nil && len(found) > 0 {
			db = readInstance(&found[0])
		} else if err != nil && !codeIs(err, "DBInstanceNotFound") {
			return db, doing("describe DB instances", err)
		}
	case "cluster":
		found, err := h.w.Cloud.DescribeDBClusters(name, nil)
		if err == nil && len(found) > 0 {
			return h.readCluster(&found[0])
		} else if err != nil && !codeIs(err, "DBClusterNotFoundFault") {
			return db, doing("describe DB clusters", err)
		}
	default:
		db.Trouble = fmt.Sprintf(`%q names no database: want "instance NAME" or "cluster NAME"`, id)
	}
	return db, nil
}

// read is what a DB instance and a cluster say alike.
func read(d *cloud.Database, id string) fleet.Database {
	return fleet.Database{
		ID: id, ARN: d.ARN, Engine: d.Engine, Version: d.Version, Status: d.Status, Host: d.Endpoint.Host, Port: d.Endpoint.Port, Restarts: d.Restarts, Mark: d.Tags[environmentTag],
	}
}

func readInstance(in *cloud.DBInstance) fleet.Database {
	db := read(&in.Database, fleet.DatabaseID(false, in.ID))
	db.Class, db.MultiAZ, db.Storage, db.Disk, db.Zone = in.Class, in.MultiAZ, in.Storage, in.Disk, in.Zone
	const leave = "or take it out of the environment, and it stays on"
	switch {
	case in.Cluster != "":
		db.Stuck = fmt.Sprintf("it is a member of a cluster, which RDS stops as a whole: name %q in its place", fleet.DatabaseID(true, in.Cluster))
	case in.Source != "":
		db.Stuck = fmt.Sprintf("it is a read replica of %s, and RDS stops none: promote it, %s", in.Source, leave)
	case len(in.Replicas) > 0:
		db.Stuck = fmt.Sprintf("it has read replicas, and RDS stops no source of any: promote or delete %s first, %s", strings.Join(in.Replicas, ", "), leave)
	case strings.HasPrefix(in.Engine, "custom-"):
		db.Stuck = "it is RDS Custom, which RDS does not stop: " + strings.TrimPrefix(leave, "or ")
	}
	return db
}

func (h *CloudHand) readCluster(in *cloud.DBCluster) (fleet.Database, error) {
	db := read(&in.Database, fleet.DatabaseID(true, in.ID))
	db.MinACU, db.MaxACU = in.MinACU, in.MaxACU
	all, err := h.w.Cloud.DescribeDBInstances("", nil)
	if err != nil {
		return db, doing("describe DB instances", err)
	}
	for _, m := range all {
		if m.Cluster != in.ID {
			continue
		}
		db.Members = append(db.Members, m.ID)
		if m.Writer {
			db.Class, db.Zone = m.Class, m.Zone
		}
	}
	slices.Sort(db.Members)
	switch {
	case in.Mode != "provisioned":
		db.Stuck = fmt.Sprintf("its engine mode is %s, and RDS stops only provisioned ones: take it out of the environment, and it stays on", in.Mode)
	case in.Global != "":
		db.Stuck = fmt.Sprintf("it is part of global database %s, which RDS does not stop: remove it from that first, or take it out of the environment, and it stays on", in.Global)
	}
	return db, nil
}

// switchDatabase carries out one action on a database, on what RDS says of it now.
func (h *CloudHand) switchDatabase(a fleet.Action) error {
	db, err := h.database(a.Database)
	switch {
	case err != nil:
		return err
	case db.Trouble != "" && a.Verb == fleet.UnmarkDatabase:
		return nil // gone with its mark
	case db.Trouble != "":
		return &fleet.Refused{Reason: db.Trouble + " any more", Wait: helpWait}
	}
	if owner, _, _ := strings.Cut(db.Mark, " "); owner != "" && a.Environment != "" && owner != a.Environment {
		return &fleet.Refused{Reason: fmt.Sprintf("it is marked by environment %s (tag %s: %s), which is to give it back first", owner, environmentTag, db.Mark), Wait: helpWait}
	}
	switch a.Verb {
	case fleet.MarkDatabase:
		return inWords(h.w.Cloud.AddDBTags(db.ARN, map[string]string{environmentTag: fleet.DatabaseMark{Environment: a.Environment, Run: a.Run, ACU: a.ACU}.String()}))
	case fleet.UnmarkDatabase:
		return inWords(h.w.Cloud.RemoveDBTags(db.ARN, []string{environmentTag}))
	case fleet.StopDatabase:
		return h.stopDatabase(&db)
	case fleet.StartDatabase:
		return h.startDatabase(&db)
	}
	return h.setCapacity(&db, a.ACU)
}

func (h *CloudHand) stopDatabase(db *fleet.Database) error {
	switch {
	case db.Status == fleet.DatabaseStopping || db.Status == fleet.DatabaseStopped:
		return nil
	case db.Stuck != "":
		return &fleet.Refused{Reason: "RDS cannot stop it: " + db.Stuck, Wait: helpWait}
	case db.Status != fleet.DatabaseAvailable:
		return &fleet.Refused{Reason: fmt.Sprintf("it is %s, and RDS stops it only while it is available", db.Status), Wait: stateWait}
	}
	kind, name, _ := strings.Cut(db.ID, " ")
	var err error
	if kind == "cluster" {
		_, err = h.w.Cloud.StopDBCluster(name)
	} else {
		_, err = h.w.Cloud.StopDBInstance(name, "")
	}
	return inWords(err)
}

func (h *CloudHand) startDatabase(db *fleet.Database) error {
	switch db.Status {
	case fleet.DatabaseStarting, fleet.DatabaseAvailable:
		return nil
	case fleet.DatabaseStopped:
	default:
		return &fleet.Refused{Reason: fmt.Sprintf("it is %s, and RDS starts it only once it is stopped", db.Status), Wait: stateWait}
	}
	kind, name, _ := strings.Cut(db.ID, " ")
	var err error
	if kind == "cluster" {
		_, err = h.w.Cloud.StartDBCluster(name)
	} else {
		_, err = h.w.Cloud.StartDBInstance(name)
	}
	return inWords(err)
}

// setCapacity sets the least capacity of a Serverless v2 cluster; the most stays as it is.
func (h *CloudHand) setCapacity(db *fleet.Database, acu float64) error {
	_, name, _ := strings.Cut(db.ID, " ")
	switch {
	case db.MaxACU == 0:
		return &fleet.Refused{Reason: "it is no Serverless v2 cluster, so it has no capacity to set", Wait: helpWait}
	case db.MinACU == acu:
		return nil
	case acu > db.MaxACU:
		return &fleet.Refused{Reason: fmt.Sprintf("its most capacity units are %g, below the least of %g that it is to have", db.MaxACU, acu), Wait: helpWait}
	case db.Status != fleet.DatabaseAvailable:
		return &fleet.Refused{Reason: fmt.Sprintf("it is %s, and RDS changes its capacity only while it is available", db.Status), Wait: stateWait}
	}
	_, err := h.w.Cloud.ModifyDBCluster(name, cloud.DBChange{MinACU: &acu, Now: true})
	return inWords(err)
}

// inWords makes refusals of what RDS says and waiting may mend.
func inWords(err error) error {
	var api *cloud.Error
	if !errors.As(err, &api) {
		return err
	}
	switch api.Code {
	case "InvalidDBInstanceState", "InvalidDBClusterStateFault":
		return &fleet.Refused{Reason: "RDS says that its state does not allow it now: " + explain(err).Error(), Wait: stateWait}
	case "InsufficientDBInstanceCapacity":
		return &fleet.Refused{Reason: "RDS has no capacity for its class in its zones now: " + explain(err).Error(), Wait: helpWait}
	case "DBInstanceNotFound", "DBClusterNotFoundFault":
		return &fleet.Refused{Reason: "RDS does not know it any more: " + explain(err).Error(), Wait: helpWait}
	}
	return err
}

// databaseSettings is everything that drover may change of databases, in lines.
func (w *World) databaseSettings() []string {
	var out []string
	say := func(d *cloud.Database, id string) {
		out = append(out, fmt.Sprintf("database %s %s", id, d.Status))
		if mark := d.Tags[environmentTag]; mark != "" {
			out = append(out, fmt.Sprintf("database %s mark %s", id, mark))
		}
	}
	instances, err := w.Cloud.DescribeDBInstances("", nil)
	if err != nil {
		return nil // without any fault a Describe call does not fail
	}
	for i := range instances {
		say(&instances[i].Database, fleet.DatabaseID(false, instances[i].ID))
	}
	clusters, err := w.Cloud.DescribeDBClusters("", nil)
	if err != nil {
		return nil
	}
	for i := range clusters {
		id := fleet.DatabaseID(true, clusters[i].ID)
		say(&clusters[i].Database, id)
		out = append(out, fmt.Sprintf("database %s capacity %g to %g", id, clusters[i].MinACU, clusters[i].MaxACU))
	}
	return out
}
