package raftstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// Credentials give a member's certificate and the authorities that it believes.
// They are asked for each connection, so what they return may change at any time:
// new connections use the new ones.
type Credentials interface {
	Credentials() (own *tls.Certificate, roots *x509.CertPool, err error)
}

// A node's certificate has a URI caxton://node/<name> among its names. Clients have
// none, so a client's certificate lets nobody be a member.
const (
	nodeScheme = "caxton"
	nodeHost   = "node"
)

// secure makes a TLS connection of one that was dialled or accepted. The peer's
// certificate is looked at by judge, after the handshake: TLS would tell whoever is
// refused no reason.
func secure(ctx context.Context, conn net.Conn, c Credentials, dialled bool) (secured net.Conn, refusal string, err error) {
	own, roots, err := c.Credentials()
	if err != nil {
		return nil, "", fmt.Errorf("own certificate: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // a resumed session would skip the look at the certificate
	}
	t := tls.Server(conn, config)
	if dialled {
		t = tls.Client(conn, config)
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, "", fmt.Errorf("TLS: %w", err)
	}
	if err := judge(t.ConnectionState().PeerCertificates, roots); err != nil {
		return t, err.Error(), nil
	}
	return t, "", nil
}

// judge reports why a certificate is not that of a node of this cluster.
func judge(chain []*x509.Certificate, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	for _, u := range chain[0].URIs {
		if u.Scheme == nodeScheme && u.Host == nodeHost {
			return nil
		}
	}
	return fmt.Errorf("certificate of %q has no name %s://%s/…: it is not a node's", chain[0].Subject.CommonName, nodeScheme, nodeHost)
}
