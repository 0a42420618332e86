package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// within bounds one request, and how long the last ones may still take at the end.
const within = 10 * time.Second

// Serve answers at an address until ctx ends: /metrics, /healthz and /readyz. It listens exactly where addr says; who may connect is for those who choose
// it. ready and healthy say why not; nil is always. They are asked at every request, so they must not call anybody.
func Serve(ctx context.Context, addr string, s *Set, ready, healthy func() error) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve metrics at %s: %w", addr, err)
	}
	return serve(ctx, l, Answers(s, ready, healthy))
}

func serve(ctx context.Context, l net.Listener, answers http.Handler) error {
	server := &http.Server{Handler: answers, ReadHeaderTimeout: within, ReadTimeout: within, WriteTimeout: 2 * within, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("end serving metrics at %s: %w", l.Addr(), errors.Join(err, server.Close()))
	}
	return nil
}

// Answers is what Serve serves.
func Answers(s *Set, ready, healthy func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Handler())
	mux.Handle("GET /healthz", answer(healthy))
	mux.Handle("GET /readyz", answer(ready))
	return mux
}

// answer is 200 and ok, or 503 and why not, in one line.
func answer(ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if ask != nil {
			if err := ask(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, strings.Join(strings.FieldsFunc(err.Error(), unicode.IsControl), " "))
				return
			}
		}
		fmt.Fprintln(w, "ok")
	}
}
