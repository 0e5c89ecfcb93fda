package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Streams is all that a run of the program sees of its surroundings, besides files and network.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Environ has the environment as "NAME=value".
	Environ []string
}

// Getenv is the last value that the environment has for a name, or empty.
func (s Streams) Getenv(name string) string {
	value := ""
	for _, entry := range s.Environ {
		if n, v, ok := strings.Cut(entry, "="); ok && n == name {
			value = v
		}
	}
	return value
}

// Run is the whole program: it runs what the arguments say, the first of which
// is the program's name, until it is done or the context ends, and returns the
// exit code. It may be called concurrently.
func Run(ctx context.Context, args []string, streams Streams) int {
	if len(args) == 0 {
		args = []string{"licet"}
	}
	app := newApp(streams)
	arranged, err := arrange(app, args[1:])
	if err == nil {
		err = app.RunContext(ctx, append([]string{"licet"}, arranged...))
	}
	if err == nil {
		return exitOK
	}
	var program ended
	if errors.As(err, &program) {
		return program.code
	}
	return report(err, wantsJSON(args, streams), streams.Err)
}

// newApp makes the tree of commands anew, as the library keeps a run's state in it.
func newApp(streams Streams) *cli.App {
	app := &cli.App{
		Name:  "licet",
		Usage: "a license server that is a cluster, and the tool to operate it",
		Flags: globalFlags(),
		Commands: []*cli.Command{
			contractCommand(streams), instanceCommand(streams), accountCommand(streams), requestCommand(streams), noticeCommand(streams),
			poolCommand(streams), checkoutCommand(streams), runCommand(streams), explainCommand(streams), leaseCommand(streams), borrowCommand(streams),
			projectCommand(streams), queueCommand(streams), statusCommand(streams), readyCommand(streams), doctorCommand(streams),
			clusterCommand(streams), gossipCommand(streams), auditCommand(streams), tokenCommand(streams), settingsCommand(streams), keysCommand(streams), vendorKeyCommand(streams), verifyCommand(streams),
			vendorCommand(streams), tlsCommand(streams), configCommand(streams), serverCommand(streams), devCommand(streams), versionCommand(streams),
			backupCommand(streams), restoreCommand(streams), debugCommand(streams),
		},
		Reader: streams.In, Writer: streams.Out, ErrWriter: streams.Err,
		// The library's own help, exits and completion print where they like.
		HideHelp: true, HideVersion: true, DisableSliceFlagSeparator: true, ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: onUsageError,
	}
	app.Commands = append(app.Commands, helpCommand(app, streams))
	app.Action = func(*cli.Context) error { return whichOf("", app.Commands) }
	for _, c := range app.Commands {
		tame(c, c.Name)
	}
	return app
}

// tame has a command and those below it leave help and errors to this package.
// name has no "licet" in front: the library adds that to the topmost commands.
func tame(c *cli.Command, name string) {
	c.HelpName = name
	c.HideHelp, c.HideHelpCommand, c.OnUsageError = true, true, onUsageError
	if len(c.Subcommands) > 0 {
		c.Action = func(*cli.Context) error { return whichOf(name, c.Subcommands) }
	}
	for _, sub := range c.Subcommands {
		tame(sub, name+" "+sub.Name)
		sub.HelpName = "licet " + sub.HelpName
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return usagef("`licet help` shows how it is used.", "%v", err)
}

func whichOf(name string, commands []*cli.Command) error {
	return usagef("`licet help"+strings.TrimRight(" "+name, " ")+"` shows what they do.",
		"%s: a command is missing: %s", cmp.Or(name, "licet"), strings.Join(namesOf(commands), ", "))
}

func namesOf(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}
