package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// The faults of other license servers of which no script can tell: those that are about many
// clients at once, and about who is let in. The rest are the seen- scripts of testdata/rules.

// TestSeenDatabaseIsLocked: "'database is locked' under 16 clients". Sixteen clients check out, renew and return over all
// nodes at once, and none is turned away, not even for a moment: the client would ask again, so every answer is looked at.
func TestSeenDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	c := seatsCluster(t)
	contract := c.sign(contractYAML("many", 1, 1) + "products:\n  cad: {model: floating, quantity: 16}\n")
	_, err := c.http.PutContract(t.Context(), strings.TrimSpace(contract))
	if err == nil {
		_, err = c.http.CreatePool(t.Context(), apiv1.PoolDefinition{Name: "many", Contract: "many", Size: 16, Products: map[string]apiv1.PoolProduct{"cad": {}}})
	}
	if err == nil {
		_, err = c.http.ActivatePool(t.Context(), "many")
	}
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	answers := new(turnedAway)
	for i := range 16 {
		cl := c.newClient(client.Options{Endpoints: rotate(c.Endpoints(), i), HTTPClient: &http.Client{Transport: answers}})
		all.Go(func() {
			for range 25 {
				if err := round(t, cl, fmt.Sprint("user-", i)); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := answers.busy.Load(); n > 0 || answers.all.Load() < 16*25*3 {
		t.Errorf("of %d answers %d said that the node is busy", answers.all.Load(), n)
	}
	if left := c.open("many"); len(left.leases) > 0 {
		t.Errorf("leases are left: %s", left)
	}
}

// turnedAway counts answers, and those that send the client away because the node has too much to do. A change of leader
// is no such reason.
type turnedAway struct{ all, busy atomic.Int64 }

func (x *turnedAway) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	x.all.Add(1)
	if answer.StatusCode < http.StatusBadRequest {
		return answer, nil
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	var problem apiv1.Problem
	if json.Unmarshal(body, &problem) != nil || !slices.Contains([]apiv1.Code{"no_leader", "outcome_unknown"}, problem.Code) {
		x.busy.Add(1)
	}
	return answer, nil
}

func round(t *testing.T, cl *client.Client, user string) error {
	a, err := cl.Checkout(t.Context(), apiv1.Checkout{Pool: "many", Product: "cad", User: user, Client: "ws"})
	if err != nil {
		return err
	}
	if _, err = cl.Renew(t.Context(), a.Value.Lease.ID, a.Value.Lease.Handle, 60); err != nil {
		return err
	}
	_, err = cl.Return(t.Context(), a.Value.Lease.ID, a.Value.Lease.Handle)
	return err
}

// TestSeenDefaultPasswords: "default passwords in the console (RLM CVE-2021-44152)". There is no token but the one that the operator
// made (TestRefusedStart: without one, or with a short one, no server starts), and nothing is told or done without it.
func TestSeenDefaultPasswords(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{nodes: sites[:1]})
	before := c.Settled()
	guesses := []string{"", "Bearer ", "Basic YWRtaW46YWRtaW4=", token}
	for _, x := range []string{"admin", "password", "licet", "operator", "token", "changeme", strings.Repeat("0", 32), token + "x", token[1:]} {
		guesses = append(guesses, "Bearer "+x)
	}
	for _, guess := range guesses {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if r := mustAsk(t, method, c.nodes[0].URL()+"/v1/contracts", "{}", "Authorization: "+guess); r.status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %s", method, guess, r)
			}
		}
	}
	if after := c.Settled(); after.Digest != before.Digest {
		t.Error("who has no token changed the state")
	}
}
