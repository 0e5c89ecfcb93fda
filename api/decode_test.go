package api

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzDecodeBody holds the strict decoder against encoding/json: it never panics,
// takes only what that takes, and reads the same from it.
func FuzzDecodeBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":{"b":[1,"x",null,true,{"c":-1e3}]}}`, `[]`, `{} {}`, "\ufeff{}", `{"\u0061":1,"a":2}`,
		`{"contract":"acme","name":"paris","allocation":{"primary":5}}`, `{"a":[[[[[[[[[1]]]]]]]]]}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := decodeBody(body)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || d.More() || !utf8.Valid(body) {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if got := plain(o); !reflect.DeepEqual(got, any(want)) {
			t.Fatalf("read %v instead of %v", got, want)
		}
		// Nothing that a form reads may panic.
		form := newForm(o)
		for _, name := range []string{"a", "contract", "allocation"} {
			form.has(name)
			form.text(name, 10)
			form.number(name, 0, 10)
			form.quantities(name, 1)
		}
		_ = form.done()
	})
}

// What the decoder refuses whatever the fields are.
func TestDecodeBodyRefuses(t *testing.T) {
	nested := func(levels int) string {
		return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
	}
	if _, err := decodeBody([]byte(nested(maxDepth))); err != nil {
		t.Errorf("depth %d: %v", maxDepth, err)
	}
	for body, want := range map[string]string{
		nested(maxDepth + 1):               "nests deeper",
		`{"a":[` + nested(maxDepth) + `]}`: "nests deeper",
		"{\"a\":\"\xff\"}":                 "not UTF-8",
		`{"a":1,"a":1}`:                    "\"a\" stands there twice",
		`{"b":{"a":1,"\u0061":1}}`:         "\"a\" stands there twice",
		`{} {}`:                            "at byte 4",
		`[]`:                               "an array instead of an object",
		" \n":                              "empty",
	} {
		if _, err := decodeBody([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, not %q", body, err, want)
		}
	}
}

// plain turns the decoder's values into those of encoding/json.
func plain(value any) any {
	switch v := value.(type) {
	case object:
		m := make(map[string]any, len(v))
		for name, field := range v {
			m[name] = plain(field)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = plain(x)
		}
		return list
	}
	return value
}

// The corpus that fuzzing found is part of the tests.
func TestFuzzCorpusIsThere(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzDecodeBody", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Size() > 4096 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
