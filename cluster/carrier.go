package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// appendsUnderway is how many messages a leader has on their way to one follower at a time. Each 10 to 20 ms one is
// there to tell what was committed, and an entry must not wait until that is answered: at a round trip of 200 ms, 20 are.
const appendsUnderway = 32

// carrier is raft's transport, with pipelines that do not park. When a follower has rejected an append, raft may go on to
// send without anybody who takes the answers, and then waits for ever for room in the pipeline, hidden by heartbeats
// (hashicorp/raft #612).
type carrier struct{ *raft.NetworkTransport }

// AppendEntriesPipeline implements raft.Transport.
func (c carrier) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := c.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return pipeline{p}, nil
}

// pipeline ends when it has had no room for as long as a message may take; raft then begins again without one.
type pipeline struct{ raft.AppendPipeline }

// AppendEntries implements raft.AppendPipeline.
func (p pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	late := time.AfterFunc(raftTimeout, func() { _ = p.Close() }) // it closes a connection that nobody uses any more
	defer late.Stop()
	return p.AppendPipeline.AppendEntries(args, resp)
}

var _ raft.Transport = carrier{}
