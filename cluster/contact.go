package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	contactFile = "contact"
	// contactEvery bounds how much longer than it was an outage can look.
	contactEvery = 100 * time.Millisecond
	// contactSaveEvery does the same for an outage that began with this node's own stop.
	contactSaveEvery = 5 * time.Second
)

// contact remembers when the node last heard of a leader, per term, so that the next
// leader can tell how long there was none (rule D2). The time is kept in a
// file, because a leader can come back after everything was down. Safe for
// concurrent use.
type contact struct {
	path string

	mu     sync.Mutex
	term   uint64
	seen   time.Time
	before time.Time
	saved  time.Time
}

// openContact reads what an earlier process saved. A file that can't be read
// counts as none: the outage then looks as long as the cluster was silent.
func openContact(dir string) *contact {
	c := &contact{path: filepath.Join(dir, contactFile)}
	if text, err := os.ReadFile(c.path); err == nil {
		if ms, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			c.before = time.UnixMilli(ms)
		}
	}
	return c
}

// observe notes that a leader of term was there at a time.
func (c *contact) observe(term uint64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term > c.term {
		c.term, c.before = term, later(c.before, c.seen)
		c.seen = time.Time{}
	}
	if term == c.term {
		c.seen = later(c.seen, at)
	}
}

// lastBefore is when a leader of a term before the given one was last there; zero if never.
func (c *contact) lastBefore(term uint64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term < term {
		return later(c.before, c.seen)
	}
	return c.before
}

// save writes the time to disk, at most once in contactSaveEvery. It needs no
// fsync: what is lost makes an outage look longer, never shorter.
func (c *contact) save(now time.Time) error {
	c.mu.Lock()
	seen := later(c.before, c.seen)
	due := now.Sub(c.saved) >= contactSaveEvery && !seen.IsZero()
	if due {
		c.saved = now
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	err := os.WriteFile(c.path, []byte(strconv.FormatInt(seen.UnixMilli(), 10)+"\n"), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // The directory is being removed.
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
