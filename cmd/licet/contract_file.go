package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/licet/licet/fsm/signed"
)

const contractFileHelp = `CONTRACT.yaml has, and - is the input:

  id: acme-2026
  revision: 1             # a higher one replaces a lower one
  customer: Acme SA
  email: licenses@acme.example
  start: 2026-01-01       # from the beginning of that day
  expiry: 2026-12-31      # through the end of that day
  grace_days: 14          # everything still works for so long (default 0)
  users:                  # accounts per area
    primary: 30
  products:               # seats per product
    editor: {model: floating, quantity: 10, overdraft: 2}   # or mono, team

Dates are plain ones, in UTC, or exact to the second: 2026-12-31T18:00:00+01:00.`

const (
	// maxContractFile is room for the most areas and products.
	maxContractFile = 128 << 10
	maxBrackets     = 2 * signed.MaxProducts
	maxColons       = 6 * signed.MaxProducts
	maxDashes       = signed.MaxProducts
)

// marks bound the parser's time, which grows with the square of some of them.
var marks = []struct {
	texts []string
	most  int
	name  string
}{
	{[]string{"[", "{"}, maxBrackets, "brackets"}, {[]string{":"}, maxColons, "colons"}, {[]string{"- "}, maxDashes, "items"},
}

// contractFile is one reading of a contract's file.
type contractFile struct {
	name     string
	contract signed.Contract
	// lines tells where a field stands, by its path.
	lines  map[string]int
	faults []fileFault
}

type fileFault struct {
	line int
	text string
}

// parseContract reads a contract's YAML strictly. The error has all that is
// wrong, each on a line with file and line number.
func parseContract(name string, text []byte) (*signed.Contract, error) {
	f := &contractFile{name: name, lines: map[string]int{}}
	if root := f.parse(text); root != nil {
		f.fields(root, "", f.field)
		f.validate()
	}
	if len(f.faults) > 0 {
		return nil, f.error()
	}
	return &f.contract, nil
}

func (f *contractFile) fault(line int, format string, args ...any) {
	f.faults = append(f.faults, fileFault{line, fmt.Sprintf(format, args...)})
}

func (f *contractFile) error() error {
	// What is missing has no line, and comes last.
	slices.SortStableFunc(f.faults, func(a, b fileFault) int { return cmp.Compare(uint(a.line-1), uint(b.line-1)) })
	const most = 20
	var errs []error
	for i, fault := range f.faults {
		switch {
		case i == most:
			errs = append(errs, fmt.Errorf("and %d more", len(f.faults)-most))
			return errors.Join(errs...)
		case fault.line > 0:
			errs = append(errs, fmt.Errorf("%s:%d: %s", f.name, fault.line, fault.text))
		default:
			errs = append(errs, fmt.Errorf("%s: %s", f.name, fault.text))
		}
	}
	return errors.Join(errs...)
}

// parse returns the only document's mapping, or nil after a fault.
func (f *contractFile) parse(text []byte) (root ast.MapNode) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for _, mark := range marks {
		count := 0
		for _, m := range mark.texts {
			count += bytes.Count(text, []byte(m))
		}
		if count > mark.most {
			f.fault(0, "there are more than %d %s", mark.most, mark.name)
			return nil
		}
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		f.fault(0, "the file is not UTF-8 text")
		return nil
	}
	// A fault of the parser's own is still only a fault of the file.
	defer func() {
		if recover() != nil {
			root = nil
			f.fault(0, "the file is not YAML that can be read")
		}
	}()
	tree, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		f.syntax(err)
		return nil
	}
	var bodies []ast.Node
	for _, d := range tree.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) != 1 {
		f.fault(0, "there are %d documents in the file instead of one", len(bodies))
		return nil
	}
	root, ok := bodies[0].(ast.MapNode)
	if !ok {
		f.fault(lineOf(bodies[0]), "%s instead of a contract's fields", kindOfNode(bodies[0]))
		return nil
	}
	return root
}

func (f *contractFile) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		f.fault(at.GetToken().Position.Line, "not YAML: %s", at.GetMessage())
		return
	}
	f.fault(0, "not YAML: %.200s", err.Error())
}

