package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/transport"
)

// site is a machine: its disk, its clock and its data directory stay when its process ends.
type site struct {
	world        *world
	id, dir      string
	disk         *disk
	clock        *clock
	certificates *transport.Certificates
	// turn is held by whoever starts or ends the process: a channel, as it is held while virtual time passes.
	turn chan struct{}
	// process is what runs, nil if nothing does. The world's lock guards it.
	process *process
	// retired sites are no members any more, and stay down.
	retired bool
}

// process is a node from its start to its end.
type process struct {
	node  *cluster.Node
	store *store
	// ended is closed when whoever ended it has taken it over.
	ended chan struct{}
}

func (w *world) newSite(id string) (*site, error) {
	s := &site{
		world: w, id: id, dir: filepath.Join(w.dir, id), turn: make(chan struct{}, 1),
		disk:  newDisk(w.draws("disk " + id)),
		clock: newClock(1, 0),
	}
	rng := w.draws("clock " + id)
	s.clock.run(1 + (rng.Float64()*2-1)*maxDrift)
	s.clock.jump(time.Duration(rng.Int64N(int64(time.Second))) - 500*time.Millisecond)
	pair, err := w.authority.IssueNode(id, transport.Validity{For: 1000 * time.Hour}, id)
	if err != nil {
		return nil, err
	}
	files := transport.Files{CA: filepath.Join(w.dir, "ca.pem"), Certificate: s.dir + ".pem", Key: s.dir + "-key.pem"}
	if err := pair.Write(files.Certificate, files.Key); err != nil {
		return nil, err
	}
	s.certificates, err = transport.LoadCertificates(files)
	return s, err
}

func (s *site) options(store *store) cluster.Options {
	w := s.world
	return cluster.Options{
		ID: s.id, Site: s.id, Version: "sim", DataDir: s.dir, Advertise: s.id, HTTPAdvertise: "http://" + s.id,
		Expect: w.nodes, Peers: w.founders,
		Port:         transport.NewPort(w.network.listen(s.id), transport.Options{Certificates: s.certificates}),
		Certificates: s.certificates,
		Dial:         func(ctx context.Context, to string) (net.Conn, error) { return w.network.dial(ctx, s.id, to) },
		OpenStore:    func() (cluster.Store, error) { return store, nil },
		Clock:        s.clock, FreeSpace: s.disk.free,
		VendorKeys:       []ed25519.PublicKey{vendor.Public().(ed25519.PublicKey)},
		HeartbeatTimeout: w.load.heartbeat, ElectionTimeout: w.load.heartbeat,
		SnapshotThreshold: 60, TrailingLogs: 120, SnapshotInterval: 2 * time.Second,
		TrailFileBytes: 64 << 10, TrailTotalBytes: 64 << 20,
		Queue: 256, BatchCommands: 64, BatchBytes: 1 << 20, RequestTimeout: 3 * time.Second, MaxClockSkew: maxSkew,
		Policy: cluster.Policy{Stabilisation: time.Second, PreferredAfter: 2 * time.Second, MinVoters: 3},
		Log:    hclog.New(&hclog.LoggerOptions{Name: s.id, Level: w.level, Output: os.Stderr, IndependentLevels: true, TimeFn: time.Now}),
	}
}

// node is what runs here, nil if nothing does.
func (s *site) node() *cluster.Node {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if s.process == nil {
		return nil
	}
	return s.process.node
}

// take takes the process away from whoever watches it, nil if there is none.
func (s *site) take() *process {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	p := s.process
	if p != nil {
		close(p.ended)
		s.process = nil
	}
	return p
}

