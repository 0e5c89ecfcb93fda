package fsm

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/licet/licet/fsm/fsmpb"
)

// A snapshot is a stream:
//
//	magic    8 bytes "LICETSNP"
//	version  uint32
//	frame    one SnapshotHeader
//	frame    one Record each, as many as the header says
//
// A frame is uint32 length, uint32 CRC-32C of the payload, payload (protobuf). Numbers
// are big-endian. The header's digest is that of the state, which the
// reader computes anew from the records.
const (
	snapshotMagic = "LICETSNP"
	// SnapshotVersion is the version that this build writes, and the newest that it reads.
	SnapshotVersion = 1
	// maxFrame bounds what a damaged length can make a reader allocate.
	maxFrame = 4 << 20
)

// Errors of Restore. They are wrapped with what was found, and where.
var (
	// ErrSnapshotVersion says that a newer build wrote the snapshot.
	ErrSnapshotVersion = errors.New("the snapshot was written by a newer build; install that build on this node")
	// ErrSnapshotDamaged says that the snapshot is truncated, altered or no snapshot.
	ErrSnapshotDamaged = errors.New("the snapshot is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot writes the view to w. It holds nothing up: the state goes on.
func (v *View) Snapshot(w io.Writer) error {
	out := frameWriter{w: bufio.NewWriterSize(w, 64<<10)}
	out.raw(binary.BigEndian.AppendUint32([]byte(snapshotMagic), SnapshotVersion))
	digest := v.Digest()
	out.header(&fsmpb.SnapshotHeader{
		Index: v.index, Term: v.term, WallMs: v.clock.WallMs, PauseMs: v.clock.PauseMs, Digest: digest[:],
		Records: uint64(2 + v.contracts.len() + v.instances.len() + v.pools.len() + v.leases.len() + //nolint:gosec // G115: a count or a length is not negative
			v.projects.len() + v.tickets.len() + v.usage.len() + v.paces.len() + v.accounts.len() + v.stages.len() + v.requests.len() +
			v.responsibles.len() + v.episodes.len() + v.notices.len() + v.tokens.len() + v.writes.len()),
	})
	out.row(v.meta)
	out.record(v.counters.message())
	writeTable(&out, v.contracts)
	writeTable(&out, v.instances)
	writeTable(&out, v.pools)
	writeTable(&out, v.leases)
	writeTable(&out, v.projects)
	writeTable(&out, v.tickets)
	writeTable(&out, v.usage)
	writeTable(&out, v.paces)
	writeTable(&out, v.accounts)
	writeTable(&out, v.stages)
	writeTable(&out, v.requests)
	writeTable(&out, v.responsibles)
	writeTable(&out, v.episodes)
	writeTable(&out, v.notices)
	writeTable(&out, v.tokens)
	writeTable(&out, v.writes)
	if out.err != nil {
		return fmt.Errorf("write snapshot: %w", out.err)
	}
	return out.w.Flush()
}

func writeTable[K cmp.Ordered, R row](out *frameWriter, t table[K, R]) {
	t.rows.Scan(func(_ K, r R) bool {
		out.row(r)
		return out.err == nil
	})
}

// frameWriter remembers the first error, so that its users needn't look after each frame.
type frameWriter struct {
	w       *bufio.Writer
	scratch []byte
	rows    encoder
	err     error
}

func (f *frameWriter) row(r row) { f.frame(f.rows.record(r)) }

func (f *frameWriter) raw(b []byte) {
	if f.err == nil {
		_, f.err = f.w.Write(b)
	}
}

func (f *frameWriter) header(h *fsmpb.SnapshotHeader) {
	f.scratch = appendSized(f.scratch[:0], h, h.SizeVT())
	f.frame(f.scratch)
}

func (f *frameWriter) record(kind recordKind, m message) {
	f.scratch = appendRecord(f.scratch[:0], kind, m)
	f.frame(f.scratch)
}

func (f *frameWriter) frame(payload []byte) {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], uint32(len(payload))) //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	binary.BigEndian.PutUint32(head[4:], crc32.Checksum(payload, castagnoli))
	f.raw(head[:])
	f.raw(payload)
}

