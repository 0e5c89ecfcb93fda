package fsm

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// writes are the words that propose a command.
var writes = map[string]func(w *world, ts *testscript.TestScript, args []string) *fsmpb.Body{
	"contract": (*world).bodyContract,
	"instance": (*world).bodyInstance,
	"activate": (*world).bodyActivate,
	"settings": (*world).bodySettings,
	"expire":   func(*world, *testscript.TestScript, []string) *fsmpb.Body { return expireBody() },
	"initialise": func(*world, *testscript.TestScript, []string) *fsmpb.Body {
		return initialiseBody()
	},

	"pool": (*world).bodyPool, "checkout": (*world).bodyCheckout, "connect": (*world).bodyConnect,
	"renew": (*world).bodyRenew, "check-in": (*world).bodyCheckIn, "disconnect": (*world).bodyCheckIn,
	"return": (*world).bodyReturn, "revoke": (*world).bodyRevoke, "convert": (*world).bodyConvert,
	"claim": (*world).bodyClaim, "keep": (*world).bodyKeep, "leave": (*world).bodyLeave,
}

// bodyContract signs what the script spells out: contract ID revision=N area=N … [expiry=] [grace=] [signed-by=] [altered=yes].
func (w *world) bodyContract(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 2, "contract ID revision=N AREA=N ...")
	c := testContract(args[0], 1, map[string]uint64{})
	key, altered := vendorKey, false
	for name, value := range pairs(ts, args[1:]) {
		switch name {
		case "revision":
			c.Revision = number(ts, value)
		case "customer":
			c.Customer = value
		case "email":
			c.Email = value
		case "start":
			c.Start = moment(ts, value)
		case "expiry":
			c.Expiry = moment(ts, value)
		case "grace":
			c.GraceDays = uint32(number(ts, value))
		case "signed-by":
			key = map[string]ed25519.PrivateKey{"vendor": vendorKey, "stranger": strangerKey, "cluster": clusterKey}[value]
		case "answers":
			for _, id := range strings.Split(value, ",") {
				c.Answers = append(c.Answers, number(ts, id))
			}
		case "altered":
			altered = true
		default:
			if product, ok := strings.CutPrefix(name, "product."); ok {
				c.Products = addProduct(ts, c.Products, product, value)
				continue
			}
			c.Users[name] = number(ts, value)
		}
	}
	document, err := c.Sign(key)
	if err != nil {
		ts.Fatalf("sign: %v", err)
	}
	if altered {
		document = alterPayload(document)
	}
	return contractBody(document)
}

// alterPayload changes one character of what was signed.
func alterPayload(document string) string {
	at := strings.LastIndexByte(document, '.') - 8
	other := byte('A')
	if document[at] == 'A' {
		other = 'B'
	}
	return document[:at] + string(other) + document[at+1:]
}

func addProduct(ts *testscript.TestScript, all map[string]signed.Product, name, value string) map[string]signed.Product {
	parts := strings.Split(value, ":")
	need(ts, parts, 2, "product.NAME=MODEL:QUANTITY[:OVERDRAFT]")
	p := signed.Product{Model: signed.Model(parts[0]), Quantity: number(ts, parts[1])}
	if len(parts) == 3 {
		p.Overdraft = number(ts, parts[2])
	}
	if all == nil {
		all = map[string]signed.Product{}
	}
	all[name] = p
	return all
}

func (w *world) bodyInstance(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 2, "instance create CONTRACT NAME AREA=N... | resize NAME AREA=N... | remove NAME")
	switch args[0] {
	case "create":
		need(ts, args, 3, "instance create CONTRACT NAME AREA=N...")
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
		return number(ts, n)
	}
	serial, ok := w.serials[name]
	if !ok {
		ts.Fatalf("no instance %q so far", name)
	}
	return serial
}

// bodyActivate presents the key in force, or the one of key=N; areas given are a report.
func (w *world) bodyActivate(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 1, "activate NAME [key=N|forged] [AREA=N...]")
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
	for name, value := range pairs(ts, args) {
		*map[string]*uint64{"ttl": &ttl, "limit": &limit}[name] = number(ts, value)
	}
	return settingsBody(ttl, limit)
}

// cmdAt moves the leader's clock and has the cluster take note of it.
func (w *world) cmdAt(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "at TIME")
	w.now = moment(ts, args[0])
	w.propose()
}

// cmdNodeClock moves the clock of the nodes, while nothing is written.
func (w *world) cmdNodeClock(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "node-clock TIME")
	w.now = moment(ts, args[0])
}

func (w *world) cmdOutage(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "outage DURATION")
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	w.pause = d
}

func (w *world) cmdLeader(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "leader TERM")
	w.term = number(ts, args[0])
}

func (w *world) cmdStampedIn(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "stamped-in TERM")
	w.stamped = number(ts, args[0])
}

func (w *world) cmdActor(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "actor NAME")
	w.actor = args[0]
}

func (w *world) cmdRequest(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "request ID")
	w.request = args[0]
}

// cmdDryRun tells instead of doing: dry-run WRITE...; a refusal is then expected by "refused".
func (w *world) cmdDryRun(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "dry-run WRITE...")
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
	need(ts, args, 1, "requests N")
	w.propose(slices.Repeat([]*fsmpb.Body{removeBody(1 << 40)}, int(number(ts, args[0])))...)
}

func (w *world) cmdRefused(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "refused CODE [FACT=VALUE...]")
	r := w.last.GetRefusal()
	if r.GetCode() != args[0] {
		ts.Fatalf("refusal %q instead of %q", r.GetCode(), args[0])
	}
	for name, want := range pairs(ts, args[1:]) {
		i := slices.IndexFunc(r.Facts, func(f *fsmpb.Fact) bool { return f.Name == name })
		if i < 0 || factText(r.Facts[i]) != want {
			ts.Fatalf("fact %s is not %q in %v", name, want, r.Facts)
		}
	}
}

