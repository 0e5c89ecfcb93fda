package rules_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm/signed"
)

var contractWrites = writes{
	"contract": (*player).putContract, "vendor-key": (*player).changeVendorKeys, "instance": (*player).sendInstance, "activate": (*player).activate, "settings": (*player).changeSettings,
}

var contractWords = words{
	"must-remove": (*player).cmdMustRemove, "key": (*player).cmdKey, "serial": (*player).cmdSerial, "free": (*player).cmdFree,
	"allocated": (*player).cmdAllocated, "over": (*player).cmdOver, "state": (*player).cmdState, "product": (*player).cmdProduct,
}

func (p *player) putContract(ts *testscript.TestScript, args []string) send {
	document := rules.Document(ts, args, p.signers())
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.PutContract(ctx, document))
	}
}

// signers are the keys that scripts call by other names than a vendor's further keys.
func (p *player) signers() map[string]ed25519.PrivateKey {
	return map[string]ed25519.PrivateKey{"vendor": vendorKey, "stranger": strangerKey, "cluster": p.signingKey()}
}

func (p *player) changeVendorKeys(ts *testscript.TestScript, args []string) send {
	statement := rules.Statement(ts, args, p.signers())
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ChangeVendorKeys(ctx, statement))
	}
}

// keyState is what became of a vendor's key.
func (p *player) keyState(ts *testscript.TestScript, name string) string {
	a, err := p.reader(ts).VendorKeys(p.ctx)
	ts.Check(err)
	for _, k := range a.Value.VendorKeys {
		if k.ID == signed.KeyID(rules.KeyOf(name, p.signers()).Public().(ed25519.PublicKey)) {
			return map[bool]string{true: "revoked", false: "in-force"}[k.Revoked != nil]
		}
	}
	return "unknown"
}

func (p *player) sendInstance(ts *testscript.TestScript, args []string) send {
	const usage = "instance create CONTRACT NAME AREA=N... | resize NAME AREA=N... | remove NAME"
	rules.Need(ts, args, 2, usage)
	switch args[0] {
	case "create":
		rules.Need(ts, args, 3, usage)
		areas := quantities(ts, args[3:])
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.CreateInstance(ctx, args[1], args[2], areas))
		}
	case "resize":
		serial, areas := p.serialOf(ts, args[1]), quantities(ts, args[2:])
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.ResizeInstance(ctx, serial, areas))
		}
	case "remove":
		serial := p.serialOf(ts, args[1])
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.RemoveInstance(ctx, serial))
		}
	}
	ts.Fatalf("usage: %s", usage)
	return nil
}

func quantities(ts *testscript.TestScript, args []string) apiv1.Quantities {
	return rules.Quantities(ts, args)
}

// serialOf takes an instance's name, or serial:N.
func (p *player) serialOf(ts *testscript.TestScript, name string) uint64 {
	if n, ok := strings.CutPrefix(name, "serial:"); ok {
		return rules.Number(ts, n)
	}
	serial, ok := p.serials[name]
	if !ok {
		ts.Fatalf("no instance %q so far", name)
	}
	return serial
}

// noteInstance keeps what later lines refer to by name: serial numbers and every key revision.
func (p *player) noteInstance() {
	if x, ok := p.last.value.(apiv1.Instance); ok {
		p.serials[x.Name] = x.Serial
		if x.Key != "" {
			p.keys[fmt.Sprintf("%s/%d", x.Name, x.KeyRevision)] = x.Key
		}
	}
}

// activate presents the key in force, or the one of key=N; areas given are a report.
func (p *player) activate(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 1, "activate NAME [key=N|forged] [AREA=N...]")
	name, rest := args[0], args[1:]
	var key string
	if len(rest) > 0 && strings.HasPrefix(rest[0], "key=") {
		key = p.keyNamed(ts, name, strings.TrimPrefix(rest[0], "key="))
		rest = rest[1:]
	} else {
		key = p.keyOf(ts, name)
	}
	var active apiv1.Quantities
	if len(rest) > 0 {
		active = quantities(ts, rest)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.Activate(ctx, key, active))
	}
}

// keyOf is the key in force.
func (p *player) keyOf(ts *testscript.TestScript, name string) string {
	a, err := p.reader(ts).InstanceKey(p.ctx, p.serialOf(ts, name))
	ts.Check(err)
	p.keys[fmt.Sprintf("%s/%d", name, a.Value.Revision)] = a.Value.Key
	return a.Value.Key
}

func (p *player) keyNamed(ts *testscript.TestScript, name, which string) string {
	if which == "forged" {
		key, err := p.verified(ts, name).Sign(strangerKey)
		ts.Check(err)
		return key
	}
	key, ok := p.keys[name+"/"+which]
	if !ok {
		ts.Fatalf("instance %s had no key of revision %s that the script saw", name, which)
	}
	return key
}

// verified is the key in force, verified offline with the cluster's public keys alone.
func (p *player) verified(ts *testscript.TestScript, name string) *signed.LicenseKey {
	k, err := client.VerifyLicenseKey(p.keyOf(ts, name), p.publicKeys(ts), p.clock.now())
	if !errors.Is(err, client.ErrLicenseEnded) {
		ts.Check(err)
	}
	return k
}

func (p *player) publicKeys(ts *testscript.TestScript) (pem []byte) {
	a, err := p.reader(ts).Keys(p.ctx)
	ts.Check(err)
	for _, key := range a.Value.SigningKeys {
		pem = append(pem, key.Pem...)
	}
	return pem
}

