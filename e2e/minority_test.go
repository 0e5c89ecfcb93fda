package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// TestMinority: of three nodes two are gone. The third tells what it has and how
// old that is, refuses the rest quickly, and takes up its work when they are back.
func TestMinority(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 10)
	a, err := c.http.CreateInstance(t.Context(), "load", "one", apiv1.Quantities{"primary": 3})
	if err != nil {
		t.Fatal(err)
	}
	left := c.Follower()
	before := c.Settled()
	var gone []*Node
	for _, n := range c.nodes {
		if n != left {
			gone = append(gone, n)
		}
	}
	c.Kill(gone...)
	eventually(t, "the node says that it is not ready, and why", func() error {
		r := mustAsk(t, "GET", left.URL()+"/readyz", "")
		if r.status != http.StatusServiceUnavailable || r.took > time.Second || !contains(r.body, "It reaches 1 of 3 voters, and 2 are needed") {
			return fmt.Errorf("/readyz answers %s", r)
		}
		return nil
	})
	if r := mustAsk(t, "GET", left.URL()+"/healthz", ""); r.status != http.StatusOK {
		t.Errorf("/healthz answers %s", r)
	}
	stale, err := left.client.Instance(t.Context(), a.Value.Serial, client.Stale())
	switch {
	case err != nil:
		t.Fatalf("stale read: %v", err)
	case stale.Value.Areas["primary"].Allocation != 3:
		t.Errorf("the stale read has %v", stale.Value.Areas)
	case stale.Age <= 0:
		t.Errorf("the age of a stale read without a leader is %s", stale.Age)
	}
	// Once it has waited longer than an election takes, it lets nobody else wait.
	for what, request := range map[string][3]string{
		"a linearizable read": {"GET", fmt.Sprintf("/v1/instances/%d", a.Value.Serial), ""},
		"a write":             {"POST", "/v1/instances", `{"contract": "load", "name": "two", "allocation": {"primary": 1}}`},
	} {
		eventually(t, what+" is refused within 1 s", func() error {
			if r := mustAsk(t, request[0], left.URL()+request[1], request[2]); r.code() != apiv1.CodeNoLeader || r.took > time.Second {
				return fmt.Errorf("after %s it was answered %s", r.took, r)
			}
			return nil
		})
	}
	younger, err := left.client.Instance(t.Context(), a.Value.Serial, client.Stale())
	if err != nil || younger.Age <= stale.Age {
		t.Errorf("a later stale read says %s, an earlier one %s (%v)", younger.Age, stale.Age, err)
	}
	if s := left.mustStatus(); s.State.Digest != before.Digest || s.Ready {
		t.Errorf("the status says ready %v, digest %s instead of %s", s.Ready, s.State.Digest, before.Digest)
	}
	for _, n := range gone {
		n.Start()
	}
	c.WaitReady()
	if n := len(c.instances("load")); n != 1 {
		t.Errorf("%d instances afterwards: a refused write was done", n)
	}
	c.Settled()
}
