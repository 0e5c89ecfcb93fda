package rules_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/api"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/node"
	"github.com/licet/licet/transport"
)

const (
	// patience bounds each wait for a condition.
	patience = 60 * time.Second
	// raftTimeout is long enough that a busy machine loses no leader.
	raftTimeout = 1500 * time.Millisecond
)

var (
	vendorKey   = ed25519.NewKeyFromSeed([]byte("the vendor's key in rule scripts"))
	strangerKey = ed25519.NewKeyFromSeed([]byte("a stranger's key in rule scripts"))
)

// actors are who may send requests in scripts.
var actors = []string{"operator", "somebody-else", "app-7", "intruder", "chief"}

func tokenOf(actor string) string { return "the-token-of-" + actor }

// sites is a cluster of three nodes in this process.
type sites struct {
	t     testing.TB
	clock *driven
	list  []*site
	// fatalf ends the test, or the script that is played, which then shows where it was.
	fatalf func(format string, args ...any)
}

// site is one node, its API, and what it takes to start them again.
type site struct {
	options     cluster.Options
	files       transport.Files
	inner, http *door
	node        *cluster.Node
	server      *http.Server
	serving     sync.WaitGroup
}

// startSites starts a cluster. It stops with the test.
func startSites(t testing.TB) *sites {
	t.Helper()
	s := &sites{t: t, clock: newDriven(), fatalf: t.Fatalf}
	dir := t.TempDir()
	authority, err := transport.NewAuthority("rules", transport.Validity{For: time.Hour})
	check(t, err)
	ca := filepath.Join(dir, "ca.pem")
	check(t, authority.Pair().Write(ca, filepath.Join(dir, "ca-key.pem")))
	var peers []string
	for _, id := range []string{"bordeaux", "lyon", "paris"} {
		pair, err := authority.IssueNode(id, transport.Validity{For: time.Hour}, "127.0.0.1")
		check(t, err)
		files := transport.Files{CA: ca, Certificate: filepath.Join(dir, id+".pem"), Key: filepath.Join(dir, id+"-key.pem")}
		check(t, pair.Write(files.Certificate, files.Key))
		x := &site{files: files, inner: newDoor(t), http: newDoor(t)}
		x.options = cluster.Options{
			ID: id, Site: id, Version: "test", DataDir: filepath.Join(dir, id), Advertise: x.inner.address(), HTTPAdvertise: x.url(), Expect: 3,
			VendorKeys:       []ed25519.PublicKey{vendorKey.Public().(ed25519.PublicKey)},
			HeartbeatTimeout: raftTimeout, ElectionTimeout: raftTimeout,
			// Snapshots all the time, and hardly any log behind them: who starts again goes on from one.
			SnapshotThreshold: 8, SnapshotInterval: 200 * time.Millisecond, TrailingLogs: 4,
			TrailFileBytes: 1 << 20, TrailTotalBytes: 16 << 20,
			Queue: 4096, BatchCommands: 512, BatchBytes: 1 << 20, RequestTimeout: 10 * time.Second, MaxClockSkew: 5 * time.Second,
			Clock: s.clock, Log: quietLog(id),
		}
		s.list, peers = append(s.list, x), append(peers, x.inner.address())
	}
	for _, x := range s.list {
		x.options.Peers = peers
	}
	t.Cleanup(s.stop)
	s.start()
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quietLog prints what nodes say if LICET_RULES_LOG is set to a level.
func quietLog(name string) hclog.Logger {
	level := hclog.LevelFromString(os.Getenv("LICET_RULES_LOG"))
	if level == hclog.NoLevel {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: level, Output: os.Stderr, IndependentLevels: true})
}

func (x *site) url() string { return "http://" + x.http.address() }

// start starts all nodes and waits until they serve.
func (s *sites) start() {
	s.t.Helper()
	for _, x := range s.list {
		if err := x.start(); err != nil {
			s.fatalf("start %s: %v", x.options.ID, err)
		}
	}
	s.ready()
}

