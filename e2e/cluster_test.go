package e2e

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// token is the operator's in all clusters. It stands in no log.
const token = "e2e-operator-token-0123456789abcdef"

// sites are the nodes of a cluster unless a test says otherwise.
var sites = []string{"bordeaux", "lyon", "paris"}

// setup says what a cluster is like. The zero value is three nodes that find
// each other by list and gossip.
type setup struct {
	// nodes are the ids, sites if nil; the first expect of them found the cluster (0: all).
	nodes  []string
	expect int
	// gossipOnly: no list of peers; listOnly: no gossip seeds.
	gossipOnly, listOnly bool
	// set overrides keys of all nodes' configuration, by section.key, in YAML.
	set map[string]string
	// env is added to the nodes' environment.
	env []string
	// hosts are where the nodes run, by turns of nodes; on this machine's loopback if nil.
	hosts []host
	// rest is a pause of each client of load and crowd between two requests; patience is for how long clients try, if not as long as tests do.
	rest, patience time.Duration
	// forgiven takes out of a node's log what tells of crashes that were ordered.
	forgiven func(log string) string
	// prepare makes a node's data directory, where it shall be there before the first start.
	prepare func(*Node)
	// edition runs the nodes and makes their secrets; nil is the one under test.
	edition *edition
}

// host is where a node runs.
type host struct {
	address string
	// enter is the command that runs what comes after it there; empty for here.
	enter []string
}

// edition is a built program.
type edition struct {
	path string
	// version is what it says of itself, keys are those of its configuration; nil for all.
	version string
	keys    map[string]bool
}

// executable is the program's path.
func (b *edition) executable() string {
	if b == nil {
		return program
	}
	return b.path
}

// snapshots makes nodes take snapshots soon and keep little log behind them.
var snapshots = map[string]string{
	"raft.snapshot_threshold": "40", "raft.snapshot_interval": "100ms", "raft.trailing_logs": "10",
}

// Cluster is a cluster of real processes. Its methods end the test when what
// they do fails; those that take no lock belong to the test's goroutine.
type Cluster struct {
	t     testing.TB
	setup setup
	dir   string
	nodes []*Node
	ports *portSet
	http  *client.Client

	mu sync.Mutex
	// clients are all that were made.
	clients []*client.Client
	// seen has the digest at each index that any node ever showed.
	seen map[uint64]digestSeen
}

type digestSeen struct{ digest, node string }

// Node is one node, over all its processes.
type Node struct {
	*process
	c                     *Cluster
	edition               *edition
	id                    string
	host                  host
	httpPort, port, gPort int
	logPath               string
	// client is patient; probe is for questions that are asked again and again.
	client, probe *client.Client
	// env is added to the environment of this node alone.
	env []string
	// reached is the port at which others reach the node's own, if something is between; 0 if nothing is.
	reached int
}

// newCluster prepares a cluster's files and ports, and starts nothing. At the end of
// the test it stops what runs and looks through the logs.
func newCluster(t testing.TB, s setup) *Cluster {
	t.Helper()
	if s.nodes == nil {
		s.nodes = sites
	}
	if s.expect == 0 {
		s.expect = len(s.nodes)
	}
	c := &Cluster{t: t, setup: s, dir: clusterDir(t), seen: map[uint64]digestSeen{}}
	for i, id := range s.nodes {
		n := &Node{c: c, edition: s.edition, id: id, host: host{address: "127.0.0.1"}, logPath: filepath.Join(c.dir, id+".log")}
		if s.hosts != nil {
			n.host = s.hosts[i]
		}
		c.nodes = append(c.nodes, n)
	}
	c.writeSecrets()
	c.takePorts()
	for _, n := range c.nodes {
		if s.prepare != nil {
			s.prepare(n)
		}
	}
	// It is the first of all: nodes stop before what they run on is taken away.
	t.Cleanup(c.finish)
	return c
}

