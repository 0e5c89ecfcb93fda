package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/licet/licet/api/apiv1"
)

// boundElsewhere are strings of requests whose length the document does not bound, and what does.
var boundElsewhere = map[string]string{}

// stringsOf finds the strings within a schema.
func stringsOf(where string, ref *openapi3.SchemaRef, found map[string]*openapi3.Schema) {
	if ref == nil || ref.Value == nil {
		return
	}
	s := ref.Value
	if s.Type.Is("string") {
		found[where] = s
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		stringsOf(where+"."+name, s.Properties[name], found)
	}
	stringsOf(where+"[]", s.Items, found)
	stringsOf(where+".*", s.AdditionalProperties.Schema, found)
	for _, list := range []openapi3.SchemaRefs{s.OneOf, s.AnyOf, s.AllOf} {
		for _, x := range list {
			stringsOf(where, x, found)
		}
	}
}

// Every text that a request can hold has a greatest length in the document.
func TestStringsAreBounded(t *testing.T) {
	found := map[string]*openapi3.Schema{}
	for _, op := range operations() {
		for _, p := range op.Parameters {
			stringsOf(op.OperationID+" "+p.Value.In+" "+p.Value.Name, p.Value.Schema, found)
		}
		if op.RequestBody != nil {
			for kind, content := range op.RequestBody.Value.Content {
				if kind == "application/json" {
					stringsOf(op.OperationID, content.Schema, found)
				}
			}
		}
	}
	if len(found) < 80 {
		t.Fatalf("only %d strings were found", len(found))
	}
	for _, where := range slices.Sorted(maps.Keys(found)) {
		s := found[where]
		_, excused := boundElsewhere[where]
		bounded := s.MaxLength != nil || len(s.Enum) > 0 || fixedLength(s.Pattern)
		if bounded == excused {
			t.Errorf("%s: bounded by the document: %v, by something else: %v", where, bounded, excused)
		}
	}
	for where := range boundElsewhere {
		if found[where] == nil {
			t.Errorf("%s is no string of a request", where)
		}
	}
}

// fixedLength reports a pattern that is closed at both ends and repeats nothing without end.
func fixedLength(pattern string) bool {
	return strings.HasPrefix(pattern, "^") && strings.HasSuffix(pattern, "$") && !strings.ContainsAny(pattern, "*+")
}

// leaves calls set with each text and each field's name of a body replaced by another, but for some fields.
func leaves(value any, text string, skip []string, set func(any)) {
	switch x := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			put := func(v any) any {
				next := maps.Clone(x)
				next[name] = v
				return next
			}
			if _, isText := x[name].(string); slices.Contains(skip, name) {
				continue
			} else if isText {
				set(put(text))
			} else {
				leaves(x[name], text, skip, func(v any) { set(put(v)) })
			}
			renamed := maps.Clone(x)
			delete(renamed, name)
			renamed[text] = x[name]
			set(renamed)
		}
	case []any:
		for i := range x {
			put := func(v any) any {
				next := slices.Clone(x)
				next[i] = v
				return next
			}
			if _, isText := x[i].(string); isText {
				set(put(text))
			} else {
				leaves(x[i], text, skip, func(v any) { set(put(v)) })
			}
		}
	}
}

// secrets are texts that are verified, or compared as hashes, and kept or shown nowhere as they are.
var secrets = []string{"handle", "key", "document", "statement", "token"}

// The server holds what the document says: each text of each request, of great length or with a line break, is refused,
// and nothing is proposed.
func TestLongTextsAreRefused(t *testing.T) {
	f, all := newSampleFixture(t)
	tried := 0
	for _, id := range slices.Sorted(maps.Keys(all)) {
		r := all[id]
		var body any
		if json.Unmarshal([]byte(r.body), &body) != nil {
			continue
		}
		for text, skip := range map[string][]string{strings.Repeat("x", 300_000): nil, "a\r\nb": secrets, "a\x00b": secrets} {
			leaves(body, text, skip, func(changed any) {
				out, err := json.Marshal(changed)
				if err != nil {
					t.Fatal(err)
				}
				before := f.node.proposals
				bad := r.bad()
				bad.body = string(out)
				if a := f.do(bad); a.status < 400 || a.status >= 500 || f.node.proposals != before {
					t.Errorf("%s: %.200s: %d, %d proposals", id, out, a.status, f.node.proposals-before)
				}
				tried++
			})
		}
	}
	if tried < 200 {
		t.Errorf("only %d texts were tried", tried)
	}
}

// A body of very many fields, which would all hash alike if the hash were known, is refused in no more time than another.
func TestManyFieldsAreRefused(t *testing.T) {
	f, _ := newSampleFixture(t)
	var body strings.Builder
	body.WriteString(`{"x0":1`)
	for i := 1; body.Len() < 1<<20-40; i++ {
		fmt.Fprintf(&body, `,"x%d":1`, i)
	}
	body.WriteString("}")
	for _, path := range []string{"/v1/instances", "/v1/pools", "/v1/checkouts", "/v1/bulk"} {
		a := f.do(request{method: "POST", path: path, body: body.String()}.bad()).want(400)
		if p := a.refused(apiv1.CodeBadRequest); len(p.Detail) > 2000 {
			t.Errorf("%s: %d bytes of detail", path, len(p.Detail))
		}
	}
}

// Nothing is unpacked: a few bytes can't become many.
func TestPackedBodiesAreRefused(t *testing.T) {
	f, all := newSampleFixture(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if all[id].body == "" {
			continue
		}
		tried++
		r := all[id].bad().with("Content-Encoding", "gzip")
		r.body = packed.String()
		f.do(r).want(http.StatusUnsupportedMediaType).refused(apiv1.CodeUnsupportedMediaType)
	}
	if tried < 20 {
		t.Errorf("only %d operations take a body", tried)
	}
}
