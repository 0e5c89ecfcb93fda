package cluster

import (
	"context"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
)

// confirm returns once it is sure that nobody leads in a later term than this leader's: when a majority of the voters,
// itself included, is in no later one, each after confirm was called. Who is in no later term has voted in none, and
// without them nobody can have been elected. The node that asks the leader has said in which term it is, so that where
// it makes a majority with the leader nobody else has to be asked.
//
// Raft's VerifyLeader is not enough: it takes answers to messages that were sent before it was called, and a voter that
// has given such an answer may have elected another leader since, at the wish of this one.
func (n *Node) confirm(ctx context.Context, term uint64, asking string, at uint64) *Error {
	missing, addresses := n.witnesses(asking, at == term)
	if missing <= 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(n.leader.reign(), cancel)
	defer stop()
	answers := make(chan vouched, len(addresses))
	for _, address := range addresses {
		go func() { answers <- n.askTerm(ctx, address) }()
	}
	fault := errorf(notLeader, "The voters can't be asked whether this node still leads.")
	for range addresses {
		a := <-answers
		switch {
		case status.Code(a.err) == codes.Unimplemented:
			// A node of an earlier version; so old nodes prove it to each other.
			if err := n.raft.VerifyLeader().Error(); err != nil {
				return errorf(notLeader, "This node does not lead any more: %v.", err)
			}
			return nil
		case a.err != nil:
			fault = errorf(notLeader, "The voters did not confirm that this node still leads: %s.", status.Convert(a.err).Message())
		case a.term > term:
			return errorf(notLeader, "This node does not lead any more: there is a term %d after its own, %d.", a.term, term)
		default:
			missing--
		}
		if missing == 0 {
			return nil
		}
	}
	return fault
}

// witnesses are the addresses of the other voters, and how many of them have to speak for this leader. The one that asks counts as
// having done so if it is in the leader's term.
func (n *Node) witnesses(asking string, agrees bool) (missing int, addresses []string) {
	voters, sure := 0, 0
	for _, m := range n.members() {
		switch id := string(m.ID); {
		case m.Suffrage != raft.Voter:
			continue
		case id == n.options.ID || id == asking && agrees:
			sure++
		default:
			addresses = append(addresses, string(m.Address))
		}
		voters++
	}
	return voters/2 + 1 - sure, addresses
}

// vouched is a voter's term, or why it is not known.
type vouched struct {
	term uint64
	err  error
}

func (n *Node) askTerm(ctx context.Context, address string) vouched {
	client, err := n.peers.at(address)
	if err != nil {
		return vouched{err: err}
	}
	reply, err := client.Vouch(ctx, &clusterpb.VouchRequest{})
	return vouched{term: reply.GetTerm(), err: err}
}

// Vouch implements clusterpb.NodeServer.
func (s *server) Vouch(context.Context, *clusterpb.VouchRequest) (*clusterpb.VouchReply, error) {
	return &clusterpb.VouchReply{Term: s.node.raft.CurrentTerm()}, nil
}