func (p *player) changeSettings(ts *testscript.TestScript, args []string) send {
	change := apiv1.SettingsChange{}
	for name, value := range rules.Pairs(ts, args) {
		n := rules.Number(ts, value)
		*map[string]**uint64{"ttl": &change.RequestTTLSeconds, "limit": &change.RequestLimit}[name] = &n
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.UpdateSettings(ctx, change))
	}
}

func (p *player) cmdMustRemove(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "must-remove nothing|AREA=N...")
	x, ok := p.last.value.(apiv1.Instance)
	if !ok {
		ts.Fatalf("the last answer has no instance: %+v", p.last.value)
	}
	got := map[string]uint64{}
	for name, area := range x.Areas {
		got[name] = area.MustRemove
	}
	expectQuantities(ts, "must remove", got, args)
}

// expectQuantities compares what is not zero.
func expectQuantities(ts *testscript.TestScript, what string, got map[string]uint64, args []string) {
	want := map[string]uint64{}
	if args[0] != "nothing" {
		want = rules.Quantities(ts, args)
	}
	for _, m := range []map[string]uint64{got, want} {
		for name, n := range m {
			if n == 0 {
				delete(m, name)
			}
		}
	}
	rules.Expect(ts, what, fmt.Sprint(got), fmt.Sprint(want))
}

// cmdKey looks into the key in force (I4).
func (p *player) cmdKey(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "key NAME revision=N [AREA=N...] [expiry=] [grace=]")
	x, k := p.instance(ts, args[0]), p.verified(ts, args[0])
	rules.Expect(ts, "serial in the key", k.Serial, x.Serial)
	rules.Expect(ts, "contract in the key", k.Contract, x.Contract)
	for name, value := range rules.Pairs(ts, args[1:]) {
		switch name {
		case "revision":
			rules.Expect(ts, "key revision", k.Revision, rules.Number(ts, value))
		case "expiry":
			rules.Expect(ts, "expiry in the key", k.Expiry, rules.Moment(ts, value))
		case "grace":
			rules.Expect(ts, "grace in the key", uint64(k.GraceDays), rules.Number(ts, value))
		default:
			rules.Expect(ts, name+" in the key", k.Allocation[name], rules.Number(ts, value))
		}
	}
}

func (p *player) instance(ts *testscript.TestScript, name string) apiv1.Instance {
	a, err := p.reader(ts).Instance(p.ctx, p.serialOf(ts, name))
	ts.Check(err)
	return a.Value
}

func (p *player) contract(ts *testscript.TestScript, id string) apiv1.Contract {
	a, err := p.reader(ts).Contract(p.ctx, id)
	ts.Check(err)
	return a.Value
}

func (p *player) cmdSerial(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "serial NAME N")
	rules.Expect(ts, "serial of "+args[0], p.instance(ts, args[0]).Serial, rules.Number(ts, args[1]))
}

func (p *player) cmdFree(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "free CONTRACT AREA=N...")
	areas := p.contract(ts, args[0]).Areas
	for name, want := range rules.Quantities(ts, args[1:]) {
		rules.Expect(ts, "free in "+name, areas[name].Free, want)
	}
}

func (p *player) cmdAllocated(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "allocated CONTRACT nothing|AREA=N...")
	got := map[string]uint64{}
	for name, area := range p.contract(ts, args[0]).Areas {
		got[name] = area.Allocated
	}
	expectQuantities(ts, "allocated", got, args[1:])
}

func (p *player) cmdOver(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "over CONTRACT nothing|AREA=N...")
	got := map[string]uint64{}
	for name, area := range p.contract(ts, args[0]).Areas {
		got[name] = area.Over
	}
	expectQuantities(ts, "over-allocated", got, args[1:])
}

func (p *player) cmdState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 3, rules.StateUsage)
	var got string
	switch args[0] {
	case "pool":
		got = p.poolState(ts, args[1])
	case "contract":
		got = map[bool]string{true: "ended", false: "in-force"}[p.contract(ts, args[1]).Ended]
	case "signer-of":
		got = map[bool]string{true: "revoked", false: "in-force"}[p.contract(ts, args[1]).VendorKeyRevoked]
	case "vendor-key":
		got = p.keyState(ts, args[1])
	default:
		got = p.instanceState(ts, args[1])
	}
	rules.Expect(ts, args[1], got, args[2])
}

func (p *player) instanceState(ts *testscript.TestScript, name string) string {
	a, err := p.reader(ts).Instance(p.ctx, p.serialOf(ts, name))
	switch {
	case client.CodeOf(err) == apiv1.CodeInstanceRemoved:
		return "removed"
	case err != nil:
		ts.Fatalf("%v", err)
	case a.Value.State == apiv1.InstanceStateEnded:
		return "ended"
	}
	return "works"
}

// cmdProduct: product CONTRACT/NAME [quantity=N] [promised=N] [used=N] [over=N] [overdrawn=N].
func (p *player) cmdProduct(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "product CONTRACT/NAME NAME=N...")
	contract, product, _ := strings.Cut(args[0], "/")
	x, ok := p.contract(ts, contract).Products[product]
	if !ok {
		ts.Fatalf("contract %s tells nothing of product %s", contract, product)
	}
	for name, value := range rules.Pairs(ts, args[1:]) {
		n, ok := map[string]uint64{"quantity": x.Quantity, "promised": x.Promised, "used": x.Used, "over": x.Over, "overdrawn": x.Overdrawn}[name]
		if !ok {
			ts.Fatalf("a product has no %s", name)
		}
		rules.Expect(ts, args[0]+" "+name, n, rules.Number(ts, value))
	}
}
