package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm/fsmpb"
)

func init() {
	writes["account"] = (*world).bodyAccount
	writes["import"] = (*world).bodyImport
	writes["stage"] = (*world).bodyStage
	writes["sync"] = (*world).bodySync
	writes["sync-staged"] = (*world).bodySyncStaged
	writes["import-staged"] = (*world).bodyImportStaged
	writes["license-request"] = (*world).bodyLicenseRequest
	writes["responsible"] = (*world).bodyResponsible
}

// accountWords are the words of scripts about accounts that propose no single command.
var accountWords = map[string]func(w *world, ts *testscript.TestScript, args []string){
	"accounts": (*world).cmdAccounts,
	"totals":   (*world).cmdTotals, "account-state": (*world).cmdAccountState, "results": (*world).cmdResults, "rejected": (*world).cmdRejected,
	"notices": (*world).cmdNotices, "notice": (*world).cmdNotice, "license-request-state": (*world).cmdLicenseRequestState,
	"notified": (*world).cmdNotified, "rows": (*world).cmdRows, "staged": (*world).cmdStaged,
}

func (w *world) bodyAccount(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 3, "account create INSTANCE NAME AREA [blocked] | move INSTANCE NAME AREA | block|unblock|delete INSTANCE NAME")
	serial, name := w.serialOf(ts, args[1]), args[2]
	switch args[0] {
	case "create":
		rules.Need(ts, args, 4, "account create INSTANCE NAME AREA [blocked]")
		if len(args) > 4 {
			return blockedAccountBody(serial, name, args[3])
		}
		return accountBody(serial, name, args[3])
	case "move":
		rules.Need(ts, args, 4, "account move INSTANCE NAME AREA")
		return moveBody(serial, name, args[3])
	case "block":
		return blockBody(serial, name)
	case "unblock":
		return unblockBody(serial, name)
	case "delete":
		return deleteBody(serial, name)
	}
	ts.Fatalf("account %s", args[0])
	return nil
}

// cmdAccounts creates many, each of which must succeed: accounts INSTANCE AREA PREFIX FIRST LAST.
func (w *world) cmdAccounts(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 5, "accounts INSTANCE AREA PREFIX FIRST LAST")
	serial := w.serialOf(ts, args[0])
	for n := rules.Number(ts, args[3]); n <= rules.Number(ts, args[4]); n++ {
		w.write(ts, false, accountBody(serial, fmt.Sprint(args[2], n), args[1]))
	}
}

func listFile(ts *testscript.TestScript, file string) (list []*fsmpb.ListedAccount) {
	for _, row := range rules.Rows(ts, file) {
		list = append(list, &fsmpb.ListedAccount{Name: row.Name, Area: row.Area, Blocked: row.Blocked, Line: row.Line})
	}
	return list
}

func (w *world) bodyImport(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 2, "import INSTANCE FILE")
	return importBody(w.serialOf(ts, args[0]), listFile(ts, args[1]))
}

func (w *world) bodyStage(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 4, "stage INSTANCE STAGING PART FILE")
	return stageBody(w.serialOf(ts, args[0]), args[1], uint32(rules.Number(ts, args[2])), listFile(ts, args[3]))
}

// bodySync lists accounts in one area, first to last: u1..u12 stands for twelve.
func (w *world) bodySync(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 3, "sync INSTANCE AREA NAME...")
	return syncBody(w.serialOf(ts, args[0]), listedIn(args[1], rules.Names(ts, args[2:])...))
}

func wholeList(ts *testscript.TestScript, files []string) (list []*fsmpb.ListedAccount) {
	for _, file := range files {
		list = append(list, listFile(ts, file)...)
	}
	return list
}

func (w *world) bodySyncStaged(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 4, "sync-staged INSTANCE STAGING PARTS FILE...")
	return syncStagedBody(w.serialOf(ts, args[0]), args[1], uint32(rules.Number(ts, args[2])), wholeList(ts, args[3:]))
}

func (w *world) bodyImportStaged(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 4, "import-staged INSTANCE STAGING PARTS FILE...")
	return importStagedBody(w.serialOf(ts, args[0]), args[1], uint32(rules.Number(ts, args[2])), wholeList(ts, args[3:]))
}

func (w *world) bodyLicenseRequest(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 2, "license-request open CONTRACT AREA=N [from=AREA] | reject|withdraw ID")
	if args[0] != "open" {
		return closeRequestBody(rules.Number(ts, args[1]), args[0] == "withdraw", "")
	}
	var area, from string
	var seats uint64
	for name, value := range rules.Pairs(ts, args[2:]) {
		if name == "from" {
			from = value
			continue
		}
		area, seats = name, rules.Number(ts, value)
	}
	return openRequestBody(args[1], area, from, seats)
}

func (w *world) bodyResponsible(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 2, "responsible CONTRACT ADDRESS|-")
	return responsibleBody(args[0], strings.TrimPrefix(args[1], "-"))
}

