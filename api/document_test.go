package api_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// operation is an operation of the document with its place.
type operation struct {
	*openapi3.Operation
	method, path string
}

// operations are all of them, by path and method.
func operations() []operation {
	var list []operation
	for _, path := range spec.Paths.InMatchingOrder() {
		byMethod := spec.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(byMethod)) {
			list = append(list, operation{byMethod[method], method, path})
		}
	}
	return list
}

// open reports that an operation needs no token.
func (op operation) open() bool { return op.Security != nil && len(*op.Security) == 0 }

func TestDocumentIsValid(t *testing.T) {
	if err := spec.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// Route by route: what the document has is served, and nothing else.
func TestDocumentAndRoutesAgree(t *testing.T) {
	var described []string
	for _, op := range operations() {
		described = append(described, op.method+" "+op.path)
	}
	slices.Sort(described)
	served := api.Routes()
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("document:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}

// Every object is closed, so that validated answers hold nothing undescribed.
func TestDocumentSchemasAreClosed(t *testing.T) {
	for name, ref := range spec.Components.Schemas {
		s := ref.Value
		if !s.Type.Is("object") {
			continue
		}
		if closed := s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has; !closed && s.AdditionalProperties.Schema == nil {
			t.Errorf("schema %s takes additional properties", name)
		}
	}
}

// The operations' x-problems, their responses and the codes say the same.
func TestDocumentProblems(t *testing.T) {
	for _, op := range operations() {
		problems := problemsOf(op.Operation)
		for status, codes := range problems {
			if op.Responses.Value(status) == nil {
				t.Errorf("%s: no response %s, which x-problems has", op.OperationID, status)
			}
			for _, code := range codes {
				if got := api.StatusOf(apiv1.Code(code)); http.StatusText(got) == "" || !strings.HasPrefix(status, strconv.Itoa(got)) {
					t.Errorf("%s: code %s is documented as %s, served as %d", op.OperationID, code, status, got)
				}
			}
		}
		for status := range op.Responses.Map() {
			if status >= "4" && problems[status] == nil {
				t.Errorf("%s: x-problems has no %s, which is a response", op.OperationID, status)
			}
		}
	}
}

// One table has the status of every documented code, and of every code of the rules.
func TestCodesAreComplete(t *testing.T) {
	var described []string
	for _, code := range spec.Components.Schemas["Code"].Value.Enum {
		described = append(described, code.(string))
	}
	known := api.KnownCodes()
	slices.Sort(known)
	if !slices.Equal(described, known) {
		t.Errorf("document: %v\ntable: %v", described, known)
	}
	for code := range fsm.Codes() {
		if !slices.Contains(known, string(code)) {
			t.Errorf("refusal %s has no status", code)
		}
	}
}
