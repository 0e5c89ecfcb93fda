package api_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// newAuditFixture has made rows 1 initialise, 2 put_contract, 3 create_instance, 4 a refused create_instance, 5 remove_instance.
func newAuditFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30})
	f.create("acme", "one", 20).want(201)
	f.do(request{method: "POST", path: "/v1/instances", body: `{"contract":"acme","name":"two","allocation":{"primary":11}}`}.with("Idempotency-Key", "the-refused")).refused(apiv1.CodeContractExhausted)
	f.do(request{method: "DELETE", path: "/v1/instances/1"}).want(200)
	return f
}

func (f *fixture) audit(query string) apiv1.AuditList {
	f.t.Helper()
	return into[apiv1.AuditList](f.get("/v1/audit" + query).want(200))
}

func seqs(list apiv1.AuditList) string {
	var text []string
	for _, row := range list.Rows {
		text = append(text, fmt.Sprint(row.Seq))
	}
	return strings.Join(text, " ")
}

func TestAuditIsListed(t *testing.T) {
	f := newAuditFixture(t)
	for query, want := range map[string]string{
		"":                              "1 2 3 4 5",
		"?limit=2":                      "4 5",
		"?before=4&limit=2":             "2 3",
		"?before=1":                     "",
		"?before=100":                   "1 2 3 4 5",
		"?after=0":                      "1 2 3 4 5",
		"?after=0&limit=2":              "1 2",
		"?after=3":                      "4 5",
		"?after=5":                      "",
		"?after=500":                    "",
		"?kind=create_instance":         "3 4",
		"?after=0&kind=remove_instance": "5",
		"?outcome=contract_exhausted":   "4",
		"?outcome=ok":                   "1 2 3 5",
		"?actor=operator&limit=3":       "3 4 5",
		"?actor=nobody":                 "",
		"?request_id=the-refused":       "4",
	} {
		if list := f.audit(query); seqs(list) != want || list.Last != 5 || list.Oldest != 1 || len(list.Missing) > 0 {
			t.Errorf("%s: rows %s instead of %s; %+v", query, seqs(list), want, list)
		}
	}
	list := f.audit("")
	if newest := list.Rows[4]; newest.Chain != list.Chain || newest.Source != apiv1.AuditSourceState || list.Next != 0 || list.Previous != 0 {
		t.Errorf("%+v", list)
	}
	if page := f.audit("?before=4&limit=2"); page.Next != 3 || page.Previous != 2 {
		t.Errorf("%+v", page)
	}
	f.do(request{method: "GET", path: "/v1/audit?after=1&before=3"}).refused(apiv1.CodeBadRequest)
	for _, bad := range []string{"?kind=A", "?outcome=", "?request_id=a+b", "?after=-1", "?before=0", "?limit=0", "?actor=a+b", "?kind=_a"} {
		f.do(request{method: "GET", path: "/v1/audit" + bad}.bad()).refused(apiv1.CodeBadRequest)
	}
}

// Whole rows are there only if they were asked for; the chain can be made of them, and pages of them are bounded.
func TestAuditGivesWholeRows(t *testing.T) {
	f := newAuditFixture(t)
	var chain [32]byte
	for _, row := range f.audit("?after=0&row=true").Rows {
		p := new(fsmpb.WriteRecord)
		if err := proto.Unmarshal(row.Row, p); err != nil {
			t.Fatal(err)
		}
		if chain = fsm.NextChain(chain, p); hex.EncodeToString(chain[:]) != row.Chain || p.Seq != row.Seq {
			t.Errorf("row %d does not make the chain %s", row.Seq, row.Chain)
		}
	}
	for _, row := range f.audit("?after=0").Rows {
		if row.Row != nil {
			t.Errorf("row %d is whole", row.Seq)
		}
	}
	f.do(request{method: "GET", path: "/v1/audit?row=1"}.bad()).refused(apiv1.CodeBadRequest)
	// Each outcome of a bulk holds those of its items.
	renew := &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: 7, Holder: []byte("0123456789abcdef")}}}
	bulk := &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: slices.Repeat([]*fsmpb.Body{renew}, 1000)}}}
	f.node.propose(t, slices.Repeat([]*fsmpb.Body{bulk}, 400)...)
	short, long := f.audit("?after=5&limit=1000&row=true"), f.audit("?after=5&limit=1000")
	if n := len(short.Rows); n == 0 || n >= 400 || len(long.Rows) != 400 || short.Next != short.Rows[n-1].Seq {
		t.Errorf("%d and %d rows, next %d", len(short.Rows), len(long.Rows), short.Next)
	}
	if back := f.audit("?before=405&limit=1000&row=true"); len(back.Rows) >= 400 || back.Previous != back.Rows[0].Seq {
		t.Errorf("%d rows, previous %d", len(back.Rows), back.Previous)
	}
}

