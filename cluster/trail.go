package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/trail"
)

// syncEvery is how often rows are forced to disk. They need not be there before a write is answered: until a
// snapshot is taken, the Raft log has the commands that make them again, and the keeper syncs before each snapshot.
const syncEvery = 5 * time.Second

// checkpointEvery is how often the rows that came since are signed. A stop signs what is left.
const checkpointEvery = time.Hour

// keeper copies the audit trail out of the views into files of the node. Its own goroutine does so; the
// one that applies entries only hands views over, and waits where rows would be lost otherwise.
type keeper struct {
	files trailFiles
	dir   string
	fail  func(error)
	// sign makes a checkpoint of rows that are on disk; empty while the node has no key.
	sign func(trailEnd) (string, error)
	log  hclog.Logger

	mu sync.Mutex
	// moved is told of every change of what follows.
	moved *sync.Cond
	// pending is the newest view that was handed over and not yet taken.
	pending *fsm.View
	// taken is the last row of the view in hand; written and synced are how far files and disk are.
	taken, written, synced uint64
	// wanted is the row up to which somebody waits for the disk.
	wanted uint64
	// end says with which row the files end; signed is the last row that was signed, and when.
	end    trailEnd
	signed uint64
	since  time.Time
	err    error

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// trailEnd is the last row that was written: the chain after it, and the entry up to which the state then was.
type trailEnd struct {
	row, index uint64
	chain      trail.Hash
}

// trailFiles are a trail.Writer.
type trailFiles interface {
	Append(v *fsm.View) (*trail.Gap, error)
	Sync() error
	Close() error
}

// startKeeper opens the files and begins to write what is handed over, and to sign it.
func startKeeper(o trail.Options, log hclog.Logger, fail func(error), sign func(trailEnd) (string, error)) (*keeper, error) {
	k, err := openKeeper(o, log, fail)
	if err == nil {
		k.sign = sign
		go k.run()
	}
	return k, err
}

func openKeeper(o trail.Options, log hclog.Logger, fail func(error)) (*keeper, error) {
	files, repairs, err := trail.Open(o)
	if err != nil {
		return nil, fmt.Errorf("the audit trail: %w", err)
	}
	for _, r := range repairs {
		if r.Aside == "" {
			log.Info("a write to the audit trail was cut off; the row is written again", "file", r.File, "bytes", r.Cut)
			continue
		}
		log.Error("the audit trail was damaged; its rows are taken from the state, where it still has them",
			"file", r.File, "bytes", r.Cut, "reason", r.Reason, "copy", r.Aside)
	}
	k := &keeper{
		files: files, dir: o.Dir, fail: fail, log: log, taken: files.Last(), written: files.Last(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	k.moved = sync.NewCond(&k.mu)
	return k, nil
}

// keep hands a view over. It waits while the state has forgotten rows that only the view before it
// has: an unwritten row is never let go (no write without its row).
func (k *keeper) keep(v *fsm.View) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.err == nil && k.pending != nil && v.OldestWrite() > k.taken+1 {
		k.moved.Wait()
	}
	if k.err != nil {
		return k.err
	}
	k.pending = v
	k.nudge()
	return nil
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.wake:
			k.write()
			if k.behind() {
				k.sync()
			}
		case <-tick.C:
			k.sync()
			k.checkpoint(checkpointEvery)
		case <-k.stop:
			k.write()
			k.sync()
			k.checkpoint(0)
			k.failed(k.files.Close())
			return
		}
	}
}

// write takes the newest view and writes what it has more than the files.
func (k *keeper) write() {
	v := k.take()
	if v == nil {
		return
	}
	gap, err := k.files.Append(v)
	if gap != nil {
		k.log.Warn("this node never had a part of the audit trail: it took a snapshot instead; other nodes have it", "from", gap.From, "to", gap.To)
	}
	if k.failed(err) {
		return
	}
	last, head, _ := v.Chain()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written, k.end = max(k.written, last), trailEnd{last, v.Index(), head}
	k.moved.Broadcast()
}

