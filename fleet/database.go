package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DatabaseSpec names a database of an environment, and how to tell that it answers.
type DatabaseSpec struct {
	ID     string   // "instance NAME" or "cluster NAME", as DatabaseID prints it
	Lower  *float64 // Serverless v2: capacity units while off, rather than a stop; nil for a stop
	Secret string   // namespace/name of a Secret with keys username, password, and optionally dbname and sslmode; "" to try no login
	Name   string   // of the database to log in to; "" for the Secret's dbname, else postgres
	Shared bool     // others may be connected to it when it is stopped
}

// DatabaseID is how a database is named: by what RDS calls it. An instance that is a member of an Aurora cluster is switched with its cluster.
func DatabaseID(cluster bool, name string) string {
	name = strings.ToLower(name) // as RDS takes it
	if cluster {
		return "cluster " + name
	}
	return "instance " + name
}

// DatabaseMark is what a stop writes on a database before it changes it: the database's copy of the record. One that is marked was available.
type DatabaseMark struct {
	Environment, Run string
	ACU              float64 // the least capacity units before, where they are lowered
}

func (m DatabaseMark) String() string {
	out := m.Environment + " " + m.Run
	if m.ACU > 0 {
		out += fmt.Sprintf(" acu=%g", m.ACU)
	}
	return out
}

// ParseDatabaseMark reads what String printed, as far as it can be read.
func ParseDatabaseMark(s string) DatabaseMark {
	fields := append(strings.Fields(s), "", "", "")
	m := DatabaseMark{Environment: fields[0], Run: fields[1]}
	if acu, ok := strings.CutPrefix(fields[2], "acu="); ok {
		m.ACU, _ = strconv.ParseFloat(acu, 64)
	}
	return m
}

// Database is an RDS instance or an Aurora cluster.
type Database struct {
	ID             string // as DatabaseID prints it
	ARN            string
	Engine         string // postgres, aurora-postgresql, ...
	Version        string
	Status         string   // in RDS's words: available, stopping, stopped, starting, ...
	Class          string   // of the instance, or of the cluster's writer
	Members        []string // instances of a cluster
	MultiAZ        bool
	Storage        int    // GiB allocated; 0 where it is not said
	Disk           string // gp3, ...
	Zone           string
	Host           string // endpoint; "" while there is none
	Port           int
	Stuck          string    // why RDS cannot stop it, and what to do; "" when it can
	Restarts       time.Time // when RDS starts it again whatever anybody wants; zero when it is not stopped
	MinACU, MaxACU float64   // Serverless v2; zeros otherwise
	Mark           string    // drover's tag on it: who switched it off; "" when nobody
	Trouble        string    // why it could not be read: not found, a missing right

	Answer *Answer // what it says when it is asked; nil when it was not
}

// Answer is what a database says of itself when somebody logs in.
type Answer struct {
	At       time.Time
	Works    bool   // it took the connection, and answered where there is a login
	Why      string // what happened, in words, without secrets
	Login    bool   // it was asked by SQL, and Sessions are known; without it nobody knows who is connected
	Sessions []Session
}

// Session is a client that is connected to a database.
type Session struct {
	User, Database, App string
	From                string // IP address; "" for a local one, "hidden" when the login may not see it
	Since               time.Time
	State               string // active, idle, ...
}

// Statuses of databases that matter, in RDS's words.
const (
	DatabaseAvailable = "available"
	DatabaseStopping  = "stopping"
	DatabaseStopped   = "stopped"
	DatabaseStarting  = "starting"
)

// Rate is what something costs in an hour.
type Rate struct {
	Subject  string  // "m5.large", "db.t3.micro postgres", ...: what the price is of; as the environment's owner gives it, also "group web", "instance stg"
	On, Off  float64 // while it is on; what still bills while it is off
	Currency string
	Source   string // for people: "given", "price list of 2026-11-01", "table of drover"
}
