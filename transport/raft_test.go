package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

var _ raft.StreamLayer = (*RaftLayer[raft.ServerAddress])(nil)

func openLayer(t *testing.T, certificates *Certificates, options RaftOptions) *RaftLayer[raft.ServerAddress] {
	t.Helper()
	port, _ := openPort(t, certificates, nil)
	layer := NewRaftLayer[raft.ServerAddress](port, options)
	closeAtEnd(t, layer)
	return layer
}

func TestRaftSpeaksOverTheLayer(t *testing.T) {
	before := goleak.IgnoreCurrent()
	authority := newAuthority(t)
	open := func(id string) (*raft.NetworkTransport, *Port) {
		port, _ := openPort(t, nodeCertificates(t, authority, id), nil)
		layer := NewRaftLayer[raft.ServerAddress](port, RaftOptions{})
		return raft.NewNetworkTransport(layer, 2, patience, io.Discard), port
	}
	lyon, lyonPort := open("lyon")
	paris, parisPort := open("paris")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		call := <-paris.Consumer()
		call.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
	}()
	var response raft.RequestVoteResponse
	err := lyon.RequestVote("paris", paris.LocalAddr(), &raft.RequestVoteRequest{Term: 7}, &response)
	must(t, err)
	if !response.Granted || response.Term != 7 {
		t.Errorf("got %+v", response)
	}
	receive(t, answered, "the answer")
	// Raft's transport closes only its layer, not its connections, be they
	// pooled or served. The one that serves is closed first.
	for _, closer := range []io.Closer{paris, lyon, lyonPort, parisPort} {
		must(t, closer.Close())
	}
	goleak.VerifyNone(t, before)
}

// impostor is a TLS server under no rule of this package.
func impostor(t *testing.T, config *tls.Config) raft.ServerAddress {
	t.Helper()
	config.ClientAuth = tls.RequestClientCert
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return raft.ServerAddress(listener.Addr().String())
}

// dialOnce keeps no connection, for impostors end only when theirs do.
func dialOnce(layer *RaftLayer[raft.ServerAddress], address raft.ServerAddress) error {
	conn, err := layer.Dial(address, patience)
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestDialTalksOnlyToNodes(t *testing.T) {
	authority := newAuthority(t)
	layer := openLayer(t, nodeCertificates(t, authority, "paris"), RaftOptions{})
	for _, test := range certificateCases(t, authority) {
		t.Run(test.name, func(t *testing.T) {
			err := dialOnce(layer, impostor(t, stranger(t, &test.pair, ProtocolRaft)))
			if test.want == nil {
				must(t, err)
				return
			}
			wantRefusal(t, err, test.want, leaf(t, test.pair))
		})
	}
}

func TestDialRefusesOtherProtocols(t *testing.T) {
	authority := newAuthority(t)
	layer := openLayer(t, nodeCertificates(t, authority, "paris"), RaftOptions{})
	pair := node(t, authority, "lyon")
	err := dialOnce(layer, impostor(t, stranger(t, &pair)))
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("server without ALPN: got %v", err)
	}
	if err = dialOnce(layer, impostor(t, stranger(t, &pair, "h2"))); err == nil {
		t.Error("server with h2 alone: dialled")
	}
	old := stranger(t, &pair, ProtocolRaft)
	old.MaxVersion = tls.VersionTLS12
	if err = dialOnce(layer, impostor(t, old)); err == nil {
		t.Error("server with TLS 1.2: dialled")
	}
}

func TestDialRefusesAnotherNodeThanTheOneKnown(t *testing.T) {
	authority := newAuthority(t)
	pair := node(t, authority, "lyon")
	at := impostor(t, stranger(t, &pair, ProtocolRaft))
	for _, test := range []struct {
		known string
		want  error
	}{{"", nil}, {"lyon", nil}, {"bordeaux", ErrWrongNode}, {"lyo", ErrWrongNode}} {
		layer := openLayer(t, nodeCertificates(t, authority, "paris"), RaftOptions{
			NodeAt: func(address string) string {
				if address != string(at) {
					t.Errorf("asked for %q", address)
				}
				return test.known
			},
		})
		err := dialOnce(layer, at)
		if test.want == nil {
			must(t, err)
			continue
		}
		wantRefusal(t, err, test.want, leaf(t, pair))
	}
}

func TestDialHonoursItsTimeout(t *testing.T) {
	authority := newAuthority(t)
	layer := openLayer(t, nodeCertificates(t, authority, "paris"), RaftOptions{})
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody answers
	must(t, err)
	closeAtEnd(t, silent)
	if _, err := layer.Dial(raft.ServerAddress(silent.Addr().String()), 20*time.Millisecond); !isTimeout(err) {
		t.Errorf("got %v", err)
	}
}

func TestClosingTheLayerEndsEverythingOfIt(t *testing.T) {
	authority := newAuthority(t)
	lyon := openLayer(t, nodeCertificates(t, authority, "lyon"), RaftOptions{})
	paris := openLayer(t, nodeCertificates(t, authority, "paris"), RaftOptions{})
	dialled, err := paris.Dial(raft.ServerAddress(lyon.Addr().String()), patience)
	must(t, err)
	accepted, err := lyon.Accept()
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	closeAtEnd(t, silent)
	dialling := make(chan error, 1)
	go func() {
		_, err := lyon.Dial(raft.ServerAddress(silent.Addr().String()), time.Hour)
		dialling <- err
	}()
	reached, err := silent.Accept()
	must(t, err)
	closeAtEnd(t, reached)

	must(t, lyon.Close())
	must(t, lyon.Close())
	if err := receive(t, dialling, "the end of Dial"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial under way: %v", err)
	}
	if _, err := lyon.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := lyon.Dial(raft.ServerAddress(paris.Addr().String()), patience); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial: %v", err)
	}
	for _, conn := range []net.Conn{dialled, accepted} {
		must(t, ignoreClosed(conn.SetReadDeadline(time.Now().Add(patience))))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("connection still open: %v", err)
		}
		_ = conn.Close()
	}
	if left := len(paris.open.conns); left != 0 {
		t.Errorf("%d closed connections are still remembered", left)
	}
}

func TestLayerAdvertises(t *testing.T) {
	certificates := nodeCertificates(t, newAuthority(t), "paris")
	layer := openLayer(t, certificates, RaftOptions{Advertise: "paris.example:7101"})
	if got := layer.Addr(); got.String() != "paris.example:7101" || got.Network() != "tcp" {
		t.Errorf("got %s %s", got.Network(), got)
	}
	port, _ := openPort(t, certificates, nil)
	if got := NewRaftLayer[raft.ServerAddress](port, RaftOptions{}).Addr(); got.String() != port.Addr().String() {
		t.Errorf("without: got %s", got)
	}
}
