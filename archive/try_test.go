package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A place is tried before anything depends on it: looked at by who only plans, written to by who stops, and no trace of it is a copy.
func TestTry(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s3 := &memory{}
	a, ctx := &Archive{Bucket: s3}, t.Context()
	for _, url := range []string{"file://" + dir, "s3://records/drover"} {
		if err := a.Try(ctx, url, "staging", false); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) || len(s3.objects) > 0 {
		t.Errorf("looking has written: %v, %v", err, s3.objects)
	}
	for _, url := range []string{"file://" + dir, "s3://records/drover"} {
		for range 2 {
			if err := a.Try(ctx, url, "staging", true); err != nil {
				t.Errorf("%s: %v", url, err)
			}
		}
		if all, err := a.Load(ctx, url, "staging"); err != nil || len(all) > 0 {
			t.Errorf("%s: the probe counts as a copy: %v, %v", url, all, err)
		}
	}
	if _, ok := s3.objects["records/drover/"+probeKey]; !ok {
		t.Errorf("in the bucket is %v", s3.objects)
	}
}

func TestTryTellsWhy(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, tc := range []struct {
		url, environment string
		s3               *memory
		write            bool
		says             string
	}{
		{"s3://", "staging", nil, false, "it names no bucket"},
		{"s3://records", "staging", nil, false, "nothing here reaches S3"},
		{"file:///records", "../x", nil, false, `environment "../x"`},
		{"s3://records", "staging", &memory{fail: errors.New("access denied")}, false, "try archive s3://records: access denied"},
		{"file://" + blocked, "staging", nil, true, "try archive file://" + blocked},
		{"s3://records", "staging", &memory{damage: func([]byte) []byte { return nil }}, true, "reads back otherwise"},
	} {
		a := &Archive{}
		if tc.s3 != nil {
			a.Bucket = tc.s3
		}
		if err := a.Try(ctx, tc.url, tc.environment, tc.write); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.url, err, tc.says)
		}
	}
}
