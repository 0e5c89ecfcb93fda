package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

// innerActor is who has commands decided here.
const innerActor = "operator"

// startInProcess starts three nodes with the default configuration in this process. What callers propose is made
// beforehand: check-outs of one seat, each with a request id and a user of its own.
func startInProcess(ctx context.Context, dir string, most int) (operation, func() error, error) {
	all, stop, err := startNodes(dir)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	fail := func(err error) (operation, func() error, error) { return nil, nil, errors.Join(err, stop()) }
	for _, n := range all {
		if _, err := waitFor(ctx, []*cluster.Node{n}, func(n *cluster.Node) bool { return n.Ready() == nil }); err != nil {
			return fail(err)
		}
	}
	leads, err := waitFor(ctx, all, func(n *cluster.Node) bool { return n.Status().Role == cluster.Leader })
	if err != nil {
		return fail(err)
	}
	for _, body := range setting() {
		if err := decide(ctx, leads, body); err != nil {
			return fail(err)
		}
	}
	commands := make([]*fsmpb.Command, most)
	for i := range commands {
		if commands[i], err = fsm.NewCommand(innerActor, ulid.Make().String(), checkoutOf(i)); err != nil {
			return fail(err)
		}
	}
	return func(ctx context.Context, _, n int) error { return decided(leads.Propose(ctx, commands[n])) }, stop, nil
}

func checkoutOf(i int) *fsmpb.Body {
	holder := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: &fsmpb.Checkout{
		Pool: "bench", Product: "cad", User: fmt.Sprintf("user-%d", i), Client: "workstation-17", Count: 1, Holder: holder[:16],
	}}}
}

func decide(ctx context.Context, n *cluster.Node, body *fsmpb.Body) error {
	c, err := fsm.NewCommand(innerActor, ulid.Make().String(), body)
	if err != nil {
		return err
	}
	return decided(n.Propose(ctx, c))
}

func decided(o *fsmpb.Outcome, err error) error {
	if err == nil && o.Refusal != nil {
		err = errors.New(fsm.Detail(o.Refusal))
	}
	return err
}

// vendor signs what is measured with; nobody else believes in it.
var vendor = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// setting is a contract and a pool in which no seat is ever missing.
func setting() []*fsmpb.Body {
	contract := &signed.Contract{
		ID: "bench", Revision: 1, Customer: "bench", Email: "bench@example.org",
		Products: map[string]signed.Product{"cad": {Model: signed.Floating, Quantity: signed.MaxQuantity}},
		Start:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	pool := &fsmpb.Pool{
		Name: "bench", Contract: "bench", Size: 10_000_000, Products: []*fsmpb.PoolProduct{{Name: "cad"}},
		TtlMin: 30, TtlMax: 86400, TtlDefault: 3600, OfferTtl: 60, TicketTtl: 120,
	}
	return []*fsmpb.Body{
		{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: must(contract.Sign(vendor))}}},
		{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Pool: pool, Create: true}}},
		{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: "bench", Active: true}}},
	}
}

// must is for what can't fail: the input is written above.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sites are the nodes in this process.
var sites = []string{"bordeaux", "lyon", "paris"}

// startNodes starts the nodes with certificates of their own. What it returns to stop them is never nil.
func startNodes(dir string) (all []*cluster.Node, stop func() error, err error) {
	stop = func() error {
		var errs []error
		for _, n := range all {
			errs = append(errs, n.Stop(context.Background()))
		}
		return errors.Join(errs...)
	}
	authority, err := transport.NewAuthority("bench", transport.Validity{For: time.Hour})
	if err != nil {
		return nil, stop, err
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := authority.Pair().Write(ca, filepath.Join(dir, "ca-key.pem")); err != nil {
		return nil, stop, err
	}
	var ports []net.Listener
	var peers []string
	for range sites {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, stop, err
		}
		ports, peers = append(ports, port), append(peers, port.Addr().String())
	}
	for i, id := range sites {
		pair, err := authority.IssueNode(id, transport.Validity{For: time.Hour})
		if err != nil {
			return all, stop, err
		}
		files := transport.Files{CA: ca, Certificate: filepath.Join(dir, id+".pem"), Key: filepath.Join(dir, id+"-key.pem")}
		if err := pair.Write(files.Certificate, files.Key); err != nil {
			return all, stop, err
		}
		n, err := startNode(id, filepath.Join(dir, id), peers, i, files, ports[i])
		if err != nil {
			return all, stop, err
		}
		all = append(all, n)
	}
	return all, stop, nil
}

func startNode(id, dir string, peers []string, own int, files transport.Files, listener net.Listener) (*cluster.Node, error) {
	certificates, err := transport.LoadCertificates(files)
	if err != nil {
		return nil, err
	}
	d := config.Defaults()
	return cluster.Start(cluster.Options{
		ID: id, DataDir: dir, Advertise: peers[own], Peers: peers, Expect: len(peers),
		VendorKeys: []ed25519.PublicKey{vendor.Public().(ed25519.PublicKey)}, Certificates: certificates,
		Port:             transport.NewPort(listener, transport.Options{Certificates: certificates}),
		HeartbeatTimeout: d.Raft.HeartbeatTimeout, ElectionTimeout: d.Raft.ElectionTimeout,
		SnapshotThreshold: d.Raft.SnapshotThreshold, SnapshotInterval: d.Raft.SnapshotInterval, TrailingLogs: d.Raft.TrailingLogs,
		TrailFileBytes: int64(d.Audit.FileBytes), TrailTotalBytes: int64(d.Audit.TotalBytes),
		Queue: d.Limits.Queue, BatchCommands: d.Limits.BatchCommands, BatchBytes: int(d.Limits.BatchBytes),
		RequestTimeout: d.Limits.RequestTimeout, MaxClockSkew: d.Limits.MaxClockSkew, Log: hclog.NewNullLogger(),
	})
}
