package redis

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover.dev/fleet"
)

// secretFor is how long what a Secret says is used without reading it again.
const secretFor = 10 * time.Second

// Keys of a Secret.
const (
	keyUsername = "username"
	keyPassword = "password"
	keyCA       = "ca.crt"
	keyCert     = "tls.crt"
	keyKey      = "tls.key"
)

// login is how to get into the Redis of a store, or into its Sentinels.
type login struct {
	secret             string // namespace/name; "" when none is declared
	username, password string
	tls                *tls.Config // without a server name; nil without TLS
	print              [32]byte    // tells it from others, and gives nothing away
	err                error       // why there is none
}

// secret is one Secret as it was read.
type secret struct {
	at   time.Time
	data map[string][]byte
}

// logins returns how to get into a store's Redis and into its Sentinels.
func (h *Hand) logins(ctx context.Context, st *fleet.Store) (data, sentinel login) {
	data = h.login(ctx, st, st.Spec.Secret)
	if st.Mover != fleet.SentinelMover {
		return data, login{}
	}
	if st.Spec.SentinelSecret == "" || st.Spec.SentinelSecret == st.Spec.Secret {
		return data, data
	}
	return data, h.login(ctx, st, st.Spec.SentinelSecret)
}

func (h *Hand) login(ctx context.Context, st *fleet.Store, name string) login {
	namespace, _, _ := strings.Cut(st.Name, "/")
	var l login
	var data map[string][]byte
	if name != "" {
		l.secret = namespace + "/" + name
		if data, l.err = h.secret(ctx, namespace, name); l.err != nil {
			return l
		}
		if l.err = complete(l.secret, data, st.Spec.TLS); l.err != nil {
			return l
		}
		l.username, l.password = line1(data[keyUsername]), line1(data[keyPassword])
	}
	if st.Spec.TLS {
		l.tls, l.err = security(l.secret, data)
	}
	l.print = fingerprint(data, st.Spec.TLS, st.Spec.ServerName)
	return l
}

// line1 is a value without the newline that echo and editors leave at its end.
func line1(v []byte) string { return strings.TrimRight(string(v), "\r\n") }

// secret reads a Secret, or returns what it said a moment ago.
func (h *Hand) secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	id := namespace + "/" + name
	h.mu.Lock()
	s, ok := h.secrets[id]
	h.mu.Unlock()
	if ok && h.now().Sub(s.at) < secretFor {
		return s.data, nil
	}
	if h.Secrets == nil {
		return nil, fmt.Errorf("secret %s cannot be read: nothing here reads Secrets", id)
	}
	data, err := h.Secrets(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("secret %s cannot be read: %w; create it, or correct the annotation drover.dev/secret, or allow drover to get it", id, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.secrets == nil {
		h.secrets = map[string]secret{}
	}
	h.secrets[id] = secret{h.now(), data}
	return data, nil
}

// complete tells what a Secret lacks.
func complete(id string, data map[string][]byte, secure bool) error {
	has := func(key string) bool { return len(data[key]) > 0 }
	switch {
	case has(keyUsername) && !has(keyPassword):
		return fmt.Errorf("secret %s has a username but no key %s: add it", id, keyPassword)
	case has(keyCert) != has(keyKey):
		return fmt.Errorf("secret %s has one of the keys %s and %s but not the other: add it", id, keyCert, keyKey)
	case has(keyPassword) || secure && (has(keyCA) || has(keyCert)):
		return nil
	}
	keys := strings.Join(slices.Sorted(maps.Keys(data)), ", ")
	if keys == "" {
		keys = "none"
	}
	return fmt.Errorf("secret %s lacks the key %s (keys it has: %s): add it; %s, %s, %s and %s are understood too", id, keyPassword, keys, keyUsername, keyCA, keyCert, keyKey)
}

// security makes TLS settings of a Secret. Without ca.crt the system's authorities are trusted.
func security(id string, data map[string][]byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if pem := data[keyCA]; len(pem) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("secret %s: key %s has no certificate in PEM: correct it", id, keyCA)
		}
	}
	if len(data[keyCert]) > 0 {
		pair, err := tls.X509KeyPair(data[keyCert], data[keyKey])
		if err != nil {
			return nil, fmt.Errorf("secret %s: keys %s and %s are no pair: %w", id, keyCert, keyKey, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func fingerprint(data map[string][]byte, secure bool, name string) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%t %q", secure, name)
	for _, key := range []string{keyUsername, keyPassword, keyCA, keyCert, keyKey} {
		fmt.Fprintf(h, " %q", data[key])
	}
	return [32]byte(h.Sum(nil))
}

// endpoint is where a pod's Redis is, with how to get in.
func (l login) endpoint(spec fleet.StoreSpec, pod fleet.PodRef, host string, port int) Endpoint {
	ep := Endpoint{Pod: pod, Host: host, Port: port, Username: l.username, Password: l.password}
	if l.tls == nil {
		return ep
	}
	ep.TLS = l.tls.Clone()
	if ep.TLS.ServerName = spec.ServerName; ep.TLS.ServerName == "" {
		ep.TLS.ServerName = pod.Name
	}
	return ep
}
