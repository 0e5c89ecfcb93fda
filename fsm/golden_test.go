package fsm

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

var update = flag.Bool("update", false, "write golden files that are missing; existing ones are never changed")

// golden returns the content of a golden file. What older builds wrote stays as it is:
// with -update a missing file is written, and an existing one that differs is a failure.
func golden(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	have, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		have, err = content, os.WriteFile(path, content, 0o644)
	}
	if err != nil {
		t.Fatalf("%v (go test ./fsm -run Golden -update writes files that are missing)", err)
	}
	if !bytes.Equal(have, content) {
		t.Errorf("%s differs from what this build writes. Logs and snapshots in the field hold the old bytes: do not change the file.\nfile  %q\nbuild %q", path, have, content)
	}
	return have
}

// goldenLog is the log that the golden entries are: one of each kind, and more. Only ever append to it.
func goldenLog(t tb) []goldenEntry {
	contract := testContract("themis", 1, map[string]uint64{"primary": 30, "extranet": 5})
	contract.Products = map[string]signed.Product{"reven": {Model: signed.Mono, Quantity: 3}, "reven-team": {Model: signed.Team, Quantity: 1}, "viewer": {Model: signed.Floating, Quantity: 10, Overdraft: 2}}
	contract.GraceDays = 10
	key := &signed.LicenseKey{
		Cluster: testCluster, Serial: 1, Contract: "themis", Revision: 2, Expiry: contract.Expiry, GraceDays: 10,
		Allocation: map[string]uint64{"primary": 10, "extranet": 5},
	}
	license, err := key.Sign(clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	borrow := &signed.Borrow{
		Cluster: testCluster, Lease: 3, Pool: "design", Product: "viewer", User: "bob@example.org", Client: "laptop", Count: 1,
		Issued: testEpoch, Expiry: testEpoch.AddDate(0, 0, 7),
	}
	token, err := borrow.Sign(clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(product, user string) *fsmpb.Checkout {
		return &fsmpb.Checkout{Pool: "design", Product: product, User: user, Client: "laptop", Holder: holder(1)}
	}
	queued, borrowed, connect := ask("viewer", "eve@example.org"), ask("viewer", "bob@example.org"), ask("reven", "ann@example.org")
	queued.Queue, borrowed.BorrowDays, connect.Project = true, 7, "atlas"
	last := ask("viewer", "zoe@example.org")
	last.Queue = true
	return slices.Concat([]goldenEntry{
		{"initialise", 0, initialiseBody()},
		{"put_settings", 0, settingsBody(7200, 100_000)},
		{"put_contract", 0, contractBody(mustSign(t, contract, vendorKey))},
		{"create_instance", time.Hour, createBody("themis", "bordeaux", areas(map[string]uint64{"primary": 15, "extranet": 5}))},
		{"resize_instance", 0, resizeBody(1, primary(10))},
		{"activate_instance", time.Hour, activateBody(license, true, primary(12))},
		{"create_instance", 0, createBody("themis", "lyon", primary(10))},
		{"remove_instance", 0, removeBody(2)},
		{"create_instance", 0, createBody("themis", "refused", primary(100))},
		{"put_pool", 0, poolBody(&fsmpb.Pool{
			Name: "design", Contract: "themis", Size: 3, QueueLimit: 10, Linger: 30, ValidUntilMs: testEpoch.AddDate(0, 6, 0).UnixMilli(),
			Restriction: &fsmpb.Restriction{IncludeDomains: []string{"example.org", "*.example.org"}, ExcludeEmails: []string{"Mallory@Example.org"}},
			Products: []*fsmpb.PoolProduct{
				{Name: "viewer", Cap: 2, MaxCheckoutDays: 7, LowWater: 1, Reservations: []*fsmpb.Reservation{{Name: "boss", Seats: 1, Users: []string{"bob@example.org"}, Groups: []string{"heads"}}}},
				{Name: "reven", Cap: 1},
				{Name: "reven-team", Cap: 1},
			},
		}, true)},
		{"activate_pool", 0, activatePoolBody("design", true)},
		{"checkout", time.Minute, checkoutBody(ask("viewer", "ann@example.org"))},
		{"renew", time.Minute, &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: 1, Holder: holder(1), Ttl: 600}}}},
		{"checkout", 0, checkoutBody(connect)},
		{"checkout", 0, checkoutBody(borrowed)},
		{"checkout", 0, checkoutBody(queued)},
		{"checkout", 0, checkoutBody(ask("viewer", "mallory@example.org"))},
		{"keep_ticket", time.Minute, &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: 1, Holder: holder(1)}}}},
		{"return_borrow", 0, &fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: &fsmpb.ReturnBorrow{Token: token}}}},
		{"check_in", 0, &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 1, Holder: holder(1)}}}},
		{"expire", 31 * time.Second, expireBody()},
		{"claim_offer", 0, &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: 1, Holder: holder(1)}}}},
		{"checkout", 0, checkoutBody(last)},
		{"leave_queue", 0, &fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: 2, Holder: holder(1)}}}},
		{"convert_project", 0, &fsmpb.Body{Kind: &fsmpb.Body_ConvertProject{ConvertProject: &fsmpb.ConvertProject{Pool: "design", Project: "atlas", Product: "reven-team", Lease: 2, Holder: holder(1)}}}},
		{"revoke", 0, &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: 2, Reason: "left the company"}}}},
		{"bulk", 0, &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: []*fsmpb.Body{
			checkoutBody(ask("viewer", "ann@example.org")), checkoutBody(ask("viewer", "dan@example.org")),
			{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 4, Holder: holder(1)}}},
		}}}}},
		{"delete_pool", 0, &fsmpb.Body{Kind: &fsmpb.Body_DeletePool{DeletePool: &fsmpb.DeletePool{Pool: "design"}}}},
		{"expire", 376 * 24 * time.Hour, expireBody()},
	}, goldenAccounts(t), goldenRevisions(t), goldenTokens(), goldenKeys(t), goldenLimits())
}

