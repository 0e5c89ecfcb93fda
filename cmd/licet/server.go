package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/api"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/metrics"
	"github.com/licet/licet/node"
	"github.com/licet/licet/transport"
)

const (
	// operator is whom the configured token stands for, scraper whom the token for metrics.
	operator, scraper = "operator", "metrics"
	// minToken is the shortest token that is accepted, in bytes.
	minToken = 16
	// drainTimeout bounds how long requests under way are waited for at a stop.
	drainTimeout = 5 * time.Second
)

func serverCommand(streams Streams) *cli.Command {
	return verb{
		name: "server", usage: "run a node",
		about: "Runs until it is interrupted (SIGINT, SIGTERM: a graceful stop). SIGHUP reads certificates and\nconfiguration anew, takes over what can change and names what needs a restart. The log goes to standard error.\nExit codes: 0 stopped or left its cluster, 1 failed, 2 wrong configuration, 8 is no member of its cluster any more.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration `FILE` (`licet config example` prints one)", Required: true},
			&cli.StringSliceFlag{Name: "set", Usage: "override `KEY=VALUE` of the configuration, such as log.level=debug; repeatable"},
		},
		run: func(s *session) error {
			read := func() (config.Config, error) { return loadConfig(s, s.String("config")) }
			c, err := read()
			if err != nil {
				return err
			}
			return portTaken(runServer(s.context(), c, read, s.Err))
		},
	}.command(streams)
}

// portTaken adds to an error what to do if another process has one of the ports.
func portTaken(err error) error {
	// Not errors.Is: memberlist hands on the text only.
	if err == nil || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		return err
	}
	return failf(exitInternal, "Another process has that port, maybe this very node: `ss -ltnup` shows which. Stop it, or choose another port.", "%v", err)
}

// runServer runs a node until ctx ends, the node leaves its cluster, or it can't go on. read reads the
// configuration anew.
func runServer(ctx context.Context, c config.Config, read func() (config.Config, error), logs io.Writer) error {
	loggers := new(levels)
	log := hclog.New(&hclog.LoggerOptions{
		Level: hclog.LevelFromString(c.Log.Level), JSONFormat: c.Log.Format == "json", Output: logs, IndependentLevels: true,
		TimeFn: func() time.Time { return time.Now().UTC() }, SubloggerHook: loggers.add,
	}).With("node", c.Node.ID)
	ctx, left := context.WithCancel(ctx)
	defer left()
	tokens, err := readTokens(c.Auth)
	if err != nil {
		return err
	}
	issued, err := issuedTokens(c.OIDC, log.Named("oidc"))
	if err != nil {
		return err
	}
	measured := metrics.New()
	if err := measured.TakeLibraries(); err != nil {
		return err
	}
	traces, err := startTracing(ctx, c, log.Named("tracing"))
	if err != nil {
		return err
	}
	// At the very end: what happened while the node stopped is to be seen, too.
	defer traces.stop()
	listener, served, err := listenHTTP(ctx, c.HTTP, api.Connections{Most: c.Limits.Connections, Each: c.Limits.ConnectionsEach, Meter: measured, Log: log.Named("http")}, log)
	if err != nil {
		return err
	}
	running, certificates, err := startNode(ctx, c, measured, traces.tracer(), log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	copies, stopCopies, err := startCopies(ctx, c, log.Named("audit"))
	if err != nil {
		return errors.Join(err, listener.Close(), running.Stop(ctx))
	}
	// After the node, so that its last rows are copied, too.
	defer stopCopies()
	serving := node.Node{Node: running, Left: left, APICertificate: served.NotAfter, Copies: copies}
	measured.Watch(serving.Sample)
	handler, err := api.New(api.Options{
		Node: serving, Tokens: tokens, Certified: certified, Issued: issued, Meter: measured, Tracer: traces.tracer(),
		Log: log.Named("api"), MaxBody: int64(c.Limits.BodyBytes), RequestTimeout: c.Limits.RequestTimeout,
		Rates: ratesOf(c.Limits), MaxWaits: c.Limits.Waits, MaxWaitsEach: c.Limits.WaitsEach,
		Profiling: c.HTTP.Profiling,
	})
	if err != nil {
		return errors.Join(err, listener.Close(), running.Stop(ctx))
	}
	go boundMemory(ctx)
	all := []reload{{"certificate of the node", certificates}, {"certificate of the API", served}}
	changes := &reconfiguration{read: read, current: c, levels: loggers, node: running, handler: handler, log: log}
	stopReloads := reloadOnHangup(log, append(all, reload{"configuration", changes})...)
	go watchExpiry(ctx, log, all...)
	defer stopReloads()
	log.Info("started", "version", version(), "http", c.HTTP.Advertise, "address", c.Node.Advertise)
	return serve(ctx, running, listener, handler, api.Server(handler, api.DefaultTimeouts(c.Limits.RequestTimeout), log.Named("http")), log)
}

// serve answers until ctx ends or the node fails. Then it refuses what is new, while it is still there to say so,
// hands leadership over and finishes what is under way.
func serve(ctx context.Context, running *cluster.Node, listener net.Listener, handler *api.Handler, server *http.Server, log hclog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("the API failed: %w", err)
	case err = <-running.Failed():
	case <-ctx.Done():
		log.Info("stopping")
	}
	handler.Drain()
	running.HandOver()
	// Not ctx: it has ended, and what is under way shall not end with it.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if drainErr := server.Shutdown(drain); drainErr != nil {
		log.Warn("requests under way were cut off", "reason", drainErr)
		err = errors.Join(err, server.Close())
	}
	err = errors.Join(err, running.Stop(context.WithoutCancel(ctx)))
	log.Info("stopped")
	return err
}

