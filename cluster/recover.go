package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/trail"
	"github.com/licet/licet/transport"
)

// Recover makes the node of a data directory the only member of its cluster, for when the majority is lost for good. The node
// must not run. Its log is taken as it is: what only the others had is lost, and what was not committed is decided now. Numbers
// that the others may have given out are passed over, and the others' ids never speak to this node again. On an error the
// directory is as it was, or the recovery can be repeated.
//
// Of the options it takes ID, DataDir, Advertise, Clock, Log, and the trail's.
func Recover(o Options) (dropped []string, err error) {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	before, err := Inspect(o.DataDir, 0)
	if err != nil {
		return nil, err
	}
	if before.Cluster == "" || before.LastIndex == 0 && len(before.Snapshots) == 0 {
		return nil, fmt.Errorf("%s: %w: it has no data of a cluster", o.DataDir, ErrNoData)
	}
	for _, m := range before.Members {
		if m.ID != o.ID {
			dropped = append(dropped, m.ID)
		}
	}
	own, err := openIdentity(o.DataDir, o.ID)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, own.close()) }()
	if err := own.drop(dropped); err != nil {
		return nil, err
	}
	var faults []error
	return dropped, errors.Join(recoverAlone(o, func(err error) { faults = append(faults, err) }), errors.Join(faults...))
}

func recoverAlone(o Options, fail func(error)) (err error) {
	s, err := openStore(o.DataDir, fail)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.bolt.Close()) }()
	log := o.Log.Named("raft")
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(o.DataDir, retainSnapshots, log)
	if err != nil {
		return err
	}
	rows, err := startKeeper(trail.Options{
		Dir: trail.Directory(o.DataDir), Node: o.ID, FileBytes: o.TrailFileBytes, TotalBytes: o.TrailTotalBytes,
	}, o.Log.Named("trail"), fail, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.close()) }()
	clock := newClock(o.Clock, o.MaxClockSkew)
	r := newReplica(clock.steady, fail)
	r.trail, r.snapshots = rows, filepath.Join(o.DataDir, snapshotDir)
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = raft.ServerID(o.ID), log
	id, address := raftServer(o.ID, o.Advertise)
	_, carrier := raft.NewInmemTransport(address)
	defer func() { err = errors.Join(err, carrier.Close()) }()
	return raft.RecoverCluster(c, recovering{r, clock}, s, s, snapshots, carrier, raft.Configuration{Servers: []raft.Server{{ID: id, Address: address}}})
}

// recovering is a replica whose snapshot passes over the numbers that other nodes may have given out.
type recovering struct {
	*replica
	clock *clock
}

// Snapshot implements raft.FSM.
func (r recovering) Snapshot() (raft.FSMSnapshot, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	if r.state.View().ClusterID() == "" {
		return nil, errors.New("the state has no identity: the cluster was never initialised")
	}
	r.state.Recovered(r.clock.wall().UnixMilli())
	if err := r.publish(); err != nil {
		return nil, err
	}
	return r.replica.Snapshot()
}

var _ raft.FSM = recovering{}

// drop notes members that a recovery left behind, on disk before it returns.
func (i *identity) drop(nodes []string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, node := range nodes {
		if !slices.Contains(i.is.Dropped, node) {
			i.is.Dropped = append(i.is.Dropped, node)
		}
	}
	return i.save()
}

// dropped reports a member that a recovery left behind.
func (i *identity) dropped(node string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.is.Dropped, node)
}

// wary is a stream layer that does not hear who is barred. Should two members that a recovery left behind come up again, they are a
// majority of the old members, and Raft would believe their leader.
type wary struct {
	*transport.RaftLayer[raft.ServerAddress]
	barred  func(node string) bool
	refused func(node string)
}

// Accept implements raft.StreamLayer.
func (w wary) Accept() (net.Conn, error) {
	for {
		conn, err := w.RaftLayer.Accept()
		if err != nil {
			return nil, err
		}
		node := nodeOf(conn)
		if !w.barred(node) {
			return conn, nil
		}
		w.refused(node)
		_ = conn.Close() // nobody has used it
	}
}

// nodeOf is the id in the certificate of the other end, which the port has verified.
func nodeOf(conn net.Conn) string {
	secure, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return ""
	}
	chain := secure.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return ""
	}
	identity, err := transport.IdentityOf(chain[0])
	if err != nil {
		return ""
	}
	return identity.Name
}
