package cluster

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxTold bounds what is remembered to have been told.
const maxTold = 1000

// Refusals logs the connections that this node refuses on its port. A node that is
// refused comes again each second, so a host is told of once, and again for another
// reason or when it has stayed away for a minute. Safe for concurrent use.
type Refusals struct {
	log  hclog.Logger
	news *news
}

// NewRefusals returns one that writes to log.
func NewRefusals(log hclog.Logger) *Refusals { return &Refusals{log: log, news: newNews()} }

// Add is for transport.Options.Rejected.
func (r *Refusals) Add(remote net.Addr, err error) {
	host := ""
	if address, ok := remote.(*net.TCPAddr); ok {
		host = address.IP.String()
	}
	level := r.news.level(host, err.Error())
	if remote != nil && errors.Is(err, net.ErrClosed) {
		// The node stops: nobody is refused.
		level = hclog.Debug
	}
	r.log.Log(level, "connection refused", "remote", remote, "reason", err)
}

// unlike is for transport.Refused: connections of this node that came to nothing
// because one end did not take the other for a node of its cluster.
func (r *Refusals) unlike(address string, err error) {
	r.log.Log(r.news.level(address, err.Error()), "no connection to node", "address", address, "reason", err)
}

// news tells what is new from what repeats. Safe for concurrent use.
type news struct {
	now func() time.Time

	mu   sync.Mutex
	told map[[2]string]time.Time
}

func newNews() *news { return &news{now: time.Now, told: map[[2]string]time.Time{}} }

// level is that of a warning for what is new, and for what repeats one for debugging.
func (n *news) level(about, reason string) hclog.Level {
	n.mu.Lock()
	defer n.mu.Unlock()
	what := [2]string{about, reason}
	last, known := n.told[what]
	now := n.now()
	if len(n.told) == maxTold && !known {
		clear(n.told)
	}
	n.told[what] = now
	if known && now.Sub(last) <= newsAfter {
		return hclog.Debug
	}
	return hclog.Warn
}
