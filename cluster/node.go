// Package cluster runs one node: it replicates the state machine of package fsm
// with hashicorp/raft, takes writes and reads on any node, and forms, grows and
// shrinks the cluster.
//
// A write goes client → any node → leader → one Raft entry that it shares with
// others → majority → state machine → outcome. A read goes to the node that was
// asked, which works on an immutable view.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/metrics"
	"github.com/licet/licet/trail"
	"github.com/licet/licet/transport"
)

const (
	// entriesUnderway is how many of the leader's batches are in Raft at a time, where nodes are near; the next
	// one fills meanwhile.
	entriesUnderway = 1
	// framesUnderway is how many frames a follower has at the leader at a time. Only one
	// entry is under way there, so a second frame would mostly wait, and halve both.
	framesUnderway = 1
	// proofsUnderway is how many proofs of leadership run at a time.
	proofsUnderway = 2
	// patience is longer than a batch takes where nodes are near, and two at a time would halve each other. Where all
	// take longer, nodes are far, and a request must not wait for another one's round trip.
	patience = 5 * time.Millisecond
	// retainSnapshots is how many snapshots stay on disk.
	retainSnapshots = 2
	// raftTimeout bounds one message of Raft.
	raftTimeout = 2 * time.Second
	// commitTimeout is how soon at least an idle leader tells followers what was committed last; with slow heartbeats it takes its time, too.
	commitTimeout = 10 * time.Millisecond
	// stopTimeout bounds a graceful stop.
	stopTimeout = 10 * time.Second
)

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	options Options
	log     hclog.Logger
	metrics *metrics.Metrics
	// libraries are the loggers of raft and gossip.
	libraries []hclog.Logger

	identity *identity
	contact  *contact
	clock    *clock
	// vocabulary is what the members can read.
	vocabulary *vocabulary
	stamping   turn
	store      store
	replica    *replica
	keeper     *keeper
	raft       *raft.Raft
	logs       raft.LogStore
	snapshots  snapshotStore
	stream     *transport.RaftLayer[raft.ServerAddress]
	carrier    carrier
	rpc        *grpc.Server
	peers      *peers
	refusals   *Refusals
	progress   progress
	gossip     *gossip
	// keyring is nil if gossip is not encrypted.
	keyring *keyring
	leader  *leaderWatch

	policy    atomic.Pointer[Policy]
	pilot     *pilot
	autopilot *autopilot.Autopilot
	proposals *batcher[*proposal]
	forwards  *batcher[*proposal]
	readers   *batcher[*reader]

	// directory is raft, for goroutines that raft starts before it is here.
	directory atomic.Pointer[raft.Raft]
	// leadsTerm is the term that this node leads and has opened; 0 if it leads none.
	leadsTerm atomic.Uint64
	stopping  atomic.Bool
	removed   atomic.Bool
	// broken is set once the node must not go on.
	broken atomic.Bool
	// seen are the other members at the last probe of a leader; nil if this node does not lead.
	seen atomic.Pointer[[]Peer]
	// forming is held while the node promises itself or founds.
	forming turn
	// changing is held while the leader removes or promotes a member.
	changing turn
	// rotating is held while the leader changes gossip or signing keys.
	rotating sync.Mutex
	// restoring is held while a backup is read and restored.
	restoring sync.Mutex
	// refused are those of whom the log has told that they are not heard.
	refused sync.Map

	// ctx ends when the node stops; stopped is its Done channel.
	ctx     context.Context
	cancel  context.CancelFunc
	stopped <-chan struct{}
	failed  chan error
	running sync.WaitGroup
	started time.Time
	// reached is nil while a leader is known.
	reached atomic.Pointer[reach]
	// leads is where the leader's API is, learnt after each change of leader.
	leads atomic.Pointer[leaderAPI]
}

// Start brings a node up. It returns when the node runs, which may be before it
// belongs to a cluster; see Ready.
func Start(o Options) (*Node, error) {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.FreeSpace == nil {
		o.FreeSpace = func(dir string) (uint64, error) {
			disk, err := DiskOf(dir)
			return disk.Free, err
		}
	}
	if o.Metrics == nil {
		o.Metrics = metrics.New()
	}
	n := &Node{
		options: o, log: o.Log.Named("cluster"), metrics: o.Metrics, libraries: []hclog.Logger{o.Log.Named("raft"), o.Log.Named("gossip")},
		failed: make(chan error, 1), started: time.Now(),
	}
	n.refusals = NewRefusals(n.log)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.stopped = n.ctx.Done()
	n.clock = newClock(o.Clock, o.MaxClockSkew)
	n.SetPolicy(o.Policy)
	if err := n.open(); err != nil {
		n.cancel()
		return nil, errors.Join(err, n.close())
	}
	n.run()
	return n, nil
}

