package main

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// refusalsAfter is how long a refused host has to stay away to be told of again.
	refusalsAfter = time.Minute
	// maxRefused bounds the hosts that are remembered.
	maxRefused = 1000
)

// refusals logs the connections that the node port refuses. A node that is refused
// comes again each second, so a host is told of once, until the reason changes.
// Safe for concurrent use.
type refusals struct {
	log hclog.Logger
	now func() time.Time

	mu    sync.Mutex
	hosts map[string]refusal
}

type refusal struct {
	reason string
	at     time.Time
}

func newRefusals(log hclog.Logger) *refusals {
	return &refusals{log: log, now: time.Now, hosts: map[string]refusal{}}
}

// add is for transport.Options.Rejected.
func (r *refusals) add(remote net.Addr, err error) {
	level := hclog.Debug
	if r.isNews(remote, err.Error()) {
		level = hclog.Warn
	}
	r.log.Log(level, "connection refused", "remote", remote, "reason", err)
}

func (r *refusals) isNews(remote net.Addr, reason string) bool {
	host := ""
	if address, ok := remote.(*net.TCPAddr); ok {
		host = address.IP.String()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, now := r.hosts[host], r.now()
	if len(r.hosts) == maxRefused {
		clear(r.hosts)
	}
	r.hosts[host] = refusal{reason, now}
	return last.reason != reason || now.Sub(last.at) > refusalsAfter
}
