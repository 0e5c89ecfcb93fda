package rules_test

import (
	"net"
	"sync"
	"testing"
)

// door is a port of 127.0.0.1 that stays taken while nobody serves it, so that a node that is
// started again finds it free.
type door struct {
	listener net.Listener
	mu       sync.Mutex
	open     *doorway
}

// doorway is the listener of whoever serves a door at the time.
type doorway struct {
	door   *door
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newDoor(t testing.TB) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{listener: listener}
	var accepting sync.WaitGroup
	accepting.Go(d.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
	})
	return d
}

func (d *door) address() string { return d.listener.Addr().String() }

// serve returns a listener; the one before must be closed.
func (d *door) serve() net.Listener {
	w := &doorway{door: d, conns: make(chan net.Conn), closed: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = w
	return w
}

func (d *door) accept() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		w := d.open
		d.mu.Unlock()
		if w == nil || !w.take(conn) {
			_ = conn.Close()
		}
	}
}

func (w *doorway) take(conn net.Conn) bool {
	select {
	case w.conns <- conn:
		return true
	case <-w.closed:
		return false
	}
}

// Accept implements net.Listener.
func (w *doorway) Accept() (net.Conn, error) {
	select {
	case conn := <-w.conns:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (w *doorway) Close() error {
	w.once.Do(func() {
		w.door.mu.Lock()
		defer w.door.mu.Unlock()
		w.door.open = nil
		close(w.closed)
	})
	return nil
}

// Addr implements net.Listener.
func (w *doorway) Addr() net.Addr { return w.door.listener.Addr() }
