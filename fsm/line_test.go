package fsm

import (
	"strings"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// K4: whoever may check out may borrow: a token can hold all that a checkout takes, and what it could not hold the state
// machine itself refuses, whatever has let it through before.
func TestCheckoutTakesWhatATokenHolds(t *testing.T) {
	r := seatReplica(t)
	for _, c := range []struct {
		text string
		good bool
	}{
		{"ann@example.org", true},
		{"Zoë of the 2nd floor", true},
		{strings.Repeat("a", MaxLine), true},
		{strings.Repeat("é", MaxLine/2), true},
		{"", false},
		{" ", false},
		{"\u00a0\u2003", false},
		{"a\x00b", false},
		{"a\nb", false},
		{"\u0085", false},
		{strings.Repeat("a", MaxLine+1), false},
		{strings.Repeat("é", MaxLine/2+1), false},
	} {
		for _, ask := range []*fsmpb.Checkout{{User: c.text, Client: "host"}, {User: "ann", Client: c.text}} {
			ask.Pool, ask.Product, ask.Count, ask.BorrowDays, ask.Holder = "design", "a", 1, 1, holder(1)
			o := r.do(checkoutBody(ask))
			if got := o.Refusal.GetCode(); (got == string(Invalid)) == c.good || c.good && got != "" {
				t.Errorf("user %.20q, client %.20q: refusal %q", ask.User, ask.Client, got)
			}
			if !c.good {
				continue
			}
			token := &signed.Borrow{
				Cluster: testCluster, Lease: 1, Pool: "design", Product: "a", User: ask.User, Client: ask.Client, Count: 1, Issued: testEpoch, Expiry: testEpoch.AddDate(0, 0, 1),
			}
			if _, err := token.Sign(clusterKey); err != nil {
				t.Errorf("user %.20q, client %.20q: %v", ask.User, ask.Client, err)
			}
			r.must(&fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: o.GetLease().GetLease().GetId()}}})
		}
	}
}
