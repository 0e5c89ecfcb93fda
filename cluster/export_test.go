package cluster

import "github.com/hashicorp/raft"

// Raft lets tests write what no node would.
func (n *Node) Raft() *raft.Raft { return n.raft }

// FirstIndex is where the node's log begins.
func (n *Node) FirstIndex() (uint64, error) { return n.store.FirstIndex() }

// Hold keeps entries from being applied until release is called: the node still
// leads, but decides nothing.
func (n *Node) Hold() (release func()) {
	n.replica.mu.Lock()
	return n.replica.mu.Unlock
}
