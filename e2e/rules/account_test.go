package rules_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

var accountWrites = writes{
	"account": (*player).sendAccount, "import": (*player).importFile, "stage": (*player).stage, "sync": (*player).sync,
	"sync-staged": (*player).syncStaged, "import-staged": (*player).importStaged,
	"license-request": (*player).sendLicenseRequest, "responsible": (*player).setResponsible,
}

var accountWords = words{
	"accounts": (*player).cmdAccounts, "totals": (*player).cmdTotals, "account-state": (*player).cmdAccountState,
	"results": (*player).cmdResults, "rejected": (*player).cmdRejected, "notices": (*player).cmdNotices, "notice": (*player).cmdNotice,
	"license-request-state": (*player).cmdLicenseRequestState, "notified": (*player).cmdNotified,
}

func (p *player) sendAccount(ts *testscript.TestScript, args []string) send {
	const usage = "account create INSTANCE NAME AREA [blocked] | move INSTANCE NAME AREA | block|unblock|delete INSTANCE NAME"
	rules.Need(ts, args, 3, usage)
	serial, name := p.serialOf(ts, args[1]), args[2]
	blocked, active := apiv1.AccountStateBlocked, apiv1.AccountStateActive
	change := apiv1.AccountChange{}
	switch args[0] {
	case "create":
		rules.Need(ts, args, 4, usage)
		account := apiv1.AccountCreation{Name: name, Area: args[3]}
		if len(args) > 4 {
			account.State = &blocked
		}
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.CreateAccount(ctx, serial, account))
		}
	case "delete":
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.DeleteAccount(ctx, serial, name))
		}
	case "move":
		rules.Need(ts, args, 4, usage)
		change.Area = &args[3]
	case "block":
		change.State = &blocked
	case "unblock":
		change.State = &active
	default:
		ts.Fatalf("usage: %s", usage)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ChangeAccount(ctx, serial, name, change))
	}
}

// cmdAccounts creates many, each of which must succeed: accounts INSTANCE AREA PREFIX FIRST LAST.
func (p *player) cmdAccounts(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 5, "accounts INSTANCE AREA PREFIX FIRST LAST")
	for n := rules.Number(ts, args[3]); n <= rules.Number(ts, args[4]); n++ {
		p.write(ts, false, p.sendAccount(ts, []string{"create", args[0], fmt.Sprint(args[2], n), args[1]}))
	}
}

func (p *player) importFile(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 2, "import INSTANCE FILE")
	serial, file := p.serialOf(ts, args[0]), []byte(ts.ReadFile(args[1]))
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ImportAccounts(ctx, serial, file))
	}
}

func (p *player) stage(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 4, "stage INSTANCE STAGING PART FILE")
	serial, part := p.serialOf(ts, args[0]), int(rules.Number(ts, args[2]))
	var list []apiv1.StagedAccount
	for _, row := range rules.Rows(ts, args[3]) {
		account := apiv1.StagedAccount{Name: row.Name, Area: row.Area, Line: row.Line}
		if row.Blocked {
			state := apiv1.AccountStateBlocked
			account.State = &state
		}
		list = append(list, account)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.StageAccounts(ctx, serial, args[1], part, list))
	}
}

// staged names what INSTANCE STAGING PARTS FILE... says was staged.
func (p *player) staged(ts *testscript.TestScript, args []string) (serial uint64, list apiv1.StagedList) {
	rules.Need(ts, args, 4, "sync-staged|import-staged INSTANCE STAGING PARTS FILE...")
	var rows []*fsmpb.ListedAccount
	for _, file := range args[3:] {
		for _, row := range rules.Rows(ts, file) {
			rows = append(rows, &fsmpb.ListedAccount{Name: row.Name, Area: row.Area, Blocked: row.Blocked})
		}
	}
	sum := fsm.ListedSum(rows)
	return p.serialOf(ts, args[0]), apiv1.StagedList{Staging: args[1], Parts: uint32(rules.Number(ts, args[2])), Sha256: hex.EncodeToString(sum[:])}
}

// sync lists accounts in one area, first to last: u1..u12 stands for twelve.
func (p *player) sync(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 3, "sync INSTANCE AREA NAME...")
	serial, list := p.serialOf(ts, args[0]), []apiv1.ListedAccount{}
	for _, name := range rules.Names(ts, args[2:]) {
		list = append(list, apiv1.ListedAccount{Name: name, Area: args[1]})
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.SyncAccounts(ctx, serial, list))
	}
}

func (p *player) syncStaged(ts *testscript.TestScript, args []string) send {
	serial, list := p.staged(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.SyncStaged(ctx, serial, list))
	}
}

func (p *player) importStaged(ts *testscript.TestScript, args []string) send {
	serial, list := p.staged(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ImportStaged(ctx, serial, list))
	}
}

func (p *player) sendLicenseRequest(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 2, "license-request open CONTRACT AREA=N [from=AREA] | reject|withdraw ID")
	if args[0] != "open" {
		id := rules.Number(ts, args[1])
		closing := apiv1.LicenseRequestClosing{As: map[string]string{"reject": "rejected", "withdraw": "withdrawn"}[args[0]]}
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.CloseRequest(ctx, id, closing))
		}
	}
	opening := apiv1.LicenseRequestOpening{Contract: args[1]}
	for name, value := range rules.Pairs(ts, args[2:]) {
		if name == "from" {
			opening.From = value
			continue
		}
		opening.Area, opening.Seats = name, rules.Number(ts, value)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.OpenRequest(ctx, opening))
	}
}

