package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/licet/licet/fsm/signed"
)

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

// strictFile is one reading of a YAML file that has one mapping, strictly.
type strictFile struct {
	// name is the file's, what it is to hold.
	name, what string
	// lines tells where a field stands, by its path.
	lines  map[string]int
	faults []fileFault
}

func newStrictFile(name, what string) strictFile {
	return strictFile{name: name, what: what, lines: map[string]int{}}
}

type fileFault struct {
	line int
	text string
}

func (f *strictFile) fault(line int, format string, args ...any) {
	f.faults = append(f.faults, fileFault{line, fmt.Sprintf(format, args...)})
}

func (f *strictFile) error() error {
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
func (f *strictFile) parse(text []byte) (root ast.MapNode) {
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
		f.fault(lineOf(bodies[0]), "%s instead of %s's fields", kindOfNode(bodies[0]), f.what)
		return nil
	}
	return root
}

func (f *strictFile) syntax(err error) {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		f.fault(at.GetToken().Position.Line, "not YAML: %s", at.GetMessage())
		return
	}
	f.fault(0, "not YAML: %.200s", err.Error())
}

// fields calls set for each field of a mapping; path is the mapping's own, with a dot.
func (f *strictFile) fields(m ast.MapNode, path string, set func(path, name string, value ast.Node)) {
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

func (f *strictFile) mapping(path string, value ast.Node, set func(path, name string, value ast.Node)) {
	m, ok := value.(ast.MapNode)
	if !ok {
		f.fault(lineOf(value), "%.80s: %s instead of names with values", path, kindOfNode(value))
		return
	}
	f.fields(m, path+".", set)
}

func (f *strictFile) text(path string, value ast.Node) string {
	switch v := value.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.IntegerNode, *ast.FloatNode:
		return v.GetToken().Value
	}
	f.fault(lineOf(value), "%.80s: %s instead of a text", path, kindOfNode(value))
	return ""
}

func (f *strictFile) number(path string, value ast.Node) uint64 {
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
func (f *strictFile) time(path string, value ast.Node, end bool) time.Time {
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

// small reads a number of 32 bits.
func (f *strictFile) small(path string, value ast.Node) uint32 {
	n := f.number(path, value)
	if n > math.MaxUint32 {
		f.fault(lineOf(value), "%.80s: %d is too great", path, n)
	}
	return uint32(n) //nolint:gosec // G115: it was held to its bounds when it was read
}

func (f *strictFile) flag(path string, value ast.Node) bool {
	v, ok := value.(*ast.BoolNode)
	if !ok {
		f.fault(lineOf(value), "%.80s: %s instead of true or false", path, kindOfNode(value))
		return false
	}
	return v.Value
}

func (f *strictFile) list(path string, value ast.Node, item func(path string, value ast.Node)) {
	v, ok := value.(*ast.SequenceNode)
	if !ok {
		f.fault(lineOf(value), "%.80s: %s instead of a list", path, kindOfNode(value))
		return
	}
	for i, x := range v.Values {
		item(fmt.Sprintf("%s[%d]", path, i), x)
	}
}

func (f *strictFile) texts(path string, value ast.Node) (list []string) {
	f.list(path, value, func(path string, value ast.Node) { list = append(list, f.text(path, value)) })
	return list
}
