package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// reload is something that can be read anew while the node runs. What can't be
// read leaves the old in use.
type reload struct {
	what string
	from interface {
		Reload() error
		NotAfter() time.Time
	}
}

// reloadOnHangup reads certificates anew at SIGHUP, until the returned function is called.
func reloadOnHangup(log hclog.Logger, all ...reload) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				for _, r := range all {
					r.run(log)
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}

func (r reload) run(log hclog.Logger) {
	switch err := r.from.Reload(); {
	case err != nil:
		log.Error("not reloaded, what was in use stays in use", "what", r.what, "reason", err)
	case !r.from.NotAfter().IsZero():
		log.Info("reloaded", "what", r.what, "valid_until", r.from.NotAfter().UTC().Format(time.RFC3339))
	}
}
