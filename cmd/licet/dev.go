package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // the sample contract
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/config"
)

// devSites are the nodes of a development cluster, in the order of their ports.
var devSites = []string{"bordeaux", "lyon", "paris"}

// sampleContract is the contract of the Themis example.
//
//go:embed themis.yaml
var sampleContract []byte

const (
	// devReadyTimeout bounds the wait until all nodes of a development cluster serve.
	devReadyTimeout = 30 * time.Second
	devPoll         = 100 * time.Millisecond
	// devStopTimeout is how long nodes may take to stop before they are killed.
	devStopTimeout = 15 * time.Second
)

// dev is a cluster of three nodes on this machine: real processes with data
// directories, certificates, keys and ports of their own.
type dev struct {
	dir      string
	basePort int
	program  string
	out      io.Writer

	mu sync.Mutex // guards out
}

func devCommand(streams Streams) *cli.Command {
	return verb{
		name: "dev", usage: "run a three-site cluster on this machine, to try licet out",
		about: "Starts nodes bordeaux, lyon and paris as processes with data, certificates and keys of their own,\nand stops them when it is interrupted.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` for everything that the cluster keeps", Value: "licet-dev"},
			&cli.IntFlag{Name: "base-port", Usage: "first of the `PORT`s: APIs at +0 to +2, nodes at +100 to +102, gossip at +200 to +202", Value: 7001},
		},
		run: func(s *session) error {
			if p := s.Int("base-port"); p < 1 || p > 65535-202 {
				return s.usagef("--base-port: %d is not in 1 to %d", p, 65535-202)
			}
			return runDev(s.context(), s.String("dir"), s.Int("base-port"), s.Out)
		},
	}.command(streams)
}

