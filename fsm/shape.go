package fsm

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxNesting is how deep messages may be within one another to be looked through; a command has 4.
const maxNesting = 16

// shape tells from the bytes of a message whether the generated decoder reads them as proto.Unmarshal does. That
// decoder keeps unknown fields, which must be found, and takes text that is not UTF-8.
type shape struct {
	// fields are by number. Of those with another content than numbers, text, bytes and messages wire is unfit.
	fields []shapeField
}

type shapeField struct {
	wire protowire.Type
	text bool
	// message is the shape of what is within, nil if it is no message.
	message *shape
}

// unfit is no wire type.
const unfit protowire.Type = -1

// shapes are those of a message and of all within it, by their names.
type shapes map[protoreflect.FullName]*shape

func (all shapes) of(m protoreflect.MessageDescriptor) *shape {
	if s := all[m.FullName()]; s != nil {
		return s
	}
	s := new(shape)
	all[m.FullName()] = s
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		for len(s.fields) <= int(f.Number()) {
			s.fields = append(s.fields, shapeField{wire: unfit})
		}
		s.fields[f.Number()] = all.field(f)
	}
	return s
}

func (all shapes) field(f protoreflect.FieldDescriptor) shapeField {
	switch {
	case f.IsMap(), f.IsPacked():
		return shapeField{wire: unfit}
	case f.Kind() == protoreflect.MessageKind:
		return shapeField{wire: protowire.BytesType, message: all.of(f.Message())}
	case f.Kind() == protoreflect.StringKind:
		return shapeField{wire: protowire.BytesType, text: true}
	case f.Kind() == protoreflect.BytesKind:
		return shapeField{wire: protowire.BytesType}
	case f.Kind() == protoreflect.BoolKind, f.Kind() == protoreflect.Uint32Kind, f.Kind() == protoreflect.Uint64Kind, f.Kind() == protoreflect.Int64Kind:
		return shapeField{wire: protowire.VarintType}
	}
	return shapeField{wire: unfit}
}

// fits reports that all fields are known and of their kind, and all text is UTF-8. False means only that somebody else must look.
func (s *shape) fits(data []byte, nesting int) bool {
	if nesting == 0 {
		return false
	}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 || int(number) >= len(s.fields) || s.fields[number].wire != wire {
			return false
		}
		f, rest := &s.fields[number], data[n:]
		if wire == protowire.VarintType {
			_, n = protowire.ConsumeVarint(rest)
		} else {
			var content []byte
			content, n = protowire.ConsumeBytes(rest)
			if f.text && !utf8.Valid(content) || f.message != nil && n >= 0 && !f.message.fits(content, nesting-1) {
				return false
			}
		}
		if n < 0 {
			return false
		}
		data = rest[n:]
	}
	return true
}
