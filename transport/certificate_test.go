package transport

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLoadNamesTheFileThatIsWrong(t *testing.T) {
	authority := newAuthority(t)
	good, other := node(t, authority, "lyon"), node(t, authority, "paris")
	past := Validity{From: time.Now().Add(-2 * time.Hour), For: time.Hour}
	client, err := authority.IssueClient("desk", hour)
	must(t, err)
	write := func(content []byte) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			t.Helper()
			must(t, os.WriteFile(file, content, 0o600))
		}
	}
	remove := func(t *testing.T, file string) {
		t.Helper()
		must(t, os.Remove(file))
	}
	const ca, certificate, key = "ca.pem", "node.pem", "node-key.pem"
	tests := []struct {
		name  string
		file  string // is broken and must be named
		wreck func(*testing.T, string)
		want  error
	}{
		{"no authority", ca, remove, fs.ErrNotExist},
		{"no certificate", certificate, remove, fs.ErrNotExist},
		{"no key", key, remove, fs.ErrNotExist},
		{"empty authority", ca, write(nil), nil},
		{"empty certificate", certificate, write(nil), nil},
		{"empty key", key, write(nil), nil},
		{"authority is not PEM", ca, write([]byte("ca")), nil},
		{"authority is a key", ca, write(good.Key), nil},
		{"authority is damaged", ca, write([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), nil},
		{"authority is a node", ca, write(good.Certificate), errNotAuthority},
		{"authority and then a node", ca, write(append(authority.Pair().Certificate, good.Certificate...)), errNotAuthority},
		{"another authority", ca, write(newAuthority(t).Pair().Certificate), ErrForeignAuthority},
		{"another certificate's key", key, write(other.Key), nil},
		{"expired", certificate, write(reissued(t, authority, past, good, "licet:node:lyon").Certificate), ErrExpired},
		{"no role", certificate, write(reissued(t, authority, hour, good).Certificate), ErrNoRole},
		{"client", certificate, write(client.Certificate), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			directory := t.TempDir()
			files := install(t, directory, authority.Pair().Certificate, good)
			test.wreck(t, filepath.Join(directory, test.file))
			_, err := LoadCertificates(files)
			if err == nil {
				t.Fatal("loaded")
			}
			// A certificate that does not fit its authority is reported as the
			// certificate's: which of the two is wrong cannot be known.
			named := test.file
			if errors.Is(test.want, ErrForeignAuthority) {
				named = certificate
			}
			if !strings.Contains(err.Error(), filepath.Join(directory, named)) {
				t.Errorf("error %q does not name %s", err, named)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestLoadRefusesWhatPeersWould(t *testing.T) {
	authority := newAuthority(t)
	for _, test := range certificateCases(t, authority) {
		t.Run(test.name, func(t *testing.T) {
			_, err := LoadCertificates(install(t, t.TempDir(), authority.Pair().Certificate, test.pair))
			if test.want == nil {
				must(t, err)
				return
			}
			wantRefusal(t, err, test.want, leaf(t, test.pair))
		})
	}
}

func TestLoadAsksForBothUsages(t *testing.T) {
	authority := newAuthority(t)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		pair := custom(t, authority, hour, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }, "licet:node:lyon")
		if _, err := LoadCertificates(install(t, t.TempDir(), authority.Pair().Certificate, pair)); !errors.Is(err, ErrUsage) {
			t.Errorf("usage %d alone: got %v", usage, err)
		}
	}
}

func TestExpiredAuthorityIsNamedAsTheReason(t *testing.T) {
	authority, err := NewAuthority("old", Validity{From: time.Now().Add(-2 * time.Hour), For: time.Hour})
	must(t, err)
	// The certificate is made to outlive its authority, which certify prevents.
	renewed := *authority.certificate
	renewed.NotAfter = time.Now().Add(time.Hour)
	pair := custom(t, &Authority{certificate: &renewed, key: authority.key}, hour, nil, "licet:node:lyon")
	_, err = LoadCertificates(install(t, t.TempDir(), authority.Pair().Certificate, pair))
	if !errors.Is(err, ErrAuthorityInvalid) {
		t.Errorf("got %v", err)
	}
}

// reissued certifies the key of a pair once more.
func reissued(t *testing.T, authority *Authority, validity Validity, pair Pair, uris ...string) Pair {
	t.Helper()
	block, _ := pem.Decode(pair.Key)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	template := leaf(t, custom(t, authority, validity, nil, uris...))
	renewed, err := sign(template, authority.certificate, key.(crypto.Signer), authority.key)
	must(t, err)
	return renewed
}

func TestIdentityAndExpiry(t *testing.T) {
	authority := newAuthority(t)
	pair := node(t, authority, "lyon")
	certificates := load(t, authority, pair)
	if got := certificates.Identity(); got != (Identity{Role: RoleNode, Name: "lyon"}) {
		t.Errorf("identity %v", got)
	}
	if got, want := certificates.NotAfter(), leaf(t, pair).NotAfter; !got.Equal(want) {
		t.Errorf("expiry %s, want %s", got, want)
	}
}

func TestExpiryIsTheFirstOfTheChain(t *testing.T) {
	soon, late := time.Unix(100, 0), time.Unix(200, 0)
	for _, chain := range [][]*x509.Certificate{
		{{NotAfter: soon}, {NotAfter: late}},
		{{NotAfter: late}, {NotAfter: soon}},
	} {
		if got := firstExpiry(chain); !got.Equal(soon) {
			t.Errorf("got %s", got)
		}
	}
}

// connected is a pair of connected ends, the first of which dialled.
func connected(t *testing.T, layer *RaftLayer[address], port *Port) (*setConn, *setConn) {
	t.Helper()
	dialled, err := layer.Dial(port.Addr().String(), patience)
	must(t, err)
	accepted, err := layer.Accept()
	must(t, err)
	return dialled.(*setConn), accepted.(*setConn)
}

func peerSerial(conn *setConn) string {
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestReloadServesNewConnectionsAndLeavesTheOld(t *testing.T) {
	authority, directory := newAuthority(t), t.TempDir()
	first := node(t, authority, "lyon")
	certificates, err := LoadCertificates(install(t, directory, authority.Pair().Certificate, first))
	must(t, err)
	port, _ := openPort(t, certificates, nil)
	layer := NewRaftLayer[address](port, RaftOptions{})
	closeAtEnd(t, layer)
	oldDialled, oldAccepted := connected(t, layer, port)

	next, err := NewAuthority("next authority", Validity{For: 30 * time.Minute})
	must(t, err)
	second := node(t, next, "lyon")
	install(t, directory, next.Pair().Certificate, second)
	must(t, certificates.Reload())

	newDialled, newAccepted := connected(t, layer, port)
	for _, end := range []*setConn{newDialled, newAccepted} { // each sees the other's
		if got, want := peerSerial(end), leaf(t, second).SerialNumber.String(); got != want {
			t.Errorf("new connection saw %s, want %s", got, want)
		}
	}
	if got, want := peerSerial(oldDialled), leaf(t, first).SerialNumber.String(); got != want {
		t.Errorf("old connection saw %s, want %s", got, want)
	}
	echo(t, oldDialled, oldAccepted, "the old goes on")
	echo(t, newAccepted, newDialled, "so does the new")
	if got, want := certificates.NotAfter(), leaf(t, second).NotAfter; !got.Equal(want) {
		t.Errorf("expiry %s, want %s", got, want)
	}
}

func TestReloadForgetsTheOldAuthority(t *testing.T) {
	first, second, directory := newAuthority(t), newAuthority(t), t.TempDir()
	both := append(first.Pair().Certificate, second.Pair().Certificate...)
	certificates, err := LoadCertificates(install(t, directory, both, node(t, second, "lyon")))
	must(t, err)
	port, rejections := openPort(t, certificates, nil)
	handedOn := acceptAll(port)
	pair := node(t, first, "paris")
	must(t, talk(t, port, stranger(t, &pair, ProtocolRaft)))
	receive(t, handedOn, "the connection, while both are believed")

	must(t, os.WriteFile(filepath.Join(directory, "ca.pem"), second.Pair().Certificate, 0o600))
	must(t, certificates.Reload())
	if talk(t, port, stranger(t, &pair, ProtocolRaft)) == nil {
		t.Error("peer of the old authority was not told")
	}
	got := receive(t, rejections, "the rejection")
	wantRefusal(t, got.err, ErrForeignAuthority, leaf(t, pair))
}

func TestFailedReloadKeepsWhatWasThere(t *testing.T) {
	authority := newAuthority(t)
	good, renewed := node(t, authority, "lyon"), node(t, authority, "lyon")
	foreign := newAuthority(t)
	for _, test := range []struct {
		name string
		ca   []byte
		pair Pair
		want error
	}{
		{"certificate without its key", authority.Pair().Certificate, Pair{renewed.Certificate, good.Key}, nil},
		{"garbage", []byte("x"), Pair{}, nil},
		{"foreign", authority.Pair().Certificate, node(t, foreign, "lyon"), ErrForeignAuthority},
		{"another node's", authority.Pair().Certificate, node(t, authority, "paris"), ErrWrongNode},
	} {
		t.Run(test.name, func(t *testing.T) {
			directory := t.TempDir()
			certificates, err := LoadCertificates(install(t, directory, authority.Pair().Certificate, good))
			must(t, err)
			before := certificates.current.Load()
			install(t, directory, test.ca, test.pair)
			err = certificates.Reload()
			if err == nil || !strings.Contains(err.Error(), directory) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v that names the file", err, test.want)
			}
			if certificates.current.Load() != before {
				t.Error("replaced")
			}
		})
	}
}

func TestReloadWhileConnecting(t *testing.T) {
	authority := newAuthority(t)
	certificates := nodeCertificates(t, authority, "lyon")
	port, rejections := openPort(t, certificates, nil)
	layer := NewRaftLayer[address](port, RaftOptions{})
	closeAtEnd(t, layer)
	var all sync.WaitGroup
	all.Go(func() {
		for range 50 {
			if err := certificates.Reload(); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		dialled, accepted := connected(t, layer, port)
		for _, conn := range []net.Conn{dialled, accepted} {
			_ = conn.Close()
		}
		_, _ = certificates.Identity(), certificates.NotAfter()
	}
	all.Wait()
	if len(rejections) != 0 {
		t.Errorf("rejected: %v", (<-rejections).err)
	}
}

// TestClientIsToldThatItIsNone: its certificate lacks the usage of servers, but that is not the point.
func TestClientIsToldThatItIsNone(t *testing.T) {
	authority := newAuthority(t)
	client, err := authority.IssueClient("desk", hour)
	must(t, err)
	_, err = LoadCertificates(install(t, t.TempDir(), authority.Pair().Certificate, client))
	wantRefusal(t, err, ErrWrongRole, leaf(t, client))
}
