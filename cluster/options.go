package cluster

import (
	"crypto/ed25519"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/metrics"
	"github.com/licet/licet/transport"
)

// Options say what a node is and how it is bounded. All are required unless
// said otherwise.
type Options struct {
	ID, Site, Version string
	DataDir           string
	// Advertise is the node address that others reach this node at; HTTPAdvertise the URL of its API.
	Advertise, HTTPAdvertise string
	// Port is the shared TLS port, listening; the node takes it over and closes it.
	Port         *transport.Port
	Certificates *transport.Certificates
	// Dial opens connections to other nodes; over TCP if nil.
	Dial transport.Dial
	// Gossip is nil where Peers alone say who is there.
	Gossip *Gossip
	// Expect is how many nodes form a new cluster; Peers are their node addresses.
	Expect int
	Peers  []string
	// VendorKeys are the keys that a new cluster is initialised with.
	VendorKeys []ed25519.PublicKey

	HeartbeatTimeout, ElectionTimeout time.Duration
	SnapshotThreshold, TrailingLogs   uint64
	SnapshotInterval                  time.Duration

	// TrailFileBytes is the size of a file of the audit trail, TrailTotalBytes bounds all of them.
	TrailFileBytes, TrailTotalBytes int64

	// Queue bounds the writes, and the reads, that wait.
	Queue int
	// BatchCommands and BatchBytes bound one Raft entry.
	BatchCommands, BatchBytes int
	// RequestTimeout bounds every request.
	RequestTimeout time.Duration
	// MaxClockSkew is how far this node's clock may be from the others' (rule D3).
	MaxClockSkew time.Duration
	// Metrics take what the node measures; nil has metrics that nobody reads.
	Metrics *metrics.Metrics
	// Tracer takes the spans of writes that are traced already; nil has none.
	Tracer trace.Tracer
	// OpenStore opens Raft's log and votes, which the node closes; a boltdb file in DataDir if nil.
	OpenStore func() (Store, error)
	// Clock is the machine's if nil.
	Clock Clock
	// FreeSpace tells how many bytes the disk of a directory has left; the disk's own if nil.
	FreeSpace func(dir string) (uint64, error)
	// Nonvoter: the node never votes nor founds. It serves reads and forwards writes.
	Nonvoter bool
	// JoinToken proves that an operator wants this node in; empty where none is required.
	JoinToken string
	// Policy is the first one, see SetPolicy.
	Policy Policy
	// Log should have independent levels: a stopping node silences raft's and gossip's.
	Log hclog.Logger
}
