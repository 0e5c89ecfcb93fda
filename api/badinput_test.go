package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// badCase is a request that must be refused before anything happens.
type badCase struct {
	name string
	request
	code apiv1.Code
}

// Bad input by table, generated from the document: every parameter, header and
// field of every operation, so that later routes get the same for free.
func TestBadInput(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		before, calls := f.node.view().Digest(), len(f.node.calls)
		for _, c := range badCases(op, sample) {
			t.Run(c.name, func(t *testing.T) {
				g := *f
				g.t = t
				g.do(c.request.bad()).refused(c.code)
				if after := f.node.view().Digest(); after != before {
					t.Error("the state has changed")
				}
				if len(f.node.calls) != calls {
					t.Errorf("the node was asked: %v", f.node.calls[calls:])
				}
			})
		}
	})
}

func badCases(op operation, sample request) []badCase {
	cases := badTokens(op, sample)
	add := func(name string, r request) { cases = append(cases, badCase{name, r, apiv1.CodeBadRequest}) }
	query := func(pair string) request {
		r := sample
		r.path += map[bool]string{true: "&", false: "?"}[strings.Contains(r.path, "?")] + pair
		return r
	}
	for _, pair := range []string{"unknown=1", "%zz=1", "a;b=1", "%00=1", "=1", strings.Repeat("x", 5000) + "=1"} {
		add("query "+clip(pair, 20), query(pair))
	}
	for _, ref := range op.Parameters {
		p := ref.Value
		for _, value := range badTexts(p.Schema.Value) {
			label := fmt.Sprintf("%s %s=%q", p.In, p.Name, clip(value, 30))
			switch p.In {
			case "query":
				r := sample
				r.path, _, _ = strings.Cut(r.path, "?")
				r.path += "?" + p.Name + "=" + url.QueryEscape(value)
				add(label, r)
			case "header":
				add(label, sample.with(p.Name, value))
			case "path":
				c := badCase{label, replaceParam(op, sample, p.Name, value), apiv1.CodeBadRequest}
				if value == "" || strings.Contains(value, "../") {
					c.code = apiv1.CodeRouteNotFound
				}
				cases = append(cases, c)
			}
		}
		switch p.In {
		case "query":
			good := url.QueryEscape(fmt.Sprint(goodValue(p.Schema.Value)))
			r := sample
			r.path, _, _ = strings.Cut(r.path, "?")
			r.path += "?" + p.Name + "=" + good + "&" + p.Name + "=" + good
			add("query "+p.Name+" twice", r)
		case "header":
			good := fmt.Sprint(goodValue(p.Schema.Value))
			add("header "+p.Name+" twice", sample.with(p.Name, good, good))
		}
	}
	return append(cases, badBodies(op, sample)...)
}

func badTokens(op operation, sample request) []badCase {
	if op.open() {
		return nil
	}
	anonymous := sample
	anonymous.anonymous = true
	cases := []badCase{{"no token", anonymous, apiv1.CodeUnauthorized}}
	for _, values := range [][]string{
		{"Bearer "},
		{"Bearer"},
		{""},
		{"Bearer wrong"},
		{"Basic " + token},
		{token},
		{"Bearer " + token + " "},
		{"Bearer  " + token},
		{"Bearer " + token, "Bearer " + token},
		{"Bearer " + strings.Repeat("x", 100_000)},
		{"Bearer \x00\xff\r\nX: y"},
	} {
		cases = append(cases, badCase{fmt.Sprintf("token %.40q", values), sample.with("Authorization", values...), apiv1.CodeUnauthorized})
	}
	return cases
}

// replaceParam puts another value for a path parameter, escaped.
func replaceParam(op operation, sample request, name, value string) request {
	want, have := strings.Split(op.path, "/"), strings.Split(sample.path, "/")
	for i, segment := range want {
		if segment == "{"+name+"}" {
			have[i] = url.PathEscape(value)
		}
	}
	sample.path = strings.Join(have, "/")
	return sample
}

