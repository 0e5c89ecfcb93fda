package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestRefusals(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	r := NewRefusals(hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true}))
	r.news.now = func() time.Time { return now }
	at := func(host byte, port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, host), Port: port} }
	foreign := errors.New("certificate does not lead to the cluster's authority")
	for _, c := range []struct {
		name   string
		after  time.Duration
		remote net.Addr
		reason error
		told   bool
	}{
		{"the first", 0, at(1, 1), foreign, true},
		{"the same host from another port", 50 * time.Second, at(1, 2), foreign, false},
		{"a repeat counts from the last", 50 * time.Second, at(1, 3), foreign, false},
		{"another host", 0, at(2, 1), foreign, true},
		{"another reason", 0, at(1, 4), errors.New("certificate has expired"), true},
		{"after a pause", 2 * time.Minute, at(2, 2), foreign, true},
		{"accepting itself", 0, nil, errors.New("too many open files"), true},
		{"the node stops", 0, at(3, 1), fmt.Errorf("hand on: %w", net.ErrClosed), false},
		{"accepting itself, again", 0, nil, errors.New("too many open files"), false},
	} {
		now = now.Add(c.after)
		out.Reset()
		r.Add(c.remote, c.reason)
		if got := out.String(); strings.HasPrefix(got, "[WARN]") != c.told || !c.told && got != "" {
			t.Errorf("%s: %q, told is %v", c.name, got, c.told)
		}
	}
	for i := range 3 * maxTold {
		r.Add(&net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))}, foreign)
	}
	if n := len(r.news.told); n > maxTold {
		t.Errorf("%d hosts are remembered", n)
	}
}
