// Package backup is the format of backups: one state of a cluster in a file, which can be
// checked without the cluster and restored into one.
//
// A backup is a stream:
//
//	magic    8 bytes "LICETBAK"
//	version  uint32
//	header   frame: JSON of signed.BackupHeader
//	chunk    frame each: bytes of a snapshot of package fsm, as many as it takes
//	end      frame of length 0
//	key      frame, in version 2 alone: the private half of the current signing key, PKCS #8 PEM
//	seal     frame: a signed document (signed.BackupSeal) with the SHA-256 of all before
//
// A frame is uint32 length and payload. Numbers are big-endian. The cluster signs the seal with the key of its license
// keys, whose private half is in a backup only if somebody asked for it. All functions are safe for concurrent use.
package backup

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

const (
	magic = "LICETBAK"
	// Version is the newest version that this build reads; without a key it writes version 1.
	Version = 2
	// plainVersion is that of backups without a key.
	plainVersion = 1
	// chunk is how much of a snapshot is in a frame.
	chunk = 256 << 10
	// maxFrame bounds what a damaged length can make a reader allocate.
	maxFrame = 1 << 20
	// ContentType is the media type of a backup.
	ContentType = "application/vnd.licet.backup"
)

// Errors of Read. They are wrapped with what was found.
var (
	// ErrDamaged says that the backup is truncated, altered or no backup.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNewer says that a newer build wrote the backup.
	ErrNewer = errors.New("a newer version of licet wrote the backup; use that version")
	// ErrSeal says that the seal is not by one of the keys that were to be looked for.
	ErrSeal = errors.New("the backup's seal is not the cluster's")
)

// Write writes a backup of a view, sealed with key, and with that key in it if withKey is set. Of the header the caller says who
// writes, and when.
func Write(w io.Writer, v *fsm.View, header signed.BackupHeader, key ed25519.PrivateKey, withKey bool) error {
	header.Cluster, header.Index, header.Term, header.Digest = v.ClusterID(), v.Index(), v.Term(), v.Digest().String()
	if err := header.Validate(); err != nil {
		return err
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	out := &writer{w: w, sum: sha256.New()}
	version := uint32(plainVersion)
	if withKey {
		version = Version
	}
	out.raw(binary.BigEndian.AppendUint32([]byte(magic), version))
	out.frame(text)
	if err := v.Snapshot(out); err != nil {
		return err
	}
	out.flush()
	out.frame(nil)
	if withKey {
		secret, err := signed.EncodePrivateKey(key)
		if err != nil {
			return err
		}
		out.frame(secret)
	}
	seal := signed.BackupSeal{BackupHeader: header, Bytes: out.bytes, SHA256: hex.EncodeToString(out.sum.Sum(nil))}
	document, err := seal.Sign(key)
	if err != nil {
		return err
	}
	out.frame([]byte(document))
	return out.err
}

// writer cuts what it is given into chunks, and remembers the first error.
type writer struct {
	w       io.Writer
	sum     hash.Hash
	bytes   uint64
	pending []byte
	err     error
}

func (o *writer) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		n := min(len(rest), chunk-len(o.pending))
		o.pending, rest = append(o.pending, rest[:n]...), rest[n:]
		if len(o.pending) == chunk {
			o.flush()
		}
	}
	if o.err != nil {
		return 0, o.err
	}
	return len(b), nil
}

func (o *writer) flush() {
	if len(o.pending) > 0 {
		o.frame(o.pending)
		o.pending = o.pending[:0]
	}
}

