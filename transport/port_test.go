package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

type address = string

// certificateCase is a peer's certificate and why it is refused, or nil.
type certificateCase struct {
	name string
	pair Pair
	want error
}

// certificateCases hold when accepting and when dialling.
func certificateCases(t *testing.T, authority *Authority) []certificateCase {
	t.Helper()
	past := Validity{From: time.Now().Add(-2 * time.Hour), For: time.Hour}
	future := Validity{From: time.Now().Add(time.Hour), For: time.Hour}
	foreign := newAuthority(t) // of the same name, to be told apart by its key
	return []certificateCase{
		{"node", custom(t, authority, hour, nil, "licet:node:lyon"), nil},
		{"node with a URI of another scheme", custom(t, authority, hour, nil, "spiffe://a/b", "licet:node:lyon"), nil},
		{"foreign authority", custom(t, foreign, hour, nil, "licet:node:lyon"), ErrForeignAuthority},
		{"expired", custom(t, authority, past, nil, "licet:node:lyon"), ErrExpired},
		{"not yet valid", custom(t, authority, future, nil, "licet:node:lyon"), ErrNotYetValid},
		{"client role", custom(t, authority, hour, nil, "licet:client:lyon"), ErrWrongRole},
		{"no role", custom(t, authority, hour, nil), ErrNoRole},
		{"role only in the common name", custom(t, authority, hour, func(c *x509.Certificate) {
			c.Subject.CommonName = "licet:node:lyon"
			c.DNSNames = []string{"node.licet"}
		}), ErrNoRole},
		{"two roles", custom(t, authority, hour, nil, "licet:node:lyon", "licet:client:lyon"), ErrSeveralRoles},
		{"two nodes", custom(t, authority, hour, nil, "licet:node:lyon", "licet:node:paris"), ErrSeveralRoles},
		{"unknown role", custom(t, authority, hour, nil, "licet:admin:lyon"), ErrUnknownRole},
		{"malformed node id", custom(t, authority, hour, nil, "licet:node:Lyon"), ErrUnknownRole},
		{"usage for neither end", custom(t, authority, hour, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}, "licet:node:lyon"), ErrUsage},
		{"the authority's own certificate", authority.Pair(), ErrNoRole},
	}
}

func TestPortAdmitsOnlyNodes(t *testing.T) {
	authority := newAuthority(t)
	for _, test := range certificateCases(t, authority) {
		t.Run(test.name, func(t *testing.T) {
			port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), nil)
			handedOn := acceptAll(port)
			refused := talk(t, port, stranger(t, &test.pair, ProtocolRaft))
			if test.want == nil {
				if got := receive(t, handedOn, "the connection"); got != ProtocolRaft {
					t.Fatalf("handed to %q", got)
				}
				return
			}
			if refused == nil {
				t.Error("peer was not told")
			}
			got := receive(t, rejections, "the rejection")
			wantRefusal(t, got.err, test.want, leaf(t, test.pair))
			must(t, port.Close())
			for protocol := range handedOn {
				t.Errorf("handed on to %q", protocol)
			}
		})
	}
}

// wantRefusal holds an error against its reason and the certificate it is about.
func wantRefusal(t *testing.T, err, want error, about *x509.Certificate) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	var refusal *CertificateError
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v holds no *CertificateError", err)
	}
	for _, part := range []string{
		about.Subject.String(), about.Issuer.String(),
		about.NotAfter.UTC().Format(time.RFC3339), describeRoles(urisOf(about, roleScheme)),
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

// acceptAll accepts on both sides until the port closes, and tells what came.
func acceptAll(port *Port) <-chan string {
	accepted := make(chan string, 256)
	var both sync.WaitGroup
	for protocol, listener := range map[string]net.Listener{ProtocolRaft: port.raft, ProtocolRPC: port.rpc} {
		both.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				accepted <- protocol
				_ = conn.Close()
			}
		})
	}
	go func() {
		both.Wait()
		close(accepted)
	}()
	return accepted
}

