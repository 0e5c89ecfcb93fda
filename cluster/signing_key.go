package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

// derivationBlock is the PEM block of signing.key that has a derivation. It is there once the key was rotated.
const derivationBlock = "LICET DERIVATION KEY"

// derivation is what handles and the secrets of tokens are derived with: a key for each. It comes from the key that the
// cluster was founded with and stays when signing keys rotate, so that a request that is repeated later has the same
// handle, or token (rule E1).
type derivation [2 * sha256.Size]byte

func (d *derivation) handles() []byte { return d[:sha256.Size] }

func (d *derivation) tokens() []byte { return d[sha256.Size:] }

func deriveFrom(founding ed25519.PrivateKey) (*derivation, error) {
	d := new(derivation)
	for i, info := range []string{handleInfo, tokenInfo} {
		key, err := hkdf.Key(sha256.New, founding.Seed(), nil, info, sha256.Size)
		if err != nil {
			return nil, err
		}
		copy(d[i*sha256.Size:], key)
	}
	return d, nil
}

// signingKeys are the private halves of signing keys that a node has, immutable. Which of them the cluster signs with, its state says: so a
// key that was handed out for a rotation that did not come to its end does no harm.
type signingKeys struct {
	// private has the oldest first: besides the current one, at most the next.
	private []ed25519.PrivateKey
	// derives is nil if there is no key.
	derives *derivation
}

// newSigningKeys are one key and what goes with it; without a derivation it is the founding key's.
func newSigningKeys(key ed25519.PrivateKey, derives []byte) (signingKeys, error) {
	k := signingKeys{private: []ed25519.PrivateKey{key}}
	var err error
	switch {
	case len(derives) == len(derivation{}):
		k.derives = (*derivation)(derives)
	case len(derives) != 0:
		err = fmt.Errorf("a derivation has %d bytes instead of %d", len(derives), len(derivation{}))
	default:
		k.derives, err = deriveFrom(key)
	}
	return k, err
}

// of is the private half of a public key; nil if the node does not have it.
func (k signingKeys) of(public ed25519.PublicKey) ed25519.PrivateKey {
	for _, key := range k.private {
		if public.Equal(publicOf(key)) {
			return key
		}
	}
	return nil
}

// ids are those of the public halves.
func (k signingKeys) ids() (list []string) {
	for _, key := range k.private {
		list = append(list, signed.KeyID(publicOf(key)))
	}
	return list
}

// encode is the text of signing.key. Of a key that was never rotated it is what every build reads.
func (k signingKeys) encode() ([]byte, error) {
	var text []byte
	for _, key := range k.private {
		block, err := signed.EncodePrivateKey(key)
		if err != nil {
			return nil, err
		}
		text = append(text, block...)
	}
	founding, err := deriveFrom(k.private[0])
	if err != nil || len(k.private) == 1 && *k.derives == *founding {
		return text, err
	}
	return append(text, pem.EncodeToMemory(&pem.Block{Type: derivationBlock, Bytes: k.derives[:]})...), nil
}

// decodeSigningKeys is the reverse. Its errors hold nothing of the text.
func decodeSigningKeys(text []byte) (signingKeys, error) {
	var k signingKeys
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == derivationBlock && len(block.Bytes) == len(derivation{}) {
			k.derives = (*derivation)(block.Bytes)
			continue
		}
		key, err := signed.ParsePrivateKey(pem.EncodeToMemory(block))
		if err != nil {
			return k, err
		}
		k.private = append(k.private, key)
	}
	if len(k.private) == 0 {
		return k, errors.New("no private key found")
	}
	var err error
	if k.derives == nil {
		k.derives, err = deriveFrom(k.private[0])
	}
	return k, err
}

func (i *identity) loadSigningKeys() error {
	path := filepath.Join(i.dir, signingFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.signing, err = decodeSigningKeys(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeSigningKeys replaces the keys, on disk first. The caller holds the lock.
func (i *identity) writeSigningKeys(k signingKeys) error {
	text, err := k.encode()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(i.dir, signingFile), text, 0o600); err != nil {
		return err
	}
	i.signing = k
	return nil
}

// signingKeys are the keys that the node has; none until it belongs to a cluster.
func (i *identity) signingKeys() signingKeys {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.signing
}

// keepSigningKey takes a key, on disk before it returns, and forgets those that are neither current in a view nor the new one. A key
// that the view knows as a former one is passed over.
func (i *identity) keepSigningKey(key ed25519.PrivateKey, v *fsm.View) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if k := i.signing; k.of(publicOf(key)) != nil || isFormer(publicOf(key), v) {
		return nil
	}
	if len(i.signing.private) == 0 {
		return errors.New("the node belongs to no cluster yet, and gets its keys when it does")
	}
	current := v.SigningKeys()
	k := signingKeys{derives: i.signing.derives}
	for _, have := range i.signing.private {
		if len(current) == 0 || current[0].Equal(publicOf(have)) {
			k.private = append(k.private, have)
		}
	}
	k.private = append(k.private, key)
	return i.writeSigningKeys(k)
}

// forgetFormerKeys removes the private halves of keys with which the cluster does not sign any more, once the node has the current one. Those
// that came before it are among them, even if the state never named them: their rotation did not come to its end, or this one could not.
func (i *identity) forgetFormerKeys(v *fsm.View) (forgotten []string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	current := v.SigningKeys()
	if len(i.signing.private) < 2 || len(current) == 0 || i.signing.of(current[0]) == nil {
		return nil, nil
	}
	k := signingKeys{derives: i.signing.derives}
	for _, have := range i.signing.private {
		if len(k.private) == 0 && !current[0].Equal(publicOf(have)) || isFormer(publicOf(have), v) {
			forgotten = append(forgotten, signed.KeyID(publicOf(have)))
		} else {
			k.private = append(k.private, have)
		}
	}
	if len(forgotten) == 0 {
		return nil, nil
	}
	return forgotten, i.writeSigningKeys(k)
}

// isFormer reports whether the cluster has signed with a key, and does not any more.
func isFormer(key ed25519.PublicKey, v *fsm.View) bool {
	is := func(k ed25519.PublicKey) bool { return bytes.Equal(k, key) }
	return slices.IndexFunc(v.SigningKeys(), is) > 0 || slices.ContainsFunc(v.RetiredKeys(), is)
}

// signingKey is the key with which the cluster signs, as a view has it. A node that was away while it changed gets it from the leader.
func (n *Node) signingKey(v *fsm.View) (ed25519.PrivateKey, *Error) {
	if key := n.heldSigningKey(v); key != nil {
		return key, nil
	}
	return nil, errorf(NotReady, "Node %s does not have the cluster's signing key yet.", n.options.ID)
}

// heldSigningKey is the same key, nil while the node does not have it.
func (n *Node) heldSigningKey(v *fsm.View) ed25519.PrivateKey {
	current := v.SigningKeys()
	if len(current) == 0 {
		return nil
	}
	return n.identity.signingKeys().of(current[0])
}
