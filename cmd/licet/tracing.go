package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/config"
)

// What tracing may take. Spans beyond the queue are dropped, and so are those of an export that fails: requests never wait.
const (
	traceQueue   = 2048
	traceBatch   = 512
	traceEvery   = time.Second
	traceTimeout = 5 * time.Second
	// traceFlush bounds how long a stop waits until what is there was sent.
	traceFlush = 3 * time.Second
)

// tracing sends spans to a collector. Nil is a node without tracing.
type tracing struct {
	provider *sdk.TracerProvider
	log      hclog.Logger
}

// startTracing returns nil if the configuration names no collector. It does not wait for one.
func startTracing(ctx context.Context, c config.Config, log hclog.Logger) (*tracing, error) {
	if c.Tracing.Endpoint == "" {
		return nil, nil
	}
	// The library's own complaints go to the process's standard error otherwise.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing", "reason", err) }))
	sender, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Tracing.Endpoint), otlptracehttp.WithTimeout(traceTimeout),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	return &tracing{log: log, provider: sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Tracing.Ratio))),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "licet"), attribute.String("service.version", version()),
			attribute.String("service.instance.id", c.Node.ID), attribute.String("licet.site", c.Node.Site),
		)),
		sdk.WithBatcher(&spanSender{SpanExporter: sender, endpoint: c.Tracing.Endpoint, log: log}, sdk.WithMaxQueueSize(traceQueue),
			sdk.WithMaxExportBatchSize(traceBatch), sdk.WithBatchTimeout(traceEvery), sdk.WithExportTimeout(traceTimeout)),
	)}, nil
}

// tracer is nil if there is no tracing.
func (t *tracing) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("licet")
}

// stop sends what is left, as far as that is possible within traceFlush.
func (t *tracing) stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceFlush)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans were not sent", "reason", err)
	}
}

// spanSender says once that the collector takes nothing, and once that it takes spans again.
type spanSender struct {
	sdk.SpanExporter
	endpoint string
	log      hclog.Logger

	mu sync.Mutex
	// lost are the spans since the first failure in a row.
	lost int
}

// maxReason bounds what is logged of a collector's answer, in bytes.
const maxReason = 300

// ExportSpans implements sdk.SpanExporter. It has no errors: what could be done about them is done.
func (s *spanSender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && s.lost == 0:
		s.log.Warn("traces can't be sent; spans are dropped until they can", "endpoint", s.endpoint, "reason", fmt.Sprintf("%.*s", maxReason, err.Error()))
		s.lost = len(spans)
	case err != nil:
		s.lost += len(spans)
	case s.lost > 0:
		s.log.Info("traces are sent again", "endpoint", s.endpoint, "lost", s.lost)
		s.lost = 0
	}
	return nil
}
