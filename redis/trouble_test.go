package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// authority signs certificates of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	a.key = newKey(t)
	a.pem = a.sign(a.cert, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) string {
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue makes a certificate and its key.
func (a *authority) issue(name string, until time.Time) (cert, key string) {
	k := newKey(a.t)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	cert = a.sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, k)
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// startTLS runs a Redis that speaks TLS only.
func (a *authority) startTLS(t *testing.T, name string, until time.Time, args ...string) *server {
	dir := t.TempDir()
	cert, key := a.issue(name, until)
	for file, text := range map[string]string{"ca": a.pem, "cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ip := newIP()
	return start(t, ip, 6380, append([]string{"--port", "0", "--tls-port", "6380", "--tls-ca-cert-file", dir + "/ca",
		"--tls-cert-file", dir + "/cert", "--tls-key-file", dir + "/key"}, args...)...)
}

const password = "open-sesame-4711"

func TestTroubleOfMembers(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue("drover", time.Now().Add(time.Hour))
	h := newHand(t, map[string]map[string]string{
		"shop/right": {"password": password}, "shop/wrong": {"password": "not-" + password}, "shop/empty": {"redis-password": password},
		"shop/user": {"username": "drover", "password": password}, "shop/nobody": {"username": "drover"}, "shop/halfpair": {"password": password, "tls.crt": cert},
		"shop/ca": {"ca.crt": ca.pem}, "shop/other": {"ca.crt": other.pem}, "shop/noca": {"ca.crt": "nonsense"}, "shop/client": {"ca.crt": ca.pem, "tls.crt": cert, "tls.key": key},
		"shop/reader": {"username": "reader", "password": password}, "shop/watcher": {"username": "watcher", "password": password},
	})
	plain := start(t, newIP(), 6379)
	locked := start(t, newIP(), 6379, "--requirepass", password, "--user", "drover", "on", ">"+password, "~*", "&*", "+@all",
		"--user", "reader", "on", ">"+password, "+@all", "-config|set", "-replicaof", "--user", "watcher", "on", ">"+password, "+@all", "-config|get")
	node := startNode(t)
	sentinel := startSentinel(t, newIP(), plain.ip, 6379, "")
	secure := ca.startTLS(t, "redis.shop", time.Now().Add(time.Hour), "--tls-auth-clients", "no")
	strict := ca.startTLS(t, "redis.shop", time.Now().Add(time.Hour))
	expired := ca.startTLS(t, "redis.shop", time.Now().Add(-time.Minute), "--tls-auth-clients", "no")
	renamed := start(t, newIP(), 6379, "--rename-command", "CONFIG", "")
	web := listener(t, func(l net.Listener) { _ = http.Serve(l, http.NotFoundHandler()) })
	silent := listener(t, func(l net.Listener) {
		var open []net.Conn // one that is forgotten would be closed
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range open {
			_ = c.Close()
		}
	})
	tls := func(secret, name string) fleet.StoreSpec {
		return fleet.StoreSpec{TLS: true, Secret: secret, ServerName: name}
	}
	with := func(secret string) fleet.StoreSpec { return fleet.StoreSpec{Secret: secret} }
	for _, c := range []struct {
		name  string
		at    *server
		mover fleet.Mover
		spec  fleet.StoreSpec
		words []string // none: no trouble
	}{
		{"plain", plain, fleet.SentinelMover, with(""), nil},
		{"password", locked, fleet.SentinelMover, with("right"), nil},
		{"user", locked, fleet.SentinelMover, with("user"), nil},
		{"TLS", secure, fleet.SentinelMover, tls("ca", "redis.shop"), nil},
		{"client certificate", strict, fleet.SentinelMover, tls("client", "redis.shop"), nil},
		{"cluster", node, fleet.ClusterMover, with(""), nil},

		{"nobody", &server{ip: plain.ip, port: 6399}, fleet.SentinelMover, with(""), []string{"does not answer", "connection refused", "drover.dev/port"}},
		{"silence", silent, fleet.SentinelMover, with(""), []string{"took the connection but did not answer within 2s"}},
		{"web server", web, fleet.SentinelMover, with(""), []string{"is no Redis", "drover.dev/port"}},
		{"no password", locked, fleet.SentinelMover, with(""), []string{"wants a password", "drover.dev/secret"}},
		{"wrong password", locked, fleet.SentinelMover, with("wrong"), []string{`does not accept user "default"`, "Secret shop/wrong"}},
		{"no such user", plain, fleet.SentinelMover, with("user"), []string{`does not accept user "drover"`, "Secret shop/user"}},
		{"no right to read", locked, fleet.SentinelMover, with("watcher"), []string{`does not let user "watcher" use CONFIG GET`, "add +config|get to its ACL"}},
		{"no right to act", locked, fleet.SentinelMover, with("reader"), []string{`does not let user "reader" use CONFIG SET, REPLICAOF`, "add +config|set +replicaof to its ACL"}},
		{"no secret", plain, fleet.SentinelMover, with("gone"), []string{"was not asked: secret shop/gone cannot be read: not found", "create it"}},
		{"secret without password", plain, fleet.SentinelMover, with("empty"), []string{"secret shop/empty lacks the key password (keys it has: redis-password)"}},
		{"secret with username only", plain, fleet.SentinelMover, with("nobody"), []string{"has a username but no key password"}},
		{"secret with half a pair", plain, fleet.SentinelMover, with("halfpair"), []string{"tls.crt and tls.key but not the other"}},
		{"secret with nonsense", secure, fleet.SentinelMover, tls("noca", ""), []string{"key ca.crt has no certificate"}},
		{"plain to TLS", secure, fleet.SentinelMover, with(""), []string{"speaks TLS, and was asked without", "drover.dev/tls"}},
		{"plain to TLS that wants a certificate", strict, fleet.SentinelMover, with(""), []string{"speaks TLS, and was asked without"}},
		{"TLS to plain", plain, fleet.SentinelMover, tls("ca", ""), []string{"speaks no TLS on this port", "remove the annotation drover.dev/tls"}},
		{"unknown authority", secure, fleet.SentinelMover, tls("other", "redis.shop"), []string{"authority that is not known", "key ca.crt of Secret shop/other"}},
		{"wrong name", secure, fleet.SentinelMover, tls("ca", ""), []string{"for other names than m (it has redis.shop)", "drover.dev/server-name"}},
		{"expired", expired, fleet.SentinelMover, tls("ca", "redis.shop"), []string{"not valid", "expired"}},
		{"no client certificate", strict, fleet.SentinelMover, tls("ca", "redis.shop"), []string{"refused drover's side of TLS", "tls.crt and tls.key of Secret shop/ca"}},
		{"Sentinel for data", sentinel, fleet.SentinelMover, with(""), []string{"is a Sentinel, where data was expected", "drover.dev/role to sentinel"}},
		{"cluster node for a replica", node, fleet.SentinelMover, with(""), []string{"cluster-enabled yes", "drover.dev/mover to rediscluster"}},
		{"replica for a cluster node", plain, fleet.ClusterMover, with(""), []string{"cluster-enabled no", "drover.dev/mover to sentinel"}},
		{"renamed command", renamed, fleet.SentinelMover, with(""), []string{"does not know CONFIG GET", "rename-command"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			st := fleet.Store{Name: "shop/s", Mover: c.mover, Spec: c.spec, Members: []fleet.Member{c.at.member("m")}}
			m := observed(h, st).Members[0]
			check(t, m.Trouble, c.words)
			if len(c.words) == 0 {
				return
			}
			if want := bareMember(c.at.member("m")); !strings.Contains(m.Trouble, "pod shop/m ("+address(want.Host, fmt.Sprint(want.Port))+")") || m.RunID != "" || m.Role != "" || len(m.Known) != 1 {
				t.Errorf("%+v", m)
			}
		})
	}
}

// check fails unless a trouble has all words, and no password.
func check(t *testing.T, trouble string, words []string) {
	t.Helper()
	t.Log(trouble)
	if len(words) == 0 && trouble != "" {
		t.Errorf("trouble: %s", trouble)
	}
	for _, w := range words {
		if !strings.Contains(trouble, w) {
			t.Errorf("trouble %q does not say %q", trouble, w)
		}
	}
	if strings.Contains(trouble, password) {
		t.Errorf("trouble %q has the password", trouble)
	}
}

// listener is something that is no Redis.
func listener(t *testing.T, serve func(net.Listener)) *server {
	s := &server{ip: newIP(), port: 6379}
	l, err := net.Listen("tcp", address(s.ip, "6379"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go serve(l)
	return s
}

func TestTroubleOfStores(t *testing.T) {
	data := start(t, newIP(), 6379)
	two := startSentinel(t, newIP(), data.ip, 6379, fmt.Sprintf("sentinel monitor carts %s 6379 2", data.ip))
	one := startSentinel(t, newIP(), data.ip, 6379, "")
	elsewhere := startSentinel(t, newIP(), data.ip, 6379, "")
	elsewhere.do("SENTINEL REMOVE orders")
	elsewhere.do("SENTINEL MONITOR carts " + data.ip + " 6379 2")
	gone := &server{ip: data.ip, port: 6399}
	h := newHand(t, nil)
	for _, c := range []struct {
		name, master string
		at           []*server
		store        []string
		sentinel     []string // the first
	}{
		{"one watches", "", []*server{one}, nil, nil},
		{"declared", "carts", []*server{two}, nil, nil},
		{"one of two is away", "", []*server{gone, one}, nil, []string{"Sentinel in pod shop/s-0", "does not answer", "drover.dev/sentinel-port"}},
		{"no Sentinel", "", nil, []string{"store shop/s has no Sentinel"}, nil},
		{"none answers", "", []*server{gone, gone}, []string{"none of the 2 Sentinels of store shop/s answers", "connection refused"}, []string{"does not answer"}},
		{"data for a Sentinel", "", []*server{data, one}, nil, []string{"has data, where a Sentinel was expected", "drover.dev/sentinel-port"}},
		{"several, none declared", "", []*server{two}, []string{"watches 2 masters (carts, orders)", "drover.dev/master"}, []string{"watches 2 masters"}},
		{"none of the name", "sessions", []*server{two, one}, []string{"watches no master sessions but", "drover.dev/master"}, []string{"watches no master sessions but carts, orders"}},
		{"one has not the name", "orders", []*server{elsewhere, one}, nil, []string{"watches no master orders but carts"}},
		{"different masters", "", []*server{elsewhere, one}, []string{"watch different masters (carts, orders)"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Spec: fleet.StoreSpec{Master: c.master}, Members: []fleet.Member{data.member("m")}}
			for i, s := range c.at {
				st.Sentinels = append(st.Sentinels, s.sentinel(fmt.Sprintf("s-%d", i)))
			}
			st = observed(h, st)
			check(t, st.Trouble, c.store)
			if len(c.at) > 0 {
				check(t, st.Sentinels[0].Trouble, c.sentinel)
			}
		})
	}
	t.Run("kube's trouble is kept", func(t *testing.T) {
		if st := observed(h, fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Trouble: "bad annotation"}); st.Trouble != "bad annotation" {
			t.Error(st.Trouble)
		}
	})
	t.Run("others are left alone", func(t *testing.T) {
		if st := observed(h, fleet.Store{Name: "shop/s", Mover: fleet.ScriptMover, Members: []fleet.Member{data.member("m")}}); !st.Read.IsZero() || st.Members[0].RunID != "" {
			t.Errorf("%+v", st)
		}
	})
}

func TestSentinelRights(t *testing.T) {
	data := start(t, newIP(), 6379)
	s := startSentinel(t, newIP(), data.ip, 6379, "user eye on >"+password+" ~* &* +@all -sentinel|reset")
	h := newHand(t, map[string]map[string]string{"shop/eye": {"username": "eye", "password": password}})
	st := fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Spec: fleet.StoreSpec{SentinelSecret: "eye"}, Members: []fleet.Member{data.member("m")}, Sentinels: []fleet.Sentinel{s.sentinel("s-0")}}
	check(t, observed(h, st).Sentinels[0].Trouble, []string{`does not let user "eye" use SENTINEL RESET`, "add +sentinel|reset to its ACL"})
	s.do("ACL SETUSER eye +sentinel|reset")
	check(t, observed(h, st).Sentinels[0].Trouble, nil)
}

// A right that goes missing between the observation and the action is a refusal that says so.
func TestDeniedAction(t *testing.T) {
	s := start(t, newIP(), 6379)
	s.do("ACL SETUSER hand on >" + password + " ~* &* +@all -acl -config|set")
	h := newHand(t, map[string]map[string]string{"shop/hand": {"username": "hand", "password": password}})
	st := fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Spec: fleet.StoreSpec{Secret: "hand"}, Members: []fleet.Member{s.member("m")}}
	err := act(h, st, fleet.Action{Verb: fleet.Prefer, Pod: ref("m"), To: 7})
	var refused *fleet.Refused
	if !errors.As(err, &refused) || !refused.Denied || !strings.Contains(refused.Reason, "add +config|set to its ACL") {
		t.Errorf("%v", err)
	}
	if s.setting(setPriority) != "100" {
		t.Error("it was set all the same")
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	ep := Endpoint{Pod: ref("a"), Host: "10.0.0.1", Port: 6379, Username: "u", Password: password}
	for _, s := range []string{fmt.Sprint(ep), fmt.Sprintf("%+v", ep), fmt.Sprintf("%#v", ep), fmt.Sprintf("%s", &ep)} {
		if strings.Contains(s, password) || !strings.Contains(s, "shop/a at 10.0.0.1:6379") {
			t.Error(s)
		}
	}
}

// A connection outlives observations, and no successor of its pod gets it.
func TestConnectionsAreKept(t *testing.T) {
	s := start(t, newIP(), 6379)
	now := time.Now()
	h := newHand(t, nil)
	h.Now = func() time.Time { return now }
	st := fleet.Store{Name: "shop/s", Mover: fleet.SentinelMover, Members: []fleet.Member{s.member("m")}}
	clients := func() []string {
		text, _ := s.do("CLIENT LIST TYPE normal").(string)
		var ids []string
		for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
			if f := strings.Fields(l); !slices.ContainsFunc(f, func(w string) bool { return strings.HasPrefix(w, "cmd=client|list") }) {
				ids = append(ids, f[0])
			}
		}
		return ids
	}
	observed(h, st)
	first := clients()
	observed(h, st)
	if again := clients(); len(first) != 1 || !slices.Equal(first, again) {
		t.Errorf("clients %v, then %v", first, again)
	}
	s.do("CLIENT KILL TYPE normal SKIPME yes")
	if m := observed(h, st).Members[0]; m.Trouble != "" {
		t.Errorf("a connection that was cut meanwhile: %s", m.Trouble)
	}
	st.Members[0].Pod.UID = "successor"
	before := clients()
	observed(h, st)
	eventually(t, 2*time.Second, "the predecessor's connection is closed", func() bool {
		after := clients()
		return len(after) == 1 && after[0] != before[0]
	})
	now = now.Add(keepFor + time.Second)
	h.Observe(context.Background(), &fleet.Store{Name: "shop/other", Mover: fleet.SentinelMover})
	eventually(t, 2*time.Second, "an idle connection is closed", func() bool { return len(clients()) == 0 })
}
