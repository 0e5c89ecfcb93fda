package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/config"
	"github.com/licet/licet/transport"
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
	c, err := loadConfig(s, s.args[0])
	if err == nil {
		_, err = loadCertificates(c)
	}
	if err != nil {
		return err
	}
	ok := struct {
		File string `json:"file"`
		Node string `json:"node"`
	}{s.args[0], c.Node.ID}
	return s.printOwn(ok, func(p *page) { fmt.Fprintln(p, clean(fmt.Sprintf("%s is right: node %s", ok.File, ok.Node))) })
}

// loadCertificates reads the node's certificates, which must be those of the node that is configured.
func loadCertificates(c config.Config) (*transport.Certificates, error) {
	certificates, err := transport.LoadCertificates(transport.Files{CA: c.TLS.CA, Certificate: c.TLS.Cert, Key: c.TLS.Key})
	if err == nil {
		err = certificates.Bind(c.Node.ID, c.Node.Site)
	}
	if err != nil {
		return nil, usagef("`licet tls check` says what a certificate is good for, `licet tls node` and `licet tls request` get another one.", "tls.ca, tls.cert, tls.key: %v", err)
	}
	return certificates, nil
}

// loadConfig reads a configuration and looks at the files that it names.
func loadConfig(s *session, file string) (config.Config, error) {
	c, err := config.Load(file, s.Environ, s.StringSlice("set"))
	var faults *config.Error
	switch {
	case err == nil:
		if err = c.CheckFiles(); err != nil {
			return c, usagef("Put the files where the configuration says, or correct it; `licet tls init` makes certificates.", "%v", err)
		}
		if _, err = issuerOptions(c.OIDC); err != nil {
			return c, usagef("Correct the configuration; docs/roles.md has an example, `licet config example` shows every key.", "%v", err)
		}
		return c, nil
	case errors.As(err, &faults):
		return c, usagef("Correct the configuration; `licet config example` shows every key.", "%v", err)
	}
	return c, usagef("Name a configuration that can be read; `licet config example` prints one to begin with.", "configuration: %v", pathError(err))
}
