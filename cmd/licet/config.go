package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/config"
)

func configCommand(streams Streams) *cli.Command {
	return group("config", "configuration files of nodes",
		verb{
			name: "check", usage: "say everything that is wrong with a configuration", args: []string{"FILE"}, run: configCheck,
			flags: []cli.Flag{&cli.StringSliceFlag{Name: "set", Usage: "override a key: `SECTION.KEY=VALUE`"}},
			about: "The environment (LICET_<SECTION>_<KEY>) counts as it does for the server. The files that it names are looked at, too.",
		}.command(streams),
		verb{name: "example", usage: "print a configuration with every key, its meaning and its default", run: func(s *session) error {
			return s.write([]byte(config.Example()))
		}}.command(streams),
	)
}

func configCheck(s *session) error {
	c, err := config.Load(s.args[0], s.Environ, s.StringSlice("set"))
	if err == nil {
		err = c.CheckFiles()
	}
	if err != nil {
		return &failure{code: exitUsage, word: "usage", detail: err.Error(), next: "Correct the configuration; `licet config example` shows every key."}
	}
	ok := struct {
		File string `json:"file"`
		Node string `json:"node"`
	}{s.args[0], c.Node.ID}
	return s.printOwn(ok, func(p *page) { p.WriteString(clean(fmt.Sprintf("%s is right: node %s", ok.File, ok.Node)) + "\n") })
}