// open acquires everything that can fail.
func (n *Node) open() error {
	o := n.options
	var err error
	if n.identity, err = openIdentity(o.DataDir, o.ID); err != nil {
		return err
	}
	if err := o.Certificates.Bind(o.ID, o.Site); err != nil {
		return err
	}
	n.contact = openContact(o.DataDir)
	if n.vocabulary, err = openVocabulary(o.DataDir, o.ID, o.Version); err != nil {
		return err
	}
	if err := n.openStore(); err != nil {
		return err
	}
	n.replica = newReplica(n.clock.steady, n.fail)
	n.keeper, err = startKeeper(trail.Options{
		Dir: trail.Directory(o.DataDir), Node: o.ID, FileBytes: o.TrailFileBytes, TotalBytes: o.TrailTotalBytes,
	}, n.log.Named("trail"), n.fail, n.signTrail)
	if err != nil {
		return err
	}
	n.replica.trail, n.replica.snapshots, n.replica.metrics = n.keeper, filepath.Join(o.DataDir, snapshotDir), n.metrics
	n.replica.readable, n.replica.members = n.snapshotReadable, n.noteMembers
	n.peers = newPeers(o.Certificates, n.refusals, n.nodeAt, n.clock.steady)
	n.peers.heard, n.peers.dial = n.hear, o.Dial
	if err := n.openRaft(); err != nil {
		return err
	}
	if o.Gossip != nil {
		return n.openGossip()
	}
	return nil
}

func (n *Node) openStore() (err error) {
	if n.options.OpenStore == nil {
		n.store, err = openStore(n.options.DataDir, n.fail)
		return err
	}
	n.store.fail = n.fail
	if n.store.bolt, err = n.options.OpenStore(); err != nil {
		return fmt.Errorf("open Raft's store: %w; %s", err, remedy(err))
	}
	return nil
}

func (n *Node) openGossip() error {
	o := n.options
	if first := o.Gossip.Key; first != nil {
		keys, superseded, err := openKeyring(o.DataDir, first)
		if err != nil {
			return err
		}
		if superseded {
			n.log.Info("the gossip key was rotated: gossip.key_file is not used any more", "key", describeKeyring(keys.current()).Primary)
		}
		n.keyring = keys
	}
	var err error
	n.gossip, err = startGossip(o, n.keyring, n.libraries[1])
	return err
}

func (n *Node) openRaft() error {
	o := n.options
	log := newPeerLog(newRoundLog(n.libraries[0]))
	files, err := raft.NewFileSnapshotStoreWithLogger(o.DataDir, retainSnapshots, log)
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w; %s", filepath.Join(o.DataDir, snapshotDir), err, remedy(err))
	}
	n.snapshots = snapshotStore{FileSnapshotStore: files, fail: n.fail}
	if err := n.resumeFounding(); err != nil {
		return fmt.Errorf("raft in %s: %w", o.DataDir, err)
	}
	if err := n.refuseOlderData(); err != nil {
		return err
	}
	disk := raftStore{n.store, new(atomic.Bool)}
	logs, err := raft.NewLogCache(logCache, disk)
	if err == nil {
		n.logs = logs
		err = n.settleLog(logs)
	}
	if err != nil {
		return fmt.Errorf("raft in %s: %w", o.DataDir, err)
	}
	n.stream = transport.NewRaftLayer[raft.ServerAddress](o.Port, transport.RaftOptions{Advertise: o.Advertise, NodeAt: n.nodeAt, Refused: n.refusals.unlike, Dial: o.Dial})
	n.carrier = carrier{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  wary{n.stream, n.identity.barred, n.refuseBarred},
		MaxPool: 3, Timeout: raftTimeout, Logger: log, MsgpackUseNewTimeFormat: true,
		MaxRPCsInFlight: appendsUnderway,
	})}
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.ID)
	c.HeartbeatTimeout, c.ElectionTimeout = o.HeartbeatTimeout, o.ElectionTimeout
	c.LeaderLeaseTimeout = o.HeartbeatTimeout / 2
	c.CommitTimeout = max(commitTimeout, o.HeartbeatTimeout/50)
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = o.SnapshotThreshold, o.SnapshotInterval, o.TrailingLogs
	c.Logger = log
	c.NoLegacyTelemetry = true
	if n.raft, err = newRaft(c, n.replica, logs, disk, n.snapshots, n.carrier); err != nil {
		select {
		case reason := <-n.failed:
			// Raft panics where the disk can't be written, too, and nothing is damaged then.
			return reason
		default:
		}
		return fmt.Errorf("raft in %s: %w; %s", o.DataDir, err, remedy(err))
	}
	disk.running.Store(true)
	n.directory.Store(n.raft)
	return nil
}

