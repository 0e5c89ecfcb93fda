package api_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (f *fixture) csv(serial int, text string) *reply {
	f.t.Helper()
	return f.do(request{method: "POST", path: fmt.Sprintf("/v1/instances/%d/imports", serial), body: text})
}

func stagedAs(staging string, parts uint32, list ...*fsmpb.ListedAccount) apiv1.StagedList {
	sum := fsm.ListedSum(list)
	return apiv1.StagedList{Staging: staging, Parts: parts, Sha256: hex.EncodeToString(sum[:])}
}

// The Claromentis text over HTTP: accounts, totals, CSV, sync, notices and requests (A1–A7).
func TestAccounts(t *testing.T) {
	f, _ := newAccountFixture(t)
	f.send("POST", "/v1/instances/2/accounts", apiv1.AccountCreation{Name: "cid", Area: "primary"}).want(201)
	p := f.send("POST", "/v1/instances/2/accounts", apiv1.AccountCreation{Name: "dan", Area: "primary"}).want(409).refused(apiv1.CodeSeatLimitReached)
	if p.Facts["active"] != apiv1.Number(3) || p.Facts["allocation"] != apiv1.Number(3) || p.Facts["blocked"] != apiv1.Number(0) {
		t.Errorf("facts %v", p.Facts)
	}
	// A5
	want := map[string]apiv1.AreaTotals{"primary": {Maximum: 3, Active: 3}, "extranet": {Maximum: 2}}
	if got := into[apiv1.Totals](f.get("/v1/instances/2/totals").want(200)); fmt.Sprint(got.Areas) != fmt.Sprint(want) {
		t.Errorf("totals %v", got)
	}
	blocked := into[apiv1.AccountChanged](f.do(samplePatch(2, "bob", `{"state":"blocked"}`)).want(200))
	if blocked.Account.State != apiv1.AccountStateBlocked || blocked.Account.Reason != "admin" || blocked.Totals != (apiv1.AreaTotals{Maximum: 3, Active: 2, Blocked: 1}) {
		t.Errorf("%+v", blocked)
	}
	moved := into[apiv1.AccountChanged](f.do(samplePatch(2, "cid", `{"area":"extranet"}`)).want(200))
	if moved.Account.Area != "extranet" || moved.Account.State != apiv1.AccountStateActive {
		t.Errorf("%+v", moved)
	}
	export := f.get("/v1/instances/2/export").want(200)
	if got, want := string(export.body), "name,area,account state\r\nann@acme.example,primary,Yes\r\nbob,primary,No\r\ncid,extranet,Yes\r\n"; got != want || export.header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("%q, %s", got, export.header)
	}
	if x := into[apiv1.Instance](f.get("/v1/instances/2").want(200)); *x.Areas["primary"].Active != 1 || x.Areas["primary"].Blocked != 1 || *x.Areas["extranet"].Active != 1 {
		t.Errorf("%+v", x)
	}
	synced := into[apiv1.Synced](f.send("POST", "/v1/instances/2/syncs", apiv1.SyncList{Accounts: []apiv1.ListedAccount{
		{Name: "ANN@acme.example", Area: "primary"},
		{Name: "bob", Area: "primary"},
		{Name: "u1", Area: "primary"},
		{Name: "u2", Area: "primary"},
		{Name: "u3", Area: "primary"},
	}}).want(200))
	if got := strings.Join(synced.Results, " "); got != "unchanged admin_blocked created_active created_active created_blocked" || synced.Active["primary"] != 3 || synced.Blocked["primary"] != 2 {
		t.Errorf("%+v", synced)
	}
	deleted := into[apiv1.AccountChanged](f.do(request{method: "DELETE", path: "/v1/instances/2/accounts/u1"}).want(200))
	if !deleted.Deleted || deleted.Totals.Active != 2 {
		t.Errorf("%+v", deleted)
	}
	notices := into[apiv1.NoticeList](f.get("/v1/notices").want(200)).Notices
	if len(notices) != 2 || notices[0].Address != "it@acme.example" || notices[0].Active != 3 || notices[1].Blocked != 2 {
		t.Errorf("A6: %+v", notices)
	}
	f.send("PUT", "/v1/contracts/acme/responsible", apiv1.ResponsibleChange{Address: "new@acme.example"}).want(200)
	if r := into[apiv1.Responsible](f.get("/v1/contracts/acme/responsible").want(200)); r.Address != "new@acme.example" || !r.Overridden {
		t.Errorf("%+v", r)
	}
	if r := into[apiv1.Responsible](f.do(request{method: "DELETE", path: "/v1/contracts/acme/responsible"}).want(200)); r.Address != "it@acme.example" || r.Overridden {
		t.Errorf("%+v", r)
	}
	// A7
	f.putContract("acme", 2, map[string]uint64{"primary": 35, "extranet": 5}, func(c *signed.Contract) { c.Answers = []uint64{1} })
	if r := into[apiv1.LicenseRequest](f.get("/v1/requests/1").want(200)); r.State != "answered" || r.Revision != 2 || r.Closed == nil {
		t.Errorf("%+v", r)
	}
}