// startCluster returns when all nodes serve.
func startCluster(t testing.TB, s setup) *Cluster {
	t.Helper()
	c := newCluster(t, s)
	// Somebody else may take a port between its release and the node's start.
	for range 3 {
		c.releasePorts()
		for _, n := range c.founders() {
			n.Start()
		}
		snatched := c.portSnatched()
		if snatched == "" {
			c.WaitReady(c.founders()...)
			return c
		}
		t.Logf("a port was taken by somebody else, so the cluster gets others: %s", snatched)
		c.Kill(c.nodes...)
		for _, n := range c.nodes {
			n.wipe()
		}
		c.takePorts()
	}
	t.Fatal("three sets of ports were taken by somebody else")
	return nil
}

// founders are the nodes that form the cluster.
func (c *Cluster) founders() []*Node { return c.nodes[:c.setup.expect] }

func clusterDir(t testing.TB) string {
	if *keep == "" {
		return t.TempDir()
	}
	dir := filepath.Join(*keep, strings.ReplaceAll(t.Name(), "/", "_"))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) write(name, text string) string {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.path(name)
}

// writeSecrets has the binary make the certificates and the vendor's key.
func (c *Cluster) writeSecrets() {
	c.t.Helper()
	c.write("token", token+"\n")
	c.write("gossip.key", base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))+"\n")
	by := c.setup.edition.executable()
	mustRunBy(c.t, by, "tls", "init", "--dir", c.dir, "--nodes", strings.Join(c.setup.nodes, ","))
	mustRunBy(c.t, by, "vendor", "keygen", "--dir", c.dir)
}

// initTLS makes an authority and the nodes' certificates in a directory.
func initTLS(t testing.TB, dir string, nodes ...string) {
	t.Helper()
	initTLSIn(t, dir, "--nodes", strings.Join(nodes, ","))
}

func initTLSIn(t testing.TB, dir string, flags ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustRun(t, append([]string{"tls", "init", "--dir", dir}, flags...)...)
}

// mustRun runs the binary to its end and returns its output.
func mustRun(t testing.TB, args ...string) string {
	t.Helper()
	return mustRunBy(t, program, args...)
}

func mustRunBy(t testing.TB, program string, args ...string) string {
	t.Helper()
	code, out, errs := runBy(t, program, nil, args...)
	if code != 0 {
		t.Fatalf("licet %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// runLicet runs the binary to its end.
func runLicet(t testing.TB, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	return runBy(t, program, env, args...)
}

func runBy(t testing.TB, program string, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := start("licet "+strings.Join(args, " "), cmd, env...)
	if err != nil {
		t.Fatal(err)
	}
	code = p.exitCode()
	return code, stdout.String(), stderr.String()
}

// takePorts gives every node its three ports and writes the configurations.
func (c *Cluster) takePorts() {
	c.t.Helper()
	ports, err := holdPorts(3 * len(c.nodes))
	if err != nil {
		c.t.Fatal(err)
	}
	c.ports = ports
	var endpoints []string
	for i, n := range c.nodes {
		n.httpPort, n.port, n.gPort = ports.ports[3*i], ports.ports[3*i+1], ports.ports[3*i+2]
		endpoints = append(endpoints, n.URL())
		n.client = c.newClient(client.Options{Endpoints: []string{n.URL()}})
		n.probe = c.newClient(client.Options{Endpoints: []string{n.URL()}, Timeout: 5 * time.Second})
	}
	c.http = c.newClient(client.Options{Endpoints: endpoints})
	for _, n := range c.nodes {
		c.write(n.id+".yaml", n.config(nil))
	}
}

// newClient fills in the token and a timeout for slow machines.
func (c *Cluster) newClient(o client.Options) *client.Client {
	c.t.Helper()
	o.Token = token
	if o.Timeout == 0 {
		o.Timeout = cmp.Or(c.setup.patience, patience)
	}
	cl, err := client.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, cl)
	return cl
}

func (c *Cluster) releasePorts() {
	c.t.Helper()
	if err := c.ports.release(); err != nil {
		c.t.Fatal(err)
	}
}

// config is the node's configuration file; set overrides the cluster's own overrides.
func (n *Node) config(set map[string]string) string {
	c := n.c
	var peers, seeds []string
	// A founder waits for every peer that it is told of, so founders know each other only.
	for _, m := range c.nodes[:c.setup.expect] {
		peers, seeds = append(peers, m.at(m.advertised())), append(seeds, m.at(m.gPort))
	}
	if c.setup.gossipOnly {
		peers = nil
	}
	if c.setup.listOnly {
		seeds = nil
	}
	values := map[string]string{
		"node.id": n.id, "node.data_dir": n.id, "node.listen": n.at(n.port),
		"http.listen": n.at(n.httpPort), "gossip.listen": n.at(n.gPort), "gossip.key_file": "gossip.key",
		"tls.ca": "ca.pem", "tls.cert": n.id + ".pem", "tls.key": n.id + "-key.pem",
		"cluster.expect": fmt.Sprint(c.setup.expect), "cluster.vendor_keys": "[vendor.pub]",
		"cluster.peers": yamlList(peers), "cluster.gossip_seeds": yamlList(seeds),
		"auth.operator_token_file": "token",
		// Twice the default: the machine may be slow and busy.
		"raft.heartbeat_timeout": "1s", "raft.election_timeout": "1s",
	}
	if c.setup.hosts != nil {
		// The network is the test's own.
		values["http.insecure"] = "true"
	}
	if n.reached != 0 {
		values["node.advertise"] = n.at(n.reached)
	}
	maps.Copy(values, c.setup.set)
	maps.Copy(values, set)
	if n.edition != nil && n.edition.keys != nil {
		maps.DeleteFunc(values, func(key, _ string) bool { return !n.edition.keys[key] })
	}
	sections := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		section, name, _ := strings.Cut(key, ".")
		sections[section] = append(sections[section], fmt.Sprintf("  %s: %s\n", name, values[key]))
	}
	var text strings.Builder
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		fmt.Fprintf(&text, "%s:\n%s", section, strings.Join(sections[section], ""))
	}
	return text.String()
}

