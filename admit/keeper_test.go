package admit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// safe is a Secret and a webhook configuration.
type safe struct {
	data    map[string][]byte
	version int
	bundle  []byte
	before  func() // somebody else's doing between reading and writing
	broken  error  // trusting fails
}

func (s *safe) Read(context.Context) (map[string][]byte, string, error) {
	data, version := maps.Clone(s.data), fmt.Sprint(s.version)
	if s.before != nil {
		s.before()
	}
	return data, version, nil
}

func (s *safe) Write(_ context.Context, data map[string][]byte, version string) error {
	if version != fmt.Sprint(s.version) {
		return errors.New("conflict")
	}
	s.data, s.version = data, s.version+1
	return nil
}

func (s *safe) Bundle(context.Context) ([]byte, error) { return s.bundle, nil }

func (s *safe) SetBundle(_ context.Context, bundle []byte) error {
	if s.broken == nil {
		s.bundle = bundle
	}
	return s.broken
}

var hosts = []string{"drover-guard.drover-system.svc"}

type clock struct{ now time.Time }

func newKeeper(s *safe) (*Keeper, *clock) {
	c := &clock{noon}
	return &Keeper{Vault: s, Trust: s, Hosts: hosts, Now: func() time.Time { return c.now }}, c
}

func keep(t *testing.T, k *Keeper) string {
	t.Helper()
	did, err := k.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// trusts tells whether the API server, with the bundle that it has, accepts what a process serves that loaded the keys.
func trusts(t *testing.T, s *safe, k *Keeper, now time.Time) error {
	t.Helper()
	c, err := k.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.bundle)
	_, err = c.Leaf.Verify(x509.VerifyOptions{DNSName: hosts[0], Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// Over ten years of renewals, with a process that loads late, what is served is always trusted, and the leader is seldom busy.
func TestAlwaysTrusted(t *testing.T) {
	s := &safe{}
	leader, c := newKeeper(s)
	other, _ := newKeeper(s)
	if err := other.Load(t.Context()); err != nil || other.Loaded() {
		t.Fatalf("nothing is there: %v", err)
	}
	if _, err := other.Certificate(nil); err == nil {
		t.Fatal("a certificate out of nothing")
	}
	if did := keep(t, leader); did != "made the guard's keys" {
		t.Fatal(did)
	}
	did := map[string]int{}
	for end := noon.AddDate(10, 0, 0); c.now.Before(end); c.now = c.now.Add(24 * time.Hour) {
		if c.now.YearDay()%5 == 0 {
			if err := other.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if other.Loaded() {
			if err := trusts(t, s, other, c.now); err != nil {
				t.Fatalf("%s: %v", c.now, err)
			}
		}
		if err := leader.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := trusts(t, s, leader, c.now); err != nil {
			t.Fatalf("%s: %v", c.now, err)
		}
		did[keep(t, leader)]++
	}
	cas, err := ParseBundle(s.bundle)
	if err != nil || len(cas) > 2 {
		t.Errorf("%d CAs are trusted (%v)", len(cas), err)
	}
	if n := did["made another CA for the guard"]; n < 5 || n > 8 {
		t.Errorf("%d CAs in ten years", n)
	}
	if n := did["renewed the guard's serving certificate"]; n < 50 || n > 70 {
		t.Errorf("%d serving certificates in ten years", n)
	}
}

// A new CA signs only once it is trusted.
func TestTrustedBeforeItSigns(t *testing.T) {
	s := &safe{}
	k, c := newKeeper(s)
	keep(t, k)
	old := bytes.Clone(s.bundle)
	c.now, s.broken = noon.Add(caLasts*3/4), errors.New("the API server is away")
	before := bytes.Clone(s.data[entry])
	for range 3 {
		if _, err := k.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "away") {
			t.Errorf("got %v", err)
		}
		if !bytes.Equal(s.data[entry], before) {
			t.Fatal("another serving certificate, signed by a CA that nobody trusts")
		}
	}
	s.broken = nil
	if did := keep(t, k); did != "had the API server trust the guard's CA" {
		t.Error(did)
	}
	if did := keep(t, k); did != "renewed the guard's serving certificate" || bytes.Equal(s.data[entry], before) {
		t.Error(did)
	}
	if bytes.Equal(s.bundle, old) || !bytes.Contains(s.bundle, old) {
		t.Error("the old CA is not trusted any more, or there is no new one")
	}
}

// What somebody changed is put right: the bundle, other names to serve under. A Secret that cannot be read is a person's to look at.
func TestPutRight(t *testing.T) {
	s := &safe{}
	k, _ := newKeeper(s)
	keep(t, k)
	if did := keep(t, k); did != "" {
		t.Errorf("at rest: %s", did)
	}
	s.bundle = nil
	if did := keep(t, k); did != "had the API server trust the guard's CA" || len(s.bundle) == 0 {
		t.Error(did)
	}
	k.Hosts = []string{"elsewhere.drover-system.svc"}
	if did := keep(t, k); did != "renewed the guard's serving certificate" {
		t.Error(did)
	}
	whole := maps.Clone(s.data)
	for _, name := range []string{caEntry, caKeyEntry, entry, keyEntry} {
		for _, bad := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
			s.data = maps.Clone(whole)
			s.data[name] = []byte(bad)
			version := s.version
			_, err := k.Keep(t.Context())
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "empty the Secret") || s.version != version {
				t.Errorf("%s is %q: %v", name, bad, err)
			}
			if k.Load(t.Context()) == nil {
				t.Errorf("%s is %q: loaded", name, bad)
			}
		}
	}
	other := &safe{}
	k2, _ := newKeeper(other)
	keep(t, k2)
	s.data = maps.Clone(whole)
	s.data[caKeyEntry] = other.data[caKeyEntry]
	if _, err := k.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("another CA's key: %v", err)
	}
}

