package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

const (
	// dutyRetry is the pause after a duty that could not be done.
	dutyRetry = 200 * time.Millisecond
	// expiryTick bounds how late the leader notices a deadline that a command brought forward.
	expiryTick = 200 * time.Millisecond
	// guardEvery is how often the leader compares clocks (rule D3).
	guardEvery = time.Second
	// probeTimeout bounds a probe of the members.
	probeTimeout = 500 * time.Millisecond
)

// duties runs what only the leader does, from each time it is elected until it is not.
func (n *Node) duties() {
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case leads := <-n.raft.LeaderCh():
			stop()
			stop = func() {}
			if leads {
				stop = n.startTerm()
			}
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Node) startTerm() (stop func()) {
	ctx, cancel := context.WithCancel(n.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.lead(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// lead opens the term, then does the leader's work until ctx ends.
func (n *Node) lead(ctx context.Context) {
	term := n.raft.CurrentTerm()
	defer n.leadsTerm.Store(0)
	defer n.seen.Store(nil)
	for !n.openTerm(ctx, term) {
		if !pause(ctx, dutyRetry) || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
			return
		}
	}
	n.log.Info("leading", "term", term)
	n.pilot.begin()
	n.autopilot.Start(ctx)
	defer func() { <-n.autopilot.Stop() }()
	guarded := make(chan struct{})
	go func() {
		defer close(guarded)
		n.guardMembers(ctx, term)
	}()
	n.expireWhenDue(ctx, term)
	<-guarded
}

// openTerm writes the first entry of a term, which tells for how long there was
// no leader (rule D2). Once it is applied here, so is all that earlier leaders
// acknowledged, and the node serves. It is tried until it succeeds or the term is over.
func (n *Node) openTerm(ctx context.Context, term uint64) bool {
	// Only what is applied tells when the last entry was stamped, and a node that has just started has applied nothing.
	if err := n.raft.Barrier(n.options.RequestTimeout).Error(); err != nil {
		n.log.Warn("the term could not be opened yet", "term", term, "reason", err)
		return false
	}
	answers := n.probeMembers(ctx, term)
	if !n.checkClock(answers) {
		return false
	}
	n.clock.begin(n.replica.lastApplied())
	// gofail: var beforeTermOpens struct{}
	_, err := n.commit(term, nil, n.outage(answers, term).Milliseconds(), nil)
	if err == nil {
		err = n.initialise(term)
	}
	if err != nil {
		n.log.Warn("the term could not be opened yet", "term", term, "reason", err)
		return false
	}
	// From here on writes and linearizable reads are served; none went before the first entry.
	// gofail: var afterTermOpens struct{}
	n.leadsTerm.Store(term)
	n.leader.wake()
	return true
}

// initialise gives a new cluster its identity (rule C2).
func (n *Node) initialise(term uint64) *Error {
	if n.replica.view.Load().ClusterID() != "" {
		return nil
	}
	cluster, _ := n.identity.cluster()
	signing := n.identity.signingKeys().private
	if cluster == "" || len(signing) == 0 {
		return errorf(NotReady, "This node leads a cluster whose identity it does not have.")
	}
	body := &fsmpb.Initialise{ClusterId: cluster, SigningKey: publicOf(signing[0])}
	for _, key := range n.options.VendorKeys {
		body.VendorKeys = append(body.VendorKeys, key)
	}
	outcome, err := n.proposeOwn(term, &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: body}})
	if err != nil {
		return err
	}
	if r := outcome.Refusal; r != nil && fsm.Code(r.Code) != fsm.AlreadyInitialised {
		return errorf(NotReady, "The cluster could not be initialised: %s", fsm.Detail(r))
	}
	n.log.Info("cluster initialised", "cluster", cluster, "vendor_keys", len(body.VendorKeys), "signing_key", signed.KeyID(body.SigningKey))
	return nil
}

// proposeOwn has one of the leader's own commands decided.
func (n *Node) proposeOwn(term uint64, body *fsmpb.Body) (*fsmpb.Outcome, *Error) {
	if fault := n.gate().refuse(body); fault != nil {
		return nil, fault
	}
	c, err := fsm.NewCommand("", "", body)
	if err != nil {
		return nil, errorf(Unsupported, "%v", err)
	}
	outcomes, fault := n.commit(term, []*fsmpb.Command{c}, 0, nil)
	if fault != nil {
		return nil, fault
	}
	return outcomes[0], nil
}

