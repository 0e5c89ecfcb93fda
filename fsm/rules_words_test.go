package fsm

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// writes are the words that propose a command.
var writes = map[string]func(w *world, ts *testscript.TestScript, args []string) *fsmpb.Body{
	"contract":   (*world).bodyContract,
	"vendor-key": (*world).bodyVendorKey,
	"instance":   (*world).bodyInstance,
	"activate":   (*world).bodyActivate,
	"settings":   (*world).bodySettings,
	"expire":     func(*world, *testscript.TestScript, []string) *fsmpb.Body { return expireBody() },
	"initialise": func(*world, *testscript.TestScript, []string) *fsmpb.Body {
		return initialiseBody()
	},

	"pool": (*world).bodyPool, "checkout": (*world).bodyCheckout, "connect": (*world).bodyConnect,
	"renew": (*world).bodyRenew, "check-in": (*world).bodyCheckIn, "disconnect": (*world).bodyCheckIn,
	"return": (*world).bodyReturn, "revoke": (*world).bodyRevoke, "convert": (*world).bodyConvert,
	"claim": (*world).bodyClaim, "keep": (*world).bodyKeep, "leave": (*world).bodyLeave,
}

// bodyContract signs what the script spells out.
func (w *world) bodyContract(ts *testscript.TestScript, args []string) *fsmpb.Body {
	return contractBody(rules.Document(ts, args, scriptKeys))
}

// scriptKeys are those that scripts call by other names than a vendor's further keys.
var scriptKeys = map[string]ed25519.PrivateKey{"vendor": vendorKey, "stranger": strangerKey, "cluster": clusterKey}

func (w *world) bodyVendorKey(ts *testscript.TestScript, args []string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ChangeVendorKeys{ChangeVendorKeys: &fsmpb.ChangeVendorKeys{Statement: rules.Statement(ts, args, scriptKeys)}}}
}

// keyState is what became of a vendor's key.
func (w *world) keyState(id string) string {
	for _, k := range w.s.View().VendorKeys() {
		if k.ID() == id {
			return map[bool]string{true: "revoked", false: "in-force"}[k.Revoked()]
		}
	}
	return "unknown"
}

func (w *world) bodyInstance(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 2, "instance create CONTRACT NAME AREA=N... | resize NAME AREA=N... | remove NAME")
	switch args[0] {
	case "create":
		rules.Need(ts, args, 3, "instance create CONTRACT NAME AREA=N...")
		return createBody(args[1], args[2], quantities(ts, args[3:]).proto())
	case "resize":
		return resizeBody(w.serialOf(ts, args[1]), quantities(ts, args[2:]).proto())
	case "remove":
		return removeBody(w.serialOf(ts, args[1]))
	}
	ts.Fatalf("instance %q", args[0])
	return nil
}

// serialOf takes an instance's name, or serial:N.
func (w *world) serialOf(ts *testscript.TestScript, name string) uint64 {
	if n, ok := strings.CutPrefix(name, "serial:"); ok {
		return rules.Number(ts, n)
	}
	serial, ok := w.serials[name]
	if !ok {
		ts.Fatalf("no instance %q so far", name)
	}
	return serial
}

// bodyActivate presents the key in force, or the one of key=N; areas given are a report.
func (w *world) bodyActivate(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 1, "activate NAME [key=N|forged] [AREA=N...]")
	name, rest := args[0], args[1:]
	var key string
	if len(rest) > 0 && strings.HasPrefix(rest[0], "key=") {
		which := strings.TrimPrefix(rest[0], "key=")
		rest = rest[1:]
		key = w.keyNamed(ts, name, which)
	} else {
		key = w.noteKey(w.instance(ts, name))
	}
	return activateBody(key, len(rest) > 0, quantities(ts, rest).proto())
}

func (w *world) keyNamed(ts *testscript.TestScript, name, which string) string {
	if which == "forged" {
		key, err := w.instance(ts, name).LicenseKey(testCluster).Sign(strangerKey)
		ts.Check(err)
		return key
	}
	key, ok := w.keys[name+"/"+which]
	if !ok {
		ts.Fatalf("instance %s had no key of revision %s that the script saw", name, which)
	}
	return key
}

func (w *world) bodySettings(ts *testscript.TestScript, args []string) *fsmpb.Body {
	var ttl, limit uint64
	for name, value := range rules.Pairs(ts, args) {
		*map[string]*uint64{"ttl": &ttl, "limit": &limit}[name] = rules.Number(ts, value)
	}
	return settingsBody(ttl, limit)
}

// cmdAt moves the leader's clock and has the cluster take note of it.
func (w *world) cmdAt(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "at TIME")
	w.now = rules.Moment(ts, args[0])
	w.propose()
}

// cmdNodeClock moves the clock of the nodes, while nothing is written.
func (w *world) cmdNodeClock(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "node-clock TIME")
	w.now = rules.Moment(ts, args[0])
}

func (w *world) cmdOutage(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "outage DURATION")
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	w.pause = d
}

func (w *world) cmdLeader(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "leader TERM")
	w.term = rules.Number(ts, args[0])
}

func (w *world) cmdStampedIn(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "stamped-in TERM")
	w.stamped = rules.Number(ts, args[0])
}

func (w *world) cmdActor(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "actor NAME")
	w.actor = args[0]
}

func (w *world) cmdRequest(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "request ID")
	w.request = args[0]
}

// cmdDryRun tells instead of doing: dry-run WRITE...; a refusal is then expected by "refused".
func (w *world) cmdDryRun(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "dry-run WRITE...")
	body, ok := writes[args[0]]
	if !ok {
		ts.Fatalf("%q is no write", args[0])
	}
	w.dry = true
	w.propose(body(w, ts, args[1:]))
	w.asked = nil
}

