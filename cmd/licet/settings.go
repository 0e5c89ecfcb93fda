package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func settingsCommand(streams Streams) *cli.Command {
	return group("settings", "replicated settings",
		verb{name: "show", usage: "show the settings", flags: readFlags(), run: settingsShow}.command(streams),
		verb{
			name: "set", usage: "change settings", args: []string{"NAME=VALUE..."}, flags: writeFlags(), run: settingsSet,
			about: "The settings are request_ttl_seconds (how long the outcome of a request is remembered)\nand request_limit (how many are, at most).",
		}.command(streams),
	)
}

func settingsShow(s *session) error {
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Settings], error) {
		return c.Settings(s.context(), o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showSettings)
}

func settingsSet(s *session) error {
	var wanted apiv1.SettingsChange
	fields := map[string]**uint64{"request_ttl_seconds": &wanted.RequestTTLSeconds, "request_limit": &wanted.RequestLimit}
	for _, text := range s.args {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return s.usagef("%.60q is not of the form NAME=VALUE", text)
		}
		field := fields[name]
		switch {
		case field == nil:
			return s.usagef("there is no setting %.60q; the settings are request_ttl_seconds and request_limit", name)
		case *field != nil:
			return s.usagef("%s stands there twice", name)
		}
		n, err := whole(value, 0, maxExact)
		if err != nil {
			return s.usagef("%s: %v", name, err)
		}
		*field = &n
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Settings], error) {
		return c.UpdateSettings(ctx, wanted)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showSettings)
}

func showSettings(p *page, x apiv1.Settings) {
	p.table([]string{"SETTING", "VALUE"}, [][]string{
		{"request_ttl_seconds", number(x.RequestTTLSeconds)}, {"request_limit", number(x.RequestLimit)},
	})
}
