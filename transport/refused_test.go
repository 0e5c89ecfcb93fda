package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// unchecked has certificates that LoadCertificates would refuse.
func unchecked(t *testing.T, authority *Authority, pair Pair) *Certificates {
	t.Helper()
	own, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	must(t, err)
	m := &material{roots: x509.NewCertPool(), own: own, presented: []*x509.Certificate{own.Leaf}}
	m.authorities = append(m.authorities, authority.certificate)
	m.roots.AddCert(authority.certificate)
	certificates := &Certificates{}
	certificates.current.Store(m)
	return certificates
}

// TestBothEndsAreToldOfARefusal: the port that refuses a node says why, and the node
// says that it was refused, with the reason where it can know it.
func TestBothEndsAreToldOfARefusal(t *testing.T) {
	authority := newAuthority(t)
	for _, test := range certificateCases(t, authority) {
		if test.want == nil {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			port, rejections := openPort(t, nodeCertificates(t, authority, "paris"), nil)
			told := make(chan rejection, 16)
			d := dialer{unchecked(t, authority, test.pair), func(address string, err error) {
				if address != port.Addr().String() {
					t.Errorf("told of %q", address)
				}
				told <- rejection{err: err}
			}, nil}
			conn, err := d.dial(t.Context(), port.Addr().String(), ProtocolRaft, "")
			if err == nil {
				defer conn.Close()
				_, err = conn.Read(make([]byte, 1))
			}
			own := receive(t, told, "the news at the node").err
			for _, err := range []error{err, own} {
				if !errors.Is(err, ErrRefusedByPeer) || !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v and %v", err, ErrRefusedByPeer, test.want)
				}
			}
			wantRefusal(t, receive(t, rejections, "the rejection at the port").err, test.want, leaf(t, test.pair))
		})
	}
}

// TestDialledRefusalsAreTold: the end that dials is the one that refuses.
func TestDialledRefusalsAreTold(t *testing.T) {
	authority := newAuthority(t)
	port, rejections := openPort(t, unchecked(t, authority, node(t, newAuthority(t), "lyon")), nil)
	told := make(chan error, 16)
	refused := func(_ string, err error) { told <- err }
	certificates := nodeCertificates(t, authority, "paris")
	layer := NewRaftLayer[raft.ServerAddress](port, RaftOptions{Refused: refused})
	closeAtEnd(t, layer)
	layer.dialer.certificates = certificates
	if err := dialOnce(layer, raft.ServerAddress(port.Addr().String())); !errors.Is(err, ErrForeignAuthority) {
		t.Errorf("Raft: got %v", err)
	}
	if err := receive(t, told, "Raft's refusal"); !errors.Is(err, ErrForeignAuthority) {
		t.Errorf("Raft: told %v", err)
	}
	if err := receive(t, rejections, "the port's news").err; !errors.Is(err, ErrRefusedByPeer) {
		t.Errorf("port: told %v", err)
	}
	if err := call(t, port.Addr().String(), certificates.ClientCredentials("", refused)); err == nil {
		t.Error("RPC: called")
	}
	if err := receive(t, told, "the RPC's refusal"); !errors.Is(err, ErrForeignAuthority) {
		t.Errorf("RPC: told %v", err)
	}
	must(t, port.Close())
	if err := dialOnce(layer, raft.ServerAddress(port.Addr().String())); err == nil {
		t.Error("dialled a closed port")
	}
	if len(told) > 0 {
		t.Errorf("a node that is down is no refusal: %v", <-told)
	}
}

func TestBindHoldsNodeAndSite(t *testing.T) {
	authority := newAuthority(t)
	at := func(site string) Pair {
		pair, err := authority.Issue(Identity{Role: RoleNode, Name: "lyon", Site: site}, hour)
		must(t, err)
		return pair
	}
	for _, test := range []struct{ certified, id, site, want string }{
		{"east", "lyon", "east", ""},
		{"", "lyon", "anywhere", ""},
		{"east", "lyon", "west", `certificate is for another site (wanted site west)`},
		{"east", "paris", "east", `certificate is another node's (wanted node paris)`},
	} {
		err := load(t, authority, at(test.certified)).Bind(test.id, test.site)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test, err)
		}
	}

	directory := t.TempDir()
	certificates, err := LoadCertificates(install(t, directory, authority.Pair().Certificate, at("")))
	must(t, err)
	must(t, certificates.Bind("lyon", "east"))
	install(t, directory, authority.Pair().Certificate, at("west"))
	if err := certificates.Reload(); !errors.Is(err, ErrWrongSite) {
		t.Errorf("reload for another site: %v", err)
	}
	install(t, directory, authority.Pair().Certificate, at("east"))
	must(t, certificates.Reload())
	if got := certificates.Identity().String(); got != "licet:node:lyon licet-site:east" {
		t.Errorf("identity %s", got)
	}
}

func TestCheckPeer(t *testing.T) {
	authority := newAuthority(t)
	info := func(identity Identity) *peer.Peer {
		pair, err := authority.Issue(identity, hour)
		must(t, err)
		verified := credentials.TLSInfo{}
		verified.State.VerifiedChains = [][]*x509.Certificate{{leaf(t, pair)}}
		return &peer.Peer{AuthInfo: verified}
	}
	for _, test := range []struct {
		name     string
		peer     *peer.Peer
		id, site string
		want     error
	}{
		{"itself", info(Identity{Role: RoleNode, Name: "lyon", Site: "east"}), "lyon", "east", nil},
		{"no site certified", info(Identity{Role: RoleNode, Name: "lyon", Site: ""}), "lyon", "east", nil},
		{"another node", info(Identity{Role: RoleNode, Name: "lyon", Site: ""}), "paris", "east", ErrWrongNode},
		{"another site", info(Identity{Role: RoleNode, Name: "lyon", Site: "east"}), "lyon", "west", ErrWrongSite},
		{"a client", info(Identity{Role: RoleClient, Name: "lyon", Site: ""}), "lyon", "east", ErrWrongRole},
		{"nobody", &peer.Peer{}, "lyon", "east", ErrNoCertificate},
	} {
		if err := CheckPeer(test.peer, test.id, test.site); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}