// fields calls set for each field of a mapping; path is the mapping's own, with a dot.
func (f *contractFile) fields(m ast.MapNode, path string, set func(path, name string, value ast.Node)) {
	for it := m.MapRange(); it.Next(); {
		line := lineOf(it.Key())
		if _, merge := it.Key().(*ast.MergeKeyNode); merge {
			f.fault(line, "merging (<<) is not supported")
			continue
		}
		name := it.Key().GetToken().Value
		full := path + name
		if first, twice := f.lines[full]; twice {
			f.fault(line, "%.80s: it stands there twice, first in line %d", full, first)
			continue
		}
		f.lines[full] = line
		set(full, name, it.Value())
	}
}

// field reads a field of the contract itself.
func (f *contractFile) field(path, _ string, value ast.Node) {
	c := &f.contract
	switch path {
	case "id":
		c.ID = f.text(path, value)
	case "revision":
		c.Revision = f.number(path, value)
	case "customer":
		c.Customer = f.text(path, value)
	case "email":
		c.Email = f.text(path, value)
	case "start":
		c.Start = f.time(path, value, false)
	case "expiry":
		c.Expiry = f.time(path, value, true)
	case "grace_days":
		// Beyond 32 bits it must not wrap around to something small.
		c.GraceDays = uint32(min(f.number(path, value), 1<<32-1))
	case "users":
		c.Users = map[string]uint64{}
		f.mapping(path, value, func(path, area string, value ast.Node) { c.Users[area] = f.number(path, value) })
	case "products":
		c.Products = map[string]signed.Product{}
		f.mapping(path, value, f.product)
	default:
		f.fault(f.lines[path], "%.80s: there is no such field", path)
	}
}

func (f *contractFile) product(path, name string, value ast.Node) {
	var p signed.Product
	f.mapping(path, value, func(path, field string, value ast.Node) {
		switch field {
		case "model":
			p.Model = signed.Model(f.text(path, value))
		case "quantity":
			p.Quantity = f.number(path, value)
		case "overdraft":
			p.Overdraft = f.number(path, value)
		default:
			f.fault(f.lines[path], "%.80s: there is no such field; a product has model, quantity, overdraft", path)
		}
	})
	if _, ok := f.lines[path+".quantity"]; !ok {
		f.fault(f.lines[path], "%.80s.quantity: it is missing", path)
	}
	f.contract.Products[name] = p
}

func (f *contractFile) mapping(path string, value ast.Node, set func(path, name string, value ast.Node)) {
	m, ok := value.(ast.MapNode)
	if !ok {
		f.fault(lineOf(value), "%.80s: %s instead of names with values", path, kindOfNode(value))
		return
	}
	f.fields(m, path+".", set)
}

// validate adds what the contract itself finds wrong, where nothing was said of the field yet.
func (f *contractFile) validate() {
	said := map[int]bool{}
	for _, fault := range f.faults {
		said[fault.line] = true
	}
	err := f.contract.Validate()
	if err == nil {
		return
	}
	for _, text := range strings.Split(err.Error(), "\n") {
		field, _, _ := strings.Cut(text, ":")
		line := f.lines[field]
		for line == 0 && strings.Contains(field, ".") {
			field = field[:strings.LastIndexByte(field, '.')]
			line = f.lines[field]
		}
		if line == 0 || !said[line] {
			f.fault(line, "%s", text)
		}
	}
}

func (f *contractFile) text(path string, value ast.Node) string {
	switch v := value.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.IntegerNode, *ast.FloatNode:
		return v.GetToken().Value
	}
	f.fault(lineOf(value), "%.80s: %s instead of a text", path, kindOfNode(value))
	return ""
}

func (f *contractFile) number(path string, value ast.Node) uint64 {
	if v, ok := value.(*ast.IntegerNode); ok {
		if n, err := whole(v.GetToken().Value, 0, maxExact); err == nil {
			return n
		}
		f.fault(lineOf(value), "%.80s: %.40s is no whole number from 0 to %d", path, v.GetToken().Value, uint64(maxExact))
		return 0
	}
	f.fault(lineOf(value), "%.80s: %s instead of a whole number", path, kindOfNode(value))
	return 0
}

// time reads a date; a plain one that ends something means the end of the day.
func (f *contractFile) time(path string, value ast.Node, end bool) time.Time {
	text := f.text(path, value)
	if text == "" {
		return time.Time{}
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		f.fault(lineOf(value), "%s: %.40q is neither a date (2026-12-31) nor a time (2026-12-31T18:00:00Z)", path, text)
	}
	return t.UTC()
}

func lineOf(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func kindOfNode(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag"
	}
	return "something else"
}
