package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// setting is one of the replicated settings.
type setting struct {
	name, meaning string
	value         func(*apiv1.Settings) uint64
	change        func(*apiv1.SettingsChange) **uint64
}

var settings = []setting{
	{
		"request_ttl_seconds", "how long the outcome of a request is remembered",
		func(x *apiv1.Settings) uint64 { return x.RequestTTLSeconds }, func(x *apiv1.SettingsChange) **uint64 { return &x.RequestTTLSeconds },
	},
	{
		"request_limit", "how many outcomes are, at most",
		func(x *apiv1.Settings) uint64 { return x.RequestLimit }, func(x *apiv1.SettingsChange) **uint64 { return &x.RequestLimit },
	},
	{
		"request_bytes", "how many bytes of them are, at most",
		func(x *apiv1.Settings) uint64 { return x.RequestBytes }, func(x *apiv1.SettingsChange) **uint64 { return &x.RequestBytes },
	},
	{
		"usage_hours", "for how many hours usage is kept",
		func(x *apiv1.Settings) uint64 { return x.UsageHours }, func(x *apiv1.SettingsChange) **uint64 { return &x.UsageHours },
	},
	{
		"usage_limit", "how many rows of usage are kept at most",
		func(x *apiv1.Settings) uint64 { return x.UsageLimit }, func(x *apiv1.SettingsChange) **uint64 { return &x.UsageLimit },
	},
}

func settingsNames() string {
	var names []string
	for _, x := range settings {
		names = append(names, x.name)
	}
	return strings.Join(names, ", ")
}

func settingsHelp() string {
	var text strings.Builder
	for _, x := range settings {
		text.WriteString("\n  " + x.name + ": " + x.meaning)
	}
	return text.String()
}

func settingsCommand(streams Streams) *cli.Command {
	return group("settings", "replicated settings",
		verb{name: "show", usage: "show the settings", flags: readFlags(), run: settingsShow}.command(streams),
		verb{
			name: "set", usage: "change settings", args: []string{"NAME=VALUE..."}, flags: writeFlags(), run: settingsSet,
			about: "The settings are:" + settingsHelp(),
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
	for _, text := range s.args {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return s.usagef("%.60q is not of the form NAME=VALUE", text)
		}
		at := slices.IndexFunc(settings, func(x setting) bool { return x.name == name })
		if at < 0 {
			return s.usagef("there is no setting %.60q; the settings are %s", name, settingsNames())
		}
		field := settings[at].change(&wanted)
		if *field != nil {
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
	var rows [][]string
	for _, setting := range settings {
		rows = append(rows, []string{setting.name, number(setting.value(&x))})
	}
	p.table([]string{"SETTING", "VALUE"}, rows)
}
