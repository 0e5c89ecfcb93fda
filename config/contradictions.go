package config

import (
	"fmt"
	"slices"
	"strings"
)

// contradictions reports values that are each allowed and cannot be together. Values that only look unwise together
// are not among them: trailing_logs below snapshot_threshold, or batch_commands above queue, are bounds that can
// both hold.
func (l *loader) contradictions() {
	l.pairOfFiles()
	l.inTheClear()
	l.listeners()
	l.advertised()
	l.formation()
	l.swappedLists()
	l.unreachable()
	l.issuer()
	c := &l.config
	l.contradiction(c.Raft.ElectionTimeout < c.Raft.HeartbeatTimeout,
		[]string{"raft.election_timeout", "raft.heartbeat_timeout"}, "the first must not be shorter than the second")
	l.contradiction(c.Limits.RequestTimeout <= c.Raft.ElectionTimeout,
		[]string{"limits.request_timeout", "raft.election_timeout"},
		"the first must be longer than the second, or no request could outlive an election")
	l.contradiction(c.Limits.BodyBytes > c.Limits.BatchBytes,
		[]string{"limits.body_bytes", "limits.batch_bytes"},
		"the first must not be larger than the second, or a request's command could not fit into a Raft entry")
	l.contradiction(c.Audit.TotalBytes < 2*c.Audit.FileBytes,
		[]string{"audit.total_bytes", "audit.file_bytes"},
		"the first must be at least twice the second, or each new file would be the only one")
	l.contradiction(c.Audit.CopySyslogCA != "" && !strings.HasPrefix(c.Audit.CopySyslog, "tls://"),
		[]string{"audit.copy_syslog_ca", "audit.copy_syslog"}, "authorities are looked at in TLS only")
}

// contradiction records one, unless one of the values is wrong by itself. It stands at the first of the keys that
// somebody set: defaults do not contradict each other.
func (l *loader) contradiction(is bool, keys []string, why string) {
	wrong := func(k string) bool { return l.bad[k] }
	if !is || slices.ContainsFunc(keys, wrong) {
		return
	}
	place, placed := l.source()+": "+keys[0], ""
	cited := make([]string, 0, len(keys))
	for _, k := range keys {
		if l.given(k) && placed == "" {
			place, placed = l.origins[k].place(k), k
		}
		cited = append(cited, l.cite(k))
	}
	l.report(place, placed, strings.Join(cited, " and ")+": "+why)
}

// report records a problem without making its key one that is wrong by itself.
func (l *loader) report(place, key, text string) {
	was := l.bad[key]
	l.problem(place, key, "%s", text)
	l.bad[key] = was
}

// cite names a key with its value and where that comes from.
func (l *loader) cite(name string) string {
	k := keyNamed(name)
	source := "the default"
	if l.given(name) {
		source = l.origins[name].source
	} else if k.derived != "" {
		source = "derived"
	}
	texts := k.get(&l.config)
	value := strings.Join(texts, ", ")
	if k.file != notAFile && value != "" || k.shown(value) == hidden {
		value = "given" // as someone may have put the contents where the name belongs
	}
	if len(value) > 200 {
		value = fmt.Sprintf("%d items", len(texts))
	}
	if value == "" {
		value = "empty"
	}
	return fmt.Sprintf("%s (%s, %s)", name, value, source)
}

// issuer wants all of an issuer or nothing.
func (l *loader) issuer() {
	o := &l.config.OIDC
	l.contradiction(o.Issuer != "" && o.Audience == "", []string{"oidc.issuer", "oidc.audience"}, "an issuer's tokens are believed for an audience only")
	l.contradiction(o.Issuer != "" && len(o.Roles) == 0, []string{"oidc.issuer", "oidc.roles"}, "without roles nobody whom the issuer names could do anything")
	l.contradiction(o.Issuer == "" && (o.Audience != "" || len(o.Roles) > 0 || o.CA != ""),
		[]string{"oidc.audience", "oidc.roles", "oidc.ca", "oidc.issuer"}, "they say how far an issuer is believed, and there is none")
}

func (l *loader) pairOfFiles() {
	h := &l.config.HTTP
	l.contradiction((h.Cert == "") != (h.Key == ""), []string{"http.cert", "http.key"}, "both or neither must be given")
	l.contradiction(h.ClientCA != "" && h.Cert == "", []string{"http.client_ca", "http.cert"}, "clients show certificates in TLS only")
	l.contradiction(h.Cert != "" && strings.HasPrefix(h.Advertise, "http://"), []string{"http.advertise", "http.cert"},
		"with a certificate the API speaks https, so clients must not be sent to http")
}