// talk connects and reads until the port hangs up, which EOF is and a refusal
// is not.
func talk(t *testing.T, port *Port, config *tls.Config) error {
	t.Helper()
	raw, err := net.Dial("tcp", port.Addr().String())
	must(t, err)
	defer raw.Close()
	must(t, raw.SetDeadline(time.Now().Add(patience)))
	_, err = tls.Client(raw, config).Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func TestPortTellsProtocolsApart(t *testing.T) {
	authority := newAuthority(t)
	pair := node(t, authority, "lyon")
	tests := []struct {
		name      string
		protocols []string
		newest    uint16
		handedTo  string
		want      string
	}{
		{"Raft", []string{ProtocolRaft}, 0, ProtocolRaft, ""},
		{"RPC", []string{ProtocolRPC}, 0, ProtocolRPC, ""},
		{"RPC among others", []string{"x", ProtocolRPC, "http/1.1"}, 0, ProtocolRPC, ""},
		{"none", nil, 0, "", ErrProtocol.Error()},
		{"another", []string{"licet-raft/2"}, 0, "", "unsupported application protocols"},
		{"HTTP/1.1", []string{"http/1.1"}, 0, "", ErrProtocol.Error()},
		{"TLS 1.2", []string{ProtocolRaft}, tls.VersionTLS12, "", "unsupported versions"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), nil)
			handedOn := acceptAll(port)
			config := stranger(t, &pair, test.protocols...)
			config.MaxVersion = test.newest
			_ = talk(t, port, config)
			if test.handedTo != "" {
				if got := receive(t, handedOn, "the connection"); got != test.handedTo {
					t.Fatalf("handed to %q, want %q", got, test.handedTo)
				}
				return
			}
			if got := receive(t, rejections, "the rejection"); !strings.Contains(got.err.Error(), test.want) {
				t.Errorf("rejected with %v, want %q", got.err, test.want)
			}
			must(t, port.Close())
			for protocol := range handedOn {
				t.Errorf("handed on to %q", protocol)
			}
		})
	}
}

func TestPortRefusesWithoutCertificate(t *testing.T) {
	authority := newAuthority(t)
	port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	if talk(t, port, stranger(t, nil, ProtocolRaft)) == nil {
		t.Error("peer was not told")
	}
	if got := receive(t, rejections, "the rejection"); !strings.Contains(got.err.Error(), "certificate") {
		t.Errorf("rejected with %v", got.err)
	}
}

// tickets counts the sessions that a client is given to resume.
type tickets struct{ given int }

func (s *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (s *tickets) Put(string, *tls.ClientSessionState)        { s.given++ }

func TestPortLetsNoSessionOutliveItsCertificate(t *testing.T) {
	authority := newAuthority(t)
	port, _ := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	handedOn := acceptAll(port)
	pair := node(t, authority, "lyon")
	config, session := stranger(t, &pair, ProtocolRaft), &tickets{}
	config.ClientSessionCache, config.ServerName = session, "paris"
	must(t, talk(t, port, config))
	receive(t, handedOn, "the connection")
	if session.given != 0 {
		t.Errorf("gave %d sessions to resume", session.given)
	}
}

func TestPortRefusesWhatIsNotTLS(t *testing.T) {
	for _, test := range []struct{ name, sent string }{
		{"nothing", ""},
		{"zeros", strings.Repeat("\x00", 64)},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"a Raft message", "\x01\x8a\xa4Term\x01"},
		{"an oversized record", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<17)},
		{"half a hello", "\x16\x03\x01\x02\x00\x01\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			authority := newAuthority(t)
			port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), nil)
			raw, err := net.Dial("tcp", port.Addr().String())
			must(t, err)
			_, _ = io.WriteString(raw, test.sent) // the port may have hung up already
			_ = raw.Close()
			got := receive(t, rejections, "the rejection")
			if got.err == nil || got.remote.String() != raw.LocalAddr().String() {
				t.Errorf("got %v from %v, want an error from %v", got.err, got.remote, raw.LocalAddr())
			}
			if len(port.raft.waiting)+len(port.rpc.waiting) != 0 {
				t.Error("handed on")
			}
		})
	}
}

