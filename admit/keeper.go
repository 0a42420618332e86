package admit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Vault is where the keys are: a Secret.
type Vault interface {
	// Read returns what it holds, and its version.
	Read(ctx context.Context) (data map[string][]byte, version string, err error)

	// Write replaces what it holds, if it is still of that version.
	Write(ctx context.Context, data map[string][]byte, version string) error
}

// Trust is whom the API server trusts when it calls the guard: the CA bundle of the webhook's configuration.
type Trust interface {
	Bundle(ctx context.Context) ([]byte, error)
	SetBundle(ctx context.Context, bundle []byte) error
}

// Keeper has the certificate that the guard serves with. One process at a time Keeps: makes and renews; every process Loads, and serves with what it
// has loaded last.
type Keeper struct {
	Vault Vault
	Trust Trust
	Hosts []string // names that the API server calls the guard by
	Now   func() time.Time

	serving atomic.Pointer[tls.Certificate]
}

// Keep does the next thing that is to be done about the keys, if any, and says what. A new CA is first trusted besides the old, and signs the serving
// certificate at the next call: leave API servers the time to hear of it.
func (k *Keeper) Keep(ctx context.Context) (did string, err error) {
	data, version, err := k.Vault.Read(ctx)
	if err != nil {
		return "", err
	}
	have, err := parseKeys(data)
	if err != nil {
		return "", fmt.Errorf("the guard's keys: %w; empty the Secret, and they are made anew", err)
	}
	now := k.Now()
	if have == nil {
		return "made the guard's keys", k.replace(ctx, version, func() (*Keys, error) { return newKeys(k.Hosts, now) })
	}
	trusted, err := k.Trust.Bundle(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case have.caDue(now):
		return "made another CA for the guard", k.replace(ctx, version, func() (*Keys, error) { return have.withCA(now) })
	case !bytes.Equal(trusted, have.Bundle()):
		return "had the API server trust the guard's CA", k.Trust.SetBundle(ctx, have.Bundle())
	case have.servingDue(k.Hosts, now):
		return "renewed the guard's serving certificate", k.replace(ctx, version, func() (*Keys, error) { return have.withServing(k.Hosts, now) })
	}
	return "", nil
}

// replace writes other keys, and has their CAs trusted.
func (k *Keeper) replace(ctx context.Context, version string, make func() (*Keys, error)) error {
	keys, err := make()
	if err != nil {
		return err
	}
	data, err := keys.data()
	if err != nil {
		return err
	}
	if err := k.Vault.Write(ctx, data, version); err != nil {
		return err
	}
	return k.Trust.SetBundle(ctx, keys.Bundle())
}

// Load takes what is there to serve with. Until somebody has made keys, there is nothing, and that is no error.
func (k *Keeper) Load(ctx context.Context) error {
	data, _, err := k.Vault.Read(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return fmt.Errorf("the guard's keys: %w", err)
	}
	if keys != nil {
		k.serving.Store(&keys.serving)
	}
	return nil
}

// LoadFrom takes tls.crt and tls.key of a folder, which somebody else keeps.
func (k *Keeper) LoadFrom(folder string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, entry), filepath.Join(folder, keyEntry))
	if err != nil {
		return fmt.Errorf("the guard's certificate in %s: %w", folder, err)
	}
	k.serving.Store(&pair)
	return nil
}

// Loaded tells whether there is anything to serve with.
func (k *Keeper) Loaded() bool { return k.serving.Load() != nil }

// Certificate is tls.Config's GetCertificate.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.serving.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("the guard has no certificate yet")
}