func yamlList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = fmt.Sprintf("%q", item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Node returns the node of an id.
func (c *Cluster) Node(id string) *Node {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.id == id {
			return n
		}
	}
	c.t.Fatalf("the cluster has no node %q", id)
	return nil
}

// Endpoints are the addresses of all nodes.
func (c *Cluster) Endpoints() []string { return c.http.Endpoints() }

// up are the nodes whose process runs.
func (c *Cluster) up() []*Node {
	var list []*Node
	for _, n := range c.nodes {
		if n.running() {
			list = append(list, n)
		}
	}
	return list
}

// URL is the address of the node's API.
func (n *Node) URL() string { return "http://" + n.at(n.httpPort) }

// advertised is the port at which others reach the node's own.
func (n *Node) advertised() int {
	if n.reached != 0 {
		return n.reached
	}
	return n.port
}

func (n *Node) at(port int) string { return fmt.Sprintf("%s:%d", n.host.address, port) }

func (n *Node) running() bool { return n.process != nil && n.alive() }

func (n *Node) dataDir() string { return filepath.Join(n.c.dir, n.id) }

// Start starts the node's process with its own configuration.
func (n *Node) Start() {
	n.c.t.Helper()
	if n.running() {
		n.c.t.Fatalf("%s runs already", n.id)
	}
	p, err := n.c.startServer(n.host, n.edition.executable(), n.id, n.c.path(n.id+".yaml"), n.logPath, n.env...)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.process = p
}

// startServer starts a process of a configuration; its output is added to a file.
func (c *Cluster) startServer(on host, program, name, config, log string, env ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	args := slices.Concat(on.enter, []string{program, "server", "--config", config})
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = out, out
	return start(name, cmd, slices.Concat(c.setup.env, env)...)
}

// Stop ends the process with SIGTERM and wants it to end well.
func (n *Node) Stop() {
	n.c.t.Helper()
	if err := n.terminate(); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *Node) terminate() error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", n.id, err)
	}
	if err := poll(patience, n.endedOrNot); err != nil {
		// Its goroutines then stand in the log.
		_ = n.signal(syscall.SIGQUIT)
		if poll(5*time.Second, n.endedOrNot) != nil {
			n.kill()
		}
		return fmt.Errorf("%s did not stop within %s of SIGTERM", n.id, patience)
	}
	if code := n.exitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM", n.id, code)
	}
	return nil
}

