package history

import (
	"fmt"
	"strings"
)

// Kind is what an operation does.
type Kind string

// Operations on the pool.
const (
	Checkout     Kind = "checkout"
	Renew        Kind = "renew"
	CheckIn      Kind = "check-in"
	ReturnBorrow Kind = "return-borrow"
	Revoke       Kind = "revoke"
	Keep         Kind = "keep"
	Claim        Kind = "claim"
	Leave        Kind = "leave"
	ResizePool   Kind = "resize-pool"
	ReadPool     Kind = "read-pool"
	ReadLease    Kind = "read-lease"
	ReadTicket   Kind = "read-ticket"
	ReadLeases   Kind = "read-leases"
	ReadTickets  Kind = "read-tickets"
)

// Operations on the contract's instances.
const (
	Create        Kind = "create"
	Resize        Kind = "resize"
	Remove        Kind = "remove"
	ReadInstance  Kind = "read-instance"
	ReadInstances Kind = "read-instances"
	ReadTotal     Kind = "read-total"
)

// Reads reports whether an operation changes nothing.
func (k Kind) Reads() bool { return strings.HasPrefix(string(k), "read-") }

// OfInstances reports whether an operation is about instances, and not about the pool.
func (k Kind) OfInstances() bool {
	switch k {
	case Create, Resize, Remove, ReadInstance, ReadInstances, ReadTotal:
		return true
	}
	return false
}

// Input is what a client asks. Ids are those that it was told.
type Input struct {
	Kind Kind
	// Holder names the secret of a lease or ticket: that of the checkout that made it, or asked for it last (rules K6, Q5).
	Holder string
	// User asks for Count seats of Product, or borrows them for Days; users have one client each.
	Product, User string
	Count         uint64
	Days          uint32
	Queue         bool
	Lease, Ticket uint64
	// Size is what the pool is to have.
	Size uint64
	// Name is an instance's, N its allocation.
	Name      string
	Serial, N uint64
}

// String has what is there.
func (x Input) String() string {
	text := []string{string(x.Kind)}
	add := func(there bool, format string, args ...any) {
		if there {
			text = append(text, fmt.Sprintf(format, args...))
		}
	}
	add(x.Count > 0, "%d of", x.Count)
	add(x.Product != "", "%s for %s", x.Product, x.User)
	add(x.Days > 0, "for %d days", x.Days)
	add(x.Queue, "or wait")
	add(x.Lease > 0, "lease %d", x.Lease)
	add(x.Ticket > 0, "ticket %d", x.Ticket)
	add(x.Size > 0, "to %d", x.Size)
	add(x.Name != "", "%s", x.Name)
	add(x.Serial > 0, "instance %d", x.Serial)
	add(x.N > 0, "of %d", x.N)
	add(x.Holder != "", "by %s", x.Holder)
	return strings.Join(text, " ")
}

// Output is what a client is told.
type Output struct {
	// Unknown: the client was never told, and the operation took place once or never, at any time after it was asked for.
	Unknown bool
	// Code is that of a refusal, empty for a success. Facts are the numbers behind it, or what was read.
	Code, Facts string
	// Lease, Ticket and Serial were given out.
	Lease, Ticket, Serial uint64
	// N counts a lease's renewals, or an instance's users.
	N uint64
	// Offered and Ahead are a ticket's state.
	Offered bool
	Ahead   uint64
	// Already: what was to be ended had ended.
	Already bool
	// Rows are a list that was read, by id.
	Rows []Row
}

// Row is one of a list.
type Row struct {
	ID   uint64
	Text string
}

// String has what is there.
func (x Output) String() string {
	if x.Unknown {
		return "nobody knows"
	}
	var text []string
	add := func(there bool, format string, args ...any) {
		if there {
			text = append(text, fmt.Sprintf(format, args...))
		}
	}
	add(x.Code != "", "%s", x.Code)
	add(x.Facts != "", "(%s)", x.Facts)
	add(x.Lease > 0, "lease %d", x.Lease)
	add(x.Ticket > 0, "ticket %d, %d ahead", x.Ticket, x.Ahead)
	add(x.Offered, "offered")
	add(x.Serial > 0, "instance %d", x.Serial)
	add(x.N > 0, "%d", x.N)
	add(x.Already, "already")
	for _, r := range x.Rows {
		text = append(text, fmt.Sprintf("[%d %s]", r.ID, r.Text))
	}
	if text == nil {
		return "done"
	}
	return strings.Join(text, " ")
}

// behind are the facts that a history holds clients' answers to, by the code of the refusal.
var behind = map[string][]string{
	"pool_full": {"used", "limit", "offered", "ahead"}, "cap_reached": {"used", "limit", "offered", "ahead"},
	"queue_ahead": {"used", "limit", "offered", "ahead"}, "queue_full": {"used", "limit", "offered", "ahead"},
	"count_above_limit": {"max"}, "borrow_too_long": {"max"}, "borrow_low_water": {"borrowed", "limit"},
	"contract_exhausted": {"free"}, "not_offered": {"ahead"},
}

// Refusal is the answer to what was refused.
func Refusal(code string, fact func(name string) uint64) Output {
	var text []string
	for _, name := range behind[code] {
		text = append(text, fmt.Sprint(name, " ", fact(name)))
	}
	return Output{Code: code, Facts: strings.Join(text, ", ")}
}

// PoolText is a pool as it is read: used has seats by product, in the setup's order.
func PoolText(size, offered, waiting uint64, used []uint64) string {
	return fmt.Sprintf("size %d, %d offered, %d waiting, used %v", size, offered, waiting, used)
}

// LeaseText is a lease as it is read.
func LeaseText(product, user string, count uint64, borrow bool) string {
	if borrow {
		return fmt.Sprintf("%d of %s borrowed by %s", count, product, user)
	}
	return fmt.Sprintf("%d of %s for %s", count, product, user)
}

// TicketText is a ticket as it is read.
func TicketText(product, user string, count uint64, offered bool, ahead uint64) string {
	if offered {
		return fmt.Sprintf("%d of %s offered to %s", count, product, user)
	}
	return fmt.Sprintf("%s waits for %d of %s behind %d", user, count, product, ahead)
}

// InstanceText is an instance as it is listed.
func InstanceText(name string, n uint64) string { return fmt.Sprintf("%s has %d", name, n) }
