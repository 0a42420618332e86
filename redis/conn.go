package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"drover.dev/fleet"
)

// Conn is a connection to one Redis or Sentinel, and to no other. Replies are as in RESP2: string, int64, []any, nil. An error reply is an error that
// implements Error; after any other error the connection is given up.
type Conn interface {
	Do(ctx context.Context, args ...any) (any, error)
	Close() error
}

// Connect makes a connection. Whether anybody answers may show only at the first Do.
type Connect func(ctx context.Context, ep Endpoint) (Conn, error)

// Error is an error reply: the server has understood, and says no.
type Error interface {
	error
	RedisError()
}

// Reply is an error reply of those who speak no RESP, such as models.
type Reply string

func (r Reply) Error() string { return string(r) }

// RedisError makes Reply an Error.
func (r Reply) RedisError() {}

// Endpoint is where a Redis is, and how to get in.
type Endpoint struct {
	Pod      fleet.PodRef
	Host     string
	Port     int
	TLS      *tls.Config // nil without
	Username string
	Password string
}

// String leaves out how to get in, on purpose.
func (e Endpoint) String() string {
	return fmt.Sprintf("pod %s at %s", e.Pod, address(e.Host, strconv.Itoa(e.Port)))
}

// GoString is String, so that %#v shows no password either.
func (e Endpoint) GoString() string { return e.String() }

// address joins what may be an IPv6 address to a port.
func address(host, port string) string { return net.JoinHostPort(host, port) }

// Bounds of one conversation. A Redis that is well answers within a millisecond; one that forks or swaps takes longer.
const (
	dialWithin = time.Second
	talkWithin = 2 * time.Second
)

// Dialing makes connections over go-redis: one plain client for each member, which hides neither failures nor redirections. dial opens the stream:
// straight, through a port-forward, or to another address in the sandbox; nil is straight.
func Dialing(dial func(ctx context.Context, pod fleet.PodRef, host string, port int) (net.Conn, error)) Connect {
	logging.Disable() // what it has to say comes back as errors, too
	if dial == nil {
		dial = straight
	}
	return func(_ context.Context, ep Endpoint) (Conn, error) {
		return &client{goredis.NewClient(&goredis.Options{
			Addr:   address(ep.Host, strconv.Itoa(ep.Port)),
			Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx, ep, dial) },

			Username: ep.Username, Password: ep.Password,
			Protocol: 2, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

			MaxRetries: -1, DialerRetries: 1,
			DialTimeout: dialWithin, ReadTimeout: talkWithin, WriteTimeout: talkWithin, ContextTimeoutEnabled: true,
			PoolSize: 2, PipelinePoolSize: -1,
		})}, nil
	}
}

func straight(ctx context.Context, _ fleet.PodRef, host string, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address(host, strconv.Itoa(port)))
}

// open tells failing to get through from failing to agree on TLS.
func open(ctx context.Context, ep Endpoint, dial func(context.Context, fleet.PodRef, string, int) (net.Conn, error)) (net.Conn, error) {
	raw, err := dial(ctx, ep.Pod, ep.Host, ep.Port)
	if err != nil {
		return nil, &dialError{err}
	}
	if ep.TLS == nil {
		return raw, nil
	}
	secure := tls.Client(raw, ep.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &tlsError{errors.Join(err, raw.Close())}
	}
	return secure, nil
}

// client is one go-redis client.
type client struct{ *goredis.Client }

func (c *client) Do(ctx context.Context, args ...any) (any, error) {
	v, err := c.Client.Do(ctx, args...).Result()
	if errors.Is(err, goredis.Nil) {
		return nil, nil
	}
	return v, err
}

// dialError is no connection at all.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// tlsError is a connection on which TLS did not come about.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// commandError is what came of one command.
type commandError struct {
	command string // without its arguments: "CONFIG GET"
	err     error
}

func (e *commandError) Error() string { return e.command + ": " + e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// said returns an error reply's text.
func said(err error) (string, bool) {
	var reply Error
	if !errors.As(err, &reply) {
		return "", false
	}
	return reply.Error(), true
}

// says tells whether err is an error reply that begins so.
func says(err error, prefix string) bool {
	text, ok := said(err)
	return ok && strings.HasPrefix(text, prefix)
}
