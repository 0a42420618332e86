package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover.dev/fleet"
)

// filled gives every field of a value something of its own, so that one that is forgotten on the way shows.
func filled(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(began.Add(time.Duration(*n) * time.Second)))
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(v.Index(0), n)
		filled(v.Index(1), n)
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.125)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("a kind of field that the test does not fill: " + v.Kind().String())
	}
}

// A field that fleet gets and the document does not would be lost from every copy.
func TestEveryFieldIsKept(t *testing.T) {
	var r fleet.SleepRecord
	filled(reflect.ValueOf(&r).Elem(), new(int))
	for i := range r.Parts {
		r.Parts[i].Turn, r.Parts[i].Absent = turns[i], false
	}
	raw, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(raw)
	if diff := cmp.Diff(r, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestTextIsKept(t *testing.T) {
	for _, s := range []string{"", " ", "null", "true", "1", "1e3", "0x1", "2026-01-01", "~", "- a", "a: b", "#", "line\nline\n", "\n", "tab\t", "\u2028", "\"'", "{}", "*x", "&x", "!!int 1", "é", "😀", "\x01", "<&>"} {
		r := record("e-1")
		r.Parts[0].Value, r.Why, r.Exceptions = s, s, []string{s, "x"}
		raw, err := Encode(r)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if back, err := Decode(raw); err != nil || cmp.Diff(r, back) != "" {
			t.Errorf("%q: %v\n%s", s, err, cmp.Diff(r, back))
		}
	}
}

// Times are kept to the nanosecond, whatever zone or clock they come with; empty and absent lists are the same.
func TestOneWayToSayIt(t *testing.T) {
	r, same := record("e-1"), record("e-1")
	same.At = began.In(time.FixedZone("x", 8*3600))
	same.Fights, same.Exceptions, same.Groups[0].Keepers = []fleet.Fight{}, []string{}, []string{}
	a, err := Encode(r)
	b, err2 := Encode(same)
	if err != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%v, %v\n%s", err, err2, cmp.Diff(string(a), string(b)))
	}
	r.Marks.Off = time.Now() // with a reading of this process's clock
	if _, err := Encode(r); err != nil {
		t.Error(err)
	}
}

// The text of a copy is a promise: one of years ago has to be read. UPDATE=1 writes it; a change of what is there takes a new version.
func TestTheCopyOfTheFirstVersion(t *testing.T) {
	const golden = "testdata/v1alpha1.yaml"
	r := record("e-20261120-190000-abc")
	r.Marks.Archived = began.Add(time.Second)
	raw, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(raw)); diff != "" {
		t.Errorf("%s", diff)
	}
	if old, err := Decode(want); err != nil || cmp.Diff(r, old) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(r, old))
	}
}

// No cut of a copy passes for a whole one.
func TestEveryCutIsNoticed(t *testing.T) {
	raw, err := Encode(record("e-1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		if _, err := Decode(raw[:i]); err == nil {
			t.Fatalf("cut after %d of %d bytes", i, len(raw))
		}
	}
}

// Whatever is read is either refused or says what it would say again. Half of the inputs get a checksum, to come past it.
func FuzzDecode(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "v1alpha1.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	body, err := whole(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add(body)
	f.Add([]byte(""))
	f.Add([]byte("apiVersion: drover.dev/v1alpha1\nkind: SleepRecord\nenvironment: a\nrun: b\nforced: []\nat: 2026-03-29T02:30:00+02:00\n"))
	f.Add([]byte("apiVersion: drover.dev/v1alpha1\nkind: SleepRecord\nenvironment: a\nrun: b\nmarks: {}\nparts: [{kind: x, name: y, turn: pause, absent: true}]\n"))
	f.Add([]byte("apiVersion: drover.dev/v1alpha1\nkind: SleepRecord\nenvironment: &a a\nrun: *a\nrates: [{on: 1e999}]\n"))
	f.Add([]byte("a: &a [*a, *a]\n---\n{}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, raw := range [][]byte{in, sealed(bytes.Clone(in))} {
			r, err := Decode(raw)
			if err != nil {
				continue
			}
			again, err := Encode(r)
			if err != nil {
				t.Fatalf("read, and not to be written: %v\n%s", err, raw)
			}
			back, err := Decode(again)
			if diff := cmp.Diff(r, back); err != nil || diff != "" {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
	})
}
