package history

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// stepped is the state machine itself, as a machine.
type stepped struct {
	setup *Setup
	view  *fsm.View
}

// Keys of the model's own cluster.
var (
	vendor  = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signing = ed25519.NewKeyFromSeed([]byte("the key that signs borrow tokens"))
)

// now is when everything happens in the models: no time passes there.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newStepped has the setup's contract and pool made.
func newStepped(setup *Setup) (*stepped, error) {
	document, err := setup.Document().Sign(vendor)
	if err != nil {
		return nil, err
	}
	m := &stepped{setup: setup, view: fsm.New().View()}
	for _, body := range []*fsmpb.Body{
		{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
			ClusterId: "model", VendorKeys: [][]byte{vendor.Public().(ed25519.PublicKey)}, SigningKey: signing.Public().(ed25519.PublicKey),
		}}},
		{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}},
		setup.PutPool(setup.Size, true), setup.ActivatePool(),
	} {
		next, o, err := m.apply(body)
		if err != nil {
			return nil, err
		}
		if o.Refusal != nil {
			return nil, fmt.Errorf("the setup is refused: %s", fsm.Detail(o.Refusal))
		}
		m = next
	}
	return m, nil
}

// apply has a fork of the state go through one more entry.
func (m *stepped) apply(body *fsmpb.Body) (*stepped, *fsmpb.Outcome, error) {
	index := m.view.Index() + 1
	command, err := fsm.NewCommand("history", fmt.Sprint(index), body)
	if err != nil {
		return nil, nil, err
	}
	entry, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: now.UnixMilli(), Commands: []*fsmpb.Command{command}})
	if err != nil {
		return nil, nil, err
	}
	s := m.view.Fork()
	outcomes, err := s.Apply(index, 1, entry)
	if err != nil {
		return nil, nil, err
	}
	return &stepped{setup: m.setup, view: s.View()}, outcomes[0], nil
}

func (m *stepped) step(in Input) (machine, Output) {
	if in.Kind.Reads() {
		return m, Look(m.setup, in, m.view)
	}
	next, o, err := m.apply(Body(m.setup, in, m.token(in)))
	if err != nil {
		panic(err) // the entry was encoded by this very build
	}
	return next, Answer(in, o)
}

// token is that of a borrow, or of one that was.
func (m *stepped) token(in Input) string {
	if in.Kind != ReturnBorrow {
		return ""
	}
	content := &signed.Borrow{
		Cluster: m.view.ClusterID(), Lease: in.Lease, Pool: m.setup.Pool, Product: m.setup.Products[0].Name, User: "gone", Client: "gone", Count: 1,
		Issued: now, Expiry: now.Add(24 * time.Hour),
	}
	if x, refusal := m.view.Lease(in.Lease); refusal == nil {
		content = fsm.BorrowToken(m.view.ClusterID(), x)
	}
	token, err := content.Sign(signing)
	if err != nil {
		panic(err) // the state machine takes nothing that a token can't hold
	}
	return token
}

func (m *stepped) live() (leases, tickets, serials []uint64) {
	for _, x := range m.view.Leases(fsm.LeaseFilter{Limit: mostListed}) {
		leases = append(leases, x.Lease.Id)
	}
	for _, x := range m.view.Tickets(m.setup.Pool, 0, mostListed) {
		tickets = append(tickets, x.Ticket.Id)
	}
	for _, x := range m.view.Instances(m.setup.Contract, 0, mostListed) {
		serials = append(serials, x.Serial)
	}
	return leases, tickets, serials
}

func (m *stepped) describe() string {
	var text strings.Builder
	for _, kind := range []Kind{ReadPool, ReadLeases, ReadTickets, ReadInstances} {
		out := Look(m.setup, Input{Kind: kind}, m.view)
		text.WriteString(out.Facts)
		for _, r := range out.Rows {
			text.WriteString("; " + r.Text)
		}
	}
	for _, x := range m.view.Leases(fsm.LeaseFilter{Limit: mostListed}) {
		fmt.Fprint(&text, " ", x.Lease.Renewals)
	}
	return text.String()
}

// mostListed is more than there ever is of anything in a setup.
const mostListed = 1000

// holderOf is what the state keeps of a secret.
func holderOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:fsm.HolderSize]
}

// Body is the command of an operation that writes. The token is that of a borrow that is returned.
func Body(s *Setup, in Input, token string) *fsmpb.Body {
	holder := holderOf(in.Holder)
	allocation := []*fsmpb.Quantity{{Name: Area, N: in.N}}
	switch in.Kind {
	case Checkout:
		return &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: &fsmpb.Checkout{
			Pool: s.Pool, Product: in.Product, User: in.User, Client: in.User, Count: in.Count, BorrowDays: in.Days, Queue: in.Queue, Holder: holder,
		}}}
	case Renew:
		return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: in.Lease, Holder: holder}}}
	case CheckIn:
		return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: in.Lease, Holder: holder}}}
	case ReturnBorrow:
		return &fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: &fsmpb.ReturnBorrow{Token: token}}}
	case Revoke:
		return &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: in.Lease}}}
	case Keep:
		return &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: in.Ticket, Holder: holder}}}
	case Claim:
		return &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: in.Ticket, Holder: holder}}}
	case Leave:
		return &fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: in.Ticket, Holder: holder}}}
	case ResizePool:
		return s.PutPool(in.Size, false)
	case Create:
		return &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{Contract: s.Contract, Name: in.Name, Allocation: allocation}}}
	case Resize:
		return &fsmpb.Body{Kind: &fsmpb.Body_ResizeInstance{ResizeInstance: &fsmpb.ResizeInstance{Serial: in.Serial, Allocation: allocation}}}
	case Remove:
		return &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: in.Serial}}}
	}
	panic("an operation of kind " + in.Kind + " writes nothing")
}