func (s *sites) ready() {
	s.t.Helper()
	s.eventually("all nodes serve", func() error {
		for _, x := range s.list {
			if err := x.node.Ready(); err != nil {
				return fmt.Errorf("%s: %w", x.options.ID, err)
			}
		}
		return nil
	})
}

func (x *site) start() error {
	certificates, err := transport.LoadCertificates(x.files)
	if err != nil {
		return err
	}
	o := x.options
	o.Certificates, o.Port = certificates, transport.NewPort(x.inner.serve(), transport.Options{Certificates: certificates})
	if x.node, err = cluster.Start(o); err != nil {
		return err
	}
	var tokens []api.Token
	for _, actor := range append(actors, timekeeper) {
		tokens = append(tokens, api.NewToken(actor, tokenOf(actor)))
	}
	handler, err := api.New(api.Options{
		Node: node.Node{Node: x.node, Left: func() {}}, Tokens: tokens, Log: o.Log, RequestTimeout: o.RequestTimeout,
	})
	if err != nil {
		return err
	}
	x.server = api.Server(handler, api.DefaultTimeouts(o.RequestTimeout), nil)
	door := x.http.serve()
	x.serving.Go(func() { _ = x.server.Serve(door) })
	return nil
}

// stop stops all nodes, at the same time: none takes over from another for long.
func (s *sites) stop() {
	var stopping sync.WaitGroup
	for _, x := range s.list {
		stopping.Go(func() {
			if err := x.stop(); err != nil {
				s.t.Errorf("stop %s: %v", x.options.ID, err)
			}
		})
	}
	stopping.Wait()
}

func (x *site) stop() error {
	if x.node == nil {
		return nil
	}
	var failed error
	select {
	case failed = <-x.node.Failed():
	default:
	}
	err := errors.Join(failed, x.server.Close(), x.node.Stop(context.Background()))
	x.serving.Wait()
	x.node = nil
	return err
}

// signingKey is the cluster's own, as a node has it on its disk.
func (s *sites) signingKey() ed25519.PrivateKey {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.list[0].options.DataDir, "signing.key"))
	check(s.t, err)
	key, err := signed.ParsePrivateKey(text)
	check(s.t, err)
	return key
}

// leader is the node that leads, once it serves.
func (s *sites) leader() *site {
	s.t.Helper()
	var leader *site
	s.eventually("a leader", func() error {
		for _, x := range s.list {
			if x.node.Status().Role == cluster.Leader {
				leader = x
				return nil
			}
		}
		return errors.New("no node leads")
	})
	return leader
}

// settled is the state in which nothing is due any more, after an index.
func (s *sites) settled(index uint64) (view *fsm.View) {
	s.t.Helper()
	s.eventually("what is due has ended", func() error {
		for _, x := range s.list {
			view = x.node.Status().View
			now := max(s.clock.now().UnixMilli(), view.Clock().WallMs)
			if due, ok := view.NextDue(); view.Index() < index || ok && due <= now {
				return fmt.Errorf("%s is at index %d of %d, and something is due since %d ms", x.options.ID, view.Index(), index, now-due)
			}
		}
		return nil
	})
	return view
}

// agree waits until all nodes have applied the same, and compares what it came to.
func (s *sites) agree() {
	s.t.Helper()
	s.eventually("the nodes agree", func() error {
		first := s.list[0].node.Status().View
		for _, x := range s.list[1:] {
			switch other := x.node.Status().View; {
			case other.Index() != first.Index():
				return fmt.Errorf("%s is at index %d, %s at %d", x.options.ID, other.Index(), s.list[0].options.ID, first.Index())
			case other.Digest() != first.Digest():
				s.fatalf("%s and %s differ at index %d", x.options.ID, s.list[0].options.ID, first.Index())
			}
		}
		return nil
	})
}

// eventually waits for a condition; what it says last is the failure.
func (s *sites) eventually(what string, condition func() error) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			s.fatalf("%s: %v", what, err)
		}
	}
}
