package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxBrackets bounds [ and { together: the parser's time grows with the square of unclosed ones (64 KiB of them
// take it most of a minute), and a configuration needs one or two for each list.
const maxBrackets = 256

// file takes the keys of the YAML file and reports whether it could be read to its end. It walks the parsed tree
// itself instead of decoding into Config, because the library's decoder stops at the first error and forgets lines.
func (l *loader) file(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	body, line, fault := parseYAML(data)
	if fault != "" {
		place := l.source()
		if line > 0 {
			place = l.at(line).source
		}
		l.problem(place, "", "%s", fault)
		return false
	}
	if body == nil {
		return true
	}
	root, ok := body.(ast.MapNode)
	if !ok {
		l.problem(l.at(lineOf(body)).source, "", "found %s; allowed: sections (%s)", describe(body), sectionNames())
		return false
	}
	l.eachPair(root, "", func(name string, from origin, value ast.Node) { l.fileSection(name, from, value) })
	return true
}

// parseYAML returns the tree of the only document, or where and why there is none. No text of the file gets into
// the reason.
func parseYAML(data []byte) (body ast.Node, line int, fault string) {
	if len(data) > maxFileBytes {
		return nil, 0, fmt.Sprintf("the file has more than %d bytes", maxFileBytes)
	}
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxBrackets {
		return nil, 0, fmt.Sprintf("the file has more than %d brackets", maxBrackets)
	}
	for i, b := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
			return nil, i + 1, "found bytes that are no UTF-8 text"
		}
	}
	// A fault of the parser's own must not be able to stop a node with anything but an error.
	defer func() {
		if r := recover(); r != nil {
			body, line, fault = nil, 0, "the YAML parser failed on the file"
		}
	}()
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, fault = syntaxFault(err)
		return nil, line, fault
	}
	for _, doc := range tree.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			return nil, lineOf(doc.Body), "found a second document; allowed: one"
		default:
			body = doc.Body
		}
	}
	return body, 0, ""
}

// syntaxFault takes line and message out of the library's error, whose own text shows the lines around it. Where a
// message quotes from the file, as some do, it is cut: a password may begin with a character that YAML reserves.
func syntaxFault(err error) (int, string) {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil || at.GetToken().Position == nil {
		return 0, "not YAML"
	}
	message, _, _ := strings.Cut(at.GetMessage(), `"`)
	message = strings.ReplaceAll(strings.TrimSpace(message), "\t", `\t`)
	return at.GetToken().Position.Line, "not YAML: " + message
}

func (l *loader) at(line int) origin {
	return origin{source: fmt.Sprintf("%s:%d", l.source(), line), inFile: true}
}

// eachPair calls f for each key of a mapping, and reports what cannot be a key and what stands there twice.
func (l *loader) eachPair(m ast.MapNode, section string, f func(name string, from origin, value ast.Node)) {
	first := map[string]int{}
	for it := m.MapRange(); it.Next(); {
		from := l.at(lineOf(it.Key()))
		word, ok := it.Key().(*ast.StringNode)
		if !ok {
			l.problem(from.source, "", "found %s as a key; allowed: a plain word", describe(it.Key()))
			continue
		}
		name := word.Value
		if section != "" {
			name = section + "." + name
		}
		if line, twice := first[name]; twice {
			l.problem(from.place(plain(name)), knownOrNone(name), "stands here twice, first in line %d", line)
			// A section's second half is read all the same, lest its keys be called missing.
			if section != "" {
				continue
			}
		} else {
			first[name] = lineOf(it.Key())
		}
		f(name, from, it.Value())
	}
}

func (l *loader) fileSection(section string, from origin, value ast.Node) {
	if within(section) == "" {
		l.problem(from.place(plain(section)), "", "unknown section; allowed: %s", sectionNames())
		return
	}
	// A section whose keys are all commented out is an empty one.
	if _, empty := value.(*ast.NullNode); empty {
		return
	}
	m, ok := value.(ast.MapNode)
	if !ok {
		l.problem(from.place(section), "", "found %s; allowed: the keys %s", describe(value), within(section))
		return
	}
	l.eachPair(m, section, func(name string, from origin, value ast.Node) {
		k := keyNamed(name)
		if k == nil {
			l.problem(from.place(plain(name)), "", "%s", unknown(section))
			return
		}
		l.fileValue(k, from, value)
	})
}

// fileValue takes one key's value: a scalar, or a sequence of scalars for a list.
func (l *loader) fileValue(k *key, from origin, value ast.Node) {
	nodes := []ast.Node{value}
	if k.list {
		sequence, ok := value.(*ast.SequenceNode)
		if !ok {
			l.problem(from.place(k.name), k.name, "found %s; allowed: %s", describe(value), k.allowed)
			return
		}
		nodes = sequence.Values
	}
	var items []item
	for _, node := range nodes {
		text, ok := scalar(node)
		if !ok {
			l.problem(l.at(lineOf(node)).place(k.name), k.name, "found %s; allowed: %s", describe(node), k.allowed)
			continue
		}
		items = append(items, item{text: text, from: l.at(lineOf(node))})
	}
	l.assign(k, items, from)
}

// scalar returns the text of a scalar as it is written: what it means is for the key to say, not for YAML's guesses
// (which would read 010 as 8).
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// describe names what a node is, without its contents.
func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode:
		return `nothing (write "" for an empty value, or leave the key out)`
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		// The library takes h:1 for a mapping when it stands in [ ] inside { }, against YAML's rules.
		return "a mapping (in a list inside { }, what holds a colon needs quotes)"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor, alias or merge key"
	case *ast.TagNode:
		return "a tag"
	}
	return "a single value"
}

func lineOf(node ast.Node) int {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 0
	}
	return node.GetToken().Position.Line
}