// Answer is what a client is told of an outcome.
func Answer(in Input, o *fsmpb.Outcome) Output {
	if o.Refusal != nil {
		return refusalOf(o.Refusal)
	}
	switch in.Kind {
	case Checkout, Claim:
		if t := o.GetTicket(); t != nil {
			return Output{Ticket: t.Ticket.Id, Offered: t.Ticket.Offered, Ahead: t.Ahead}
		}
		return Output{Lease: o.GetLease().GetLease().GetId()}
	case Renew:
		return Output{N: o.GetLease().GetLease().GetRenewals()}
	case CheckIn, ReturnBorrow, Revoke:
		return Output{Already: o.GetLeaseEnded().GetAlready()}
	case Keep:
		return Output{Offered: o.GetTicket().GetTicket().GetOffered(), Ahead: o.GetTicket().GetAhead()}
	case Leave:
		return Output{Already: o.GetTicket().GetTicket().GetAsk() == nil}
	case Create:
		i := o.GetInstance().GetInstance()
		return Output{Serial: i.GetSerial(), N: fsm.QuantitiesFromProto(i.GetAllocation()).Get(Area)}
	case Resize, Remove:
		return Output{N: fsm.QuantitiesFromProto(o.GetInstance().GetInstance().GetAllocation()).Get(Area)}
	}
	return Output{}
}

func refusalOf(r *fsmpb.Refusal) Output {
	return Refusal(r.Code, func(name string) uint64 {
		for _, f := range r.Facts {
			if f.Name == name {
				return uint64(f.GetNumber())
			}
		}
		return 0
	})
}

// Look is what a client is told that reads from a view.
func Look(s *Setup, in Input, v *fsm.View) (out Output) {
	switch in.Kind {
	case ReadPool:
		return lookAtPool(s, v)
	case ReadLease:
		x, refusal := v.Lease(in.Lease)
		if refusal != nil {
			return refusalOf(refusal)
		}
		out.Facts = leaseText(x)
	case ReadTicket:
		x, refusal := v.Ticket(in.Ticket)
		if refusal != nil {
			return refusalOf(refusal)
		}
		out.Facts = ticketText(x)
	case ReadLeases:
		for _, x := range v.Leases(fsm.LeaseFilter{Pool: s.Pool, Limit: mostListed}) {
			out.Rows = append(out.Rows, Row{x.Lease.Id, leaseText(x)})
		}
	case ReadTickets:
		for _, x := range v.Tickets(s.Pool, 0, mostListed) {
			out.Rows = append(out.Rows, Row{x.Ticket.Id, ticketText(x)})
		}
	default:
		return lookAtContract(s, in, v)
	}
	return out
}

func lookAtContract(s *Setup, in Input, v *fsm.View) (out Output) {
	switch in.Kind {
	case ReadInstance:
		x, refusal := v.Instance(in.Serial)
		if refusal != nil {
			return refusalOf(refusal)
		}
		out.N = x.Allocation.Get(Area)
	case ReadInstances:
		for _, x := range v.Instances(s.Contract, 0, mostListed) {
			out.Rows = append(out.Rows, Row{x.Serial, InstanceText(x.Name, x.Allocation.Get(Area))})
		}
	case ReadTotal:
		c, _ := v.Contract(s.Contract)
		out.N = c.Allocated.Get(Area)
	default:
		panic("an operation of kind " + in.Kind + " reads nothing")
	}
	return out
}

func lookAtPool(s *Setup, v *fsm.View) Output {
	p, refusal := v.Pool(s.Pool)
	if refusal != nil {
		return refusalOf(refusal)
	}
	var used []uint64
	for _, product := range s.Products {
		n := uint64(0)
		for _, x := range p.Use.Products {
			if x.Name == product.Name {
				n = x.Used
			}
		}
		used = append(used, n)
	}
	return Output{Facts: PoolText(p.Size, p.Use.Offered, p.Use.Waiting, used)}
}

func leaseText(x *fsmpb.LeaseStatus) string {
	return LeaseText(x.Lease.Product, x.Lease.User, x.Lease.Count, x.Lease.Borrow)
}

func ticketText(x *fsmpb.TicketStatus) string {
	return TicketText(x.Ticket.Ask.Product, x.Ticket.Ask.User, x.Ticket.Ask.Count, x.Ticket.Offered, x.Ahead)
}
