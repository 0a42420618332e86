// Package archive keeps second copies of the records of environments outside of the cluster: with the cluster's gone, one of these says how everything was.
//
// A copy is one file, ENVIRONMENT/RUN.yaml, in a folder (file:///...) or below a prefix in a bucket (s3://bucket/prefix). Save returns when the copy was
// read back and is the same. What a copy says of how things were is written once; only the moments, fights and exceptions of the sleep may follow later.
//
// It never deletes a copy: they are small, and the one that is needed is the one nobody thought of. Whoever wants fewer sets a lifecycle rule on the bucket, or
// clears the folder. It expects one writer at a time, which the controller's lease sees to.
package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Bucket is what is needed of S3. Its errors say what it was doing, and to which object.
type Bucket interface {
	Put(ctx context.Context, bucket, key string, body []byte) error
	Get(ctx context.Context, bucket, key string) ([]byte, error)       // fs.ErrNotExist when there is no such object
	List(ctx context.Context, bucket, prefix string) ([]string, error) // whole keys, on however many pages; none is no error
}

// Archive implements the engine's Archive.
type Archive struct {
	Bucket Bucket // nil: only folders can be used
}

// shelf is a folder or a prefix in a bucket. Keys are ENVIRONMENT/RUN.yaml.
type shelf interface {
	read(ctx context.Context, key string) ([]byte, error) // fs.ErrNotExist when there is no such copy
	write(ctx context.Context, key string, body []byte) error
	list(ctx context.Context, environment string) ([]string, error)
}

const suffix = ".yaml"

// Save writes a record's copy, or what has happened since into the copy that is there. A copy that says something else of how things were stays as
// it is, and so does one that cannot be read.
func (a *Archive) Save(ctx context.Context, url string, r fleet.SleepRecord) error {
	if err := a.save(ctx, url, r); err != nil {
		return fmt.Errorf("save a copy of record %s of environment %s: %w", r.Run, r.Environment, err)
	}
	return nil
}

func (a *Archive) save(ctx context.Context, url string, r fleet.SleepRecord) error {
	place, on, err := a.shelf(url)
	if err != nil {
		return err
	}
	raw, err := Encode(r)
	if err != nil {
		return err
	}
	key := path.Join(r.Environment, r.Run+suffix)
	have, err := on.read(ctx, key)
	switch {
	case err == nil && bytes.Equal(have, raw):
		return nil
	case err == nil:
		err = follows(have, r, place.at(key))
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	if err := on.write(ctx, key, raw); err != nil {
		return err
	}
	return verify(ctx, on, key, raw, place.at(key))
}

// follows refuses a record that is not the one of the copy there, later.
func follows(have []byte, r fleet.SleepRecord, at string) error {
	old, err := Decode(have)
	if err != nil {
		return &fleet.Refused{Held: true, Reason: fmt.Sprintf("%s is there but cannot be read: %v; look at it, and move it away", at, err)}
	}
	if fields := differ(old, r); len(fields) > 0 {
		return &fleet.Fatal{Err: fmt.Errorf("%s says something else of how things were (%s): originals are written once; look at both", at, strings.Join(fields, ", "))}
	}
	return nil
}

// verify reads what was written.
func verify(ctx context.Context, on shelf, key string, want []byte, at string) error {
	got, err := on.read(ctx, key)
	if err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s reads back otherwise than it was written: %d bytes of %d, or others", at, len(got), len(want))
	}
	return nil
}

// Load returns the records of an environment, the oldest first, with an error for each copy that cannot be read: the others are good all the same.
// A folder that is not there is an error, as a volume may not be mounted; that it has nothing of the environment is none.
func (a *Archive) Load(ctx context.Context, url, environment string) ([]fleet.SleepRecord, error) {
	place, on, err := a.shelf(url)
	if err == nil {
		err = validName("environment", environment)
	}
	var keys []string
	if err == nil {
		keys, err = on.list(ctx, environment)
	}
	if err != nil {
		return nil, fmt.Errorf("look for copies of the records of environment %q: %w", environment, err)
	}
	var all []fleet.SleepRecord
	var wrong []error
	for _, key := range keys {
		r, err := load(ctx, on, key)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("copy %s: %w", place.at(key), err))
			continue
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(x, y fleet.SleepRecord) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Run, y.Run)) })
	return all, errors.Join(wrong...)
}

// load reads a copy, which has to be what its name says.
func load(ctx context.Context, on shelf, key string) (fleet.SleepRecord, error) {
	raw, err := on.read(ctx, key)
	if err != nil {
		return fleet.SleepRecord{}, err
	}
	r, err := Decode(raw)
	if err != nil {
		return fleet.SleepRecord{}, err
	}
	if is := path.Join(r.Environment, r.Run+suffix); is != key {
		return fleet.SleepRecord{}, fmt.Errorf("it is of run %s of environment %s, which its name does not say: moved or renamed?", r.Run, r.Environment)
	}
	return r, nil
}

// copies tells which of the names in an environment's folder are copies; others may lie there, such as what a crash left of a write.
func copies(environment string, names []string) []string {
	var keys []string
	for _, n := range names {
		run, ok := strings.CutSuffix(n, suffix)
		if ok && validName("run", run) == nil {
			keys = append(keys, path.Join(environment, n))
		}
	}
	slices.Sort(keys)
	return keys
}
