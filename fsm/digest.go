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
	lanes   [4]uint64
	scratch []byte
}

func (d *digest) add(r row) {
	for i, lane := range d.hash(r) {
		d.lanes[i] += lane
	}
}

func (d *digest) remove(r row) {
	for i, lane := range d.hash(r) {
		d.lanes[i] -= lane
	}
}

func (d *digest) replace(old, next row) {
	d.remove(old)
	d.add(next)
}

func (d *digest) hash(r row) (lanes [4]uint64) {
	bytes, err := marshal.MarshalAppend(d.scratch[:0], r.record())
	if err != nil {
		// Rows hold valid UTF-8 only; Step checked it on the way in.
		panic("fsm: a row cannot be encoded: " + err.Error())
	}
	d.scratch = bytes
	sum := sha256.Sum256(bytes)
	for i := range lanes {
		lanes[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	return lanes
}

// Digest identifies the state at its index and clock.
func (t *tables) Digest() Digest {
	buf := make([]byte, 0, 8*(4+len(t.digest.lanes)))
	for _, n := range []uint64{t.index, uint64(t.clock.WallMs), uint64(t.clock.PauseMs), t.counters.LastSerial} {
		buf = binary.LittleEndian.AppendUint64(buf, n)
	}
	for _, lane := range t.digest.lanes {
		buf = binary.LittleEndian.AppendUint64(buf, lane)
	}
	return sha256.Sum256(buf)
}
