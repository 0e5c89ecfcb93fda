// Package config turns one YAML file, the environment and command-line overrides into one validated [Config].
//
// A key is written section.key. The environment (LICET_<SECTION>_<KEY>) overrides the file, and an override
// (section.key=value) overrides both; lists are comma-separated in these two. Every source must be right on its
// own: a bad value in the file stays an error when something else overrides it, because the override may be gone
// at the next start.
//
// All that the package knows about a key stands in one table (keys.go). File, environment, overrides, defaults,
// [Example], [Reference] and [Config.CheckFiles] are all made from it.
package config

import (
	"slices"
	"time"
)

// Config is a node's whole configuration. A value that [Load] returned is complete: defaults are filled in,
// derived values derived, and relative file names resolved. It is plain data: copy it freely, and share it between
// goroutines as long as nobody writes.
type Config struct {
	Node      Node
	HTTP      HTTP
	Gossip    Gossip
	TLS       TLS
	Cluster   Cluster
	Autopilot Autopilot
	Auth      Auth
	OIDC      OIDC
	Raft      Raft
	Limits    Limits
	Audit     Audit
	Log       Log
	Tracing   Tracing
}

// Node is this node's identity, its data and the TLS port that Raft and node RPC share.
type Node struct {
	ID      string // also the Raft server id and the name in the certificate
	Site    string // where the node stands; the id if not given
	Voter   bool   // false for a read replica
	DataDir string
	Listen  HostPort
	// Advertise is what the other nodes dial; it never is an unspecified address.
	Advertise HostPort
}

// HTTP is the port of the API.
type HTTP struct {
	Listen HostPort
	// Advertise is the base URL that nodes tell clients, without a slash at its end.
	Advertise string
	// Cert and Key are PEM files, both given or both empty; empty means plain HTTP.
	Cert string
	Key  string
	// ClientCA is a PEM file; if not empty, clients need a certificate that leads to it.
	ClientCA string
	// Insecure allows plain HTTP on an address that other machines reach.
	Insecure bool
	// Profiling serves profiles of the process to operators.
	Profiling bool
}

// Gossip is memberlist's port, UDP and TCP. Both hosts are IP addresses, as memberlist takes no names.
type Gossip struct {
	Listen    HostPort
	Advertise HostPort
	// KeyFile holds base64 of 16, 24 or 32 bytes; empty means unencrypted gossip.
	KeyFile string
	// Insecure allows unencrypted gossip on an address that other machines reach.
	Insecure bool
}

// TLS names the PEM files with which nodes prove themselves to each other.
type TLS struct {
	CA   string
	Cert string
	Key  string
}

// Cluster is how a node finds the others, and what they form the first time.
type Cluster struct {
	// Expect is the number of nodes of the first formation: 1, 3, 5, 7 or 9.
	Expect int
	// Peers are node addresses ([Node.Advertise] of others; the node's own may be among them).
	Peers []HostPort
	// GossipSeeds are gossip addresses, likewise.
	GossipSeeds []HostPort
	// VendorKeys are files of public keys, read only when the cluster is formed.
	VendorKeys []string
	// JoinTokenFile holds what lets this node join where a token is required; empty if none is.
	JoinTokenFile    string
	RequireJoinToken bool
	// PreferredSites should have the leader, best first; empty for no preference.
	PreferredSites []string
}

// Autopilot is what the leader does by itself about the members.
type Autopilot struct {
	Stabilisation   time.Duration // of a node before it becomes a voter
	PreferredAfter  time.Duration // of a better site before it gets the leader
	RemoveDeadAfter time.Duration // 0: never
	MinVoters       int
}

// Auth is what admits to the API.
type Auth struct {
	OperatorTokenFile string
	// MetricsTokenFile is of a token that opens /metrics alone; empty means that there is none.
	MetricsTokenFile string
}

