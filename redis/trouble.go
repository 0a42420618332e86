package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"drover.dev/fleet"
)

// party is whom a trouble is about.
type party struct {
	what  string // "Redis" or "Sentinel"
	at    Endpoint
	login login
}

func (p party) String() string {
	return fmt.Sprintf("%s in pod %s (%s)", p.what, p.at.Pod, address(p.at.Host, strconv.Itoa(p.at.Port)))
}

// annotated is the name of the annotation that names a party's setting.
func (p party) annotated(data, sentinel string) string {
	if p.what == "Sentinel" {
		return "drover.dev/" + sentinel
	}
	return "drover.dev/" + data
}

func (p party) secret() string { return p.annotated("secret", "sentinel-secret") }
func (p party) portAt() string { return p.annotated("port", "sentinel-port") }
func (p party) user() string   { return strconv.Quote(cmp.Or(p.login.username, "default")) }
func (p party) fromCA() string { return p.inSecret("key " + keyCA) }
func (p party) inCert() string { return p.inSecret("keys " + keyCert + " and " + keyKey) }

func (p party) inSecret(keys string) string {
	if p.login.secret == "" {
		return fmt.Sprintf("%s of a Secret that the annotation %s names", keys, p.secret())
	}
	return fmt.Sprintf("%s of Secret %s", keys, p.login.secret)
}

func noAddress(what string, pod fleet.PodRef) string {
	return fmt.Sprintf("%s in pod %s has no address yet: the pod has to be scheduled and started first", what, pod)
}

// trouble says why a party could not be read, and what to do.
func (h *Hand) trouble(ctx context.Context, p party, err error) string {
	var login *loginError
	var kind *kindError
	var master *masterError
	var right *rightError
	switch {
	case errors.As(err, &login):
		return fmt.Sprintf("%s was not asked: %s", p, cut(login.Error()))
	case errors.As(err, &kind):
		return fmt.Sprintf("%s %s", p, kind)
	case errors.As(err, &master):
		return fmt.Sprintf("%s %s", p, master)
	case errors.As(err, &right):
		return fmt.Sprintf("%s does not let user %s use %s: %s", p, p.user(), right.commands(), right.mend())
	}
	if text, answered := said(err); answered {
		return fmt.Sprintf("%s %s", p, p.reply(err, text))
	}
	return fmt.Sprintf("%s %s", p, h.silence(ctx, p, err))
}

// reply explains an error reply, which may quote what it was told.
func (p party) reply(err error, text string) string {
	command := "a command"
	var of *commandError
	if errors.As(err, &of) {
		command = of.command
	}
	switch {
	case strings.HasPrefix(text, "NOAUTH") && p.login.password == "":
		return fmt.Sprintf("wants a password: name a Secret with key %s (and %s) by the annotation %s", keyPassword, keyUsername, p.secret())
	case strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "ERR invalid password"), strings.HasPrefix(text, "ERR AUTH"):
		return fmt.Sprintf("does not accept user %s with the password in Secret %s: correct the keys %s and %s there, or the user's ACL", p.user(), p.login.secret, keyUsername, keyPassword)
	case strings.HasPrefix(text, "NOPERM"):
		right := rightError{[]string{command}}
		return fmt.Sprintf("does not let user %s use %s: %s", p.user(), right.commands(), right.mend())
	case strings.HasPrefix(text, "DENIED"):
		return "is in protected mode, which lets nobody in from outside: set a password, or protected-mode no"
	case strings.HasPrefix(text, "ERR unknown command"), strings.HasPrefix(text, "ERR unknown subcommand"), strings.HasPrefix(text, "ERR Unknown subcommand"):
		return fmt.Sprintf("does not know %s: it is older than 6.2, or rename-command hides it; drover needs it", command)
	}
	return fmt.Sprintf("answered to %s: %s", command, cut(without(text, p.login.password)))
}

// without is a text without a password.
func without(text, password string) string {
	if password == "" {
		return text
	}
	return strings.ReplaceAll(text, password, "…")
}