// Restore reads a snapshot into a new state. On an error there is no state: the
// caller keeps the one that it has. Errors wrap ErrSnapshotVersion or ErrSnapshotDamaged,
// or are the reader's own.
func Restore(r io.Reader) (*State, error) {
	in := frameReader{r: bufio.NewReaderSize(r, 64<<10)}
	if err := in.magic(); err != nil {
		return nil, err
	}
	header := new(fsmpb.SnapshotHeader)
	if err := in.frame(header, headerShape); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	s := New()
	s.index, s.term = header.Index, header.Term
	s.clock = Clock{WallMs: header.WallMs, PauseMs: header.PauseMs}
	for n := range header.Records {
		record := new(fsmpb.Record)
		err := in.frame(record, recordShape)
		if err == nil {
			s.digest.loading = in.payload
			err = s.load(record)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", n+1, header.Records, err)
		}
	}
	s.digest.loading = nil
	if _, err := in.r.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: it goes on after %d records", ErrSnapshotDamaged, header.Records)
	}
	for _, p := range s.pools.rows.Values() {
		s.markEnding(p)
	}
	if err := s.checkTrail(); err != nil {
		return nil, err
	}
	if digest := s.Digest(); !bytes.Equal(digest[:], header.Digest) {
		return nil, fmt.Errorf("%w: its records have digest %s, its header says %x", ErrSnapshotDamaged, digest, header.Digest)
	}
	return s, nil
}

// load takes one record. Primary tables come before what refers to them.
func (s *State) load(r *fsmpb.Record) error {
	switch k := r.Kind.(type) {
	case *fsmpb.Record_Meta:
		m, err := metaFromRecord(k.Meta)
		if err != nil {
			return damaged(err)
		}
		s.setMeta(m)
	case *fsmpb.Record_Counters:
		if err := s.counters.load(k.Counters); err != nil {
			return damaged(err)
		}
	case *fsmpb.Record_Contract:
		return s.loadContract(k.Contract)
	case *fsmpb.Record_Instance:
		return s.loadInstance(k.Instance)
	case *fsmpb.Record_Pool:
		return s.loadPool(k.Pool)
	case *fsmpb.Record_Lease:
		return s.loadLease(k.Lease)
	case *fsmpb.Record_Project:
		return s.loadProject(k.Project)
	case *fsmpb.Record_Ticket:
		return s.loadTicket(k.Ticket)
	case *fsmpb.Record_Usage:
		row := usageFromProto(k.Usage)
		s.usage.set(&s.digest, row.key(), row)
		s.usageAge.keys.Set(usageAge{row.Hour, row.key()})
	case *fsmpb.Record_Pace:
		return s.loadPace(k.Pace)
	case *fsmpb.Record_Write:
		return s.loadWrite(k.Write)
	default:
		return s.loadAccountRow(r)
	}
	return nil
}

func (s *State) loadContract(r *fsmpb.ContractRecord) error {
	c, err := s.newContract(r.Document)
	if err != nil {
		return damaged(err)
	}
	if _, ok := s.contracts.get(c.Doc.ID); ok {
		return damaged(fmt.Errorf("contract %s stands there twice", c.Doc.ID))
	}
	c.Terms, c.Ended = r.Terms, r.Ended
	s.contracts.set(&s.digest, c.Doc.ID, c)
	s.indexContract(c)
	return nil
}

func (s *State) loadInstance(r *fsmpb.InstanceRecord) error {
	i := instanceFromProto(r)
	c, ok := s.contracts.get(i.Contract)
	if !ok {
		return damaged(fmt.Errorf("instance %d of an unknown contract %q", i.Serial, i.Contract))
	}
	// Many have the same: one text for all.
	i.Contract = c.Doc.ID
	if _, ok := s.instances.get(i.Serial); ok {
		return damaged(fmt.Errorf("instance %d stands there twice", i.Serial))
	}
	s.instances.set(&s.digest, i.Serial, i)
	s.indexInstance(i)
	return nil
}

func (s *State) loadPool(r *fsmpb.PoolRecord) error {
	p := &Pool{Pool: r.Pool, Active: r.Active, Ended: r.Ended, CreatedMs: r.CreatedMs, Deleting: r.Deleting, Revision: r.Revision, ID: r.Id}
	if _, ok := s.contracts.get(p.GetContract()); !ok {
		return damaged(fmt.Errorf("pool %q of an unknown contract %q", p.GetName(), p.GetContract()))
	}
	if _, ok := s.pools.get(p.Name); ok {
		return damaged(fmt.Errorf("pool %s stands there twice", p.Name))
	}
	if s.use(p) != nil || p.ID == 0 || p.ID > s.counters.lastPool {
		return damaged(fmt.Errorf("pool %s has the number %d of another, or none", p.Name, p.ID))
	}
	s.setPool(p)
	s.indexPool(p)
	return nil
}

