// Package app is a small web application in two tiers, as environments have them: a front that people talk to, and an API behind it that keeps a
// counter and notes in PostgreSQL. Every visit reads and writes a row, so whoever gets an answer knows that all of it works.
//
// It is as careful as most applications are: the API is not ready while its database does not answer, connects anew when a connection has ended, and
// finishes its requests when it is told to stop. It does not go on taking requests for a while after that, as one would that expects to be moved often.
//
// Use: API or Front, and Serve.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// answerLimit bounds what the front waits for the API, and the API for its database.
const answerLimit = 3 * time.Second

// noteLimit is more than a note has.
const noteLimit = 1 << 10

// Front hands every request on to the API.
type Front struct {
	Name    string // what it says it is
	Backend string // URL of the API
}

// Handler answers /healthz by itself: a front is there for people even when what is behind it is not.
func (f *Front) Handler() http.Handler {
	client := &http.Client{Timeout: answerLimit}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := f.handOn(client, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return mux
}

func (f *Front) handOn(client *http.Client, w http.ResponseWriter, r *http.Request) error {
	q, err := http.NewRequestWithContext(r.Context(), r.Method, f.Backend+r.URL.Path, io.LimitReader(r.Body, noteLimit))
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	answer, err := client.Do(q)
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	defer answer.Body.Close()
	w.Header().Set("X-Front", f.Name)
	w.WriteHeader(answer.StatusCode)
	_, err = io.Copy(w, answer.Body)
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	return nil
}

// Serve serves until ctx ends (SIGTERM, for a process), and then finishes the requests in flight.
func Serve(ctx context.Context, address string, h http.Handler) error {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", address, err)
	case <-ctx.Done():
	}
	if err := server.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("stop serving on %s: %w", address, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	return nil
}
