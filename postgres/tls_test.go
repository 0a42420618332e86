package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
)

// selfSigned makes a certificate that is its own authority.
func selfSigned(t *testing.T, until time.Time, ip string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stg"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.ParseIP(ip)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
}

// secured runs a server with a certificate for an address, its own where none is said, and pg_hba lines. It returns the certificate.
func secured(t *testing.T, until time.Time, ip string, hba ...string) (*server, string) {
	t.Helper()
	s := lay(t, map[string]string{"server.crt": "", "server.key": ""})
	if ip == "" {
		ip = s.ip
	}
	cert, key := selfSigned(t, until, ip)
	s.write("server.crt", cert)
	s.write("server.key", key)
	s.hba("host all " + master + " all scram-sha-256")
	s.run("ssl=on")
	s.sql("create role app login password 'p4ssword'")
	s.hba(append([]string{"host all " + master + " all scram-sha-256"}, hba...)...)
	s.sql("select pg_reload_conf()")
	s.eventually("knows its new rules", func() bool { return !strings.Contains(s.asked(app...).Why, "no pg_hba.conf entry") })
	return s, cert
}

func TestTLS(t *testing.T) {
	valid := time.Now().Add(time.Hour)
	other, _ := selfSigned(t, valid, "127.0.0.1")
	forced, cert := secured(t, valid, "", "hostssl all app all scram-sha-256")
	misnamed, its := secured(t, valid, "192.0.2.1", "hostssl all app all scram-sha-256")
	expired, old := secured(t, time.Now().Add(-time.Hour), "", "hostssl all app all scram-sha-256")
	without, _ := secured(t, valid, "", "hostnossl all app all scram-sha-256")
	clear, _ := secured(t, valid, "", "host all app all password")
	for _, tc := range []struct {
		name      string
		s         *server
		mode, ca  string
		works     bool
		want, not string
	}{
		{"preferred", forced, "", "", true, "answers", ""},
		{"preferred by name", forced, "prefer", "", true, "answers", ""},
		{"allowed", forced, "allow", "", true, "answers", ""},
		{"required", forced, "require", "", true, "answers", ""},
		{"forced by the server", forced, "disable", "", false, "demands TLS (rds.force_ssl), and sslmode disable in Secret stg/db leaves it out: set it to require", "p4ssword"},
		{"required, checked", forced, "require", cert, true, "answers", ""},
		{"required, of another authority", forced, "require", other, false, "a certificate of an authority that is not known", ""},
		{"of an unknown authority", forced, "verify-full", "", false, "put its certificate (RDS has a bundle of them) into key ca.crt of Secret stg/db", ""},
		{"certified", forced, "verify-ca", cert, true, "answers", ""},
		{"named", forced, "verify-full", cert, true, "answers", ""},
		{"certified, other name", misnamed, "verify-ca", its, true, "answers", ""},
		{"named, other name", misnamed, "verify-full", its, false, "a certificate for other names than " + misnamed.ip, ""},
		{"expired", expired, "verify-full", old, false, "a certificate that is not valid", ""},
		{"expired, unchecked", expired, "", "", true, "answers", ""},
		{"left out by the server", without, "", "", true, "answers", ""},
		{"left out, required", without, "require", "", false, `does not let user "app" in: no pg_hba.conf entry`, ""},
		{"in clear over TLS", clear, "", "", true, "answers", ""},
		{"in clear", clear, "disable", "", false, "asks for the password in clear on a connection without TLS, and was not told", "p4ssword"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := tc.s.asked(append([]string{"sslmode", tc.mode, "ca.crt", tc.ca}, app...)...)
			says(t, a, tc.works, tc.want)
			if tc.not != "" && strings.Contains(a.Why, tc.not) {
				t.Errorf("it says %q", a.Why)
			}
		})
	}
	says(t, (&Hand{}).Ask(t.Context(), forced.database(), fleet.DatabaseSpec{}), true, "took the connection")
}
