package main

import (
	"github.com/urfave/cli/v2"
)

func readyCommand(streams Streams) *cli.Command {
	return verb{
		name: "ready", usage: "say whether nodes serve, for health checks; needs no token", run: showReady,
		about: "Every node that --endpoints names must serve. It exits with 0 if they do, and with 6 if one does not or does not answer.\n" +
			"As JSON it prints {\"ready\": [...]}, the endpoints.",
	}.command(streams)
}

// showReady asks node by node, and stops at the first one that does not serve.
func showReady(s *session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	done := struct {
		Ready []string `json:"ready"`
	}{}
	for _, endpoint := range c.Endpoints() {
		one, err := c.At(endpoint)
		if err != nil {
			return err
		}
		if _, err := one.Ready(s.context()); err != nil {
			return err
		}
		done.Ready = append(done.Ready, endpoint)
	}
	return s.printOwn(done, func(p *page) {
		for _, endpoint := range done.Ready {
			p.line("%s serves", clean(endpoint))
		}
	})
}