// newRaft is raft.NewRaft, which panics on a log with a gap: one whose newest snapshot was damaged, so that an older one was taken.
func newRaft(c *raft.Config, machine raft.FSM, logs raft.LogStore, stable raft.StableStore, snapshots raft.SnapshotStore, carrier raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return raft.NewRaft(c, machine, logs, stable, snapshots, carrier)
}

// nodeAt returns the id of the member at an address, so that nobody else is
// taken for it; "" if none is known there.
func (n *Node) nodeAt(address string) string {
	for _, m := range n.members() {
		if string(m.Address) == address {
			return string(m.ID)
		}
	}
	return ""
}

// run starts everything that goes on by itself.
func (n *Node) run() {
	o := n.options
	n.leader = newLeaderWatch(n.ctx, n.raft, 3*(o.HeartbeatTimeout+o.ElectionTimeout), n.tellLeader)
	n.pilot = &pilot{node: n}
	n.autopilot = newAutopilot(n, n.pilot)
	n.proposals = newBatcher(o.Queue, entriesUnderway, patience, o.BatchCommands, o.BatchBytes, (*proposal).size, n.propose)
	n.forwards = newBatcher(o.Queue, framesUnderway, patience, o.BatchCommands, o.BatchBytes, (*proposal).size, n.forward)
	n.readers = newBatcher(o.Queue, proofsUnderway, patience, o.Queue, o.Queue, func(*reader) int { return 1 }, n.prove)
	n.rpc = grpc.NewServer(grpc.Creds(transport.ServerCredentials()), grpc.MaxRecvMsgSize(maxFrame), grpc.UnaryInterceptor(n.admitCalls),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	clusterpb.RegisterNodeServer(n.rpc, &server{node: n})
	n.start(func() {
		if err := n.rpc.Serve(o.Port.RPC()); err != nil && n.ctx.Err() == nil {
			n.fail(fmt.Errorf("the node port failed: %w", err))
		}
	})
	n.start(func() { n.leader.follow(n.ctx) })
	n.start(n.duties)
	n.start(n.watchContact)
	n.start(n.watchSpace)
	n.start(n.watchSigningKeys)
	n.start(func() {
		n.form(n.ctx)
		n.watchMembership()
	})
}

func (n *Node) start(f func()) {
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		f()
	}()
}

// watchContact keeps note of when there was a leader (rule D2).
func (n *Node) watchContact() {
	for pause(n.ctx, contactEvery) {
		term := n.raft.CurrentTerm()
		at, heard := n.clock.steady(), time.Now()
		if n.raft.State() != raft.Leader {
			heard = n.raft.LastContact()
			at = at.Add(-time.Since(heard))
		}
		if leader, _ := n.raft.LeaderWithID(); leader == "" || heard.IsZero() || n.raft.CurrentTerm() != term {
			continue
		}
		if n.replica.view.Load().Term() != term {
			// A leader that has not opened its term has not told how long there was none before it.
			continue
		}
		n.contact.observe(term, at)
		if err := n.contact.save(n.clock.steady()); err != nil {
			n.fail(fmt.Errorf("the data directory can't be written: %w; %s", err, remedy(err)))
		}
	}
}

// fail reports that the node must not go on. The first reason counts.
func (n *Node) fail(err error) {
	n.broken.Store(true)
	select {
	case n.failed <- err:
		n.log.Error("the node can't go on", "reason", err)
	default:
	}
}

// Failed delivers the reason for which the node must not go on, if one comes up.
// Its owner then calls Stop and ends the process.
func (n *Node) Failed() <-chan error { return n.failed }

