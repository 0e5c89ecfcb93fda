package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Key describes one key, for documentation.
type Key struct {
	Name        string // section.key
	Environment string // the variable that overrides it
	Default     string // as one would write it; empty for mandatory keys and empty defaults
	Derived     string // what an empty value stands for, if it is derived
	Allowed     string // bounds and unit
	Doc         string
	Mandatory   bool
	List        bool
	Reload      bool // a running node takes a new value at SIGHUP
}

// Keys describes all keys, in the order of [Example]. The slice is the caller's.
func Keys() []Key {
	all := make([]Key, 0, len(keys))
	for i := range keys {
		k := &keys[i]
		all = append(all, Key{k.name, k.env(), k.def, k.derived, k.allowed, k.doc, k.mandatory, k.list, k.reload})
	}
	return all
}

const exampleHead = `# Configuration of a licet node. Every key stands here with its default; mandatory keys and the two lists of
# addresses, which have none, with an example.
#
# LICET_<SECTION>_<KEY> in the environment overrides a key (LICET_RAFT_TRAILING_LOGS), and --set section.key=value
# overrides both. Lists are comma-separated there. Relative file names begin at this file's directory.
# Unknown keys are errors. "licet config check" says what is wrong with a file.
`

// Example returns a complete configuration file with comments: every key, its meaning, bounds and default.
func Example() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	writeYAML(&b, true, func(k *key) []string {
		if k.example != "" {
			return k.split(k.example)
		}
		return k.split(k.def)
	})
	return b.String()
}

// YAML writes the configuration as a file that [Load] reads back to the same value, given that file names are
// absolute or the file is put into the working directory.
func (c Config) YAML() string {
	var b strings.Builder
	writeYAML(&b, false, func(k *key) []string { return k.get(&c) })
	return strings.TrimPrefix(b.String(), "\n")
}

func writeYAML(b *strings.Builder, comments bool, value func(*key) []string) {
	for _, s := range sections {
		b.WriteString("\n")
		if comments {
			comment(b, "", s.doc)
		}
		fmt.Fprintf(b, "%s:\n", s.name)
		gap := ""
		for i := range keys {
			k := &keys[i]
			if k.section() != s.name {
				continue
			}
			if comments {
				b.WriteString(gap)
				gap = "\n"
				comment(b, "  ", k.doc)
				comment(b, "  ", k.standing()+" Allowed: "+k.allowed+"."+k.reloaded())
			}
			fmt.Fprintf(b, "  %s: %s\n", k.short(), k.yaml(value(k)))
		}
	}
}

// standing says what holds when the key is left out.
func (k *key) standing() string {
	switch {
	case k.mandatory:
		return "Mandatory."
	case k.derived != "":
		return "Default: " + k.derived + "."
	case k.def == "":
		return "Default: empty."
	}
	return "Default: " + k.def + "."
}

// reloaded says whether a running node takes a new value.
func (k *key) reloaded() string {
	if k.reload {
		return " Taken over at SIGHUP."
	}
	return ""
}

// comment breaks a text into lines of some 110 characters.
func comment(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 110 {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// safePlain matches what means the same to every YAML reader without quotes.
var safePlain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._-]*(:[0-9]+)?( [KMG]?i?B)?$`)

// yaml writes a value. JSON's strings are YAML's double-quoted ones.
func (k *key) yaml(texts []string) string {
	written := make([]string, len(texts))
	for i, text := range texts {
		written[i] = text
		if !safePlain.MatchString(text) || strings.EqualFold(text, "null") {
			quoted, _ := json.Marshal(text)
			written[i] = string(quoted)
		}
	}
	if k.list {
		return "[" + strings.Join(written, ", ") + "]"
	}
	return written[0]
}

// Reference returns the keys as Markdown, one table for each section.
func Reference() string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "## `%s`\n\n%s\n\n| key | meaning | default | allowed |\n| --- | --- | --- | --- |\n", s.name, s.doc)
		for i := range keys {
			if k := &keys[i]; k.section() == s.name {
				fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | %s | %s |\n", k.name, k.env(), escape(k.doc+k.reloaded()), k.inTable(), escape(k.allowed))
			}
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (k *key) inTable() string {
	switch {
	case k.mandatory:
		return "none: mandatory"
	case k.derived != "":
		return escape(k.derived)
	case k.def == "":
		return "empty"
	}
	return "`" + k.def + "`"
}

// escape keeps <...> from being taken for HTML.
func escape(text string) string { return strings.NewReplacer("<", "&lt;", "|", `\|`).Replace(text) }
