package cluster

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// K6: all members derive the same handle of a request, and another of any other request.
func TestHandle(t *testing.T) {
	with := func(seed byte) *Node {
		keys, err := newSigningKeys(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return &Node{identity: &identity{signing: keys}}
	}
	one, other, stranger := with(7), with(7), with(8)
	handle := func(n *Node, actor, id string, item int) string {
		t.Helper()
		h, err := n.Handle(actor, id, item)
		if err != nil || len(h) != 32 {
			t.Fatalf("%q, %v", h, err)
		}
		return h
	}
	first := handle(one, "operator", "id-1", 0)
	if first != handle(other, "operator", "id-1", 0) {
		t.Error("two members derive two handles")
	}
	seen := map[string]bool{first: true}
	for _, h := range []string{
		handle(one, "operator", "id-1", 1), handle(one, "operator", "id-2", 0), handle(one, "other", "id-1", 0),
		handle(one, "operator", "id-11", 0), handle(one, "operator", "id-1", 11), handle(stranger, "operator", "id-1", 0),
	} {
		if seen[h] {
			t.Errorf("handle %s is that of two requests", h)
		}
		seen[h] = true
	}
}

// A node that has no key yet says so.
func TestHandleWithoutKey(t *testing.T) {
	n := &Node{identity: &identity{}, replica: newReplica(time.Now, nil)}
	if _, err := n.Handle("operator", "id-1", 0); !saysNotReady(err) {
		t.Errorf("handle: %v", err)
	}
	if _, err := n.SignBorrow(&signed.Borrow{}); !saysNotReady(err) {
		t.Errorf("borrow: %v", err)
	}
}

func saysNotReady(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.code == NotReady
}
