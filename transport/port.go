package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const defaultMaxHandshakes = 64

// Options says how a port treats those who connect to it.
type Options struct {
	// Certificates is required.
	Certificates *Certificates
	// HandshakeTimeout bounds a handshake from the acceptance of its
	// connection to its end. Zero means 10 seconds.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds the handshakes that run at a time. Those who come
	// beyond it wait in the operating system's queue. Zero means 64.
	MaxHandshakes int
	// Rejected, if set, is told of every connection that was not handed on and
	// why; remote is nil where accepting itself failed. It is called from many
	// goroutines at a time, must not block, and must not call Port.Close.
	Rejected func(remote net.Addr, err error)
}

// Port is one TCP listener shared by Raft and the RPC between nodes. Whoever
// connects is handed to one of the two, by ALPN, after having proved to be a
// node; all others are closed and reported. Port is safe for concurrent use.
type Port struct {
	listener net.Listener
	options  Options
	raft     *backlog
	rpc      *backlog
	slots    chan struct{}

	ctx     context.Context // ends when the port closes
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	failure error
}

// Listen opens a TCP port at address, host:port, and serves it until Close. The
// context bounds only the opening. The error is the operating system's.
func Listen(ctx context.Context, address string, options Options) (*Port, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open node port: %w", err)
	}
	return NewPort(listener, options), nil
}

// NewPort serves a listener that is already open, which it takes over, until Close.
func NewPort(listener net.Listener, options Options) *Port {
	if options.HandshakeTimeout <= 0 {
		options.HandshakeTimeout = defaultHandshakeTimeout
	}
	if options.MaxHandshakes <= 0 {
		options.MaxHandshakes = defaultMaxHandshakes
	}
	if options.Rejected == nil {
		options.Rejected = func(net.Addr, error) {}
	}
	port := &Port{
		listener: listener,
		options:  options,
		raft:     newBacklog(listener.Addr()),
		rpc:      newBacklog(listener.Addr()),
		slots:    make(chan struct{}, options.MaxHandshakes),
	}
	port.ctx, port.cancel = context.WithCancel(context.Background())
	port.running.Go(port.acceptAll)
	return port
}

// Addr returns the address that the port listens at.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// RPC returns the listener for the gRPC server, which must use
// ServerCredentials. Closing it, as the gRPC server does when it stops, leaves
// Raft's side open. Every call returns the same listener.
func (p *Port) RPC() net.Listener { return p.rpc }

// Close stops listening, ends the handshakes that run, closes both protocols'
// listeners and waits for the port's goroutines. Connections that a gRPC server
// has accepted are that server's to close, those of a RaftLayer the layer's.
// The error is that of the first call.
func (p *Port) Close() error {
	p.closing.Do(func() {
		p.cancel()
		p.failure = errors.Join(ignoreClosed(p.listener.Close()), p.raft.Close(), p.rpc.Close())
	})
	p.running.Wait()
	return p.failure
}

func (p *Port) acceptAll() {
	defer p.stopHandingOn()
	var pause time.Duration
	for p.takeSlot() {
		raw, err := p.listener.Accept()
		if err == nil {
			pause = 0
			p.running.Go(func() {
				defer p.freeSlot()
				p.admit(raw)
			})
			continue
		}
		p.freeSlot()
		if p.ctx.Err() != nil {
			return
		}
		p.options.Rejected(nil, fmt.Errorf("accept: %w", err))
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of file descriptors, most likely: it passes, and must not spin.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if !p.wait(pause) {
			return
		}
	}
}

// stopHandingOn lets both servers know that nobody will come any more.
func (p *Port) stopHandingOn() {
	if err := errors.Join(p.raft.Close(), p.rpc.Close()); err != nil {
		p.options.Rejected(nil, err)
	}
}

// admit sees one connection through its handshake.
func (p *Port) admit(raw net.Conn) {
	ctx, cancel := context.WithTimeout(p.ctx, p.options.HandshakeTimeout)
	defer cancel()
	conn, err := p.options.Certificates.current.Load().accept(ctx, raw)
	if err == nil {
		if err = p.handOn(conn); err == nil {
			return
		}
		err = errors.Join(err, ignoreClosed(conn.Close()))
	} else {
		err = errors.Join(err, ignoreClosed(raw.Close()))
	}
	if p.ctx.Err() != nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %s: %w", p.options.HandshakeTimeout, err)
	}
	p.options.Rejected(raw.RemoteAddr(), err)
}

func (p *Port) handOn(conn *nodeConn) error {
	switch agreed := conn.ConnectionState().NegotiatedProtocol; agreed {
	case ProtocolRaft:
		return p.raft.push(conn)
	case ProtocolRPC:
		return p.rpc.push(conn)
	default:
		return fmt.Errorf("%w: got %q", ErrProtocol, agreed)
	}
}

func (p *Port) takeSlot() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *Port) freeSlot() { <-p.slots }

func (p *Port) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}