// goldenRevisions are pools with revisions, and replacements that expect one. They are part of goldenLog; never change them.
func goldenRevisions(t tb) []goldenEntry {
	contract := testContract("revised", 1, nil)
	contract.Expiry = testEpoch.AddDate(3, 0, 0)
	contract.Products = map[string]signed.Product{"viewer": {Model: signed.Floating, Quantity: 10}}
	pool := func(size uint64) *fsmpb.Pool {
		return &fsmpb.Pool{Name: "draft", Contract: "revised", Size: size, Products: []*fsmpb.PoolProduct{{Name: "viewer"}}}
	}
	return []goldenEntry{
		{"put_contract", 0, contractBody(mustSign(t, contract, vendorKey))},
		{"put_pool", 0, poolBody(pool(2), true)},
		{"put_pool", 0, replaceBody(pool(3), 53)},
		{"put_pool", 0, replaceBody(pool(4), 53)},
		{"put_pool", 0, poolBody(pool(5), false)},
	}
}

// goldenTokens are tokens, and what belongs to a site. They are part of goldenLog; never change them.
func goldenTokens() []goldenEntry {
	site := "nantes"
	pool := &fsmpb.Pool{Name: "atelier", Contract: "revised", Size: 1, Site: site, Products: []*fsmpb.PoolProduct{{Name: "viewer"}}}
	app := tokenBody("app", OfClient, &fsmpb.TokenScope{Pools: []string{"draft", "atelier"}, User: "ann@example.org"})
	app.GetCreateToken().ExpiryMs = testEpoch.AddDate(2, 0, 0).UnixMilli()
	return []goldenEntry{
		{"create_token", 0, bootstrapBody("first")},
		{"create_token", 0, bootstrapBody("second")},
		{"put_pool", 0, poolBody(pool, true)},
		{"create_token", 0, app},
		{"create_token", 0, tokenBody("ops", SiteOperator, &fsmpb.TokenScope{Site: site})},
		{"note_token_uses", time.Hour, usesBody(1, 2, 99)},
		{"revoke_token", 0, revokeTokenBody(1)},
		{"revoke_token", 0, revokeTokenBody(3)},
	}
}

