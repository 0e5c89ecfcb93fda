//go:build linux && faults

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// lab is a network of hosts of their own, one a node, each in a network namespace. The test itself is
// on the bridge between them, so that it reaches a node that is cut off from the others.
type lab struct {
	t     testing.TB
	c     *Cluster
	hosts []host
}

// newLab makes hosts 10.77.0.11 and following. The test must have a network namespace to itself: `make faults` sees to it.
func newLab(t testing.TB, hosts int) *lab {
	t.Helper()
	if all, err := net.Interfaces(); err != nil || len(all) > 1 {
		t.Fatalf("this is no network namespace of the test's own (%d interfaces, %v): run it with `make faults`", len(all), err)
	}
	l := &lab{t: t}
	l.run("", "ip", "link", "set", "lo", "up")
	l.run("", "ip", "link", "add", "lab", "type", "bridge")
	t.Cleanup(func() { l.run("", "ip", "link", "del", "lab") })
	l.run("", "ip", "addr", "add", "10.77.0.1/24", "dev", "lab")
	l.run("", "ip", "link", "set", "lab", "up")
	for i := range hosts {
		l.addHost(fmt.Sprintf("10.77.0.%d", 11+i), fmt.Sprint("lab", i))
	}
	return l
}

// addHost starts a process that keeps a namespace, and joins it to the bridge.
func (l *lab) addHost(address, link string) {
	l.t.Helper()
	// cat ends with its input, and so when the test ends, however that comes.
	keeper := exec.Command("cat")
	keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	input, err := keeper.StdinPipe()
	if err == nil {
		err = keeper.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := errors.Join(input.Close(), keeper.Wait()); err != nil {
			l.t.Error(err)
		}
	})
	pid := strconv.Itoa(keeper.Process.Pid)
	l.run("", "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid)
	l.t.Cleanup(func() { l.run("", "ip", "link", "del", link) })
	l.run("", "ip", "link", "set", link, "master", "lab", "up")
	l.hosts = append(l.hosts, host{address: address, enter: []string{"nsenter", "--net=/proc/" + pid + "/ns/net", "--"}})
	in := l.hosts[len(l.hosts)-1].enter
	l.runIn(in, "", "ip", "link", "set", "lo", "up")
	l.runIn(in, "", "ip", "addr", "add", address+"/24", "dev", "eth0")
	l.runIn(in, "", "ip", "link", "set", "eth0", "up")
}

func (l *lab) run(input string, args ...string) { l.t.Helper(); l.runIn(nil, input, args...) }

func (l *lab) runIn(enter []string, input string, args ...string) {
	l.t.Helper()
	all := append(append([]string{}, enter...), args...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if text, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s%s", strings.Join(all, " "), err, text, input)
	}
}

// startLabCluster starts a cluster whose nodes have hosts of their own.
func startLabCluster(t testing.TB, s setup) (*lab, *Cluster) {
	t.Helper()
	if s.nodes == nil {
		s.nodes = sites
	}
	l := newLab(t, len(s.nodes))
	s.hosts = l.hosts
	l.c = startCluster(t, s)
	return l, l.c
}

// traffic is what a fault stops: all of it, or that of one of a node's services.
type traffic int

const (
	allTraffic traffic = iota
	gossipTraffic
	nodeTraffic
)

// loss is packets of a kind that go from one node to another and do not arrive.
type loss struct {
	from, to *Node
	what     traffic
	// percent is how many of a hundred are lost, by chance; 0 is all.
	percent int
}

// both is loss in both directions.
func both(a, b *Node, what traffic) []loss { return []loss{{a, b, what, 0}, {b, a, what, 0}} }

// isolated is loss between a node and all others.
func (l *lab) isolated(n *Node, what traffic) (all []loss) {
	for _, m := range l.c.nodes {
		if m != n {
			all = append(all, both(n, m, what)...)
		}
	}
	return all
}

// lose has the network lose packets from now on, and no others.
func (l *lab) lose(all ...loss) {
	l.t.Helper()
	rules := map[*Node]string{}
	for _, x := range all {
		rules[x.to] += x.rules()
	}
	for _, n := range l.c.nodes {
		l.runIn(n.host.enter, "table inet lab\ndelete table inet lab\ntable inet lab {\n chain in {\n type filter hook input priority 0;\n"+rules[n]+" }\n}\n", "nft", "-f", "-")
	}
}

// heal lets all packets through.
func (l *lab) heal() { l.t.Helper(); l.lose() }

// rules drop packets where they arrive, so that the sender learns nothing. A service's answers come from its port.
func (x loss) rules() string {
	from := "ip saddr " + x.from.host.address
	if x.percent > 0 {
		from += fmt.Sprintf(" numgen random mod 100 < %d", x.percent)
	}
	switch x.what {
	case allTraffic:
		return from + " drop\n"
	case gossipTraffic:
		return fmt.Sprintf("%s meta l4proto { tcp, udp } th dport %d drop\n%s meta l4proto { tcp, udp } th sport %d drop\n", from, x.to.gPort, from, x.from.gPort)
	default:
		return fmt.Sprintf("%s tcp dport %d drop\n%s tcp sport %d drop\n", from, x.to.advertised(), from, x.from.advertised())
	}
}

// holding is what a node's process has open.
type holding struct{ files, goroutines int }

// holdings are what each node has open.
func (c *Cluster) holdings() (map[*Node]holding, error) {
	all := map[*Node]holding{}
	var errs []error
	for _, n := range c.up() {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
		goroutines, err2 := n.goroutines()
		all[n] = holding{len(files), goroutines}
		errs = append(errs, err, err2)
	}
	return all, errors.Join(errs...)
}

// goroutines is how many the node has, says its metrics.
func (n *Node) goroutines() (count int, err error) {
	r, err := ask("GET", n.URL()+"/metrics", "")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(r.body, "\ngo_goroutines ")
	if !found {
		return 0, fmt.Errorf("the metrics of %s have no go_goroutines: %.200s", n.id, r)
	}
	number, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(number)
}
