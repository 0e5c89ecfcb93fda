package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// RaftOptions says how a node speaks Raft.
type RaftOptions struct {
	// Advertise is the address, host:port, under which the other nodes reach
	// this one. Empty means the port's own.
	Advertise string
	// NodeAt, if set, returns the id of the node that should answer at an
	// address, or "" if that is not known; a node with another id is then
	// refused. It is called in each Dial, from many goroutines at a time.
	NodeAt func(address string) string
	// Refused, if set, is told of what Dial's connections were refused for.
	Refused Refused
	// Dial opens connections to other nodes; over TCP if nil.
	Dial Dial
}

// RaftLayer carries Raft over a Port. With raft.ServerAddress as its Address it
// is a raft.StreamLayer; the parameter is what spares this package Raft itself.
// RaftLayer is safe for concurrent use.
type RaftLayer[Address ~string] struct {
	dialer    dialer
	backlog   *backlog
	advertise net.Addr
	nodeAt    func(string) string

	ctx    context.Context // ends when the layer closes
	cancel context.CancelFunc
	open   connSet
}

// NewRaftLayer returns Raft's side of a port. A port has one: two layers would
// share the incoming connections by chance.
func NewRaftLayer[Address ~string](port *Port, options RaftOptions) *RaftLayer[Address] {
	layer := &RaftLayer[Address]{
		dialer:    dialer{port.options.Certificates, options.Refused, options.Dial},
		backlog:   port.raft,
		advertise: port.Addr(),
		nodeAt:    options.NodeAt,
	}
	if options.Advertise != "" {
		layer.advertise = hostPort(options.Advertise)
	}
	if layer.nodeAt == nil {
		layer.nodeAt = func(string) string { return "" }
	}
	layer.ctx, layer.cancel = context.WithCancel(context.Background()) //nolint:gosec // G118: Close calls it
	return layer
}

// Accept waits for the next node that connects to speak Raft. After Close the
// error is net.ErrClosed.
func (l *RaftLayer[Address]) Accept() (net.Conn, error) {
	conn, err := l.backlog.next()
	if err != nil {
		return nil, err
	}
	return l.open.add(conn)
}

// Dial connects to the node at address to speak Raft with it, within timeout,
// which covers connecting and the handshake (10 seconds if it is not positive).
// Errors wrap a *CertificateError when the other end is not the node that it
// should be, ErrProtocol when it does not speak Raft, net.ErrClosed after Close.
func (l *RaftLayer[Address]) Dial(address Address, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	where := string(address)
	conn, err := l.dialer.dial(ctx, where, ProtocolRaft, l.nodeAt(where))
	if l.ctx.Err() != nil && err != nil {
		err = net.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("dial Raft at %s: %w", where, err)
	}
	return l.open.add(conn)
}

// Addr returns the address that this node advertises.
func (l *RaftLayer[Address]) Addr() net.Addr { return l.advertise }

// Close ends Accept and Dial and closes every connection of the layer, whoever
// opened it: Raft's transport leaves its own open, and a node that has stopped
// must not go on answering on them. The port stays open for the RPC.
func (l *RaftLayer[Address]) Close() error {
	l.cancel()
	return errors.Join(l.backlog.Close(), l.open.close())
}

// Drop closes the connections to nodes that are not wanted any more, in either direction.
func (l *RaftLayer[Address]) Drop(unwanted func(node string) bool) {
	l.open.drop(func(conn *setConn) bool {
		identity, err := IdentityOf(conn.chain[0])
		return err != nil || unwanted(identity.Name)
	})
}

// hostPort is an address as it is advertised: names in it are not resolved,
// because what they stand for may change.
type hostPort string

func (hostPort) Network() string  { return "tcp" }
func (h hostPort) String() string { return string(h) }

// connSet knows the connections that are in use.
type connSet struct {
	mu     sync.Mutex
	conns  map[*setConn]struct{}
	closed bool
}

// setConn leaves its set when it is closed.
type setConn struct {
	*nodeConn
	set *connSet
}

func (c *setConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.nodeConn.Close()
}

func (s *connSet) add(conn *nodeConn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, conn.abort())
	}
	if s.conns == nil {
		s.conns = make(map[*setConn]struct{})
	}
	member := &setConn{nodeConn: conn, set: s}
	s.conns[member] = struct{}{}
	return member, nil
}

func (s *connSet) drop(unwanted func(*setConn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if unwanted(conn) {
			_ = conn.abort() // whoever uses it finds it closed
			delete(s.conns, conn)
		}
	}
}

func (s *connSet) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for conn := range s.conns {
		errs = append(errs, conn.abort())
	}
	s.conns = nil
	return errors.Join(errs...)
}
