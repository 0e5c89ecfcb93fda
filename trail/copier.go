package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/licet/licet/fsm"
)

const (
	// copyRows and copyBytes bound what a copier has in memory, about.
	copyRows  = 256
	copyBytes = 1 << 20
	// copyEvery is how often a copier looks for rows.
	copyEvery = 250 * time.Millisecond
	// settleEvery is how often it notes how far it is.
	settleEvery = 5 * time.Second
	// copyPatience bounds one write to a target; stopPatience is what all may take together once the node has stopped.
	copyPatience = 10 * time.Second
	stopPatience = 2 * time.Second
	// firstWait and maxWait are between attempts.
	firstWait, maxWait = 250 * time.Millisecond, 15 * time.Second
)

// Target is where a Copier sends rows, from one goroutine. What has failed is closed and opened again.
type Target interface {
	// Open makes it ready, and returns the last row that it holds; 0 if it can't tell, or holds none.
	Open(ctx context.Context) (last uint64, err error)
	// Write takes rows, within a time.
	Write(rows []Passed, within time.Duration) error
	// Settled is the last row that will not be lost any more.
	Settled() (uint64, error)
	// Close closes it; with a time it waits so long for what is under way.
	Close(within time.Duration)
}

// Passed is a row on its way to a target.
type Passed struct {
	*fsm.Write
	// Before is the chain before it, nil if that is not known.
	Before *Hash
}

// Copier copies the rows that come to a directory to a target, each at least once and in their order. The files of the directory are its only buffer, so that a target
// that is slow, or gone for a time, holds up nobody and loses nothing until the files give way to their bound. How far it has
// come is kept in the directory.
type Copier struct {
	// Dir is the directory of the rows, Name the name under which it keeps how far it is.
	Dir, Name string
	Target    Target
	// Failed is told of the first failure in a row, Recovered once rows that were sent since then will not be lost any more, Lost of rows that were gone before they were copied.
	Failed    func(error)
	Recovered func()
	Lost      func(from, to uint64)

	mu    sync.Mutex
	state Copied

	opened bool
	// sent is the last row that the target took, looked the one up to which gaps were counted.
	sent, looked uint64
	settledAt    time.Time
	wait         time.Duration
	// told: it has failed, and has not recovered yet.
	told bool
}

// Copied is how far a copier has come.
type Copied struct {
	// Sent is the last row that the target took, Lost how many rows were gone before, since the start.
	Sent, Lost uint64
	Failing    bool
}

// Copied is safe for concurrent use.
func (c *Copier) Copied() Copied {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Run copies until ctx ends, and then what is left as far as that is possible within some seconds.
func (c *Copier) Run(ctx context.Context) {
	last, err := c.load()
	if err != nil {
		// It begins with the first row that there is: twice is better than never.
		c.Failed(fmt.Errorf("how far the copy is can't be read, so it begins anew: %w", err))
	}
	c.sent, c.looked, c.settledAt = last, last, time.Now()
	for ctx.Err() == nil {
		more := c.step(ctx, copyPatience)
		wait := copyEvery
		if c.wait > 0 {
			wait = c.wait
		} else if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	// Not ctx: it has ended.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	for end.Err() == nil && c.step(end, stopPatience) {
	}
	if c.opened {
		err := c.settle()
		c.Target.Close(stopPatience)
		if err = errors.Join(err, c.settle()); err != nil {
			c.Failed(err)
		}
	}
}

// step copies some rows, and says whether there may be more.
func (c *Copier) step(ctx context.Context, within time.Duration) (more bool) {
	if err := c.open(ctx); err != nil {
		return c.failed(err)
	}
	rows, err := c.read()
	if err == nil && len(rows) > 0 {
		c.gap(rows[0].Seq)
		if err = c.Target.Write(rows, within); err == nil {
			c.sent = rows[len(rows)-1].Seq
			c.looked = max(c.looked, c.sent)
		}
	}
	if err == nil && time.Since(c.settledAt) >= settleEvery {
		err = c.settle()
	}
	if err != nil {
		return c.failed(err)
	}
	c.wait = 0
	c.note()
	return len(rows) > 0
}

func (c *Copier) open(ctx context.Context) error {
	if c.opened {
		return nil
	}
	last, err := c.Target.Open(ctx)
	if err != nil {
		return err
	}
	c.opened = true
	if last != 0 {
		c.sent = last
	}
	return nil
}

func (c *Copier) read() (rows []Passed, err error) {
	size := 0
	err = Walk(c.Dir, c.sent, func(w *fsm.Write, before *Hash) bool {
		rows = append(rows, Passed{w, before})
		size += len(w.Body()) + len(w.Outcome())
		return len(rows) < copyRows && size < copyBytes
	})
	return rows, err
}

// gap counts rows that are not there any more. What was before the first row that was ever copied is no loss.
func (c *Copier) gap(first uint64) {
	if from := max(c.sent, c.looked) + 1; c.sent != 0 && first > from {
		c.Lost(from, first-1)
		c.mu.Lock()
		c.state.Lost += first - from
		c.mu.Unlock()
	}
	c.looked = max(c.looked, first-1)
}

func (c *Copier) failed(err error) bool {
	if c.opened {
		c.Target.Close(0)
	}
	c.opened = false
	// What it took may not have arrived.
	if last, loadErr := c.load(); loadErr == nil {
		c.sent = last
	}
	if !c.told {
		c.Failed(err)
	}
	c.told, c.wait = true, min(max(2*c.wait, firstWait), maxWait)
	c.note()
	return false
}

func (c *Copier) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Sent, c.state.Failing = c.sent, c.told
}

// position is how far a copy is, as it is kept.
type position struct {
	Row uint64 `json:"row"`
}

func (c *Copier) path() string { return filepath.Join(c.Dir, "copied-"+c.Name) }

func (c *Copier) load() (uint64, error) {
	text, err := os.ReadFile(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var p position
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		// Unmarshal may have read a part.
		return 0, err
	}
	return p.Row, nil
}

// settle notes the last row that will not be lost any more.
func (c *Copier) settle() error {
	c.settledAt = time.Now()
	last, err := c.Target.Settled()
	if err != nil {
		return err
	}
	if c.told && last >= c.sent {
		c.told = false
		c.Recovered()
	}
	if last == 0 {
		return nil
	}
	if kept, err := c.load(); err == nil && kept == last {
		return nil
	}
	text, err := json.Marshal(position{last})
	if err != nil {
		return err
	}
	next := c.path() + ".next"
	return errors.Join(writeSynced(next, append(text, '\n')), os.Rename(next, c.path()), syncDir(c.Dir))
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
