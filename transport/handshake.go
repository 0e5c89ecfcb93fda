package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// The ALPN names of what shares the port.
const (
	ProtocolRaft = "licet-raft/1"
	ProtocolRPC  = "h2"
)

// ErrProtocol says that the two ends agreed on no protocol that this end serves
// or asked for.
var ErrProtocol = errors.New("no protocol of licet's was agreed on")

const defaultHandshakeTimeout = 10 * time.Second

// nodeConn is a connection whose peer has proved to be a node. Only accept and
// connect make one, so that holding one is the proof.
type nodeConn struct {
	*tls.Conn
	chain []*x509.Certificate
}

// accept does the server's half of the handshake. The caller closes raw on error.
func (m *material) accept(ctx context.Context, raw net.Conn) (*nodeConn, error) {
	accepted := &nodeConn{}
	config := m.config(func(presented []*x509.Certificate) (err error) {
		accepted.chain, err = m.verifyNode(presented, x509.ExtKeyUsageClientAuth, "")
		return err
	}, ProtocolRaft, ProtocolRPC)
	accepted.Conn = tls.Server(raw, config)
	if err := accepted.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return accepted, nil
}

// connect does the client's half. An empty want accepts any node. The caller
// closes raw on error.
//
// In TLS 1.3 the client is done before the server has judged its certificate:
// when the server refuses it, the first read says so.
func (m *material) connect(ctx context.Context, raw net.Conn, protocol, want string) (*nodeConn, error) {
	connected := &nodeConn{}
	config := m.config(func(presented []*x509.Certificate) (err error) {
		connected.chain, err = m.verifyNode(presented, x509.ExtKeyUsageServerAuth, want)
		return err
	}, protocol)
	connected.Conn = tls.Client(raw, config)
	if err := connected.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if agreed := connected.ConnectionState().NegotiatedProtocol; agreed != protocol {
		return nil, fmt.Errorf("%w: wanted %q, got %q", ErrProtocol, protocol, agreed)
	}
	return connected, nil
}

// config is made anew for each connection, from one material, for verify to
// leave its findings with the connection that they are about.
func (m *material) config(verify func([]*x509.Certificate) error, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &m.own, nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &m.own, nil
		},
		// The library's verification knows neither roles nor what to tell the
		// operator, and on the client's side insists on host names. It is
		// replaced, not dropped: VerifyConnection runs in every handshake,
		// before either end is handed the connection.
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates)
		},
		// A resumed session would outlive the certificate and the authority
		// that it was begun with.
		SessionTicketsDisabled: true,
	}
}

// dial opens a TCP connection and does the client's half of the handshake on it.
func (c *Certificates) dial(ctx context.Context, address, protocol, want string) (*nodeConn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	connected, err := c.current.Load().connect(ctx, raw, protocol, want)
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(raw.Close()))
	}
	return connected, nil
}

// ignoreClosed drops the one error of Close that says nothing new: a handshake
// that is cancelled has closed its connection.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
