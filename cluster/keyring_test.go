package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/licet/licet/cluster/clusterpb"
)

func gossipKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func mustOpen(t *testing.T, dir string, first []byte) *keyring {
	t.Helper()
	k, _, err := openKeyring(dir, first)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// has compares what memberlist uses, the first of which encrypts.
func (k *keyring) has(t *testing.T, keys ...[]byte) {
	t.Helper()
	got := k.list.GetKeys()
	if len(got) != len(keys) {
		t.Fatalf("memberlist has %d keys, want %d", len(got), len(keys))
	}
	for i := range keys {
		if !bytes.Equal(got[i], keys[i]) {
			t.Fatalf("key %d is %s, want %s", i, gossipKeyID(got[i]), gossipKeyID(keys[i]))
		}
	}
}

// TestRotationSteps: one after the other, each is on disk under a tight mode, and two
// nodes that are one step apart read each other.
func TestRotationSteps(t *testing.T) {
	dir := t.TempDir()
	first := gossipKey(1)
	k := mustOpen(t, dir, first)
	k.has(t, first)
	if _, err := os.Stat(filepath.Join(dir, keyringFile)); err == nil {
		t.Error("the first key was copied into the data directory")
	}
	var next []byte
	for i, want := range []func() [][]byte{
		func() [][]byte { return [][]byte{first, next} },
		func() [][]byte { return [][]byte{next, first} },
		func() [][]byte { return [][]byte{next} },
	} {
		before := k.current()
		step := nextKeyring(before)
		if i == 0 {
			next = step.Other
		}
		if !bytes.Equal(step.Primary, before.Primary) && !bytes.Equal(step.Primary, before.Other) {
			t.Fatalf("step %d: who is a step behind can't read this", i)
		}
		if !bytes.Equal(before.Primary, step.Primary) && !bytes.Equal(before.Primary, step.Other) {
			t.Fatalf("step %d: it can't read who is a step behind", i)
		}
		if done, err := k.replace(step, false); !done || err != nil {
			t.Fatalf("step %d: %v, %v", i, done, err)
		}
		k.has(t, want()...)
		reopened, superseded, err := openKeyring(dir, first)
		if err != nil || superseded != (i == 2) {
			t.Fatalf("step %d: superseded %v, %v", i, superseded, err)
		}
		reopened.has(t, want()...)
		if info, err := os.Stat(filepath.Join(dir, keyringFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("step %d: %v, %v", i, info, err)
		}
	}
	if bytes.Equal(next, first) || bytes.Equal(nextKeyring(k.current()).Other, next) {
		t.Error("a key comes twice")
	}
}

func TestKeyringTakesOnlyWhatIsNewer(t *testing.T) {
	settled := func(generation uint64, b byte) *clusterpb.Keyring {
		return &clusterpb.Keyring{Generation: generation, Primary: gossipKey(b)}
	}
	for _, test := range []struct {
		name    string
		given   *clusterpb.Keyring
		leaders bool
		done    bool
		err     string
	}{
		{"older", settled(2, 9), true, false, ""},
		{"the same again", settled(3, 3), false, true, ""},
		{"another of its generation", settled(3, 9), false, false, ""},
		{"the leader's of its generation", settled(3, 9), true, true, ""},
		{"newer", settled(4, 9), false, true, ""},
		{"much newer, of two keys", &clusterpb.Keyring{Generation: 8, Step: 2, Primary: gossipKey(9), Other: gossipKey(8)}, false, true, ""},
		{"nothing", nil, true, false, "key size"},
		{"a short key", &clusterpb.Keyring{Generation: 4, Primary: []byte("short")}, true, false, "key size"},
		{"a short second key", &clusterpb.Keyring{Generation: 4, Step: 1, Primary: gossipKey(9), Other: []byte{1}}, true, false, "key size"},
		{"two keys at rest", &clusterpb.Keyring{Generation: 4, Primary: gossipKey(9), Other: gossipKey(8)}, true, false, "does not go with"},
		{"one key on the way", &clusterpb.Keyring{Generation: 4, Step: 1, Primary: gossipKey(9)}, true, false, "does not go with"},
		{"an unknown step", &clusterpb.Keyring{Generation: 4, Step: 3, Primary: gossipKey(9), Other: gossipKey(8)}, true, false, "does not go with"},
	} {
		k := mustOpen(t, t.TempDir(), gossipKey(1))
		if done, err := k.replace(settled(3, 3), false); !done || err != nil {
			t.Fatal(done, err)
		}
		done, err := k.replace(test.given, test.leaders)
		if done != test.done || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, %v", test.name, done, err)
		}
		want := gossipKey(3)
		if test.done {
			want = test.given.Primary
		}
		if !bytes.Equal(k.list.GetPrimaryKey(), want) || !bytes.Equal(k.current().Primary, want) {
			t.Errorf("%s: it has %s", test.name, gossipKeyID(k.list.GetPrimaryKey()))
		}
	}
}

// TestUnwritableKeyringStaysAsItWas: what is not on disk is not used, lest a restart forget it.
func TestUnwritableKeyringStaysAsItWas(t *testing.T) {
	dir := t.TempDir()
	k := mustOpen(t, dir, gossipKey(1))
	if err := os.Mkdir(filepath.Join(dir, keyringFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if done, err := k.replace(nextKeyring(k.current()), true); done || err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Errorf("%v, %v", done, err)
	}
	k.has(t, gossipKey(1))
	if k.current().Generation != 0 {
		t.Errorf("generation %d", k.current().Generation)
	}
}

func TestDamagedKeyringIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no JSON": "x", "no key": "{}", "a short key": `{"generation": 3, "primary": "AAAA"}`,
		"a step without its key": `{"generation": 4, "step": 1, "primary": "AAAAAAAAAAAAAAAAAAAAAA=="}`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, keyringFile)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openKeyring(dir, gossipKey(1)); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