// goldenKeys are changes of vendor and signing keys. They are part of goldenLog; never change them.
func goldenKeys(t tb) []goldenEntry {
	// When the entries before have been.
	now := testEpoch.AddDate(2, 0, 0)
	statement := func(adds, revokes, by ed25519.PrivateKey) *fsmpb.Body {
		return statementBody(t, stating(now, adds, revokes), by)
	}
	return []goldenEntry{
		{"change_vendor_keys", 0, statement(testKey(5), nil, vendorKey)},
		{"change_vendor_keys", 0, statement(testKey(6), testKey(5), vendorKey)},
		{"change_vendor_keys", 0, statement(nil, vendorKey, testKey(6))},
		{"put_contract", 0, contractBody(mustSign(t, testContract("late", 1, primaryUsers(1)), testKey(5)))},
		{"add_signing_key", 0, addSigningBody(testKey(11))},
		{"add_signing_key", 0, addSigningBody(testKey(12))},
		{"retire_signing_key", 0, retireBody(signed.KeyID(public(testKey(11))))},
		{"export_signing_key", 0, &fsmpb.Body{Kind: &fsmpb.Body_ExportSigningKey{ExportSigningKey: &fsmpb.ExportSigningKey{}}}},
	}
}

func primaryUsers(n uint64) map[string]uint64 { return map[string]uint64{"primary": n} }

// goldenLimits are leases and tickets of a token that may have two and one. They are part of goldenLog; never change them.
func goldenLimits() []goldenEntry {
	app := tokenBody("limited", OfClient, &fsmpb.TokenScope{Pools: []string{"atelier"}})
	app.GetCreateToken().MaxLeases, app.GetCreateToken().MaxTickets = 2, 1
	ask := func(user string) *fsmpb.Body {
		return checkoutBody(&fsmpb.Checkout{Pool: "atelier", Product: "viewer", User: user, Client: "desk", Holder: holder(1), Queue: true})
	}
	queue := &fsmpb.Pool{Name: "atelier", Contract: "revised", Size: 1, QueueLimit: 5, Site: "nantes", Products: []*fsmpb.PoolProduct{{Name: "viewer"}}}
	list := []goldenEntry{{"create_token", 0, app}, {"put_pool", 0, poolBody(queue, false)}, {"activate_pool", 0, activatePoolBody("atelier", true)}}
	for _, user := range []string{"ann", "bob", "cid"} {
		list = append(list, goldenEntry{"checkout", time.Second, ask(user)})
	}
	return list
}

type goldenEntry struct {
	kind  string
	after time.Duration
	body  *fsmpb.Body
}

// command is by the token with the limits, which is the fourth, where it asks for seats after that was made.
func (g goldenEntry) command(t *testing.T, n int) *fsmpb.Command {
	t.Helper()
	c := mustCommand(t, fmt.Sprint("golden-", n+1), g.body)
	if g.body.GetCheckout().GetPool() == "atelier" {
		c.Actor = "token-4"
	}
	return c
}

func (g goldenEntry) name(n int) string { return fmt.Sprintf("entries/%03d-%s.txt", n+1, g.kind) }

// This build reads the entries that older builds wrote, to the same outcomes and states.
func TestGoldenEntries(t *testing.T) {
	s, now := New(), testEpoch
	covered := map[string]bool{}
	for n, g := range goldenLog(t) {
		now = now.Add(g.after)
		want := golden(t, g.name(n), goldenText(t, s.View(), n, g, now))
		entry, outcome, digest := parseGolden(t, want)
		outcomes, err := s.Apply(uint64(n+1), 1, entry)
		if err != nil {
			t.Fatalf("%s: %v", g.name(n), err)
		}
		sameBytes(t, g.name(n)+": outcome", encoded(t, outcomes[0]), outcome)
		sameBytes(t, g.name(n)+": digest", []byte(s.Digest().String()), []byte(digest))
		e, err := DecodeEntry(entry)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, g.name(n)+": the entry, encoded again", again, entry)
		covered[g.kind] = true
	}
	fields := (&fsmpb.Body{}).ProtoReflect().Descriptor().Fields()
	for _, kind := range Known() {
		if name := string(fields.ByNumber(protoreflect.FieldNumber(kind)).Name()); !covered[name] {
			t.Errorf("kind %d, %s, has no golden entry: append one to goldenLog", kind, name)
		}
	}
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%x instead of\n%x", what, got, want)
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := marshal.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenText is the golden file of an entry as this build would write it.
func goldenText(t *testing.T, v *View, n int, g goldenEntry, now time.Time) []byte {
	t.Helper()
	entry := mustEntry(t, 1, now, g.command(t, n))
	s := v.Fork()
	outcomes, err := s.Apply(uint64(n+1), 1, entry)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "entry %x\noutcome %x\ndigest %s\n", entry, encoded(t, outcomes[0]), s.Digest())
}

