package cluster

import (
	"github.com/licet/licet/fsm/fsmpb"
)

// kinds are those of commands.
var kinds = (&fsmpb.Body{}).ProtoReflect().Descriptor().Oneofs().ByName("kind")

// count has metrics take what a command that this node was asked for came to.
func (n *Node) count(body *fsmpb.Body, o *fsmpb.Outcome, err *Error) {
	switch {
	case err != nil:
		n.metrics.GaveUp(string(err.code))
		return
	case o.GetRepeated():
		return
	}
	bulk, items := o.GetBulk().GetOutcomes(), body.GetBulk().GetItems()
	n.decided(body, o)
	if len(bulk) != len(items) {
		return
	}
	for i, item := range items {
		n.decided(item, bulk[i])
	}
}

func (n *Node) decided(body *fsmpb.Body, o *fsmpb.Outcome) {
	kind, outcome := "", "ok"
	if f := body.ProtoReflect().WhichOneof(kinds); f != nil {
		kind = string(f.Name())
	}
	switch {
	case o.GetRefusal() != nil:
		outcome = o.Refusal.Code
	case body.GetCheckout() != nil && o.GetTicket() != nil:
		outcome = "queued"
	}
	n.metrics.Decided(kind, outcome)
}
