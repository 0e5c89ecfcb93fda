package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// maxFrame bounds one message between nodes, in bytes.
const maxFrame = 16 << 20

// peers keeps one RPC connection per node address, made when it is first used.
// Safe for concurrent use.
type peers struct {
	certificates *transport.Certificates
	refusals     *Refusals
	// dial opens connections; gRPC's own, over TCP, if nil. Set before the first one.
	dial transport.Dial
	// nodeAt returns the id of the member at an address, "" if none is known there.
	nodeAt func(address string) string
	// steady reads the steady clock.
	steady func() time.Time
	// heard is told of each answer to a probe; set before the first one.
	heard func(*clusterpb.ProbeReply)

	mu    sync.Mutex
	conns map[peer]*grpc.ClientConn
}

// peer is where a connection leads and who must answer there, if that is known.
type peer struct{ address, id string }

func newPeers(certificates *transport.Certificates, refusals *Refusals, nodeAt func(string) string, steady func() time.Time) *peers {
	return &peers{certificates: certificates, refusals: refusals, nodeAt: nodeAt, steady: steady, conns: map[peer]*grpc.ClientConn{}}
}

func (p *peers) at(address string) (clusterpb.NodeClient, error) {
	key := peer{address, p.nodeAt(address)}
	p.mu.Lock()
	defer p.mu.Unlock()
	conn := p.conns[key]
	if conn == nil {
		options := []grpc.DialOption{
			grpc.WithTransportCredentials(p.certificates.ClientCredentials(key.id, p.refusals.unlike)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 2 * time.Second,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxFrame), grpc.MaxCallSendMsgSize(maxFrame)),
		}
		if p.dial != nil {
			options = append(options, grpc.WithContextDialer(p.dial))
		}
		var err error
		if conn, err = grpc.NewClient("passthrough:///"+address, options...); err != nil {
			return nil, err
		}
		p.conns[key] = conn
	}
	return clusterpb.NewNodeClient(conn), nil
}

// keep closes the connections to all but these.
func (p *peers) keep(members map[peer]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for key, conn := range p.conns {
		if !members[key] {
			errs = append(errs, conn.Close())
			delete(p.conns, key)
		}
	}
	return errors.Join(errs...)
}

func (p *peers) close() error { return p.keep(nil) }

// probe asks all addresses at once and returns the answers that came in time.
func (p *peers) probe(ctx context.Context, addresses []string, request *clusterpb.ProbeRequest) map[string]probed {
	results := make(chan probed, len(addresses))
	for _, address := range addresses {
		go func() { results <- p.probeOne(ctx, address, request) }()
	}
	answers := make(map[string]probed, len(addresses))
	for range addresses {
		if r := <-results; r.err == nil {
			answers[r.address] = r
		}
	}
	return answers
}

// probed is a node's answer, or why there is none, and when it was asked and answered.
type probed struct {
	address string
	reply   *clusterpb.ProbeReply
	err     error
	// asked and replied are readings of the steady clock.
	asked, replied time.Time
}

func (p *peers) probeOne(ctx context.Context, address string, request *clusterpb.ProbeRequest) probed {
	result := probed{address: address, asked: p.steady()}
	client, err := p.at(address)
	if err != nil {
		result.err = err
		return result
	}
	var other grpcpeer.Peer
	result.reply, result.err = client.Probe(ctx, request, grpc.Peer(&other))
	result.replied = p.steady()
	if result.err == nil {
		if result.err = transport.CheckPeer(&other, result.reply.Node, result.reply.Site); result.err != nil {
			p.refusals.unlike(address, result.err)
		}
	}
	if result.err == nil && p.heard != nil {
		p.heard(result.reply)
	}
	return result
}

// difference is how far the other clock is ahead of this one, as of half way through the call.
func (a probed) difference(own Clock) time.Duration {
	wall, steady := own.Now()
	mine := wall.Add(-steady.Sub(a.asked)).Add(a.replied.Sub(a.asked) / 2)
	return time.UnixMilli(a.reply.WallMs).Sub(mine)
}
