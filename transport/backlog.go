package transport

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// ErrBacklogFull says that a node's connection was closed because as many as
// are kept were already waiting for Raft or for the RPC server to accept them.
var ErrBacklogFull = errors.New("too many connections wait to be accepted")

// maxBacklog is far above what the nodes of one cluster open at a time.
const maxBacklog = 64

// backlog is the net.Listener of one protocol: what the port has verified and
// the protocol's server has not accepted yet. Handing on never blocks, so that
// a server that is not up yet, or hangs, takes nothing from the other one.
type backlog struct {
	address net.Addr
	waiting chan *nodeConn
	done    chan struct{}

	mu     sync.Mutex
	closed bool
}

func newBacklog(address net.Addr) *backlog {
	return &backlog{
		address: address,
		waiting: make(chan *nodeConn, maxBacklog),
		done:    make(chan struct{}),
	}
}

// push takes the connection over unless it returns an error.
func (b *backlog) push(conn *nodeConn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("hand on: %w", net.ErrClosed)
	}
	select {
	case b.waiting <- conn:
		return nil
	default:
		return ErrBacklogFull
	}
}

func (b *backlog) next() (*nodeConn, error) {
	select {
	case <-b.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case <-b.done:
		return nil, net.ErrClosed
	case conn := <-b.waiting:
		return conn, nil
	}
}

// Accept implements net.Listener.
func (b *backlog) Accept() (net.Conn, error) {
	conn, err := b.next()
	if err != nil {
		return nil, err // not a typed nil
	}
	return conn, nil
}

// Addr implements net.Listener.
func (b *backlog) Addr() net.Addr { return b.address }

// Close implements net.Listener. It closes the connections that wait and leaves
// the port and the other protocol open.
func (b *backlog) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	close(b.done)
	var errs []error
	for {
		select {
		case conn := <-b.waiting:
			errs = append(errs, conn.abort())
		default:
			return errors.Join(errs...)
		}
	}
}

// abort closes without saying goodbye, which could wait for seconds on a peer
// that has stopped reading.
func (c *nodeConn) abort() error {
	return ignoreClosed(c.NetConn().Close())
}
