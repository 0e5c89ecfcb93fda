package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// inner is a system whose three nodes and callers share one process, so that nothing but replication is measured: no HTTP,
// no client. Each sample has a process of its own.
type inner string

const (
	// bareRaft is hashicorp/raft with boltdb, Raft's own defaults, an empty state machine and plain TCP.
	bareRaft inner = "bare raft"
	// inProcess is licet's own way from a command to its outcome, with all that belongs to it.
	inProcess inner = "licet in process"
)

// inners are measured in this order, with so many callers.
var (
	inners       = []inner{bareRaft, inProcess}
	innerCallers = []int{1, 256, 1024}
)

// innerMost bounds the operations of a sample a second: commands are made beforehand.
const innerMost = 60_000

// measure has another process take one sample.
func (i inner) measure(ctx context.Context, dir string, l load) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	var out, faults bytes.Buffer
	c := exec.CommandContext(ctx, self, "-inner", string(i), "-callers", strconv.Itoa(l.Callers), "-time", l.For.String(), "-dir", dir)
	c.Stdout, c.Stderr = &out, &faults
	if err := c.Run(); err != nil {
		return sample{}, fmt.Errorf("%s: %w\n%s", i, err, faults.Bytes())
	}
	var s sample
	return s, json.Unmarshal(out.Bytes(), &s)
}

// sampleInner takes a sample in this process and writes it as JSON. A profile of the processor goes to a file, if one is named.
func sampleInner(ctx context.Context, i inner, dir string, l load, profile string, w io.Writer) (err error) {
	l.Most = int(innerMost * l.For.Seconds())
	start := map[inner]func(context.Context, string, int) (operation, func() error, error){bareRaft: startBareRaft, inProcess: startInProcess}[i]
	if start == nil {
		return fmt.Errorf("there is no system %q; there are %q", i, inners)
	}
	do, stop, err := start(ctx, dir, l.Most)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	pid := []int{os.Getpid()}
	before, err := usageOf(pid)
	if err != nil {
		return err
	}
	s, err := l.run(ctx, do)
	if err != nil {
		return err
	}
	after, err := usageOf(pid)
	if err != nil {
		return err
	}
	s.Processor, s.Written = after.processor-before.processor, after.written-before.written
	return json.NewEncoder(w).Encode(s)
}

// nothing is a state machine that does nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (nothing) Release()                            {}

// bareEntry is as long as a command of licet's.
const bareEntry = 120

func startBareRaft(ctx context.Context, dir string, _ int) (operation, func() error, error) {
	var stops []func() error
	stop := func() error {
		var errs []error
		for _, each := range stops {
			errs = append(errs, each())
		}
		return errors.Join(errs...)
	}
	var members raft.Configuration
	var carriers []*raft.NetworkTransport
	for i := range nodes {
		carrier, err := raft.NewTCPTransportWithConfig("127.0.0.1:0", nil,
			&raft.NetworkTransportConfig{MaxPool: nodes, Timeout: time.Second, Logger: hclog.NewNullLogger()})
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		stops = append(stops, carrier.Close)
		carriers = append(carriers, carrier)
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(strconv.Itoa(i)), Address: carrier.LocalAddr()})
	}
	var all []*raft.Raft
	for i, carrier := range carriers {
		r, end, err := startRaft(filepath.Join(dir, strconv.Itoa(i)+".db"), members.Servers[i].ID, carrier, members)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		stops = append([]func() error{end}, stops...)
		all = append(all, r)
	}
	leads, err := waitFor(ctx, all, func(r *raft.Raft) bool { return r.State() == raft.Leader })
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	data := make([]byte, bareEntry)
	return func(context.Context, int, int) error { return leads.Apply(data, time.Minute).Error() }, stop, nil
}

func startRaft(file string, id raft.ServerID, carrier *raft.NetworkTransport, members raft.Configuration) (*raft.Raft, func() error, error) {
	store, err := raftboltdb.New(raftboltdb.Options{
		Path: file, BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return nil, nil, err
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = id, hclog.NewNullLogger()
	snapshots := raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(c, store, store, snapshots, carrier, members); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	r, err := raft.NewRaft(c, nothing{}, store, store, snapshots, carrier)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return r, func() error { return errors.Join(r.Shutdown().Error(), store.Close()) }, nil
}

// waitFor returns one of a list for which something holds, once there is one.
func waitFor[T any](ctx context.Context, list []T, holds func(T) bool) (one T, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, one := range list {
			if holds(one) {
				return one, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return one, fmt.Errorf("none of %d nodes came to it: %w", len(list), ctx.Err())
		}
	}
}
