// Package transport carries everything that nodes say to each other over one
// TLS port: Raft's stream and the RPC between nodes, told apart by ALPN.
//
// Raft's own decoder authenticates nobody, so certificates are all that stands
// between the network and the log (CVE-2021-37219: any certificate of the CA
// could speak Raft). A connection is therefore handed on, in either direction,
// only after mutual TLS 1.3 in which the peer proved a certificate that chains
// to the cluster's authority, is in its validity and carries the role node.
// Host names are not verified: addresses of nodes may change, their ids do not.
package transport
