package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

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
	need(ts, args, 3, "account create INSTANCE NAME AREA [blocked] | move INSTANCE NAME AREA | block|unblock|delete INSTANCE NAME")
	serial, name := w.serialOf(ts, args[1]), args[2]
	switch args[0] {
	case "create":
		need(ts, args, 4, "account create INSTANCE NAME AREA [blocked]")
		if len(args) > 4 {
			return blockedAccountBody(serial, name, args[3])
		}
		return accountBody(serial, name, args[3])
	case "move":
		need(ts, args, 4, "account move INSTANCE NAME AREA")
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
	need(ts, args, 5, "accounts INSTANCE AREA PREFIX FIRST LAST")
	serial := w.serialOf(ts, args[0])
	for n := number(ts, args[3]); n <= number(ts, args[4]); n++ {
		w.write(ts, false, accountBody(serial, fmt.Sprint(args[2], n), args[1]))
	}
}

// listFile reads a file of the script: lines of name,area,Yes or No. The first one, a header, has line 1.
func listFile(ts *testscript.TestScript, file string) (list []*fsmpb.ListedAccount) {
	for n, line := range strings.Split(strings.TrimSpace(ts.ReadFile(file)), "\n") {
		fields := strings.Split(line, ",")
		need(ts, fields, 2, "name,area[,Yes|No]")
		if n > 0 {
			list = append(list, &fsmpb.ListedAccount{Name: fields[0], Area: fields[1], Blocked: len(fields) > 2 && fields[2] == "No", Line: uint32(n + 1)})
		}
	}
	return list
}

func (w *world) bodyImport(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 2, "import INSTANCE FILE")
	return importBody(w.serialOf(ts, args[0]), listFile(ts, args[1]))
}

func (w *world) bodyStage(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 4, "stage INSTANCE STAGING PART FILE")
	return stageBody(w.serialOf(ts, args[0]), args[1], uint32(number(ts, args[2])), listFile(ts, args[3]))
}

// bodySync lists accounts in one area, first to last: u1..u12 stands for twelve.
func (w *world) bodySync(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 3, "sync INSTANCE AREA NAME...")
	var names []string
	for _, name := range args[2:] {
		first, last, isRange := strings.Cut(name, "..")
		if !isRange {
			names = append(names, name)
			continue
		}
		prefix := strings.TrimRight(first, "0123456789")
		for n := number(ts, first[len(prefix):]); n <= number(ts, strings.TrimPrefix(last, prefix)); n++ {
			names = append(names, fmt.Sprint(prefix, n))
		}
	}
	return syncBody(w.serialOf(ts, args[0]), listedIn(args[1], names...))
}

func wholeList(ts *testscript.TestScript, files []string) (list []*fsmpb.ListedAccount) {
	for _, file := range files {
		list = append(list, listFile(ts, file)...)
	}
	return list
}

func (w *world) bodySyncStaged(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 4, "sync-staged INSTANCE STAGING PARTS FILE...")
	return syncStagedBody(w.serialOf(ts, args[0]), args[1], uint32(number(ts, args[2])), wholeList(ts, args[3:]))
}

func (w *world) bodyImportStaged(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 4, "import-staged INSTANCE STAGING PARTS FILE...")
	return importStagedBody(w.serialOf(ts, args[0]), args[1], uint32(number(ts, args[2])), wholeList(ts, args[3:]))
}

func (w *world) bodyLicenseRequest(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 2, "license-request open CONTRACT AREA=N [from=AREA] | reject|withdraw ID")
	if args[0] != "open" {
		return closeRequestBody(number(ts, args[1]), args[0] == "withdraw", "")
	}
	var area, from string
	var seats uint64
	for name, value := range pairs(ts, args[2:]) {
		if name == "from" {
			from = value
			continue
		}
		area, seats = name, number(ts, value)
	}
	return openRequestBody(args[1], area, from, seats)
}

func (w *world) bodyResponsible(ts *testscript.TestScript, args []string) *fsmpb.Body {
	need(ts, args, 2, "responsible CONTRACT ADDRESS|-")
	return responsibleBody(args[0], strings.TrimPrefix(args[1], "-"))
}

