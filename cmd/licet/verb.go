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
	open := len(v.args) > 0 && strings.Contains(v.args[len(v.args)-1], "...")
	for i, name := range v.args {
		if name[0] == '[' {
			break
		}
		if i >= len(s.args) || s.args[i] == "" {
			return s.usagef("%s is missing", strings.TrimSuffix(name, "..."))
		}
	}
	if !open && len(s.args) > len(v.args) {
		return s.usagef("%.60q is one argument too many", s.args[len(v.args)])
	}
	return s.checkGlobals()
}

// usagef is an error in how this verb was called.
func (s *session) usagef(format string, args ...any) error {
	return usagef("`licet help "+s.name()+"` shows how it is used.", s.name()+": "+format, args...)
}

// name is the verb's with the groups that it is in.
func (s *session) name() string { return strings.TrimPrefix(s.Command.HelpName, "licet ") }

// context is the run's.
func (s *session) context() context.Context { return s.Context.Context }

func group(name, usage string, subcommands ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, Subcommands: subcommands}
}
