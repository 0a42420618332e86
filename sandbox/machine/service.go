package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Service is a service of the cluster as its clients on other machines meet it: connections go to ready endpoints in turn, and one whose
// machine dies goes silent. Local processes that are killed still say goodbye, by their kernel; the packets of a machine that is
// off do not, and nobody else answers in its place. Only light machines can die like that: to endpoints elsewhere a connection is a plain one.
type Service struct {
	m    *Manager
	key  types.NamespacedName
	turn atomic.Uint64
}

// Service returns the service of that name, which need not exist yet.
func (m *Manager) Service(namespace, name string) *Service {
	return &Service{m: m, key: types.NamespacedName{Namespace: namespace, Name: name}}
}

// Dial connects to the next endpoint of the service's first port. A dead machine that is still among them lets it wait until ctx ends.
func (s *Service) Dial(ctx context.Context) (*Line, error) {
	address, err := s.next()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", s.key, err)
	}
	mach, pod := s.m.holder(host)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", address)
	if mach != nil && !mach.Alive() {
		if conn != nil {
			conn.Close()
		}
		<-ctx.Done()
		return nil, fmt.Errorf("service %s: %s does not answer: %w", s.key, address, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", s.key, err)
	}
	silence, other := net.Pipe()
	return &Line{Conn: conn, Pod: pod, mach: mach, silence: silence, other: other}, nil
}

func (s *Service) next() (string, error) {
	all, err := s.endpoints()
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("service %s: no endpoint is ready", s.key)
	}
	return all[int(s.turn.Add(1)-1)%len(all)], nil
}

// Ready counts the endpoints that Dial chooses from.
func (s *Service) Ready() int {
	all, _ := s.endpoints() // no service, no endpoint
	return len(all)
}

func (s *Service) endpoints() ([]string, error) {
	ps := &s.m.proxies
	ps.mu.Lock()
	defer ps.mu.Unlock()
	service := ps.services[s.key]
	if service == nil || len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("service %s: there is no such service, or it has no port", s.key)
	}
	all := ps.endpoints(&nodeProxy{}, service, service.Spec.Ports[0].Name)
	slices.Sort(all)
	return all, nil
}

// holder finds the machine and the pod that an address belongs to; nil if it is no light machine's.
func (m *Manager) holder(ip string) (*Machine, string) {
	for _, mach := range m.Machines() {
		mach.mu.Lock()
		for _, p := range mach.pods {
			p.mu.Lock()
			mine := p.ip == ip
			p.mu.Unlock()
			if mine {
				mach.mu.Unlock()
				return mach, p.name
			}
		}
		mach.mu.Unlock()
	}
	return nil, ""
}

// Line is a connection to a pod. Once the pod's machine is dead, reads wait for ever (or for the deadline, or Close) and writes lead nowhere.
type Line struct {
	net.Conn
	Pod string // name; empty if the endpoint is no light machine's

	mach    *Machine
	silence net.Conn // a pipe into which nobody speaks: it brings deadlines and Close to reads that get no answer
	other   net.Conn // its far end
}

// Cut tells whether the machine at the far end is dead.
func (l *Line) Cut() bool { return l.mach != nil && !l.mach.Alive() }

func (l *Line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 || err == nil || ours(err) || !l.Cut() {
		return n, err
	}
	return l.silence.Read(b)
}

func (l *Line) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && !ours(err) && l.Cut() {
		return len(b), nil
	}
	return n, err
}

// ours tells whether a call ended by what this side did: its deadline, its Close.
func ours(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

func (l *Line) SetDeadline(t time.Time) error {
	return errors.Join(l.Conn.SetDeadline(t), l.silence.SetDeadline(t))
}

func (l *Line) SetReadDeadline(t time.Time) error {
	return errors.Join(l.Conn.SetReadDeadline(t), l.silence.SetReadDeadline(t))
}

func (l *Line) Close() error {
	return errors.Join(l.Conn.Close(), l.silence.Close(), l.other.Close())
}
