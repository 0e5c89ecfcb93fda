package main

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/licet/licet/client"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
	"github.com/licet/licet/transport"
)

const (
	// surveyTimeout bounds the wait for other nodes.
	surveyTimeout = 3 * time.Second
	// spaceLeast is the space in bytes below which a node should not be started.
	spaceLeast = 100 << 20
)

// examineNode examines the node of a configuration on this machine, whether it runs or not. It has the cluster
// asked where that node and those that it knows serve, unless the command line says where.
func (d *doctor) examineNode(o *client.Options) {
	c, ok := d.loadForDoctor(d.String("config"))
	if !ok {
		return
	}
	d.examineHTTPCertificate(c.HTTP)
	d.examineDirectory(c)
	d.examineDisk(c.Node.DataDir)
	certificates, err := transport.LoadCertificates(transport.Files{CA: c.TLS.CA, Certificate: c.TLS.Cert, Key: c.TLS.Key})
	if err != nil {
		d.fail("certificates", "Issue a new certificate: `licet tls node "+c.Node.ID+"`, or whatever your authority has.", "%v", err)
		return
	}
	d.examineCertificate(c, certificates)
	known := d.examineNodes(c, certificates)
	if len(known) == 0 {
		known = []string{c.HTTP.Advertise}
	}
	if given, _ := d.setting("endpoints", "LICET_ENDPOINTS"); given == "" {
		o.Endpoints = known
	}
	if o.Token == "" {
		// A file that is no token was reported with the configuration.
		o.Token, _ = readSecret("auth.operator_token_file", c.Auth.OperatorTokenFile, minToken)
	}
}

func (d *doctor) examineHTTPCertificate(c config.HTTP) {
	if c.Cert == "" {
		return
	}
	ends := apiCertificate(c)
	switch left := time.Until(ends); {
	case ends.IsZero():
		d.fail("certificates", "Correct http.cert and http.key.", "%s and %s are no pair of a certificate and its key", c.Cert, c.Key)
	case left <= 0:
		d.fail("certificates", "Issue a new one for the API.", "%s %s", c.Cert, ending(ends, time.Now()))
	case left < certificateSoon:
		d.warn("certificates", "Issue a new one for the API.", "%s %s", c.Cert, ending(ends, time.Now()))
	default:
		d.ok("certificates", "%s (the API's) %s", c.Cert, ending(ends, time.Now()))
	}
}

func (d *doctor) examineCertificate(c config.Config, certificates *transport.Certificates) {
	ends := certificates.NotAfter()
	switch name := certificates.Identity().Name; {
	case name != c.Node.ID:
		d.fail("certificates", "Correct tls.cert or node.id.", "%s is the certificate of node %s, not of %s", c.TLS.Cert, name, c.Node.ID)
	case time.Until(ends) < certificateSoon:
		d.warn("certificates", "Issue a new one, put it in its place and send the node SIGHUP.", "%s, or what it chains to, %s", c.TLS.Cert, ending(ends, time.Now()))
	default:
		d.ok("certificates", "%s fits its key and chains to %s; it %s", c.TLS.Cert, c.TLS.CA, ending(ends, time.Now()))
	}
}

func (d *doctor) examineDirectory(c config.Config) {
	is, err := cluster.DirectoryOf(c.Node.DataDir)
	switch {
	case err != nil:
		d.fail("data", "See to the directory's owner and mode. If the file is damaged, wipe the directory and join under a new node id.", "%s: %v", c.Node.DataDir, err)
	case is.Node == "":
		d.ok("data", "%s holds no node's data yet", c.Node.DataDir)
	case is.Node != c.Node.ID:
		d.fail("data", "Correct node.id or node.data_dir.", "%s has the data of node %s, not of %s", c.Node.DataDir, is.Node, c.Node.ID)
	case is.Left:
		d.fail("data", "To come back, wipe the directory and join under a new node id.", "node %s left its cluster", is.Node)
	default:
		d.ok("data", "%s has the data of node %s, cluster %s", c.Node.DataDir, is.Node, cmp.Or(is.Cluster, "none yet"))
	}
}

// examineNodes asks this node and those that it names, and returns where those that answer serve clients.
func (d *doctor) examineNodes(c config.Config, certificates *transport.Certificates) (serving []string) {
	ctx, cancel := d.within(surveyTimeout)
	defer cancel()
	own := c.Node.Advertise.String()
	list, err := cluster.Survey(ctx, certificates, append([]string{own}, without(addresses(c.Cluster.Peers), own)...))
	if err != nil {
		d.warn("peers", "", "closing connections: %v", err)
	}
	d.unborn = belongsNowhere(c.Node.DataDir, list)
	for i, s := range list {
		if s.Err == nil && s.HTTP != "" {
			serving = append(serving, s.HTTP)
		}
		if i == 0 {
			d.examinePorts(c, s)
			continue
		}
		d.examinePeer(c, s)
	}
	d.examineIdentities(c, list)
	return serving
}