func (p *player) setResponsible(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 2, "responsible CONTRACT ADDRESS|-")
	return func(ctx context.Context, c *client.Client) (reply, error) {
		if args[1] == "-" {
			return replied(c.ResetResponsible(ctx, args[0]))
		}
		return replied(c.SetResponsible(ctx, args[0], args[1]))
	}
}

// cmdTotals: totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED... (A5).
func (p *player) cmdTotals(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "totals INSTANCE|contract:ID AREA=MAXIMUM/ACTIVE/BLOCKED...")
	var a *client.Answer[apiv1.Totals]
	var err error
	if id, ok := strings.CutPrefix(args[0], "contract:"); ok {
		a, err = p.reader(ts).ContractTotals(p.ctx, id)
	} else {
		a, err = p.reader(ts).InstanceTotals(p.ctx, p.serialOf(ts, args[0]))
	}
	ts.Check(err)
	var got []string
	for area, x := range a.Value.Areas {
		got = append(got, fmt.Sprintf("%s=%d/%d/%d", area, x.Maximum, x.Active, x.Blocked))
	}
	slices.Sort(got)
	rules.Expect(ts, "totals of "+args[0], strings.Join(got, " "), strings.Join(slices.Sorted(slices.Values(args[1:])), " "))
}

// cmdAccountState: account-state INSTANCE NAME active|admin|limit|gone [AREA].
func (p *player) cmdAccountState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 3, "account-state INSTANCE NAME active|admin|limit|gone [AREA]")
	a, err := p.reader(ts).Account(p.ctx, p.serialOf(ts, args[0]), args[1])
	if client.CodeOf(err) == apiv1.CodeAccountNotFound {
		rules.Expect(ts, args[1], "gone", args[2])
		return
	}
	ts.Check(err)
	got := string(a.Value.State)
	if a.Value.State == apiv1.AccountStateBlocked {
		got = a.Value.Reason
	}
	rules.Expect(ts, args[1], got, args[2])
	if len(args) > 3 {
		rules.Expect(ts, "area of "+args[1], a.Value.Area, args[3])
	}
}

// cmdResults are those of the last sync; word*3 stands for three in a row.
func (p *player) cmdResults(ts *testscript.TestScript, args []string) {
	x, ok := p.last.value.(apiv1.Synced)
	if !ok {
		ts.Fatalf("the last answer is no sync's: %+v", p.last)
	}
	rules.Expect(ts, "results", strings.Join(x.Results, " "), strings.Join(rules.Repeated(args), " "))
}

// cmdRejected: rejected LINE=CODE..., of the last import.
func (p *player) cmdRejected(ts *testscript.TestScript, args []string) {
	if p.last.refusal == nil {
		ts.Fatalf("the last answer is no refusal: %+v", p.last)
	}
	var got []string
	for _, r := range p.last.refusal.Rows {
		got = append(got, fmt.Sprintf("%d=%s", r.Line, r.Code))
	}
	rules.Expect(ts, "rejected rows", strings.Join(got, " "), strings.Join(args, " "))
	rules.Expect(ts, "number of rejected rows", p.last.refusal.Facts["rejected"].String(), fmt.Sprint(len(args)))
}

func (p *player) notices(ts *testscript.TestScript, page client.NumberPage) []apiv1.Notice {
	a, err := p.reader(ts).Notices(p.ctx, page)
	ts.Check(err)
	return a.Value.Notices
}

func (p *player) cmdNotices(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "notices N")
	rules.Expect(ts, "notices", uint64(len(p.notices(ts, client.NumberPage{Limit: 1000}))), rules.Number(ts, args[0]))
}

// cmdNotice: notice ID to=ADDRESS area= active= allocation= blocked= instance= kind= contract=.
func (p *player) cmdNotice(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "notice ID NAME=VALUE...")
	id := rules.Number(ts, args[0])
	list := p.notices(ts, client.NumberPage{After: id - 1, Limit: 1})
	if len(list) != 1 || list[0].ID != id {
		ts.Fatalf("no notice %d", id)
	}
	n := list[0]
	fields := map[string]string{
		"to": n.Address, "area": n.Area, "instance": n.Instance, "contract": n.Contract, "kind": n.Kind,
		"active": fmt.Sprint(n.Active), "allocation": fmt.Sprint(n.Allocation), "blocked": fmt.Sprint(n.Blocked),
	}
	for name, want := range rules.Pairs(ts, args[1:]) {
		rules.Expect(ts, name+" of the notice", fields[name], want)
	}
}

func (p *player) cmdNotified(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "notified CONTRACT ADDRESS")
	a, err := p.reader(ts).Responsible(p.ctx, args[0])
	ts.Check(err)
	rules.Expect(ts, "responsible address", a.Value.Address, args[1])
}

// cmdLicenseRequestState: license-request-state ID STATE [REVISION].
func (p *player) cmdLicenseRequestState(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "license-request-state ID STATE [REVISION]")
	a, err := p.reader(ts).LicenseRequest(p.ctx, rules.Number(ts, args[0]))
	ts.Check(err)
	rules.Expect(ts, "request "+args[0], a.Value.State, args[1])
	if len(args) > 2 {
		rules.Expect(ts, "answering revision", a.Value.Revision, rules.Number(ts, args[2]))
	}
}
