package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	annAnswer         = `{"serial":1,"name":"ann@acme.example","area":"primary","state":"active","created":"2026-09-01T08:01:00Z","changed":"2026-09-01T08:01:00Z"}`
	bobAnswer         = `{"serial":1,"name":"Bob","area":"primary","state":"blocked","reason":"limit","created":"2026-09-01T08:01:00Z","changed":"2026-09-02T08:01:00Z"}`
	areaAnswer        = `{"maximum":15,"active":15,"blocked":2}`
	changedAnswer     = `{"account":` + annAnswer + `,"totals":` + areaAnswer + `}`
	totalsAnswer      = `{"areas":{"primary":` + areaAnswer + `,"extranet":{"maximum":5,"active":1,"blocked":0}}}`
	noticeAnswer      = `{"id":3,"time":"2026-09-02T08:01:00Z","contract":"themis","serial":1,"instance":"bordeaux","area":"primary","kind":"seat_limit_reached","address":"licenses@acme.example","active":15,"allocation":15,"blocked":2}`
	requestAnswer     = `{"id":7,"contract":"themis","area":"primary","seats":5,"state":"open","note":"for the new team","opened":"2026-09-02T08:05:00Z"}`
	closedAnswer      = `{"id":6,"contract":"themis","area":"primary","seats":2,"from":"extranet","state":"answered","opened":"2026-09-01T08:05:00Z","closed":"2026-09-03T08:05:00Z","revision":4,"answer":"with revision 4"}`
	responsibleAnswer = `{"contract":"themis","address":"licenses@acme.example","overridden":true}`
	syncedAnswer      = `{"results":["unchanged","created_blocked","moved"],"active":{"primary":15,"extranet":2},"blocked":{"primary":1}}`
)

var accountGoldens = []golden{
	{name: "account-create", args: "account create 1 ann@acme.example --area primary", answer: changedAnswer, status: 201, request: "POST /v1/instances/1/accounts"},
	{name: "account-create-dry-run", args: "account create 1 ann@acme.example --area primary --blocked --dry-run", answer: changedAnswer, request: "POST /v1/instances/1/accounts?dry_run=true", header: map[string]string{"Licet-Dry-Run": "true"}},
	{name: "account-block", args: "account block 1 Bob", answer: `{"account":` + strings.Replace(bobAnswer, "limit", "admin", 1) + `,"totals":` + areaAnswer + `}`, request: "PATCH /v1/instances/1/accounts/Bob"},
	{name: "account-unblock", args: "account unblock 1 ann@acme.example", answer: changedAnswer, request: "PATCH /v1/instances/1/accounts/ann@acme.example"},
	{name: "account-move", args: "account move 1 ann@acme.example --area primary", answer: changedAnswer, request: "PATCH /v1/instances/1/accounts/ann@acme.example"},
	{name: "account-delete", args: "account delete 1 ann@acme.example", answer: strings.TrimSuffix(changedAnswer, "}") + `,"deleted":true}`, request: "DELETE /v1/instances/1/accounts/ann@acme.example"},
	{name: "account-list", args: "account list 1", answer: `{"accounts":[` + annAnswer + `,` + bobAnswer + `]}`, request: "GET /v1/instances/1/accounts"},
	{name: "account-show", args: "account show 1 Bob", answer: bobAnswer, request: "GET /v1/instances/1/accounts/Bob"},
	{name: "account-totals", args: "account totals 1", answer: totalsAnswer, request: "GET /v1/instances/1/totals"},
	{name: "account-import", args: "account import 1 testdata/accounts.csv", answer: `{"active":2,"blocked":1}`, request: "POST /v1/instances/1/imports"},
	{name: "account-export", args: "account export 1", answer: "name,area,account state\nann@acme.example,primary,Yes\nBob,primary,No\n", kind: "text/csv", request: "GET /v1/instances/1/export"},
	{name: "account-sync", args: "account sync 1 testdata/accounts.csv", answer: syncedAnswer, request: "POST /v1/instances/1/syncs"},
	{name: "contract-totals", args: "contract totals themis", answer: totalsAnswer, request: "GET /v1/contracts/themis/totals"},
	{name: "contract-responsible", args: "contract responsible themis", answer: strings.Replace(responsibleAnswer, "true", "false", 1), request: "GET /v1/contracts/themis/responsible"},
	{name: "contract-responsible-set", args: "contract responsible themis --set licenses@acme.example", answer: responsibleAnswer, request: "PUT /v1/contracts/themis/responsible"},
	{name: "contract-responsible-own", args: "contract responsible themis --own", answer: strings.Replace(responsibleAnswer, "true", "false", 1), request: "DELETE /v1/contracts/themis/responsible"},
	{name: "notice-list", args: "notice list", answer: `{"notices":[` + noticeAnswer + `]}`, request: "GET /v1/notices"},
	{name: "request-list", args: "request list --contract themis", answer: `{"requests":[` + closedAnswer + `,` + requestAnswer + `]}`, request: "GET /v1/requests?contract=themis"},
	{name: "request-show", args: "request show 6", answer: closedAnswer, request: "GET /v1/requests/6"},
	{name: "request-open", args: "request open themis --area primary --seats 5", answer: requestAnswer, status: 201, request: "POST /v1/requests"},
	{name: "request-reject", args: "request reject 7 --note later", answer: strings.Replace(requestAnswer, "open", "rejected", 1), request: "POST /v1/requests/7/close"},
	{name: "request-withdraw", args: "request withdraw 7", answer: strings.Replace(requestAnswer, "open", "withdrawn", 1), request: "POST /v1/requests/7/close"},
}

