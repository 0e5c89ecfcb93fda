package fsm

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
)

// Every code has a sentence and a way on. That no {fact} stays open is checked on
// each refusal that the scripts and the model bring about: checkRefusalText.
func TestEveryCodeHasSentences(t *testing.T) {
	declared := codesInSource(t)
	if len(declared) < 15 {
		t.Fatalf("only %d codes found in refusal.go", len(declared))
	}
	for code := range declared {
		if s := sentences[code]; s.detail == "" || s.next == "" {
			t.Errorf("code %s has no sentence or no next step", code)
		}
		if _, ok := Codes()[code]; !ok {
			t.Errorf("Codes lacks %s", code)
		}
	}
	for code := range Codes() {
		if !declared[code] {
			t.Errorf("code %s has a sentence but no constant", code)
		}
	}
}

// codesInSource reads the constants of type Code out of refusal.go.
func codesInSource(t *testing.T) map[Code]bool {
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[Code(text)] = true
		}
		return true
	})
	return codes
}

func TestRefusalText(t *testing.T) {
	r := refuse(ContractExhausted, "contract", "themis", "of", "area", "line", "primary", "asked", uint64(6), "free", uint64(5), "allocated", uint64(25), "max", uint64(30))
	if got, want := Detail(r), "Contract themis, area primary: 6 asked, 5 free (25 of 30 allocated)."; got != want {
		t.Errorf("Detail is %q instead of %q", got, want)
	}
	if got, want := Next(r), "Ask for no more than is free, reduce what has been given out, or ask the vendor for more."; got != want {
		t.Errorf("Next is %q instead of %q", got, want)
	}
	if got, want := Detail(&fsmpb.Refusal{Code: "from_the_future"}), "from_the_future."; got != want {
		t.Errorf("a newer node's code reads %q instead of %q", got, want)
	}
	hinted := Detail(&fsmpb.Refusal{Code: string(Invalid), Hint: "name: it is missing"})
	if want := "The request is malformed: name: it is missing."; hinted != want {
		t.Errorf("a hint reads %q instead of %q", hinted, want)
	}
}