// inTheClear refuses what other machines could listen in on, unless that is asked for.
func (l *loader) inTheClear() {
	c := &l.config
	h, g := []string{"http.listen", "http.cert", "http.insecure"}, []string{"gossip.listen", "gossip.key_file", "gossip.insecure"}
	l.contradiction(!c.HTTP.Listen.loopback() && c.HTTP.Cert == "" && !c.HTTP.Insecure, h,
		"on an address that other machines reach tokens must not be sent in the clear; give http.cert and http.key, or set http.insecure to true")
	l.contradiction(!c.Gossip.Listen.loopback() && c.Gossip.KeyFile == "" && !c.Gossip.Insecure, g,
		"on an address that other machines reach gossip must be encrypted; give gossip.key_file, or set gossip.insecure to true")
	l.contradiction(c.HTTP.Cert != "" && c.HTTP.Insecure, h[1:], "with a certificate the API is not insecure; leave one of the two out")
	l.contradiction(c.Gossip.KeyFile != "" && c.Gossip.Insecure, g[1:], "with a key gossip is not insecure; leave one of the two out")
}

func (l *loader) listeners() {
	c := &l.config
	all := []struct {
		key    string
		listen HostPort
	}{{"node.listen", c.Node.Listen}, {"http.listen", c.HTTP.Listen}, {"gossip.listen", c.Gossip.Listen}}
	for i, a := range all {
		for _, b := range all[:i] {
			l.contradiction(a.listen.overlaps(b.listen), []string{a.key, b.key}, "two listeners cannot share an address")
		}
	}
}

// advertised catches a line that was copied and not changed. The same address as a consequence of the same
// listener is reported there.
func (l *loader) advertised() {
	c := &l.config
	l.contradiction(c.Node.Advertise == c.Gossip.Advertise && !c.Node.Listen.overlaps(c.Gossip.Listen),
		[]string{"gossip.advertise", "node.advertise"}, "one address cannot lead to two listeners")
}

// formation compares the expected size with the means of finding anybody. Only other nodes count: lists are shared
// by all nodes and hold this one too.
func (l *loader) formation() {
	c := &l.config
	if l.bad["node.advertise"] || l.bad["gossip.advertise"] {
		return // which addresses are this node's own is not known
	}
	other := func(list []HostPort, own HostPort) bool {
		return slices.ContainsFunc(list, func(h HostPort) bool { return h != own })
	}
	alone := !other(c.Cluster.Peers, c.Node.Advertise) && !other(c.Cluster.GossipSeeds, c.Gossip.Advertise)
	means := []string{"cluster.expect", "cluster.peers", "cluster.gossip_seeds"}
	l.contradiction(c.Cluster.Expect > 1 && alone, means, "a node that expects others needs the address of at least one")
	l.contradiction(c.Cluster.Expect == 1 && !alone, means,
		"a node that expects no others forms a cluster by itself, apart from the ones named; to join them, expect 3 or more")
}

// swappedLists catches node addresses among gossip addresses.
func (l *loader) swappedLists() {
	c := &l.config
	both := func(h HostPort) bool { return slices.Contains(c.Cluster.Peers, h) }
	l.contradiction(slices.ContainsFunc(c.Cluster.GossipSeeds, both),
		[]string{"cluster.gossip_seeds", "cluster.peers"}, "no address can be in both, as the first are for gossip and the second for Raft")
	l.contradiction(slices.Contains(c.Cluster.Peers, c.Gossip.Advertise),
		[]string{"cluster.peers", "gossip.advertise"}, "peers are node addresses, not gossip addresses")
	l.contradiction(slices.Contains(c.Cluster.GossipSeeds, c.Node.Advertise),
		[]string{"cluster.gossip_seeds", "node.advertise"}, "gossip seeds are gossip addresses, not node addresses")
}

// unreachable catches the default address left in place on a node whose peers are on other machines.
func (l *loader) unreachable() {
	c := &l.config
	elsewhere := func(h HostPort) bool { return isIP(h) && !h.loopback() }
	l.contradiction(c.Node.Advertise.loopback() && slices.ContainsFunc(c.Cluster.Peers, elsewhere),
		[]string{"node.advertise", "cluster.peers"}, "peers on other machines cannot reach a loopback address")
	l.contradiction(c.Gossip.Advertise.loopback() && slices.ContainsFunc(c.Cluster.GossipSeeds, elsewhere),
		[]string{"gossip.advertise", "cluster.gossip_seeds"}, "seeds on other machines cannot reach a loopback address")
}
