package api

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// tellConnections is how long after a line of the log about refused connections the next one comes at the soonest.
const tellConnections = time.Minute

// Connections bounds how many connections a listener has open.
type Connections struct {
	// Most are all together, Each those of one address (see PrefixOf).
	Most, Each int
	// Meter is told of those that are refused.
	Meter Meter
	Log   hclog.Logger
}

// Listen bounds what a listener accepts. Connections beyond the bounds are closed at once, so that whoever has many can't keep
// the others from being accepted. Those that a client left are closed by the timeouts of Server.
func (c Connections) Listen(l net.Listener) net.Listener {
	return &boundListener{Listener: l, bounds: c, of: make(map[netip.Prefix]int), tell: rate.Sometimes{Interval: tellConnections}}
}

type boundListener struct {
	net.Listener
	bounds Connections
	tell   rate.Sometimes

	mu   sync.Mutex
	open int
	of   map[netip.Prefix]int
}

// Accept returns the next connection within the bounds.
func (l *boundListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := PrefixOf(conn.RemoteAddr().String())
		kind := l.enter(from)
		if kind == "" {
			return &boundConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		l.bounds.Meter.Refused(kind)
		l.tell.Do(func() {
			l.bounds.Log.Warn("connections are refused: too many are open", "from", from, "most", l.bounds.Most, "most_of_an_address", l.bounds.Each)
		})
		_ = conn.Close()
	}
}

// enter counts a connection, or says which bound refuses it.
func (l *boundListener) enter(from netip.Prefix) (refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= l.bounds.Most:
		return refusedConnection
	case l.of[from] >= l.bounds.Each:
		return refusedConnections
	}
	l.open++
	l.of[from]++
	return ""
}

func (l *boundListener) leave(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	countDown(l.of, from)
}

// boundConn counts until it is closed.
type boundConn struct {
	net.Conn
	leave func()
}

// Close may be called more than once.
func (c *boundConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
