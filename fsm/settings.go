package fsm

import (
	"fmt"

	"github.com/licet/licet/fsm/fsmpb"
)

// Settings are the replicated settings, the same on all nodes.
type Settings struct {
	// RequestTTL is how long the outcome of a request id is remembered, in seconds (rule E1).
	RequestTTL uint64
	// RequestLimit is how many outcomes are remembered at most (rule E1).
	RequestLimit uint64
}

// DefaultSettings are in force until an operator changes them. A full memory of
// requests takes about 150 MB on each node. An outcome has a bounded size, a few
// kilobytes at most, for an instance with as many areas as may be.
var DefaultSettings = Settings{RequestTTL: 3600, RequestLimit: 250_000}

// Bounds of Settings.
const (
	MinRequestTTL, MaxRequestTTL     = 60, 7 * 24 * 3600
	MinRequestLimit, MaxRequestLimit = 1_000, 10_000_000
)

// Validate says which setting is out of its bounds.
func (x Settings) Validate() error {
	if x.RequestTTL < MinRequestTTL || x.RequestTTL > MaxRequestTTL {
		return fmt.Errorf("request_ttl_seconds: %d is not in %d to %d", x.RequestTTL, MinRequestTTL, MaxRequestTTL)
	}
	if x.RequestLimit < MinRequestLimit || x.RequestLimit > MaxRequestLimit {
		return fmt.Errorf("request_limit: %d is not in %d to %d", x.RequestLimit, MinRequestLimit, MaxRequestLimit)
	}
	return nil
}

func (x Settings) proto() *fsmpb.Settings {
	return &fsmpb.Settings{RequestTtlSeconds: x.RequestTTL, RequestLimit: x.RequestLimit}
}

func settingsFromProto(p *fsmpb.Settings) Settings {
	return Settings{RequestTTL: p.GetRequestTtlSeconds(), RequestLimit: p.GetRequestLimit()}
}

// putSettings changes the settings that are named, that is not zero.
func (s *State) putSettings(o *fsmpb.Outcome, cmd *fsmpb.PutSettings) {
	next := s.meta.Settings
	if n := cmd.GetSettings().GetRequestTtlSeconds(); n != 0 {
		next.RequestTTL = n
	}
	if n := cmd.GetSettings().GetRequestLimit(); n != 0 {
		next.RequestLimit = n
	}
	if err := next.Validate(); err != nil {
		o.Refusal = invalid(err)
		return
	}
	m := edit(s.meta)
	m.Settings = next
	s.setMeta(m)
	o.Result = &fsmpb.Outcome_Settings{Settings: next.proto()}
}
