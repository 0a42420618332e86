package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover.dev/fleet"
)

// memory is S3 with one fault at a time.
type memory struct {
	objects map[string][]byte // by bucket/key
	puts    int
	fail    error               // the next call ends so, and has no effect
	damage  func([]byte) []byte // what becomes of what is put
}

func (m *memory) failed() error {
	err := m.fail
	m.fail = nil
	return err
}

func (m *memory) Put(_ context.Context, bucket, key string, body []byte) error {
	if err := m.failed(); err != nil {
		return err
	}
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	body = slices.Clone(body)
	if m.damage != nil {
		body = m.damage(body)
	}
	m.puts++
	m.objects[bucket+"/"+key] = body
	return nil
}

func (m *memory) Get(_ context.Context, bucket, key string) ([]byte, error) {
	if err := m.failed(); err != nil {
		return nil, err
	}
	body, ok := m.objects[bucket+"/"+key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(body), nil
}

func (m *memory) List(_ context.Context, bucket, prefix string) ([]string, error) {
	if err := m.failed(); err != nil {
		return nil, err
	}
	var keys []string
	for at := range m.objects {
		if k, ok := strings.CutPrefix(at, bucket+"/"); ok && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

var began = time.Date(2026, 11, 20, 19, 0, 0, 123456789, time.UTC)

// record is what a stop of a small environment writes.
func record(run string) fleet.SleepRecord {
	return fleet.SleepRecord{
		Environment: "staging", Run: run, By: "schedule", Why: "it is past 19:00", At: began, Forced: []string{"env-sessions"},
		Parts: []fleet.PartRecord{
			{Turn: fleet.Scaled, APIVersion: "apps/v1", Owner: fleet.Owner{Kind: "Deployment", Namespace: "stg", Name: "web"}, UID: "u-1", Tier: 1, Ready: 3, Value: "3"},
			{Turn: fleet.Held, APIVersion: "keda.sh/v1alpha1", Owner: fleet.Owner{Kind: "ScaledObject", Namespace: "stg", Name: "web"}, UID: "u-2", Absent: true},
		},
		Groups:    []fleet.SleepGroup{{Name: "stg", Scaling: "eks-stg-1", Managed: true, Cluster: "main", Max: 3, Desired: 2, Suspended: []string{"AZRebalance"}, Exits: 2}},
		Databases: []fleet.SleepDatabase{{ID: "instance stg", Class: "db.t3.micro", Status: "available"}},
		Exits:     []fleet.Departure{{Node: "ip-10-0-0-1", Instance: "i-1", Group: "stg", Cause: fleet.Sleeping, Release: true}},
		Rates:     []fleet.Rate{{Subject: "m5.large", On: 0.096, Currency: "USD", Source: "given"}},
		Hash:      "4f2a",
	}
}

// places are a folder and a bucket, to the same tests.
func places(t *testing.T, test func(t *testing.T, a *Archive, url string, spoil func(key string, change func([]byte) []byte))) {
	t.Run("folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "copies", "drover")
		test(t, &Archive{}, "file://"+dir, func(key string, change func([]byte) []byte) {
			at := filepath.Join(dir, key)
			raw, _ := os.ReadFile(at)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, change(raw), 0o600)); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("bucket", func(t *testing.T) {
		m := &memory{objects: map[string][]byte{}}
		test(t, &Archive{Bucket: m}, "s3://copies/drover/", func(key string, change func([]byte) []byte) {
			m.objects["copies/drover/"+key] = change(m.objects["copies/drover/"+key])
		})
	})
}

func load1(t *testing.T, a *Archive, url string) []fleet.SleepRecord {
	t.Helper()
	all, err := a.Load(t.Context(), url, "staging")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSaveAndLoad(t *testing.T) {
	places(t, func(t *testing.T, a *Archive, url string, _ func(string, func([]byte) []byte)) {
		first, second := record("e-2"), record("e-1")
		second.At = began.Add(24 * time.Hour)
		elsewhere := record("e-3")
		elsewhere.Environment = "staging-2"
		for _, r := range []fleet.SleepRecord{second, first, elsewhere} {
			if err := a.Save(t.Context(), url, r); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]fleet.SleepRecord{first, second}, load1(t, a, url)); diff != "" {
			t.Errorf("oldest first, and of no other environment:\n%s", diff)
		}
		none, err := a.Load(t.Context(), url, "production")
		if err != nil || none != nil {
			t.Errorf("nothing is kept of production: %v, %v", none, err)
		}
	})
}

// What has happened since is written over; what was is not, whoever asks.
func TestOriginalsAreWrittenOnce(t *testing.T) {
	places(t, func(t *testing.T, a *Archive, url string, _ func(string, func([]byte) []byte)) {
		r := record("e-1")
		if err := a.Save(t.Context(), url, r); err != nil {
			t.Fatal(err)
		}
		later := r.Clone()
		later.Marks = fleet.SleepMarks{Archived: began.Add(time.Second), Off: began.Add(time.Minute), StartedBy: "ann"}
		later.Fights = []fleet.Fight{{Subject: "Deployment stg/web", By: "flux", Times: 2, Last: began.Add(time.Hour)}}
		later.Exceptions = []string{"web came back twice"}
		for range 2 { // the second time nothing is left to do
			if err := a.Save(t.Context(), url, later); err != nil {
				t.Fatal(err)
			}
		}
		for field, change := range map[string]func(*fleet.SleepRecord){
			"parts":     func(r *fleet.SleepRecord) { r.Parts[0].Value = "0" },
			"groups":    func(r *fleet.SleepRecord) { r.Groups[0].Desired = 0 },
			"databases": func(r *fleet.SleepRecord) { r.Databases = nil },
			"exits":     func(r *fleet.SleepRecord) { r.Exits = append(r.Exits, fleet.Departure{Instance: "i-2"}) },
			"at":        func(r *fleet.SleepRecord) { r.At = r.At.Add(time.Nanosecond) },
			"hash":      func(r *fleet.SleepRecord) { r.Hash = "other" },
		} {
			other := later.Clone()
			change(&other)
			err := a.Save(t.Context(), url, other)
			var fatal *fleet.Fatal
			if !errors.As(err, &fatal) || !strings.Contains(err.Error(), "staging/e-1.yaml says something else of how things were ("+field+")") {
				t.Errorf("%s: %v", field, err)
			}
		}
		if diff := cmp.Diff([]fleet.SleepRecord{later}, load1(t, a, url)); diff != "" {
			t.Errorf("the copy has to be as it was before the refusals:\n%s", diff)
		}
	})
}

// Each copy that is not right is named with what is wrong; the right ones come all the same, and no wrong one is written over.
func TestWrongCopies(t *testing.T) {
	places(t, func(t *testing.T, a *Archive, url string, spoil func(string, func([]byte) []byte)) {
		good := record("e-9")
		if err := a.Save(t.Context(), url, good); err != nil {
			t.Fatal(err)
		}
		instead := func(old, new string) func([]byte) []byte { // well sealed, so that more than the checksum has to see it
			return func(raw []byte) []byte {
				body := raw[:bytes.LastIndex(raw, []byte(checksum))]
				if !bytes.Contains(body, []byte(old)) {
					t.Fatalf("no %q in the copy", old)
				}
				return sealed(bytes.Replace(body, []byte(old), []byte(new), 1))
			}
		}
		cases := []struct {
			name   string
			change func([]byte) []byte
			want   string
		}{
			{"cut", func(raw []byte) []byte { return raw[:len(raw)/2] }, "its last line is no checksum: it is cut after "},
			{"newline", func(raw []byte) []byte { return raw[:len(raw)-1] }, "its last line is no checksum"},
			{"empty", func([]byte) []byte { return nil }, "it is cut after 0 bytes"},
			{"long", func([]byte) []byte { return make([]byte, largest+1) }, "it is longer than"},
			{"bit", func(raw []byte) []byte { return bytes.Replace(raw, []byte("value: \"3\""), []byte("value: \"0\""), 1) }, "does not match its checksum: it is damaged, or was changed"},
			{"version", instead("v1alpha1\nat", "v2\nat"), `it is "SleepRecord" of "drover.dev/v2": this drover reads SleepRecord of drover.dev/v1alpha1`},
			{"kind", instead("kind: SleepRecord", "kind: Environment"), `it is "Environment" of`},
			{"unknown", instead("tier: 1", "tier: 1\n  teir: 2"), `unknown field "parts[0].teir"`},
			{"twice", instead("run: ", "run: e-8\nrun: "), `key "run" already set in map`},
			{"type", instead("desired: 2", "desired: two"), "groups.desired"},
			{"turn", instead("turn: replicas", "turn: replica"), `parts[0] (Deployment stg/web): turn "replica" is none of`},
			{"nameless", instead("name: web\n", "name: \"\"\n"), "parts[0]: without a kind or a name"},
			{"absent", instead("absent: true", "absent: true\n  value: \"1\""), "parts[1] (ScaledObject stg/web): absent, and yet with a value"},
			{"traversal", instead("environment: staging", "environment: ../etc"), `environment "../etc"`},
			{"moved", instead("run: moved", "run: other"), "it is of run other of environment staging, which its name does not say"},
			{"foreign", instead("environment: staging", "environment: production"), "of environment production, which its name does not say"},
		}
		for _, tc := range cases {
			if err := a.Save(t.Context(), url, record(tc.name)); err != nil {
				t.Fatal(err)
			}
			spoil("staging/"+tc.name+".yaml", tc.change)
		}
		spoil("staging/.e-7.yaml.ABC.part", func([]byte) []byte { return []byte("half") })
		spoil("staging/README", func([]byte) []byte { return []byte("for people") })
		all, err := a.Load(t.Context(), url, "staging")
		if diff := cmp.Diff([]fleet.SleepRecord{good}, all); diff != "" {
			t.Errorf("the good one:\n%s", diff)
		}
		if err == nil {
			t.Fatal("no error")
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(cases) {
			t.Errorf("%d errors, want %d:\n%v", len(lines), len(cases), err)
		}
		for _, tc := range cases {
			i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "/staging/"+tc.name+".yaml: ") })
			if i < 0 || !strings.Contains(lines[i], tc.want) {
				t.Errorf("%s: want %q in\n%v", tc.name, tc.want, err)
			}
		}
		err = a.Save(t.Context(), url, record("cut"))
		var refused *fleet.Refused
		if !errors.As(err, &refused) || !refused.Held || !strings.Contains(err.Error(), "is there but cannot be read: its last line is no checksum") {
			t.Errorf("a copy that cannot be read is somebody's original: %v", err)
		}
	})
}

func TestUnwritable(t *testing.T) {
	a, url := &Archive{}, "file://"+t.TempDir()
	for want, change := range map[string]func(*fleet.SleepRecord){
		`environment "../up"`:            func(r *fleet.SleepRecord) { r.Environment = "../up" },
		`environment ""`:                 func(r *fleet.SleepRecord) { r.Environment = "" },
		`run ".."`:                       func(r *fleet.SleepRecord) { r.Run = ".." },
		`run "a/b"`:                      func(r *fleet.SleepRecord) { r.Run = "a/b" },
		"has it text that is not UTF-8?": func(r *fleet.SleepRecord) { r.Parts[0].Value = "\xff" },
		"year outside of range":          func(r *fleet.SleepRecord) { r.At = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) },
		`turn "" is none of`:             func(r *fleet.SleepRecord) { r.Parts[1].Turn = "" },
		"longer than 16777216 bytes":     func(r *fleet.SleepRecord) { r.Why = strings.Repeat("x", largest) },
	} {
		r := record("e-1")
		change(&r)
		if err := a.Save(t.Context(), url, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if got := load1(t, a, url); got != nil {
		t.Errorf("written all the same: %v", got)
	}
	if _, err := a.Load(t.Context(), url, "../up"); err == nil || !strings.Contains(err.Error(), `environment "../up"`) {
		t.Errorf("load: %v", err)
	}
}

func TestBucketThatFails(t *testing.T) {
	m := &memory{}
	a, r := &Archive{Bucket: m}, record("e-1")
	const url = "s3://copies"
	denied := errors.New("s3://copies: AccessDenied")
	m.fail = denied
	if err := a.Save(t.Context(), url, r); !errors.Is(err, denied) || m.puts != 0 {
		t.Errorf("what is there is not known, so nothing may be written: %v, %d puts", err, m.puts)
	}
	m.damage = func(raw []byte) []byte { m.fail = denied; return raw }
	if err := a.Save(t.Context(), url, r); !errors.Is(err, denied) || !strings.Contains(err.Error(), "read it back") {
		t.Errorf("read back: %v", err)
	}
	m.objects = nil
	m.damage = func(raw []byte) []byte { return raw[:100] }
	if err := a.Save(t.Context(), url, r); err == nil || !strings.Contains(err.Error(), "s3://copies/staging/e-1.yaml reads back otherwise than it was written: 100 bytes of") {
		t.Errorf("a copy that is cut on its way: %v", err)
	}
	m.fail = denied
	if _, err := a.Load(t.Context(), url, "staging"); !errors.Is(err, denied) || !strings.Contains(err.Error(), `look for copies of the records of environment "staging": s3://copies: AccessDenied`) {
		t.Errorf("list: %v", err)
	}
	if err := (&Archive{}).Save(t.Context(), url, r); err == nil || !strings.Contains(err.Error(), "nothing here reaches S3") {
		t.Errorf("without a bucket: %v", err)
	}
}