// Ready returns an *Error that says why the node can't serve now, or nil.
func (n *Node) Ready() error {
	switch {
	case n.stopping.Load():
		return errorf(ShuttingDown, "Node %s is about to stop.", n.options.ID)
	case !n.formed():
		return errorf(NotReady, "Node %s does not belong to a cluster yet.", n.options.ID)
	case n.replica.view.Load().ClusterID() == "":
		return errorf(NotReady, "The cluster is not initialised yet.")
	case n.leader.address() == "":
		return n.leaderless()
	}
	return nil
}

// DryRun tells what a command would come to now, changing nothing (rule K7).
// Errors are *Error.
func (n *Node) DryRun(ctx context.Context, c *fsmpb.Command) (*fsmpb.Outcome, error) {
	view, _, err := n.Read(ctx, Read{})
	if err != nil {
		return nil, err
	}
	if err := n.checkCommand(c); err != nil {
		return nil, err
	}
	if err := n.gate().refuseEncoded(c); err != nil {
		return nil, err
	}
	return view.DryRun(c, n.clock.wall().UnixMilli())
}

// ID is the node's id.
func (n *Node) ID() string { return n.options.ID }

// Wall is the node's wall clock.
func (n *Node) Wall() time.Time { return n.clock.wall() }

// SignLicenseKey signs with the cluster's key, which every member has.
func (n *Node) SignLicenseKey(k *signed.LicenseKey) (string, error) {
	key, fault := n.signingKey(n.replica.view.Load())
	if fault != nil {
		return "", fault
	}
	return k.Sign(key)
}

// HandOver gives leadership away if the node has it and there is another voter to take it. The node goes on, and
// forwards what it is asked. It returns within half of a stop's time. Safe for concurrent use.
func (n *Node) HandOver() { n.handOver(context.Background()) }

// SetMaxClockSkew changes how far this node's clock may be from the others' (rule D3). Safe for concurrent use.
func (n *Node) SetMaxClockSkew(most time.Duration) { n.clock.setLimit(most) }

// Stop ends the node. A leader hands its office over first. It returns within
// stopTimeout, or when ctx ends if that is sooner.
func (n *Node) Stop(ctx context.Context) error {
	if n.stopping.Swap(true) {
		<-n.stopped
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	n.handOver(ctx)
	for _, log := range n.libraries {
		// Both report each connection that a stop closes as an error.
		log.SetLevel(hclog.Off)
	}
	done := make(chan error, 1)
	go func() { done <- n.close() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("node %s did not stop in time: %w", n.options.ID, ctx.Err())
	}
}

// handOver gives leadership away before a stop, within half of its time: where Raft hangs with its disk, it never answers.
func (n *Node) handOver(ctx context.Context) {
	others := slices.ContainsFunc(n.members(), func(m raft.Server) bool {
		return m.Suffrage == raft.Voter && string(m.ID) != n.options.ID
	})
	if n.raft.State() != raft.Leader || !others || n.broken.Load() || ctx.Err() != nil {
		return
	}
	done := make(chan *Error, 1)
	go func() { done <- n.transferHere("", handover{nodeItself(n.options.ID), "it stops"}) }()
	timer := time.NewTimer(stopTimeout / 2)
	defer timer.Stop()
	reason := context.DeadlineExceeded
	select {
	case err := <-done:
		if err == nil {
			return
		}
		reason = err
	case <-timer.C:
	case <-ctx.Done():
	}
	n.log.Warn("stopping without having handed leadership over", "reason", reason)
}

// close releases what open and run acquired, in the reverse order.
func (n *Node) close() error {
	n.cancel()
	var errs []error
	if n.rpc != nil {
		n.rpc.Stop()
	}
	for _, b := range []*batcher[*proposal]{n.proposals, n.forwards} {
		if b != nil {
			defer b.close() //nolint:revive // both, at the end of close
		}
	}
	if n.readers != nil {
		defer n.readers.close()
	}
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
	}
	if n.keeper != nil {
		// Raft has ended: no more rows come.
		errs = append(errs, n.keeper.close())
	}
	if n.carrier.NetworkTransport != nil {
		errs = append(errs, n.carrier.Close())
	}
	errs = append(errs, n.options.Port.Close())
	n.running.Wait()
	if n.gossip != nil {
		errs = append(errs, n.gossip.stop())
	}
	if n.peers != nil {
		errs = append(errs, n.peers.close())
	}
	if n.store.bolt != nil {
		errs = append(errs, n.store.bolt.Close())
	}
	if n.identity != nil {
		errs = append(errs, n.identity.close())
	}
	return errors.Join(errs...)
}
