package cluster

import "sync"

// turn is a lock that is held while others are waited for: Raft, other nodes, the disk. Those who wait for it wait at a channel, so
// that virtual time goes on, which a mutex would stop. The zero value is free.
type turn struct {
	made sync.Once
	held chan struct{}
}

// Lock implements sync.Locker.
func (t *turn) Lock() {
	t.made.Do(func() { t.held = make(chan struct{}, 1) })
	t.held <- struct{}{}
}

// Unlock implements sync.Locker.
func (t *turn) Unlock() { <-t.held }