func samplePatch(serial int, name, body string) request {
	return request{method: "PATCH", path: fmt.Sprintf("/v1/instances/%d/accounts/%s", serial, name), body: body}
}

// Bad rows of a file are named by their lines, those of its syntax before any command is made.
func TestImportNamesLines(t *testing.T) {
	f, _ := newAccountFixture(t)
	p := f.do(request{method: "POST", path: "/v1/instances/2/imports", body: "\ufeffarea,name\r\nprimary,\"x\r\ny\"\r\nprimary,ok\r\nbad area,z\r\nprimary\r\n"}.bad()).want(400).refused(apiv1.CodeBadRequest)
	if got := fmt.Sprint(p.Rows); got != "[{invalid 2} {invalid 5} {invalid 6}]" || p.Facts["field"] != apiv1.Text("line 2") {
		t.Errorf("%s, %v, %s", got, p.Facts, p.Detail)
	}
	p = f.csv(2, "name,area,account state\nann@acme.example,primary,Yes\n\nx,support,Yes\ny,primary,Yes\nY,primary,No\nz,primary,Yes\n").want(409).refused(apiv1.CodeImportRefused)
	if got := fmt.Sprint(p.Rows); got != "[{account_exists 2} {area_not_found 4} {account_twice 6} {seat_limit_reached 7}]" || p.Facts["rejected"] != apiv1.Number(4) {
		t.Errorf("%s, %v", got, p.Facts)
	}
	if got := into[apiv1.Imported](f.csv(2, "account state,area,name\nNo,primary,\"Q, \"\"the\"\"\"\nYes,extranet,r\n").want(200)); got != (apiv1.Imported{Active: 1, Blocked: 1}) {
		t.Errorf("%+v", got)
	}
	if got := string(f.get("/v1/instances/2/export").want(200).body); !strings.Contains(got, "\"Q, \"\"the\"\"\",primary,No\r\n") {
		t.Errorf("%s", got)
	}
}

// Every refusal of accounts that an operation documents.
func TestAccountRefusals(t *testing.T) {
	f, _ := newAccountFixture(t)
	f.create("acme", "gone", 1).want(201)
	f.do(request{method: "DELETE", path: "/v1/instances/3"}).want(200)
	key := into[apiv1.LicenseKey](f.get("/v1/instances/1/key").want(200)).Key
	f.activate(key, 1).want(200)
	f.putContract("later", 1, map[string]uint64{"primary": 5})
	f.create("later", "early", 1).want(201)
	// Blocked, so that there is something to unblock and to move.
	f.send("POST", "/v1/instances/4/accounts", apiv1.AccountCreation{Name: "bob", Area: "primary"}).want(201)
	f.do(samplePatch(4, "bob", `{"state":"blocked"}`)).want(200)
	f.putContract("later", 2, map[string]uint64{"primary": 5}, func(c *signed.Contract) { c.Start = epoch.AddDate(0, 0, 1) })
	f.putContract("over", 1, map[string]uint64{"primary": 5}, func(c *signed.Contract) { c.Expiry, c.GraceDays = epoch.AddDate(0, 0, 1), 0 })
	f.create("over", "late", 1).want(201)
	f.send("POST", "/v1/instances/5/accounts", apiv1.AccountCreation{Name: "bob", Area: "primary"}).want(201)
	f.do(samplePatch(5, "bob", `{"state":"blocked"}`)).want(200)
	f.refuseAll(1, 409, apiv1.CodeInstanceReports)
	f.refuseAll(3, 410, apiv1.CodeInstanceRemoved)
	f.refuseAll(4, 409, apiv1.CodeContractNotStarted)
	f.refuseAll(99, 404, apiv1.CodeInstanceNotFound)
	f.node.now = epoch.AddDate(0, 0, 2)
	f.refuseAll(5, 409, apiv1.CodeContractEnded)
}

