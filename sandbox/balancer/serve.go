package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ServeOptions say how the workload behaves.
type ServeOptions struct {
	Name   string        // what / answers with, on its first line
	Body   string        // and below
	Work   time.Duration // how long each request takes
	Warm   time.Duration // until /healthz says yes
	Linger time.Duration // how long it goes on serving after it was told to stop
	// Started is told the address once connections are accepted.
	Started func(net.Addr)
}

// Serve is the workload of rehearsals: an HTTP server that leaves the way a good one does. It serves until ctx ends (SIGTERM,
// for a process). Then /healthz says no and connections are not kept any more, but new ones are still taken for Linger, since others
// need a moment to hear of it; after that it waits for the requests in flight and returns nil. Waiting has no limit of its own:
// whoever sent SIGTERM has SIGKILL too.
func Serve(ctx context.Context, address string, o ServeOptions) error {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	warm := time.Now().Add(o.Warm)
	var leaving atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case leaving.Load():
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		case time.Now().Before(warm):
			http.Error(w, "warming up", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if o.Work > 0 {
			select {
			case <-time.After(o.Work):
			case <-r.Context().Done(): // the client left
				return
			}
		}
		fmt.Fprintf(w, "%s\n%s", o.Name, o.Body)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if o.Started != nil {
		o.Started(listener.Addr())
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", address, err)
	case <-ctx.Done():
	}
	leaving.Store(true)
	server.SetKeepAlivesEnabled(false)
	if o.Linger > 0 {
		time.Sleep(o.Linger)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		return fmt.Errorf("stop serving on %s: %w", address, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	return nil
}
