package plane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// streamsClient is the name of the API server where it asks for exec, port-forward
// and logs. Nobody else has a certificate of that name.
const streamsClient = "drover-sandbox-apiserver"

// MachineTLS is what a machine that is no kubelet serves streams of its pods with
// at an address. The API server knows it by the certificate, and is the only one
// that it lets in.
func (p *Plane) MachineTLS(address net.IP) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate of machine %s: %w", address, err)
	}
	der, err := p.ca.sign(subject{name: "drover-sandbox-machine", ips: []net.IP{address}}, key.Public(), time.Now())
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AddCert(p.ca.cert)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		VerifyConnection: func(s tls.ConnectionState) error {
			if name := s.PeerCertificates[0].Subject.CommonName; name != streamsClient {
				return fmt.Errorf("client %q is not the API server", name)
			}
			return nil
		},
	}, nil
}
