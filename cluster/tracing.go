package cluster

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Spans of the way of a write; see docs/adr/0019-tracing.md. A node adds spans to traces that somebody else began, and
// begins none: where nobody traces a command its proposal has no span, and nothing here does anything.
const (
	// spanForward is on a follower, from the queue for frames until the leader's answer. A command has one for each attempt.
	spanForward = "forward"
	// spanBatch is on the leader, from a command's arrival until its batch is begun.
	spanBatch = "batch"
	// spanEntry is of a command, from the begin of its batch until the entry is applied. Of the commands of an entry the
	// first that is traced has what they share below it, replicate and apply; the others' are linked to it.
	spanEntry     = "entry"
	spanReplicate = "replicate"
	spanApply     = "apply"
)

// traceparent is the header of W3C Trace Context, in which spans are named between nodes.
const traceparent = "traceparent"

// spanOf is the span of whoever asks for something, nil if nobody traces it.
func (n *Node) spanOf(ctx context.Context) trace.Span {
	if n.options.Tracer == nil {
		return nil
	}
	if span := trace.SpanFromContext(ctx); span.SpanContext().IsSampled() {
		return span
	}
	return nil
}

// spanFrom is the span that another node named, nil if it named none that could be read.
func (n *Node) spanFrom(named string) trace.Span {
	if n.options.Tracer == nil || named == "" {
		return nil
	}
	return n.spanOf(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: named}))
}

// traceForward is handOn for a command that is traced.
func (n *Node) traceForward(ctx context.Context, p *proposal) answer {
	_, p.span = n.options.Tracer.Start(ctx, spanForward, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("licet.leader", n.leader.leaderID())))
	a := n.handOn(ctx, p)
	endSpan(p.span, a.err)
	return a
}

// sent notes that the command goes to the leader in a frame of so many, and returns what the leader needs to go on
// with its trace, "" if it has none.
func (p *proposal) sent(commands int) string {
	if p.span == nil {
		return ""
	}
	p.span.AddEvent("sent", trace.WithAttributes(attribute.Int("licet.frame.commands", commands)))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(p.context(), carrier)
	return carrier[traceparent]
}

// context is one in which the proposal's span is the parent.
func (p *proposal) context() context.Context {
	return trace.ContextWithSpan(context.Background(), p.span)
}

// traceWait tells how long commands waited for their batch, also those that come too late.
func (n *Node) traceWait(batch []*proposal) {
	if n.options.Tracer == nil {
		return
	}
	for _, p := range batch {
		if p.span != nil {
			_, span := n.options.Tracer.Start(p.context(), spanBatch, trace.WithTimestamp(p.queued))
			span.End()
		}
	}
}

// entryTrace is what the traces of an entry's commands are told of it; nil if none of them is traced. It
// belongs to one goroutine.
type entryTrace struct {
	tracer trace.Tracer
	began  time.Time
	// first is the context of the first of the spans.
	first context.Context
	spans []trace.Span
}

// traceEntry begins the spans of an entry's commands.
func (n *Node) traceEntry(batch []*proposal) *entryTrace {
	if n.options.Tracer == nil {
		return nil
	}
	var e *entryTrace
	for _, p := range batch {
		if p.span == nil {
			continue
		}
		if e == nil {
			e = &entryTrace{tracer: n.options.Tracer, began: time.Now()}
		}
		e.begin(p, len(batch))
	}
	return e
}

func (e *entryTrace) begin(p *proposal, commands int) {
	options := []trace.SpanStartOption{trace.WithTimestamp(e.began), trace.WithAttributes(attribute.Int("licet.entry.commands", commands))}
	if len(e.spans) > 0 {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: e.spans[0].SpanContext()}))
	}
	ctx, span := e.tracer.Start(p.context(), spanEntry, options...)
	if len(e.spans) == 0 {
		e.first = ctx
	}
	e.spans = append(e.spans, span)
}

// applied tells where the entry is in the log, and when it was on a majority and when applied.
func (e *entryTrace) applied(index, term uint64, a *applied) {
	if e == nil {
		return
	}
	for _, span := range e.spans {
		span.SetAttributes(attribute.Int64("licet.entry.index", int64(index)), attribute.Int64("licet.entry.term", int64(term))) //nolint:gosec // G115: a number of rows, entries or terms, which never comes near 2^63
	}
	e.step(spanReplicate, e.began, a.began)
	e.step(spanApply, a.began, a.ended)
}

func (e *entryTrace) step(name string, began, ended time.Time) {
	_, span := e.tracer.Start(e.first, name, trace.WithTimestamp(began))
	span.End(trace.WithTimestamp(ended))
}

// end ends the spans; err says why there is no outcome.
func (e *entryTrace) end(err *Error) {
	if e == nil {
		return
	}
	for _, span := range e.spans {
		endSpan(span, err)
	}
}

// endSpan ends a span with the code of a fault, if there is one. The fault's text stays out: it is for whoever asked.
func endSpan(span trace.Span, err *Error) {
	if err != nil {
		span.SetAttributes(attribute.String("error.type", string(err.code)))
		span.SetStatus(codes.Error, string(err.code))
	}
	span.End()
}
