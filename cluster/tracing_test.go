package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/fsm"
)

// traced gives a node a tracer whose spans are there as soon as they end.
func (s *site) traced(ratio float64) *tracetest.InMemoryExporter {
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(ratio))))
	s.options.Tracer = provider.Tracer("test")
	return spans
}

// tracedSites starts nodes that all trace.
func tracedSites(t *testing.T, n int) ([]*site, map[*site]*tracetest.InMemoryExporter) {
	t.Helper()
	list, spans := sites(t, n), map[*site]*tracetest.InMemoryExporter{}
	for _, s := range list {
		spans[s] = s.traced(1)
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	return list, spans
}

func another(list []*site, than *site) *site {
	return list[slices.IndexFunc(list, func(s *site) bool { return s != than })]
}

// proposeTraced has somebody who traces create an instance, and returns that span.
func (s *site) proposeTraced(name string) (trace.SpanContext, error) {
	c, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance(name, 1))
	if err != nil {
		return trace.SpanContext{}, err
	}
	ctx, span := s.options.Tracer.Start(context.Background(), "request")
	defer span.End()
	o, err := s.node.Propose(ctx, c)
	if err == nil && o.Refusal != nil {
		err = errors.New(fsm.Detail(o.Refusal))
	}
	return span.SpanContext(), err
}

// find returns the only span of a name in a trace.
func find(t *testing.T, spans *tracetest.InMemoryExporter, in trace.TraceID, name string) tracetest.SpanStub {
	t.Helper()
	var found tracetest.SpanStubs
	for _, x := range spans.GetSpans() {
		if x.SpanContext.TraceID() == in && x.Name == name {
			found = append(found, x)
		}
	}
	if len(found) != 1 {
		t.Fatalf("trace %s has %d spans %q", in, len(found), name)
	}
	return found[0]
}

func value64(x tracetest.SpanStub, name attribute.Key) int64 {
	for _, a := range x.Attributes {
		if a.Key == name {
			return a.Value.AsInt64()
		}
	}
	return -1
}

// A write that a follower was asked for is one trace over two nodes: how long it waited, where, and for what.
func TestTraceOfAForwardedWrite(t *testing.T) {
	list, spans := tracedSites(t, 3)
	leader := leaderOf(t, list)
	leader.propose(putContract(t, 30))
	follower := another(list, leader)
	asked, err := follower.proposeTraced("lyon")
	if err != nil {
		t.Fatal(err)
	}
	in := asked.TraceID()
	forward := find(t, spans[follower], in, "forward")
	batch, entry := find(t, spans[leader], in, "batch"), find(t, spans[leader], in, "entry")
	replicate, apply := find(t, spans[leader], in, "replicate"), find(t, spans[leader], in, "apply")
	for child, parent := range map[*tracetest.SpanStub]trace.SpanID{
		&forward: asked.SpanID(), &batch: forward.SpanContext.SpanID(), &entry: forward.SpanContext.SpanID(),
		&replicate: entry.SpanContext.SpanID(), &apply: entry.SpanContext.SpanID(),
	} {
		if child.Parent.SpanID() != parent {
			t.Errorf("%s has the parent %s, not %s", child.Name, child.Parent.SpanID(), parent)
		}
		if child.EndTime.Before(child.StartTime) {
			t.Errorf("%s ends before it begins", child.Name)
		}
	}
	if forward.SpanKind != trace.SpanKindClient || !batch.Parent.IsRemote() || len(forward.Events) != 1 || forward.Events[0].Name != "sent" {
		t.Errorf("forward is of kind %s and has the events %v; the parent of batch is remote: %v", forward.SpanKind, forward.Events, batch.Parent.IsRemote())
	}
	view := leader.node.Status().View
	if index, term := value64(entry, "licet.entry.index"), value64(entry, "licet.entry.term"); index != int64(view.Index()) || term != int64(view.Term()) {
		t.Errorf("the entry is said to be %d of term %d; it is %d of %d", index, term, view.Index(), view.Term())
	}
	if replicate.EndTime != apply.StartTime || apply.EndTime.After(entry.EndTime) {
		t.Error("the entry's parts do not follow on each other")
	}
	if n := len(spans[follower].GetSpans()) + len(spans[leader].GetSpans()); n != 6 {
		t.Errorf("%d spans; nothing but this write is traced", n)
	}
}