// silence explains why there was no answer at all.
func (h *Hand) silence(ctx context.Context, p party, err error) string {
	var dial *dialError
	var secure *tlsError
	switch {
	case errors.As(err, &dial):
		return fmt.Sprintf("does not answer: %s; check that it runs, that %s is its port, and that NetworkPolicies let drover in", cut(dial.Error()), p.portAt())
	case errors.As(err, &secure):
		return h.insecure(ctx, p, secure.err)
	case strings.Contains(err.Error(), "remote error: tls"):
		return p.certificate(err)
	case p.at.TLS != nil && hungUp(err): // a certificate that is missed shows only after TLS came about, and the reason may get lost
		return p.certificate(err)
	case isTimeout(err):
		return fmt.Sprintf("took the connection but did not answer within %s: it may be stopped, swapping, or busy with a slow command", askWithin)
	case broke(err) && p.at.TLS == nil && h.speaks(ctx, p.at, &tls.Config{InsecureSkipVerify: true}): // only to tell what is there; nothing secret is sent
		return `speaks TLS, and was asked without: set the annotation drover.dev/tls to "true"`
	}
	return fmt.Sprintf("is no Redis, or hung up: %s; check the annotation %s", cut(cause(err)), p.portAt())
}

// insecure explains why TLS did not come about.
func (h *Hand) insecure(ctx context.Context, p party, err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return fmt.Sprintf("has a certificate of an authority that is not known: put its authority's certificate into %s", p.fromCA())
	case errors.As(err, &name):
		return fmt.Sprintf("has a certificate for other names than %s (%s): set the annotation drover.dev/server-name to one of its names", p.at.TLS.ServerName, certified(name.Certificate))
	case errors.As(err, &invalid):
		return fmt.Sprintf("has a certificate that is not valid: %s; renew it", cut(invalid.Error()))
	case strings.Contains(err.Error(), "remote error: tls"):
		return p.certificate(err)
	case h.speaks(ctx, p.at, nil):
		return "speaks no TLS on this port: remove the annotation drover.dev/tls, or name its TLS port by the annotation " + p.portAt()
	}
	return fmt.Sprintf("did not agree on TLS: %s", cut(err.Error()))
}

// certificate explains that the server did not like ours.
func (p party) certificate(err error) string {
	return fmt.Sprintf("refused drover's side of TLS (%s): put a client certificate that it accepts into %s, or set tls-auth-clients no", cut(cause(err)), p.inCert())
}

func certified(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(all, ", ")
}

// speaks tells whether there is a Redis when asked with other TLS settings. It is told no password.
func (h *Hand) speaks(ctx context.Context, ep Endpoint, c *tls.Config) bool {
	ep.TLS, ep.Username, ep.Password = c, "", ""
	conn, err := h.Connect(ctx, ep)
	if err != nil {
		return false
	}
	defer conn.Close()
	_, err = conn.Do(ctx, "PING")
	if _, answered := said(err); err == nil || answered {
		return true
	}
	var dial *dialError
	var secure *tlsError
	return c != nil && !errors.As(err, &dial) && !errors.As(err, &secure) // TLS came about; that it wants a certificate shows only afterwards
}

// kindError is that something else is there than was expected, in Redis' words for its modes.
type kindError struct{ is, wanted string }

// fits tells whether a mover can move what says to be of a mode.
func fits(mode string, mover fleet.Mover) error {
	wanted := modeStandalone
	if mover == fleet.ClusterMover {
		wanted = modeCluster
	}
	if mode == wanted {
		return nil
	}
	return &kindError{mode, wanted}
}

func (e *kindError) Error() string {
	switch {
	case e.is == modeSentinel:
		return "is a Sentinel, where data was expected: correct the annotation drover.dev/port, or set drover.dev/role to sentinel"
	case e.wanted == modeSentinel:
		return "has data, where a Sentinel was expected: correct the annotation drover.dev/sentinel-port, or set drover.dev/role to data"
	case e.is == modeCluster:
		return "is a node of a cluster (cluster-enabled yes): set the annotation drover.dev/mover to rediscluster"
	case e.is == modeStandalone:
		return "is no node of a cluster (cluster-enabled no): set the annotation drover.dev/mover to sentinel"
	}
	return fmt.Sprintf("is of a kind that drover does not know (redis_mode:%s): set the annotation drover.dev/mover to script or leader-last", cut(e.is))
}

// broke tells whether a connection failed, rather than somebody said no.
func broke(err error) bool {
	var kind *kindError
	var master *masterError
	var right *rightError
	var login *loginError
	if err == nil || errors.As(err, &kind) || errors.As(err, &master) || errors.As(err, &right) || errors.As(err, &login) {
		return false
	}
	_, answered := said(err)
	return !answered
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// cause is an error without the command and the addresses before it.
func cause(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "it closed the connection"
	case errors.Is(err, syscall.ECONNRESET):
		return "it reset the connection"
	}
	var of *commandError
	if errors.As(err, &of) {
		return of.err.Error()
	}
	return err.Error()
}

// longest is how much of others' words is told: they choose what is in it, and records, events and terminals show it.
const longest = 200

// cut makes a text one line that is not too long.
func cut(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return s
}