// belongsNowhere reports that neither the owner of a directory nor any of the nodes belongs to a cluster.
func belongsNowhere(dir string, list []cluster.Surveyed) bool {
	own, err := cluster.DirectoryOf(dir)
	return err == nil && own.Cluster == "" && !slices.ContainsFunc(list, func(s cluster.Surveyed) bool { return s.Formed })
}

func (d *doctor) examinePeer(c config.Config, s cluster.Surveyed) {
	limit := c.Limits.MaxClockSkew
	switch apart := s.ClockDifference.Abs(); {
	case s.Err != nil && d.unborn:
		d.warn("peers", "Start it, too.", "%s does not answer yet: %s", s.Address, status.Convert(s.Err).Message())
	case s.Err != nil:
		d.fail("peers", "Start the node; or let its node port through, and see that both have certificates of one authority.", "%s: %s", s.Address, status.Convert(s.Err).Message())
	case apart > limit:
		d.fail("clocks", "Set the clock that is wrong, and see to its time service (`chronyc tracking`).", "%s's clock is %s from this machine's; %s is allowed", s.Node, signedMs(s.ClockDifference.Milliseconds()), limit)
	case apart > limit/clockShare:
		d.warn("clocks", "See to the time service of both (`chronyc tracking`).", "%s's clock is %s from this machine's; %s is allowed", s.Node, signedMs(s.ClockDifference.Milliseconds()), limit)
	default:
		d.ok("peers", "%s answers at %s, version %s, clock %s", s.Node, s.Address, s.Version, signedMs(s.ClockDifference.Milliseconds()))
	}
}

// examineIdentities compares who belongs to which cluster.
func (d *doctor) examineIdentities(c config.Config, list []cluster.Surveyed) {
	own, err := cluster.DirectoryOf(c.Node.DataDir)
	if err != nil {
		return
	}
	named := map[string]string{}
	if own.Cluster != "" {
		named[own.Cluster] = c.Node.ID
	}
	for _, s := range list {
		if s.Err != nil {
			continue
		}
		if s.Formed {
			named[s.Cluster] = s.Node
		} else if s.Expect != c.Cluster.Expect {
			d.fail("peers", "State the same cluster.expect on all nodes.", "%s expects %d nodes, this one %d", s.Node, s.Expect, c.Cluster.Expect)
		}
	}
	if len(named) > 1 {
		d.fail("peers", "Check cluster.peers: these are nodes of different clusters.", "there are %d clusters: of %s", len(named), strings.Join(sortedValues(named), ", "))
	}
}

func sortedValues(m map[string]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(list, func(x string) bool { return x == one })
}

// examinePorts sees that a node that runs has its ports, and that one that does not will get them.
func (d *doctor) examinePorts(c config.Config, self cluster.Surveyed) {
	if self.Err == nil {
		d.ok("ports", "node %s runs, version %s, and answers at %s", self.Node, self.Version, self.Address)
		if self.Node != c.Node.ID {
			d.fail("ports", "Correct node.advertise: another node has this address.", "%s answers as node %s, not as %s", self.Address, self.Node, c.Node.ID)
		}
		d.reachable("gossip.advertise", c.Gossip.Advertise)
		return
	}
	for _, p := range []struct {
		key     string
		address config.HostPort
		packets bool
	}{{"node.listen", c.Node.Listen, false}, {"http.listen", c.HTTP.Listen, false}, {"gossip.listen", c.Gossip.Listen, true}} {
		if err := free(d.context(), p.address.String(), p.packets); err != nil {
			d.fail("ports", "`ss -ltnup` shows which process has it. Stop that, or choose another port; if it is this very node, see its log, as it does not answer at "+self.Address+".", "%s: %v", p.key, err)
			continue
		}
		d.ok("ports", "%s %s is free: the node does not run", p.key, p.address)
	}
}

func (d *doctor) reachable(key string, address config.HostPort) {
	ctx, cancel := d.within(surveyTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address.String())
	if err != nil {
		d.fail("ports", "Let the port through, for UDP and TCP.", "%s: %v", key, err)
		return
	}
	_ = conn.Close() // nothing was sent
	d.ok("ports", "%s %s takes connections", key, address)
}

// free reports why a port can't be listened on; packets asks for UDP, too.
func free(ctx context.Context, address string, packets bool) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil || !packets {
		return err
	}
	p, err := new(net.ListenConfig).ListenPacket(ctx, "udp", address)
	if err != nil {
		return err
	}
	return p.Close()
}