// start starts the node if it is down, and starts it again whenever it ends by itself, as systemd does.
func (s *site) start() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.node() != nil || s.retired || s.world.over() {
		return
	}
	p := &process{store: s.disk.open(), ended: make(chan struct{})}
	options := s.options(p.store)
	node, err := cluster.Start(options)
	switch {
	case errors.Is(err, cluster.ErrNotMember):
		s.retire(err)
		return
	case err != nil:
		s.world.note("%s does not start: %v", s.id, err)
		if !s.world.diskFaults(err) {
			s.world.violate("%s does not start: %v", s.id, err)
		}
		go s.later(time.Second)
		return
	}
	p.node = node
	s.world.mu.Lock()
	s.process = p
	s.world.mu.Unlock()
	s.world.note("%s is up", s.id)
	go s.watch(p)
}

// later starts the node in a while.
func (s *site) later(d time.Duration) {
	if sleep(s.world.ctx, d) == nil {
		s.start()
	}
}

func (s *site) retire(why error) {
	s.world.note("%s is no member any more: %v", s.id, why)
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.retired = true
}

// watch does what cmd/licet does with a node that can't go on: it ends it.
func (s *site) watch(p *process) {
	select {
	case <-p.ended:
		return
	case err := <-p.node.Failed():
		s.world.note("%s can't go on: %v", s.id, err)
		if !errors.Is(err, cluster.ErrNotMember) && !s.world.diskFaults(err) && !strings.Contains(err.Error(), "no majority ever had") {
			s.world.violate("%s can't go on: %v", s.id, err)
		}
		s.stop()
		if errors.Is(err, cluster.ErrNotMember) {
			s.retire(err)
			return
		}
		s.later(time.Second)
	}
}

// stop ends the process in order.
func (s *site) stop() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	p := s.take()
	if p == nil {
		return
	}
	err := p.node.Stop(context.Background())
	s.world.network.lose(s.id, true)
	s.world.note("%s has stopped: %v", s.id, err)
	p.store.closed.wait()
}

// crash ends the process in the midst of whatever it does: by kill -9, or, if it is the machine that lost power, without a word
// to others and with what was not forced to disk lost. It returns once the node can be started again.
func (s *site) crash(power bool) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	p := s.take()
	if p == nil {
		return
	}
	s.world.network.lose(s.id, !power)
	s.disk.crash(p.store)
	kept, err := readFiles(s.dir)
	if err == nil && power {
		s.loseUnsynced(kept)
	}
	s.world.note("%s has crashed (power: %v)", s.id, power)
	// What is left of the process tidies up, which changes nothing that anybody sees but its files.
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.node.Stop(gone) // it is not waited for
	p.store.closed.wait()
	pause(time.Millisecond) // until the directory's lock is released, too
	if err := errors.Join(err, writeFiles(s.dir, kept)); err != nil {
		s.world.violate("the data directory of %s: %v", s.id, err)
	}
}

// loseUnsynced drops what a machine may not have on disk yet when it loses power: when there was a leader is written without fsync.
func (s *site) loseUnsynced(files map[string][]byte) {
	if s.disk.draw(2) == 0 {
		delete(files, "contact")
	}
}

// readFiles are the files of a directory, by their path in it.
func readFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, err2 := filepath.Rel(dir, path)
		files[name] = text
		return errors.Join(err, err2)
	})
	return files, err
}

// writeFiles makes a directory's files what they were. The file of the lock stays, as the node knows its directory by it.
func writeFiles(dir string, files map[string][]byte) error {
	now, err := readFiles(dir)
	if err != nil {
		return err
	}
	for name := range now {
		if _, found := files[name]; !found {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if old, found := now[name]; found && bytes.Equal(old, text) {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return removeEmpty(filepath.Join(dir, "snapshots"), files)
}

// removeEmpty removes the directories of snapshots that were not there.
func removeEmpty(dir string, files map[string][]byte) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		empty := true
		for name := range files {
			empty = empty && !strings.HasPrefix(name, filepath.Join("snapshots", e.Name())+"/")
		}
		if empty {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// draws is a generator of its own for each use, so that one drawing more changes nothing for others.
func (w *world) draws(use string) *rand.Rand {
	sum := uint64(14695981039346656037)
	for _, b := range []byte(fmt.Sprint(w.seed, " ", use)) {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(w.seed, sum))
}