// refuseAll sends every request about accounts of an instance that answers all of them alike.
func (f *fixture) refuseAll(serial, status int, code apiv1.Code) {
	at := fmt.Sprintf("/v1/instances/%d", serial)
	whole := code == apiv1.CodeInstanceRemoved || code == apiv1.CodeInstanceNotFound
	open := code == apiv1.CodeContractNotStarted || code == apiv1.CodeContractEnded
	if whole {
		f.get(at + "/totals").want(status).refused(code)
	}
	if !open {
		f.get(at + "/accounts").want(status).refused(code)
		f.get(at + "/accounts/bob").want(status).refused(code)
		f.get(at + "/export").want(status).refused(code)
		f.do(request{method: "DELETE", path: at + "/accounts/bob"}).want(status).refused(code)
		f.do(request{method: "PUT", path: at + "/stagings/s/1", body: `{"accounts":[{"name":"dan","area":"primary"}]}`}).want(status).refused(code)
	}
	f.do(samplePatch(serial, "bob", `{"state":"active"}`)).want(status).refused(code)
	f.send("POST", at+"/accounts", apiv1.AccountCreation{Name: "new", Area: "primary"}).want(status).refused(code)
	f.csv(serial, "name,area\nnew,primary\n").want(status).refused(code)
	f.send("POST", at+"/imports/staged", stagedAs("s", 1)).want(status).refused(code)
	f.send("POST", at+"/syncs", apiv1.SyncList{Accounts: []apiv1.ListedAccount{{Name: "bob", Area: "primary"}}}).want(status).refused(code)
	f.send("POST", at+"/syncs/staged", stagedAs("s", 1)).want(status).refused(code)
}

// Refusals by the rules A1 to A7 in an instance that works.
func TestAccountRules(t *testing.T) {
	f, _ := newAccountFixture(t)
	f.get("/v1/instances/2/accounts/nobody").want(404).refused(apiv1.CodeAccountNotFound)
	f.do(request{method: "DELETE", path: "/v1/instances/2/accounts/nobody"}).want(404).refused(apiv1.CodeAccountNotFound)
	f.do(samplePatch(2, "nobody", `{"state":"blocked"}`)).want(404).refused(apiv1.CodeAccountNotFound)
	f.do(samplePatch(2, "bob", `{"area":"support"}`)).want(404).refused(apiv1.CodeAreaNotFound)
	f.send("POST", "/v1/instances/2/accounts", apiv1.AccountCreation{Name: "new", Area: "support"}).want(404).refused(apiv1.CodeAreaNotFound)
	f.send("POST", "/v1/instances/2/accounts", apiv1.AccountCreation{Name: "BOB", Area: "primary"}).want(409).refused(apiv1.CodeAccountExists)
	f.csv(2, "name,area\nx,extranet\ny,extranet\n").want(200)
	f.do(samplePatch(2, "bob", `{"area":"extranet"}`)).want(409).refused(apiv1.CodeSeatLimitReached)
	for _, body := range []string{`{}`, `{"state":"active","area":"primary"}`} {
		f.do(samplePatch(2, "bob", body).bad()).want(400).refused(apiv1.CodeBadRequest)
	}
	key := into[apiv1.LicenseKey](f.get("/v1/instances/2/key").want(200)).Key
	f.activate(key, 1).want(409).refused(apiv1.CodeInstanceKeepsAccounts)

	twice := []apiv1.ListedAccount{{Name: "a", Area: "primary"}, {Name: "A", Area: "primary"}}
	f.send("POST", "/v1/instances/2/syncs", apiv1.SyncList{Accounts: twice}).want(409).refused(apiv1.CodeAccountTwice)
	f.send("POST", "/v1/instances/2/syncs", apiv1.SyncList{Accounts: []apiv1.ListedAccount{{Name: "a", Area: "support"}}}).want(404).refused(apiv1.CodeAreaNotFound)
	stage := func(staging, accounts string) {
		f.do(request{method: "PUT", path: "/v1/instances/2/stagings/" + staging + "/1", body: `{"accounts":[` + accounts + `]}`}).want(200)
	}
	stage("twice", `{"name":"a","area":"primary"},{"name":"A","area":"primary"}`)
	stage("area", `{"name":"a","area":"support","line":7}`)
	both := []*fsmpb.ListedAccount{{Name: "a", Area: "primary"}, {Name: "A", Area: "primary"}}
	area := &fsmpb.ListedAccount{Name: "a", Area: "support"}
	f.send("POST", "/v1/instances/2/syncs/staged", stagedAs("twice", 1, both...)).want(409).refused(apiv1.CodeAccountTwice)
	f.send("POST", "/v1/instances/2/syncs/staged", stagedAs("area", 1, area)).want(404).refused(apiv1.CodeAreaNotFound)
	p := f.send("POST", "/v1/instances/2/imports/staged", stagedAs("area", 1, area)).want(409).refused(apiv1.CodeImportRefused)
	if got := fmt.Sprint(p.Rows); got != "[{area_not_found 7}]" {
		t.Errorf("rows %s", got)
	}
	for _, use := range []string{"imports", "syncs"} {
		f.send("POST", "/v1/instances/2/"+use+"/staged", stagedAs("nothing", 1)).want(404).refused(apiv1.CodeStagingNotFound)
		f.send("POST", "/v1/instances/2/"+use+"/staged", stagedAs("area", 2, area)).want(409).refused(apiv1.CodeStagingIncomplete)
		f.send("POST", "/v1/instances/2/"+use+"/staged", stagedAs("area", 1)).want(409).refused(apiv1.CodeStagingMismatch)
	}
	for n := range fsm.MaxStagings - 3 {
		stage(fmt.Sprint("s", n), `{"name":"a","area":"primary"}`)
	}
	f.do(request{method: "PUT", path: "/v1/instances/2/stagings/more/1", body: `{"accounts":[{"name":"a","area":"primary"}]}`}).want(409).refused(apiv1.CodeStagingLimitReached)

	for _, path := range []string{"totals", "responsible"} {
		f.get("/v1/contracts/nobody/" + path).want(404).refused(apiv1.CodeContractNotFound)
	}
	f.send("PUT", "/v1/contracts/nobody/responsible", apiv1.ResponsibleChange{Address: "a@b.c"}).want(404).refused(apiv1.CodeContractNotFound)
	f.do(request{method: "DELETE", path: "/v1/contracts/nobody/responsible"}).want(404).refused(apiv1.CodeContractNotFound)
	f.send("PUT", "/v1/contracts/acme/responsible", apiv1.ResponsibleChange{Address: "nobody"}).want(400).refused(apiv1.CodeBadRequest)
}