// poolOf finds the pool that a record belongs to.
func (s *State) poolOf(what string, id any, pool string) (*Pool, error) {
	p, ok := s.pools.get(pool)
	if !ok {
		return nil, damaged(fmt.Errorf("%s %v of an unknown pool %q", what, id, pool))
	}
	return p, nil
}

func (s *State) loadLease(r *fsmpb.LeaseRecord) error {
	p, err := s.poolOf("lease", r.Id, r.Pool)
	if err != nil {
		return err
	}
	if _, ok := s.leases.get(r.Id); ok || len(r.Holder) != HolderSize {
		return damaged(fmt.Errorf("lease %d stands there twice, or its holder has %d bytes", r.Id, len(r.Holder)))
	}
	l := leaseFromProto(r, p)
	s.leases.set(&s.digest, l.ID, l)
	s.indexLease(l)
	if l.held.count > 0 {
		s.shiftUse(p, l.Product, l.shift())
	}
	return nil
}

func (s *State) loadProject(r *fsmpb.ProjectRecord) error {
	p, err := s.poolOf("project", r.Project, r.Pool)
	if err != nil {
		return err
	}
	x := projectFromProto(r)
	if _, ok := s.projects.get(projectKey(x.Pool, x.Project)); ok {
		return damaged(fmt.Errorf("project %q of pool %s stands there twice", x.Project, x.Pool))
	}
	s.setProject(x)
	s.shiftUse(p, x.Product, x.held.taken())
	return nil
}

func (s *State) loadTicket(r *fsmpb.TicketRecord) error {
	p, err := s.poolOf("ticket", r.Id, r.GetAsk().GetPool())
	if err != nil {
		return err
	}
	if _, ok := s.tickets.get(r.Id); ok {
		return damaged(fmt.Errorf("ticket %d stands there twice", r.Id))
	}
	t := ticketFromProto(r, p)
	s.tickets.set(&s.digest, t.ID, t)
	s.reindexTicket(p, nil, t)
	s.shiftUse(p, t.Ask.Product, t.shift())
	return nil
}

func (s *State) loadPace(r *fsmpb.PaceRecord) error {
	if _, ok := s.uses.Get(r.Pool); !ok {
		return damaged(fmt.Errorf("the pace of an unknown pool %d", r.Pool))
	}
	s.paces.set(&s.digest, r.Pool, paceFromProto(r))
	return nil
}

func damaged(err error) error { return fmt.Errorf("%w: %w", ErrSnapshotDamaged, err) }

type frameReader struct {
	r       *bufio.Reader
	scratch []byte
	// payload is that of the last frame, until the next.
	payload []byte
}

func (f *frameReader) magic() error {
	head := make([]byte, len(snapshotMagic)+4)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return truncated(err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("%w: it does not start with %s", ErrSnapshotDamaged, snapshotMagic)
	}
	if v := binary.BigEndian.Uint32(head[len(snapshotMagic):]); v == 0 || v > SnapshotVersion {
		return fmt.Errorf("version %d, this build reads 1 to %d: %w", v, SnapshotVersion, ErrSnapshotVersion)
	}
	return nil
}

func (f *frameReader) frame(into decoded, s *shape) error {
	var head [8]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return truncated(err)
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size > maxFrame {
		return fmt.Errorf("%w: a frame of %d bytes is longer than %d", ErrSnapshotDamaged, size, maxFrame)
	}
	if uint32(cap(f.scratch)) < size { //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
		f.scratch = make([]byte, size)
	}
	payload := f.scratch[:size]
	f.payload = payload
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return truncated(err)
	}
	if sum := crc32.Checksum(payload, castagnoli); sum != binary.BigEndian.Uint32(head[4:]) {
		return fmt.Errorf("%w: a checksum does not fit", ErrSnapshotDamaged)
	}
	if err := decodeKnown(payload, into, s); err != nil {
		if errors.Is(err, ErrUnknown) {
			return fmt.Errorf("%w (%w)", ErrSnapshotVersion, err)
		}
		return damaged(err)
	}
	return nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrSnapshotDamaged)
	}
	return fmt.Errorf("read snapshot: %w", err)
}
