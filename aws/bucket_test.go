package aws_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"drover.dev/aws"
	"drover.dev/fleet"
)

func newBucket(t *testing.T) (*region, *aws.Bucket) {
	r := newRegion(t)
	r.ok(r.sim.CreateBucket("records", r.sim.Region()))
	return r, r.hand.Bucket()
}

func TestBucket(t *testing.T) {
	r, b := newBucket(t)
	const key = "drover/staging/s-1.yaml"
	if _, err := b.Get(ctx, "records", key); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "read s3://records/"+key+": ") {
		t.Errorf("got %v", err)
	}
	if keys, err := b.List(ctx, "records", "drover/"); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v", keys, err)
	}
	r.ok(b.Create(ctx, "records", key, []byte("first")))
	if err := b.Create(ctx, "records", key, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	read := func(want string) {
		t.Helper()
		if got, err := b.Get(ctx, "records", key); err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	read("first")
	for _, text := range []string{"third", ""} {
		r.ok(b.Put(ctx, "records", key, []byte(text)))
		read(text)
	}
	r.ok(b.Put(ctx, "records", "other/x y+z.yaml", []byte("there")))
	if got, err := b.Get(ctx, "records", "other/x y+z.yaml"); err != nil || string(got) != "there" {
		t.Errorf("%q, %v", got, err)
	}
	if keys, err := b.List(ctx, "records", ""); err != nil || !slices.Equal(keys, []string{key, "other/x y+z.yaml"}) {
		t.Errorf("%v, %v", keys, err)
	}
	r.grants(aws.ArchiveActions)
}

func TestABucketOfManyPages(t *testing.T) {
	r, b := newBucket(t)
	var want []string
	for i := range 1100 { // S3 lists a thousand at once
		key := fmt.Sprintf("staging/s-%04d.yaml", i)
		r.ok(b.Put(ctx, "records", key, []byte("x")))
		want = append(want, key)
	}
	if keys, err := b.List(ctx, "records", "staging/"); err != nil || !slices.Equal(keys, want) || r.calls("ListBucket") != 2 {
		t.Errorf("%d keys in %d calls, %v", len(keys), r.calls("ListBucket"), err)
	}
}

func TestBucketsThatCannotBeUsed(t *testing.T) {
	r, b := newBucket(t)
	const advice = "there is no such bucket; create it"
	_, err := b.Get(ctx, "nowhere", "k")
	_, listed := b.List(ctx, "nowhere", "")
	for _, err := range []error{err, listed, b.Put(ctx, "nowhere", "k", nil), b.Create(ctx, "nowhere", "k", nil)} {
		if err == nil || !strings.Contains(err.Error(), "s3://nowhere/") || !strings.Contains(err.Error(), advice) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
	says := func(call string, status int, code string) {
		r.tell(call, func(url.Values) (int, string) {
			return status, fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
		})
	}
	says("PutObject", http.StatusConflict, "ConditionalRequestConflict")
	refusal(t, b.Create(ctx, "records", "k", nil), "write s3://records/k: somebody else writes it at this moment")
	says("PutObject", http.StatusServiceUnavailable, "SlowDown")
	refusal(t, b.Put(ctx, "records", "k", nil), "write s3://records/k: AWS is busy")
	says("GetObject", http.StatusForbidden, "AccessDenied")
	var fatal *fleet.Fatal
	if _, err := b.Get(ctx, "records", "k"); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "read s3://records/k: AWS refuses: AccessDenied: no; grant drover that permission") {
		t.Errorf("got %v", err)
	}
	says("ListBucket", http.StatusMovedPermanently, "PermanentRedirect")
	if _, err := b.List(ctx, "records", "staging"); err == nil || !strings.Contains(err.Error(), "list s3://records/staging: the bucket is in another region: PermanentRedirect: no") {
		t.Errorf("got %v", err)
	}
	r.tell("GetObject", func(url.Values) (int, string) { return http.StatusOK, strings.Repeat("x", 16<<20+1) })
	if _, err := b.Get(ctx, "records", "k"); err == nil || !strings.Contains(err.Error(), "it has more than 16777216 bytes, so it is none of drover's") {
		t.Errorf("got %v", err)
	}
}
