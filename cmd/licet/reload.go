package main

import (
	"context"
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

// reloadOnHangup reads certificates and configuration anew at SIGHUP, until the returned function is called.
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

const (
	// expiryNotice is how long before the end of a certificate its node begins to warn.
	expiryNotice = 30 * 24 * time.Hour
	// expiryEvery is how often.
	expiryEvery = 24 * time.Hour
)

// watchExpiry warns of certificates that are about to expire, at once and each day, until ctx ends.
func watchExpiry(ctx context.Context, log hclog.Logger, all ...reload) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		for _, r := range all {
			r.warn(log, time.Now())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r reload) warn(log hclog.Logger, now time.Time) {
	until := r.from.NotAfter()
	left := until.Sub(now)
	switch valid := until.UTC().Format(time.RFC3339); {
	case until.IsZero() || left > expiryNotice:
	case left > 0:
		log.Warn("expires soon: put a new one in its place and send SIGHUP", "what", r.what, "valid_until", valid, "days", int(left/(24*time.Hour)))
	default:
		log.Error("has expired: put a new one in its place and send SIGHUP", "what", r.what, "valid_until", valid)
	}
}
