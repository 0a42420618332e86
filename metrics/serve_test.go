package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	var ready, healthy error
	s := New("dev")
	s.Killed()
	h := Answers(s, func() error { return ready }, func() error { return healthy })
	ask := func(method, path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		return rec.Code, rec.Body.String()
	}
	for _, tc := range []struct {
		method, path   string
		ready, healthy error
		code           int
		body           string
	}{
		{"GET", "/metrics", nil, nil, 200, "\ndrover_pods_killed_total 1\n"},
		{"GET", "/healthz", errors.New("caches are empty"), nil, 200, "ok\n"},
		{"GET", "/healthz", nil, errors.New("no tick for 2m0s,\nof 10s"), 503, "no tick for 2m0s, of 10s\n"},
		{"GET", "/readyz", errors.New("caches are empty"), nil, 503, "caches are empty\n"},
		{"GET", "/readyz", nil, errors.New("stuck"), 200, "ok\n"},
		{"HEAD", "/readyz", nil, nil, 200, ""},
		{"POST", "/readyz", nil, nil, 405, ""},
		{"GET", "/", nil, nil, 404, ""},
		{"GET", "/debug/pprof/", nil, nil, 404, ""},
	} {
		ready, healthy = tc.ready, tc.healthy
		if code, body := ask(tc.method, tc.path); code != tc.code || !strings.Contains(body, tc.body) {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, code, body, tc.code, tc.body)
		}
	}
}

func TestAlwaysReady(t *testing.T) {
	rec := httptest.NewRecorder()
	Answers(New("dev"), nil, nil).ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	if rec.Code != http.StatusOK {
		t.Errorf("%d", rec.Code)
	}
}

// It serves until the context ends, and then answers nobody any more.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, Answers(New("dev"), nil, nil)) }()
	url := "http://" + l.Addr().String() + "/metrics"
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), `drover_build_info{version="dev"} 1`) || !strings.Contains(string(body), "go_goroutines ") {
		t.Errorf("%s, %v", body, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r, err := http.Get(url); err == nil {
		r.Body.Close()
		t.Error("still served after its end")
	}
}

// A port that is taken is an error, not a process without metrics.
func TestServeWhereSomebodyIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Serve(t.Context(), l.Addr().String(), New("dev"), nil, nil); err == nil || !strings.Contains(err.Error(), "serve metrics at "+l.Addr().String()) {
		t.Errorf("%v", err)
	}
}
