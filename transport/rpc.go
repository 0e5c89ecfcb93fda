package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

var (
	errNotFromPort = errors.New("connection does not come from a Port, so nobody has verified its peer")
	errClientOnly  = errors.New("credentials are for dialling only")
	errServerOnly  = errors.New("credentials are for serving only")
)

// ServerCredentials returns the credentials of a gRPC server that serves
// Port.RPC, whose connections have their handshake behind them; it refuses any
// others. Handlers learn who calls from PeerNode. Safe for concurrent use.
func ServerCredentials() credentials.TransportCredentials { return serverCredentials{} }

// ClientCredentials returns the credentials for a gRPC connection to the node
// want, or to any node of the cluster if want is empty. Each new connection
// uses the certificates that are then current. What is refused and why stands
// in the text of the call's error, and is told refused, if that is not nil. Safe
// for concurrent use.
func (c *Certificates) ClientCredentials(want string, refused Refused) credentials.TransportCredentials {
	return clientCredentials{dialer: dialer{certificates: c, refused: refused}, want: want}
}

// PeerNode returns the id of the node that makes the call a gRPC handler is
// serving. It is false if there is no call, or if nobody has verified that the
// caller is a node.
func PeerNode(ctx context.Context) (id string, ok bool) {
	caller, ok := peer.FromContext(ctx)
	if !ok {
		return "", false
	}
	leaf := verifiedLeaf(caller.AuthInfo)
	if leaf == nil || checkNode(leaf, "") != nil {
		return "", false
	}
	identity, err := IdentityOf(leaf)
	return identity.Name, err == nil
}

// CheckPeer says whether the certificate of the other end of a call lets it claim to be
// the node id at a site. The error is a *CertificateError, or ErrNoCertificate if nobody
// has verified one.
func CheckPeer(other *peer.Peer, id, site string) error {
	leaf := verifiedLeaf(other.AuthInfo)
	if leaf == nil {
		return ErrNoCertificate
	}
	if err := checkNode(leaf, id); err != nil {
		return err
	}
	return checkSite(leaf, site)
}

func verifiedLeaf(auth credentials.AuthInfo) *x509.Certificate {
	info, ok := auth.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

// authInfo adds the chain that this package verified, since the TLS library,
// which was told to leave that to us, knows of none.
func (c *nodeConn) authInfo() credentials.TLSInfo {
	state := c.ConnectionState()
	state.VerifiedChains = [][]*x509.Certificate{c.chain}
	return credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}
}

type serverCredentials struct{ common }

func (serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*nodeConn)
	if !ok {
		return nil, nil, errors.Join(errNotFromPort, raw.Close())
	}
	return conn, conn.authInfo(), nil
}

func (serverCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errServerOnly
}

func (s serverCredentials) Clone() credentials.TransportCredentials { return s }

type clientCredentials struct {
	common
	dialer dialer
	want   string
}

func (c clientCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, err := c.dialer.handshake(ctx, raw, authority, ProtocolRPC, c.want)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to node at %s: %w", authority, err)
	}
	return conn, conn.authInfo(), nil
}

func (clientCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errClientOnly
}

func (c clientCredentials) Clone() credentials.TransportCredentials { return c }

type common struct{}

func (common) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// OverrideServerName has nothing to override: host names are not verified.
func (common) OverrideServerName(string) error { return nil }
