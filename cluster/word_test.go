package cluster

import (
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// TestOwnWords: a build knows all that it can say, no two words share a hash, and a build
// that does not say more than its kinds is judged by them.
func TestOwnWords(t *testing.T) {
	v, err := openVocabulary(t.TempDir(), "lyon", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if own := v.of("lyon"); len(own.lacks) != 0 || own.Snapshot != fsm.SnapshotVersion {
		t.Errorf("this build lacks %v of its own words and reads snapshots up to %d", own.lacks, own.Snapshot)
	}
	hashes := map[uint32]string{}
	for _, w := range ownWords {
		if other, twice := hashes[w.hash]; twice {
			t.Errorf("%s and %s have the same hash", w.name, other)
		}
		hashes[w.hash] = w.name
	}
	for _, name := range []string{"licet.fsm.v1.Body.checkout", "licet.fsm.v1.Settings.usage_limit", "licet.fsm.v1.Pool.name", "licet.fsm.v1.ListedAccount.name"} {
		if !slices.Contains(slices.Collect(maps.Values(hashes)), name) {
			t.Errorf("%s is no word of commands", name)
		}
	}
	mute := announcement{Kinds: []int32{2, 3, 4}}.compared()
	if !mute.lacks["licet.fsm.v1.Body.initialise"] || mute.lacks["licet.fsm.v1.Body.expire"] || mute.lacks["licet.fsm.v1.Settings.usage_limit"] {
		t.Errorf("of a build that knows kinds 2 to 4, and tells no fields: %v", mute.lacks)
	}
}

// TestFoundingKinds: what a silent voter is believed to know, this build knows too.
func TestFoundingKinds(t *testing.T) {
	for _, kind := range foundingKinds {
		if !slices.Contains(fsm.Known(), kind) {
			t.Errorf("this build does not know kind %d", kind)
		}
	}
}

// TestWordsAreFields: values of enumerations and maps would have to be announced, too.
func TestWordsAreFields(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if f.Enum() != nil || f.IsMap() {
				t.Errorf("%s is an enumeration or a map: have foreign and wordsBelow look into it", f.FullName())
			}
			if f.Message() != nil {
				visit(f.Message())
			}
		}
	}
	visit((&fsmpb.Body{}).ProtoReflect().Descriptor())
}
