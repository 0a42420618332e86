package admit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Path is where the guard answers.
const Path = "/evictions"

// Linger is how long a process that is told to stop still answers: until then API servers may call it, and whom they do not reach they do not ask.
const Linger = 5 * time.Second

// lastWithin bounds the last answers.
const lastWithin = 2 * answerWithin

// Serve answers at a listener until linger after ctx has ended, and closes it.
func Serve(ctx context.Context, l net.Listener, k *Keeper, guard http.Handler, linger time.Duration) error {
	mux := http.NewServeMux()
	mux.Handle(Path, guard)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: answerWithin, ReadTimeout: lastWithin, WriteTimeout: lastWithin, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // port scanners and probes; what matters is counted
	}
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.Certificate, NextProtos: []string{"http/1.1"}}))
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the guard at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serve the guard at %s: %w", l.Addr(), err)
	case <-time.After(linger):
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWithin)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("end serving the guard at %s: %w", l.Addr(), errors.Join(err, server.Close()))
	}
	return nil
}