// noTable are the verbs that have no golden file, and why, or what tests them.
var noTable = map[string]string{
	"help": "its text is the code's", "version": "it differs with each build", "status": "TestStatus", "doctor": "TestDoctorOfACluster", "ready": "TestReady", "run": "TestRun of e2e", "audit verify": "TestAuditVerifyServer", "audit export": "TestAuditExport",
	"pool example": "TestPoolExample", "contract apply": "it shows what contract show shows", "pool deactivate": "it shows what pool activate shows",
	"server": "it runs a node", "dev": "it runs nodes", "verify": "TestVerify", "vendor keygen": "TestVendor", "vendor sign": "TestVendor", "vendor endorse": "TestVendorEndorse", "vendor-key apply": "TestVendorEndorse",
	"vendor verify": "TestVendor", "tls init": "TestTLS", "tls node": "TestTLS", "tls client": "TestTLS", "tls request": "TestTLSFromElsewhere", "tls sign": "TestTLSFromElsewhere",
	"tls check": "TestTLSFromElsewhere", "gossip key make": "TestGossipKeyMake", "config check": "TestConfig", "config example": "TestConfig",
	"cluster leave": "it shows nothing", "cluster replace": "TestReplace",
	"cluster recover": "TestDisaster of e2e", "backup": "TestDisaster of e2e", "restore": "TestDisaster of e2e",
	"debug backup": "TestDisaster of e2e", "debug data": "TestDisaster of e2e",
}

// Every verb that shows what a node said has a golden file.
func TestTablesAreComplete(t *testing.T) {
	all := slices.Concat(goldens, accountGoldens)
	for _, words := range verbs(newApp(Streams{}).Commands) {
		name := strings.Join(words, " ")
		has := slices.ContainsFunc(all, func(g golden) bool { return g.args == name || strings.HasPrefix(g.args, name+" ") })
		if why, excused := noTable[name]; has == excused {
			t.Errorf("licet %s: it has a golden file: %v; it is excused: %q", name, has, why)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); !slices.ContainsFunc(all, func(g golden) bool { return g.name == name }) {
			t.Errorf("%s is read by nobody", file)
		}
	}
}
