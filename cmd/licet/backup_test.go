package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// Progress is told now and then, and its end always; where nobody looks on, it is nil and says nothing.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, what: "restore", total: 3 << 20}
	part := make([]byte, 1<<20)
	for range 3 {
		if n, err := p.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.done()
	if want := "\rrestore: 1.0 MiB of 3.0 MiB \rrestore: 3.0 MiB of 3.0 MiB \n"; b.String() != want {
		t.Errorf("%q instead of %q", b.String(), want)
	}
	p.said = time.Time{}
	var nobody *progress
	if n, err := io.MultiWriter(io.Discard, nobody).Write(part); n != len(part) || err != nil {
		t.Error(n, err)
	}
	nobody.done()
}

// A node that sends no backup leaves the file as it was.
func TestBackupThatIsNone(t *testing.T) {
	f := newFake(t, 200, "no backup")
	f.kind = "application/vnd.licet.backup"
	name := t.TempDir() + "/cluster.backup"
	if err := replace(name, []byte("an older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, at(f.Server), "backup", name)
	if got.code != exitInternal || got.out != "" || !strings.Contains(got.err, "no whole backup") {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "an older one" {
		t.Errorf("the file has %q, %v", text, err)
	}
}
