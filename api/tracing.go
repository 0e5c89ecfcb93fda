package api

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// beginSpan traces an exchange from its beginning, within the trace that the sender names, if it names one (W3C Trace
// Context). It comes after authentication, so that nobody without a token has the node send anything anywhere. Scrapes
// have no spans: they come all the time.
//
// A span says nothing of who asks and for what but the route: paths and bodies hold handles, keys and addresses.
func (s *service) beginSpan(c *call, rt *route) {
	if s.Tracer == nil || rt.path == metricsPath {
		return
	}
	x := exchangeOf(c.ctx)
	parent := propagation.TraceContext{}.Extract(c.ctx, propagation.HeaderCarrier(c.Header))
	c.ctx, x.span = s.Tracer.Start(parent, rt.name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.began), trace.WithAttributes(
		attribute.String("http.request.method", rt.method), attribute.String("http.route", rt.path), attribute.String("licet.request_id", x.id)))
}

// endSpan says how the exchange ended.
func (x *exchange) endSpan() {
	if x.span == nil {
		return
	}
	x.span.SetAttributes(attribute.Int("http.response.status_code", x.status))
	if x.code != "" {
		x.span.SetAttributes(attribute.String("error.type", string(x.code)))
	}
	if x.status >= http.StatusInternalServerError {
		x.span.SetStatus(codes.Error, string(x.code))
	}
	x.span.End()
}
