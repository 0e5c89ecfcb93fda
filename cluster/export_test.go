package cluster

import "github.com/hashicorp/raft"

// Raft lets tests write what no node would.
func (n *Node) Raft() *raft.Raft { return n.raft }
