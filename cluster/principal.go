package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"strconv"

	"github.com/hashicorp/raft"

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

// sentBy is whom another node authenticated. A build that knows no principals knows one actor alone; for whatever else
// comes without a principal nobody answers.
func sentBy(actor string, p *clusterpb.Principal) fsm.Principal {
	if p == nil {
		if actor != formerOperator {
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

// believed is whom the leader takes a principal for that was authenticated here or by another node. Of a token the leader
// takes role and scope from its own state, whatever the sender says; one that is revoked or has ended may nothing. A proof
// that it does not know proves nothing.
func (n *Node) believed(who fsm.Principal) (fsm.Principal, *Error) {
	switch who.Kind {
	case fsm.ByProcess, fsm.ByFile:
		return who, nil
	case fsm.ByToken:
		if who.Role == fsm.Root {
			return who, forbiddenTo(who, "no token has that role")
		}
		id, err := strconv.ParseUint(who.ID, 10, 64)
		token := n.replica.view.Load().Token(id)
		if err != nil || token == nil || token.Expired(n.clock.wall().UnixMilli()) {
			return who, forbiddenTo(who, "its token was revoked, or has ended")
		}
		return token.Principal(), nil
	case fsm.ByCertificate, fsm.ByIssuer:
		if err := who.Check(); err != nil {
			return who, forbiddenTo(who, err.Error())
		}
		return who, nil
	}
	return who, forbiddenTo(who, "nothing that this node knows proves who asks")
}

// mayAdminister refuses what is no command to who may not change members, leadership or gossip keys, and to everybody on
// a node that does not lead.
func (n *Node) mayAdminister(who fsm.Principal) *Error {
	if n.raft.State() != raft.Leader {
		return errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	is, fault := n.believed(who)
	if fault == nil && !is.Role.Has(fsm.MayAdminister) {
		fault = forbiddenTo(is, "it lacks the right "+string(fsm.MayAdminister))
	}
	if fault != nil && n.leadsTerm.Load() == 0 {
		// What a leader's state lacks at its start may come yet.
		return errorf(notLeader, "Node %s does not lead yet.", n.options.ID)
	}
	return fault
}

// judge refuses a proposal, on the leader, whose principal may not have it decided. What is not in the leader's state is
// not there. Nothing but the nodes' own doing goes under another name than the principal's.
func (n *Node) judge(p *proposal) *Error {
	who, command := p.principal, p.command
	if who.Kind == fsm.ByProcess {
		return nil
	}
	if command.GetActor() != who.Actor() {
		return forbiddenTo(who, "the command is another's")
	}
	who, fault := n.believed(who)
	if fault != nil {
		return fault
	}
	if who.Role == fsm.Root {
		return nil
	}
	body, fault := n.decodeCommand(command)
	if fault != nil {
		return fault
	}
	if verdict, reason := n.replica.view.Load().Judge(who, body); verdict != fsm.Granted {
		return forbiddenTo(who, reason)
	}
	return nil
}

func forbiddenTo(p fsm.Principal, reason string) *Error {
	if p.Role == "" {
		return errorf(Forbidden, "Who asks may not do this (%s).", reason)
	}
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
