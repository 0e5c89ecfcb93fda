package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"strconv"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// formerOperator is the only actor that builds know whose frames carry no principal.
const formerOperator = "operator"

// self is the node as the one who asks. Other nodes believe it because of its certificate.
func (n *Node) self() fsm.Principal {
	return fsm.Principal{Kind: fsm.ByProcess, ID: n.options.ID, Role: fsm.Root}
}

func principalProto(p fsm.Principal) *clusterpb.Principal {
	return &clusterpb.Principal{Kind: string(p.Kind), Id: p.ID, Role: string(p.Role), Scope: p.Scope.Proto()}
}

// forwardedBy is whom the sender of a frame authenticated. A build that knows no principals knows one actor alone; for
// whatever else comes without a principal nobody answers.
func forwardedBy(f *clusterpb.Forwarded) fsm.Principal {
	p := f.GetPrincipal()
	if p == nil {
		if f.GetCommand().GetActor() != formerOperator {
			return fsm.Principal{}
		}
		return fsm.Principal{Kind: fsm.ByFile, ID: formerOperator, Role: fsm.Root}
	}
	return principalFrom(p)
}

// principalFrom is the reverse of principalProto; of nil it is nobody.
func principalFrom(p *clusterpb.Principal) fsm.Principal {
	return fsm.Principal{Kind: fsm.Proof(p.GetKind()), ID: p.GetId(), Role: fsm.Role(p.GetRole()), Scope: fsm.ScopeFromProto(p.GetScope())}
}

// judge refuses a proposal, on the leader, whose principal may not have it decided. Of a token the leader takes role and
// scope from its own state, whatever the sender says; one that is revoked or has ended may nothing. What is not in the
// leader's state is not there. Nothing but the nodes' own doing goes under another name than the principal's.
func (n *Node) judge(p *proposal) *Error {
	who, command := p.principal, p.command
	if who.Kind == fsm.ByProcess {
		return nil
	}
	if who.Role == fsm.Root && who.Kind != fsm.ByFile {
		return forbiddenTo(who, "no token and no certificate has that role")
	}
	if command.GetActor() != who.Actor() {
		return forbiddenTo(who, "the command is another's")
	}
	v := n.replica.view.Load()
	if who.Kind == fsm.ByToken {
		id, err := strconv.ParseUint(who.ID, 10, 64)
		token := v.Token(id)
		if err != nil || token == nil || token.Expired(n.clock.wall().UnixMilli()) {
			return forbiddenTo(who, "its token was revoked, or has ended")
		}
		who = token.Principal()
	}
	if who.Role == fsm.Root {
		return nil
	}
	body, fault := n.decodeCommand(command)
	if fault != nil {
		return fault
	}
	if verdict, reason := v.Judge(who, body); verdict != fsm.Granted {
		return forbiddenTo(who, reason)
	}
	return nil
}

func forbiddenTo(p fsm.Principal, reason string) *Error {
	return errorf(Forbidden, "The role %s may not do this (%s).", p.Role, reason)
}

// View is the state as far as this node has applied it. It never waits. Safe for concurrent use.
func (n *Node) View() *fsm.View { return n.replica.view.Load() }

// Note has a command decided that nodes propose on their own. Errors are *Error. Safe for concurrent use.
func (n *Node) Note(ctx context.Context, body *fsmpb.Body) error {
	c, err := fsm.NewCommand("", "", body)
	if err == nil {
		_, err = n.Propose(ctx, c)
	}
	return err
}

// tokenInfo keeps the key of tokens apart from that of handles.
//
//nolint:gosec // G101: it is no credential, but a label.
const tokenInfo = "licet API tokens v1"

// TokenSecret is the secret of the API token that a request makes. Like a lease's handle it is derived: the same through whichever node the request is repeated (rule E1), and stored nowhere.
func (n *Node) TokenSecret(actor, requestID string) ([]byte, error) {
	derives := n.identity.signingKeys().derives
	if derives == nil {
		return nil, errorf(NotReady, "Node %s does not have the cluster's signing key yet.", n.options.ID)
	}
	mac := hmac.New(sha256.New, derives.tokens())
	mac.Write([]byte(actor + "\x00" + requestID))
	return mac.Sum(nil), nil
}
