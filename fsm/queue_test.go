package fsm

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// What a ticket asks for is shown whole, but for the handle's hash (rule K6), whatever fields are added.
func TestTicketIsShownWhole(t *testing.T) {
	ask := &fsmpb.Checkout{
		Pool: "p", Product: "a", User: "u", Client: "c", Count: 1, Ttl: 2, Project: "x", Groups: []string{"g"}, BorrowDays: 3, Queue: true, Holder: []byte("h"),
	}
	fields, set := ask.ProtoReflect().Descriptor().Fields(), 0
	for i := range fields.Len() {
		if ask.ProtoReflect().Has(fields.Get(i)) {
			set++
		}
	}
	if set != fields.Len() {
		t.Fatalf("%d of %d fields are set here", set, fields.Len())
	}
	want := proto.Clone(ask).(*fsmpb.Checkout)
	want.Holder = nil
	if got := withoutHolder(&Ticket{Ask: ask}).Ask; !proto.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
	if len(ask.Holder) == 0 {
		t.Error("the ticket itself has lost its holder")
	}
}