// cmdRequests sends N harmless requests under new ids, in one entry.
func (w *world) cmdRequests(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "requests N")
	w.propose(slices.Repeat([]*fsmpb.Body{removeBody(1 << 40)}, int(rules.Number(ts, args[0])))...)
}

func (w *world) cmdRefused(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "refused CODE [FACT=VALUE...]")
	r := w.last.GetRefusal()
	if r.GetCode() != args[0] {
		ts.Fatalf("refusal %q instead of %q", r.GetCode(), args[0])
	}
	for name, want := range rules.Pairs(ts, args[1:]) {
		i := slices.IndexFunc(r.Facts, func(f *fsmpb.Fact) bool { return f.Name == name })
		if i < 0 || factText(r.Facts[i]) != want {
			ts.Fatalf("fact %s is not %q in %v", name, want, r.Facts)
		}
	}
}

func (w *world) cmdRepeated(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "repeated yes|no")
	rules.Expect(ts, "repeated", rules.YesNo(w.last.GetRepeated()), args[0])
}

func (w *world) cmdMustRemove(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "must-remove nothing|AREA=N...")
	if w.last.GetInstance() == nil {
		ts.Fatalf("the last answer has no instance: %v", w.last)
	}
	expectQuantities(ts, "must remove", InstanceStatusFromProto(w.last.GetInstance()).Excess(), args)
}

// cmdKey verifies the key in force offline, with the public key alone, and looks into it (I4).
func (w *world) cmdKey(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "key NAME revision=N [AREA=N...] [expiry=] [grace=]")
	x := w.instance(ts, args[0])
	k, err := signed.VerifyLicenseKey(w.noteKey(x), []ed25519.PublicKey{public(clusterKey)})
	ts.Check(err)
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

func (w *world) cmdSerial(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "serial NAME N")
	rules.Expect(ts, "serial of "+args[0], w.instance(ts, args[0]).Serial, rules.Number(ts, args[1]))
}

func (w *world) cmdFree(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "free CONTRACT AREA=N...")
	c := w.contract(ts, args[0])
	for _, x := range quantities(ts, args[1:]) {
		most, taken := c.Users.Get(x.Name), c.Allocated.Get(x.Name)
		rules.Expect(ts, "free in "+x.Name, most-min(most, taken), x.N)
	}
}

func (w *world) cmdAllocated(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "allocated CONTRACT nothing|AREA=N...")
	expectQuantities(ts, "allocated", w.contract(ts, args[0]).Allocated, args[1:])
}

func (w *world) cmdOver(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "over CONTRACT nothing|AREA=N...")
	expectQuantities(ts, "over-allocated", w.contract(ts, args[0]).Over, args[1:])
}

// cmdState: state contract ID in-force|ended, state instance NAME works|ended|removed, state pool NAME active|inactive|ended|gone.
func (w *world) cmdState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 3, rules.StateUsage)
	got := "removed"
	switch args[0] {
	case "pool":
		got = w.poolState(args[1])
	case "contract":
		got = map[bool]string{true: "ended", false: "in-force"}[w.contract(ts, args[1]).Ended]
	case "signer-of":
		got = map[bool]string{true: "revoked", false: "in-force"}[w.contract(ts, args[1]).KeyRevoked]
	case "vendor-key":
		got = w.keyState(signed.KeyID(public(rules.KeyOf(args[1], scriptKeys))))
	default:
		if x, refusal := w.s.View().Instance(w.serialOf(ts, args[1])); refusal == nil {
			got = map[bool]string{true: "ended", false: "works"}[x.Ended]
		}
	}
	rules.Expect(ts, args[1], got, args[2])
}

// cmdClock: clock wall=TIME lease=DURATION, the lease clock counted from the epoch of the tests.
func (w *world) cmdClock(ts *testscript.TestScript, args []string) {
	clock := w.s.View().Clock()
	for name, value := range rules.Pairs(ts, args) {
		switch name {
		case "wall":
			rules.Expect(ts, "wall clock", clock.Wall(), rules.Moment(ts, value))
		case "lease":
			rules.Expect(ts, "lease clock", time.UnixMilli(clock.LeaseMs()).UTC(), rules.Moment(ts, value))
		default:
			ts.Fatalf("clock %s", name)
		}
	}
}

func (w *world) cmdDue(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "due nothing|TIME")
	got := "nothing"
	if ms, ok := w.s.View().NextDue(); ok {
		got = time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	want := args[0]
	if want != "nothing" {
		want = rules.Moment(ts, want).Format(time.RFC3339)
	}
	rules.Expect(ts, "next due", got, want)
}

func (w *world) cmdRemembered(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "remembered N")
	rules.Expect(ts, "remembered requests", uint64(w.s.View().Requests()), rules.Number(ts, args[0]))
}

func (w *world) cmdExpired(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "expired N")
	rules.Expect(ts, "contracts ended", w.last.GetExpired().GetContracts(), rules.Number(ts, args[0]))
}

func expectQuantities(ts *testscript.TestScript, what string, got Quantities, args []string) {
	var want Quantities
	if args[0] != "nothing" {
		want = quantities(ts, args)
	}
	rules.Expect(ts, what, fmt.Sprint(got.plus(nil)), fmt.Sprint(want.plus(nil)))
}

func quantities(ts *testscript.TestScript, args []string) Quantities {
	return QuantitiesOf(rules.Quantities(ts, args))
}
