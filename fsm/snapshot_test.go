package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

const snapshotHead = len(snapshotMagic) + 4

// restoreFails sees that a snapshot is refused, with one of the two documented errors.
func restoreFails(t *testing.T, snapshot []byte, what string, a ...any) error {
	t.Helper()
	s, err := Restore(bytes.NewReader(snapshot))
	if s != nil || !errors.Is(err, ErrSnapshotDamaged) && !errors.Is(err, ErrSnapshotVersion) {
		t.Fatalf("%s: state %t, error %v", fmt.Sprintf(what, a...), s != nil, err)
	}
	return err
}

func TestSnapshotOfNothing(t *testing.T) {
	s := checkRestored(t, New())
	if s.View().ClusterID() != "" {
		t.Error("an empty state was restored to something")
	}
}

func TestSnapshotTruncated(t *testing.T) {
	whole := snapshotBytes(t, busy(t).s.View())
	frames := frameEnds(t, whole)
	if len(frames) < 10 {
		t.Fatalf("only %d frames", len(frames))
	}
	cuts := []int{0, 1, len(snapshotMagic), snapshotHead - 1, snapshotHead, snapshotHead + 1}
	for _, end := range frames {
		cuts = append(cuts, end-1, end-9, end, end+1, end+4, end+8)
	}
	for at := 2; at < len(whole); at += 7 {
		cuts = append(cuts, at)
	}
	for _, at := range cuts {
		if at >= len(whole) {
			continue
		}
		err := restoreFails(t, whole[:at], "cut after %d bytes", at)
		if !errors.Is(err, ErrSnapshotDamaged) {
			t.Fatalf("cut after %d bytes: %v", at, err)
		}
	}
}

// frameEnds walks the frames by their lengths.
func frameEnds(t tb, snapshot []byte) (ends []int) {
	for at := snapshotHead; at < len(snapshot); {
		at += 8 + int(binary.BigEndian.Uint32(snapshot[at:]))
		ends = append(ends, at)
	}
	if ends[len(ends)-1] != len(snapshot) {
		t.Fatal("the frames do not fill the snapshot")
	}
	return ends
}

// A flipped byte anywhere is noticed: all its bits, or one.
func TestSnapshotFlipped(t *testing.T) {
	whole := snapshotBytes(t, busy(t).s.View())
	for at := range whole {
		flip := byte(0xff)
		if at%2 == 1 {
			flip = 1 << (at / 2 % 8)
		}
		damaged := slices.Clone(whole)
		damaged[at] ^= flip
		_ = restoreFails(t, damaged, "byte %d xor %x", at, flip)
	}
}

func TestSnapshotTrailing(t *testing.T) {
	whole := snapshotBytes(t, busy(t).s.View())
	for _, more := range [][]byte{{0}, []byte("more"), whole, whole[snapshotHead:]} {
		_ = restoreFails(t, slices.Concat(whole, more), "%d bytes more", len(more))
	}
}

