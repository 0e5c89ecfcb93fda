package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// maxNodeID is the longest id of a node, in bytes.
const maxNodeID = 63

// checkNodeID refuses what is no node id: a-z 0-9 and, not first, -.
func checkNodeID(field, id string) error {
	if id == "" || len(id) > maxNodeID {
		return fmt.Errorf("%s: its length of %d is not in 1 to %d", field, len(id), maxNodeID)
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && i > 0) {
			return fmt.Errorf("%s: %q is no node id (a-z, 0-9, then also -)", field, id)
		}
	}
	return nil
}

func (s *service) listMembers(c *call) (*answer, error) {
	list, err := s.Node.Members(c.ctx)
	if err != nil {
		return nil, err
	}
	if list.Members == nil {
		list.Members = []apiv1.Member{}
	}
	return ok(list), nil
}

func (s *service) removeMember(c *call) (*answer, error) {
	id := c.PathValue("id")
	if err := checkNodeID("id", id); err != nil {
		return nil, malformed([]fault{{"id", err.Error()}})
	}
	return done(s.Node.RemoveMember(c.ctx, id, c.principal))
}

func (s *service) transferLeadership(c *call) (*answer, error) {
	to := ""
	if c.form.has("to") {
		to = c.form.checked("to", checkNodeID)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return done(s.Node.TransferLeadership(c.ctx, to, c.principal))
}

func (s *service) listGossipKeys(c *call) (*answer, error) {
	list, err := s.Node.GossipKeys(c.ctx)
	if err != nil {
		return nil, err
	}
	return ok(list), nil
}

func (s *service) rotateGossipKey(c *call) (*answer, error) {
	rotated, err := s.Node.RotateGossipKey(c.ctx, c.principal)
	if err != nil {
		return nil, unknown(err, "Send the request again: a rotation that is under way is carried on.")
	}
	return ok(rotated), nil
}

// Bounds of a join token's life, and what it is if nobody says.
const (
	minJoinTTL, maxJoinTTL = 60, 24 * 3600
	defaultJoinTTL         = 3600
)

func (s *service) createJoinToken(c *call) (*answer, error) {
	node, ttl := c.form.checked("node", checkNodeID), uint64(defaultJoinTTL)
	if c.form.has("ttl_seconds") {
		ttl = c.form.number("ttl_seconds", minJoinTTL, maxJoinTTL)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	token, expires, err := s.Node.SignJoinToken(c.ctx, node, time.Duration(ttl)*time.Second)
	if err != nil {
		return nil, err
	}
	return ok(apiv1.JoinToken{Node: node, Token: token, Expires: expires}), nil
}

func (s *service) leaveCluster(c *call) (*answer, error) {
	return done(s.Node.Leave(c.ctx, c.principal))
}

// done answers a change of the cluster, which repeats harmlessly.
func done(err error) (*answer, error) {
	return &answer{status: http.StatusNoContent}, unknown(err, "Look at the members, and send the request again if it still is needed.")
}

func (s *service) getStatus(c *call) (*answer, error) {
	return ok(s.Node.Status(c.ctx)), nil
}

func (s *service) getHealth(*call) (*answer, error) {
	return ok(apiv1.Health{Status: apiv1.HealthStatusOk}), nil
}

func (s *service) getReadiness(*call) (*answer, error) {
	err := s.Node.Ready()
	var known NodeError
	switch {
	case err == nil:
		return ok(apiv1.Health{Status: apiv1.HealthStatusOk}), nil
	case errors.As(err, &known):
		return nil, err
	}
	// Nobody needs a token for this answer.
	p := problemf(apiv1.CodeNotReady, "The node is not ready; its log says why under this request id.")
	p.cause = err
	return nil, p
}

func (s *service) getDocument(*call) (*answer, error) {
	return ok(document{"application/yaml", OpenAPI}), nil
}