func (n *Node) endedOrNot() error {
	if n.alive() {
		return errors.New("it still runs")
	}
	return nil
}

// Kill ends the nodes with SIGKILL, all signals before the first wait.
func (c *Cluster) Kill(nodes ...*Node) {
	for _, n := range nodes {
		if n.process != nil {
			_ = n.signal(syscall.SIGKILL)
		}
	}
	for _, n := range nodes {
		if n.process != nil {
			n.kill()
		}
	}
}

// Kill ends the process with SIGKILL.
func (n *Node) Kill() { n.c.Kill(n) }

// Pause stops the process with SIGSTOP: it holds its ports and connections and does nothing.
func (n *Node) Pause() { n.must(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() { n.must(syscall.SIGCONT) }

func (n *Node) must(s syscall.Signal) {
	n.c.t.Helper()
	if err := n.signal(s); err != nil {
		n.c.t.Fatalf("%s: %v: %v", n.id, s, err)
	}
}

// wipe removes what the node wrote.
func (n *Node) wipe() {
	n.c.t.Helper()
	if err := errors.Join(os.RemoveAll(n.dataDir()), os.RemoveAll(n.logPath)); err != nil {
		n.c.t.Fatal(err)
	}
}

// log is all that the node's processes wrote.
func (n *Node) log() string {
	text, err := os.ReadFile(n.logPath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.c.t.Fatal(err)
	}
	return string(text)
}

// WaitLog returns when the node's log, from a place on, has a text.
func (n *Node) WaitLog(from int, text string) {
	n.c.t.Helper()
	eventually(n.c.t, fmt.Sprintf("%q in the log of %s", text, n.id), func() error {
		if log := n.log(); len(log) < from || !strings.Contains(log[from:], text) {
			return errors.New("it is not there")
		}
		return nil
	})
}

// portSnatched returns the complaint of a node that found its port taken, once
// every node has either ended or answers.
func (c *Cluster) portSnatched() string {
	c.t.Helper()
	complaint := ""
	for _, n := range c.nodes {
		if n.process == nil {
			continue
		}
		eventually(c.t, n.id+" has started", func() error {
			if !n.alive() {
				if strings.Contains(n.log(), "address already in use") {
					complaint = lastLines(n.log(), 1)
					return nil
				}
				c.t.Fatalf("%s ended with exit code %d at its start:\n%s", n.id, n.exitCode(), lastLines(n.log(), 20))
			}
			_, err := n.probe.Health(context.Background())
			return err
		})
	}
	return complaint
}

// WaitReady returns when the nodes serve; all that run if none is named.
func (c *Cluster) WaitReady(nodes ...*Node) {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.up()
	}
	for _, n := range nodes {
		eventually(c.t, n.id+" is ready", func() error {
			if !n.alive() {
				return fmt.Errorf("it ended with exit code %d", n.exitCode())
			}
			_, err := n.probe.Ready(context.Background())
			return err
		})
	}
}

// status asks one node and holds its digest against all seen before: replicas
// agree at every index, also in passing.
func (n *Node) status() (apiv1.NodeStatus, error) {
	a, err := n.probe.Status(context.Background())
	if err != nil {
		return apiv1.NodeStatus{}, fmt.Errorf("status of %s: %w", n.id, err)
	}
	return a.Value, n.c.compare(a.Value)
}

// errDiverged never goes away by waiting.
var errDiverged = errors.New("replicas have different states at the same index")

func (c *Cluster) compare(s apiv1.NodeStatus) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := s.State.Index
	if before, ok := c.seen[at]; ok && before.digest != s.State.Digest {
		return fmt.Errorf("%w: at %d %s has %s, %s had %s", errDiverged, at, s.ID, s.State.Digest, before.node, before.digest)
	}
	c.seen[at] = digestSeen{s.State.Digest, s.ID}
	return nil
}