func TestSnapshotVersions(t *testing.T) {
	whole := snapshotBytes(t, busy(t).s.View())
	for _, version := range []uint32{0, SnapshotVersion + 1, math.MaxUint32} {
		newer := slices.Clone(whole)
		binary.BigEndian.PutUint32(newer[len(snapshotMagic):], version)
		if err := restoreFails(t, newer, "version %d", version); !errors.Is(err, ErrSnapshotVersion) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// frame encodes one frame with a checksum that fits.
func frame(payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...)
}

func messageFrame(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return frame(b)
}

// forge builds a snapshot of records under a header that counts them.
func forge(t *testing.T, header *fsmpb.SnapshotHeader, records ...[]byte) []byte {
	t.Helper()
	header.Records = uint64(len(records))
	b := binary.BigEndian.AppendUint32([]byte(snapshotMagic), SnapshotVersion)
	return slices.Concat(b, messageFrame(t, header), slices.Concat(records...))
}

// records returns the frames of a snapshot without the header, and the header.
func records(t tb, snapshot []byte) (*fsmpb.SnapshotHeader, [][]byte) {
	ends := frameEnds(t, snapshot)
	header := new(fsmpb.SnapshotHeader)
	if err := proto.Unmarshal(snapshot[snapshotHead+8:ends[0]], header); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := 1; i < len(ends); i++ {
		all = append(all, snapshot[ends[i-1]:ends[i]])
	}
	return header, all
}

// What has a right checksum but is no state of ours is refused all the same.
func TestSnapshotForged(t *testing.T) {
	whole := snapshotBytes(t, busy(t).s.View())
	header, good := records(t, whole)
	if !bytes.Equal(forge(t, clone(header), good...), whole) {
		t.Fatal("the test's own encoding differs")
	}
	stranger := mustSign(t, testContract("forged", 1, map[string]uint64{"primary": 9}), strangerKey)
	newer := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new"))
	record := func(r *fsmpb.Record) []byte { return messageFrame(t, r) }
	instance := func(serial uint64, contract string) []byte {
		return record(&fsmpb.Record{Kind: &fsmpb.Record_Instance{Instance: &fsmpb.InstanceRecord{Serial: serial, Contract: contract}}})
	}
	for name, c := range map[string]struct {
		records [][]byte
		want    error
	}{
		"unknown kind":           {append(good[:len(good):len(good)], frame(newer)), ErrSnapshotVersion},
		"unknown field":          {append(good[:len(good):len(good)], slices.Concat(frame(append(good[0][8:len(good[0]):len(good[0])], newer...)))), ErrSnapshotVersion},
		"no kind":                {append(good[:len(good):len(good)], frame(nil)), ErrSnapshotVersion},
		"no protobuf":            {append(good[:len(good):len(good)], frame([]byte("no protobuf"))), ErrSnapshotDamaged},
		"unsigned contract":      {[][]byte{good[0], record(&fsmpb.Record{Kind: &fsmpb.Record_Contract{Contract: &fsmpb.ContractRecord{Document: "free for all"}}})}, ErrSnapshotDamaged},
		"stranger's contract":    {[][]byte{good[0], record(&fsmpb.Record{Kind: &fsmpb.Record_Contract{Contract: &fsmpb.ContractRecord{Document: stranger}}})}, ErrSnapshotDamaged},
		"contract before meta":   {[][]byte{good[2], good[0]}, ErrSnapshotDamaged},
		"contract twice":         {slices.Concat(good[:3], good[2:]), ErrSnapshotDamaged},
		"instance twice":         {slices.Concat(good[:5], good[4:]), ErrSnapshotDamaged},
		"instance on its own":    {[][]byte{good[0], instance(1, "none")}, ErrSnapshotDamaged},
		"short vendor key":       {[][]byte{record(&fsmpb.Record{Kind: &fsmpb.Record_Meta{Meta: &fsmpb.MetaRecord{VendorKeys: [][]byte{{1}}}}})}, ErrSnapshotDamaged},
		"short signing key":      {[][]byte{record(&fsmpb.Record{Kind: &fsmpb.Record_Meta{Meta: &fsmpb.MetaRecord{SigningKeys: [][]byte{{1}}}}})}, ErrSnapshotDamaged},
		"short fingerprint":      {[][]byte{good[0], record(&fsmpb.Record{Kind: &fsmpb.Record_Write{Write: &fsmpb.WriteRecord{Actor: "a"}}})}, ErrSnapshotDamaged},
		"a write left out":       {slices.Concat(good[:len(good)-2], good[len(good)-1:]), ErrSnapshotDamaged},
		"the oldest write lost":  {slices.Concat(good[:6], good[7:]), ErrSnapshotDamaged},
		"a record left out":      {good[:len(good)-1], ErrSnapshotDamaged},
		"a record more":          {append(good[:len(good):len(good)], instance(99, "themis")), ErrSnapshotDamaged},
		"a record of other rows": {slices.Concat(good[:4], [][]byte{instance(1, "themis")}, good[5:]), ErrSnapshotDamaged},
		"nothing":                {nil, ErrSnapshotDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			if err := restoreFails(t, forge(t, clone(header), c.records...), "forged"); !errors.Is(err, c.want) {
				t.Errorf("error %v instead of %v", err, c.want)
			}
		})
	}
	t.Run("header of a newer build", func(t *testing.T) {
		h := clone(header)
		h.ProtoReflect().SetUnknown(newer)
		if err := restoreFails(t, forge(t, h, good...), "forged"); !errors.Is(err, ErrSnapshotVersion) {
			t.Error(err)
		}
	})
}

// A damaged length makes the reader allocate no more than a frame may have.
func TestSnapshotHugeLengths(t *testing.T) {
	head := binary.BigEndian.AppendUint32([]byte(snapshotMagic), SnapshotVersion)
	records := slices.Concat(head, messageFrame(t, &fsmpb.SnapshotHeader{Records: math.MaxUint64}))
	for _, b := range [][]byte{
		slices.Concat(head, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}),
		slices.Concat(head, binary.BigEndian.AppendUint32(nil, 64<<20), make([]byte, 4)),
		slices.Concat(head, binary.BigEndian.AppendUint32(nil, maxFrame+1), make([]byte, 4)),
		slices.Concat(head, binary.BigEndian.AppendUint32(nil, maxFrame), make([]byte, 4)),
		records,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = restoreFails(t, b, "lengths")
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 3*maxFrame {
			t.Errorf("%x: %d bytes allocated", b, used)
		}
	}
}

// Faults of the disk are reported as what they are.
func TestSnapshotFaults(t *testing.T) {
	v := busy(t).s.View()
	whole := snapshotBytes(t, v)
	broken := errors.New("disk on fire")
	for _, at := range []int{0, 5, snapshotHead, snapshotHead + 3, len(whole) / 2, len(whole)} {
		_, err := Restore(io.MultiReader(bytes.NewReader(whole[:at]), iotest.ErrReader(broken)))
		if at < len(whole) && !errors.Is(err, broken) || err == nil {
			t.Errorf("reading fails after %d bytes: %v", at, err)
		}
	}
	if s, err := Restore(iotest.OneByteReader(bytes.NewReader(whole))); err != nil || s.Digest() != v.Digest() {
		t.Errorf("byte by byte: %v", err)
	}
	for _, at := range []int{0, 1, 100, len(whole) - 1} {
		if err := v.Snapshot(&limitedWriter{left: at, err: broken}); !errors.Is(err, broken) {
			t.Errorf("writing fails after %d bytes: %v", at, err)
		}
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}
