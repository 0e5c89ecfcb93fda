package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxProblems bounds an [Error]: nobody reads more, and a wrong file can have thousands.
const maxProblems = 20

// Error is all that is wrong with a configuration: the file's problems by line, then the environment's by name,
// then the overrides' in order, then what is missing or contradictory. It never holds a secret.
type Error struct {
	Problems []Problem // 1 to 20
	Omitted  int       // problems beyond those
}

// Problem is one thing that is wrong.
type Problem struct {
	// Place is "file:line: section.key", "environment NAME" or "--set section.key".
	Place string
	// Key is section.key, or empty where the problem is with no known key.
	Key string
	// Text says what was found and what is allowed.
	Text string
}

// String is the problem on one line.
func (p Problem) String() string { return p.Place + ": " + p.Text }

// Error has one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.Omitted))
	}
	return strings.Join(lines, "\n")
}

// problem records a problem with key, which may be empty.
func (l *loader) problem(place, key, format string, args ...any) {
	l.bad[key] = true
	if len(l.problems) == maxProblems {
		l.omitted++
		return
	}
	l.problems = append(l.problems, Problem{Place: place, Key: key, Text: fmt.Sprintf(format, args...)})
}

// hidden stands for a value that may hold a secret: what someone put where a secret's file name belongs, the
// user information of a URL, a pasted PEM block.
const hidden = "a value that is not shown, as it may be a secret"

// shown quotes a value for an error.
func (k *key) shown(text string) string {
	if text == "" {
		return `""`
	}
	if k.file == secretFile || strings.Contains(text, "@") || strings.Contains(text, "-----BEGIN") {
		return hidden
	}
	return quoted(text)
}

// quoted is text on one line, of bounded length.
func quoted(text string) string {
	const most = 64
	if len(text) <= most {
		return fmt.Sprintf("%q", text)
	}
	cut := most
	for !utf8.RuneStart(text[cut]) && cut > most-utf8.UTFMax {
		cut--
	}
	return fmt.Sprintf("%q and %d bytes more", text[:cut], len(text)-cut)
}