func (k *keeper) take() *fsm.View {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.pending
	k.pending = nil
	if v == nil || k.err != nil {
		return nil
	}
	last, _, _ := v.Chain()
	k.taken = max(k.taken, last)
	k.moved.Broadcast()
	return v
}

// behind reports whether somebody waits for the disk.
func (k *keeper) behind() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wanted > k.synced
}

func (k *keeper) sync() {
	k.mu.Lock()
	written, broken := k.written, k.err != nil
	k.mu.Unlock()
	if broken || k.failed(k.files.Sync()) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.synced = max(k.synced, written)
	k.moved.Broadcast()
}

// checkpoint signs the rows that were written, if there are new ones and the last time was so long ago. It is called right after a
// sync, so that they are on disk.
func (k *keeper) checkpoint(after time.Duration) {
	k.mu.Lock()
	end, due := k.end, k.err == nil && k.end.row > k.signed && time.Since(k.since) >= after
	k.mu.Unlock()
	if !due || k.sign == nil {
		return
	}
	document, err := k.sign(end)
	if err == nil && document != "" {
		err = trail.AppendCheckpoint(k.dir, document)
	}
	if k.failed(err) || document == "" {
		return
	}
	k.signed, k.since = end.row, time.Now()
}

// signTrail makes a checkpoint.
func (n *Node) signTrail(end trailEnd) (string, error) {
	cluster, _ := n.identity.cluster()
	key := n.heldSigningKey(n.replica.view.Load())
	if cluster == "" || key == nil {
		return "", nil
	}
	c := &signed.Checkpoint{
		Cluster: cluster, Node: n.options.ID, Issued: n.clock.wall().UTC().Truncate(time.Second),
		Index: end.index, Row: end.row, Chain: hex.EncodeToString(end.chain[:]),
	}
	return c.Sign(key)
}

// failed ends the node if there is an error: a write whose row can't be kept must not be the first of many.
func (k *keeper) failed(err error) bool {
	if err == nil {
		return false
	}
	err = fmt.Errorf("the audit trail can't be written: %w; %s", err, remedy(err))
	k.mu.Lock()
	first := k.err == nil
	k.err = errors.Join(k.err, err)
	k.moved.Broadcast()
	k.mu.Unlock()
	if first {
		k.fail(err)
	}
	return true
}

// settle returns once all rows of a view are on disk.
func (k *keeper) settle(v *fsm.View) error {
	last, _, _ := v.Chain()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.err == nil && k.synced < last {
		k.wanted = max(k.wanted, last)
		k.nudge()
		k.moved.Wait()
	}
	return k.err
}

// await returns once the files have a row, or ctx ends.
func (k *keeper) await(ctx context.Context, row uint64) error {
	stop := context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.moved.Broadcast()
	})
	defer stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.err == nil && k.written < row && ctx.Err() == nil {
		k.moved.Wait()
	}
	if k.err == nil {
		return ctx.Err()
	}
	return k.err
}

// close writes what is left. Nothing may be handed over any more.
func (k *keeper) close() error {
	close(k.stop)
	<-k.done
	return k.err
}

// Trail returns up to limit rows of the audit trail that come after a number. What the view has
// forgotten comes out of this node's files, as far as it has them; rows that it has not are left out.
func (n *Node) Trail(ctx context.Context, v *fsm.View, after uint64, limit int) ([]*fsm.Write, error) {
	oldest := v.OldestWrite()
	if after+1 >= oldest {
		return v.WritesAfter(after, limit), nil
	}
	if err := n.keeper.await(ctx, oldest-1); err != nil {
		return nil, err
	}
	rows, err := trail.Rows(n.keeper.dir, after, limit)
	if err != nil {
		return nil, fmt.Errorf("the audit trail can't be read: %w", err)
	}
	for i, row := range rows {
		if row.Seq >= oldest {
			rows = rows[:i]
			break
		}
	}
	return append(rows, v.WritesAfter(oldest-1, limit-len(rows))...), nil
}
