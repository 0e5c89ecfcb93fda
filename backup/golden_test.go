package backup

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file if it is missing")

// What an older build wrote stays readable, to the same digest. The file is never changed.
func TestGoldenBackup(t *testing.T) {
	name := filepath.Join("testdata", "golden", "backup-v1.bin")
	v := view(t, 3)
	if _, err := os.Stat(name); err != nil && *update {
		if err := os.WriteFile(name, write(t, v, testKey(2)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := header
	want.Cluster, want.Index, want.Term, want.Digest = v.ClusterID(), v.Index(), v.Term(), v.Digest().String()
	if b.BackupHeader != want {
		t.Errorf("%+v", b.BackupHeader)
	}
}

func FuzzRead(f *testing.F) {
	for _, withKey := range []bool{false, true} {
		whole := written(f, view(f, 2), testKey(2), withKey)
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
		other := bytes.Clone(whole)
		other[len(magic)+3] ^= plainVersion ^ Version
		f.Add(other)
	}
	// A key that is not the state's.
	f.Add(written(f, view(f, 2), testKey(3), true))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Read(bytes.NewReader(text))
		if err != nil {
			if b != nil {
				t.Errorf("%v, and yet there is something to restore", err)
			}
			return
		}
		v := b.State.View()
		if v.Digest().String() != b.Digest || int(b.Bytes) != len(text) {
			t.Errorf("%+v", b.BackupHeader)
		}
		if b.SigningKey != nil && !v.SigningKeys()[0].Equal(b.SigningKey.Public()) {
			t.Error("the private key is another's")
		}
	})
}
