package cloud

import (
	"context"
	"time"
)

// Backing keeps the data of databases in real processes; nil in memory. An id is that of a DB instance, or of a cluster with "cluster-" before
// it, whose members share its data; snapshots are named likewise. Calls may take seconds and are made outside of the state machine's lock, those
// that change an id one at a time. Restore and Latest may come at any time; a Restore with no snapshot and no time means the latest state.
type Backing interface {
	Create(ctx context.Context, id string, s BackingSpec) (Endpoint, error) // a new empty database
	Start(ctx context.Context, id string) (Endpoint, error)
	Stop(ctx context.Context, id string) error
	Delete(ctx context.Context, id string) error
	Snapshot(ctx context.Context, id, snapshot string) error
	DeleteSnapshot(ctx context.Context, snapshot string) error
	Restore(ctx context.Context, id string, from BackingSource, s BackingSpec) (Endpoint, error) // from a snapshot's name, or another id and a time
	Latest(ctx context.Context, id string) (time.Time, error)                                    // latest restorable time
}

// BackingSpec is what a database is made with.
type BackingSpec struct {
	Engine, Version, User, Password, Database string
	Port                                      int
}

// BackingSource is what a database is restored from: a snapshot, or another database as it was at a time.
type BackingSource struct {
	Snapshot, ID string
	At           time.Time
}

// Endpoint is where a database takes connections.
type Endpoint struct {
	Host string
	Port int
}
