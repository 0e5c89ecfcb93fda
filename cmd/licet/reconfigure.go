package main

import (
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/api"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
)

// reconfiguration gives a running node what has changed in its configuration and can change.
type reconfiguration struct {
	// read reads the configuration anew, from where it was read at first.
	read    func() (config.Config, error)
	current config.Config
	levels  *levels
	node    *cluster.Node
	handler *api.Handler
	log     hclog.Logger
}

// Reload takes over the new configuration, or, if it has a fault, nothing of it. What needs a
// restart is named and stays as it was, so that a later Reload names it again.
func (r *reconfiguration) Reload() error {
	next, err := r.read()
	if err != nil {
		return err
	}
	reloaded, fixed := config.Changed(r.current, next)
	if len(fixed) > 0 {
		r.log.Warn("changed in the configuration, but not before a restart", "keys", strings.Join(fixed, ", "))
	}
	if len(reloaded) == 0 {
		return nil
	}
	r.levels.set(hclog.LevelFromString(next.Log.Level))
	r.node.SetPolicy(policyOf(next))
	r.node.SetMaxClockSkew(next.Limits.MaxClockSkew)
	r.handler.SetMaxBody(int64(next.Limits.BodyBytes))
	r.handler.SetRates(ratesOf(next.Limits))
	r.current = taken(r.current, next)
	r.log.Info("configuration changed", "keys", strings.Join(reloaded, ", "))
	return nil
}

// NotAfter is zero: a configuration does not end.
func (r *reconfiguration) NotAfter() time.Time { return time.Time{} }

// taken is the configuration that is in force after a reload.
func taken(current, next config.Config) config.Config {
	current.Log.Level, current.Autopilot = next.Log.Level, next.Autopilot
	current.Limits.MaxClockSkew, current.Limits.BodyBytes = next.Limits.MaxClockSkew, next.Limits.BodyBytes
	current.Limits.RatePrincipal, current.Limits.RatePrincipalBurst = next.Limits.RatePrincipal, next.Limits.RatePrincipalBurst
	current.Limits.RateAddress, current.Limits.RateAddressBurst = next.Limits.RateAddress, next.Limits.RateAddressBurst
	current.Limits.RateUnknown, current.Limits.RateUnknownBurst = next.Limits.RateUnknown, next.Limits.RateUnknownBurst
	current.Cluster.RequireJoinToken, current.Cluster.PreferredSites = next.Cluster.RequireJoinToken, next.Cluster.PreferredSites
	return current
}

func ratesOf(l config.Limits) api.Rates {
	return api.Rates{
		Principal: api.Rate{PerSecond: l.RatePrincipal, Burst: l.RatePrincipalBurst},
		Address:   api.Rate{PerSecond: l.RateAddress, Burst: l.RateAddressBurst},
		Unknown:   api.Rate{PerSecond: l.RateUnknown, Burst: l.RateUnknownBurst},
	}
}

func policyOf(c config.Config) cluster.Policy {
	return cluster.Policy{
		PreferredSites: c.Cluster.PreferredSites, RequireJoinToken: c.Cluster.RequireJoinToken,
		Stabilisation: c.Autopilot.Stabilisation, PreferredAfter: c.Autopilot.PreferredAfter,
		RemoveDeadAfter: c.Autopilot.RemoveDeadAfter, MinVoters: uint(c.Autopilot.MinVoters),
	}
}

// levels are all loggers of a node, whose levels are independent of each other but for a change of
// the configuration. Safe for concurrent use.
type levels struct {
	mu  sync.Mutex
	all []hclog.Logger
}

func (l *levels) add(log hclog.Logger) hclog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, log)
	return log
}

func (l *levels) set(level hclog.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, log := range l.all {
		log.SetLevel(level)
	}
}