func (o *writer) frame(payload []byte) {
	o.raw(binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	o.raw(payload)
}

func (o *writer) raw(b []byte) {
	if o.err != nil {
		return
	}
	o.bytes += uint64(len(b))
	o.sum.Write(b)
	_, o.err = o.w.Write(b)
}

// Backup is a backup that was read to its end and is whole: its checksum and the state's digest fit.
type Backup struct {
	signed.BackupHeader
	// State is what it holds.
	State *fsm.State
	// SigningKey is the private half of the state's current signing key; nil if the backup is without it.
	SigningKey ed25519.PrivateKey
	// Bytes is the length of the file.
	Bytes uint64
	// SHA256 is that of all before the seal.
	SHA256 string

	seal string
}

// Read reads a backup and sees that it is whole. Errors wrap ErrDamaged, ErrNewer, or fsm.ErrSnapshotVersion if
// a newer build wrote it, or are the reader's own. Who sealed it Verify tells.
func Read(r io.Reader) (*Backup, error) {
	in := &reader{r: r, sum: sha256.New()}
	b := new(Backup)
	version, err := in.header(&b.BackupHeader)
	if err != nil {
		return nil, err
	}
	state, err := fsm.Restore(in)
	switch {
	case in.err != nil && !errors.Is(in.err, io.EOF):
		return nil, in.err
	case errors.Is(err, fsm.ErrSnapshotDamaged):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	if version > plainVersion {
		if b.SigningKey, err = in.signingKey(); err != nil {
			return nil, err
		}
	}
	b.State, b.SHA256 = state, hex.EncodeToString(in.sum.Sum(nil))
	sealed := in.bytes
	document, err := in.frame()
	if err != nil {
		return nil, err
	}
	b.seal, b.Bytes = string(document), in.bytes
	if n, err := io.ReadFull(r, make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it goes on after its seal", ErrDamaged)
	}
	if err := b.fits(sealed); err != nil {
		return nil, err
	}
	return b, nil
}

// fits sees that header, state and seal are of one backup.
func (b *Backup) fits(sealed uint64) error {
	v := b.State.View()
	if v.ClusterID() != b.Cluster || v.Index() != b.Index || v.Term() != b.Term || v.Digest().String() != b.Digest {
		return fmt.Errorf("%w: its header is that of another state", ErrDamaged)
	}
	// The state's own keys are good enough to see that all belongs together; they prove nothing else.
	seal, err := signed.VerifyBackupSeal(b.seal, v.SigningKeys())
	if err != nil {
		return fmt.Errorf("%w: the seal: %w", ErrDamaged, err)
	}
	if key := b.SigningKey; key != nil && !v.SigningKeys()[0].Equal(key.Public()) {
		return fmt.Errorf("%w: its private key is not the state's signing key", ErrDamaged)
	}
	if seal.BackupHeader != b.BackupHeader || seal.Bytes != sealed || seal.SHA256 != b.SHA256 {
		return fmt.Errorf("%w: its checksum or header is not the one that was sealed", ErrDamaged)
	}
	return nil
}

// Verify sees that one of the keys sealed the backup. Its error wraps ErrSeal.
func (b *Backup) Verify(keys []ed25519.PublicKey) error {
	if _, err := signed.VerifyBackupSeal(b.seal, keys); err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	return nil
}

// reader gives the bytes of the chunks up to the end, which is io.EOF.
type reader struct {
	r     io.Reader
	sum   hash.Hash
	bytes uint64
	chunk []byte
	err   error
}

func (in *reader) Read(p []byte) (int, error) {
	if len(in.chunk) == 0 && in.err == nil {
		if in.chunk, in.err = in.frame(); in.err == nil && len(in.chunk) == 0 {
			in.err = io.EOF
		}
	}
	if in.err != nil {
		return 0, in.err
	}
	n := copy(p, in.chunk)
	in.chunk = in.chunk[n:]
	return n, nil
}

func (in *reader) header(into *signed.BackupHeader) (version uint32, err error) {
	head := make([]byte, len(magic)+4)
	if err := in.full(head); err != nil {
		return 0, err
	}
	if string(head[:len(magic)]) != magic {
		return 0, fmt.Errorf("%w: it does not start with %s", ErrDamaged, magic)
	}
	if version = binary.BigEndian.Uint32(head[len(magic):]); version == 0 || version > Version {
		return 0, fmt.Errorf("version %d, this build reads 1 to %d: %w", version, Version, ErrNewer)
	}
	text, err := in.frame()
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return 0, fmt.Errorf("%w: the header: %w", ErrDamaged, err)
	}
	again, err := json.Marshal(into)
	if err == nil && !bytes.Equal(text, again) {
		err = errors.New("it is not as it was written")
	}
	if err := errors.Join(err, into.Validate()); err != nil {
		return 0, fmt.Errorf("%w: the header: %w", ErrDamaged, err)
	}
	return version, nil
}

// signingKey reads the frame of the private key. Its errors hold nothing of it.
func (in *reader) signingKey() (ed25519.PrivateKey, error) {
	text, err := in.frame()
	if err != nil {
		return nil, err
	}
	key, err := signed.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the private key: %w", ErrDamaged, err)
	}
	return key, nil
}

func (in *reader) frame() ([]byte, error) {
	head := make([]byte, 4)
	if err := in.full(head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes is longer than %d", ErrDamaged, size, maxFrame)
	}
	payload := make([]byte, size)
	return payload, in.full(payload)
}

func (in *reader) full(b []byte) error {
	_, err := io.ReadFull(in.r, b)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	case err != nil:
		return fmt.Errorf("read backup: %w", err)
	}
	in.bytes += uint64(len(b))
	in.sum.Write(b)
	return nil
}
