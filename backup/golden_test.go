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
	f.Add(write(f, view(f, 2), testKey(2)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Read(bytes.NewReader(text))
		if err == nil && (b.State.View().Digest().String() != b.Digest || int(b.Bytes) != len(text)) {
			t.Errorf("%+v", b.BackupHeader)
		}
	})
}
