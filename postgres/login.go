package postgres

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"drover.dev/fleet"
)

// Keys of a Secret, the one that is told to people first; the others are what charts and images call the same.
var (
	keysUsername = []string{"username", "user", "POSTGRES_USER"}
	keysPassword = []string{"password", "POSTGRES_PASSWORD"}
	keysDatabase = []string{"dbname", "database", "POSTGRES_DB"}
	keysMode     = []string{"sslmode"}
	keysURI      = []string{"uri", "DATABASE_URL"}
	keysRoots    = []string{"ca.crt"} // in PEM; without it the system's authorities are trusted
)

// login is how to get into a database.
type login struct {
	secret             string // namespace/name
	username, password string
	database           string
	sslmode            string
	roots              *x509.CertPool // nil for the system's
}

// login reads how to get in. What a URI says is used where no key of its own does. Errors never quote a value.
func (h *Hand) login(ctx context.Context, spec fleet.DatabaseSpec) (login, error) {
	namespace, name, ok := strings.Cut(spec.Secret, "/")
	if !ok || namespace == "" || name == "" {
		return login{}, fmt.Errorf("its secret %q is not NAMESPACE/NAME", spec.Secret)
	}
	if h.Secrets == nil {
		return login{}, fmt.Errorf("secret %s cannot be read: nothing here reads Secrets", spec.Secret)
	}
	data, err := h.Secrets(ctx, namespace, name)
	if err != nil {
		return login{}, fmt.Errorf("secret %s cannot be read: %w; create it, correct its name, or allow drover to get it", spec.Secret, err)
	}
	l, err := fromSecret(data)
	if err != nil {
		return login{}, fmt.Errorf("secret %s %w", spec.Secret, err)
	}
	l.secret = spec.Secret
	l.database = cmp.Or(spec.Name, l.database, "postgres")
	return l, nil
}

func fromSecret(data map[string]string) (login, error) {
	var l login
	if key, text := value(data, keysURI); text != "" {
		from, ok := fromURI(text)
		if !ok {
			return l, fmt.Errorf("has a key %s that is no URI postgres://USER:PASSWORD@HOST/DATABASE: correct it, with special characters percent-encoded", key)
		}
		l = from
	}
	for _, f := range []struct {
		to   *string
		keys []string
	}{{&l.username, keysUsername}, {&l.password, keysPassword}, {&l.database, keysDatabase}, {&l.sslmode, keysMode}} {
		if _, text := value(data, f.keys); text != "" {
			*f.to = text
		}
	}
	l.sslmode = cmp.Or(l.sslmode, "prefer")
	if err := l.complete(data); err != nil {
		return l, err
	}
	return l, l.trust(data)
}

// complete tells what a Secret lacks.
func (l *login) complete(data map[string]string) error {
	switch {
	case l.username == "" || l.password == "":
		missing := keysUsername[0]
		if l.username != "" {
			missing = keysPassword[0]
		}
		return fmt.Errorf("lacks the key %s (keys it has: %s): add it", missing, cmp.Or(strings.Join(slices.Sorted(maps.Keys(data)), ", "), "none"))
	case strings.ContainsRune(l.username+l.database, 0):
		return errors.New("has a user or a database with a NUL in its name: correct it")
	case tries[l.sslmode] == nil:
		return fmt.Errorf("has an sslmode that is none of %s: correct it", strings.Join(slices.Sorted(maps.Keys(tries)), ", "))
	}
	return nil
}

func (l *login) trust(data map[string]string) error {
	key, text := value(data, keysRoots)
	if text == "" {
		return nil
	}
	l.roots = x509.NewCertPool()
	if !l.roots.AppendCertsFromPEM([]byte(text)) {
		return fmt.Errorf("has no certificate in PEM in its key %s: correct it", key)
	}
	return nil
}

// value returns the first key that has one, without the newline that echo and editors leave at the end.
func value(data map[string]string, keys []string) (key, text string) {
	for _, k := range keys {
		if v := strings.TrimRight(data[k], "\r\n"); v != "" {
			return k, v
		}
	}
	return "", ""
}

// fromURI reads a URI as libpq and its many cousins (postgresql+asyncpg://) write it. Its host and port are not used; the package says why.
func fromURI(text string) (login, bool) {
	u, err := url.Parse(text)
	if err != nil || u.User == nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return login{}, false
	}
	q := u.Query()
	password, _ := u.User.Password()
	return login{
		username: cmp.Or(u.User.Username(), q.Get("user")), password: cmp.Or(password, q.Get("password")),
		database: strings.TrimPrefix(u.Path, "/"), sslmode: q.Get("sslmode"),
	}, true
}
