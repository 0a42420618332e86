package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover.dev/sandbox/cloud"
)

// stamp names base backups by when they were complete, which is the first moment that they can be restored to. It sorts as time does.
const stamp = "20060102T150405.000000"

// Restore makes a new database of a snapshot, or of another database as it was at a time; zero is its latest. Users and passwords are those of then:
// of the specification only engine, version and port count.
func (s *Servers) Restore(ctx context.Context, id string, from cloud.BackingSource, spec cloud.BackingSpec) (cloud.Endpoint, error) {
	e, err := s.make(ctx, id, spec, func(ctx context.Context, d *database) error {
		if from.Snapshot != "" {
			return s.fromSnapshot(ctx, d, from.Snapshot)
		}
		return s.fromDatabase(ctx, d, from.ID, from.At)
	})
	return e, located("restore", id, err)
}

func (s *Servers) fromSnapshot(ctx context.Context, d *database, name string) error {
	if err := named(name); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	var of record
	if err := readRecord(s.snapshotDir(name), &of); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no snapshot %s", name)
	} else if err != nil {
		return fmt.Errorf("snapshot %s: %w", name, err)
	}
	if err := d.sameMajor(of.Major); err != nil {
		return fmt.Errorf("snapshot %s: %w", name, err)
	}
	if err := s.files.copy(d.data(), filepath.Join(s.snapshotDir(name), "data")); err != nil {
		return fmt.Errorf("snapshot %s: %w", name, err)
	}
	return s.serve(ctx, d)
}

// sameMajor refuses data of another major version, which a server cannot read.
func (d *database) sameMajor(of int) error {
	if d.Major != of {
		return fmt.Errorf("it is of PostgreSQL %d and cannot be restored as %d", of, d.Major)
	}
	return nil
}

func (s *Servers) fromDatabase(ctx context.Context, d *database, id string, at time.Time) error {
	if at, err := s.stage(ctx, d, id, at); err != nil {
		return located("from", id, err)
	} else if err := s.replay(ctx, d, at); err != nil {
		return fmt.Errorf("replay the log of database %s up to %s: %w", id, clock(at), err)
	}
	return os.RemoveAll(d.path("log-before"))
}

// stage brings all that a restore needs beside the new database's data directory, and says up to when it shall go.
func (s *Servers) stage(ctx context.Context, d *database, id string, at time.Time) (time.Time, error) {
	from, err := s.must(ctx, id)
	if err != nil {
		return at, err
	}
	defer from.turn.give()
	if err := d.sameMajor(from.Major); err != nil {
		return at, err
	}
	now := time.Now()
	if at.IsZero() {
		at = now
	}
	if at.After(now) { // a time after the end of a stopped one is as good as its end
		return at, fmt.Errorf("it cannot be restored to %s: it is %s", clock(at), clock(now))
	}
	base, err := from.baseBefore(at)
	if err != nil {
		return at, err
	}
	if err := s.files.copy(d.data(), from.path(filepath.Join("base", base))); err != nil {
		return at, err
	}
	return at, s.stageLog(d, from)
}

// baseBefore is the last base backup that was complete at a time.
func (d *database) baseBefore(at time.Time) (string, error) {
	entries, err := os.ReadDir(d.path("base"))
	if err != nil {
		return "", err
	}
	base, first := "", ""
	for _, e := range entries { // in order
		complete, err := time.Parse(stamp, e.Name())
		if err != nil {
			continue // not complete
		}
		if first == "" {
			first = clock(complete)
		}
		if !complete.After(at) {
			base = e.Name()
		}
	}
	if base == "" {
		return "", fmt.Errorf("it cannot be restored to %s: the earliest restorable time is %s", clock(at), first)
	}
	return base, nil
}

// stageLog gathers the log of a database that may be running. A segment that its server has in use is copied first, then all that are archived:
// one that is written anew meanwhile has been archived before, and what a copy has in it that never was valid log ends the replay.
func (s *Servers) stageLog(d, from *database) error {
	to := d.path("log-before")
	if err := s.files.make(to); err != nil {
		return err
	}
	current := filepath.Join(from.data(), "pg_wal")
	entries, err := os.ReadDir(current)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		err := s.copyFile(filepath.Join(to, e.Name()), filepath.Join(current, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was archived meanwhile
			return err
		}
	}
	archived, err := os.ReadDir(from.path("wal"))
	if err != nil {
		return err
	}
	for _, e := range archived {
		if strings.HasPrefix(e.Name(), ".") {
			continue // half
		}
		if err := os.RemoveAll(filepath.Join(to, e.Name())); err != nil {
			return err
		}
		if err := os.Link(from.path(filepath.Join("wal", e.Name())), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *Servers) copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), s.files.own(to))
}

// shortOfTarget is what PostgreSQL says when the log holds no commit after the time to recover to. It cannot know that no more is to come.
const shortOfTarget = "recovery ended before configured recovery target was reached"

// replay recovers a staged database up to a time. When nothing was committed after that time all of the log is before it, and all of it is replayed.
func (s *Servers) replay(ctx context.Context, d *database, at time.Time) error {
	if err := s.files.write(filepath.Join(d.data(), "recovery.signal"), ""); err != nil {
		return err
	}
	archive := "restore_command=cp ../log-before/%f %p"
	err := s.serve(ctx, d, archive, "recovery_target_time="+at.UTC().Format("2006-01-02 15:04:05.999999+00"), "recovery_target_action=promote")
	if errors.Is(err, errEnded) && strings.Contains(d.server().said(), shortOfTarget) {
		return s.serve(ctx, d, archive)
	}
	return err
}

// base makes a running database restorable from now on.
func (s *Servers) base(ctx context.Context, d *database) error {
	raw := d.path(filepath.Join("base", unfinished))
	if err := s.backup(ctx, d, raw); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	return os.Rename(raw, d.path(filepath.Join("base", time.Now().UTC().Format(stamp))))
}

// latest goes by when the log was last written, once there is no server: that is the last that it holds.
func (d *database) latest() (time.Time, error) {
	if d.server().alive() {
		return time.Now(), nil
	}
	entries, err := os.ReadDir(filepath.Join(d.data(), "pg_wal"))
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return time.Time{}, err
		}
		if e.Type().IsRegular() && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}

// clock is a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999 UTC") }
