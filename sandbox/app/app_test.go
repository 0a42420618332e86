package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/database"
)

// town is both tiers, and the server that their data is in.
type town struct {
	*testing.T
	servers    *database.Servers
	front, api *httptest.Server
}

func newTown(t *testing.T) *town {
	t.Helper()
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // servers of a test that is root's run as somebody else
		t.Fatal(err)
	}
	n := &town{T: t}
	n.servers, err = database.New(database.Options{Dir: filepath.Join(dir, "d"), Addresses: func(i int) string { return fmt.Sprintf("127.62.0.%d", i) }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.servers.Close)
	at, err := n.servers.Create(t.Context(), "shop", cloud.BackingSpec{Engine: "postgres", User: "app", Password: "word", Database: "app"})
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("app", "word"), Host: net.JoinHostPort(at.Host, strconv.Itoa(at.Port)), Path: "app", RawQuery: "sslmode=require"}
	api, err := NewAPI("api-1", u.String(), "127.62.7.7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close(context.Background()) })
	for range 2 { // as every replica does
		if err := api.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.api = httptest.NewServer(api.Handler())
	t.Cleanup(n.api.Close)
	n.front = httptest.NewServer((&Front{Name: "web-1", Backend: n.api.URL}).Handler())
	t.Cleanup(n.front.Close)
	return n
}

// says compares an answer.
func (n *town) says(server *httptest.Server, method, path, body string, code int, text string) {
	n.Helper()
	r, err := http.NewRequestWithContext(n.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		n.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != code || !strings.HasPrefix(string(got), text) {
		n.Errorf("%s %s: %d %q, %v; want %d %q", method, path, answer.StatusCode, got, err, code, text)
	}
}

func TestVisitsAndNotes(t *testing.T) {
	n := newTown(t)
	n.says(n.front, "GET", "/", "", 200, "api-1: visit 1\n")
	n.says(n.front, "GET", "/", "", 200, "api-1: visit 2\n")
	n.says(n.front, "GET", "/notes", "", 200, "")
	n.says(n.front, "POST", "/notes", " one ", 200, "noted\n")
	n.says(n.front, "POST", "/notes", "two", 200, "noted\n")
	n.says(n.front, "GET", "/notes", "", 200, "one\ntwo\n")
	n.says(n.front, "GET", "/elsewhere", "", 404, "")
}

// While its database is stopped the API is not ready, the front is; when it is back the next request works, over new connections.
func TestWithoutItsDatabase(t *testing.T) {
	n := newTown(t)
	n.says(n.front, "GET", "/", "", 200, "api-1: visit 1\n")
	n.says(n.api, "GET", "/healthz", "", 200, "ok")
	if err := n.servers.Stop(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	n.says(n.api, "GET", "/healthz", "", 503, "")
	n.says(n.front, "GET", "/", "", 503, "")
	n.says(n.front, "GET", "/healthz", "", 200, "ok")
	if _, err := n.servers.Start(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	n.says(n.api, "GET", "/healthz", "", 200, "ok")
	n.says(n.front, "GET", "/", "", 200, "api-1: visit 2\n")
	n.api.Close()
	n.says(n.front, "GET", "/", "", 502, "ask the API: ")
}

// A server that is told to stop finishes what it has begun.
func TestServeFinishesRequests(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	busy := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(busy)
				<-ctx.Done()
			}
			fmt.Fprint(w, "done")
		}))
	}()
	for end := time.Now().Add(10 * time.Second); ; {
		if answer, err := http.Get("http://" + address + "/"); err == nil {
			answer.Body.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	said := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + address + "/slow")
		if err != nil {
			said <- err.Error()
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		said <- string(text)
	}()
	<-busy
	cancel()
	if got := <-said; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
