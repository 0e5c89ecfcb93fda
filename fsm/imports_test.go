package fsm

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// forbidden are the standard library's ways to what differs between nodes (rule D1).
var forbidden = []string{
	"crypto/rand", "embed", "iter", "log", "math/rand", "net", "os", "path/filepath", "plugin", "runtime", "syscall", "testing", "unsafe",
}

// allowed are the others' packages that the state machine may use.
var allowed = []string{
	"github.com/licet/licet/fsm/", "github.com/planetscale/vtprotobuf/protohelpers", "github.com/tidwall/btree", "google.golang.org/protobuf/",
}

// forbiddenNames are names of allowed packages that read clocks or keep goroutines.
var forbiddenNames = []string{
	"time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep", "time.Tick", "time.NewTimer", "time.NewTicker",
	"time.Local", "time.LoadLocation", "maps.All", "maps.Values", "math.Float64bits",
}

// TestPure holds fsm and fsm/signed to D1: no clock, no randomness, no environment,
// no goroutines, no floats, no order of maps.
func TestPure(t *testing.T) {
	t.Parallel()
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
	}, ".", "./signed")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) != 2 {
		t.Fatalf("%d packages loaded", len(pkgs))
	}
	for _, p := range pkgs {
		if len(p.Errors) > 0 || len(p.Syntax) == 0 {
			t.Fatalf("%s: %d files, %v", p.PkgPath, len(p.Syntax), p.Errors)
		}
		for _, file := range p.Syntax {
			c := purity{t: t, p: p}
			c.imports(file, strings.HasSuffix(p.PkgPath, "/signed"))
			ast.Walk(&c, file)
		}
	}
}

type purity struct {
	t *testing.T
	p *packages.Package
	// above are the nodes around the present one.
	above []ast.Node
}

func (c *purity) fault(pos token.Pos, what string) {
	c.t.Errorf("%s: %s", c.p.Fset.Position(pos), what)
}

func (c *purity) imports(file *ast.File, standardOnly bool) {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		first, _, _ := strings.Cut(path, "/")
		standard := !strings.Contains(first, ".")
		in := func(list []string) bool {
			return slices.ContainsFunc(list, func(p string) bool {
				return path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/")
			})
		}
		switch {
		case standard && in(forbidden):
			c.fault(spec.Pos(), "imports "+path)
		case !standard && (standardOnly || !in(allowed)):
			c.fault(spec.Pos(), "imports "+path)
		}
	}
}

// Visit looks at one node, and at what is below it.
func (c *purity) Visit(n ast.Node) ast.Visitor {
	switch x := n.(type) {
	case nil:
		return nil
	case *ast.GoStmt:
		c.fault(x.Pos(), "starts a goroutine")
	case *ast.SelectStmt:
		c.fault(x.Pos(), "selects, which is random")
	case *ast.RangeStmt:
		if _, ok := c.p.TypesInfo.TypeOf(x.X).Underlying().(*types.Map); ok {
			c.fault(x.Pos(), "ranges over a map")
		}
	case *ast.SelectorExpr:
		c.selector(x)
	case ast.Expr:
		if b, ok := underlying(c.p.TypesInfo.TypeOf(x)); ok && b.Info()&(types.IsFloat|types.IsComplex) != 0 {
			c.fault(x.Pos(), "uses a float")
		}
	}
	return &purity{t: c.t, p: c.p, above: append(slices.Clip(c.above), n)}
}

func underlying(t types.Type) (*types.Basic, bool) {
	if t == nil {
		return nil, false
	}
	b, ok := t.Underlying().(*types.Basic)
	return b, ok
}

func (c *purity) selector(x *ast.SelectorExpr) {
	object := c.p.TypesInfo.Uses[x.Sel]
	if object == nil || object.Pkg() == nil {
		return
	}
	name := object.Pkg().Name() + "." + object.Name()
	if slices.Contains(forbiddenNames, name) {
		c.fault(x.Pos(), "uses "+name)
	}
	if name == "maps.Keys" && !c.sorted() {
		c.fault(x.Pos(), "uses maps.Keys unsorted")
	}
}

// sorted reports that the present expression is called within slices.Sorted(…).
func (c *purity) sorted() bool {
	if len(c.above) < 2 {
		return false
	}
	call, ok := c.above[len(c.above)-2].(*ast.CallExpr)
	if !ok {
		return false
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	return ok && fun.Sel.Name == "Sorted"
}