func parseGolden(t *testing.T, text []byte) (entry, outcome []byte, digest string) {
	t.Helper()
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields[name] = value
	}
	entry, err := hex.DecodeString(fields["entry"])
	if err != nil {
		t.Fatal(err)
	}
	outcome, err = hex.DecodeString(fields["outcome"])
	if err != nil {
		t.Fatal(err)
	}
	return entry, outcome, fields["digest"]
}

// Golden entries that are no longer in goldenLog would be read by nobody.
func TestGoldenFilesAreAllRead(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "entries", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for n, g := range goldenLog(t) {
		want = append(want, filepath.Join("testdata", "golden", filepath.FromSlash(g.name(n))))
	}
	equal(t, "golden entries", slices.Sorted(slices.Values(files)), want)
}

// This build restores the snapshots that older builds wrote, and writes the same bytes.
func TestGoldenSnapshot(t *testing.T) {
	// Each is of so many entries.
	for name, entries := range map[string]int{"snapshot-v1": 10, "snapshot-accounts-v1": 51, "snapshot-revisions-v1": 56, "snapshot-tokens-v1": 64, "snapshot-keys-v1": 72, "snapshot-limits-v1": 78} {
		t.Run(name, func(t *testing.T) { goldenSnapshot(t, name, entries) })
	}
}

func goldenSnapshot(t *testing.T, name string, entries int) {
	s, now := New(), testEpoch
	for n, g := range goldenLog(t)[:entries] {
		now = now.Add(g.after)
		if _, err := s.Apply(uint64(n+1), 1, mustEntry(t, 1, now, g.command(t, n))); err != nil {
			t.Fatal(err)
		}
	}
	file := golden(t, name+".bin", snapshotBytes(t, s.View()))
	digest := golden(t, name+".digest", []byte(s.Digest().String()+"\n"))
	restored := mustRestore(t, file)
	if got := restored.Digest().String(); got != strings.TrimSpace(string(digest)) {
		t.Errorf("the restored state has digest %s", got)
	}
	sameBytes(t, "the snapshot, written again", snapshotBytes(t, restored.View()), file)
	checkState(t, restored)
}

// Documents that vendors and clusters signed with older builds still verify, and say the same.
func TestGoldenDocuments(t *testing.T) {
	log := goldenLog(t)
	contract := golden(t, "contract-v1.txt", []byte(log[2].body.GetPutContract().Document+"\n"))
	c, keyID, err := signed.VerifyContract(string(contract), publicKeysOf(vendorKey))
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "the contract, signed again", []byte(mustSign(t, c, vendorKey)+"\n"), contract)
	if got, want := fmt.Sprintf("%s %+v", keyID, *c), "34750f98bd59fcfc {ID:themis Revision:1 Customer:ProMyze customer Email:it@example.com "+
		"Start:2026-01-01 00:00:00 +0000 UTC Expiry:2027-01-01 00:00:00 +0000 UTC GraceDays:10 Users:map[extranet:5 primary:30] "+
		"Products:map[reven:{Model:mono Quantity:3 Overdraft:0} reven-team:{Model:team Quantity:1 Overdraft:0} viewer:{Model:floating Quantity:10 Overdraft:2}] Answers:[]}"; got != want {
		t.Errorf("the contract says\n%s instead of\n%s", got, want)
	}
	license := golden(t, "license-key-v1.txt", []byte(log[5].body.GetActivateInstance().Key+"\n"))
	k, err := signed.VerifyLicenseKey(string(license), publicKeysOf(clusterKey))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", *k), "{Cluster:test-cluster Serial:1 Contract:themis Revision:2 "+
		"Expiry:2027-01-01 00:00:00 +0000 UTC GraceDays:10 Allocation:map[extranet:5 primary:10]}"; got != want {
		t.Errorf("the license key says\n%s instead of\n%s", got, want)
	}
	again, err := k.Sign(clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "the license key, signed again", []byte(again+"\n"), license)
}