// cmdTotals: totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED... (A5).
func (w *world) cmdTotals(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED...")
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
	expect(ts, "totals of "+args[0], strings.Join(got, " "), strings.Join(slices.Sorted(slices.Values(args[1:])), " "))
}

// cmdAccountState: account-state INSTANCE NAME active|admin|limit|gone [AREA].
func (w *world) cmdAccountState(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "account-state INSTANCE NAME active|admin|limit|gone [AREA]")
	a, refusal := w.s.View().Account(w.serialOf(ts, args[0]), args[1])
	if refusal != nil {
		expect(ts, args[1], map[string]string{string(AccountNotFound): "gone"}[refusal.Code], args[2])
		return
	}
	got := map[fsmpb.BlockReason]string{notBlocked: "active", blockedByAdmin: "admin", blockedByLimit: "limit"}[a.Blocked]
	expect(ts, args[1], got, args[2])
	if len(args) > 3 {
		expect(ts, "area of "+args[1], a.Area, args[3])
	}
}

// cmdResults are those of the last sync; word*3 stands for three in a row.
func (w *world) cmdResults(ts *testscript.TestScript, args []string) {
	var got, want []string
	for _, b := range w.last.GetSynced().GetResults() {
		got = append(got, strings.ToLower(strings.TrimPrefix(fsmpb.SyncResult(b).String(), "SYNC_RESULT_")))
	}
	for _, word := range args {
		word, times, _ := strings.Cut(word, "*")
		n, _ := strconv.Atoi(times)
		for range max(n, 1) {
			want = append(want, word)
		}
	}
	expect(ts, "results", strings.Join(got, " "), strings.Join(want, " "))
}

// cmdRejected: rejected LINE=CODE..., of the last import.
func (w *world) cmdRejected(ts *testscript.TestScript, args []string) {
	var got []string
	for _, r := range w.last.GetImported().GetRejected() {
		got = append(got, fmt.Sprintf("%d=%s", r.Line, r.Code))
	}
	expect(ts, "rejected rows", strings.Join(got, " "), strings.Join(args, " "))
	expect(ts, "number of rejected rows", w.last.GetImported().GetRejectedTotal(), uint64(len(args)))
}

func (w *world) cmdNotices(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "notices N")
	expect(ts, "notices", uint64(len(w.s.View().Notices(0, 1000))), number(ts, args[0]))
}

// cmdNotice: notice ID to=ADDRESS area= active= allocation= blocked= instance= kind= contract=.
func (w *world) cmdNotice(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "notice ID NAME=VALUE...")
	id := number(ts, args[0])
	list := w.s.View().Notices(id-1, 1)
	if len(list) != 1 || list[0].ID != id {
		ts.Fatalf("no notice %d", id)
	}
	n := list[0]
	fields := map[string]string{
		"to": n.Address, "area": n.Area, "instance": n.Instance, "contract": n.Contract, "kind": string(n.Kind),
		"active": fmt.Sprint(n.Active), "allocation": fmt.Sprint(n.Allocation), "blocked": fmt.Sprint(n.Blocked),
	}
	for name, want := range pairs(ts, args[1:]) {
		expect(ts, name+" of the notice", fields[name], want)
	}
}

func (w *world) cmdNotified(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "notified CONTRACT ADDRESS")
	address, _, refusal := w.s.View().Responsible(args[0])
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	expect(ts, "responsible address", address, args[1])
}

// cmdLicenseRequestState: license-request-state ID STATE [REVISION].
func (w *world) cmdLicenseRequestState(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "license-request-state ID STATE [REVISION]")
	r, refusal := w.s.View().LicenseRequest(number(ts, args[0]))
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	expect(ts, "request "+args[0], r.StateName(), args[1])
	if len(args) > 2 {
		expect(ts, "answering revision", r.Revision, number(ts, args[2]))
	}
}

// cmdRows is how many rows of accounts the state holds, those of removed instances included.
func (w *world) cmdRows(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "rows N")
	expect(ts, "rows of accounts", uint64(w.s.accounts.len()), number(ts, args[0]))
}

// cmdStaged is how many lists are staged.
func (w *world) cmdStaged(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "staged N")
	expect(ts, "staged lists", uint64(w.s.stagings.Len()), number(ts, args[0]))
}
