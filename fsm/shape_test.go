package fsm

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
)

// shaped are the messages that are decoded by generated code.
var shaped = []struct {
	name  string
	shape *shape
	empty func() decoded
}{
	{"entry", entryShape, func() decoded { return new(entry) }},
	{"body", bodyShape, func() decoded { return new(fsmpb.Body) }},
	{"record", recordShape, func() decoded { return new(fsmpb.Record) }},
	{"header", headerShape, func() decoded { return new(fsmpb.SnapshotHeader) }},
}

// byReflection is what decodeKnown must come to: the decoder of the protobuf library, and no byte that it dropped.
func byReflection(data []byte, m proto.Message) (whole bool, err error) {
	err = (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m)
	return proto.Size(m) == len(data), err
}

// FuzzDecode holds the generated decoder to that of the protobuf library.
func FuzzDecode(f *testing.F) {
	for n, g := range goldenLog(f) {
		c := mustCommand(f, g.name(n), g.body)
		f.Add(c.Body)
		f.Add(mustEntry(f, 1, testEpoch, c))
	}
	_, rows := records(f, snapshotBytes(f, busy(f).s.View()))
	for _, row := range rows {
		f.Add(row[8:])
	}
	f.Fuzz(checkDecoded)
}

func checkDecoded(t *testing.T, data []byte) {
	for _, x := range shaped {
		want, got := x.empty(), x.empty()
		whole, wantErr := byReflection(data, want)
		err := decodeKnown(data, got, x.shape)
		switch {
		case (err == nil) != (wantErr == nil && whole):
			t.Fatalf("%s: decoded with %v, by reflection with %v, whole %t", x.name, err, wantErr, whole)
		case err == nil && !proto.Equal(got, want):
			t.Fatalf("%s: decoded\n%v\nby reflection\n%v", x.name, got, want)
		}
	}
}

// Text that is not UTF-8 and what no field stands for are found wherever they are, and all that a command can hold is read by
// generated code.
func TestShapeOfEveryField(t *testing.T) {
	for _, x := range shaped {
		if x.name != "record" {
			visitFields(t, x.shape, x.empty, nil, x.empty().ProtoReflect().Descriptor(), map[protoreflect.FullName]bool{})
		}
	}
}

// visitFields tries each field of a message that is within others, whose fields lead to it.
func visitFields(t *testing.T, s *shape, empty func() decoded, path []protowire.Number, m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	if seen[m.FullName()] {
		return
	}
	seen[m.FullName()] = true
	within := func(data []byte) []byte {
		for i := len(path) - 1; i >= 0; i-- {
			data = protowire.AppendBytes(protowire.AppendTag(nil, path[i], protowire.BytesType), data)
		}
		return data
	}
	newest := protowire.Number(0)
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		number := field.Number()
		newest = max(newest, number)
		value := protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), []byte("a"))
		switch {
		case field.Message() != nil:
			value = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), nil)
			visitFields(t, s, empty, append(path[:len(path):len(path)], number), field.Message(), seen)
		case field.Kind() == protoreflect.StringKind:
			bad := within(protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), []byte("a\xff")))
			if s.fits(bad, maxNesting) || decodeKnown(bad, empty(), s) == nil {
				t.Errorf("%s takes text that is not UTF-8", field.FullName())
			}
		case field.IsPacked():
			// Numbers in one piece are left to the protobuf library.
			value = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), protowire.AppendVarint(nil, 300))
			if whole := within(value); s.fits(whole, maxNesting) || decodeKnown(whole, empty(), s) != nil {
				t.Errorf("%s is not read", field.FullName())
			}
			continue
		case field.Kind() != protoreflect.BytesKind:
			value = protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), 1)
		}
		if whole := within(value); !s.fits(whole, maxNesting) || decodeKnown(whole, empty(), s) != nil {
			t.Errorf("%s is not read by generated code", field.FullName())
		}
	}
	if s.fits(within(protowire.AppendVarint(protowire.AppendTag(nil, newest+1, protowire.VarintType), 1)), maxNesting) {
		t.Errorf("%s: an unknown field is not seen", m.FullName())
	}
}

// However deep messages are within one another, the protobuf library decides.
func TestShapeOfNestedBulks(t *testing.T) {
	var data []byte
	for range 6_000 {
		data = protowire.AppendBytes([]byte{0x0a}, data)       // items
		data = protowire.AppendBytes([]byte{0xa2, 0x03}, data) // bulk
	}
	if bodyShape.fits(data, maxNesting) {
		t.Error("looked through to the end")
	}
	checkDecoded(t, data)
}