func TestPortEndsSlowHandshakes(t *testing.T) {
	for _, test := range []struct{ name, sent string }{
		{"silent", ""},
		{"half a hello", "\x16\x03\x01\x02\x00\x01\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			authority := newAuthority(t)
			port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), func(o *Options) {
				o.HandshakeTimeout = 20 * time.Millisecond
			})
			raw, err := net.Dial("tcp", port.Addr().String())
			must(t, err)
			closeAtEnd(t, raw)
			_, err = io.WriteString(raw, test.sent)
			must(t, err)
			if got := receive(t, rejections, "the rejection"); !errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("rejected with %v", got.err)
			}
			must(t, raw.SetReadDeadline(time.Now().Add(patience)))
			if _, err := raw.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("read %v, want the connection closed", err)
			}
		})
	}
}

func TestHandshakeTimeoutEndsWithTheHandshake(t *testing.T) {
	authority := newAuthority(t)
	port, _ := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	layer := NewRaftLayer[address](port, RaftOptions{})
	closeAtEnd(t, layer)
	dialled, err := layer.Dial(port.Addr().String(), time.Minute)
	must(t, err)
	accepted, err := layer.Accept()
	must(t, err)
	// A deadline left on the connection, or the cancelled context of the
	// handshake, would show in either direction.
	echo(t, dialled, accepted, "there")
	echo(t, accepted, dialled, "and back")
}

// scripted is a listener that tells when it is asked and answers as it is told.
type scripted struct {
	net.Listener
	events  chan string
	answers chan any
	once    sync.Once
	done    chan struct{}
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return &scripted{Listener: listener, events: make(chan string, 64), answers: make(chan any), done: make(chan struct{})}
}

func (s *scripted) Accept() (net.Conn, error) {
	s.events <- "accept"
	select {
	case answer := <-s.answers:
		if err, ok := answer.(error); ok {
			return nil, err
		}
		return answer.(net.Conn), nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *scripted) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.Listener.Close()
}

func TestPortBoundsConcurrentHandshakes(t *testing.T) {
	listener := newScripted(t)
	port := NewPort(listener, Options{
		Certificates:     nodeCertificates(t, newAuthority(t), "paris"),
		HandshakeTimeout: time.Hour,
		MaxHandshakes:    2,
		Rejected:         func(net.Addr, error) { listener.events <- "rejected" },
	})
	closeAtEnd(t, port)
	ours := make([]net.Conn, 2)
	for i := range ours {
		var theirs net.Conn
		ours[i], theirs = net.Pipe()
		closeAtEnd(t, ours[i])
		if got := receive(t, listener.events, "accept"); got != "accept" {
			t.Fatalf("got %s", got)
		}
		listener.answers <- theirs
	}
	must(t, ours[0].Close())
	for _, want := range []string{"rejected", "accept"} {
		if got := receive(t, listener.events, want); got != want {
			t.Fatalf("got %s before %s", got, want)
		}
	}
}

func TestPortSurvivesFailureToAccept(t *testing.T) {
	listener := newScripted(t)
	rejections := make(chan rejection, 8)
	port := NewPort(listener, Options{
		Certificates: nodeCertificates(t, newAuthority(t), "paris"),
		Rejected:     func(remote net.Addr, err error) { rejections <- rejection{remote, err} },
	})
	closeAtEnd(t, port)
	full := errors.New("too many open files")
	listener.answers <- full
	if got := receive(t, rejections, "the report"); got.remote != nil || !errors.Is(got.err, full) {
		t.Fatalf("got %v from %v", got.err, got.remote)
	}
	ours, theirs := net.Pipe()
	select {
	case listener.answers <- theirs:
	case <-time.After(patience):
		t.Fatal("port does not accept any more")
	}
	must(t, ours.Close())
	receive(t, rejections, "the end of the second connection")
}

