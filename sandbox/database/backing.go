package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover.dev/sandbox/cloud"
)

// defaultPort is PostgreSQL's own.
const defaultPort = 5432

// Create makes an empty database with its master user, and starts it.
func (s *Servers) Create(ctx context.Context, id string, spec cloud.BackingSpec) (cloud.Endpoint, error) {
	e, err := s.make(ctx, id, spec, func(ctx context.Context, d *database) error {
		sql, err := master(spec)
		if err != nil {
			return err
		}
		template, err := s.template(ctx, d.Major)
		if err != nil {
			return err
		}
		if err := s.files.copy(d.data(), template); err != nil {
			return err
		}
		if err := s.alone(ctx, d.Major, d.data(), sql); err != nil {
			return err
		}
		return s.serve(ctx, d)
	})
	return e, located("create", id, err)
}

// make makes a database: begin fills its data directory and starts it. Nothing is left of one that cannot be made.
func (s *Servers) make(ctx context.Context, id string, spec cloud.BackingSpec, begin func(context.Context, *database) error) (cloud.Endpoint, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return cloud.Endpoint{}, err
	}
	defer leave()
	if err := named(id); err != nil {
		return cloud.Endpoint{}, err
	}
	n, err := choose(s.programs, spec)
	if err != nil {
		return cloud.Endpoint{}, err
	}
	d, err := s.reserve(id, cmp.Or(spec.Port, defaultPort), n)
	if err != nil {
		return cloud.Endpoint{}, err
	}
	defer d.turn.give()
	err = begin(ctx, d)
	if err == nil {
		err = s.base(ctx, d)
	}
	if err == nil {
		err = s.writeRecord(d.dir, d.record)
	}
	if err != nil {
		return cloud.Endpoint{}, errors.Join(err, s.forget(d))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.made = true
	return d.endpoint(), nil
}

// Start starts a stopped database, and one whose server was killed. Of one that runs it says where.
func (s *Servers) Start(ctx context.Context, id string) (cloud.Endpoint, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return cloud.Endpoint{}, located("start", id, err)
	}
	defer leave()
	d, err := s.must(ctx, id)
	if err != nil {
		return cloud.Endpoint{}, located("start", id, err)
	}
	defer d.turn.give()
	if err := s.serve(ctx, d); err != nil {
		return cloud.Endpoint{}, located("start", id, err)
	}
	return d.endpoint(), nil
}

// serve has a database's server running and ready.
func (s *Servers) serve(ctx context.Context, d *database, settings ...string) error {
	p := d.server()
	if !p.alive() {
		if err := d.clear(); err != nil {
			return err
		}
		var err error
		if p, err = s.launch(d, settings...); err != nil {
			return err
		}
		d.setServer(p)
	}
	if err := p.ready(ctx, d); err != nil {
		return errors.Join(err, d.clear())
	}
	return nil
}

// Stop ends a database's server, and the sessions of its clients.
func (s *Servers) Stop(ctx context.Context, id string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return located("stop", id, err)
	}
	defer leave()
	d, err := s.must(ctx, id)
	if err != nil {
		return located("stop", id, err)
	}
	defer d.turn.give()
	return located("stop", id, d.server().stop(ctx))
}

// Delete takes a database away with all that it could be restored from but its snapshots. One that does not exist is no error.
func (s *Servers) Delete(ctx context.Context, id string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return located("delete", id, err)
	}
	defer leave()
	d, err := s.find(ctx, id)
	if err != nil || d == nil {
		return located("delete", id, err)
	}
	defer d.turn.give()
	return located("delete", id, s.forget(d))
}

// Snapshot keeps a copy of a database, running or not, under a name that must be new.
func (s *Servers) Snapshot(ctx context.Context, id, snapshot string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return located("snapshot", id, err)
	}
	defer leave()
	if err := named(snapshot); err != nil {
		return located("snapshot", id, err)
	}
	d, err := s.must(ctx, id)
	if err != nil {
		return located("snapshot", id, err)
	}
	defer d.turn.give()
	if _, err := os.Stat(s.snapshotDir(snapshot)); err == nil {
		return located("snapshot", id, fmt.Errorf("there is a snapshot %s", snapshot))
	}
	raw, err := os.MkdirTemp(s.snapshotDir(""), unfinished)
	if err != nil {
		return located("snapshot", id, err)
	}
	defer os.RemoveAll(raw) // which has another name when all went well
	if err := s.take(ctx, d, raw); err != nil {
		return located("snapshot", id, err)
	}
	return located("snapshot", id, os.Rename(raw, s.snapshotDir(snapshot)))
}

// unfinished begins the names of snapshots that are being made.
const unfinished = ".unfinished-"

// take fills the folder of a snapshot.
func (s *Servers) take(ctx context.Context, d *database, dir string) error {
	if err := s.files.own(dir); err != nil {
		return err
	}
	keep := func(to string) error { return s.files.copy(to, d.data()) }
	if d.server().alive() {
		keep = func(to string) error { return s.backup(ctx, d, to) }
	}
	if err := keep(filepath.Join(dir, "data")); err != nil {
		return err
	}
	return s.writeRecord(dir, d.record)
}

// backup copies a running database. The copy needs no archive to become a database.
func (s *Servers) backup(ctx context.Context, d *database, to string) error {
	return s.tool(ctx, d.Major, "", "pg_basebackup", "-h", d.Host, "-p", fmt.Sprint(d.Port), "-U", superuser, "-w", "-D", to, "-X", "stream", "-c", "fast", "--no-sync")
}

func (s *Servers) snapshotDir(name string) string { return filepath.Join(s.opt.Dir, "snapshots", name) }

// DeleteSnapshot takes a snapshot away. One that does not exist is no error.
func (s *Servers) DeleteSnapshot(ctx context.Context, snapshot string) error {
	_, leave, err := s.enter(ctx)
	if err != nil {
		return fmt.Errorf("delete snapshot %s: %w", snapshot, err)
	}
	defer leave()
	if err := named(snapshot); err != nil {
		return fmt.Errorf("delete snapshot: %w", err)
	}
	if err := os.RemoveAll(s.snapshotDir(snapshot)); err != nil {
		return fmt.Errorf("delete snapshot %s: %w", snapshot, err)
	}
	return nil
}

// clearSnapshots takes those away that were never finished.
func (s *Servers) clearSnapshots() error {
	entries, err := os.ReadDir(s.snapshotDir(""))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) {
			continue
		}
		if err := os.RemoveAll(s.snapshotDir(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Latest is the last moment that a database can be restored to: now while it runs, else about when its server ended.
func (s *Servers) Latest(ctx context.Context, id string) (time.Time, error) {
	d := s.lookup(id)
	if d == nil {
		return time.Time{}, located("latest restorable time of", id, errUnknown)
	}
	at, err := d.latest()
	return at, located("latest restorable time of", id, err)
}

// located says which database an error is about.
func located(doing, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s database %s: %w", doing, id, err)
}
