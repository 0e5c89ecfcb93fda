package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Digest identifies a state: replicas at the same index have the same digest.
type Digest [sha256.Size]byte

// String is the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// digest is the sum of the SHA-256 hashes of all rows, lane by lane modulo 2^64. A
// sum does not depend on order and is kept up to date by adding and removing
// rows, so its cost grows with the work (AdHash: Bellare and Micciancio 1997).
// It detects replicas that diverged; it is no defence against a forger.
type digest struct {
	lanes   lanes
	scratch *encoder
	// loading are the bytes of the record that a snapshot's next row comes from: they need not be encoded again.
	loading []byte
}

// add hashes a row and counts it in.
func (d *digest) add(r row) {
	record := d.loading
	if record == nil {
		record = d.encoder().record(r)
	}
	hash := sha256.Sum256(record)
	r.keep(lanesOf(&hash))
	d.count(r)
}

func (d *digest) encoder() *encoder {
	if d.scratch == nil {
		d.scratch = new(encoder)
	}
	return d.scratch
}

// count adds a row whose hash is known.
func (d *digest) count(r row) {
	for i, lane := range r.sum() {
		d.lanes[i] += lane
	}
}

func (d *digest) remove(r row) {
	for i, lane := range r.sum() {
		d.lanes[i] -= lane
	}
}

// Digest identifies the state at its index and clock.
func (t *tables) Digest() Digest {
	buf := make([]byte, 0, 256)
	for _, n := range []uint64{t.index, uint64(t.clock.WallMs), uint64(t.clock.PauseMs)} { //nolint:gosec // G115: its bits are kept, as protobuf keeps them
		buf = binary.LittleEndian.AppendUint64(buf, n)
	}
	for _, lane := range t.digest.lanes {
		buf = binary.LittleEndian.AppendUint64(buf, lane)
	}
	kind, m := t.counters.message()
	return sha256.Sum256(appendRecord(buf, kind, m))
}
