package sandbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/database"
)

// databases are what RDS's data is in.
type databases struct {
	servers   *database.Servers // nil: there are none
	temporary string            // their folder, if it cannot be in the sandbox's
}

// newCloud is an AWS whose RDS has real PostgreSQL servers. Where they cannot be had it works without: RDS makes no databases, and says why.
func (w *World) newCloud(c cloud.Config) *cloud.Cloud {
	err := w.openDatabases()
	if err == nil {
		c.Backing, c.Postgres = w.databases.servers, w.databases.servers.Version()
		return cloud.New(c)
	}
	fmt.Fprintf(w.Progress, "RDS can have no databases here: %v\n", err)
	without := cloud.New(c)
	for _, action := range []string{"rds:CreateDBInstance", "rds:CreateDBCluster"} {
		without.Refuse(action, &cloud.Error{Code: "NotSimulated", Message: "the drover sandbox can have no databases here: " + err.Error(), Status: http.StatusBadRequest})
	}
	return without
}

func (w *World) openDatabases() error {
	dir, err := w.databaseFolder()
	if err != nil {
		return err
	}
	w.databases.servers, err = database.New(database.Options{Dir: dir, Addresses: w.network.database, Log: w.log})
	return err
}

// databaseFolder is in the sandbox's own, which becomes passable for that: what is secret in it is closed by itself. The servers of a sandbox that is root's run
// as somebody else; if that one cannot get to the folder either, they have one of their own until Stop.
func (w *World) databaseFolder() (string, error) {
	if os.Geteuid() == 0 {
		if err := os.Chmod(w.Dir, 0o711); err != nil {
			return "", err
		}
	}
	if database.Reachable(w.Dir) == nil {
		return filepath.Join(w.Dir, "databases"), nil
	}
	dir, err := os.MkdirTemp("", "drover-databases-")
	if err != nil {
		return "", err
	}
	w.databases.temporary = dir
	return filepath.Join(dir, "databases"), os.Chmod(dir, 0o711)
}

// close ends the servers.
func (d *databases) close() {
	if d.servers != nil {
		d.servers.Close()
	}
	if d.temporary != "" {
		_ = os.RemoveAll(d.temporary) // it is in the folder for what is temporary
	}
}