// runDev prepares the directory if it is new, starts the nodes, says how to use
// them, and stops them when ctx ends.
func runDev(ctx context.Context, dir string, basePort int, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	d := &dev{dir: dir, basePort: basePort, program: program, out: out}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.checkPorts(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i, site := range devSites {
		started, err := d.start(ctx, site)
		if err != nil {
			return err
		}
		running.Go(func() { d.watch(ctx, devSites[i], started) })
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	if err := d.explain(); err != nil {
		return err
	}
	<-ctx.Done()
	d.printf("\nStopping the three nodes; %s keeps their data.\n", d.dir)
	return nil
}

func (d *dev) printf(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

func (d *dev) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

func (d *dev) http(i int) config.HostPort   { return d.address(i) }
func (d *dev) node(i int) config.HostPort   { return d.address(100 + i) }
func (d *dev) gossip(i int) config.HostPort { return d.address(200 + i) }

func (d *dev) address(offset int) config.HostPort {
	return config.HostPort(fmt.Sprintf("127.0.0.1:%d", d.basePort+offset))
}

// prepare fills a new directory beside its place and moves it there when it is
// whole, so that an interrupted start leaves nothing half done.
func (d *dev) prepare(ctx context.Context) error {
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "token")); err == nil {
		d.printf("Going on with the cluster in %s (remove it to begin anew).\n", d.dir)
		return d.writeConfigs(dir)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return usageError{fmt.Errorf("%s exists and holds something else; choose another directory with --dir", d.dir)}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	err = d.fill(ctx, fresh)
	if err == nil {
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return d.writeConfigs(dir)
}

// fill makes everything that the nodes share or that is secret, with the
// commands that an operator and a vendor would use.
func (d *dev) fill(ctx context.Context, dir string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := replace(in("themis.yaml"), sampleContract, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"tls", "init", "--dir", dir, "--nodes", strings.Join(devSites, ","), "--hosts", "127.0.0.1,localhost"},
		{"vendor", "keygen", "--dir", dir},
		{"vendor", "sign", in("themis.yaml"), "--key", in("vendor.key"), "--out", in("themis.contract")},
	} {
		var said bytes.Buffer
		if code := Run(ctx, append([]string{"licet"}, args...), Streams{In: strings.NewReader(""), Out: &said, Err: &said}); code != exitOK {
			return fmt.Errorf("licet %s: %s", strings.Join(args, " "), said.String())
		}
	}
	token, scrape := make([]byte, 16), make([]byte, 16)
	rand.Read(token)
	rand.Read(scrape)
	return errors.Join(
		replace(in("token"), []byte(hex.EncodeToString(token)+"\n"), 0o600),
		replace(in("metrics.token"), []byte(hex.EncodeToString(scrape)+"\n"), 0o600),
	)
}

// writeConfigs writes the nodes' configurations anew at each start, because the ports may differ.
func (d *dev) writeConfigs(dir string) error {
	var peers, seeds []config.HostPort
	for i := range devSites {
		peers, seeds = append(peers, d.node(i)), append(seeds, d.gossip(i))
	}
	for i, site := range devSites {
		c := config.Defaults()
		c.Node = config.Node{Voter: true, ID: site, Site: site, DataDir: filepath.Join(dir, site), Listen: d.node(i), Advertise: d.node(i)}
		c.HTTP = config.HTTP{Listen: d.http(i), Advertise: "http://" + d.http(i).String()}
		c.Gossip = config.Gossip{Listen: d.gossip(i), Advertise: d.gossip(i), KeyFile: filepath.Join(dir, "gossip.key")}
		c.TLS = config.TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, site+".pem"), Key: filepath.Join(dir, site+"-key.pem")}
		c.Cluster = config.Cluster{Expect: len(devSites), Peers: peers, GossipSeeds: seeds, VendorKeys: []string{filepath.Join(dir, "vendor.pub")}}
		c.Auth.OperatorTokenFile = filepath.Join(dir, "token")
		// Directories of earlier versions have none.
		if file := filepath.Join(dir, "metrics.token"); exists(file) {
			c.Auth.MetricsTokenFile = file
		}
		if err := replace(filepath.Join(dir, site+".yaml"), []byte(c.YAML()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// checkPorts says which port is taken before any node has started.
func (d *dev) checkPorts(ctx context.Context) error {
	var errs []error
	for i, site := range devSites {
		for _, address := range []config.HostPort{d.http(i), d.node(i), d.gossip(i)} {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", address.String())
			if err != nil {
				errs = append(errs, fmt.Errorf("%s needs %s: %w", site, address, err))
				continue
			}
			errs = append(errs, l.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{fmt.Errorf("%w\nStop what uses the ports, or choose others with --base-port", err)}
	}
	return nil
}

func (d *dev) start(ctx context.Context, site string) (*exec.Cmd, error) {
	logs, err := os.OpenFile(d.path(site+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logs.Close() }() // the node has a descriptor of its own
	//nolint:gosec // G204: the program is this one itself.
	c := exec.CommandContext(ctx, d.program, "server", "--config", d.path(site+".yaml"))
	c.Stdout, c.Stderr = logs, logs
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = devStopTimeout
	c.SysProcAttr = withParent()
	return c, c.Start()
}

// watch tells when a node ends while the cluster should run.
func (d *dev) watch(ctx context.Context, site string, c *exec.Cmd) {
	err := c.Wait()
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = errors.New("it stopped by itself")
	}
	d.printf("\n%s (process %d) has ended: %v; the last lines of its log:\n%s"+
		"The others go on. Start it again with:\n  %s server --config %s\n",
		site, c.Process.Pid, err, tail(d.path(site+".log"), 3), d.shown(), d.path(site+".yaml"))
}

func tail(file string, lines int) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	var last []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if last = append(last, "  "+s.Text()+"\n"); len(last) > lines {
			last = last[1:]
		}
	}
	text := ""
	for _, l := range last {
		text += l
	}
	return text
}

// waitReady returns when all nodes serve.
func (d *dev) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devReadyTimeout)
	defer cancel()
	for i, site := range devSites {
		for !ready(ctx, "http://"+d.http(i).String()+"/readyz") {
			select {
			case <-time.After(devPoll):
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve after %s; see %s:\n%s", site, devReadyTimeout, d.path(site+".log"), tail(d.path(site+".log"), 5))
			}
		}
	}
	return nil
}

func ready(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
