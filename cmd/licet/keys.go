package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func keysCommand(streams Streams) *cli.Command {
	return verb{
		name: "keys", usage: "show the public keys of the vendor and of the cluster", run: showKeys,
		flags: readFlags(&cli.StringFlag{Name: "out", Usage: "write the cluster's signing keys to `FILE` as PEM, for `licet verify`; - writes only them to the output"}),
	}.command(streams)
}

func showKeys(s *session) error {
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Keys], error) {
		return c.Keys(s.context(), o...)
	})
	if err != nil {
		return err
	}
	file := s.String("out")
	if s.IsSet("out") {
		var text strings.Builder
		for _, k := range a.Value.SigningKeys {
			text.WriteString(strings.TrimSpace(k.Pem) + "\n")
		}
		if file == "-" {
			return s.write([]byte(text.String()))
		}
		if err := replace(file, []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return printAnswer(s, a, func(p *page, k apiv1.Keys) {
		p.line("cluster %s\n", clean(k.Cluster))
		var rows [][]string
		for _, key := range k.SigningKeys {
			rows = append(rows, []string{key.ID, "license keys", pemLine(key.Pem)})
		}
		for _, key := range k.VendorKeys {
			rows = append(rows, []string{key.ID, "contracts", pemLine(key.Pem)})
		}
		p.table([]string{"ID", "SIGNS", "PUBLIC KEY"}, rows)
		if file != "" {
			p.line("\nThe keys that sign license keys are in %s.", clean(file))
		}
	})
}

// pemLine is what a PEM text has between its first and last line.
func pemLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) < 3 {
		return ""
	}
	return strings.Join(lines[1:len(lines)-1], "")
}