// Why was this refused: the sentence, its numbers and the next step, as who asked was told.
func TestRefusalIsExplainedLater(t *testing.T) {
	f := newAuditFixture(t)
	told := f.do(request{method: "POST", path: "/v1/instances", body: `{"contract":"acme","name":"three","allocation":{"primary":31}}`}).refused(apiv1.CodeContractExhausted)
	row := into[apiv1.AuditRow](f.get("/v1/audit/6").want(200))
	if row.Outcome != "contract_exhausted" || row.Detail != told.Detail || row.Next != told.Next || row.Facts["free"] != apiv1.Number(30) {
		t.Errorf("%+v; told was %+v", row, told)
	}
	if row.Actor != "operator" || row.Kind != "create_instance" || !row.Time.Equal(epoch) || len(row.RequestID) != 26 {
		t.Errorf("%+v", row)
	}
	if subject := string(row.Subject); subject != `{"contract":"acme","name":"three","allocation":[{"name":"primary","n":"31"}]}` {
		t.Errorf("subject %s", subject)
	}
	// Documents are not in the trail, and what the leader does has no actor.
	if row := into[apiv1.AuditRow](f.get("/v1/audit/2").want(200)); row.Subject != nil || row.Detail != "" {
		t.Errorf("%+v", row)
	}
	if row := into[apiv1.AuditRow](f.get("/v1/audit/1").want(200)); row.Actor != "" || row.Kind != "initialise" {
		t.Errorf("%+v", row)
	}
	if p := f.get("/v1/audit/7").refused(apiv1.CodeAuditRowNotFound); p.Facts["last"] != apiv1.Number(6) {
		t.Errorf("%+v", p)
	}
	f.do(request{method: "GET", path: "/v1/audit/x"}.bad()).refused(apiv1.CodeBadRequest)
}

// What stands for a lease's secret handle is not shown, at any depth.
func TestAuditShowsNoHandles(t *testing.T) {
	f := newFixture(t)
	renew := &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: 7, Holder: []byte("0123456789abcdef")}}}
	bulk := &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: []*fsmpb.Body{renew}}}}
	for _, body := range []*fsmpb.Body{renew, bulk} {
		f.node.propose(t, body)
	}
	list := f.audit("?actor=operator")
	for _, row := range list.Rows {
		if text := string(row.Subject); !strings.Contains(text, `"lease":"7"`) || strings.Contains(text, "holder") {
			t.Errorf("%s: %s", row.Kind, text)
		}
	}
	if len(list.Rows) != 2 {
		t.Errorf("%+v", list)
	}
}

// Rows that are nowhere any more cost their share of a scan, too: there may be millions of them.
func TestAuditScanOfMissingRowsIsBounded(t *testing.T) {
	f := newFixture(t)
	rows := func(batches int) {
		for range batches {
			var bodies []*fsmpb.Body
			for range 1000 {
				bodies = append(bodies, &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: 7}}})
			}
			f.node.propose(t, bodies...)
		}
	}
	rows(25)
	f.node.now = f.node.now.AddDate(0, 0, 1)
	rows(2)
	list := f.audit("?kind=checkout")
	if list.Oldest < 25_000 || len(list.Missing) != 1 || list.Previous < 2000 || list.Missing[0].From != list.Previous {
		t.Fatalf("oldest %d, previous %d, missing %v", list.Oldest, list.Previous, list.Missing)
	}
	if list := f.audit(fmt.Sprintf("?kind=checkout&before=%d", list.Previous)); list.Previous != 0 || list.Missing[0].From != 1 {
		t.Errorf("previous %d, missing %v", list.Previous, list.Missing)
	}
}

// Rows that the state has forgotten come out of the node's files, and those that it never had are told.
func TestAuditOutOfFiles(t *testing.T) {
	f := newAuditFixture(t)
	old := f.node.view().WritesAfter(0, 100)
	for range 20 {
		f.node.now = f.node.now.AddDate(0, 0, 1)
		f.node.expire(t)
	}
	list := f.audit("")
	if list.Oldest < 6 || len(list.Missing) != 1 || list.Missing[0] != (apiv1.AuditRange{From: 1, To: list.Oldest - 1}) || list.Rows[0].Seq != list.Oldest {
		t.Fatalf("%+v", list)
	}
	if again := f.audit("?after=0"); len(again.Missing) != 1 || again.Missing[0] != list.Missing[0] || seqs(again) != seqs(list) {
		t.Errorf("%+v", again)
	}
	f.get("/v1/audit/3").refused(apiv1.CodeAuditRowNotFound)
	f.node.files = append(old[:1:1], old[2:]...)
	row := into[apiv1.AuditRow](f.get("/v1/audit/3").want(200))
	if row.Source != apiv1.AuditSourceFile || row.Kind != "create_instance" {
		t.Errorf("%+v", row)
	}
	for _, query := range []string{"", "?after=0"} {
		list := f.audit(query)
		if !strings.HasPrefix(seqs(list), "1 3 4 5 ") || list.Missing[0] != (apiv1.AuditRange{From: 2, To: 2}) || list.Rows[0].Source != apiv1.AuditSourceFile {
			t.Errorf("%s: %+v", query, list)
		}
	}
	f.get("/v1/audit/2").refused(apiv1.CodeAuditRowNotFound)
	f.node.trailFail = errors.New("disk secret")
	for _, path := range []string{"/v1/audit", "/v1/audit?after=0", "/v1/audit/3"} {
		f.get(path).refused(apiv1.CodeInternal)
	}
}

// A filter that fits nothing looks at so many rows and no more; the page says where to go on.
func TestAuditScanIsBounded(t *testing.T) {
	f := newFixture(t)
	for range 25 {
		var bodies []*fsmpb.Body
		for range 1000 {
			bodies = append(bodies, &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: 7}}})
		}
		f.node.propose(t, bodies...)
	}
	if list := f.audit("?after=0&kind=checkout"); len(list.Rows) > 0 || list.Next != 20_000 {
		t.Errorf("%+v", list)
	}
	if list := f.audit("?kind=checkout"); len(list.Rows) > 0 || list.Previous != 5002 || list.Next != 0 {
		t.Errorf("%+v", list)
	}
	if list := f.audit("?before=5002&kind=initialise"); seqs(list) != "1" || list.Previous != 0 {
		t.Errorf("%+v", list)
	}
}