func TestPortEndsWhenItsListenerDoes(t *testing.T) {
	authority := newAuthority(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := NewPort(listener, Options{Certificates: nodeCertificates(t, authority, "paris")})
	closeAtEnd(t, port)
	must(t, listener.Close())
	for _, side := range []net.Listener{port.raft, port.rpc} {
		if _, err := side.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestFullBacklogHoldsUpOnlyItself(t *testing.T) {
	authority := newAuthority(t)
	certificates := nodeCertificates(t, authority, "paris")
	port, rejections := openPort(t, certificates, nil)
	for range maxBacklog + 1 {
		conn, err := dialer{certificates: certificates}.dial(t.Context(), port.Addr().String(), ProtocolRaft, "")
		must(t, err)
		closeAtEnd(t, conn)
	}
	if got := receive(t, rejections, "the rejection"); !errors.Is(got.err, ErrBacklogFull) {
		t.Fatalf("rejected with %v", got.err)
	}
	conn, err := dialer{certificates: certificates}.dial(t.Context(), port.Addr().String(), ProtocolRPC, "")
	must(t, err)
	closeAtEnd(t, conn)
	accepted, err := port.RPC().Accept()
	must(t, err)
	closeAtEnd(t, accepted)
	echo(t, conn, accepted, "still here")
}

func TestClosingOneSideLeavesTheOther(t *testing.T) {
	authority := newAuthority(t)
	certificates := nodeCertificates(t, authority, "paris")
	port, rejections := openPort(t, certificates, nil)
	must(t, port.RPC().Close())
	if _, err := port.RPC().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	refused, err := dialer{certificates: certificates}.dial(t.Context(), port.Addr().String(), ProtocolRPC, "")
	must(t, err)
	closeAtEnd(t, refused)
	receive(t, rejections, "the rejection")
	conn, err := dialer{certificates: certificates}.dial(t.Context(), port.Addr().String(), ProtocolRaft, "")
	must(t, err)
	closeAtEnd(t, conn)
	accepted, err := port.raft.Accept()
	must(t, err)
	closeAtEnd(t, accepted)
	echo(t, conn, accepted, "still here")
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	authority := newAuthority(t)
	certificates := nodeCertificates(t, authority, "paris")
	port, rejections := openPort(t, certificates, func(o *Options) { o.HandshakeTimeout = time.Hour })
	ends := []net.Conn{}
	for range 3 { // in their handshake
		raw, err := net.Dial("tcp", port.Addr().String())
		must(t, err)
		ends = append(ends, raw)
	}
	for _, protocol := range []string{ProtocolRaft, ProtocolRPC} { // handed on, not accepted
		conn, err := dialer{certificates: certificates}.dial(t.Context(), port.Addr().String(), protocol, "")
		must(t, err)
		ends = append(ends, conn)
	}
	blocked := acceptAll(port)
	must(t, port.Close())
	must(t, port.Close())
	for range blocked {
		continue // until both sides have ended
	}
	for _, conn := range ends {
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("connection still open: %v", err)
		}
		_ = conn.Close()
	}
	if len(rejections) != 0 {
		t.Errorf("reported as rejection what closing did: %v", (<-rejections).err)
	}
	if _, err := net.Dial("tcp", port.Addr().String()); err == nil {
		t.Error("port still open")
	}
	goleak.VerifyNone(t, before)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestListenNamesTheAddress(t *testing.T) {
	authority := newAuthority(t)
	port, _ := openPort(t, nodeCertificates(t, authority, "paris"), nil)
	_, err := Listen(t.Context(), port.Addr().String(), Options{})
	if err == nil || !strings.Contains(err.Error(), port.Addr().String()) {
		t.Errorf("got %v", err)
	}
}
