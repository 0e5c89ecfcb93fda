package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"
)

// verb is a command that does something, with a fixed number of arguments.
type verb struct {
	name, usage, about string
	// args names the arguments; one that ends in "..." is one or more, one in brackets any number.
	args  []string
	flags []cli.Flag
	run   func(*session) error
}

// session is one run of a verb.
type session struct {
	*cli.Context
	Streams
	// args are the verb's arguments.
	args []string
}

func (v verb) command(streams Streams) *cli.Command {
	return &cli.Command{
		Name: v.name, Usage: v.usage, Description: v.about, ArgsUsage: strings.Join(v.args, " "), Flags: v.flags,
		Action: func(c *cli.Context) error {
			s := &session{Context: c, Streams: streams, args: c.Args().Slice()}
			if err := v.check(s); err != nil {
				return err
			}
			return v.run(s)
		},
	}
}

func (v verb) check(s *session) error {
	hint := "`licet help " + strings.TrimPrefix(s.Command.HelpName, "licet ") + "` shows how it is used."
	open := len(v.args) > 0 && strings.Contains(v.args[len(v.args)-1], "...")
	for i, name := range v.args {
		if name[0] == '[' {
			break
		}
		if i >= len(s.args) || s.args[i] == "" {
			return usagef(hint, "%s: %s is missing", s.Command.HelpName, strings.TrimSuffix(name, "..."))
		}
	}
	if !open && len(s.args) > len(v.args) {
		return usagef(hint, "%s: %.60q is one argument too many", s.Command.HelpName, s.args[len(v.args)])
	}
	return s.checkGlobals()
}

// usagef is an error in how this verb was called.
func (s *session) usagef(format string, args ...any) error {
	return usagef("`licet help "+strings.TrimPrefix(s.Command.HelpName, "licet ")+"` shows how it is used.", s.Command.HelpName+": "+format, args...)
}

// context is the run's.
func (s *session) context() context.Context { return s.Context.Context }

func group(name, usage string, subcommands ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, Subcommands: subcommands}
}
