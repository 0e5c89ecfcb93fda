package config

import (
	"fmt"
	"strings"
	"time"
)

// key is one row of the table: all there is to know about one key.
type key struct {
	name      string // section.key
	doc       string // meaning, and what follows from it
	def       string // default as one would write it; a list's items comma-separated; empty also for mandatory keys
	derived   string // what an empty value stands for, where it is derived from other keys
	mandatory bool
	reload    bool   // a running node takes a new value at SIGHUP
	example   string // value in Example where that cannot be the default
	kind             // how to read, check, write and describe the value
}

// sections gives the order and meaning of the sections. Names hold no underscore, so that LICET_<SECTION>_<KEY>
// can be read in one way only.
var sections = []struct{ name, doc string }{
	{"node", "This node: who it is, where its data is, and the TLS port that Raft and node RPC share."},
	{"http", "The HTTP API."},
	{"gossip", "Gossip (memberlist), UDP and TCP on one port. Only a hint for finding nodes: it admits nobody."},
	{"tls", "The certificates with which nodes prove themselves to each other (mutual TLS 1.3). There is no way to do without."},
	{"cluster", "How nodes find each other, and what they form at the very first start."},
	{"autopilot", "What the leader does by itself about the members. The leader's values count, so all nodes should have the same."},
	{"auth", "Who may use the API."},
	{"oidc", "An issuer of OpenID Connect whose tokens the API takes as well. The same on all nodes. Without oidc.issuer there is none."},
	{"raft", "Consensus. The defaults suit sites up to some 50 ms apart; further apart, raise both timeouts."},
	{"limits", "Bounds on what one node takes on. Beyond them it refuses at once instead of slowing down."},
	{"audit", "The audit trail in files of this node, below node.data_dir: what the replicated state has forgotten."},
	{"log", "The node's own log, on standard error."},
	{"tracing", "Traces of requests across nodes, sent to an OpenTelemetry collector. Without tracing.endpoint there are none."},
}

