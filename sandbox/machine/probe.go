package machine

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// attend runs the container's probes for as long as the process lives. Readiness goes on while the pod terminates, as with the
// kubelet; startup and liveness do not.
func (x *process) attend(c *container) <-chan string {
	if c.role == initial {
		return nil
	}
	sick := make(chan string, 1)
	startup, liveness, readiness := c.spec.StartupProbe, c.spec.LivenessProbe, c.spec.ReadinessProbe
	alive := x.alive
	going, stop := context.WithCancel(alive)
	context.AfterFunc(c.p.going, stop)

	serve := func() {
		c.isUp(x, readiness == nil)
		if liveness != nil {
			x.mach.m.lives.Go(func() {
				x.poll(going, liveness, func(ok bool, err error) bool {
					if !ok {
						sick <- fmt.Sprintf("liveness: %v", err)
					}
					return ok
				})
			})
		}
		if readiness != nil {
			x.mach.m.lives.Go(func() {
				x.poll(alive, readiness, func(ok bool, err error) bool {
					if !ok {
						x.mach.m.Log.Debug("not ready", "pod", c.p.String(), "container", c.spec.Name, "error", err)
					}
					c.isUp(x, ok)
					return true
				})
			})
		}
	}
	if startup == nil {
		serve()
		return sick
	}
	x.mach.m.lives.Go(func() {
		x.poll(going, startup, func(ok bool, err error) bool {
			if ok {
				serve()
			} else {
				sick <- fmt.Sprintf("startup: %v", err)
			}
			return false
		})
	})
	return sick
}

// poll probes at the probe's period and tells the first verdict and each change of it. It ends with ctx, or when tell wants no more.
func (x *process) poll(ctx context.Context, probe *corev1.Probe, tell func(ok bool, err error) bool) {
	seconds := func(n, least int32) time.Duration { return time.Duration(max(n, least)) * time.Second }
	if !pause(ctx, seconds(probe.InitialDelaySeconds, 0)) {
		return
	}
	threshold := map[bool]int32{true: max(probe.SuccessThreshold, 1), false: max(probe.FailureThreshold, 1)}
	var last, verdict, known bool
	for inARow := int32(0); ; {
		limit, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
		err := x.check(limit, probe.ProbeHandler)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if ok := err == nil; ok != last {
			last, inARow = ok, 0
		}
		inARow++
		if inARow >= threshold[last] && (!known || verdict != last) {
			known, verdict = true, last
			if !tell(verdict, err) {
				return
			}
		}
		if !pause(ctx, seconds(probe.PeriodSeconds, 1)) {
			return
		}
	}
}

func (x *process) check(ctx context.Context, h corev1.ProbeHandler) error {
	switch {
	case h.Exec != nil:
		return x.command(ctx, h.Exec.Command)
	case h.HTTPGet != nil:
		return x.place.get(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		address, err := x.place.address(h.TCPSocket.Host, h.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return fmt.Errorf("a probe of this kind is not simulated")
}

func (pl place) address(host string, port intstr.IntOrString) (string, error) {
	n, err := portNumber(pl.spec, port.String())
	if err != nil {
		return "", err
	}
	if host == "" {
		pl.p.mu.Lock()
		host = pl.p.ip
		pl.p.mu.Unlock()
	}
	return net.JoinHostPort(DialAddress(host), strconv.Itoa(n)), nil
}

// probing is for probes and hooks: a connection each, no proxies, any certificate.
var probing = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	// A redirect counts as an answer; following it could lead off the loopback network.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (pl place) get(ctx context.Context, h *corev1.HTTPGetAction) error {
	address, err := pl.address(h.Host, h.Port)
	if err != nil {
		return err
	}
	path := h.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	scheme := "http"
	if h.Scheme != "" {
		scheme = strings.ToLower(string(h.Scheme))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "kube-probe/1.36")
	for _, header := range h.HTTPHeaders {
		if strings.EqualFold(header.Name, "Host") {
			r.Host = header.Value
			continue
		}
		r.Header.Add(header.Name, header.Value)
	}
	answer, err := probing.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 200)) // only for the message
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("GET %s: %s: %s", r.URL, answer.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
