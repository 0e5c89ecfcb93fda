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

// ErrRefusedByPeer says that the other end did not accept this node's certificate.
// Why stands in its log: TLS tells no more than that.
var ErrRefusedByPeer = errors.New("the other end refuses this node's certificate; its log says why")

// Refused is told of a connection to another node that came to nothing because one
// of the two ends did not take the other for a node of its cluster. It is called
// from many goroutines at a time and must not block.
type Refused func(address string, err error)

// nodeConn is a connection whose peer has proved to be a node. Only accept and
// connect make one, so that holding one is the proof.
type nodeConn struct {
	*tls.Conn
	chain []*x509.Certificate
	// judged is told of the first failure to read; nil at the server's end.
	judged func(error) error
}

// Read implements net.Conn. In TLS 1.3 the client is done before the server has judged
// its certificate: when the server refuses it, the first read says so.
func (c *nodeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.judged != nil {
		err = c.judged(err)
	}
	return n, err
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
		return nil, fmt.Errorf("TLS handshake: %w", m.explain(err))
	}
	return accepted, nil
}

// dialer opens connections to other nodes.
type dialer struct {
	certificates *Certificates
	refused      Refused
	// open opens connections, over TCP if nil.
	open Dial
}

// Dial opens a connection to an address, host:port, that nothing is said on yet. It is called from many goroutines at
// a time and returns when ctx ends at the latest.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// handshake is connect, with what is refused reported.
func (d dialer) handshake(ctx context.Context, raw net.Conn, address, protocol, want string) (*nodeConn, error) {
	current := d.certificates.current.Load()
	connected, err := current.connect(ctx, raw, protocol, want)
	if err != nil {
		d.report(address, err)
		return nil, errors.Join(err, ignoreClosed(raw.Close()))
	}
	connected.judged = func(err error) error {
		err = current.explain(err)
		d.report(address, err)
		return err
	}
	return connected, nil
}

// report leaves out what only says that nobody is there.
func (d dialer) report(address string, err error) {
	var certificate *CertificateError
	var record tls.RecordHeaderError
	telling := errors.As(err, &certificate) || errors.As(err, &record) ||
		errors.Is(err, ErrRefusedByPeer) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrNoCertificate)
	if telling && d.refused != nil {
		d.refused(address, err)
	}
}

// explain says what an alert of the other end means. What this end knows to be wrong
// with its certificate by now is the likely reason.
func (m *material) explain(err error) error {
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" || errors.Is(err, ErrRefusedByPeer) {
		return err
	}
	if alert.Err.Error() == noProtocol {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if _, _, own := m.examine(); own != nil {
		err = fmt.Errorf("%w; this node's %w", err, own)
	}
	return fmt.Errorf("%w (%w)", ErrRefusedByPeer, err)
}

// noProtocol is the alert of a server that speaks none of the client's protocols.
const noProtocol = "tls: no application protocol"

// connect does the client's half. An empty want accepts any node. The caller
// closes raw on error.
func (m *material) connect(ctx context.Context, raw net.Conn, protocol, want string) (*nodeConn, error) {
	connected := &nodeConn{}
	config := m.config(func(presented []*x509.Certificate) (err error) {
		connected.chain, err = m.verifyNode(presented, x509.ExtKeyUsageServerAuth, want)
		return err
	}, protocol)
	connected.Conn = tls.Client(raw, config)
	if err := connected.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", m.explain(err))
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
		InsecureSkipVerify: true, //nolint:gosec // G402: VerifyConnection runs in every handshake instead
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates)
		},
		// A resumed session would outlive the certificate and the authority
		// that it was begun with.
		SessionTicketsDisabled: true,
	}
}

// dial opens a connection and does the client's half of the handshake on it.
func (d dialer) dial(ctx context.Context, address, protocol, want string) (*nodeConn, error) {
	open := d.open
	if open == nil {
		open = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	raw, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	return d.handshake(ctx, raw, address, protocol, want)
}

// ignoreClosed drops the one error of Close that says nothing new: a handshake
// that is cancelled has closed its connection.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
