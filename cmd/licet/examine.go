package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// lag is how many entries a node may be behind before it is worth a word.
const lag = 1000

// findings are what is wrong with a cluster, as far as its nodes tell.
type findings struct {
	summary, next, word string
	code                int
	wrong               []finding
}

type finding struct{ what, next string }

func (f *findings) add(next, format string, args ...any) {
	f.wrong = append(f.wrong, finding{fmt.Sprintf(format, args...), next})
}

// examine compares what nodes say of themselves and of each other.
func examine(nodes []seen, members []apiv1.Member) findings {
	f := findings{code: exitOK}
	answered, leader, newest := 0, "", uint64(0)
	for _, x := range nodes {
		if x.value == nil {
			e, _ := asFailure(x.err)
			f.add(cmp.Or(e.next, "Start the node, or look at its log."), "%s", describeSilence(x.Endpoint, e.detail))
			continue
		}
		answered++
		if x.value.Role == apiv1.RoleLeader && x.value.Consensus.Term >= newest {
			leader, newest = x.value.ID, x.value.Consensus.Term
		}
		if leader == "" {
			leader = x.value.Leader
		}
		if c := x.value.Clock; c != nil && !c.Believed {
			f.add("Set its clock, and see to its time service (`chronyc tracking`).", "%s stamps no writes: %s", x.value.ID, c.Reason)
		} else if !x.value.Ready {
			f.add("Wait a moment, then look at its log.", "%s is not ready: %s", x.value.ID, cmp.Or(x.value.NotReady, "it does not say why"))
		}
		f.vitals(x.value, time.Now())
	}
	contradictions := f.compare(nodes)
	f.absent(nodes, members)
	f.quorum(members)
	f.clocks(allowedSkew(nodes), members)
	refusal := turnedAway(nodes)
	switch {
	case refusal != nil:
		f.code, f.word, f.summary, f.next = refusal.code, refusal.word, "All nodes turned the request away.", refusal.next
	case answered == 0:
		f.code, f.word, f.summary, f.next = exitUnreachable, "unreachable", "No node answered.", "Start the nodes, or name their addresses in --endpoints."
	case contradictions:
		f.code, f.word, f.summary, f.next = exitInternal, "internal", "The nodes contradict each other.", "Stop writing, keep the data directories, and find out which node is wrong."
	case leader == "":
		f.code, f.word, f.summary, f.next = exitUnreachable, "no_leader", fmt.Sprintf("%d of %d nodes answered; no leader is known.", answered, len(nodes)), "Start more nodes, or mend the links between them: a majority of the voters has to reach each other."
	default:
		f.summary = fmt.Sprintf("%d of %d nodes answered; %s leads.", answered, len(nodes), leader)
	}
	return f
}

// turnedAway is why nodes that answer tell nothing: they do not take the token. It is nil unless all do so.
func turnedAway(nodes []seen) (refusal *failure) {
	for _, x := range nodes {
		if code := client.CodeOf(x.err); code != apiv1.CodeUnauthorized && code != apiv1.CodeForbidden {
			return nil
		}
		refusal, _ = asFailure(x.err)
	}
	return refusal
}

// examineMembers tells what is wrong by the list of the members alone.
func examineMembers(members []apiv1.Member) findings {
	f := findings{code: exitOK}
	f.absent(nil, members)
	f.quorum(members)
	f.clocks(usualSkew, members)
	versions := map[string]string{}
	for _, m := range members {
		if m.Version != "" {
			versions[m.Version] = m.ID
		}
	}
	if len(versions) > 1 {
		f.add("Finish the upgrade of all nodes.", "the members run %d versions", len(versions))
	}
	return f
}

// compare looks at pairs of nodes. Only what can't be right is a contradiction.
func (f *findings) compare(nodes []seen) (contradiction bool) {
	var first, ahead *apiv1.NodeStatus
	digests := map[uint64]*apiv1.NodeStatus{}
	for _, x := range nodes {
		v := x.value
		if v == nil || v.Cluster == "" {
			continue
		}
		if first == nil {
			first, ahead = v, v
		}
		if v.State.Index > ahead.State.Index {
			ahead = v
		}
		if v.Cluster != first.Cluster {
			f.add("Check the addresses: these are nodes of different clusters.", "%s belongs to cluster %s, %s to %s", v.ID, v.Cluster, first.ID, first.Cluster)
			contradiction = true
			continue
		}
		if v.Version != first.Version {
			f.add("Finish the upgrade of all nodes.", "%s runs version %s, %s version %s", v.ID, v.Version, first.ID, first.Version)
		}
		if same := digests[v.State.Index]; same != nil && same.State.Digest != v.State.Digest {
			f.add("Keep both data directories and the logs, and report it: replicas must never differ.",
				"%s and %s differ at index %d (%s, %s)", same.ID, v.ID, v.State.Index, short(same.State.Digest), short(v.State.Digest))
			contradiction = true
		}
		digests[v.State.Index] = v
		f.otherLeader(first, v)
	}
	for _, x := range nodes {
		if x.value != nil && ahead != nil && x.value.Cluster == ahead.Cluster && x.value.State.Index+lag < ahead.State.Index {
			f.add("Wait; if it does not catch up, look at its log and its disk.", "%s is %d entries behind %s", x.value.ID, ahead.State.Index-x.value.State.Index, ahead.ID)
		}
	}
	return contradiction
}

// otherLeader reports nodes that follow different leaders. Of different terms one of them is only late.
func (f *findings) otherLeader(first, v *apiv1.NodeStatus) {
	if first.Leader == "" || v.Leader == "" || first.Leader == v.Leader {
		return
	}
	f.add("Ask again in some seconds; if it stays so, one of them is cut off from the other's leader: look at the links.",
		"%s follows %s (term %d), %s follows %s (term %d)", first.ID, first.Leader, first.Consensus.Term, v.ID, v.Leader, v.Consensus.Term)
}

// absent reports members that the cluster misses and that were not asked.
func (f *findings) absent(nodes []seen, members []apiv1.Member) {
	for _, m := range members {
		asked := false
		for _, x := range nodes {
			asked = asked || x.value != nil && x.value.ID == m.ID
		}
		switch {
		case !asked && !m.Healthy:
			f.add("Start it, or remove it with `licet cluster remove "+m.ID+"` if it is gone for good.", "member %s does not answer the leader", m.ID)
		case asked && !m.Healthy:
			f.add("Look at the links between the nodes, and at its log.", "member %s answers here, but not the leader", m.ID)
		}
	}
}

// describeSilence names the endpoint if the detail does not.
func describeSilence(endpoint, detail string) string {
	if strings.Contains(detail, endpoint) {
		return detail
	}
	return endpoint + ": " + detail
}
