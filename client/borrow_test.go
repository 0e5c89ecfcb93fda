package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

// K4: ended, another user's and another device's borrow are told apart.
func TestVerifyBorrow(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, ed25519.SeedSize))
	public, err := signed.EncodePublicKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	issued := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	token, err := (&signed.Borrow{
		Cluster: "c", Lease: 7, Pool: "field", Product: "cad", User: "ann@acme.example", Client: "ws-1", Count: 1,
		Issued: issued, Expiry: issued.AddDate(0, 0, 3),
	}).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, token, user, client string
		days                      int
		genuine                   bool
		want                      []error
	}{
		{"good", token, "Ann@Acme.example", "ws-1", 2, true, nil},
		{"whoever", token + "\n", "", "", 2, true, nil},
		{"ended", token, "ann@acme.example", "ws-1", 3, true, []error{client.ErrBorrowEnded}},
		{"another user", token, "bob@acme.example", "ws-1", 2, true, []error{client.ErrOtherUser}},
		{"another device", token, "ann@acme.example", "WS-1", 2, true, []error{client.ErrOtherClient}},
		{"all of it", token, "bob", "ws-2", 9, true, []error{client.ErrBorrowEnded, client.ErrOtherUser, client.ErrOtherClient}},
		{"cut", token[:len(token)-5], "", "", 2, false, []error{signed.ErrMalformed}},
		{"no token", "x", "", "", 2, false, []error{signed.ErrMalformed}},
	} {
		b, err := client.VerifyBorrow(c.token, public, c.user, c.client, issued.AddDate(0, 0, c.days))
		if (b != nil) != c.genuine || (err == nil) != (c.want == nil) || b != nil && b.Lease != 7 {
			t.Errorf("%s: %+v, %v", c.name, b, err)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v is not %v", c.name, err, want)
			}
		}
	}
	if _, err := client.VerifyBorrow(token, nil, "", "", issued); err == nil {
		t.Error("it verifies without a key")
	}
}