// badTexts are texts that a parameter of the schema must not be.
func badTexts(s *openapi3.Schema) []string {
	switch {
	case s.Type.Is("integer"):
		bad := []string{"", "x", "-1", "+1", "1.5", "1e3", "0x10", " 1", "1 ", "01", "1_000", "١", "99999999999999999999999", "18446744073709551616", "\x00", "1\r\nX: y", "NaN", "1,2"}
		return append(bad, fmt.Sprintf("%.0f", *s.Max+1), fmt.Sprintf("%.0f", *s.Min-1))
	case s.Type.Is("boolean"):
		return []string{"", "yes", "1", "0", "TRUE", "True", " true", "null", "\x00"}
	case len(s.Enum) > 0:
		return []string{"", "x", strings.ToUpper(fmt.Sprint(s.Enum[0])), fmt.Sprint(s.Enum[0]) + " ", "\x00"}
	case s.Format == "date-time":
		return []string{"", "x", "2026-13-01T00:00:00Z", "2026-06-01", "1780272000", "2026-06-01T00:00:00", "0000-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "\x00"}
	case s.Pattern == "":
		// A free text of one line.
		return []string{"", " ", strings.Repeat("a", int(*s.MaxLength)+1), strings.Repeat("é", int(*s.MaxLength)), "a\x00b", "a\r\nX-Evil: 1", "a\xff", "\u0085"}
	default:
		return append(badNames(s), "")
	}
}

// badNames are texts that fit no name, node id or request id.
func badNames(s *openapi3.Schema) []string {
	names := []string{
		strings.Repeat("a", int(*s.MaxLength)+1), strings.Repeat("a", 5_000), "a b", " a", "a\x00b", "a\r\nX-Evil: 1", "é", "a\xff\xfe", "日本", "a\u202eb", "<script>",
		"../../etc/passwd", `..\..\x`, "a/b", "a;b", "%2e%2e", "'; DROP TABLE x", "{{7*7}}", "${x}",
	}
	if *s.MaxLength == fsm.MaxAccountName {
		// Names of accounts are those of people.
		names = slices.DeleteFunc(names, func(name string) bool { return fsm.CheckAccountName("name", name) == nil })
	}
	return names
}

// badCSV are files that are no list of accounts.
func badCSV(sample request) []badCase {
	var cases []badCase
	body := func(name, text string, code apiv1.Code) {
		r := sample
		r.body = text
		cases = append(cases, badCase{name, r, code})
	}
	for _, text := range []string{
		" ", "\n", "name", "name,area", "name,area\n", "area\nprimary", "name,area,name\na,primary,b", "name,area,extra\na,primary,x", "Name,Area\na,primary", "name;area\na;primary",
		"name,area\na", "name,area\na,primary,Yes", "name,area\na,pri mary", "name,area\n=1,primary", "name,area\n,primary", "name,area\n\"a,primary", "name,area\na\"b,primary",
		"name,area,account state\na,primary,yes", "name,area,account state\na,primary,", "name,area,account state\na,primary,active", "name,area\n\xff,primary", "{}",
		"name,area\n" + strings.Repeat("x", 255) + ",primary", "name,area\n a,primary", "name,area\na , primary", "name,area\na\x00,primary",
	} {
		body(fmt.Sprintf("file %.40q", text), text, apiv1.CodeBadRequest)
	}
	body("10 MB", "name,area\n"+strings.Repeat("ann,primary\n", 1<<20), apiv1.CodeBodyTooLarge)
	body("more rows than one may have", "name,area\n"+strings.Repeat("a,primary\n", fsm.MaxListed+1), apiv1.CodeBadRequest)
	body("more than one command holds", "name,area\n"+strings.Repeat(strings.Repeat("x", 200)+",primary\n", 3000), apiv1.CodeBodyTooLarge)
	body("no body, but a type", "", apiv1.CodeUnsupportedMediaType)
	for _, kinds := range [][]string{{}, {""}, {"application/json"}, {"text/plain"}, {"text/csv; charset=latin1"}, {"text/csv", "text/csv"}} {
		cases = append(cases, badCase{fmt.Sprintf("content type %q", kinds), sample.with("Content-Type", kinds...), apiv1.CodeUnsupportedMediaType})
	}
	return cases
}

// badTypes are types of a body that is not looked at before it is a backup's.
func badTypes(sample request) []badCase {
	var cases []badCase
	for _, kinds := range [][]string{{}, {""}, {"application/json"}, {"application/vnd.licet.backup; charset=latin1"}, {"text/csv", "text/csv"}} {
		cases = append(cases, badCase{fmt.Sprintf("content type %q", kinds), sample.with("Content-Type", kinds...), apiv1.CodeUnsupportedMediaType})
	}
	return cases
}

func goodValue(s *openapi3.Schema) any {
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is("integer"):
		return int(*s.Min)
	case s.Type.Is("boolean"):
		return false
	case s.Type.Is("object"):
		return map[string]any{"primary": 1}
	}
	return "a"
}

