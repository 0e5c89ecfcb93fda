package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// gossiping makes n nodes that encrypt gossip with one key, and are not started yet.
func gossiping(t *testing.T, n int) []*site {
	t.Helper()
	list := sites(t, n)
	var seeds []string
	for _, s := range list {
		address := freeAddress(t)
		s.options.Gossip = &cluster.Gossip{Listen: address, Advertise: address, Key: bytes.Repeat([]byte{7}, 32)}
		seeds = append(seeds, address)
	}
	for _, s := range list {
		s.options.Gossip.Seeds = seeds
	}
	return list
}

// sameGossipKey waits until all nodes have one key, the same, and reach each other by gossip.
func sameGossipKey(t *testing.T, list []*site) (id string) {
	t.Helper()
	var all []string
	for _, s := range list {
		all = append(all, s.options.ID)
	}
	slices.Sort(all)
	eventually(t, "one gossip key on all nodes", func() error {
		keys, err := list[0].node.GossipKeys(t.Context())
		if err != nil {
			return err
		}
		id = keys[0].Key
		for _, k := range keys {
			if !k.Answered || k.Key != id || k.Other != "" || k.Generation != keys[0].Generation {
				return fmt.Errorf("%+v", keys)
			}
		}
		for _, s := range list {
			if got := s.node.GossipSees(); !slices.Equal(got, all) {
				return fmt.Errorf("%s sees %q", s.options.ID, got)
			}
		}
		return nil
	})
	return id
}

// writing proposes through a node until the returned function is called, which tells how often.
func (s *site) writing(name string) (stop func() int64) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var n atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if o := s.propose(createInstance(fmt.Sprintf("%s-%d", name, n.Load()), 1)); o.Refusal == nil {
				n.Add(1)
			}
		}
	}()
	return func() int64 {
		cancel()
		<-done
		return n.Load()
	}
}

func otherThan(list []*site, not ...*site) *site {
	for _, s := range list {
		if !slices.Contains(not, s) {
			return s
		}
	}
	panic("all of them")
}