// cmdTotals: totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED... (A5).
func (w *world) cmdTotals(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED...")
	var list []Totals
	var refusal *fsmpb.Refusal
	if id, ok := strings.CutPrefix(args[0], "contract:"); ok {
		list, refusal = w.s.View().ContractTotals(id)
	} else {
		list, refusal = w.s.View().InstanceTotals(w.serialOf(ts, args[0]))
	}
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	var got []string
	for _, x := range list {
		got = append(got, fmt.Sprintf("%s=%d/%d/%d", x.Area, x.Maximum, x.Active, x.Blocked))
	}
	rules.Expect(ts, "totals of "+args[0], strings.Join(got, " "), strings.Join(slices.Sorted(slices.Values(args[1:])), " "))
}

// cmdAccountState: account-state INSTANCE NAME active|admin|limit|gone [AREA].
func (w *world) cmdAccountState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 3, "account-state INSTANCE NAME active|admin|limit|gone [AREA]")
	a, refusal := w.s.View().Account(w.serialOf(ts, args[0]), args[1])
	if refusal != nil {
		rules.Expect(ts, args[1], map[string]string{string(AccountNotFound): "gone"}[refusal.Code], args[2])
		return
	}
	got := map[fsmpb.BlockReason]string{notBlocked: "active", blockedByAdmin: "admin", blockedByLimit: "limit"}[a.Blocked]
	rules.Expect(ts, args[1], got, args[2])
	if len(args) > 3 {
		rules.Expect(ts, "area of "+args[1], a.Area, args[3])
	}
}

// cmdResults are those of the last sync; word*3 stands for three in a row.
func (w *world) cmdResults(ts *testscript.TestScript, args []string) {
	var got []string
	for _, b := range w.last.GetSynced().GetResults() {
		got = append(got, strings.ToLower(strings.TrimPrefix(fsmpb.SyncResult(b).String(), "SYNC_RESULT_")))
	}
	rules.Expect(ts, "results", strings.Join(got, " "), strings.Join(rules.Repeated(args), " "))
}

// cmdRejected: rejected LINE=CODE..., of the last import.
func (w *world) cmdRejected(ts *testscript.TestScript, args []string) {
	var got []string
	for _, r := range w.last.GetImported().GetRejected() {
		got = append(got, fmt.Sprintf("%d=%s", r.Line, r.Code))
	}
	rules.Expect(ts, "rejected rows", strings.Join(got, " "), strings.Join(args, " "))
	rules.Expect(ts, "number of rejected rows", w.last.GetImported().GetRejectedTotal(), uint64(len(args)))
}

func (w *world) cmdNotices(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "notices N")
	rules.Expect(ts, "notices", uint64(len(w.s.View().Notices(0, 1000))), rules.Number(ts, args[0]))
}

// cmdNotice: notice ID to=ADDRESS area= active= allocation= blocked= instance= kind= contract=.
func (w *world) cmdNotice(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "notice ID NAME=VALUE...")
	id := rules.Number(ts, args[0])
	list := w.s.View().Notices(id-1, 1)
	if len(list) != 1 || list[0].ID != id {
		ts.Fatalf("no notice %d", id)
	}
	n := list[0]
	fields := map[string]string{
		"to": n.Address, "area": n.Area, "instance": n.Instance, "contract": n.Contract, "kind": string(n.Kind),
		"active": fmt.Sprint(n.Active), "allocation": fmt.Sprint(n.Allocation), "blocked": fmt.Sprint(n.Blocked),
	}
	for name, want := range rules.Pairs(ts, args[1:]) {
		rules.Expect(ts, name+" of the notice", fields[name], want)
	}
}

func (w *world) cmdNotified(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "notified CONTRACT ADDRESS")
	address, _, refusal := w.s.View().Responsible(args[0])
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	rules.Expect(ts, "responsible address", address, args[1])
}

// cmdLicenseRequestState: license-request-state ID STATE [REVISION].
func (w *world) cmdLicenseRequestState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "license-request-state ID STATE [REVISION]")
	r, refusal := w.s.View().LicenseRequest(rules.Number(ts, args[0]))
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	rules.Expect(ts, "request "+args[0], r.StateName(), args[1])
	if len(args) > 2 {
		rules.Expect(ts, "answering revision", r.Revision, rules.Number(ts, args[2]))
	}
}

// cmdRows is how many rows of accounts the state holds, those of removed instances included.
func (w *world) cmdRows(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "rows N")
	rules.Expect(ts, "rows of accounts", uint64(w.s.accounts.len()), rules.Number(ts, args[0]))
}

// cmdStaged is how many lists are staged.
func (w *world) cmdStaged(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "staged N")
	rules.Expect(ts, "staged lists", uint64(w.s.stagings.Len()), rules.Number(ts, args[0]))
}
