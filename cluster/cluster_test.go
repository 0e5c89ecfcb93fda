package cluster_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

// vendor signs the tests' contracts.
var vendor = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// site is one node of a test and what it takes to start it again.
type site struct {
	t       testing.TB
	options cluster.Options
	listen  string
	files   transport.Files
	node    *cluster.Node
	// rejected is told of connections that its port refuses; nil if nobody is.
	rejected func(net.Addr, error)
}

// sites makes n nodes on loopback ports that are not started yet.
func sites(t testing.TB, n int) []*site {
	t.Helper()
	authority, err := transport.NewAuthority("test", transport.Validity{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"bordeaux", "lyon", "paris", "quimper", "rennes"}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := authority.Pair().Write(ca, filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	list := make([]*site, n)
	var addresses []string
	for i := range list {
		pair, err := authority.IssueNode(names[i], transport.Validity{For: time.Hour}, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		files := transport.Files{CA: ca, Certificate: filepath.Join(dir, names[i]+".pem"), Key: filepath.Join(dir, names[i]+"-key.pem")}
		if err := pair.Write(files.Certificate, files.Key); err != nil {
			t.Fatal(err)
		}
		address := freeAddress(t)
		addresses = append(addresses, address)
		list[i] = &site{t: t, listen: address, files: files, options: cluster.Options{
			ID: names[i], Site: names[i], Version: "test", DataDir: filepath.Join(dir, names[i]), Advertise: address,
			HTTPAdvertise: "http://" + names[i], Expect: n,
			VendorKeys:       []ed25519.PublicKey{vendor.Public().(ed25519.PublicKey)},
			HeartbeatTimeout: 300 * time.Millisecond, ElectionTimeout: 300 * time.Millisecond,
			SnapshotThreshold: 8192, TrailingLogs: 10240, SnapshotInterval: 30 * time.Second,
			TrailFileBytes: 1 << 20, TrailTotalBytes: 16 << 20,
			Queue: 4096, BatchCommands: 512, BatchBytes: 1 << 20, RequestTimeout: 5 * time.Second, MaxClockSkew: 5 * time.Second,
			Policy: cluster.Policy{Stabilisation: time.Second, PreferredAfter: 2 * time.Second, MinVoters: 3},
			Log:    testLog(names[i]),
		}}
	}
	for _, s := range list {
		s.options.Peers = addresses
	}
	return list
}

func testLog(name string) hclog.Logger {
	level := hclog.Off
	if testing.Verbose() {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: level, Output: os.Stderr, IndependentLevels: true})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *site) start() {
	s.t.Helper()
	var err error
	if s.node, err = s.open(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.stop)
}

// open starts the node on its port, or returns why that failed.
func (s *site) open() (*cluster.Node, error) {
	s.t.Helper()
	certificates, err := transport.LoadCertificates(s.files)
	if err != nil {
		s.t.Fatal(err)
	}
	port, err := transport.Listen(s.t.Context(), s.listen, transport.Options{Certificates: certificates, Rejected: s.rejected})
	if err != nil {
		s.t.Fatal(err)
	}
	s.options.Port, s.options.Certificates = port, certificates
	return cluster.Start(s.options)
}

func (s *site) stop() {
	if s.node == nil {
		return
	}
	if err := s.node.Stop(context.Background()); err != nil {
		s.t.Errorf("stop %s: %v", s.options.ID, err)
	}
	s.node = nil
}

// startAll starts a cluster and waits until all nodes serve.
func startAll(t testing.TB, n int) []*site {
	t.Helper()
	list := sites(t, n)
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	return list
}

func (s *site) ready() {
	s.t.Helper()
	eventually(s.t, s.options.ID+" serves", func() error { return s.node.Ready() })
}

// eventually waits for a condition; what it says last is the failure.
func eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func leaderOf(t testing.TB, list []*site) *site {
	t.Helper()
	var leader *site
	eventually(t, "a leader", func() error {
		for _, s := range list {
			if s.node != nil && s.node.Status().Role == cluster.Leader {
				leader = s
				return nil
			}
		}
		return fmt.Errorf("no node leads")
	})
	return leader
}

// propose sends a command with a request id of its own.
func (s *site) propose(body *fsmpb.Body) *fsmpb.Outcome {
	s.t.Helper()
	c, err := fsm.NewCommand("operator", ulid.Make().String(), body)
	if err != nil {
		s.t.Fatal(err)
	}
	o, err := s.node.Propose(s.t.Context(), c)
	if err != nil {
		s.t.Fatalf("%s: %v", s.options.ID, err)
	}
	return o
}

func putContract(t testing.TB, users uint64) *fsmpb.Body {
	t.Helper()
	c := &signed.Contract{
		ID: "themis", Revision: 1, Customer: "ACME", Email: "licenses@acme.example",
		Start:  time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), Users: map[string]uint64{"primary": users},
	}
	document, err := c.Sign(vendor)
	if err != nil {
		t.Fatal(err)
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}}
}

func createInstance(name string, n uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{
		Contract: "themis", Name: name, Allocation: []*fsmpb.Quantity{{Name: "primary", N: n}},
	}}}
}

// sameDigests waits until all nodes have applied the same and compares.
func sameDigests(t testing.TB, list []*site) {
	t.Helper()
	eventually(t, "equal digests", func() error {
		first := list[0].node.Status()
		for _, s := range list[1:] {
			if other := s.node.Status(); other.View.Index() != first.View.Index() || other.View.Digest() != first.View.Digest() {
				return fmt.Errorf("%s: index %d digest %s; %s: index %d digest %s",
					first.ID, first.View.Index(), first.View.Digest(), other.ID, other.View.Index(), other.View.Digest())
			}
		}
		return nil
	})
}

func TestThreeNodesFormOneClusterAndServeOnAll(t *testing.T) {
	list := startAll(t, 3)
	if o := list[0].propose(putContract(t, 30)); o.Refusal != nil {
		t.Fatal(o.Refusal)
	}
	for i, s := range list {
		if o := s.propose(createInstance(s.options.ID, 10)); o.Refusal != nil {
			t.Fatal(fsm.Detail(o.Refusal))
		}
		view, _, err := list[(i+1)%3].node.Read(t.Context(), cluster.Read{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(view.Instances("themis", 0, 10)); n != i+1 {
			t.Fatalf("a linearizable read right after write %d shows %d instances", i+1, n)
		}
	}
	sameDigests(t, list)
}
