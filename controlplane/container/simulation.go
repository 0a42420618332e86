package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// simulation is the body of a container without a program.
type simulation struct {
	netns  string // empty with the host's network: nothing is listened on there
	ports  []int
	finish bool // at once, as an init container does

	takes time.Duration // to stop
	bad   error         // the annotation that says so was unreadable

	mu      sync.Mutex
	running bool
	asked   *time.Timer // set by the first stop, fires when the simulated program is done
	ended   func(exit)
	servers []*http.Server
	gone    chan struct{}
}

func newSimulation(s *sandbox, config *runtimeapi.ContainerConfig) *simulation {
	name := config.GetMetadata().GetName()
	sim := &simulation{ports: s.about.Probed[name], finish: s.about.Init[name], takes: defaultStop, gone: make(chan struct{})}
	if !s.hostNet {
		sim.netns = s.net.netns()
	}
	if text, ok := s.config.GetAnnotations()[StopAnnotation]; ok {
		if sim.takes, sim.bad = time.ParseDuration(text); sim.bad != nil {
			sim.bad = fmt.Errorf("annotation %s: %w", StopAnnotation, sim.bad)
		}
	}
	return sim
}

func (s *simulation) start(ended func(exit)) error {
	if s.bad != nil {
		return s.bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listen(); err != nil {
		s.close()
		return err
	}
	s.running, s.ended = true, ended
	if s.finish {
		go s.end(exit{})
	}
	return nil
}

// listen answers on the probed ports. A probe wants a status: any path is fine.
func (s *simulation) listen() error {
	if s.netns == "" {
		return nil
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "simulated") })
	for _, port := range s.ports {
		l, err := listenIn(s.netns, port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue // another container of the pod answers there
		}
		if err != nil {
			return fmt.Errorf("answer on port %d for a simulated container: %w", port, err)
		}
		server := &http.Server{Handler: answer}
		s.servers = append(s.servers, server)
		go server.Serve(l)
	}
	return nil
}

// stop takes as long as the pod says; if that is longer than the grace, the
// container ends as a killed one.
func (s *simulation) stop(ctx context.Context, grace time.Duration) error {
	s.mu.Lock()
	running := s.running
	if running && s.asked == nil {
		s.asked = time.AfterFunc(s.takes, func() { s.end(exit{}) })
	}
	s.mu.Unlock()
	if !running {
		return nil
	}
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(grace):
		s.end(exit{code: 128 + int(syscall.SIGKILL)})
		return nil
	}
}

// end is the end, for the first who calls it.
func (s *simulation) end(e exit) {
	s.mu.Lock()
	first := s.running
	s.running = false
	s.mu.Unlock()
	if !first {
		return
	}
	s.close()
	s.ended(e)
	close(s.gone)
}

func (s *simulation) close() {
	for _, server := range s.servers {
		server.Close()
	}
}

func (s *simulation) exec([]string, time.Duration, *bytes.Buffer, *bytes.Buffer) (int, error) {
	return 0, nil
}

// listenIn opens a port inside a network namespace. A socket stays in the
// namespace of the thread that made it; the thread goes with its goroutine.
func listenIn(netns string, port int) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread()
		l, err := listenHere(netns, port)
		results <- result{l, err}
	}()
	r := <-results
	return r.l, r.err
}

func listenHere(netns string, port int) (net.Listener, error) {
	f, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("join network namespace %s: %w", netns, err)
	}
	return net.Listen("tcp", ":"+strconv.Itoa(port))
}
