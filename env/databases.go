package env

import (
	"fmt"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// recordDatabases puts down how every database is, and finds what keeps it from being stopped.
func (v *view) recordDatabases(p *Plan, o *Options) []fleet.Finding {
	var findings []fleet.Finding
	for _, spec := range v.e.Spec.Databases {
		db := v.s.Database(spec.ID)
		if found := v.databaseFindings(spec, db, o); len(found) > 0 {
			findings = append(findings, found...)
		}
		if db == nil || db.Trouble != "" {
			continue
		}
		rec := fleet.SleepDatabase{ID: db.ID, Class: db.Class, Status: db.Status, MinACU: db.MinACU, MaxACU: db.MaxACU}
		if spec.Lower != nil {
			rec.Lower, rec.ToACU = true, *spec.Lower
		}
		p.Record.Databases = append(p.Record.Databases, rec)
	}
	return findings
}

func (v *view) databaseFindings(spec fleet.DatabaseSpec, db *fleet.Database, o *Options) []fleet.Finding {
	subject := "database " + spec.ID
	switch {
	case db == nil:
		return []fleet.Finding{fleet.Found("env-database", subject, "was not read").Then("look whether drover may call RDS")}
	case db.Trouble != "":
		return []fleet.Finding{fleet.Found("env-database", subject, "%s", db.Trouble).Then("mend spec.databases, or what it names")}
	case spec.Lower != nil && db.MaxACU == 0:
		return []fleet.Finding{fleet.Found("env-database", subject, "is no Serverless v2, so it has no capacity to lower").Then("leave lower out")}
	case spec.Lower != nil && *spec.Lower > db.MinACU:
		return []fleet.Finding{fleet.Found("env-database", subject, "lower is %g, which is more than its least capacity of %g", *spec.Lower, db.MinACU).Then("name a smaller one")}
	case db.Status != fleet.DatabaseAvailable && db.Status != fleet.DatabaseStopped:
		return []fleet.Finding{fleet.Found("env-database", subject, "RDS says it is %s", db.Status).Then("wait until it is available")}
	}
	var out []fleet.Finding
	if db.Stuck != "" && spec.Lower == nil {
		out = append(out, fleet.Found("env-database-stuck", subject, "%s", db.Stuck).Then("leave it out of the environment, or change that"))
	}
	if db.Mark != "" {
		out = append(out, fleet.Found("env-stranger", subject, "is tagged by a sleep that is not on file: %s", db.Mark).Then("drover env repair %s", v.e.Name))
	}
	if db.Status == fleet.DatabaseAvailable {
		out = append(out, v.sessionFindings(spec, db, o)...)
	}
	return out
}

func (v *view) sessionFindings(spec fleet.DatabaseSpec, db *fleet.Database, o *Options) []fleet.Finding {
	subject := "database " + spec.ID
	if strangers := v.strangers(db); len(strangers) > 0 && !spec.Shared {
		return []fleet.Finding{fleet.Found("env-sessions", subject, "is in use by %s", list(strangers)).Then("have them leave, or --force env-sessions").Block(!o.forced("env-sessions"))}
	}
	if !spec.Shared && (db.Answer == nil || !db.Answer.Login) {
		return []fleet.Finding{fleet.Found("env-unasked", subject, "who is connected cannot be seen%s", unasked(db)).Then("name a Secret with a login in spec.databases")}
	}
	return nil
}

func unasked(db *fleet.Database) string {
	if db.Answer == nil || db.Answer.Why == "" {
		return ""
	}
	return ": " + db.Answer.Why
}

// stopDatabases has every database of the record stopped or lowered, again when RDS has started it after its seven days. It returns whether all are.
func (t *turn) stopDatabases() bool {
	done := true
	for i := range t.rec.Databases {
		if !t.stopDatabase(&t.rec.Databases[i]) {
			done = false
		}
	}
	return done
}

func (t *turn) stopDatabase(rec *fleet.SleepDatabase) bool {
	subject := "database " + rec.ID
	db := t.v.s.Database(rec.ID)
	switch {
	case db == nil || db.Trouble != "":
		t.hold(subject, "cannot be read: %s", trouble(db))
		return false
	case db.Mark != "" && !t.marks(db):
		t.hold(subject, "is tagged by another sleep: %s", db.Mark)
		return false
	case db.Status == fleet.DatabaseStopped && !rec.Lower:
		return true
	case db.Mark == "":
		mark := fleet.Action{Verb: fleet.MarkDatabase, Database: rec.ID, Why: "what was before, first"}
		if rec.Lower {
			mark.ACU = rec.MinACU
		}
		t.do(mark)
		return false
	case rec.Lower:
		if db.MinACU != rec.ToACU {
			t.do(fleet.Action{Verb: fleet.SetCapacity, Database: rec.ID, ACU: rec.ToACU, Why: fmt.Sprintf("it was %g", rec.MinACU)})
			return false
		}
		return true
	case db.Status != fleet.DatabaseAvailable:
		t.hold(subject, "RDS says it is %s", db.Status)
		return false
	}
	if strangers := t.v.strangers(db); len(strangers) > 0 && !t.shared(rec.ID) && !t.cutsOff() {
		t.hold(subject, "is in use by %s; it is stopped when they have left, or with --force env-sessions", list(strangers))
		return false
	}
	why := "nothing of the environment runs any more"
	if !t.rec.Marks.Asleep.IsZero() {
		why = "RDS started it again, as it does after seven days"
	}
	t.do(fleet.Action{Verb: fleet.StopDatabase, Database: rec.ID, Why: why})
	return false
}

// marks tells whether a database's tag is this sleep's.
func (t *turn) marks(db *fleet.Database) bool {
	m := fleet.ParseDatabaseMark(db.Mark)
	return m.Environment == t.p.Environment && m.Run == t.rec.Run
}

// declared tells whether the environment still names a database, or a group.
func (t *turn) declared(id string) bool {
	return slices.Contains(t.v.e.Spec.Groups, id) || slices.ContainsFunc(t.v.e.Spec.Databases, func(d fleet.DatabaseSpec) bool { return d.ID == id })
}

// cutsOff tells whether a person has said that clients may lose their connection: when it was stopped, or, once it was stopped, now.
func (t *turn) cutsOff() bool {
	const code = "env-sessions"
	return slices.Contains(t.p.Forced, code) || slices.Contains(t.rec.Forced, code) && t.rec.Marks.Asleep.IsZero()
}

func trouble(db *fleet.Database) string {
	if db == nil {
		return "RDS does not list it"
	}
	return db.Trouble
}

func (t *turn) shared(id string) bool {
	return slices.ContainsFunc(t.v.e.Spec.Databases, func(d fleet.DatabaseSpec) bool { return d.ID == id && d.Shared })
}

// startDatabases has every database work that did before, and returns whether all answer.
func (t *turn) startDatabases() bool {
	done := true
	for i := range t.rec.Databases {
		if !t.startDatabase(&t.rec.Databases[i]) {
			done = false
		}
	}
	return done
}

func (t *turn) startDatabase(rec *fleet.SleepDatabase) bool {
	subject := "database " + rec.ID
	db := t.v.s.Database(rec.ID)
	if db == nil || db.Trouble != "" {
		if !t.declared(rec.ID) {
			return true // taken out of the environment
		}
		t.hold(subject, "cannot be read: %s; mend that, or take it out of the environment", trouble(db))
		return false
	}
	if db.Mark != "" && !t.marks(db) {
		t.hold(subject, "is tagged by another sleep: %s", db.Mark)
		return false
	}
	if rec.Status == fleet.DatabaseStopped {
		return true // it was off before
	}
	if rec.Lower && db.MinACU == rec.ToACU && db.MinACU != rec.MinACU {
		t.do(fleet.Action{Verb: fleet.SetCapacity, Database: rec.ID, ACU: rec.MinACU, Why: "as it was"})
		return false
	}
	switch {
	case db.Status == fleet.DatabaseStopped, db.Status == "inaccessible-encryption-credentials-recoverable":
		t.do(fleet.Action{Verb: fleet.StartDatabase, Database: rec.ID, Why: "what needs it waits"})
	case db.Status != fleet.DatabaseAvailable:
		t.hold(subject, "RDS says it is %s", db.Status)
	case !t.declared(rec.ID):
		return true // nobody says any more how it is asked
	case db.Answer == nil:
		t.hold(subject, "is available; whether it answers is not known yet")
	case !db.Answer.Works && t.v.s.Now.Sub(t.rec.Marks.Starting) > t.within():
		return true // RDS says that it works, and it may be that only drover cannot reach it: said at the end
	case !db.Answer.Works:
		t.hold(subject, "is available, and does not answer: %s", db.Answer.Why)
	default:
		return true
	}
	return false
}

// DatabaseIDs are the databases that the environments of a snapshot name.
func DatabaseIDs(s *fleet.Snapshot) []string {
	var out []string
	for i := range s.Environments {
		e := &s.Environments[i]
		for _, d := range e.Spec.Databases {
			out = append(out, d.ID)
		}
		if e.Record != nil {
			for _, d := range e.Record.Databases {
				out = append(out, d.ID)
			}
		}
	}
	slices.SortFunc(out, strings.Compare)
	return slices.Compact(out)
}
