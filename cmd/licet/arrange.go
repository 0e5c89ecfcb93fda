package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts arguments into the order that the library wants, which stops to
// look for flags at the first argument that is none: global flags, commands, the
// last command's flags, "--", its arguments. It refuses what is no command and
// no flag. Arguments that ask for help become the help command's.
func arrange(app *cli.App, args []string) ([]string, error) {
	a := &arranger{app: app, seen: map[string]bool{}}
	for a.rest = args; len(a.rest) > 0; {
		word := a.rest[0]
		a.rest = a.rest[1:]
		var err error
		switch {
		case word == "--":
			a.words, a.rest = append(a.words, a.rest...), nil
		case strings.HasPrefix(word, "-") && word != "-":
			err = a.flag(word)
		default:
			err = a.word(word)
		}
		if errors.Is(err, errHelp) {
			return append([]string{"help", "--"}, a.path...), nil
		}
		if err != nil {
			return nil, err
		}
	}
	if err := a.required(); err != nil {
		return nil, err
	}
	arranged := slices.Concat(a.global, a.path, a.local)
	if a.command != nil && len(a.command.Subcommands) == 0 {
		arranged = append(append(arranged, "--"), a.words...)
	}
	return arranged, nil
}

// errHelp ends the arranging: help was asked for.
var errHelp = errors.New("help")

type arranger struct {
	app     *cli.App
	rest    []string
	command *cli.Command
	path    []string
	// global and local are flags as --name=value, words are arguments.
	global, local, words []string
	seen                 map[string]bool
}

// name is the command so far, for errors.
func (a *arranger) name() string { return cmp.Or(strings.Join(a.path, " "), "licet") }

func (a *arranger) hint() string {
	return "`" + strings.Join(append([]string{"licet", "help"}, a.path...), " ") + "` shows how it is used."
}

func (a *arranger) word(word string) error {
	commands := a.app.Commands
	if a.command != nil {
		commands = a.command.Subcommands
	}
	if len(commands) == 0 {
		a.words = append(a.words, word)
		return nil
	}
	for _, c := range commands {
		if c.HasName(word) {
			a.command, a.path = c, append(a.path, c.Name)
			return nil
		}
	}
	if near := nearest(word, namesOf(commands)); near != "" {
		return usagef(a.hint(), "%s has no command %.40q; did you mean %q?", a.name(), word, near)
	}
	return usagef(a.hint(), "%s has no command %.40q; it has %s", a.name(), word, strings.Join(namesOf(commands), ", "))
}

func (a *arranger) flag(word string) error {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	shown := strings.SplitN(word, "=", 2)[0]
	if name == "help" || name == "h" {
		return errHelp
	}
	flag, global := a.find(name)
	long := strings.HasPrefix(word, "--")
	if flag == nil || long != (len(name) > 1) {
		return a.unknownFlag(shown, name)
	}
	canonical := flag.Names()[0]
	takes, many := kindOf(flag)
	switch {
	case a.seen[canonical] && !many:
		return usagef(a.hint(), "%s: --%s stands there twice", a.name(), canonical)
	case takes && !hasValue:
		if len(a.rest) == 0 {
			return usagef(a.hint(), "%s: %s needs a value", a.name(), shown)
		}
		value, a.rest = a.rest[0], a.rest[1:]
	case !takes && !hasValue:
		value = "true"
	}
	a.seen[canonical] = true
	arranged := "--" + canonical + "=" + value
	if global {
		a.global = append(a.global, arranged)
	} else {
		a.local = append(a.local, arranged)
	}
	return nil
}

// required refuses to go on without a flag that must be there.
func (a *arranger) required() error {
	if a.command == nil {
		return nil
	}
	for _, f := range a.command.Flags {
		if r, ok := f.(cli.RequiredFlag); ok && r.IsRequired() && !a.seen[f.Names()[0]] {
			return usagef(a.hint(), "%s: --%s is missing", a.name(), f.Names()[0])
		}
	}
	return nil
}

// find looks for a flag in the last command, then in the global ones.
func (a *arranger) find(name string) (flag cli.Flag, global bool) {
	if a.command != nil {
		if flag := flagNamed(a.command.Flags, name); flag != nil {
			return flag, false
		}
	}
	return flagNamed(a.app.Flags, name), true
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

// kindOf tells whether a flag takes a value, and whether it may stand there more than once.
func kindOf(f cli.Flag) (takes, many bool) {
	if d, ok := f.(cli.DocGenerationFlag); ok {
		takes = d.TakesValue()
	}
	if s, ok := f.(cli.DocGenerationSliceFlag); ok {
		many = s.IsSliceFlag()
	}
	return takes, many
}

func (a *arranger) unknownFlag(shown, name string) error {
	var names []string
	flags := a.app.Flags
	if a.command != nil {
		flags = append(append([]cli.Flag{}, a.command.Flags...), flags...)
	}
	for _, f := range flags {
		names = append(names, f.Names()[0])
	}
	if near := nearest(name, names); near != "" {
		return usagef(a.hint(), "%s has no flag %.40s; did you mean --%s?", a.name(), shown, near)
	}
	return usagef(a.hint(), "%s has no flag %.40s", a.name(), shown)
}

// nearest is the name that a word is a slip of the fingers away from, or empty.
func nearest(word string, names []string) string {
	best, least := "", 3
	if len(word) > 40 {
		return ""
	}
	for _, name := range names {
		if d := distance(word, name); d < least && d < len(name) {
			best, least = name, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// usagef is an error in how the program was called; next says what to do.
func usagef(next, format string, args ...any) error {
	return &failure{code: exitUsage, word: "usage", detail: fmt.Sprintf(format, args...), next: next}
}
