package fsm

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

const (
	// kindRestore marks the rows of the audit trail that tell of a restored backup. It is no field of Body and never
	// will be, as Body reserves it: no command restores anything.
	kindRestore = 10_000
	// numbersAMs is how many numbers, such as fences, a cluster can't have given out in a millisecond.
	numbersAMs = 1000
)

// Restoration says where the contents of a backup are put.
type Restoration struct {
	// Index and Term are where the log goes on.
	Index, Term uint64
	// NowMs is the present time, milliseconds since 1970-01-01 UTC.
	NowMs int64
	// Actor and RequestID are for the audit trail.
	Actor, RequestID string
	// SHA256 is the backup's checksum in hex.
	SHA256 string
	// SigningKey is the backup's current signing key, if the cluster is to sign with it; nil if not. The members have its private half.
	SigningKey ed25519.PublicKey
}

// restoredBackup is what the audit trail keeps of a restoration.
type restoredBackup struct {
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Digest  string `json:"digest"`
	SHA256  string `json:"sha256"`
}

// Succeed makes a state out of a backup that follows on the present one: contents and settings are the
// backup's; what the cluster is, its audit trail and all that only grows go on.
//
//   - Tokens stay, if an operator has one: what was revoked since stays revoked. Else they are the backup's.
//   - Cluster id and vendor keys stay, and what the backup knows to be revoked is revoked. A contract that no key in force signed is
//     taken from the present state, if that has it in the same or a higher revision; otherwise there is an error (rule C2).
//   - The backup's signing keys are added to those of the cluster, so that license keys and borrow tokens still verify. Those that
//     either knows to be retired stay retired.
//   - The wall clock goes on. The lease clock is the backup's and has stood still since: leases have the time that they had (rule D2).
//   - Serial numbers, lease ids and all other numbers are higher than any that was given out since the backup (rules I3, K6). If
//     nobody knows which these were, because the backup is another cluster's, more are passed over than there can have been.
//   - The audit trail is the present one with one more row. Request ids are forgotten: what they did is undone, or done in the backup.
//
// Only a state that no one else has may be given; after an error it is of no use.
func (s *State) Succeed(present *View, r Restoration) error {
	told := restoredBackup{Cluster: s.meta.ClusterID, Index: s.index, Digest: s.Digest().String(), SHA256: r.SHA256}
	foreign := s.meta.ClusterID != present.meta.ClusterID
	before := s.clock
	wall := max(s.clock.WallMs, present.clock.WallMs, r.NowMs)
	s.clock = Clock{WallMs: wall, PauseMs: s.clock.PauseMs + wall - s.clock.WallMs}
	s.actor = r.Actor
	if err := s.takeIdentity(present, r.SigningKey); err != nil {
		return err
	}
	if foreign {
		s.passOver(wall - before.WallMs)
	}
	if s.takeTokens(present) && foreign {
		s.forgetHolds()
	}
	s.takeTrail(present)
	s.index, s.term, s.position = r.Index, r.Term, 0
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	body := protowire.AppendBytes(protowire.AppendTag(nil, kindRestore, protowire.BytesType), text)
	s.record(requestKey(r.Actor, r.RequestID), r.Actor, body, &fsmpb.Outcome{Index: s.index, Term: s.term}, false)
	return nil
}

// takeIdentity makes the state one of the present cluster.
func (s *State) takeIdentity(present *View, signing ed25519.PublicKey) error {
	m := edit(present.meta)
	m.Settings = s.meta.Settings
	m.VendorKeys = slices.Clone(m.VendorKeys)
	for i, k := range m.VendorKeys {
		if theirs := s.meta.VendorKeys.place(k.ID()); !k.Revoked() && s.meta.VendorKeys.revoked(k.ID()) {
			m.VendorKeys[i].RevokedMs, m.VendorKeys[i].RevokedBy = s.clock.WallMs, s.actor
			m.VendorKeys[i].RevokedWith = s.meta.VendorKeys[theirs].RevokedWith
		}
	}
	if m.VendorKeys.inForce() == 0 {
		return errors.New("the backup knows every vendor key of this cluster to be revoked: found it with one that is in force")
	}
	if err := m.joinSigningKeys(s.meta, signing); err != nil {
		return err
	}
	s.setMeta(m)
	return s.takeContracts(present)
}

