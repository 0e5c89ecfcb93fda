package cluster

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/memberlist"

	"github.com/licet/licet/cluster/clusterpb"
)

// keyringFile has the gossip keys once they have been rotated.
const keyringFile = "gossip.keys"

// gossipKeyBytes is the length of a key that a rotation makes.
const gossipKeyBytes = 32

// keyring has the gossip keys of this node: what memberlist uses, and in a file of
// the data directory once they are not those of the configuration any more. They are
// nowhere else, least of all in the replicated state. Safe for concurrent use.
type keyring struct {
	path string
	list *memberlist.Keyring

	// replacing is held while the file is written; is can be read meanwhile.
	replacing sync.Mutex
	is        atomic.Pointer[clusterpb.Keyring]
}

// keyringDocument is what gossip.keys holds.
type keyringDocument struct {
	Generation uint64                `json:"generation"`
	Step       clusterpb.KeyringStep `json:"step"`
	Primary    []byte                `json:"primary"`
	Other      []byte                `json:"other,omitempty"`
}

// openKeyring takes the keys of the data directory, or else the first key, of 16, 24 or
// 32 bytes. Superseded reports that the first key is not among them.
func openKeyring(dir string, first []byte) (k *keyring, superseded bool, err error) {
	k = &keyring{path: filepath.Join(dir, keyringFile)}
	is := &clusterpb.Keyring{Primary: first}
	text, err := os.ReadFile(k.path)
	if err == nil {
		var d keyringDocument
		if err = json.Unmarshal(text, &d); err == nil {
			is = &clusterpb.Keyring{Generation: d.Generation, Step: d.Step, Primary: d.Primary, Other: d.Other}
			err = checkKeyring(is)
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s is damaged; remove it, and the node gets the keys from the others: %w", k.path, err)
		}
		superseded = !bytes.Equal(first, is.Primary) && !bytes.Equal(first, is.Other)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if k.list, err = memberlist.NewKeyring(nil, is.Primary); err != nil {
		return nil, false, fmt.Errorf("gossip.key_file: %w", err)
	}
	k.is.Store(is)
	return k, superseded, k.install(is)
}

// checkKeyring refuses what memberlist would, and what is no step of a rotation.
func checkKeyring(r *clusterpb.Keyring) error {
	if err := memberlist.ValidateKey(r.GetPrimary()); err != nil {
		return err
	}
	switch one := len(r.Other) == 0; {
	case one != (r.Step == clusterpb.KeyringStep_KEYRING_STEP_UNSPECIFIED), r.Step < 0, r.Step > clusterpb.KeyringStep_KEYRING_STEP_USED:
		return fmt.Errorf("step %d does not go with its keys", r.Step)
	case one:
		return nil
	}
	return memberlist.ValidateKey(r.Other)
}

// current never waits, and is not to be changed.
func (k *keyring) current() *clusterpb.Keyring { return k.is.Load() }

// replace takes newer keys, on disk before they are used. Older ones, and other ones of
// the same generation unless they are the leader's, are refused: done is false then.
func (k *keyring) replace(r *clusterpb.Keyring, leaders bool) (done bool, err error) {
	if err := checkKeyring(r); err != nil {
		return false, err
	}
	k.replacing.Lock()
	defer k.replacing.Unlock()
	switch is := k.current(); {
	case r.Generation == is.Generation && sameKeys(r, is):
		return true, nil
	case r.Generation < is.Generation, r.Generation == is.Generation && !leaders:
		return false, nil
	}
	// The first key is the configuration's: what a node starts with is not to override a file that is corrected.
	if r.Generation > 0 {
		text, err := json.MarshalIndent(keyringDocument{r.Generation, r.Step, r.Primary, r.Other}, "", "  ")
		if err != nil {
			return false, err
		}
		if err := renameio.WriteFile(k.path, append(text, '\n'), 0o600); err != nil {
			return false, fmt.Errorf("the gossip keys can't be written: %w", err)
		}
	}
	if err := k.install(r); err != nil {
		return false, err
	}
	k.is.Store(r)
	return true, nil
}

// install has memberlist use the keys. Its readers hold the slice that RemoveKey
// writes to unless it removes the last, so those that go are put there first.
func (k *keyring) install(r *clusterpb.Keyring) error {
	wanted := [][]byte{r.Primary}
	if len(r.Other) > 0 {
		wanted = append(wanted, r.Other)
	}
	for _, key := range slices.Backward(wanted) {
		if err := errors.Join(k.list.AddKey(key), k.list.UseKey(key)); err != nil {
			return err
		}
	}
	for all := k.list.GetKeys(); len(all) > len(wanted); all = k.list.GetKeys() {
		if err := k.list.RemoveKey(all[len(all)-1]); err != nil {
			return err
		}
	}
	return nil
}

func sameKeys(a, b *clusterpb.Keyring) bool {
	return a.Step == b.Step && bytes.Equal(a.Primary, b.Primary) && bytes.Equal(a.Other, b.Other)
}

// nextKeyring is the step of a rotation after r: a new key is accepted, it is used, the
// former one goes. Where every node took a step before any takes the next one, all
// of them can read what the others send.
func nextKeyring(r *clusterpb.Keyring) *clusterpb.Keyring {
	next := &clusterpb.Keyring{Generation: r.Generation + 1}
	switch r.Step {
	case clusterpb.KeyringStep_KEYRING_STEP_INSTALLED:
		next.Step, next.Primary, next.Other = clusterpb.KeyringStep_KEYRING_STEP_USED, r.Other, r.Primary
	case clusterpb.KeyringStep_KEYRING_STEP_USED:
		next.Primary = r.Primary
	default:
		next.Step, next.Primary, next.Other = clusterpb.KeyringStep_KEYRING_STEP_INSTALLED, r.Primary, make([]byte, gossipKeyBytes)
		rand.Read(next.Other)
	}
	return next
}

// describeKeyring has no keys; nil is described by nil.
func describeKeyring(r *clusterpb.Keyring) *clusterpb.KeyringState {
	if r == nil {
		return nil
	}
	return &clusterpb.KeyringState{Generation: r.Generation, Step: r.Step, Primary: gossipKeyID(r.Primary), Other: gossipKeyID(r.Other)}
}

// gossipKeyID tells keys apart and nothing about them.
func gossipKeyID(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	sum := sha256.Sum256(append([]byte("licet gossip key\x00"), key...))
	return hex.EncodeToString(sum[:6])
}
