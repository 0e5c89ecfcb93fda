package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

// K4: ended, another user's and another device's borrow are told apart, and there is none without a user and a device.
func TestVerifyBorrow(t *testing.T) {
	token := borrowToken(t)
	for _, c := range []struct {
		name, token, user, client string
		days                      int
		genuine                   bool
		want                      []error
	}{
		{"good", token, "Ann@Acme.example", "ws-1", 2, true, nil},
		{"a line", token + "\n", "ann@acme.example", "ws-1", 2, true, nil},
		{"ended", token, "ann@acme.example", "ws-1", 3, true, []error{client.ErrBorrowEnded}},
		{"another user", token, "bob@acme.example", "ws-1", 2, true, []error{client.ErrOtherUser}},
		{"another device", token, "ann@acme.example", "WS-1", 2, true, []error{client.ErrOtherClient}},
		{"all of it", token, "bob", "ws-2", 9, true, []error{client.ErrBorrowEnded, client.ErrOtherUser, client.ErrOtherClient}},
		{"whoever", token, "", "ws-1", 2, false, []error{}},
		{"wherever", token, "ann@acme.example", "", 2, false, []error{}},
		{"cut", token[:len(token)-5], "ann@acme.example", "ws-1", 2, false, []error{signed.ErrMalformed}},
		{"no token", "x", "ann@acme.example", "ws-1", 2, false, []error{signed.ErrMalformed}},
	} {
		now := issued.AddDate(0, 0, c.days)
		v := appVerifier(new(memory), &now)
		v.User, v.Client = c.user, c.client
		b, err := v.VerifyBorrow(c.token)
		if (b != nil) != c.genuine || (err == nil) != (c.want == nil) || b != nil && b.Lease != 7 {
			t.Errorf("%s: %+v, %v", c.name, b, err)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v is not %v", c.name, err, want)
			}
		}
		if incomplete := c.user == "" || c.client == ""; incomplete != (err != nil && strings.Contains(err.Error(), "is missing")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