// outage is how long there was no leader before this term, as far as any member
// that can be asked has noticed. If nobody knows, it is the whole time since the
// last entry; the state machine bounds it by that.
func (n *Node) outage(answers map[string]probed, term uint64) time.Duration {
	least := time.Duration(1<<63 - 1)
	if heard := n.contact.lastBefore(term); !heard.IsZero() {
		least = max(0, n.clock.since(heard))
	}
	for _, a := range answers {
		if age := a.reply.ContactMs; age >= 0 {
			least = min(least, time.Duration(age)*time.Millisecond+n.clock.since(a.asked))
		}
	}
	return least
}

// guardMembers compares clocks while the node leads, and hands leadership to a
// node whose clock the others share (rule D3). It has the same gossip and signing keys on all.
func (n *Node) guardMembers(ctx context.Context, term uint64) {
	for pause(ctx, guardEvery) {
		answers := n.probeMembers(ctx, term)
		n.noteSeen(answers)
		n.checkClock(answers)
		n.spreadKeyring(ctx, answers)
		n.spreadSigningKey(ctx, answers)
	}
}

// checkClock reports whether the node's clock is believed.
func (n *Node) checkClock(answers map[string]probed) bool {
	differences := make(map[string]time.Duration, len(answers))
	for _, a := range answers {
		// Whose answer took longer than it may, by the steady clock, was read who knows when.
		if a.replied.Sub(a.asked) <= probeTimeout {
			differences[a.reply.Node] = a.difference(n.clock)
		}
	}
	if len(differences) == 0 && len(n.members()) > 1 {
		return n.clock.suspect() == nil
	}
	before := n.clock.suspect()
	disagree, fault := n.clock.compare(differences)
	switch {
	case fault == nil && before != nil:
		n.log.Info("clock believed again")
		fallthrough
	case fault == nil:
		return true
	case before == nil:
		n.log.Error("clock not believed, this node stamps nothing", "reason", fault)
	}
	if n.raft.State() == raft.Leader && disagree > 1+len(differences)-disagree {
		if err := n.raft.LeadershipTransfer().Error(); err != nil {
			n.log.Warn("leadership could not be handed over", "reason", err)
		} else {
			n.noteHandover("", handover{nodeItself(n.options.ID), "its clock is not believed"})
		}
	}
	return false
}

// expireWhenDue proposes that what is due ends, and nothing while nothing is (rule D4).
func (n *Node) expireWhenDue(ctx context.Context, term uint64) {
	for pause(ctx, n.untilDue()) {
		view := n.replica.view.Load()
		if due, ok := view.NextDue(); !ok || due > n.nowMs(view) {
			continue
		}
		if _, err := n.proposeOwn(term, &fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}}); err != nil {
			n.log.Warn("what is due could not be ended yet", "reason", err)
			if !pause(ctx, dutyRetry) {
				return
			}
		}
	}
}

func (n *Node) untilDue() time.Duration {
	view := n.replica.view.Load()
	due, ok := view.NextDue()
	if !ok {
		return expiryTick
	}
	return max(0, min(expiryTick, time.Duration(due-n.nowMs(view))*time.Millisecond))
}

// nowMs is the state's wall clock as a stamp would move it: never back.
func (n *Node) nowMs(v *fsm.View) int64 {
	return max(n.clock.next(), v.Clock().WallMs)
}

// probeMembers asks all other members how they are.
func (n *Node) probeMembers(ctx context.Context, beforeTerm uint64) map[string]probed {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var addresses []string
	for _, m := range n.members() {
		if string(m.ID) != n.options.ID {
			addresses = append(addresses, string(m.Address))
		}
	}
	request := n.probeRequest()
	request.BeforeTerm = beforeTerm
	return n.peers.probe(ctx, addresses, request)
}

// members is the latest Raft configuration, none before Raft is here.
func (n *Node) members() []raft.Server {
	list, _ := n.configuration()
	return list
}

// configuration is the latest one, and whether it is known to be on a majority.
func (n *Node) configuration() (list []raft.Server, decided bool) {
	r := n.directory.Load()
	if r == nil {
		return nil, false
	}
	future := r.GetConfiguration()
	if future.Error() != nil {
		return nil, false
	}
	return future.Configuration().Servers, future.Index() <= r.CommitIndex()
}

// pause waits, or returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
