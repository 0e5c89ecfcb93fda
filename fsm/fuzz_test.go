package fsm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// FuzzDecodeEntry applies whatever the log could hold: an outcome for each command, or an error and no change.
func FuzzDecodeEntry(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "entries", "*.txt"))
	if err != nil || len(files) == 0 {
		f.Fatal("no golden entries: ", err)
	}
	for n, g := range goldenLog(f) {
		f.Add(mustEntry(f, 1, testEpoch, mustCommand(f, g.name(n), g.body)))
	}
	base := themis(f).s.View()
	f.Fuzz(func(t *testing.T, data []byte) {
		s := base.Fork()
		before := s.Digest()
		outcomes, err := s.Apply(base.Index()+1, 1, data)
		if err != nil {
			if s.Digest() != before {
				t.Fatal("an entry that failed changed the state")
			}
			return
		}
		e, err := DecodeEntry(data)
		if err != nil || len(e.Commands) != len(outcomes) {
			t.Fatalf("%d outcomes, %v", len(outcomes), err)
		}
		for _, o := range outcomes {
			checkRefusalTextLoosely(t, o.Refusal)
		}
		again, err := EncodeEntry(e)
		if err != nil || len(again) != len(data) {
			t.Fatalf("encoded again, %d bytes became %d: %v", len(data), len(again), err)
		}
		second := base.Fork()
		if _, err := second.Apply(base.Index()+1, 1, again); err != nil || second.Digest() != s.Digest() {
			t.Fatalf("the entry, encoded again, leads elsewhere: %v", err)
		}
		checkState(t, s)
		checkRestored(t, s)
	})
}

// checkRefusalTextLoosely lets callers' own braces through.
func checkRefusalTextLoosely(t *testing.T, r *fsmpb.Refusal) {
	if r != nil && (sentences[Code(r.Code)].detail == "" || Detail(r) == "" || Next(r) == "") {
		t.Fatalf("refusal without a text: %v", r)
	}
}

// FuzzRestore reads whatever a disk or a peer could hand over: a state that is sound, or a documented error.
func FuzzRestore(f *testing.F) {
	file, err := os.ReadFile(filepath.Join("testdata", "golden", "snapshot-v1.bin"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(snapshotBytes(f, New().View()))
	f.Add(snapshotBytes(f, themis(f).s.View()))
	f.Add(file[:len(file)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Restore(bytes.NewReader(data))
		if err != nil {
			if s != nil || !errors.Is(err, ErrSnapshotDamaged) && !errors.Is(err, ErrSnapshotVersion) {
				t.Fatalf("state %t, error %v", s != nil, err)
			}
			return
		}
		checkRestored(t, s)
	})
}

// FuzzRecord gets past the checksums: any record, under a header that fits.
func FuzzRecord(f *testing.F) {
	_, rows := records(f, snapshotBytes(f, busy(f).s.View()))
	for _, row := range rows {
		f.Add(row[8:])
	}
	meta := rows[0][8:]
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New()
		for _, payload := range [][]byte{meta, data} {
			record := new(fsmpb.Record)
			if decodeKnown(payload, record, recordShape) != nil || s.load(record) != nil {
				return
			}
		}
		record := new(fsmpb.Record)
		if err := proto.Unmarshal(data, record); err != nil {
			t.Fatal(err)
		}
		if s.checkTrail() == nil {
			checkState(t, s)
		}
	})
}
