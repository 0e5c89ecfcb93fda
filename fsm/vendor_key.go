package fsm

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of vendor keys.
const (
	// maxKeys is how many vendor keys are in force at most, and how many signing keys.
	maxKeys = 16
	// MaxVendorKeys is how many vendor keys there are at most, those that were revoked included: they are never forgotten.
	MaxVendorKeys = 64
)

// VendorKey is a key that contracts are signed with (rule C2).
type VendorKey struct {
	Key ed25519.PublicKey
	// Name is empty for the keys that the cluster was founded with, and so are AddedMs, AddedBy and AddedWith.
	Name string
	// AddedMs and RevokedMs are wall clock milliseconds, AddedBy and RevokedBy the actors who brought the statements, AddedWith and
	// RevokedWith the ids of the keys that signed them.
	AddedMs, RevokedMs                         int64
	AddedBy, AddedWith, RevokedBy, RevokedWith string
}

// ID names the key in documents.
func (k VendorKey) ID() string { return signed.KeyID(k.Key) }

// Revoked reports whether nothing that the key signs is taken any more.
func (k VendorKey) Revoked() bool { return k.RevokedWith != "" }

// founding reports whether all that is known of the key is its bytes.
func (k VendorKey) founding() bool { return k.AddedWith == "" && !k.Revoked() }

func (k VendorKey) proto() *fsmpb.VendorKeyRecord {
	return &fsmpb.VendorKeyRecord{
		Key: k.Key, Name: k.Name, AddedMs: k.AddedMs, AddedBy: k.AddedBy, AddedWith: k.AddedWith,
		RevokedMs: k.RevokedMs, RevokedBy: k.RevokedBy, RevokedWith: k.RevokedWith,
	}
}

// VendorKeyFromProto is the reverse of what snapshots and outcomes hold.
func VendorKeyFromProto(p *fsmpb.VendorKeyRecord) VendorKey {
	return VendorKey{
		Key: p.GetKey(), Name: p.GetName(), AddedMs: p.GetAddedMs(), AddedBy: p.GetAddedBy(), AddedWith: p.GetAddedWith(),
		RevokedMs: p.GetRevokedMs(), RevokedBy: p.GetRevokedBy(), RevokedWith: p.GetRevokedWith(),
	}
}

// vendorKeys are the keys of a cluster, the most senior first: who comes first may revoke who comes later.
type vendorKeys []VendorKey

func foundingKeys(raw [][]byte) (vendorKeys, error) {
	keys, err := publicKeys(raw)
	list := make(vendorKeys, len(keys))
	for i, key := range keys {
		list[i] = VendorKey{Key: key}
	}
	return list, err
}

// place is that of a key by its id; -1 if there is none.
func (l vendorKeys) place(id string) int {
	return slices.IndexFunc(l, func(k VendorKey) bool { return k.ID() == id })
}

// revoked reports whether the key of an id is known and revoked.
func (l vendorKeys) revoked(id string) bool {
	i := l.place(id)
	return i >= 0 && l[i].Revoked()
}

func (l vendorKeys) inForce() (n int) {
	for _, k := range l {
		if !k.Revoked() {
			n++
		}
	}
	return n
}

// public has all of them, so that what a revoked key signed is known by its signature, too.
func (l vendorKeys) public() []ed25519.PublicKey {
	keys := make([]ed25519.PublicKey, len(l))
	for i, k := range l {
		keys[i] = k.Key
	}
	return keys
}

// changeVendorKeys adds, revokes or replaces a key as a vendor says (rule C2). A statement is taken if it is signed by a
// key in force that is not junior to the one that it revokes; to carry it out again changes nothing.
func (s *State) changeVendorKeys(o *fsmpb.Outcome, cmd *fsmpb.ChangeVendorKeys) {
	statement, signer, err := signed.VerifyStatement(cmd.Statement, s.meta.VendorKeys.public())
	if err != nil {
		o.Refusal = refuseDocument(err)
		return
	}
	keys := slices.Clone(s.meta.VendorKeys)
	if o.Refusal = s.statementRefusal(statement, signer); o.Refusal != nil {
		return
	}
	done := new(fsmpb.VendorKeysChanged)
	at := len(keys)
	if id := statement.Revokes; id != "" {
		at = keys.place(id)
		if !keys[at].Revoked() {
			keys[at].RevokedMs, keys[at].RevokedBy, keys[at].RevokedWith = s.clock.WallMs, s.actor, signer
		}
		done.Revoked = keys[at].proto()
	}
	if key := statement.AddedKey(); key != nil {
		i := keys.place(signed.KeyID(key))
		if i < 0 {
			i = at
			keys = slices.Insert(keys, i, VendorKey{Key: key, Name: statement.Name, AddedMs: s.clock.WallMs, AddedBy: s.actor, AddedWith: signer})
		}
		done.Added = keys[i].proto()
	}
	m := edit(s.meta)
	m.VendorKeys = keys
	s.setMeta(m)
	o.Result = &fsmpb.Outcome_VendorKeys{VendorKeys: done}
}

