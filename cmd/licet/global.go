package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/client"
)

const defaultEndpoints = "http://127.0.0.1:7001,http://127.0.0.1:7002,http://127.0.0.1:7003"

// globalFlags may stand anywhere. Their environment is read from Streams, not by the library.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "endpoints", Usage: "addresses of nodes, comma-separated `URLS` (LICET_ENDPOINTS; default " + defaultEndpoints + ")"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token (LICET_TOKEN_FILE; LICET_TOKEN has the token itself)"},
		&cli.StringFlag{Name: "ca", Usage: "`FILE` with the certificates that https endpoints chain to (LICET_CA)"},
		&cli.StringFlag{Name: "client-cert", Usage: "`FILE` with a client's certificate, for nodes that ask for one (LICET_CLIENT_CERT)"},
		&cli.StringFlag{Name: "client-key", Usage: "`FILE` with its private key (LICET_CLIENT_KEY)"},
		&cli.StringFlag{Name: "timeout", Usage: "`TIME` for a request with all its attempts (LICET_TIMEOUT; default 15s)"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORM` of the output: table, json, or csv for lists (LICET_OUTPUT; default table)"},
	}
}

// setting is a flag's value, else that of the environment.
func (s *session) setting(flag, variable string) (value, source string) {
	if s.IsSet(flag) {
		return s.String(flag), "--" + flag
	}
	return s.Getenv(variable), variable
}

func (s *session) output() string {
	form, _ := s.setting("output", "LICET_OUTPUT")
	if form == "" || form == outputCSV && !s.lists() {
		return outputTable
	}
	return form
}

// lists tells whether the verb shows one table.
func (s *session) lists() bool {
	return strings.HasSuffix(s.name(), " list") || s.name() == "cluster members"
}

func (s *session) timeout() (time.Duration, error) {
	text, source := s.setting("timeout", "LICET_TIMEOUT")
	if text == "" && !s.IsSet("timeout") {
		return client.DefaultTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > time.Hour {
		return 0, s.usagef("%s: %.40q is no time above 0 and up to 1h, such as 500ms or 15s", source, text)
	}
	return d, nil
}

// checkGlobals refuses bad global flags also where they have no effect.
func (s *session) checkGlobals() error {
	form, source := s.setting("output", "LICET_OUTPUT")
	switch {
	case form == "" && !s.IsSet("output"), form == outputTable, form == outputJSON:
	case form != outputCSV:
		return s.usagef("%s: %.40q is neither table nor json, nor csv", source, form)
	case s.IsSet("output") && !s.lists():
		return s.usagef("--output: csv is for lists; this is none")
	}
	_, err := s.timeout()
	return err
}

// client makes the client that the flags and the environment describe.
func (s *session) client() (*client.Client, error) {
	o, err := s.clientOptions()
	if err != nil {
		return nil, err
	}
	c, err := client.New(o)
	if err != nil {
		return nil, s.usagef("%v", err)
	}
	return c, nil
}

func (s *session) clientOptions() (o client.Options, err error) {
	endpoints, _ := s.setting("endpoints", "LICET_ENDPOINTS")
	if endpoints == "" && !s.IsSet("endpoints") {
		endpoints = defaultEndpoints
	}
	for _, endpoint := range strings.Split(endpoints, ",") {
		o.Endpoints = append(o.Endpoints, strings.TrimSpace(endpoint))
	}
	if o.Timeout, err = s.timeout(); err != nil {
		return o, err
	}
	for _, pem := range []struct {
		flag, variable string
		into           *[]byte
	}{{"ca", "LICET_CA", &o.CA}, {"client-cert", "LICET_CLIENT_CERT", &o.Certificate}, {"client-key", "LICET_CLIENT_KEY", &o.Key}} {
		if name, source := s.setting(pem.flag, pem.variable); name != "" || s.IsSet(pem.flag) {
			if *pem.into, err = s.readFile(source, name, maxInput); err != nil {
				return o, err
			}
		}
	}
	o.Token, err = s.token()
	return o, err
}

// token never comes from an argument: other users of the machine see those.
func (s *session) token() (string, error) {
	if !s.IsSet("token-file") {
		if token := s.Getenv("LICET_TOKEN"); token != "" {
			return token, nil
		}
	}
	name, source := s.setting("token-file", "LICET_TOKEN_FILE")
	if name == "" && !s.IsSet("token-file") {
		return "", nil
	}
	text, err := s.readFile(source, name, 16<<10)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", s.usagef("%s: the file %s is empty", source, name)
	}
	return token, nil
}

// readFlags are those of verbs that read the state.
func readFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.BoolFlag{Name: "stale", Usage: "be content with what the node that is asked has; works without a leader"},
		&cli.StringFlag{Name: "min-index", Usage: "wait until the node's state is as new as Raft index `N`"})
}

func (s *session) readOptions() ([]client.ReadOption, error) {
	var options []client.ReadOption
	if s.Bool("stale") {
		options = append(options, client.Stale())
	}
	if s.IsSet("min-index") {
		n, err := whole(s.String("min-index"), 0, maxExact)
		if err != nil {
			return nil, s.usagef("--min-index: %v", err)
		}
		options = append(options, client.MinIndex(n))
	}
	return options, nil
}

// writeFlags are those of verbs that change the state.
func writeFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.BoolFlag{Name: "dry-run", Usage: "say what would happen and change nothing"},
		&cli.StringFlag{Name: "request-id", Usage: "`ID` of the request, to repeat one whose outcome was unknown; it is done once at most"})
}

// writeContext has writes carry what the flags of writeFlags say.
func (s *session) writeContext() (context.Context, error) {
	ctx := s.context()
	if s.IsSet("request-id") {
		if err := client.CheckRequestID(s.String("request-id")); err != nil {
			return nil, s.usagef("--request-id: %v", err)
		}
		ctx = client.WithRequestID(ctx, s.String("request-id"))
	}
	if s.Bool("dry-run") {
		ctx = client.WithDryRun(ctx)
	}
	return ctx, nil
}

// read has a client and read options made, and a question asked.
func read[T any](s *session, ask func(*client.Client, []client.ReadOption) (*client.Answer[T], error)) (*client.Answer[T], error) {
	options, err := s.readOptions()
	if err != nil {
		return nil, err
	}
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return ask(c, options)
}

// change has a client and a context of a write made, and the write sent.
func change[T any](s *session, send func(context.Context, *client.Client) (*client.Answer[T], error)) (*client.Answer[T], error) {
	ctx, err := s.writeContext()
	if err != nil {
		return nil, err
	}
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return send(ctx, c)
}
