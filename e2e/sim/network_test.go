package sim

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network carries connections between hosts like TCP: bytes arrive whole, once and in order, or not at all. Writing never waits,
// as a goroutine that holds a mutex meanwhile would stop virtual time; what is under way is not bounded.
type network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	listeners map[string]*listener
	// cut are the directions in which nothing arrives.
	cut map[link]bool
	// slow is how much longer everything takes from and to a host.
	slow map[string]time.Duration
	// conns are the ends of all connections that are open, in the order in which they were made.
	conns []*conn
}

// link is a direction between two hosts.
type link struct{ from, to string }

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, listeners: map[string]*listener{}, cut: map[link]bool{}, slow: map[string]time.Duration{}}
}

// resend is how long at most a host takes to send again what was lost.
const resend = 300 * time.Millisecond

// delay is how long something takes that is sent now. The network is locked.
func (n *network) delay(l link) time.Duration {
	d := 200*time.Microsecond + time.Duration(n.rng.Int64N(int64(2*time.Millisecond)))
	if n.rng.IntN(200) == 0 {
		d += time.Duration(n.rng.Int64N(int64(resend))) // it was lost, and is sent again
	}
	return d + n.slow[l.from] + n.slow[l.to]
}

// setCut cuts or heals directions. What was sent meanwhile arrives after healing.
func (n *network) setCut(cut bool, links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		if cut {
			n.cut[l] = true
			continue
		}
		delete(n.cut, l)
		for _, c := range n.conns {
			if c.in != l {
				continue
			}
			at := time.Now().Add(time.Duration(n.rng.Int64N(int64(resend))))
			for i := range c.packets {
				c.packets[i].at = later(c.packets[i].at, at)
			}
			c.nudge()
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *network) setSlow(host string, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[host] = by
}

// reset ends the connections that a host has with others, or with one of them, as firewalls do that forget.
func (n *network) reset(host, other string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if l := c.in; l.to == host && (other == "" || l.from == other) || l.from == host && (other == "" || l.to == other) {
			c.fail(syscall.ECONNRESET)
		}
	}
	n.forget()
}

// lose has a host's connections and listener vanish with it. Others are told at once if its kernel is still there; otherwise
// they hear nothing until it is back.
func (n *network) lose(host string, told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listeners, host)
	for _, c := range n.conns {
		if c.in.to == host {
			c.fail(net.ErrClosed)
			c.other.orphan = true
			if told {
				c.other.push(packet{end: syscall.ECONNRESET})
			}
		}
	}
	n.forget()
}

// forget drops the ends that have failed. The network is locked.
func (n *network) forget() {
	kept := n.conns[:0]
	for _, c := range n.conns {
		if c.err == nil {
			kept = append(kept, c)
		}
	}
	clear(n.conns[len(kept):])
	n.conns = kept
}

// listen opens a host's one port. Those who still have connections with an earlier process there learn that it is gone.
func (n *network) listen(host string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if c.in.from == host && c.orphan {
			c.push(packet{end: syscall.ECONNRESET})
		}
	}
	l := &listener{network: n, host: host, waiting: make(chan net.Conn, 64), done: make(chan struct{})}
	n.listeners[host] = l
	return l
}

// dial connects a host to another one. Where nothing arrives it tries again until ctx ends.
func (n *network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	there, back := link{from, to}, link{to, from}
	for {
		n.mu.Lock()
		wait := n.delay(there) + n.delay(back)
		n.mu.Unlock()
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		n.mu.Lock()
		l, cut := n.listeners[to], n.cut[there] || n.cut[back]
		if !cut {
			conn, err := n.connect(there, l)
			n.mu.Unlock()
			return conn, err
		}
		n.mu.Unlock()
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause has virtual time pass, whatever ends meanwhile.
func pause(d time.Duration) { _ = sleep(context.Background(), d) }

// connect makes a connection's two ends. The network is locked.
func (n *network) connect(l link, at *listener) (net.Conn, error) {
	if at == nil || at.closed {
		return nil, &net.OpError{Op: "dial", Net: "sim", Addr: address(l.to), Err: syscall.ECONNREFUSED}
	}
	mine := &conn{network: n, in: link{l.to, l.from}, wake: make(chan struct{}, 1)}
	theirs := &conn{network: n, in: l, wake: make(chan struct{}, 1), other: mine}
	mine.other = theirs
	select {
	case at.waiting <- theirs:
	default:
		return nil, syscall.ECONNREFUSED
	}
	n.conns = append(n.conns, mine, theirs)
	return mine, nil
}

// address is a host; each has one port.
type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }

type listener struct {
	network *network
	host    string
	waiting chan net.Conn
	done    chan struct{}
	closed  bool
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return address(l.host) }

func (l *listener) Close() error {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
	return nil
}

// conn is an end of a connection. Its network's lock guards it.
type conn struct {
	network *network
	// in is the direction in which packets come to this end.
	in      link
	other   *conn
	packets []packet
	// err is why nothing can be written or read any more.
	err error
	// orphan is set where the other end is gone without a word.
	orphan   bool
	deadline time.Time
	// wake has the reader look again.
	wake chan struct{}
}

// packet is what arrives at a time: bytes, or the end.
type packet struct {
	at   time.Time
	data []byte
	end  error
}

func (c *conn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.nudge()
}

// push sends a packet to this end.
func (c *conn) push(p packet) {
	p.at = time.Now().Add(c.network.delay(c.in))
	if last := len(c.packets) - 1; last >= 0 {
		p.at = later(p.at, c.packets[last].at)
	}
	c.packets = append(c.packets, p)
	c.nudge()
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, wait, err := c.arrived(b)
		if n > 0 || err != nil {
			return n, err
		}
		if wait < 0 {
			<-c.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// arrived takes what is there, or says how long to wait for a packet or the deadline; negative if for neither.
func (c *conn) arrived(b []byte) (n int, wait time.Duration, err error) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	now := time.Now()
	wait = -1
	if c.err != nil {
		return 0, 0, c.err
	}
	if !c.deadline.IsZero() {
		if wait = c.deadline.Sub(now); wait <= 0 {
			return 0, 0, os.ErrDeadlineExceeded
		}
	}
	if len(c.packets) == 0 || c.network.cut[c.in] {
		return 0, wait, nil
	}
	p := &c.packets[0]
	if until := p.at.Sub(now); until > 0 {
		if wait < 0 || until < wait {
			wait = until
		}
		return 0, wait, nil
	}
	if p.end != nil {
		if !errors.Is(p.end, io.EOF) {
			c.fail(p.end)
			c.network.forget()
		}
		return 0, 0, p.end
	}
	n = copy(b, p.data)
	if p.data = p.data[n:]; len(p.data) == 0 {
		c.packets = c.packets[1:]
	}
	return n, 0, nil
}

func (c *conn) Write(b []byte) (int, error) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.orphan && c.other.err == nil {
		c.other.push(packet{data: append([]byte(nil), b...)})
	}
	return len(b), nil
}

func (c *conn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.fail(net.ErrClosed)
	c.network.forget()
	if !c.orphan && c.other.err == nil {
		c.other.push(packet{end: io.EOF})
		c.other.orphan = true
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return address(c.in.to) }
func (c *conn) RemoteAddr() net.Addr { return address(c.in.from) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.deadline = t
	c.nudge()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline has nothing to do: writing never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