// statementRefusal says why a statement that is genuine is not taken.
func (s *State) statementRefusal(statement *signed.Statement, signer string) *fsmpb.Refusal {
	keys := s.meta.VendorKeys
	switch {
	case keys.revoked(signer):
		return refuse(VendorKeyRevoked, "key", signer)
	case statement.Cluster != "" && statement.Cluster != s.meta.ClusterID:
		return refuse(DocumentInvalid, "reason", "other_cluster")
	case s.clock.WallMs >= statement.Expiry.UnixMilli():
		return refuse(DocumentInvalid, "reason", "expired")
	}
	added, r := keys.added(statement)
	if r != nil {
		return r
	}
	gone, r := keys.gone(statement, signer)
	if r != nil {
		return r
	}
	switch left := keys.inForce() - gone + added; {
	case left == 0:
		return refuse(LastVendorKey, "key", statement.Revokes)
	case added > 0 && left > maxKeys:
		return refuse(VendorKeyLimitReached, "max", uint64(maxKeys))
	case added > 0 && len(keys) >= MaxVendorKeys:
		return refuse(VendorKeyLimitReached, "max", uint64(MaxVendorKeys))
	}
	return nil
}

// added is how many keys a statement adds, one or none, unless it can't.
func (l vendorKeys) added(statement *signed.Statement) (int, *fsmpb.Refusal) {
	key := statement.AddedKey()
	if key == nil {
		return 0, nil
	}
	switch i := l.place(signed.KeyID(key)); {
	case i < 0:
		return 1, nil
	case !l[i].Key.Equal(key):
		return 0, invalid(fmt.Errorf("adds: its id %s is that of another key", l[i].ID()))
	case l[i].Revoked():
		return 0, refuse(VendorKeyRevoked, "key", l[i].ID())
	}
	return 0, nil
}

// gone is how many keys in force a statement revokes, one or none, unless its signer may not.
func (l vendorKeys) gone(statement *signed.Statement, signer string) (int, *fsmpb.Refusal) {
	id := statement.Revokes
	if id == "" {
		return 0, nil
	}
	i := l.place(id)
	switch {
	case i < 0:
		return 0, refuse(VendorKeyNotFound, "key", id)
	case i < l.place(signer):
		return 0, refuse(VendorKeyOutranked, "key", id, "signer", signer)
	case l[i].Revoked():
		return 0, nil
	}
	return 1, nil
}

// refuseDocument says what is wrong with a signed document.
func refuseDocument(err error) *fsmpb.Refusal {
	r := refuse(DocumentInvalid, "reason", documentFault(err))
	r.Hint = err.Error()
	return r
}

// vendorKeysFromRecord reads either form of a meta record: the founding keys, or all with what became of them.
func vendorKeysFromRecord(r *fsmpb.MetaRecord) (vendorKeys, error) {
	if len(r.ChangedVendorKeys) == 0 {
		return foundingKeys(r.VendorKeys)
	}
	if len(r.VendorKeys) > 0 {
		return nil, errors.New("they stand there in two forms")
	}
	list := make(vendorKeys, len(r.ChangedVendorKeys))
	for i, k := range r.ChangedVendorKeys {
		if len(k.Key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %d has %d bytes instead of %d", i+1, len(k.Key), ed25519.PublicKeySize)
		}
		list[i] = VendorKeyFromProto(k)
	}
	return list, nil
}

// describe fills in the keys in the form that older builds read too, as long as it says all.
func (l vendorKeys) describe(r *fsmpb.MetaRecord) {
	if !slices.ContainsFunc(l, func(k VendorKey) bool { return !k.founding() }) {
		for _, k := range l {
			r.VendorKeys = append(r.VendorKeys, k.Key)
		}
		return
	}
	for _, k := range l {
		r.ChangedVendorKeys = append(r.ChangedVendorKeys, k.proto())
	}
}

// VendorKeys are all keys of vendors, the most senior first, those that were revoked included.
func (v *View) VendorKeys() []VendorKey { return slices.Clone(v.meta.VendorKeys) }

// VendorKeysInForce are the keys whose contracts are accepted (rule C2).
func (v *View) VendorKeysInForce() []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, k := range v.meta.VendorKeys {
		if !k.Revoked() {
			keys = append(keys, k.Key)
		}
	}
	return keys
}
