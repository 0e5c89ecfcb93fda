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
	// RequestBytes is how many bytes of them are remembered at most (rule E1).
	RequestBytes uint64
	// UsageHours is for how many hours usage is kept.
	UsageHours uint64
	// UsageLimit is how many rows of usage are kept at most: one a product, pool and hour with a change.
	UsageLimit uint64
}

// DefaultSettings are in force until an operator changes them. A full memory of
// requests takes about 150 MB on each node, and never more than RequestBytes.
var DefaultSettings = Settings{RequestTTL: 3600, RequestLimit: 250_000, RequestBytes: 256 << 20, UsageHours: 31 * 24, UsageLimit: 250_000}

// Bounds of Settings.
const (
	MinRequestTTL, MaxRequestTTL     = 60, 7 * 24 * 3600
	MinRequestLimit, MaxRequestLimit = 1_000, 10_000_000
	MinRequestBytes, MaxRequestBytes = 1 << 20, 16 << 30
	MinUsageHours, MaxUsageHours     = 1, 10 * 366 * 24
	MinUsageLimit, MaxUsageLimit     = 1_000, 10_000_000
)

// setting is one setting of the table below.
type setting struct {
	name     string
	min, max uint64
	value    func(*Settings) *uint64
}

var settingsTable = []setting{
	{"request_ttl_seconds", MinRequestTTL, MaxRequestTTL, func(x *Settings) *uint64 { return &x.RequestTTL }},
	{"request_limit", MinRequestLimit, MaxRequestLimit, func(x *Settings) *uint64 { return &x.RequestLimit }},
	{"request_bytes", MinRequestBytes, MaxRequestBytes, func(x *Settings) *uint64 { return &x.RequestBytes }},
	{"usage_hours", MinUsageHours, MaxUsageHours, func(x *Settings) *uint64 { return &x.UsageHours }},
	{"usage_limit", MinUsageLimit, MaxUsageLimit, func(x *Settings) *uint64 { return &x.UsageLimit }},
}

// Validate says which setting is out of its bounds.
func (x Settings) Validate() error {
	for _, s := range settingsTable {
		if n := *s.value(&x); n < s.min || n > s.max {
			return fmt.Errorf("%s: %d is not in %d to %d", s.name, n, s.min, s.max)
		}
	}
	return nil
}

func (x Settings) proto() *fsmpb.Settings {
	return &fsmpb.Settings{
		RequestTtlSeconds: x.RequestTTL, RequestLimit: x.RequestLimit, RequestBytes: x.RequestBytes,
		UsageHours: x.UsageHours, UsageLimit: x.UsageLimit,
	}
}

// SettingsFromProto is the reverse of what outcomes and snapshots carry.
func SettingsFromProto(p *fsmpb.Settings) Settings {
	return Settings{
		RequestTTL: p.GetRequestTtlSeconds(), RequestLimit: p.GetRequestLimit(), RequestBytes: p.GetRequestBytes(),
		UsageHours: p.GetUsageHours(), UsageLimit: p.GetUsageLimit(),
	}
}

// putSettings changes the settings that are named, that is not zero.
func (s *State) putSettings(o *fsmpb.Outcome, cmd *fsmpb.PutSettings) {
	next, named := s.meta.Settings, SettingsFromProto(cmd.GetSettings())
	for _, x := range settingsTable {
		if n := *x.value(&named); n != 0 {
			*x.value(&next) = n
		}
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
