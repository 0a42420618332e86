package plane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// certLife is how long what we sign is valid. A sandbox that lives longer
	// makes a new authority when it is next started.
	certLife = 365 * 24 * time.Hour

	// certReserve is the validity an authority must have left to be used once
	// more: a sandbox may run for days after its start.
	certReserve = 30 * 24 * time.Hour
)

// authority signs every certificate of one plane. Its files lie in dir, and stay
// there from one run to the next: what a client was given remains good.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// subject is whom a certificate names.
type subject struct {
	name  string
	group string // the Kubernetes group of a client
	hosts []string
	ips   []net.IP
}

// keyPair names the two files of a certificate.
type keyPair struct{ cert, key string }

// openAuthority reads the authority that dir holds, or makes one there when it
// holds none or one about to expire.
func openAuthority(dir string, now time.Time) (*authority, error) {
	a := &authority{dir: dir}
	err := a.read()
	if err == nil && now.Add(certReserve).Before(a.cert.NotAfter) {
		return a, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return a, a.create(now)
}

func (a *authority) caFile() string { return filepath.Join(a.dir, "ca.crt") }

func (a *authority) read() error {
	certPEM, err := os.ReadFile(a.caFile())
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if a.key, err = readKey(filepath.Join(a.dir, "ca.key")); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return fmt.Errorf("certificate authority: %s: no PEM block", a.caFile())
	}
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("certificate authority: %s: %w", a.caFile(), err)
	}
	return nil
}

func (a *authority) create(now time.Time) error {
	key, err := newKey(filepath.Join(a.dir, "ca.key"))
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	template := certTemplate(subject{name: "drover-sandbox"}, now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	a.key = key
	return writePEM(a.caFile(), "CERTIFICATE", der)
}

// issue writes <file>.crt and <file>.key, good for both ends of a connection.
func (a *authority) issue(file string, s subject, now time.Time) (keyPair, error) {
	pair := keyPair{cert: filepath.Join(a.dir, file+".crt"), key: filepath.Join(a.dir, file+".key")}
	key, err := newKey(pair.key)
	if err != nil {
		return pair, fmt.Errorf("certificate %s: %w", s.name, err)
	}
	der, err := a.sign(s, key.Public(), now)
	if err != nil {
		return pair, err
	}
	return pair, writePEM(pair.cert, "CERTIFICATE", der)
}

func (a *authority) sign(s subject, public crypto.PublicKey, now time.Time) ([]byte, error) {
	template := certTemplate(s, now)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", s.name, err)
	}
	return der, nil
}

func certTemplate(s subject, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no randomness: nothing we made would be safe
	}
	name := pkix.Name{CommonName: s.name}
	if s.group != "" {
		name.Organization = []string{s.group}
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      name,
		DNSNames:     s.hosts,
		IPAddresses:  s.ips,
		NotBefore:    now.Add(-time.Hour), // a neighbour's clock may lag
		NotAfter:     now.Add(certLife),
	}
}

// keepKey returns the file of a private key, made if it was not there.
func keepKey(file string) error {
	if _, err := readKey(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := newKey(file)
	return err
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(file, "EC PRIVATE KEY", der)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", file)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