// An entry of many commands tells what they share once, and each of the others leads there by one link.
func TestTraceOfASharedEntry(t *testing.T) {
	const many = 100
	list, spans := tracedSites(t, 1)
	leader := leaderOf(t, list)
	leader.propose(putContract(t, 2*many))
	before := leader.node.Status().LastIndex
	release := leader.node.Hold()
	errs := make(chan error, many+1)
	propose := func(i int) {
		_, err := leader.proposeTraced(fmt.Sprintf("i%d", i))
		errs <- err
	}
	go propose(0)
	eventually(t, "the first write takes the only slot", func() error {
		if leader.node.Status().LastIndex == before {
			return errors.New("the log is as it was")
		}
		return nil
	})
	for i := range many {
		go propose(1 + i)
	}
	waiting(t, leader, many)
	release()
	for range many + 1 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	var entries []tracetest.SpanStub
	count := map[string]int{}
	for _, x := range spans[leader].GetSpans() {
		count[x.Name]++
		if x.Name == "entry" && value64(x, "licet.entry.commands") == many {
			entries = append(entries, x)
		}
	}
	want := map[string]int{"request": many + 1, "batch": many + 1, "entry": many + 1, "replicate": 2, "apply": 2}
	for name, n := range want {
		if count[name] != n {
			t.Errorf("%d spans %s, want %d", count[name], name, n)
		}
	}
	if len(entries) != many {
		t.Fatalf("%d commands shared an entry, not %d", len(entries), many)
	}
	var first trace.SpanContext
	for _, x := range entries {
		if len(x.Links) == 0 && !first.IsValid() {
			first = x.SpanContext
		}
	}
	linked := 0
	for _, x := range entries {
		if len(x.Links) == 1 && x.Links[0].SpanContext.Equal(first) {
			linked++
		}
	}
	if linked != many-1 {
		t.Errorf("%d of %d are linked to the first", linked, many-1)
	}
	if apply := find(t, spans[leader], first.TraceID(), "apply"); apply.Parent.SpanID() != first.SpanID() {
		t.Error("what they share is not below the first")
	}
}

// Whom nobody traces costs no span: neither who traces nothing at all, nor whose trace is not sampled.
func TestNobodyIsTracedUnasked(t *testing.T) {
	list := sites(t, 3)
	spans := list[0].traced(0)
	// The others have no tracer.
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	list[0].propose(putContract(t, 30))
	if _, err := list[0].proposeTraced("lyon"); err != nil {
		t.Fatal(err)
	}
	if n := len(spans.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

// A node that traces works with one that does not, in both directions.
func TestTraceEndsAtANodeWithoutTracing(t *testing.T) {
	list := sites(t, 3)
	spans := map[*site]*tracetest.InMemoryExporter{}
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	leader := leaderOf(t, list)
	follower := another(list, leader)
	follower.stop()
	spans[follower] = follower.traced(1)
	follower.start()
	follower.ready()
	leaderOf(t, list).propose(putContract(t, 30))
	asked, err := follower.proposeTraced("lyon")
	if err != nil {
		t.Fatal(err)
	}
	find(t, spans[follower], asked.TraceID(), "forward")
}

// A forward without an answer says so by its code.
func TestTraceOfAFault(t *testing.T) {
	list, spans := tracedSites(t, 3)
	leader := leaderOf(t, list)
	follower := another(list, leader)
	t.Cleanup(leader.node.Hold())
	before := leader.node.Status().LastIndex
	asked, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked, span := follower.options.Tracer.Start(asked, "request")
	done := make(chan error, 1)
	go func() {
		c, err := fsm.NewCommand("operator", "1", putContract(t, 30))
		if err == nil {
			_, err = follower.node.Propose(asked, c)
		}
		done <- err
	}()
	eventually(t, "the entry is in the log", func() error {
		if leader.node.Status().LastIndex == before {
			return errors.New("the log is as it was")
		}
		return nil
	})
	cancel()
	if err := <-done; codeOf(err) != "outcome_unknown" {
		t.Fatal(err)
	}
	forward := find(t, spans[follower], span.SpanContext().TraceID(), "forward")
	if forward.Status.Code != codes.Error || forward.Status.Description != "outcome_unknown" {
		t.Errorf("the span says %v", forward.Status)
	}
}
