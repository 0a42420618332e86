package cloud

import (
	"slices"
	"strings"
	"time"
)

// DBEvent is an event of RDS, as DescribeEvents shows it for 14 days.
type DBEvent struct {
	ID         string // RDS-EVENT-0087
	Source     string // the identifier of what it is about
	SourceType string // db-instance, db-cluster, db-snapshot, db-cluster-snapshot
	ARN        string
	Category   string
	Message    string
	At         time.Time
}

// dbWords are the events of RDS that the sandbox publishes, in RDS's words.
var dbWords = map[string]struct{ category, words string }{
	"RDS-EVENT-0001": {"backup", "Backing up DB instance"},
	"RDS-EVENT-0002": {"backup", "Finished DB Instance backup"},
	"RDS-EVENT-0003": {"deletion", "DB instance deleted"},
	"RDS-EVENT-0004": {"availability", "DB instance shutdown"},
	"RDS-EVENT-0005": {"creation", "DB instance created"},
	"RDS-EVENT-0006": {"availability", "DB instance restarted"},
	"RDS-EVENT-0014": {"configuration change", "Finished applying modification to DB instance class"},
	"RDS-EVENT-0040": {"creation", "Creating manual snapshot"},
	"RDS-EVENT-0041": {"deletion", "Deleted user snapshot"},
	"RDS-EVENT-0042": {"creation", "Manual snapshot created"},
	"RDS-EVENT-0043": {"restoration", "Restored from snapshot"},
	"RDS-EVENT-0019": {"restoration", "Restored to a point in time"},
	"RDS-EVENT-0074": {"backup", "Creating manual cluster snapshot"},
	"RDS-EVENT-0075": {"backup", "Manual cluster snapshot created"},
	"RDS-EVENT-0087": {"notification", "DB instance stopped"},
	"RDS-EVENT-0088": {"notification", "DB instance started"},
	"RDS-EVENT-0090": {"creation", "Creating automated snapshot"},
	"RDS-EVENT-0091": {"creation", "Automated snapshot created"},
	"RDS-EVENT-0150": {"notification", "DB cluster stopped"},
	"RDS-EVENT-0151": {"notification", "DB cluster started"},
	"RDS-EVENT-0152": {"notification", "DB cluster stop failed"},
	"RDS-EVENT-0153": {"notification", "DB cluster is being started due to it exceeding the maximum allowed time being stopped."},
	"RDS-EVENT-0154": {"notification", "DB instance is being started due to it exceeding the maximum allowed time being stopped."},
	"RDS-EVENT-0168": {"backup", "Creating automated cluster snapshot"},
	"RDS-EVENT-0169": {"backup", "Automated cluster snapshot created"},
	"RDS-EVENT-0170": {"creation", "DB cluster created"},
	"RDS-EVENT-0171": {"deletion", "DB cluster deleted"},
}

// dbKinds are the source types of events, with their names on the event bus.
var dbKinds = map[string]struct{ detailType, sourceType string }{
	"db-instance":         {"RDS DB Instance Event", "DB_INSTANCE"},
	"db-cluster":          {"RDS DB Cluster Event", "CLUSTER"},
	"db-snapshot":         {"RDS DB Snapshot Event", "SNAPSHOT"},
	"db-cluster-snapshot": {"RDS DB Cluster Snapshot Event", "CLUSTER_SNAPSHOT"},
}

// sayDB has RDS say something of a database: the first id of an instance, the second of a cluster; none: nothing is said.
func (c *Cloud) sayDB(d *Database, ofInstance, ofCluster string) {
	id, kind := ofInstance, "db-instance"
	if d.cluster {
		id, kind = ofCluster, "db-cluster"
	}
	if id != "" {
		c.recordDB(DBEvent{ID: id, Source: d.ID, SourceType: kind, ARN: d.ARN})
	}
}

// saySnapshot has RDS say something of a snapshot, likewise.
func (c *Cloud) saySnapshot(s *DBSnapshot, ofInstance, ofCluster string) {
	id, kind := ofInstance, "db-snapshot"
	if s.Cluster {
		id, kind = ofCluster, "db-cluster-snapshot"
	}
	if id != "" {
		c.recordDB(DBEvent{ID: id, Source: s.ID, SourceType: kind, ARN: s.ARN})
	}
}

// complain says what went wrong with a database's data. RDS has no such event, so its id is none of RDS's.
func (c *Cloud) complain(d *Database, what string, err error) {
	kind := "db-instance"
	if d.cluster {
		kind = "db-cluster"
	}
	c.recordDB(DBEvent{ID: "NotSimulated", Source: d.ID, SourceType: kind, ARN: d.ARN, Category: "failure", Message: what + ": " + err.Error()})
}

// keepEvents is for how long RDS shows its events.
const keepEvents = 14 * 24 * time.Hour

func (c *Cloud) recordDB(e DBEvent) {
	if w, ok := dbWords[e.ID]; ok {
		e.Category, e.Message = w.category, w.words
	}
	e.At = c.now()
	old := c.now().Add(-keepEvents)
	c.w.dbEvents = append(slices.DeleteFunc(slices.Clone(c.w.dbEvents), func(e DBEvent) bool { return e.At.Before(old) }), e)
	kind := dbKinds[e.SourceType]
	detail := map[string]any{
		"EventCategories": []string{e.Category}, "SourceType": kind.sourceType, "SourceArn": e.ARN, "Date": e.At.Format("2006-01-02T15:04:05.000Z"),
		"Message": e.Message, "SourceIdentifier": e.Source, "EventID": e.ID,
	}
	if !c.loses(e.ID) {
		c.say("aws.rds", kind.detailType, []string{e.ARN}, detail)
	}
}

// DBEventQuery says which events to show; what is empty does not narrow them.
type DBEventQuery struct {
	Source, SourceType string
	From, To           time.Time
	Within             time.Duration // of now; instead of From
	Categories         []string
}

// DescribeDBEvents is RDS's DescribeEvents: the events of the last 14 days that fit, oldest first.
func (c *Cloud) DescribeDBEvents(q DBEventQuery) ([]DBEvent, error) {
	return read(c, "rds:DescribeEvents", func(w *world) ([]DBEvent, error) {
		if q.Source != "" && q.SourceType == "" {
			return nil, badCombination("Both SourceType and SourceIdentifier must be provided if SourceIdentifier is.")
		}
		if q.Within > 0 {
			q.From = c.now().Add(-q.Within)
		}
		return slices.DeleteFunc(slices.Clone(w.dbEvents), func(e DBEvent) bool { return !q.fits(e) }), nil
	})
}

func (q DBEventQuery) fits(e DBEvent) bool {
	return (q.Source == "" || strings.EqualFold(q.Source, e.Source)) && (q.SourceType == "" || q.SourceType == e.SourceType) &&
		(q.From.IsZero() || !e.At.Before(q.From)) && (q.To.IsZero() || !e.At.After(q.To)) &&
		(len(q.Categories) == 0 || slices.Contains(q.Categories, e.Category))
}