func (w *world) cmdRepeated(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "repeated yes|no")
	expect(ts, "repeated", yesNo(w.last.GetRepeated()), args[0])
}

func (w *world) cmdMustRemove(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "must-remove nothing|AREA=N...")
	if w.last.GetInstance() == nil {
		ts.Fatalf("the last answer has no instance: %v", w.last)
	}
	expectQuantities(ts, "must remove", InstanceStatusFromProto(w.last.GetInstance()).Excess(), args)
}

// cmdKey verifies the key in force offline, with the public key alone, and looks into it (I4).
func (w *world) cmdKey(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "key NAME revision=N [AREA=N...] [expiry=] [grace=]")
	x := w.instance(ts, args[0])
	k, err := signed.VerifyLicenseKey(w.noteKey(x), []ed25519.PublicKey{public(clusterKey)})
	ts.Check(err)
	expect(ts, "serial in the key", k.Serial, x.Serial)
	expect(ts, "contract in the key", k.Contract, x.Contract)
	for name, value := range pairs(ts, args[1:]) {
		switch name {
		case "revision":
			expect(ts, "key revision", k.Revision, number(ts, value))
		case "expiry":
			expect(ts, "expiry in the key", k.Expiry, moment(ts, value))
		case "grace":
			expect(ts, "grace in the key", uint64(k.GraceDays), number(ts, value))
		default:
			expect(ts, name+" in the key", k.Allocation[name], number(ts, value))
		}
	}
}

func (w *world) cmdSerial(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "serial NAME N")
	expect(ts, "serial of "+args[0], w.instance(ts, args[0]).Serial, number(ts, args[1]))
}

func (w *world) cmdFree(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "free CONTRACT AREA=N...")
	c := w.contract(ts, args[0])
	for _, x := range quantities(ts, args[1:]) {
		most, taken := c.Users.Get(x.Name), c.Allocated.Get(x.Name)
		expect(ts, "free in "+x.Name, most-min(most, taken), x.N)
	}
}

func (w *world) cmdAllocated(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "allocated CONTRACT nothing|AREA=N...")
	expectQuantities(ts, "allocated", w.contract(ts, args[0]).Allocated, args[1:])
}

func (w *world) cmdOver(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "over CONTRACT nothing|AREA=N...")
	expectQuantities(ts, "over-allocated", w.contract(ts, args[0]).Over, args[1:])
}

// cmdState: state contract ID in-force|ended, state instance NAME works|ended|removed, state pool NAME active|inactive|ended|gone.
func (w *world) cmdState(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "state contract ID in-force|ended; state instance NAME works|ended|removed; state pool NAME active|inactive|ended|gone")
	got := "removed"
	if args[0] == "pool" {
		got = w.poolState(args[1])
	} else if args[0] == "contract" {
		got = map[bool]string{true: "ended", false: "in-force"}[w.contract(ts, args[1]).Ended]
	} else if x, refusal := w.s.View().Instance(w.serialOf(ts, args[1])); refusal == nil {
		got = map[bool]string{true: "ended", false: "works"}[x.Ended]
	}
	expect(ts, args[1], got, args[2])
}

// cmdClock: clock wall=TIME lease=DURATION, the lease clock counted from the epoch of the tests.
func (w *world) cmdClock(ts *testscript.TestScript, args []string) {
	clock := w.s.View().Clock()
	for name, value := range pairs(ts, args) {
		switch name {
		case "wall":
			expect(ts, "wall clock", clock.Wall(), moment(ts, value))
		case "lease":
			expect(ts, "lease clock", time.UnixMilli(clock.LeaseMs()).UTC(), moment(ts, value))
		default:
			ts.Fatalf("clock %s", name)
		}
	}
}

func (w *world) cmdDue(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "due nothing|TIME")
	got := "nothing"
	if ms, ok := w.s.View().NextDue(); ok {
		got = time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	want := args[0]
	if want != "nothing" {
		want = moment(ts, want).Format(time.RFC3339)
	}
	expect(ts, "next due", got, want)
}

func (w *world) cmdRemembered(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "remembered N")
	expect(ts, "remembered requests", uint64(w.s.View().Requests()), number(ts, args[0]))
}

func (w *world) cmdExpired(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "expired N")
	expect(ts, "contracts ended", w.last.GetExpired().GetContracts(), number(ts, args[0]))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func expect[T comparable](ts *testscript.TestScript, what string, got, want T) {
	if got != want {
		ts.Fatalf("%s: %v instead of %v", what, got, want)
	}
}

func expectQuantities(ts *testscript.TestScript, what string, got Quantities, args []string) {
	var want Quantities
	if args[0] != "nothing" {
		want = quantities(ts, args)
	}
	expect(ts, what, fmt.Sprint(got.plus(nil)), fmt.Sprint(want.plus(nil)))
}

func number(ts *testscript.TestScript, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	ts.Check(err)
	return n
}

// moment reads 2026-01-01 or 2026-01-01T00:00:00Z.
func moment(ts *testscript.TestScript, text string) time.Time {
	if !strings.Contains(text, "T") {
		text += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	ts.Check(err)
	return t.UTC()
}

func quantities(ts *testscript.TestScript, args []string) Quantities {
	m := map[string]uint64{}
	for name, value := range pairs(ts, args) {
		m[name] = number(ts, value)
	}
	return QuantitiesOf(m)
}
