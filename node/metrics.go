package node

import (
	"time"

	"github.com/licet/licet/metrics"
)

// Sample is what a scrape reads of the node. Safe for concurrent use.
func (n Node) Sample() metrics.Sample {
	s, v := n.Node.Status(), n.Node.Vitals()
	sample := metrics.Sample{
		Version: s.Version, Ready: s.Fault == nil, Leads: v.Leads, LeaderKnown: s.Leader != "", Voter: s.Voter,
		ContactAge: s.Age, Voters: v.Voters, Nonvoters: v.Nonvoters, ClockBelieved: v.ClockFault == nil, ClockLimit: v.ClockLimit,
		Term: s.Term, LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, Snapshot: metrics.Snapshot(v.Snapshot),
		Proposals: v.Proposals, Forwards: v.Forwards, Reads: v.Reads, QueueLimit: s.QueueLimit,
		DiskFree: v.Disk.Free, DiskSize: v.Disk.Size, TrailLast: v.TrailLast, View: s.View,
		Store: metrics.Store{
			FileBytes: v.StoreBytes, FreePages: v.Store.FreePageN, PendingPages: v.Store.PendingPageN,
			FreeBytes: v.Store.FreeAlloc, FreelistBytes: v.Store.FreelistInuse, OpenReads: v.Store.OpenTxN,
			Writes: v.Store.TxStats.GetWrite(), WriteTime: v.Store.TxStats.GetWriteTime(),
			SpillTime: v.Store.TxStats.GetSpillTime(), RebalanceTime: v.Store.TxStats.GetRebalanceTime(),
		},
		Certificates: map[string]time.Time{"node": v.CertificateEnds},
	}
	for target, c := range n.Copies {
		if sample.Copies == nil {
			sample.Copies = make(map[string]metrics.Copy)
		}
		sample.Copies[target] = metrics.Copy(c.Copied())
	}
	for _, p := range v.Peers {
		sample.Peers = append(sample.Peers, metrics.Peer(p))
	}
	if ends := n.apiCertificate(); !ends.IsZero() {
		sample.Certificates["http"] = ends
	}
	return sample
}

// apiCertificate is when the API's certificate ends, zero if it has none.
func (n Node) apiCertificate() time.Time {
	if n.APICertificate == nil {
		return time.Time{}
	}
	return n.APICertificate()
}
