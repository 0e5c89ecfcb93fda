package cluster

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// A node that has just started knows no key as the current one until it has applied its log. One that is handed out just then comes beside
// the one before and one whose rotation never came to its end: when the node knows which is current, it forgets both.
func TestKeysBeforeTheCurrentOneAreForgotten(t *testing.T) {
	var private []ed25519.PrivateKey
	var ids []string
	for range 4 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		private, ids = append(private, key), append(ids, signed.KeyID(publicOf(key)))
	}
	first, orphan, current, next := private[0], private[1], private[2], private[3]
	state, index := fsm.New(), uint64(0)
	apply := func(actor, request string, body *fsmpb.Body) {
		t.Helper()
		c, err := fsm.NewCommand(actor, request, body)
		if err != nil {
			t.Fatal(err)
		}
		data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: time.Unix(1_780_000_000, 0).UnixMilli(), Commands: []*fsmpb.Command{c}})
		if err != nil {
			t.Fatal(err)
		}
		index++
		outcomes, err := state.Apply(index, 1, data)
		if err != nil || outcomes[0].Refusal != nil {
			t.Fatal(outcomes, err)
		}
	}
	dir := t.TempDir()
	kept, err := newSigningKeys(first, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := &identity{dir: dir, signing: kept}
	has := func(when string, want ...string) {
		t.Helper()
		onDisk := &identity{dir: dir}
		if err := onDisk.loadSigningKeys(); err != nil {
			t.Fatal(err)
		}
		if got := i.signingKeys().ids(); !slices.Equal(got, want) || !slices.Equal(onDisk.signingKeys().ids(), want) {
			t.Errorf("%s the node has %q, on disk %q, instead of %q", when, got, onDisk.signingKeys().ids(), want)
		}
	}
	for _, key := range []ed25519.PrivateKey{orphan, current} {
		if err := i.keepSigningKey(key, state.View()); err != nil {
			t.Fatal(err)
		}
	}
	has("before its log is applied", ids[:3]...)

	apply("", "", &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{ClusterId: "01J00000000000000000000000", VendorKeys: [][]byte{publicOf(first)}, SigningKey: publicOf(first)}}})
	if forgotten, err := i.forgetFormerKeys(state.View()); err != nil || len(forgotten) != 0 {
		t.Errorf("it forgot %q while the first was current: %v", forgotten, err)
	}
	apply("operator", "rotates", &fsmpb.Body{Kind: &fsmpb.Body_AddSigningKey{AddSigningKey: &fsmpb.AddSigningKey{Key: publicOf(current)}}})
	if forgotten, err := i.forgetFormerKeys(state.View()); err != nil || !slices.Equal(forgotten, ids[:2]) {
		t.Errorf("it forgot %q, %v", forgotten, err)
	}
	has("when its log is applied", ids[2])

	if err := i.keepSigningKey(next, state.View()); err != nil {
		t.Fatal(err)
	}
	if forgotten, err := i.forgetFormerKeys(state.View()); err != nil || len(forgotten) != 0 {
		t.Errorf("it forgot %q before the next one's rotation came to its end: %v", forgotten, err)
	}
	has("during a rotation", ids[2:]...)
}
