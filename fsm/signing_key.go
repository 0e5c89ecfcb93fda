package fsm

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// maxRetired is how many retired signing keys are remembered, so that no backup brings them back. Of more, the oldest is forgotten.
const maxRetired = 64

func indexOfKey(keys []ed25519.PublicKey, id string) int {
	return slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return signed.KeyID(k) == id })
}

// addSigningKey makes a key the one that the cluster signs with. What former keys signed stays good.
func (s *State) addSigningKey(o *fsmpb.Outcome, cmd *fsmpb.AddSigningKey) {
	if n := len(cmd.Key); n != ed25519.PublicKeySize {
		o.Refusal = invalid(fmt.Errorf("key: it has %d bytes instead of %d", n, ed25519.PublicKeySize))
		return
	}
	id := signed.KeyID(cmd.Key)
	switch place := indexOfKey(s.meta.SigningKeys, id); {
	case place > 0 || indexOfKey(s.meta.RetiredKeys, id) >= 0:
		o.Refusal = invalid(fmt.Errorf("key: %s was one before; keys do not come back", id))
		return
	case place < 0 && len(s.meta.SigningKeys) >= maxKeys:
		o.Refusal = refuse(SigningKeyLimitReached, "max", uint64(maxKeys))
		return
	case place < 0:
		m := edit(s.meta)
		m.SigningKeys = slices.Insert(slices.Clone(m.SigningKeys), 0, ed25519.PublicKey(cmd.Key))
		s.setMeta(m)
	}
	o.Result = signingKeyResult(cmd.Key)
}

// retireSigningKey ends what a former key has signed.
func (s *State) retireSigningKey(o *fsmpb.Outcome, cmd *fsmpb.RetireSigningKey) {
	if err := signed.CheckKeyID("key", cmd.Key); err != nil {
		o.Refusal = invalid(err)
		return
	}
	if i := indexOfKey(s.meta.RetiredKeys, cmd.Key); i >= 0 {
		o.Result = signingKeyResult(s.meta.RetiredKeys[i])
		return
	}
	i := indexOfKey(s.meta.SigningKeys, cmd.Key)
	switch {
	case i < 0:
		o.Refusal = refuse(SigningKeyNotFound, "key", cmd.Key)
		return
	case i == 0:
		o.Refusal = refuse(SigningKeyInUse, "key", cmd.Key)
		return
	}
	m := edit(s.meta)
	m.retire(i)
	s.setMeta(m)
	o.Result = signingKeyResult(m.RetiredKeys[0])
}

// retire moves a signing key to those that are none any more.
func (m *meta) retire(i int) {
	m.RetiredKeys = slices.Insert(slices.Clone(m.RetiredKeys), 0, m.SigningKeys[i])
	m.RetiredKeys = m.RetiredKeys[:min(len(m.RetiredKeys), maxRetired)]
	m.SigningKeys = slices.Delete(slices.Clone(m.SigningKeys), i, i+1)
}

func signingKeyResult(key ed25519.PublicKey) *fsmpb.Outcome_SigningKey {
	return &fsmpb.Outcome_SigningKey{SigningKey: &fsmpb.SigningKeyStatus{Key: key}}
}

// SigningKeys are the cluster's own public keys, the current one first, then the newest first. What they signed is good.
func (v *View) SigningKeys() []ed25519.PublicKey { return v.meta.SigningKeys }

// RetiredKeys are signing keys that are none any more, the last one first.
func (v *View) RetiredKeys() []ed25519.PublicKey { return v.meta.RetiredKeys }
