package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
)

// callers is a gRPC service that notes who calls.
type callers struct {
	health.UnimplementedHealthServer
	seen chan string
}

func (c *callers) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	id, ok := PeerNode(ctx)
	if !ok {
		id = "nobody"
	}
	c.seen <- id
	return &health.HealthCheckResponse{}, nil
}

func serveRPC(t *testing.T, listener net.Listener) <-chan string {
	t.Helper()
	service := &callers{seen: make(chan string, 16)}
	server := grpc.NewServer(grpc.Creds(ServerCredentials()))
	health.RegisterHealthServer(server, service)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return service.seen
}

func call(t *testing.T, address string, with credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(with))
	must(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{})
	return err
}

func TestCallsKnowTheirPeer(t *testing.T) {
	authority := newAuthority(t)
	port, _ := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	seen := serveRPC(t, port.RPC())
	for _, id := range []string{"lyon", "bordeaux"} {
		for _, want := range []string{"", "paris"} {
			must(t, call(t, port.Addr().String(), nodeCertificates(t, authority, id).ClientCredentials(want, nil)))
			if got := receive(t, seen, "the call"); got != id {
				t.Errorf("server saw %q, want %q", got, id)
			}
		}
	}
}

func TestCallsReachOnlyTheNodeMeant(t *testing.T) {
	authority := newAuthority(t)
	port, _ := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	seen := serveRPC(t, port.RPC())
	err := call(t, port.Addr().String(), nodeCertificates(t, authority, "lyon").ClientCredentials("bordeaux", nil))
	for _, part := range []string{ErrWrongNode.Error(), "bordeaux", "licet:node:paris"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want it to mention %q", err, part)
		}
	}
	if len(seen) != 0 {
		t.Error("call arrived")
	}
}

func TestCallsReachOnlyNodes(t *testing.T) {
	authority := newAuthority(t)
	with := nodeCertificates(t, authority, "paris").ClientCredentials("", nil)
	for _, test := range certificateCases(t, authority) {
		if test.want == nil {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			err := call(t, string(impostor(t, stranger(t, &test.pair, ProtocolRPC))), with)
			if err == nil || !strings.Contains(err.Error(), test.want.Error()) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestServerCredentialsRefuseWhatNoPortVerified(t *testing.T) {
	authority := newAuthority(t)
	pair := node(t, authority, "lyon")
	config := stranger(t, &pair, ProtocolRPC)
	config.ClientAuth = tls.RequireAnyClientCert
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(t, err)
	seen := serveRPC(t, listener)
	if err := call(t, listener.Addr().String(), nodeCertificates(t, authority, "paris").ClientCredentials("", nil)); err == nil {
		t.Error("served")
	}
	if len(seen) != 0 {
		t.Error("call arrived")
	}
}

func TestPeerNodeTrustsOnlyWhatWasVerified(t *testing.T) {
	authority := newAuthority(t)
	unverified := credentials.TLSInfo{}
	unverified.State.PeerCertificates = []*x509.Certificate{leaf(t, node(t, authority, "lyon"))}
	client := credentials.TLSInfo{}
	pair, err := authority.IssueClient("desk", hour)
	must(t, err)
	client.State.VerifiedChains = [][]*x509.Certificate{{leaf(t, pair)}}
	for name, ctx := range map[string]context.Context{
		"no call":                t.Context(),
		"no credentials":         peer.NewContext(t.Context(), &peer.Peer{}),
		"insecure":               peer.NewContext(t.Context(), &peer.Peer{AuthInfo: insecureInfo(t)}),
		"unverified certificate": peer.NewContext(t.Context(), &peer.Peer{AuthInfo: unverified}),
		"client":                 peer.NewContext(t.Context(), &peer.Peer{AuthInfo: client}),
	} {
		if id, ok := PeerNode(ctx); ok || id != "" {
			t.Errorf("%s: got %q, %t", name, id, ok)
		}
	}
}

func insecureInfo(t *testing.T) credentials.AuthInfo {
	t.Helper()
	ours, theirs := net.Pipe()
	closeAtEnd(t, ours)
	closeAtEnd(t, theirs)
	_, info, err := insecure.NewCredentials().ServerHandshake(theirs)
	must(t, err)
	return info
}

func TestCredentialsServeOneEnd(t *testing.T) {
	ours, theirs := net.Pipe()
	closeAtEnd(t, ours)
	closeAtEnd(t, theirs)
	if _, _, err := ServerCredentials().ClientHandshake(t.Context(), "", ours); err == nil {
		t.Error("server's credentials dial")
	}
	client := nodeCertificates(t, newAuthority(t), "paris").ClientCredentials("", nil)
	if _, _, err := client.ServerHandshake(ours); err == nil {
		t.Error("client's credentials serve")
	}
}