// Refusals of license requests (A7).
func TestLicenseRequestRules(t *testing.T) {
	f, _ := newAccountFixture(t)
	open := func(contract, area, from string, seats uint64) *reply {
		return f.send("POST", "/v1/requests", apiv1.LicenseRequestOpening{Contract: contract, Area: area, From: from, Seats: seats})
	}
	open("nobody", "primary", "", 5).want(404).refused(apiv1.CodeContractNotFound)
	open("acme", "primary", "", 4).want(409).refused(apiv1.CodeRequestTooSmall)
	open("acme", "primary", "extranet", 6).want(409).refused(apiv1.CodeRequestTooLarge)
	open("acme", "primary", "primary", 6).want(400).refused(apiv1.CodeBadRequest)
	for range fsm.MaxOpenRequests - 1 {
		open("acme", "extranet", "", 5).want(201)
	}
	open("acme", "extranet", "", 5).want(409).refused(apiv1.CodeRequestLimitReached)
	f.get("/v1/requests/99").want(404).refused(apiv1.CodeRequestNotFound)
	f.send("POST", "/v1/requests/99/close", apiv1.LicenseRequestClosing{As: "rejected"}).want(404).refused(apiv1.CodeRequestNotFound)
	if r := into[apiv1.LicenseRequest](f.send("POST", "/v1/requests/2/close", apiv1.LicenseRequestClosing{As: "rejected", Note: "too dear"}).want(200)); r.State != "rejected" || r.Answer != "too dear" {
		t.Errorf("%+v", r)
	}
	f.send("POST", "/v1/requests/2/close", apiv1.LicenseRequestClosing{As: "withdrawn"}).want(409).refused(apiv1.CodeRequestClosed)
}

// Pages of accounts, notices and requests follow each other without gaps.
func TestAccountPages(t *testing.T) {
	f, _ := newAccountFixture(t)
	var rows strings.Builder
	for n := range 2500 {
		fmt.Fprintf(&rows, "u%04d,primary,No\n", n)
	}
	f.csv(2, "name,area,account state\n"+rows.String()).want(200)
	if got := strings.Count(string(f.get("/v1/instances/2/export").want(200).body), "\n"); got != 2503 {
		t.Errorf("the export has %d lines", got)
	}
	var names []string
	for after := ""; ; {
		page := into[apiv1.AccountList](f.get("/v1/instances/2/accounts?limit=999" + after).want(200))
		for _, a := range page.Accounts {
			names = append(names, a.Name)
		}
		if page.Next == "" {
			break
		}
		after = "&after=" + page.Next
	}
	if len(names) != 2502 || names[0] != "ann@acme.example" || names[2501] != "u2499" {
		t.Errorf("%d names", len(names))
	}
	for n := range 3 {
		f.send("POST", "/v1/requests", apiv1.LicenseRequestOpening{Contract: "acme", Area: "primary", Seats: uint64(5 + n)}).want(201)
	}
	page := into[apiv1.LicenseRequestList](f.get("/v1/requests?limit=3").want(200))
	if page.Next != 3 || len(into[apiv1.LicenseRequestList](f.get("/v1/requests?limit=3&after=3").want(200)).Requests) != 1 {
		t.Errorf("%+v", page)
	}
	f.csv(2, "name,area\na,extranet\nb,extranet\nc,extranet\n").want(409)
	f.csv(2, "name,area\na,primary\nb,primary\n").want(409)
	if list := into[apiv1.NoticeList](f.get("/v1/notices?limit=1").want(200)); list.Next != 1 || len(list.Notices) != 1 {
		t.Errorf("%+v", list)
	}
}
