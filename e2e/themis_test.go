package e2e

import (
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// TestThemisExample plays the example of the Themis text with the Go client, each
// step through another node; testdata/themis-example.txtar does so with the command line.
func TestThemisExample(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	ctx := t.Context()
	bordeaux, lyon, paris := c.Node("bordeaux").client, c.Node("lyon").client, c.Node("paris").client
	c.putContract("themis", 30)

	create := func(cl *client.Client, name string, users uint64) apiv1.Instance {
		t.Helper()
		a, err := cl.CreateInstance(ctx, "themis", name, apiv1.Quantities{"primary": users})
		if err != nil {
			t.Fatal(err)
		}
		return a.Value
	}
	refused := func(want apiv1.Code, err error) {
		t.Helper()
		if got := client.CodeOf(err); got != want {
			t.Errorf("the answer is %q (%v) instead of %q", got, err, want)
		}
	}
	// 15 + 10 + 5 are all of the 30.
	b, l, p := create(bordeaux, "bordeaux", 15), create(lyon, "lyon", 10), create(paris, "paris", 5)
	if b.Serial == l.Serial || l.Serial == p.Serial || b.Serial == p.Serial {
		t.Errorf("serial numbers %d, %d, %d", b.Serial, l.Serial, p.Serial)
	}
	_, err := paris.CreateInstance(ctx, "themis", "marseille", apiv1.Quantities{"primary": 1})
	refused(apiv1.CodeContractExhausted, err)
	if free := factOf(err, "free"); free != 0 {
		t.Errorf("%d are said to be free", free)
	}
	// Bordeaux has 12 active accounts when it is reduced to 10: 2 must go.
	if _, err := lyon.Activate(ctx, b.Key, apiv1.Quantities{"primary": 12}); err != nil {
		t.Fatal(err)
	}
	reduced, err := paris.ResizeInstance(ctx, b.Serial, apiv1.Quantities{"primary": 10})
	if err != nil {
		t.Fatal(err)
	}
	if got := reduced.Value.Areas["primary"].MustRemove; got != 2 {
		t.Errorf("%d accounts must go instead of 2", got)
	}
	_, err = lyon.Activate(ctx, b.Key, nil)
	refused(apiv1.CodeKeyStale, err)
	now, err := bordeaux.Activate(ctx, reduced.Value.Key, apiv1.Quantities{"primary": 12})
	if err != nil || now.Value.State != "over_allocation" || now.Value.Areas["primary"].MustRemove != 2 {
		t.Errorf("with the new key it is answered %+v, %v", now, err)
	}
	// Lyon is removed, and its 10 go to another.
	if _, err := bordeaux.RemoveInstance(ctx, l.Serial); err != nil {
		t.Fatal(err)
	}
	_, err = paris.Activate(ctx, l.Key, nil)
	refused(apiv1.CodeInstanceRemoved, err)
	m := create(lyon, "marseille", 10)
	if m.Serial <= p.Serial {
		t.Errorf("serial number %d was used before", m.Serial)
	}
	// The key verifies offline, with the public key alone.
	keys, err := paris.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	license, err := client.VerifyLicenseKey(m.Key, []byte(keys.Value.SigningKeys[0].Pem), time.Now())
	if err != nil || license.Serial != m.Serial || license.Allocation["primary"] != 10 {
		t.Errorf("the key verifies as %+v, %v", license, err)
	}
	c.Settled()
}