// mustStatus is the node's status.
func (n *Node) mustStatus() apiv1.NodeStatus {
	n.c.t.Helper()
	s, err := n.status()
	if err != nil {
		n.c.t.Fatal(err)
	}
	return s
}

// Leader waits until all nodes that run agree who leads.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leader *Node
	eventually(c.t, "all nodes agree who leads", func() error {
		found, err := c.leaderNow()
		leader = found
		return err
	})
	return leader
}

func (c *Cluster) leaderNow() (*Node, error) {
	named, leads := "", ""
	for _, n := range c.up() {
		s, err := n.status()
		switch {
		case err != nil:
			return nil, err
		case s.Leader == "":
			return nil, fmt.Errorf("%s knows no leader", n.id)
		case named != "" && s.Leader != named:
			return nil, fmt.Errorf("%s says %s leads, others %s", n.id, s.Leader, named)
		}
		named = s.Leader
		if s.Role == apiv1.RoleLeader {
			leads = n.id
		}
	}
	if leads == "" || leads != named {
		return nil, fmt.Errorf("%q leads, %q is said to", leads, named)
	}
	return c.Node(leads), nil
}

// Follower is a node that does not lead.
func (c *Cluster) Follower() *Node {
	c.t.Helper()
	leader := c.Leader()
	for _, n := range c.up() {
		if n != leader {
			return n
		}
	}
	c.t.Fatal("there is no follower")
	return nil
}

// Settled waits until all nodes that run have the same state, and returns it.
func (c *Cluster) Settled() apiv1.StateSummary {
	c.t.Helper()
	state, err := c.settle()
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

func (c *Cluster) settle() (apiv1.StateSummary, error) {
	var state apiv1.StateSummary
	var diverged error
	err := poll(patience, func() error {
		found, err := c.settledNow()
		if errors.Is(err, errDiverged) {
			diverged = err
			return nil
		}
		state = found
		return err
	})
	if err != nil {
		err = fmt.Errorf("the nodes do not come to the same state: %w", err)
	}
	return state, errors.Join(err, diverged)
}

// settledNow says why the nodes have not all the same state, if so.
func (c *Cluster) settledNow() (apiv1.StateSummary, error) {
	if _, err := c.leaderNow(); err != nil {
		return apiv1.StateSummary{}, err
	}
	var first apiv1.NodeStatus
	for i, n := range c.up() {
		s, err := n.status()
		switch {
		case err != nil:
			return s.State, err
		case i == 0:
			first = s
		case s.State.Index != first.State.Index:
			return s.State, fmt.Errorf("%s is at %d, %s at %d", first.ID, first.State.Index, s.ID, s.State.Index)
		case s.Cluster != first.Cluster:
			return s.State, fmt.Errorf("%s belongs to %q, %s to %q", first.ID, first.Cluster, s.ID, s.Cluster)
		}
	}
	return first.State, nil
}

// finish is what holds at the end of every test: what runs has one state and
// stops well, and no log tells of a crash.
func (c *Cluster) finish() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.running() {
			_ = n.signal(syscall.SIGCONT)
		}
	}
	if c.t.Failed() {
		c.Kill(c.nodes...)
		c.dumpLogs()
		return
	}
	if up := c.up(); len(up) > len(c.nodes)/2 {
		if _, err := c.settle(); err != nil {
			c.t.Error(err)
		}
	}
	for _, n := range c.up() {
		if err := n.terminate(); err != nil {
			c.t.Error(err)
		}
	}
	for _, n := range c.nodes {
		log := n.log()
		if c.setup.forgiven != nil {
			log = c.setup.forgiven(log)
		}
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["} {
			if strings.Contains(log, bad) {
				c.t.Errorf("the log of %s has %q", n.id, bad)
			}
		}
	}
	if c.t.Failed() {
		c.dumpLogs()
	}
}

func (c *Cluster) dumpLogs() {
	for _, n := range c.nodes {
		c.t.Logf("log of %s, its last lines:\n%s", n.id, lastLines(n.log(), 150))
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
