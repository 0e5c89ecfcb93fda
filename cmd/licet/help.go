package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

const environmentHelp = `Environment (a flag overrides it):
  LICET_ENDPOINTS    addresses of nodes, comma-separated
  LICET_TOKEN        the token
  LICET_TOKEN_FILE   a file with the token
  LICET_CA           a file with the certificates that https endpoints chain to
  LICET_CLIENT_CERT  a file with a client's certificate, for nodes that ask for one
  LICET_CLIENT_KEY   a file with its private key
  LICET_TIMEOUT      time for a request with all its attempts
  LICET_OUTPUT       table, json, or csv for lists
`

// helpCommand shows help on the program, on a command, or on a topic.
func helpCommand(app *cli.App, streams Streams) *cli.Command {
	return verb{
		name: "help", usage: "show help on a command, on exit-codes or on the environment", args: []string{"[COMMAND...]"},
		run: func(s *session) error {
			var p page
			switch topic := strings.Join(s.args, " "); topic {
			case "":
				helpOnAll(&p, app)
			case "exit-codes":
				fmt.Fprint(&p, exitCodesHelp)
			case "environment":
				fmt.Fprint(&p, environmentHelp)
			default:
				if err := helpOn(&p, app, s.args); err != nil {
					return err
				}
			}
			return s.write(p.Bytes())
		},
	}.command(streams)
}

func helpOnAll(p *page, app *cli.App) {
	p.line("licet - %s\n\nUsage: licet COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:", app.Usage)
	listCommands(p, app.Commands)
	p.line("\nFlags of all commands:")
	listFlags(p, app.Flags)
	p.line("\n%s\n%s\nFlags stand before or after arguments. `licet help COMMAND` says more.", environmentHelp, exitCodesHelp)
}

func helpOn(p *page, app *cli.App, path []string) error {
	commands, flags := app.Commands, []cli.Flag(nil)
	var c *cli.Command
	for i, word := range path {
		c = nil
		for _, candidate := range commands {
			if candidate.HasName(word) {
				c = candidate
			}
		}
		if c == nil {
			return usagef("`licet help` lists the commands.", "there is no command %.60q", strings.Join(append([]string{"licet"}, path[:i+1]...), " "))
		}
		commands, flags = c.Subcommands, c.Flags
	}
	p.line("%s - %s\n", c.HelpName, c.Usage)
	if len(commands) > 0 {
		p.line("Usage: %s COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:", c.HelpName)
		listCommands(p, commands)
		return nil
	}
	p.line("Usage: %s", strings.Join(strings.Fields(c.HelpName+" "+c.ArgsUsage+" [FLAGS]"), " "))
	if c.Description != "" {
		p.line("\n%s", strings.TrimSpace(c.Description))
	}
	if len(flags) > 0 {
		p.line("\nFlags:")
		listFlags(p, flags)
	}
	p.line("\n`licet help` shows the flags of all commands, `licet help exit-codes` the exit codes.")
	return nil
}

func listCommands(p *page, commands []*cli.Command) {
	w := tabwriter.NewWriter(&p.Buffer, 0, 8, 2, ' ', 0)
	for _, c := range commands {
		if !c.Hidden {
			fmt.Fprintf(w, "  %s\t%s\n", c.Name, c.Usage)
		}
	}
	_ = w.Flush()
}

func listFlags(p *page, flags []cli.Flag) {
	w := tabwriter.NewWriter(&p.Buffer, 0, 8, 2, ' ', 0)
	for _, f := range flags {
		var names []string
		for _, name := range f.Names() {
			names = append(names, strings.Repeat("-", min(2, len(name)))+name)
		}
		about, usage := "", ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			about, usage = d.GetUsage(), ""
			if d.TakesValue() {
				usage = " VALUE"
			}
		}
		if before, rest, ok := strings.Cut(about, "`"); ok {
			placeholder, after, _ := strings.Cut(rest, "`")
			about, usage = before+placeholder+after, " "+placeholder
		}
		fmt.Fprintf(w, "  %s%s\t%s\n", strings.Join(names, ", "), usage, about)
	}
	_ = w.Flush()
}
