package cluster

import (
	"context"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

const someTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// What another node says of a trace is believed as far as it can be read, and never a fault.
func TestTraceparentOfAnotherNode(t *testing.T) {
	n := &Node{}
	n.options.Tracer = sdk.NewTracerProvider().Tracer("test")
	if s := n.spanFrom(someTraceparent); s == nil || s.SpanContext().SpanID().String() != "00f067aa0ba902b7" || !s.SpanContext().IsRemote() {
		t.Errorf("%s is read as %v", someTraceparent, s)
	}
	for _, bad := range []string{
		"", "-", someTraceparent[:54] + "0", // not sampled
		someTraceparent[:40], "ff" + someTraceparent[2:], someTraceparent + "-x",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", string(make([]byte, 1<<20)),
	} {
		if s := n.spanFrom(bad); s != nil {
			t.Errorf("%.60q is read as %v", bad, s.SpanContext())
		}
	}
}

// A node of a build without the field passes it by and takes the command; its own frames name no trace.
func TestTraceparentIsPassedBy(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(clusterpb.File_cluster_clusterpb_node_proto)
	for _, m := range file.MessageType {
		if m.GetName() == "Forwarded" {
			m.Field = append([]*descriptorpb.FieldDescriptorProto(nil), m.Field[:2]...)
		}
	}
	older, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	command := &fsmpb.Command{Actor: "operator", RequestId: "1", Body: []byte("body")}
	frame, err := proto.Marshal(&clusterpb.Forwarded{Command: command, TimeoutMs: 7, Traceparent: someTraceparent})
	if err != nil {
		t.Fatal(err)
	}
	there := dynamicpb.NewMessage(older.Messages().ByName("Forwarded"))
	if err := proto.Unmarshal(frame, there); err != nil {
		t.Fatal(err)
	}
	there.SetUnknown(nil)
	sent, err := proto.Marshal(there)
	if err != nil {
		t.Fatal(err)
	}
	back := new(clusterpb.Forwarded)
	if err := proto.Unmarshal(sent, back); err != nil {
		t.Fatal(err)
	}
	if want := (&clusterpb.Forwarded{Command: command, TimeoutMs: 7}); !proto.Equal(back, want) {
		t.Errorf("it becomes %v", back)
	}
}

// Without a tracer the way of a write costs no allocation more, whoever traces at the client's.
func TestNoTracingAllocatesNothing(t *testing.T) {
	n := &Node{}
	_, span := sdk.NewTracerProvider().Tracer("test").Start(context.Background(), "request")
	ctx := trace.ContextWithSpan(context.Background(), span)
	batch := []*proposal{newProposal(fsm.Principal{}, &fsmpb.Command{}, time.Time{}), newProposal(fsm.Principal{}, &fsmpb.Command{}, time.Time{})}
	if n := testing.AllocsPerRun(100, func() {
		batch[0].span, batch[1].span = n.spanOf(ctx), n.spanFrom(someTraceparent)
		n.traceWait(batch)
		entry := n.traceEntry(batch)
		entry.applied(1, 1, nil)
		entry.end(nil)
		if batch[0].sent(2) != "" {
			t.Error("a trace is sent")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