// Of two that make keys at once, one's stay.
func TestTwoKeepers(t *testing.T) {
	s := &safe{}
	k, _ := newKeeper(s)
	rival, _ := newKeeper(s)
	s.before = func() { s.before = nil; keep(t, rival) }
	if _, err := k.Keep(t.Context()); err == nil || err.Error() != "conflict" {
		t.Errorf("got %v", err)
	}
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := trusts(t, s, k, noon); err != nil {
		t.Error(err)
	}
}

// Over the wire: nothing before there are keys; then the guard, at its path alone, also from a folder; and a while after it was told to stop.
func TestServe(t *testing.T) {
	s := &safe{}
	k, _ := newKeeper(s)
	k.Now = time.Now
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	stopped := make(chan struct{})
	h := newHouse()
	go func() {
		served <- Serve(ctx, l, k, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }), 2*time.Second)
		close(stopped)
	}()
	post := func(path string) (int, error) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.bundle)
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: hosts[0]}, DisableKeepAlives: true}}
		r, err := client.Post("https://"+l.Addr().String()+path, "application/json", strings.NewReader(review))
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}
	if code, err := post(Path); err == nil {
		t.Errorf("without keys: %d", code)
	}
	keep(t, k)
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{Path: 200, "/": 404, "/metrics": 404} {
		if code, err := post(path); err != nil || code != want {
			t.Errorf("%s: %d %v", path, code, err)
		}
	}
	dir := t.TempDir()
	if err := k.LoadFrom(dir); err == nil || !strings.Contains(err.Error(), "certificate in "+dir) {
		t.Error(err)
	}
	for _, name := range []string{entry, keyEntry} {
		if err := os.WriteFile(filepath.Join(dir, name), s.data[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.LoadFrom(dir); err != nil {
		t.Fatal(err)
	}
	stop()
	if code, err := post(Path); err != nil || code != 200 {
		t.Errorf("just told to stop: %d %v", code, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-stopped
	if code, err := post(Path); err == nil {
		t.Errorf("after the end: %d", code)
	}
}
