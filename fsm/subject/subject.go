// Package subject shows what the commands in the audit trail were about.
package subject

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm"
)

// Of shows the fields of a row's command as JSON, but for what stands for secret handles. The same row reads the same
// with every build that knows the command. It is nil where the row does not have the command, and an error that wraps fsm.ErrUnknown
// where this build does not know it. Safe for concurrent use.
func Of(w *fsm.Write) (json.RawMessage, error) {
	if len(w.Body()) == 0 {
		return nil, nil
	}
	if restored := w.Restored(); restored != nil {
		return restored, nil
	}
	body, err := fsm.DecodeBody(w.Body())
	if err != nil {
		return nil, fmt.Errorf("row %d: %w", w.Seq, err)
	}
	m := body.ProtoReflect()
	withoutHolder(m)
	kind := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m.Get(kind).Message().Interface())
	if err != nil {
		return nil, fmt.Errorf("row %d: %w", w.Seq, err)
	}
	// Its encoder puts blanks in at random, so that nobody relies on its bytes.
	var plain bytes.Buffer
	err = json.Compact(&plain, text)
	return plain.Bytes(), err
}

// withoutHolder takes out, at any depth, what stands for a lease's secret handle.
func withoutHolder(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Name() == "holder":
			m.Clear(f)
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				withoutHolder(v.List().Get(i).Message())
			}
		default:
			withoutHolder(v.Message())
		}
		return true
	})
}
