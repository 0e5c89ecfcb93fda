package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// refusing is a log that takes nothing in while its disk is broken.
type refusing struct {
	*raft.InmemStore
	broken atomic.Bool
}

func (r *refusing) StoreLogs(logs []*raft.Log) error {
	if r.broken.Load() {
		return errors.New("the disk is broken")
	}
	return r.InmemStore.StoreLogs(logs)
}

// plainRaft is a node of bare Raft on a carrier whose pipelines have room for two messages, which park at once.
func plainRaft(t *testing.T, id string) (*raft.Raft, *refusing, raft.Server) {
	t.Helper()
	config := &raft.NetworkTransportConfig{MaxPool: 3, MaxRPCsInFlight: 2, Timeout: raftTimeout, Logger: hclog.NewNullLogger()}
	tcp, err := raft.NewTCPTransportWithConfig("127.0.0.1:0", nil, config)
	if err != nil {
		t.Fatal(err)
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger, c.CommitTimeout = raft.ServerID(id), config.Logger, time.Millisecond
	logs := &refusing{InmemStore: raft.NewInmemStore()}
	r, err := raft.NewRaft(c, nowhere{}, logs, logs, raft.NewInmemSnapshotStore(), carrier{tcp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			// Replication that has parked never ends.
			r.Shutdown()
			return
		}
		if err := errors.Join(r.Shutdown().Error(), tcp.Close()); err != nil {
			t.Error(err)
		}
	})
	return r, logs, raft.Server{ID: c.LocalID, Address: tcp.LocalAddr()}
}

// nowhere is a state machine without a state.
type nowhere struct{}

func (nowhere) Apply(*raft.Log) any                 { return nil }
func (nowhere) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("no state") }
func (nowhere) Restore(io.ReadCloser) error         { return nil }

// A follower that rejected appends for a time gets the log once it takes it: hashicorp/raft #612, whose own pipelines leave it behind for ever.
func TestRejectedAppendsDoNotEndReplication(t *testing.T) {
	var all []*raft.Raft
	var logs []*refusing
	var servers []raft.Server
	for i := range 3 {
		r, l, s := plainRaft(t, fmt.Sprint("node-", i))
		all, logs, servers = append(all, r), append(logs, l), append(servers, s)
	}
	if err := all[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		t.Fatal(err)
	}
	leader := 0
	await(t, "a leader", func() bool {
		for i, r := range all {
			if r.State() == raft.Leader {
				leader = i
				return true
			}
		}
		return false
	})
	follower := logs[(leader+1)%3]
	for range 20 {
		follower.broken.Store(true)
		for range 50 {
			if err := all[leader].Apply([]byte("x"), 0).Error(); err != nil {
				t.Fatal(err)
			}
		}
		follower.broken.Store(false)
		want := all[leader].LastIndex()
		await(t, fmt.Sprintf("the follower has the log up to %d", want), func() bool {
			has, err := follower.LastIndex()
			return err == nil && has >= want
		})
	}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(30*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not within 30 s: " + what)
		}
	}
}
