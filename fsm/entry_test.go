package fsm

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// What an older build can't know stops it, and leaves the state as it was.
func TestUnknownEntries(t *testing.T) {
	body := func(b []byte) []byte { return entryOf(t, &fsmpb.Command{Actor: testActor, RequestId: "x", Body: b}) }
	known := mustCommand(t, "x", removeBody(1))
	unknownField := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 7)
	newerKind := protowire.AppendBytes(protowire.AppendTag(nil, 900, protowire.BytesType), []byte("new"))
	inner := protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), append([]byte{8, 1}, unknownField...))
	entry := entryOf(t, known)
	for name, data := range map[string][]byte{
		"newer format":                  format(t, EntryFormat+1),
		"newest format":                 format(t, math.MaxUint32),
		"no format":                     format(t, 0),
		"empty entry":                   {},
		"unknown field of the entry":    append(entry, unknownField...),
		"unknown kind":                  body(newerKind),
		"kind missing":                  body(nil),
		"unknown field of the command":  entryOf(t, withUnknown(known, unknownField)),
		"unknown field in the body":     body(append(known.Body, unknownField...)),
		"unknown field of a kind":       body(inner),
		"known before an unknown":       entryOf(t, known, &fsmpb.Command{Actor: testActor, RequestId: "y", Body: newerKind}),
		"number spelled with more bits": append([]byte{8, 0x81, 0}, entry[2:]...),
	} {
		t.Run(name, func(t *testing.T) {
			if err := applyFails(t, data); !errors.Is(err, ErrUnknown) {
				t.Errorf("error %q does not say that the entry is unknown", err)
			}
		})
	}
}

// What a replica could not read never gets into the log.
func TestUnreadableTextIsNotEncoded(t *testing.T) {
	for name, c := range map[string]*fsmpb.Command{
		"actor":      {Actor: "a\xff", RequestId: "x"},
		"request id": {Actor: testActor, RequestId: "x\xff"},
	} {
		if data, err := EncodeEntry(&fsmpb.Entry{Term: 1, Commands: []*fsmpb.Command{c}}); err == nil {
			t.Errorf("%s: an entry of %d bytes was encoded", name, len(data))
		}
	}
}

func TestMalformedEntries(t *testing.T) {
	entry := entryOf(t, mustCommand(t, "x", removeBody(1)))
	for name, data := range map[string][]byte{
		"cut short":     entry[:len(entry)-1],
		"no protobuf":   []byte("no protobuf at all"),
		"not UTF-8":     entryOf(t, &fsmpb.Command{Actor: testActor, RequestId: "x", Body: []byte{0x2a, 3, 10, 1, 0xff}}),
		"body cut":      entryOf(t, &fsmpb.Command{Actor: testActor, RequestId: "x", Body: []byte{0x2a, 9, 10}}),
		"empty and tag": {0},
	} {
		t.Run(name, func(t *testing.T) { _ = applyFails(t, data) })
	}
}

func applyFails(t *testing.T, data []byte) error {
	t.Helper()
	r := themis(t)
	before := r.s.Digest()
	outcomes, err := r.s.Apply(r.s.index+1, 1, data)
	if err == nil || outcomes != nil {
		t.Fatalf("applied: %v", outcomes)
	}
	if r.s.Digest() != before {
		t.Error("an entry that can't be read changed the state")
	}
	checkState(t, r.s)
	return err
}

func entryOf(t tb, commands ...*fsmpb.Command) []byte {
	return mustEntry(t, 1, testEpoch, commands...)
}

