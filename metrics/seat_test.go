package metrics

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// machine is a state machine of a test, with a contract of 10 seats of cad, 2 of overdraft, and 5 of sim.
type machine struct {
	t     testing.TB
	state *fsm.State
	index uint64
}

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

var epoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, state: fsm.New()}
	public := key.Public().(ed25519.PublicKey)
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{ClusterId: "test", VendorKeys: [][]byte{public}, SigningKey: public}}})
	m.contract("acme", 10)
	return m
}

func (m *machine) contract(id string, seats uint64) {
	m.t.Helper()
	document, err := (&signed.Contract{
		ID: id, Revision: 1, Customer: "Acme", Email: "a@acme.example", Start: epoch.AddDate(0, -1, 0), Expiry: epoch.AddDate(1, 0, 0),
		Products: map[string]signed.Product{"cad": {Model: signed.Floating, Quantity: seats, Overdraft: 2}, "sim": {Model: signed.Floating, Quantity: 5}},
	}).Sign(key)
	if err != nil {
		m.t.Fatal(err)
	}
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}})
}

// do decides commands in one entry each, and wants none refused.
func (m *machine) do(bodies ...*fsmpb.Body) {
	m.t.Helper()
	for _, body := range bodies {
		m.index++
		c, err := fsm.NewCommand("operator", fmt.Sprint(m.index), body)
		if err != nil {
			m.t.Fatal(err)
		}
		data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: epoch.Add(time.Duration(m.index) * time.Second).UnixMilli(), Commands: []*fsmpb.Command{c}})
		if err != nil {
			m.t.Fatal(err)
		}
		outcomes, err := m.state.Apply(m.index, 1, data)
		if err != nil || outcomes[0].Refusal != nil {
			m.t.Fatal(err, fsm.Detail(outcomes[0].GetRefusal()))
		}
	}
}

func pool(p *fsmpb.Pool, products ...*fsmpb.PoolProduct) []*fsmpb.Body {
	p.Products = products
	return []*fsmpb.Body{
		{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Create: true, Pool: p}}},
		{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: p.Name, Active: true}}},
	}
}

func checkout(pool, product, user string, count uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: &fsmpb.Checkout{
		Pool: pool, Product: product, User: user, Client: "ws", Count: count, Queue: true, Holder: make([]byte, fsm.HolderSize),
	}}}
}

func (m *machine) text() string {
	m.t.Helper()
	x := New()
	x.Watch(func() Sample { return Sample{View: m.state.View()} })
	return textOf(m.t, x)
}

func TestSeats(t *testing.T) {
	m := newMachine(t)
	m.do(pool(&fsmpb.Pool{Name: "design", Contract: "acme", Size: 4, QueueLimit: 5}, &fsmpb.PoolProduct{Name: "cad"}, &fsmpb.PoolProduct{Name: "sim", Cap: 2})...)
	m.do(pool(&fsmpb.Pool{Name: "lab", Contract: "acme", Size: 100, Shared: true, QueueLimit: 5}, &fsmpb.PoolProduct{Name: "cad"})...)
	m.do(checkout("design", "cad", "ann", 1), checkout("design", "sim", "bob", 2), checkout("lab", "cad", "cid", 3), checkout("design", "cad", "dan", 2))
	text := m.text()
	for _, want := range []string{
		`licet_pool_seats_used{pool="design",product="cad"} 1`, `licet_pool_seats_used{pool="design",product="sim"} 2`,
		// What is left of the pool's size; of the product's cap; of what the contract bears beyond promises: 12 - 4 - 3.
		`licet_pool_seats_free{pool="design",product="cad"} 1`, `licet_pool_seats_free{pool="design",product="sim"} 0`,
		`licet_pool_seats_free{pool="lab",product="cad"} 5`,
		`licet_pool_tickets_waiting{pool="design",product="cad"} 1`, `licet_pool_active{pool="lab"} 1`,
		`licet_contract_seats{contract="acme",product="cad"} 10`, `licet_contract_seats_used{contract="acme",product="cad"} 4`,
		`licet_pool_oldest_ticket_age_seconds{pool="design"} 0`, `licet_pool_wait_estimate_seconds{pool="design"} 0`,
		"licet_leases 3", "licet_tickets_waiting 1", "licet_projects_open 0",
		"licet_pools 2", "licet_pool_series_omitted 0", "licet_contracts 1", "licet_writes_decided_total 10",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, strings.Join(linesOf(text, "licet_"), "\n"))
		}
	}
	if lines := linesOf(text, "licet_pool_oldest_ticket_age_seconds{"); len(lines) != 1 {
		t.Errorf("pools without a queue have its age: %q", lines)
	}
	// A seat comes back and is offered.
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: 1}}})
	if text := m.text(); !strings.Contains(text, `licet_pool_seats_offered{pool="design",product="cad"} 2`+"\n") {
		t.Errorf("no offer: %q", linesOf(text, "licet_pool_"))
	}
}

