package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
)

const (
	// cpuProfile is the profile that takes time; pprof's own name for it says less.
	cpuProfile = "profile"
	// defaultProfile is how many seconds it takes.
	defaultProfile = 30
)

// profiles are those that can be asked for. Mutexes and blocking are not recorded, as that would cost all the time; the command line
// is none, as it would tell of files.
var profiles = []string{cpuProfile, "allocs", "goroutine", "heap"}

// getProfile takes a profile of the process, in the format of pprof.
func (s *service) getProfile(c *call) (*answer, error) {
	if !s.Profiling {
		p := problemf(apiv1.CodeProfilingOff, "Node %s takes no profiles.", s.Node.ID())
		return nil, p
	}
	name := c.PathValue("profile")
	if !slices.Contains(profiles, name) {
		c.query.fault("profile", "profile: "+strconv.QuoteToASCII(clip(name))+" is none of "+strings.Join(profiles, ", "))
	}
	if name != cpuProfile && c.query.values.Has("seconds") {
		c.query.fault("seconds", "seconds: only "+cpuProfile+" takes time")
	}
	length := c.query.wait("seconds", 1, defaultProfile)
	if err := c.query.done(); err != nil {
		return nil, err
	}
	select {
	case s.profiles <- struct{}{}:
		defer func() { <-s.profiles }()
	default:
		return nil, s.profileBusy()
	}
	var text bytes.Buffer
	if name == cpuProfile {
		if err := s.profileCPU(c, &text, length); err != nil {
			return nil, err
		}
	} else if err := pprof.Lookup(name).WriteTo(&text, 0); err != nil {
		return nil, err
	}
	return ok(document{"application/octet-stream", text.Bytes()}), nil
}

// profileBusy refuses a profile: a process takes one at a time.
func (s *service) profileBusy() *problem {
	p := problemf(apiv1.CodeOverloaded, "A profile of node %s is being taken, and one at a time is.", s.Node.ID())
	p.next, p.retryAfter = "Try again when it is done.", time.Second
	return p
}

// profileCPU records where the processors' time goes, until the length or the request's time is up or the node is about to stop.
// It takes the place of a request that waits.
func (s *service) profileCPU(c *call, text *bytes.Buffer, length time.Duration) error {
	giveBack, full := s.waiters.take(s, c)
	if full != nil {
		return full
	}
	defer giveBack()
	ctx, cancel := context.WithTimeout(c.ctx, withinDeadline(c.ctx, length))
	defer cancel()
	if err := c.extend(length + s.RequestTimeout); err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(text); err != nil {
		return s.profileBusy()
	}
	select {
	case <-ctx.Done():
	case <-s.drained:
	}
	pprof.StopCPUProfile()
	// Nobody is there any more to read it.
	return c.ctx.Err()
}

// extend gives the answer so much time from now on: the server's own limit is for requests that don't wait.
func (c *call) extend(d time.Duration) error {
	err := http.NewResponseController(c.writer).SetWriteDeadline(time.Now().Add(d))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
