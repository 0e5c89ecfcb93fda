package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// Members lists the members of the cluster.
func (c *Client) Members(ctx context.Context) (*Answer[apiv1.MemberList], error) {
	return call[apiv1.MemberList](ctx, c, get("/v1/cluster/members", nil), nil)
}

// RemoveMember removes a member from the cluster, for good: its id is not used
// again. If an attempt broke and a later one finds no such member, it is done.
func (c *Client) RemoveMember(ctx context.Context, id string) (*Answer[struct{}], error) {
	if err := checkNodeID(id); err != nil {
		return nil, refused(err)
	}
	r, err := change(ctx, "DELETE", "/v1/cluster/members/"+url.PathEscape(id), nil)
	return call[struct{}](ctx, c, r, err)
}

// TransferLeadership moves leadership to a voter; empty means the best that is there, of
// the most preferred site, then the most up to date. An attempt whose outcome is unknown is not repeated.
func (c *Client) TransferLeadership(ctx context.Context, to string) (*Answer[struct{}], error) {
	var body apiv1.Transfer
	if to != "" {
		if err := checkNodeID(to); err != nil {
			return nil, refused(err)
		}
		body.To = &to
	}
	r, err := change(ctx, "POST", "/v1/cluster/transfer", body)
	if err == nil {
		r.once = true
	}
	return call[struct{}](ctx, c, r, err)
}

// GossipKeys tells which gossip keys each member has, by the beginnings of their hashes.
func (c *Client) GossipKeys(ctx context.Context) (*Answer[apiv1.GossipKeyList], error) {
	return call[apiv1.GossipKeyList](ctx, c, get("/v1/cluster/gossip-key", nil), nil)
}

// RotateGossipKey has all members use a new gossip key and forget the old one. An
// attempt whose outcome is unknown is not repeated: that could make a second key.
func (c *Client) RotateGossipKey(ctx context.Context) (*Answer[apiv1.GossipKeyRotation], error) {
	r, err := change(ctx, "POST", "/v1/cluster/gossip-key/rotate", nil)
	if err == nil {
		r.once = true
	}
	return call[apiv1.GossipKeyRotation](ctx, c, r, err)
}

// CreateJoinToken makes a token with which the node of an id can join where one is required, good for a
// time of whole seconds; 0 is an hour. It is a secret, and stored nowhere.
func (c *Client) CreateJoinToken(ctx context.Context, node string, lasts time.Duration) (*Answer[apiv1.JoinToken], error) {
	if err := checkNodeID(node); err != nil {
		return nil, refused(err)
	}
	body := apiv1.JoinTokenRequest{Node: node}
	if lasts != 0 && lasts < time.Second {
		return nil, refused(fmt.Errorf("lasts: %s is less than a second", lasts))
	}
	if lasts != 0 {
		seconds := uint64(lasts / time.Second) //nolint:gosec // G115: a duration or a time after 1970, which is not negative
		body.TTLSeconds = &seconds
	}
	r, err := change(ctx, "POST", "/v1/cluster/join-tokens", body)
	return call[apiv1.JoinToken](ctx, c, r, err)
}

// Leave has a node leave the cluster. The client must have that node's endpoint
// only, see At, lest another one leaves. It is asked once.
func (c *Client) Leave(ctx context.Context) (*Answer[struct{}], error) {
	if len(c.endpoints) != 1 {
		return nil, refused(fmt.Errorf("of %d endpoints it is not clear which node is to leave", len(c.endpoints)))
	}
	r, err := change(ctx, "POST", "/v1/cluster/leave", nil)
	if err == nil {
		r.once, r.here = true, true
	}
	return call[struct{}](ctx, c, r, err)
}

// Status returns what a node knows of itself: of the first endpoint that
// answers, each being asked once. Use At for a certain node's.
func (c *Client) Status(ctx context.Context) (*Answer[apiv1.NodeStatus], error) {
	return call[apiv1.NodeStatus](ctx, c, local("/v1/status"), nil)
}

// Health says that a node's process answers; endpoints are asked as by Status.
func (c *Client) Health(ctx context.Context) (*Answer[apiv1.Health], error) {
	return call[apiv1.Health](ctx, c, local("/healthz"), nil)
}

// Ready says whether a node can serve now: an error tells why not. Endpoints
// are asked as by Status.
func (c *Client) Ready(ctx context.Context) (*Answer[apiv1.Health], error) {
	return call[apiv1.Health](ctx, c, local("/readyz"), nil)
}

// OpenAPI returns the document that describes the interface, as YAML.
func (c *Client) OpenAPI(ctx context.Context) (*Answer[[]byte], error) {
	r := local("/v1/openapi.yaml")
	r.accept = "application/yaml"
	return call[[]byte](ctx, c, r, nil)
}

// Metrics returns what a node measures, in Prometheus' text format; endpoints are asked as by Status.
func (c *Client) Metrics(ctx context.Context) (*Answer[[]byte], error) {
	r := local("/metrics")
	r.accept = "text/plain"
	return call[[]byte](ctx, c, r, nil)
}

// Profile takes a profile of a node's process for the tool pprof: "profile" of the processors' time, for so long (whole seconds, at most MaxWait,
// 0 means 30 s), or "allocs", "goroutine" or "heap", which take none. The node needs `http.profiling`; without it the problem is profiling_off. Endpoints are
// asked as by Status.
func (c *Client) Profile(ctx context.Context, name string, length time.Duration) (*Answer[[]byte], error) {
	r := local("/debug/pprof/" + url.PathEscape(name))
	r.accept = "application/octet-stream"
	if name == "profile" {
		r.wait = min(cmp.Or(length, 30*time.Second), MaxWait).Truncate(time.Second)
		r.query = url.Values{"seconds": {strconv.Itoa(int(r.wait / time.Second))}}
	}
	return call[[]byte](ctx, c, r, nil)
}

// checkNodeID keeps an id from becoming another path; the node checks the rest.
func checkNodeID(id string) error {
	if id == "" {
		return errors.New("node id: it is missing")
	}
	bad := func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }
	if len(id) > 63 || id[0] == '-' || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("node id: %.80q is none (a-z, 0-9, then also -)", id)
	}
	return nil
}