// joinSigningKeys adds the keys that another state signed with, unless one of the two knows them to be retired.
func (m *meta) joinSigningKeys(from *meta, first ed25519.PublicKey) error {
	for i := len(m.SigningKeys) - 1; i > 0; i-- {
		if indexOfKey(from.RetiredKeys, signed.KeyID(m.SigningKeys[i])) >= 0 {
			m.retire(i)
		}
	}
	for _, key := range from.RetiredKeys {
		if id := signed.KeyID(key); indexOfKey(m.RetiredKeys, id) < 0 && indexOfKey(m.SigningKeys, id) < 0 && len(m.RetiredKeys) < maxRetired {
			m.RetiredKeys = append(slices.Clone(m.RetiredKeys), key)
		}
	}
	m.SigningKeys = slices.Clone(m.SigningKeys)
	for _, key := range from.SigningKeys {
		if id := signed.KeyID(key); indexOfKey(m.SigningKeys, id) < 0 && indexOfKey(m.RetiredKeys, id) < 0 {
			m.SigningKeys = append(m.SigningKeys, key)
		}
	}
	if n := len(m.SigningKeys); n > maxKeys {
		return fmt.Errorf("cluster and backup have %d signing keys together; %d are possible", n, maxKeys)
	}
	if i := indexOfKey(m.SigningKeys, signed.KeyID(first)); first != nil && i > 0 {
		m.SigningKeys = slices.Insert(slices.Delete(m.SigningKeys, i, i+1), 0, first)
	}
	return nil
}

// takeContracts verifies the backup's contracts with the vendor keys that are in force now. What only a revoked key, or none of
// this cluster, vouches for must be in the present state, too: otherwise a backup would be the way around a revocation (rule C2).
func (s *State) takeContracts(present *View) error {
	for _, old := range slices.Clone(s.contracts.rows.Values()) {
		_, err := s.newContract(old.Document)
		if err == nil && !s.meta.VendorKeys.revoked(old.Signer) {
			continue
		}
		now, ok := present.contracts.get(old.Doc.ID)
		switch {
		case (!ok || now.Doc.Revision < old.Doc.Revision) && err == nil:
			return fmt.Errorf("contract %s is signed by vendor key %s, which was revoked: have the vendor sign it with a key that is in force, and import that first", old.Doc.ID, old.Signer)
		case !ok || now.Doc.Revision < old.Doc.Revision:
			return fmt.Errorf("contract %s is not signed by a vendor of this cluster: %w", old.Doc.ID, err)
		case now.Document != old.Document:
			s.replaceContract(old, &Contract{Doc: now.Doc, Document: now.Document, Users: now.Users, Signer: now.Signer})
		}
	}
	return nil
}

// numbers are all counters of what was given a number.
func (c *counters) numbers() []*uint64 {
	return []*uint64{&c.lastSerial, &c.lastLease, &c.lastTicket, &c.lastBlock, &c.lastLicenseRequest, &c.lastNotice, &c.lastPool, &c.lastToken}
}

// passOver leaves out numbers that may have been given out in a time that the state knows nothing of.
func (s *State) passOver(ms int64) {
	for _, n := range s.counters.numbers() {
		*n += uint64(max(ms, 1)) * numbersAMs
	}
}

// takeTrail goes on with the present audit trail and the higher numbers.
func (s *State) takeTrail(present *View) {
	for _, w := range s.writes.rows.Values() {
		s.forget(w)
	}
	ours := present.counters
	theirs := ours.numbers()
	for i, n := range s.counters.numbers() {
		*n = max(*n, *theirs[i])
	}
	s.counters.lastWrite, s.counters.chain, s.counters.chainBase = ours.lastWrite, ours.chain, ours.chain
}

// Recovered makes a state out of that of a node which goes on without the others: they may have given out
// numbers that it never heard of. NowMs is the present time, milliseconds since 1970-01-01 UTC.
func (s *State) Recovered(nowMs int64) { s.passOver(nowMs - s.clock.WallMs) }

// Restored tells of which backup a row of the audit trail tells, as JSON; nil if it tells of something else.
func (w *Write) Restored() json.RawMessage {
	if w.Kind != kindRestore {
		return nil
	}
	_, _, n := protowire.ConsumeTag(w.Body())
	text, _ := protowire.ConsumeBytes(w.Body()[max(n, 0):])
	return text
}