// Contracts that go on although their vendor key was revoked are counted, until they end.
func TestContractsOfARevokedKey(t *testing.T) {
	m := newMachine(t)
	m.contract("globex", 5)
	count := func(want string) {
		t.Helper()
		if got := linesOf(m.text(), "licet_contracts_key_revoked "); !slices.Equal(got, []string{"licet_contracts_key_revoked " + want}) {
			t.Errorf("%q instead of %s", got, want)
		}
	}
	count("0")
	next := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	first := signed.KeyID(key.Public().(ed25519.PublicKey))
	statement := &signed.Statement{Adds: hex.EncodeToString(next), Name: "next", Revokes: first, Issued: epoch.Add(-time.Hour), Expiry: epoch.AddDate(0, 0, 7)}
	document, err := statement.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_ChangeVendorKeys{ChangeVendorKeys: &fsmpb.ChangeVendorKeys{Statement: document}}})
	count("2")
	// Both contracts end with the same year.
	m.index += uint64(400 * 24 * time.Hour / time.Second)
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}})
	count("0")
}

// How long tickets waited is told once, by the entry that made the offers.
func TestWaits(t *testing.T) {
	m := newMachine(t)
	m.do(pool(&fsmpb.Pool{Name: "design", Contract: "acme", Size: 2, QueueLimit: 5}, &fsmpb.PoolProduct{Name: "cad"})...)
	m.do(checkout("design", "cad", "ann", 2))
	if got := m.state.Waits(); got != nil {
		t.Errorf("nobody waited, and yet %v", got)
	}
	// An entry each second.
	m.do(checkout("design", "cad", "bob", 1), checkout("design", "cad", "cid", 1), checkout("design", "cad", "dan", 1))
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 1, Holder: make([]byte, fsm.HolderSize)}}})
	if got := m.state.Waits(); !slices.Equal(got, []int64{3000, 2000}) {
		t.Errorf("two of three got an offer after %v ms", got)
	}
	m.do(&fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{Settings: &fsmpb.Settings{RequestTtlSeconds: 3600}}}})
	if got := m.state.Waits(); got != nil {
		t.Errorf("the next entry tells %v again", got)
	}
}

// Pools beyond the bound are told as one, and none of their seats is lost.
func TestSeriesAreBounded(t *testing.T) {
	m := newMachine(t)
	for i := range maxContracts + 5 {
		m.contract(fmt.Sprintf("c%04d", i), 10)
	}
	const pools = maxPoolProducts + 30
	for i := range pools {
		name := fmt.Sprintf("p%05d", i)
		m.do(pool(&fsmpb.Pool{Name: name, Contract: "acme", Size: 5, Shared: true}, &fsmpb.PoolProduct{Name: "cad"})...)
	}
	m.do(checkout(fmt.Sprintf("p%05d", pools-1), "cad", "ann", 3))
	text := m.text()
	if n := len(linesOf(text, "licet_pool_seats_used{")); n != maxPoolProducts+1 {
		t.Errorf("%d products of pools", n)
	}
	if n := len(linesOf(text, "licet_contract_end_timestamp_seconds{")); n != maxContracts {
		t.Errorf("%d contracts", n)
	}
	for _, want := range []string{
		`licet_pool_seats_used{pool="_other",product="_other"} 3`, `licet_pool_series_omitted 30`, fmt.Sprintf("licet_pools %d", pools), fmt.Sprintf("licet_contracts %d", maxContracts+6),
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
}

// A scrape costs by pools, not by leases: it looks at none of them.
func TestScrapeWalksNoLeases(t *testing.T) {
	m := newMachine(t)
	m.contract("big", 100_000)
	m.do(pool(&fsmpb.Pool{Name: "big", Contract: "big", Size: 100_000}, &fsmpb.PoolProduct{Name: "cad"})...)
	m.do(checkout("big", "cad", "u", 1))
	x := New()
	x.Watch(func() Sample { return Sample{View: m.state.View()} })
	scrape := func() { textOf(t, x) }
	few := testing.AllocsPerRun(5, scrape)
	for i := range 20 {
		items := &fsmpb.Bulk{}
		for j := range 500 {
			items.Items = append(items.Items, checkout("big", "cad", fmt.Sprintf("u%d-%d", i, j), 1))
		}
		m.do(&fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: items}})
	}
	if !slices.Contains(linesOf(m.text(), "licet_pool_seats_used"), `licet_pool_seats_used{pool="big",product="cad"} 10001`) {
		t.Fatal("the leases are not there")
	}
	if many := testing.AllocsPerRun(5, scrape); many > few*1.2 {
		t.Errorf("%v allocations with one lease, %v with 10,001", few, many)
	}
}

// What a scrape costs with a thousand products of pools that have series of their own.
func BenchmarkScrape(b *testing.B) {
	m := newMachine(b)
	for i := range maxPoolProducts {
		m.do(pool(&fsmpb.Pool{Name: fmt.Sprintf("p%05d", i), Contract: "acme", Size: 5, Shared: true}, &fsmpb.PoolProduct{Name: "cad"})...)
	}
	x := New()
	x.Watch(func() Sample { return Sample{View: m.state.View()} })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Text(); err != nil {
			b.Fatal(err)
		}
	}
}
