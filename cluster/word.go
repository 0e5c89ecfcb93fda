package cluster

import (
	"hash/fnv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
)

// word is a field that a command can hold, at any depth.
type word struct {
	name string
	hash uint32
	// kind is the command's kind if the field stands for one, else 0.
	kind int32
}

// ownWords are those of this build.
var ownWords = wordsBelow((&fsmpb.Body{}).ProtoReflect().Descriptor())

// wordsBelow collects the fields of a message and of all messages within it.
func wordsBelow(message protoreflect.MessageDescriptor) []word {
	var words []word
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			h := fnv.New32a()
			_, _ = h.Write([]byte(f.FullName()))
			w := word{name: string(f.FullName()), hash: h.Sum32()}
			if m == message {
				w.kind = int32(f.Number())
			}
			words = append(words, w)
			if f.Message() != nil {
				visit(f.Message())
			}
		}
	}
	visit(message)
	return words
}

// foreign finds a field of a message that is in lacks, "" if none is.
func foreign(m protoreflect.Message, lacks map[string]bool) string {
	found := ""
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(f.FullName()); {
		case lacks[name]:
			found = name
		case f.Message() == nil:
		case f.IsList():
			for i := 0; i < v.List().Len() && found == ""; i++ {
				found = foreign(v.List().Get(i).Message(), lacks)
			}
		default:
			found = foreign(v.Message(), lacks)
		}
		return found == ""
	})
	return found
}