func startNode(ctx context.Context, c config.Config, measured *metrics.Metrics, tracer trace.Tracer, log hclog.Logger) (*cluster.Node, *transport.Certificates, error) {
	options, err := nodeOptions(c, log)
	if err != nil {
		return nil, nil, err
	}
	certificates, err := loadCertificates(c)
	if err != nil {
		return nil, nil, err
	}
	port, err := transport.Listen(ctx, c.Node.Listen.String(), transport.Options{
		Certificates: certificates, Rejected: cluster.NewRefusals(log.Named("port")).Add,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("node.listen: %w", err)
	}
	options.Port, options.Certificates, options.Metrics, options.Tracer = port, certificates, measured, tracer
	running, err := cluster.Start(options)
	return running, certificates, err
}

// nodeOptions reads what the configuration only names.
func nodeOptions(c config.Config, log hclog.Logger) (cluster.Options, error) {
	o := cluster.Options{
		ID: c.Node.ID, Site: c.Node.Site, Version: version(), DataDir: c.Node.DataDir,
		Advertise: c.Node.Advertise.String(), HTTPAdvertise: c.HTTP.Advertise,
		Expect: c.Cluster.Expect, Peers: addresses(c.Cluster.Peers),
		HeartbeatTimeout: c.Raft.HeartbeatTimeout, ElectionTimeout: c.Raft.ElectionTimeout,
		SnapshotThreshold: c.Raft.SnapshotThreshold, SnapshotInterval: c.Raft.SnapshotInterval, TrailingLogs: c.Raft.TrailingLogs,
		TrailFileBytes: int64(c.Audit.FileBytes), TrailTotalBytes: int64(c.Audit.TotalBytes),
		Queue: c.Limits.Queue, BatchCommands: c.Limits.BatchCommands, BatchBytes: int(c.Limits.BatchBytes),
		RequestTimeout: c.Limits.RequestTimeout, MaxClockSkew: c.Limits.MaxClockSkew,
		Nonvoter: !c.Node.Voter, Policy: policyOf(c),
		Gossip: &cluster.Gossip{
			Listen: c.Gossip.Listen.String(), Advertise: c.Gossip.Advertise.String(), Seeds: addresses(c.Cluster.GossipSeeds),
		},
		Log: log,
	}
	for _, file := range c.Cluster.VendorKeys {
		key, err := readPublicKey(file)
		if err != nil {
			return o, fmt.Errorf("cluster.vendor_keys: %w", err)
		}
		o.VendorKeys = append(o.VendorKeys, key)
	}
	if c.Cluster.JoinTokenFile != "" {
		var err error
		if o.JoinToken, err = readSecret("cluster.join_token_file", c.Cluster.JoinTokenFile, 1); err != nil {
			return o, err
		}
	}
	if c.Gossip.KeyFile != "" {
		text, err := readSecret("gossip.key_file", c.Gossip.KeyFile, 1)
		if err != nil {
			return o, err
		}
		if o.Gossip.Key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return o, fmt.Errorf("gossip.key_file: it holds no base64")
		}
		if n := len(o.Gossip.Key); n != 16 && n != 24 && n != 32 {
			return o, fmt.Errorf("gossip.key_file: it holds %d bytes instead of 16, 24 or 32", n)
		}
	}
	return o, nil
}

func addresses(list []config.HostPort) []string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return texts
}

func readPublicKey(file string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := signed.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// readTokens reads the tokens that the API accepts.
func readTokens(a config.Auth) ([]api.Token, error) {
	token, err := readSecret("auth.operator_token_file", a.OperatorTokenFile, minToken)
	if err != nil {
		return nil, err
	}
	tokens := []api.Token{api.NewToken(operator, token)}
	if a.MetricsTokenFile == "" {
		return tokens, nil
	}
	limited, err := readSecret("auth.metrics_token_file", a.MetricsTokenFile, minToken)
	if err != nil {
		return nil, err
	}
	if limited == token {
		return nil, errors.New("auth.metrics_token_file: it holds the operator's token, which opens everything; make another one")
	}
	return append(tokens, api.NewMetricsToken(scraper, limited)), nil
}

// readSecret reads a file of one line. Its errors hold nothing of it.
func readSecret(key, file string, least int) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < least {
		return "", fmt.Errorf("%s: what it holds has %d bytes, at least %d are needed", key, len(secret), least)
	}
	return secret, nil
}