func format(t *testing.T, n uint32) []byte {
	t.Helper()
	data, err := proto.Marshal(&fsmpb.Entry{Format: n, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func withUnknown(c *fsmpb.Command, raw []byte) *fsmpb.Command {
	c = clone(c)
	c.ProtoReflect().SetUnknown(raw)
	return c
}

// Every request that is malformed is refused as such, and remembered where its caller can be told apart.
func TestMalformedRequests(t *testing.T) {
	long := strings.Repeat("x", 65)
	tooMany := map[string]uint64{}
	for i := range 65 {
		tooMany["a"+strings.Repeat("b", i)] = 1
	}
	delete(tooMany, "a"+strings.Repeat("b", 64))
	tooMany["z"] = 1
	twice := []*fsmpb.Quantity{{Name: "primary", N: 1}, {Name: "extranet"}, {Name: "primary", N: 2}}
	for name, c := range map[string]struct {
		body *fsmpb.Body
		hint string
	}{
		"no allocation":        {createBody("themis", "n", nil), "allocation: it is missing"},
		"area twice":           {createBody("themis", "n", twice), "twice"},
		"area without a name":  {createBody("themis", "n", []*fsmpb.Quantity{{N: 1}}), "missing"},
		"area too large":       {createBody("themis", "n", primary(1_000_000_001)), "more than"},
		"area beyond 2^63":     {createBody("themis", "n", primary(math.MaxUint64)), "more than"},
		"too many areas":       {createBody("themis", "n", areas(tooMany)), "65 areas"},
		"no name":              {createBody("themis", "", primary(1)), "name: it is missing"},
		"hostile name":         {createBody("themis", "../etc/passwd", primary(1)), "is no name"},
		"name too long":        {createBody("themis", long, primary(1)), "longer than"},
		"no contract":          {createBody("", "n", primary(1)), "contract: it is missing"},
		"contract too long":    {createBody(long, "n", primary(1)), "contract: a name of 65 bytes"},
		"resize to nothing":    {resizeBody(1, nil), "allocation: it is missing"},
		"resize twice":         {resizeBody(1, twice), "twice"},
		"report twice":         {activateBody("", true, twice), "twice"},
		"counts, no report":    {activateBody("", false, primary(1)), "does not report"},
		"settings out of line": {settingsBody(1, 0), "request_ttl_seconds: 1"},
		"limit out of line":    {settingsBody(0, 10_000_001), "request_limit: 10000001"},
	} {
		t.Run(name, func(t *testing.T) {
			r := themis(t)
			before := licensing(r.s)
			refusal := r.refused(Invalid, c.body)
			if !strings.Contains(refusal.Hint, c.hint) {
				t.Errorf("hint %q lacks %q", refusal.Hint, c.hint)
			}
			if licensing(r.s) != before {
				t.Error("the state changed")
			}
			again := r.send("r4", c.body)
			if again.Refusal.GetCode() != string(IdempotencyMismatch) {
				t.Errorf("r4 was another request, but this came to %v", again)
			}
		})
	}
}

// A recorded refusal is repeated without its hint: wording may differ between builds, state may not.
func TestHintsAreNotRecorded(t *testing.T) {
	r := themis(t)
	first := r.send("once", createBody("themis", "", primary(1)))
	again := r.send("once", createBody("themis", "", primary(1)))
	if first.Refusal.Hint == "" || again.Refusal.Hint != "" || !again.Repeated {
		t.Errorf("first %v, again %v", first, again)
	}
}

func TestInitialise(t *testing.T) {
	good := func() *fsmpb.Initialise { return initialiseBody().GetInitialise() }
	for name, change := range map[string]func(*fsmpb.Initialise){
		"no cluster id":    func(i *fsmpb.Initialise) { i.ClusterId = "" },
		"hostile id":       func(i *fsmpb.Initialise) { i.ClusterId = "a b" },
		"no vendor key":    func(i *fsmpb.Initialise) { i.VendorKeys = nil },
		"too many keys":    func(i *fsmpb.Initialise) { i.VendorKeys = make([][]byte, 17) },
		"short vendor key": func(i *fsmpb.Initialise) { i.VendorKeys[0] = i.VendorKeys[0][:31] },
		"no signing key":   func(i *fsmpb.Initialise) { i.SigningKey = nil },
		"long signing key": func(i *fsmpb.Initialise) { i.SigningKey = append(i.SigningKey[:32:32], 0) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := good()
			change(cmd)
			r := &replica{t: t, s: New(), now: testEpoch}
			r.refused(Invalid, &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: cmd}})
			if r.s.View().ClusterID() != "" {
				t.Error("initialised all the same")
			}
		})
	}
	r := &replica{t: t, s: New(), now: testEpoch}
	r.refused(NotInitialised, removeBody(1))
	r.must(initialiseBody())
	before := licensing(r.s)
	r.refused(AlreadyInitialised, initialiseBody())
	if licensing(r.s) != before {
		t.Error("C2: a second initialisation changed the keys")
	}
}

// An instance never comes to have more areas than a license key can carry, nor areas for nothing.
func TestAreasArePiledUp(t *testing.T) {
	r := newReplica(t)
	var users map[string]uint64
	named := func(prefix string, n int) map[string]uint64 {
		m := map[string]uint64{}
		for i := range n {
			m[prefix+string(rune('a'+i/10))+string(rune('0'+i%10))] = 1
		}
		return m
	}
	users = named("x", 64)
	r.must(contractBody(mustSign(t, testContract("wide", 1, users), vendorKey)))
	r.must(createBody("wide", "i", areas(users)))
	r.must(contractBody(mustSign(t, testContract("wide", 2, named("y", 64)), vendorKey)))
	zeros := named("z", 64)
	for area := range zeros {
		zeros[area] = 0
	}
	r.must(resizeBody(1, areas(zeros)))
	r.refused(Invalid, resizeBody(1, areas(named("y", 1))))
	r.must(activateBody(r.key(1), true, areas(zeros)))
	x, _ := r.s.View().Instance(1)
	if len(x.Allocation) != 64 || len(x.Active) != 0 {
		t.Errorf("%d areas allocated, %d active", len(x.Allocation), len(x.Active))
	}
}