// TestGossipKeyRotates: under load, through any node; with a node down, which gets the
// key through the node port; through restarts; with a node that can't take it; and
// before a node joins that has the first key only.
func TestGossipKeyRotates(t *testing.T) {
	all := gossiping(t, 4)
	list := all[:3]
	log := new(lines)
	for _, s := range all {
		s.options.Expect, s.options.Peers = 3, s.options.Peers[:3]
	}
	for _, s := range list {
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Output: log, IndependentLevels: true})
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 1_000_000))
	first := sameGossipKey(t, list)
	leader := leaderOf(t, list)

	t.Run("under load", func(t *testing.T) {
		through := otherThan(list, leader)
		stop := through.writing("load")
		rotated, err := through.node.RotateGossipKey(t.Context(), byOperator)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rotated.Reached); n != 3 || len(rotated.Missed) != 0 || rotated.ID == first {
			t.Errorf("%+v", rotated)
		}
		if id := sameGossipKey(t, list); id != rotated.ID {
			t.Errorf("the nodes use %s, not %s", id, rotated.ID)
		}
		if n := stop(); n == 0 {
			t.Error("nothing was written meanwhile")
		}
		for _, s := range list {
			if info, err := os.Stat(filepath.Join(s.options.DataDir, "gossip.keys")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		}
	})

	t.Run("with a node down", func(t *testing.T) {
		down := otherThan(list, leaderOf(t, list))
		down.stop()
		rotated, err := leaderOf(t, list).node.RotateGossipKey(t.Context(), byOperator)
		if err != nil {
			t.Fatal(err)
		}
		if len(rotated.Reached) != 2 || rotated.Missed[down.options.ID] == "" {
			t.Errorf("%+v", rotated)
		}
		down.start()
		down.ready()
		if id := sameGossipKey(t, list); id != rotated.ID {
			t.Errorf("the nodes use %s, not %s", id, rotated.ID)
		}
		if told := log.with("gossip keys brought in line", "node="+down.options.ID); len(told) != 1 {
			t.Errorf("it is told %d times: %q", len(told), told)
		}
	})

	t.Run("restarted", func(t *testing.T) {
		before := sameGossipKey(t, list)
		for _, s := range list {
			s.stop()
		}
		for _, s := range list {
			s.start()
		}
		oneCluster(t, list)
		if id := sameGossipKey(t, list); id != before {
			t.Errorf("the nodes use %s, not %s", id, before)
		}
	})

	t.Run("with most out of reach", func(t *testing.T) {
		leader, late := leaderOf(t, list), sameGossipKey(t, list)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := leader.node.RotateGossipKey(ctx, byOperator)
		var known *cluster.Error
		if !errors.As(err, &known) || known.Code() != string(cluster.RotationIncomplete) || !strings.Contains(err.Error(), "1 of 3 voters") {
			t.Errorf("got %v", err)
		}
		if id := sameGossipKey(t, list); id != late {
			t.Errorf("the key was %s and is %s", late, id)
		}
	})

	t.Run("missed by the leader", func(t *testing.T) {
		leader := leaderOf(t, list)
		ahead := otherThan(list, leader)
		if err := ahead.node.RotateGossipKeyAlone(); err != nil {
			t.Fatal(err)
		}
		sameGossipKey(t, list)
		if !bytes.Equal(leader.node.GossipKey(), ahead.node.GossipKey()) {
			t.Error("the leader has another key")
		}
	})

	t.Run("in part", func(t *testing.T) {
		leader := leaderOf(t, list)
		stuck := otherThan(list, leader)
		file := filepath.Join(stuck.options.DataDir, "gossip.keys")
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A directory in its place can't be replaced by a file.
		if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
			t.Fatal(err)
		}
		_, err = otherThan(list, leader, stuck).node.RotateGossipKey(t.Context(), byOperator)
		var known *cluster.Error
		if !errors.As(err, &known) || known.Code() != string(cluster.RotationIncomplete) || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), stuck.options.ID) {
			t.Fatalf("got %v", err)
		}
		// Nobody encrypts with what one of them can't read.
		keys, err := leader.node.GossipKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]bool{}
		for _, k := range keys {
			if k.Key != keys[0].Key {
				t.Errorf("%+v", keys)
			}
			if k.ID == stuck.options.ID && k.Other != "" || k.ID != stuck.options.ID && k.Other == "" {
				t.Errorf("%+v", k)
			}
			made[k.Other] = true
		}
		if err := errors.Join(os.Remove(file), os.WriteFile(file, kept, 0o600)); err != nil {
			t.Fatal(err)
		}
		rotated, err := leader.node.RotateGossipKey(t.Context(), byOperator)
		if err != nil {
			t.Fatal(err)
		}
		if !made[rotated.ID] {
			t.Errorf("the rotation was not carried on: the key is %s, not one of %v", rotated.ID, made)
		}
		sameGossipKey(t, list)
	})

	t.Run("asked for by no member", func(t *testing.T) {
		certificates, err := transport.LoadCertificates(all[3].files)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient(leader.listen, grpc.WithTransportCredentials(certificates.ClientCredentials("", nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		node := clusterpb.NewNodeClient(conn)
		got, err := node.GetKeyring(t.Context(), &clusterpb.GetKeyringRequest{})
		if err != nil || got.Keyring != nil || got.Fault.GetCode() != string(cluster.MemberRefused) {
			t.Errorf("get: %v, %v", got, err)
		}
		put, err := node.PutKeyring(t.Context(), &clusterpb.PutKeyringRequest{Keyring: &clusterpb.Keyring{Generation: 1000, Primary: make([]byte, 32)}})
		if err != nil || put.Fault.GetCode() != string(cluster.MemberRefused) {
			t.Errorf("put: %v, %v", put, err)
		}
	})

	t.Run("before a node joins", func(t *testing.T) {
		before := sameGossipKey(t, list)
		all[3].options.Log = testLog(all[3].options.ID)
		all[3].start()
		if id := sameGossipKey(t, all); id != before {
			t.Errorf("the nodes use %s, not %s", id, before)
		}
	})

	for _, s := range all {
		if key := s.node.GossipKey(); bytes.Equal(key, s.options.Gossip.Key) || len(key) != 32 {
			t.Errorf("%s has the first key still", s.options.ID)
		}
	}
	sameDigests(t, list)
}

// TestGossipWithoutAKeyIsNotRotated, and says what to do.
func TestGossipWithoutAKeyIsNotRotated(t *testing.T) {
	s := sites(t, 1)[0]
	s.start()
	s.ready()
	_, err := s.node.RotateGossipKey(t.Context(), byOperator)
	var known *cluster.Error
	if !errors.As(err, &known) || known.Code() != string(cluster.GossipPlain) || !strings.Contains(known.Next(), "gossip.key_file") {
		t.Errorf("got %v", err)
	}
}

// TestOlderBuildHoldsUpRotation: a member whose build knows no rotation would lose gossip.
func TestOlderBuildHoldsUpRotation(t *testing.T) {
	list := gossiping(t, 2)
	leader, old := list[0], list[1]
	leader.options.Expect, leader.options.Peers = 1, nil
	leader.start()
	leader.ready()
	certificates, err := transport.LoadCertificates(old.files)
	if err != nil {
		t.Fatal(err)
	}
	port, err := transport.Listen(t.Context(), old.listen, transport.Options{Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(transport.ServerCredentials()))
	clusterpb.RegisterNodeServer(server, clusterpb.UnimplementedNodeServer{})
	go func() { _ = server.Serve(port.RPC()) }()
	t.Cleanup(func() {
		server.Stop()
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := leader.node.Raft().AddNonvoter(raft.ServerID(old.options.ID), raft.ServerAddress(old.listen), 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	_, err = leader.node.RotateGossipKey(t.Context(), byOperator)
	var known *cluster.Error
	if !errors.As(err, &known) || known.Code() != string(cluster.Unsupported) || !strings.Contains(err.Error(), old.options.ID) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(leader.node.GossipKey(), leader.options.Gossip.Key) {
		t.Error("the leader has another key")
	}
}
