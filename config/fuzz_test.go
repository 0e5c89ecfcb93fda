package config

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfig feeds any bytes to the three sources. Whatever they are, the answer is a complete configuration that
// survives being written and read again, or a bounded error on clean lines.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(valid), "LICET_LOG_LEVEL=debug", "cluster.peers=127.0.0.1:7101")
	f.Fuzz(func(t *testing.T, data []byte, variable, override string) {
		c, err := load("/etc/licet/licet.yaml", data, []string{variable}, []string{override})
		if err != nil {
			checkError(t, err)
			return
		}
		for i := range keys {
			if k := &keys[i]; k.mandatory && len(strings.Join(k.get(&c), "")) == 0 {
				t.Errorf("%s is empty", k.name)
			}
		}
		again, err := load("/etc/licet/licet.yaml", []byte(c.YAML()), nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, c.YAML())
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("-once +again:\n%s", diff)
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("not an *Error: %v", err)
	}
	if n := len(all.Problems); n == 0 || n > maxProblems {
		t.Errorf("%d problems", n)
	}
	for _, p := range all.Problems {
		if p.Key != "" && keyNamed(p.Key) == nil {
			t.Errorf("no key: %+v", p)
		}
		if text := p.String(); len(text) > 2000 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("not one clean line: %q", text)
		}
	}
}
