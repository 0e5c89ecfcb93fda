package main

import (
	"slices"
	"testing"

	"github.com/licet/licet/config"
)

// otherValues has a value that is not the default for each key that a running node takes over.
var otherValues = map[string]string{
	"cluster.require_join_token": "true", "cluster.preferred_sites": "paris", "autopilot.stabilisation": "4s", "autopilot.preferred_after": "40s",
	"autopilot.remove_dead_after": "5m", "autopilot.min_voters": "5", "limits.max_clock_skew": "4s", "limits.body_bytes": "2 KiB", "log.level": "warn",
	"limits.rate_principal": "7", "limits.rate_principal_burst": "7", "limits.rate_address": "7", "limits.rate_address_burst": "7",
	"limits.rate_unknown": "7", "limits.rate_unknown_burst": "7",
}

// What the documentation says is taken over at SIGHUP is, and nothing else.
func TestTakenOver(t *testing.T) {
	least := []string{
		"node.id=a", "node.data_dir=d", "tls.ca=c", "tls.cert=c", "tls.key=k", "cluster.expect=1", "cluster.vendor_keys=v", "auth.operator_token_file=t",
	}
	load := func(more ...string) config.Config {
		t.Helper()
		c, err := config.Load("", nil, slices.Concat(least, more))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, k := range config.Keys() {
		value, known := otherValues[k.Name]
		if known != k.Reload {
			t.Errorf("%s: it is said to be taken over: %v; it has another value here: %v", k.Name, k.Reload, known)
		}
		if !known {
			continue
		}
		next := load(k.Name + "=" + value)
		if reloaded, _ := config.Changed(load(), next); len(reloaded) != 1 {
			t.Errorf("%s=%s changes %v", k.Name, value, reloaded)
		}
		if reloaded, fixed := config.Changed(taken(load(), next), next); len(reloaded)+len(fixed) > 0 {
			t.Errorf("%s: after a reload, %v and %v are still to be taken over", k.Name, reloaded, fixed)
		}
	}
	next := load("raft.trailing_logs=99", "log.level=warn")
	if _, fixed := config.Changed(taken(load(), next), next); !slices.Equal(fixed, []string{"raft.trailing_logs"}) {
		t.Errorf("what needs a restart was taken over: %v", fixed)
	}
}