// OIDC is the issuer of OpenID Connect whose tokens the API takes.
type OIDC struct {
	// Issuer is an https URL, exactly as the issuer writes it; empty means that there is none.
	Issuer string
	// Audience is what tokens must be for; given if Issuer is.
	Audience string
	// CA is a PEM file of the authorities that the issuer's certificate leads to; empty means the system's.
	CA string
	// GroupClaim is the claim that names groups.
	GroupClaim string
	// Roles are "ROLE GROUP" or "ROLE?SCOPE GROUP", whose parts this package does not know; at least one if Issuer is given.
	Roles []string
}

// Raft holds the timing and log retention of consensus.
type Raft struct {
	HeartbeatTimeout  time.Duration
	ElectionTimeout   time.Duration // never below HeartbeatTimeout
	SnapshotThreshold uint64        // log entries since the last snapshot
	SnapshotInterval  time.Duration
	TrailingLogs      uint64 // log entries
}

// LeaderLeaseTimeout is how long a leader that hears from no majority keeps its leadership. It is derived, not
// configured: half of the heartbeat timeout, as in Raft's own defaults, so that a cut-off leader stops accepting writes
// before the others usually elect a new one. (Raft refuses a lease longer than the heartbeat timeout.)
func (r Raft) LeaderLeaseTimeout() time.Duration { return r.HeartbeatTimeout / 2 }

// Limits bounds what one node takes on.
type Limits struct {
	Queue          int // proposals waiting
	BatchCommands  int // commands in one Raft entry
	BatchBytes     ByteSize
	BodyBytes      ByteSize // never above BatchBytes
	MaxClockSkew   time.Duration
	RequestTimeout time.Duration // always above Raft.ElectionTimeout

	// Requests a second, 0 for no limit, and how many at once.
	RatePrincipal, RatePrincipalBurst int
	RateAddress, RateAddressBurst     int
	RateUnknown, RateUnknownBurst     int

	Connections, ConnectionsEach int // open at a time; of one address
	Waits, WaitsEach             int // requests that wait for a ticket; of one principal, or address
}

// Audit bounds the files of the audit trail.
type Audit struct {
	FileBytes  ByteSize
	TotalBytes ByteSize // at least twice FileBytes
	// CopyFile is a file that rows are copied to, CopySyslog the URL of a receiver of syslog; empty means none.
	CopyFile   string
	CopySyslog string
	// CopySyslogCA is a PEM file of the authorities of a receiver with TLS; empty means those of the system.
	CopySyslogCA string
}

// Log is the node's own log, on standard error.
type Log struct {
	Level  string // trace, debug, info, warn or error
	Format string // text or json
}

// Tracing sends spans of requests to a collector.
type Tracing struct {
	// Endpoint is a URL with its path; empty means that there is no tracing.
	Endpoint string
	// Ratio is how many of the requests are traced whose sender says nothing of it, from 0 to 1.
	Ratio float64
}

// Defaults returns the configuration that an empty file would give if no key were mandatory: mandatory keys and
// those derived from others (the three advertise keys and node.site) are empty.
func Defaults() Config {
	var c Config
	for i := range keys {
		if !keys[i].mandatory {
			keys[i].set(&c, keys[i].split(keys[i].def))
		}
	}
	return c
}

// Changed names the keys whose values differ: those that a running node takes over, and those that need a restart. What
// files hold is not compared, only their names.
func Changed(from, to Config) (reloaded, fixed []string) {
	for i := range keys {
		k := &keys[i]
		switch {
		case slices.Equal(k.get(&from), k.get(&to)):
		case k.reload:
			reloaded = append(reloaded, k.name)
		default:
			fixed = append(fixed, k.name)
		}
	}
	return reloaded, fixed
}

// clientEnvironment belongs to the command line's client side, not to a node's configuration.
var clientEnvironment = []string{
	"LICET_TOKEN", "LICET_TOKEN_FILE", "LICET_ENDPOINTS", "LICET_OUTPUT", "LICET_TIMEOUT", "LICET_CA",
	"LICET_CLIENT_CERT", "LICET_CLIENT_KEY",
}

// ClientEnvironment returns the variables that begin with LICET_ and yet are no keys: the client reads them, [Load]
// passes them by. The slice is the caller's.
func ClientEnvironment() []string { return append([]string(nil), clientEnvironment...) }