// keys is the table, in the order of Example.
var keys = []key{
	{
		name: "node.id", mandatory: true, example: "bordeaux",
		doc:  "Name of the node, unique in the cluster and never used again after a node was wiped. The certificate carries it.",
		kind: nodeName(func(c *Config) *string { return &c.Node.ID }, false),
	},
	{
		name: "node.site", derived: "node.id",
		doc:  "Name of the place where the node stands.",
		kind: nodeName(func(c *Config) *string { return &c.Node.Site }, true),
	},
	{
		name: "node.voter", def: "true",
		doc:  "Whether the node is to vote. A node with false is a read replica: it joins a cluster, serves reads, forwards writes, and counts for no majority. Changed to true, it is promoted; a voter stays one, and leaves and joins anew under another id to become a replica.",
		kind: truth(func(c *Config) *bool { return &c.Node.Voter }),
	},
	{
		name: "node.data_dir", mandatory: true, example: "/var/lib/licet",
		doc:  "Directory of the log, the snapshots and the node's identity; made if absent. One process at a time.",
		kind: fileName(func(c *Config) *string { return &c.Node.DataDir }, directory, false),
	},
	{
		name: "node.listen", def: "127.0.0.1:7101",
		doc:  "Address to listen on for other nodes.",
		kind: address(func(c *Config) *HostPort { return &c.Node.Listen }, parseListen, listenAllowed),
	},
	{
		name: "node.advertise", derived: "node.listen",
		doc:  "Address at which other nodes reach this one.",
		kind: address(func(c *Config) *HostPort { return &c.Node.Advertise }, optional(parseReachable), reachableAllowed),
	},

	{
		name: "http.listen", def: "127.0.0.1:7001",
		doc:  "Address to listen on for clients.",
		kind: address(func(c *Config) *HostPort { return &c.HTTP.Listen }, parseListen, listenAllowed),
	},
	{
		name: "http.advertise", derived: "http.listen, with https if http.cert is given and http if not",
		doc:  "Base URL at which clients reach this node; other nodes tell it to clients.",
		kind: baseURL(func(c *Config) *string { return &c.HTTP.Advertise }),
	},
	{
		name: "http.cert",
		doc:  "PEM file of the API's certificate chain, with the host names or addresses that clients use; tls.cert will do if it has them. Without it and http.key the API speaks plain HTTP, which only a loopback address allows.",
		kind: fileName(func(c *Config) *string { return &c.HTTP.Cert }, publicFile, true),
	},
	{
		name: "http.key",
		doc:  "PEM file of its private key, readable by its owner alone.",
		kind: fileName(func(c *Config) *string { return &c.HTTP.Key }, secretFile, true),
	},
	{
		name: "http.client_ca",
		doc:  "PEM file of authorities. With it, whoever connects to the API needs a certificate for use as client that one of them issued (`licet tls client`), besides the token; also health checks do.",
		kind: fileName(func(c *Config) *string { return &c.HTTP.ClientCA }, publicFile, true),
	},
	{
		name: "http.insecure", def: "false",
		doc:  "Allows plain HTTP on an address that other machines reach. Whoever sees the traffic can then read tokens and license keys, and use them.",
		kind: truth(func(c *Config) *bool { return &c.HTTP.Insecure }),
	},
	{
		name: "http.profiling", def: "false",
		doc:  "Serves profiles of the process below /debug/pprof/, to operators. They tell which functions run and what they hold, not of whom.",
		kind: truth(func(c *Config) *bool { return &c.HTTP.Profiling }),
	},

	{
		name: "gossip.listen", def: "127.0.0.1:7201",
		doc:  "Address to listen on for gossip.",
		kind: address(func(c *Config) *HostPort { return &c.Gossip.Listen }, onlyIP(parseListen), "ip:port with a port from 1 to 65535; memberlist takes no names here"),
	},
	{
		name: "gossip.advertise", derived: "gossip.listen",
		doc:  "Address at which other nodes reach this one's gossip.",
		kind: address(func(c *Config) *HostPort { return &c.Gossip.Advertise }, optional(onlyIP(parseReachable)), "ip:port with a port from 1 to 65535, one address and not 0.0.0.0 or ::; memberlist takes no names here"),
	},
	{
		name: "gossip.key_file",
		doc:  "File with the base64 of 16, 24 or 32 random bytes, the same on all nodes, readable by its owner alone; `licet tls init` and `licet gossip key make` write one. It is the first key: once keys are rotated, the ring in node.data_dir counts. Without it gossip is not encrypted, which only a loopback address allows.",
		kind: fileName(func(c *Config) *string { return &c.Gossip.KeyFile }, secretFile, true),
	},
	{
		name: "gossip.insecure", def: "false",
		doc:  "Allows unencrypted gossip on an address that other machines reach. Whoever reaches it can then make nodes believe that others are there or gone; gossip still admits nobody.",
		kind: truth(func(c *Config) *bool { return &c.Gossip.Insecure }),
	},

	{
		name: "tls.ca", mandatory: true, example: "ca.pem",
		doc:  "PEM file of the cluster's own authority. Whoever it certifies as a node is admitted.",
		kind: fileName(func(c *Config) *string { return &c.TLS.CA }, publicFile, false),
	},
	{
		name: "tls.cert", mandatory: true, example: "bordeaux.pem",
		doc:  "PEM file of this node's certificate, with the URI licet:node:<node.id>, and licet-site:<node.site> if it is to bind the node to its site. `licet tls check` says what is wrong with one.",
		kind: fileName(func(c *Config) *string { return &c.TLS.Cert }, publicFile, false),
	},
	{
		name: "tls.key", mandatory: true, example: "bordeaux-key.pem",
		doc:  "PEM file of its private key, readable by its owner alone.",
		kind: fileName(func(c *Config) *string { return &c.TLS.Key }, secretFile, false),
	},

	{
		name: "cluster.expect", mandatory: true, example: "3",
		doc:  "How many nodes form the cluster at the very first start; all of them state the same number. Without meaning once the cluster exists. No default: a wrong 1 would make two clusters.",
		kind: formation(func(c *Config) *int { return &c.Cluster.Expect }),
	},
	{
		name: "cluster.peers", example: "127.0.0.1:7101, 127.0.0.1:7102, 127.0.0.1:7103",
		doc:  "Node addresses (their node.advertise) to find the cluster by. This node's own may be among them, so that all nodes share one list.",
		kind: addresses(func(c *Config) *[]HostPort { return &c.Cluster.Peers }),
	},
	{
		name: "cluster.gossip_seeds", example: "127.0.0.1:7201, 127.0.0.1:7202, 127.0.0.1:7203",
		doc:  "Gossip addresses (their gossip.advertise) to find the cluster by, likewise.",
		kind: addresses(func(c *Config) *[]HostPort { return &c.Cluster.GossipSeeds }),
	},
	{
		name: "cluster.vendor_keys", mandatory: true, example: "vendor.pub",
		doc:  "Files of the vendor's public keys. Read only when the cluster is formed; from then on the keys are part of its state.",
		kind: fileNames(func(c *Config) *[]string { return &c.Cluster.VendorKeys }, 16),
	},
	{
		name: "cluster.join_token_file",
		doc:  "File with the join token that `licet cluster join-token` made for this node, readable by its owner alone. Used once, to join: remove the key and the file afterwards.",
		kind: fileName(func(c *Config) *string { return &c.Cluster.JoinTokenFile }, secretFile, true),
	},
	{
		name: "cluster.require_join_token", def: "false", reload: true,
		doc:  "Whether a node needs a join token to join, besides a certificate of the cluster's authority. The same on all nodes: the leader's counts.",
		kind: truth(func(c *Config) *bool { return &c.Cluster.RequireJoinToken }),
	},
	{
		name: "cluster.preferred_sites", reload: true,
		doc:  "Sites in the order in which they should have the leader, best first; sites that are not named come last. Empty leaves leadership where elections put it. The same on all nodes: leadership moves only to a node with the same list.",
		kind: many(func(c *Config) *[]string { return &c.Cluster.PreferredSites }, parseName, itself, nameAllowed, 16),
	},

	{
		name: "autopilot.stabilisation", def: "3s", reload: true,
		doc:  "How long a node that has joined must be healthy before it becomes a voter.",
		kind: duration(func(c *Config) *time.Duration { return &c.Autopilot.Stabilisation }, 100*time.Millisecond, time.Hour),
	},
	{
		name: "autopilot.preferred_after", def: "30s", reload: true,
		doc:  "How long a voter of a better site must be healthy, and the leader in office, before leadership moves there.",
		kind: duration(func(c *Config) *time.Duration { return &c.Autopilot.PreferredAfter }, time.Second, 24*time.Hour),
	},
	{
		name: "autopilot.remove_dead_after", def: "0s", reload: true,
		doc:  "How long a member must be silent before the leader removes it for good; 0s is never. Removal shrinks the quorum: keep it off unless replacements come by themselves.",
		kind: durationOrNever(func(c *Config) *time.Duration { return &c.Autopilot.RemoveDeadAfter }, time.Minute, 30*24*time.Hour),
	},
	{
		name: "autopilot.min_voters", def: "3", reload: true,
		doc:  "The leader removes no dead voter if fewer than this would be left.",
		kind: number(func(c *Config) *int { return &c.Autopilot.MinVoters }, 1, 9, "voters"),
	},

	{
		name: "auth.operator_token_file", mandatory: true, example: "token",
		doc:  "File of a bearer token that may do everything, readable by its owner alone: for `licet token bootstrap`, and for the day on which all other tokens are lost. Keep it on the nodes; whoever else asks gets a token with a role (`licet token create`).",
		kind: fileName(func(c *Config) *string { return &c.Auth.OperatorTokenFile }, secretFile, false),
	},
	{
		name: "auth.metrics_token_file",
		doc:  "File of a bearer token that opens /metrics and nothing else, for Prometheus; readable by its owner alone. Without it /metrics takes the operator's token only.",
		kind: fileName(func(c *Config) *string { return &c.Auth.MetricsTokenFile }, secretFile, true),
	},

	{
		name: "oidc.issuer",
		doc:  "The issuer, exactly as its tokens and its discovery document name it. It is asked for its keys when there is a token to verify; that it is down holds up nothing else.",
		kind: issuerName(func(c *Config) *string { return &c.OIDC.Issuer }),
	},
	{
		name: "oidc.audience",
		doc:  "What a token must be for (its aud): a name that the issuer gives to licet alone, or tokens for something else would do as well.",
		kind: claimText(func(c *Config) *string { return &c.OIDC.Audience }, true),
	},
	{
		name: "oidc.ca",
		doc:  "PEM file of the authorities that the issuer's certificate leads to. Without it those of the system.",
		kind: fileName(func(c *Config) *string { return &c.OIDC.CA }, publicFile, true),
	},
	{
		name: "oidc.group_claim", def: "groups",
		doc:  "The claim that names the groups of whom a token is for: a text, or a list of them. If there is none of this name, dots lead into objects (realm_access.roles).",
		kind: claimText(func(c *Config) *string { return &c.OIDC.GroupClaim }, false),
	},
	{
		name: "oidc.roles",
		doc:  "Which group has which role: ROLE GROUP, or ROLE?SCOPE GROUP with a scope as `licet tls client` writes it (site=, instance=, pool=, user=), or with user_claim= the claim that names the only user of a client. The first that fits counts; docs/roles.md has examples. In the environment and with --set a group can't have a comma.",
		kind: many(func(c *Config) *[]string { return &c.OIDC.Roles }, parseGrant, itself, grantAllowed, 64),
	},

	{
		name: "raft.heartbeat_timeout", def: "500ms",
		doc:  "Silence of the leader after which a follower becomes a candidate. A leader that hears from no majority steps down after half of it.",
		kind: duration(func(c *Config) *time.Duration { return &c.Raft.HeartbeatTimeout }, 20*time.Millisecond, time.Minute),
	},
	{
		name: "raft.election_timeout", def: "500ms",
		doc:  "How long a candidate waits for votes before it tries again. At least raft.heartbeat_timeout.",
		kind: duration(func(c *Config) *time.Duration { return &c.Raft.ElectionTimeout }, 20*time.Millisecond, time.Minute),
	},
	{
		name: "raft.snapshot_threshold", def: "8192",
		doc:  "Log entries since the last snapshot that make another one due.",
		kind: number(func(c *Config) *uint64 { return &c.Raft.SnapshotThreshold }, 1, 10_000_000, "entries"),
	},
	{
		name: "raft.snapshot_interval", def: "30s",
		doc:  "How often to look whether a snapshot is due (at random between once and twice this).",
		kind: duration(func(c *Config) *time.Duration { return &c.Raft.SnapshotInterval }, 50*time.Millisecond, 24*time.Hour),
	},
	{
		name: "raft.trailing_logs", def: "10240",
		doc:  "Log entries kept behind a snapshot. A follower that missed no more catches up from the log instead of taking a whole snapshot; keep 10240 or more in production. Independent of raft.snapshot_threshold: fewer only means that more followers take a snapshot.",
		kind: number(func(c *Config) *uint64 { return &c.Raft.TrailingLogs }, 1, 10_000_000, "entries"),
	},

	{
		name: "limits.queue", def: "4096",
		doc:  "Proposals waiting on this node. When it is full, writes are answered 503 with Retry-After.",
		kind: number(func(c *Config) *int { return &c.Limits.Queue }, 1, 1_000_000, "proposals"),
	},
	{
		name: "limits.batch_commands", def: "512",
		doc:  "Commands that share one Raft entry at most.",
		kind: number(func(c *Config) *int { return &c.Limits.BatchCommands }, 1, 4096, "commands"),
	},
	{
		name: "limits.batch_bytes", def: "1 MiB",
		doc:  "Size of one Raft entry at most. Raft sends up to 64 entries at once, and heartbeats must not wait behind them for long.",
		kind: size(func(c *Config) *ByteSize { return &c.Limits.BatchBytes }, 4<<10, 4<<20),
	},
	{
		name: "limits.body_bytes", def: "1 MiB", reload: true,
		doc:  "Size of a request's body at most. Not above limits.batch_bytes, as its command must fit into one entry.",
		kind: size(func(c *Config) *ByteSize { return &c.Limits.BodyBytes }, 1<<10, 4<<20),
	},
	{
		name: "limits.max_clock_skew", def: "5s", reload: true,
		doc:  "How far this node's clock may be from the others' before it no longer stamps commands.",
		kind: duration(func(c *Config) *time.Duration { return &c.Limits.MaxClockSkew }, 10*time.Millisecond, 10*time.Minute),
	},
	{
		name: "limits.request_timeout", def: "10s",
		doc:  "How long a request may take where the client sets no deadline. Above raft.election_timeout, or no request could outlive an election.",
		kind: duration(func(c *Config) *time.Duration { return &c.Limits.RequestTimeout }, 100*time.Millisecond, 10*time.Minute),
	},
	{
		name: "limits.rate_principal", def: "1000", reload: true,
		doc:  "Requests a second of one API token or client certificate; 0 is no limit. A bulk counts its items. Beyond it requests are answered 429 with Retry-After. Each node counts what comes to it. The token of auth.operator_token_file has no limit.",
		kind: number(func(c *Config) *int { return &c.Limits.RatePrincipal }, 0, 10_000_000, "requests a second"),
	},
	{
		name: "limits.rate_principal_burst", def: "2000", reload: true,
		doc:  "How many of them may come at once, after a rest.",
		kind: number(func(c *Config) *int { return &c.Limits.RatePrincipalBurst }, 1, 10_000_000, "requests"),
	},
	{
		name: "limits.rate_address", def: "5000", reload: true,
		doc:  "Requests a second of one IPv4 address or IPv6 /64, whoever asks; 0 is no limit. A whole site may be behind one address. The node's own machine has no such limit, nor have clients behind a proxy on it. X-Forwarded-For is not believed.",
		kind: number(func(c *Config) *int { return &c.Limits.RateAddress }, 0, 10_000_000, "requests a second"),
	},
	{
		name: "limits.rate_address_burst", def: "10000", reload: true,
		doc:  "How many of them may come at once, after a rest.",
		kind: number(func(c *Config) *int { return &c.Limits.RateAddressBurst }, 1, 10_000_000, "requests"),
	},
	{
		name: "limits.rate_unknown", def: "20", reload: true,
		doc:  "Requests a second of one address, loopback included, that did not prove who asks (those answered 401); 0 is no limit. Beyond it only API tokens and certificates are looked at, which nobody guesses, and not the tokens of auth.",
		kind: number(func(c *Config) *int { return &c.Limits.RateUnknown }, 0, 10_000_000, "requests a second"),
	},
	{
		name: "limits.rate_unknown_burst", def: "200", reload: true,
		doc:  "How many of them may come at once, after a rest.",
		kind: number(func(c *Config) *int { return &c.Limits.RateUnknownBurst }, 1, 10_000_000, "requests"),
	},
	{
		name: "limits.connections", def: "8192",
		doc:  "Open connections to the API. One more is closed at once.",
		kind: number(func(c *Config) *int { return &c.Limits.Connections }, 16, 1_000_000, "connections"),
	},
	{
		name: "limits.connections_each", def: "1024",
		doc:  "The same of one IPv4 address or IPv6 /64; a whole site may be behind one address.",
		kind: number(func(c *Config) *int { return &c.Limits.ConnectionsEach }, 1, 1_000_000, "connections"),
	},
	{
		name: "limits.waits", def: "1000",
		doc:  "Requests that wait for a change of their ticket, or take a CPU profile. One more is answered 503 with Retry-After.",
		kind: number(func(c *Config) *int { return &c.Limits.Waits }, 1, 1_000_000, "requests"),
	},
	{
		name: "limits.waits_each", def: "250",
		doc:  "The same of one API token or certificate, and of one address.",
		kind: number(func(c *Config) *int { return &c.Limits.WaitsEach }, 1, 1_000_000, "requests"),
	},

	{
		name: "audit.file_bytes", def: "64 MiB",
		doc:  "Size at which a file of the audit trail is followed by the next one.",
		kind: size(func(c *Config) *ByteSize { return &c.Audit.FileBytes }, 64<<10, 1<<30),
	},
	{
		name: "audit.total_bytes", def: "1 GiB",
		doc:  "Size of all files of the audit trail together; beyond it the oldest file is removed. A row takes about 600 bytes. At least twice audit.file_bytes. To keep more, copy files away: they verify anywhere.",
		kind: size(func(c *Config) *ByteSize { return &c.Audit.TotalBytes }, 128<<10, 1<<40),
	},
	{
		name: "audit.copy_file",
		doc:  "File to which this node copies each row of the audit trail as a line of JSON. It may be moved away at any time (logrotate): a new one is begun. `licet audit verify --file` verifies it.",
		kind: fileName(func(c *Config) *string { return &c.Audit.CopyFile }, notAFile, true),
	},
	{
		name: "audit.copy_syslog",
		doc:  "Receiver to which this node sends each row of the audit trail as a syslog message (RFC 5424). Over tls and tcp the messages are counted (RFC 6587); udp and a local socket lose what their receiver does not take.",
		kind: syslog(func(c *Config) *string { return &c.Audit.CopySyslog }),
	},
	{
		name: "audit.copy_syslog_ca",
		doc:  "PEM file of the authorities of a receiver that is reached over tls. Without it those of the system are believed.",
		kind: fileName(func(c *Config) *string { return &c.Audit.CopySyslogCA }, publicFile, true),
	},

	{
		name: "log.level", def: "info", reload: true,
		doc:  "Least level that is logged.",
		kind: choice(func(c *Config) *string { return &c.Log.Level }, "trace", "debug", "info", "warn", "error"),
	},
	{
		name: "log.format", def: "text",
		doc:  "Lines for people or one JSON object a line.",
		kind: choice(func(c *Config) *string { return &c.Log.Format }, "text", "json"),
	},

	{
		name: "tracing.endpoint",
		doc:  "Where spans go, by OTLP over HTTP: the collector's address, to which /v1/traces is added where it has no path. Headers that the collector asks for, and its authority, are read from OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE.",
		kind: collector(func(c *Config) *string { return &c.Tracing.Endpoint }),
	},
	{
		name: "tracing.ratio", def: "1",
		doc:  "Which part of the requests is traced. Where a request comes with a traceparent header, that decides instead.",
		kind: ratio(func(c *Config) *float64 { return &c.Tracing.Ratio }),
	},
}

// keyNamed finds a row; the table is short enough to walk.
func keyNamed(name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// knownOrNone is name if that is a key.
func knownOrNone(name string) string {
	if keyNamed(name) == nil {
		return ""
	}
	return name
}

func (k *key) section() string { s, _, _ := strings.Cut(k.name, "."); return s }
func (k *key) short() string   { _, s, _ := strings.Cut(k.name, "."); return s }

// env is the variable that overrides the key.
func (k *key) env() string { return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_")) }

// split takes a value apart as it stands in the environment or an override. An empty list has no items.
func (k *key) split(text string) []string {
	if !k.list {
		return []string{text}
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// within lists a section's keys, for errors.
func within(section string) string {
	var names []string
	for i := range keys {
		if keys[i].section() == section {
			names = append(names, keys[i].short())
		}
	}
	return strings.Join(names, ", ")
}

func sectionNames() string {
	names := make([]string, 0, len(sections))
	for _, s := range sections {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// unknown says what is allowed instead of section.key.
func unknown(section string) string {
	if names := within(section); names != "" {
		return fmt.Sprintf("unknown key; allowed in %s: %s", section, names)
	}
	return "unknown section; allowed: " + sectionNames()
}