func badBodies(op operation, sample request) []badCase {
	if op.RequestBody == nil {
		// Nothing takes what it would ignore.
		cases := []badCase{}
		for _, body := range []string{"{}", "x", strings.Repeat("x", 10<<20)} {
			r := sample
			r.body = body
			cases = append(cases, badCase{"body " + clip(body, 5), r, apiv1.CodeBadRequest})
		}
		return cases
	}
	if op.RequestBody.Value.Content.Get("text/csv") != nil {
		return badCSV(sample)
	}
	if op.RequestBody.Value.Content.Get("application/vnd.licet.backup") != nil {
		return badTypes(sample)
	}
	cases := badJSON(sample, op.RequestBody.Value.Required)
	schema := op.RequestBody.Value.Content.Get("application/json").Schema.Value
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(sample.body), &fields); err != nil {
		panic(err)
	}
	add := func(name string, fields map[string]json.RawMessage) {
		text, err := json.Marshal(fields)
		if err != nil {
			panic(err)
		}
		r := sample
		r.body = string(text)
		cases = append(cases, badCase{name, r, apiv1.CodeBadRequest})
	}
	with := func(name, value string) map[string]json.RawMessage {
		next := maps.Clone(fields)
		next[name] = json.RawMessage(value)
		return next
	}
	for _, unknown := range []string{"unknown", "", "__proto__", "\x00", strings.Repeat("x", 10_000)} {
		add(fmt.Sprintf("unknown field %.12q", unknown), with(unknown, "1"))
	}
	if schema.MinProps > 0 {
		add("no field", nil)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		s := schema.Properties[name].Value
		other := maps.Clone(fields)
		delete(other, name)
		if slices.Contains(schema.Required, name) {
			add("missing "+name, other)
		}
		other[strings.ToUpper(name)] = fields[name]
		add("upper case "+name, other)
		r := sample
		r.body = `{"` + name + `":` + string(fields[name]) + `,` + strings.TrimPrefix(sample.body, "{")
		cases = append(cases, badCase{"twice " + name, r, apiv1.CodeBadRequest})
		for _, value := range badValues(s) {
			add(fmt.Sprintf("%s %.40s", name, value), with(name, value))
		}
	}
	return cases
}

// badJSON are bodies that are wrong whatever their schema is.
func badJSON(sample request, required bool) []badCase {
	var cases []badCase
	body := func(name, text string, code apiv1.Code) {
		r := sample
		r.body = text
		cases = append(cases, badCase{name, r, code})
	}
	if required {
		body("no body, but a type", "", apiv1.CodeUnsupportedMediaType)
		cases = append(cases, badCase{"empty body", request{method: sample.method, path: sample.path}.with("Content-Type", "application/json"), apiv1.CodeBadRequest})
	}
	for _, text := range []string{
		" ", "null", "true", "1", `"x"`, "[]", "[{}]", "{", "}", "{]", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, "NaN", `{"a":01}`, `{"a":+1}`, "// x\n{}",
		sample.body + "x", sample.body + sample.body, sample.body + "\x00", "\ufeff" + sample.body, "\xff\xfe{}", "{\"a\":\"\xff\"}", "{\"a\":\"\x01\"}",
		strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9), strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), "{\"a\":" + strings.Repeat("9", 100_000) + "}",
		"<xml/>", "a=1&b=2", "---\na: 1",
	} {
		body(fmt.Sprintf("body %.30q", text), text, apiv1.CodeBadRequest)
	}
	body("10 MB of spaces", strings.Repeat(" ", 10<<20)+sample.body, apiv1.CodeBodyTooLarge)
	body("10 MB of text", `{"document":"`+strings.Repeat("x", 10<<20)+`"}`, apiv1.CodeBodyTooLarge)
	for _, kinds := range [][]string{
		{},
		{""},
		{"text/plain"},
		{"application/xml"},
		{"application/x-www-form-urlencoded"},
		{"application/json-patch+json"},
		{"application/json; charset=latin1"},
		{"application/json; x=y"},
		{"application/json", "application/json"},
		{"*/*"},
		{"application/json\x00"},
		{";"},
	} {
		cases = append(cases, badCase{fmt.Sprintf("content type %q", kinds), sample.with("Content-Type", kinds...), apiv1.CodeUnsupportedMediaType})
	}
	return cases
}

