package admit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Keys are what the guard is trusted by and serves with.
type Keys struct {
	cas     []*x509.Certificate // newest first; all are to be trusted
	caKey   *ecdsa.PrivateKey   // of the newest
	serving tls.Certificate
}

// How long certificates last. Each is renewed when a third of its time is left; the CA that signed the old one is trusted until it ends.
const (
	caLasts      = 2 * 365 * 24 * time.Hour
	servingLasts = 90 * 24 * time.Hour

	backdated = time.Hour // for clocks that are behind
)

// The entries of the Secret: those of a TLS Secret, and the CA's key.
const (
	caEntry    = "ca.crt"
	caKeyEntry = "ca.key"
	entry      = "tls.crt"
	keyEntry   = "tls.key"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// newKeys makes all of them.
func newKeys(hosts []string, now time.Time) (*Keys, error) {
	k, err := (&Keys{}).withCA(now)
	if err != nil {
		return nil, err
	}
	return k.withServing(hosts, now)
}

// withCA has a new CA besides those that still last.
func (k *Keys) withCA(now time.Time) (*Keys, error) {
	ca := template("drover-guard CA", now, caLasts)
	ca.IsCA, ca.KeyUsage, ca.MaxPathLenZero = true, x509.KeyUsageCertSign, true
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	made, err := sign(ca, ca, key, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	old := slices.DeleteFunc(slices.Clone(k.cas), func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	return &Keys{cas: append([]*x509.Certificate{made}, old...), caKey: key, serving: k.serving}, nil
}

// withServing has a new serving certificate, signed by the newest CA.
func (k *Keys) withServing(hosts []string, now time.Time) (*Keys, error) {
	want := template("drover-guard", now, servingLasts)
	want.DNSNames, want.KeyUsage, want.ExtKeyUsage = hosts, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a serving certificate: %w", err)
	}
	made, err := sign(want, k.cas[0], key, k.caKey)
	if err != nil {
		return nil, fmt.Errorf("make a serving certificate: %w", err)
	}
	return &Keys{cas: k.cas, caKey: k.caKey, serving: tls.Certificate{Certificate: [][]byte{made.Raw}, PrivateKey: key, Leaf: made}}, nil
}

func template(name string, now time.Time, lasts time.Duration) *x509.Certificate {
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("%s %x", name, serial[:4])},
		NotBefore: now.Add(-backdated).UTC(), NotAfter: now.Add(lasts).UTC(), BasicConstraintsValid: true,
	}
}

func sign(c, by *x509.Certificate, key, with *ecdsa.PrivateKey) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

// Bundle is the CAs to be trusted.
func (k *Keys) Bundle() []byte {
	var b bytes.Buffer
	for _, c := range k.cas {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return b.Bytes()
}

// caDue tells whether it is time for another CA, servingDue for another serving certificate.
func (k *Keys) caDue(now time.Time) bool { return due(k.cas[0], now) }

func (k *Keys) servingDue(hosts []string, now time.Time) bool {
	leaf := k.serving.Leaf
	return due(leaf, now) || !slices.Equal(leaf.DNSNames, hosts) || leaf.CheckSignatureFrom(k.cas[0]) != nil
}

func due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

// data is what the Secret holds of them.
func (k *Keys) data() (map[string][]byte, error) {
	caKey, err := x509.MarshalPKCS8PrivateKey(k.caKey)
	if err != nil {
		return nil, fmt.Errorf("CA's key: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(k.serving.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("serving key: %w", err)
	}
	return map[string][]byte{
		caEntry: k.Bundle(), caKeyEntry: pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: caKey}),
		entry:    pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: k.serving.Leaf.Raw}),
		keyEntry: pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: key}),
	}, nil
}

// parseKeys reads them from what a Secret holds. Nil is one that holds nothing of them yet.
func parseKeys(data map[string][]byte) (*Keys, error) {
	if len(data[caEntry])+len(data[caKeyEntry])+len(data[entry])+len(data[keyEntry]) == 0 {
		return nil, nil
	}
	cas, err := ParseBundle(data[caEntry])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caEntry, err)
	}
	key, err := parseKey(data[caKeyEntry])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caKeyEntry, err)
	}
	if !key.PublicKey.Equal(cas[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of the first certificate of %s", caKeyEntry, caEntry)
	}
	serving, err := tls.X509KeyPair(data[entry], data[keyEntry])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", entry, keyEntry, err)
	}
	return &Keys{cas: cas, caKey: key, serving: serving}, nil
}

// ParseBundle reads the certificates of a CA bundle: at least one.
func ParseBundle(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return out, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ours, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, want one of ECDSA", key)
	}
	return ours, nil
}
