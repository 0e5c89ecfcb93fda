// Package metrics has what a node measures, for Prometheus: the names, which docs/metrics.md lists, the instruments
// on the way of writes and reads, and what a scrape reads of the node and its state.
//
// A scrape works on an immutable view and on counters that the state keeps anyway; it holds up no write and
// walks no leases. The number of series is bounded, see docs/metrics.md.
package metrics

import (
	"bytes"
	"fmt"
	"time"

	hashicorp "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// ContentType is that of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Metrics are those of one node. Safe for concurrent use.
type Metrics struct {
	Requests
	// Sink is for what Raft, its store and memberlist report; see TakeLibraries.
	Sink     *Sink
	registry *prometheus.Registry
}

// New returns metrics that nobody else shares: Go's, the process's, and licet's own.
func New() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Metrics{Requests: newRequests(registry), Sink: newSink(registry), registry: registry}
}

// TakeLibraries has Raft, its store and memberlist report here. They know one place for the whole process: of
// several nodes in one process the last one's metrics have it all.
func (m *Metrics) TakeLibraries() error {
	_, err := hashicorp.NewGlobal(&hashicorp.Config{FilterDefault: true, TimerGranularity: time.Millisecond}, m.Sink)
	return err
}

// Gatherer is for tests that look at families.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Text is the present state of all metrics in Prometheus' text format.
func (m *Metrics) Text() ([]byte, error) {
	all, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	var out bytes.Buffer
	e := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range all {
		if err := e.Encode(f); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return out.Bytes(), nil
}