// badValues are JSON values that a field of the schema must not have.
func badValues(s *openapi3.Schema) []string {
	bad := []string{"null", "true", "[]", `[{"a":1}]`}
	numbers := []string{"-1", "-0", "1.5", "1.0", "1e3", "1E400", "18446744073709551616", "99999999999999999999999999"}
	switch {
	case s.Type.Is("integer"):
		bad = append(append(bad, numbers...), "{}", `"1"`, fmt.Sprintf("%.0f", *s.Max+1))
		if *s.Min > 0 {
			bad = append(bad, fmt.Sprintf("%.0f", *s.Min-1))
		}
	case s.Type.Is("boolean"):
		return []string{"null", "0", "1", `"true"`, `""`, "[]", "{}"}
	case s.Type.Is("array"):
		return append(badLists(s), "null", "true", "1", "{}", `"x"`)
	case s.Format == "date-time":
		return append(bad, "{}", "1", `""`, `"x"`, `"2026-13-01T00:00:00Z"`, `"2026-06-01"`, `"9999-01-01T00:00:00Z"`)
	case s.Type.Is("string") && len(s.Enum) > 0:
		bad = append(bad, "{}", "1", `""`, `"x"`, `"`+strings.ToUpper(fmt.Sprint(s.Enum[0]))+`"`)
	case s.Type.Is("string"):
		bad = append(bad, "{}", "1", `"`+strings.Repeat("a", int(*s.MaxLength)+1)+`"`)
		if s.Pattern == "" || s.MinLength > 0 {
			bad = append(bad, `""`)
		}
		if s.Pattern != "" {
			for _, name := range badNames(s) {
				text, _ := json.Marshal(name)
				bad = append(bad, string(text))
			}
		}
	case s.Type.Is("object") && len(s.Properties) > 0:
		return badObjects(s)
	case s.Type.Is("object"):
		bad = append(bad, "1", `"x"`)
		if s.MinProps > 0 {
			bad = append(bad, "{}")
		}
		many := make(map[string]int)
		for i := range int(*s.MaxProps) + 1 {
			many[fmt.Sprint("area", i)] = 1
		}
		text, _ := json.Marshal(many)
		bad = append(bad, string(text), `{"primary":1,"primary":1}`)
		for _, value := range badValues(s.AdditionalProperties.Schema.Value) {
			bad = append(bad, `{"primary":`+value+`}`)
		}
		for _, name := range []string{"", "a b", "../x", "\x00", "é", "-a", strings.Repeat("a", 65)} {
			text, _ := json.Marshal(map[string]int{name: 1})
			bad = append(bad, string(text))
		}
	}
	return bad
}

// badLists are arrays that a field of the schema must not have.
func badLists(s *openapi3.Schema) []string {
	item := s.Items.Value
	bad := []string{"[null]", "[[]]"}
	if s.MinItems > 0 {
		bad = append(bad, "[]")
	}
	many := make([]any, *s.MaxItems+1)
	for i := range many {
		many[i] = goodValue(item)
	}
	text, _ := json.Marshal(many)
	bad = append(bad, string(text))
	for _, value := range badValues(item) {
		bad = append(bad, "["+value+"]")
	}
	return bad
}

// badObjects are objects that a field of the schema must not have: each has one bad field.
func badObjects(s *openapi3.Schema) []string {
	bad := []string{"null", "true", "[]", "1", `"x"`, `{"unknown":1}`}
	if s.MinProps > 0 || len(s.Required) > 0 {
		bad = append(bad, "{}")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		for _, value := range badValues(s.Properties[name].Value) {
			bad = append(bad, fmt.Sprintf("{%q:%s}", name, value))
		}
	}
	return bad
}

// What a path or a server does not have is answered by problems, too.
func TestUnknownPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	before := f.node.view().Digest()
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v2/contracts", "/v1/contracts/", "/v1//contracts", "//v1/contracts", "/v1/./contracts", "/v1/contracts/../keys", "/v1/contracts/%2e%2e",
		"/v1/contracts/%2e%2e/keys", "/v1/contracts/acme/x", "/V1/contracts", "/v1/contracts%00", "/v1/instances/", "/v1/instances/1/", "/v1/instances//key", "*", "", "/%ff", "/../../etc/passwd",
		"/v1/openapi.yaml/", "/debug/pprof/", "/metrics/x", "/" + strings.Repeat("a", 10_000),
	} {
		f.do(request{method: "GET", path: path}.bad()).want(404).refused(apiv1.CodeRouteNotFound)
	}
	for _, op := range operations() {
		path, _, _ := strings.Cut(samples[op.OperationID].path, "?")
		for _, method := range []string{"HEAD", "OPTIONS", "PUT", "TRACE", "get", "BREW", "GET "} {
			if spec.Paths.Value(op.path).Operations()[method] != nil {
				continue
			}
			a := f.do(request{method: method, path: path}.bad()).want(405)
			if a.refused(apiv1.CodeMethodNotAllowed); !strings.Contains(a.header.Get("Allow"), op.method) {
				t.Errorf("%s: Allow is %q", a, a.header.Get("Allow"))
			}
		}
		f.do(request{method: http.MethodConnect, path: path}.bad()).refused(apiv1.CodeRouteNotFound)
	}
	if f.node.view().Digest() != before {
		t.Error("the state has changed")
	}
}
