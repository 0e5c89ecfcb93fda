package api

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listAccounts(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	after := c.query.name("after", fsm.CheckAccountName)
	limit := c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found, refused := v.Accounts(n, after, limit+1)
	if refused != nil {
		return nil, refusal(refused)
	}
	page := apiv1.AccountList{Accounts: make([]apiv1.Account, 0, min(limit, len(found)))}
	for _, a := range found[:min(limit, len(found))] {
		page.Accounts = append(page.Accounts, accountOf(a))
	}
	if len(found) > limit {
		page.Next = page.Accounts[limit-1].Name
	}
	return ok(page), nil
}

// account reads the serial number and the account's name in the path.
func account(c *call) (uint64, string, error) {
	n, err := serial(c)
	if err != nil {
		return 0, "", err
	}
	name := c.PathValue("account")
	if err := fsm.CheckAccountName("account", name); err != nil {
		return 0, "", malformed([]fault{{"account", clipped(err)}})
	}
	return n, name, nil
}

func (s *service) getAccount(c *call) (*answer, error) {
	n, name, err := account(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	a, refused := v.Account(n, name)
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(accountOf(a)), nil
}

func (s *service) createAccount(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	command := &fsmpb.CreateAccount{
		Serial: n, Name: c.form.checked("name", fsm.CheckAccountName), Area: c.form.checked("area", signed.CheckName),
	}
	if c.form.has("state") {
		command.Blocked = c.form.word("state", string(apiv1.AccountStateActive), string(apiv1.AccountStateBlocked)) == string(apiv1.AccountStateBlocked)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	x, err := s.decideAccount(c, &fsmpb.Body{Kind: &fsmpb.Body_CreateAccount{CreateAccount: command}})
	if err != nil || c.dryRun {
		return ok(x), err
	}
	c.header.Set("Location", "/v1/instances/"+strconv.FormatUint(n, 10)+"/accounts/"+url.PathEscape(x.Account.Name))
	return &answer{http.StatusCreated, x}, nil
}

// changeAccount blocks, unblocks or moves: one of them, so that its outcome is one.
func (s *service) changeAccount(c *call) (*answer, error) {
	n, name, err := account(c)
	if err != nil {
		return nil, err
	}
	body := new(fsmpb.Body)
	hasState, hasArea := c.form.has("state"), c.form.has("area")
	switch {
	case hasState == hasArea:
		c.form.fault("body", "either state or area is wanted")
	case hasArea:
		body.Kind = &fsmpb.Body_MoveAccount{MoveAccount: &fsmpb.MoveAccount{Serial: n, Name: name, Area: c.form.checked("area", signed.CheckName)}}
	case c.form.word("state", string(apiv1.AccountStateActive), string(apiv1.AccountStateBlocked)) == string(apiv1.AccountStateActive):
		body.Kind = &fsmpb.Body_UnblockAccount{UnblockAccount: &fsmpb.UnblockAccount{Serial: n, Name: name}}
	default:
		body.Kind = &fsmpb.Body_BlockAccount{BlockAccount: &fsmpb.BlockAccount{Serial: n, Name: name}}
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	x, err := s.decideAccount(c, body)
	return ok(x), err
}

func (s *service) deleteAccount(c *call) (*answer, error) {
	n, name, err := account(c)
	if err != nil {
		return nil, err
	}
	x, err := s.decideAccount(c, &fsmpb.Body{Kind: &fsmpb.Body_DeleteAccount{DeleteAccount: &fsmpb.DeleteAccount{Serial: n, Name: name}}})
	return ok(x), err
}

func (s *service) decideAccount(c *call, body *fsmpb.Body) (apiv1.AccountChanged, error) {
	o, err := s.decide(c, body)
	if err != nil {
		return apiv1.AccountChanged{}, err
	}
	x := o.GetAccount()
	return apiv1.AccountChanged{
		Account: accountOf(fsm.AccountFromProto(x.GetAccount())), Deleted: x.GetDeleted(),
		Totals: apiv1.AreaTotals{Maximum: x.GetAllocation(), Active: x.GetActive(), Blocked: x.GetBlocked()},
	}, nil
}

func accountOf(a *fsm.Account) apiv1.Account {
	out := apiv1.Account{
		Serial: a.Serial, Name: a.Name, Area: a.Area, State: apiv1.AccountStateActive,
		Created: time.UnixMilli(a.CreatedMs).UTC(), Changed: time.UnixMilli(a.ChangedMs).UTC(),
	}
	if !a.Active() {
		out.State, out.Reason = apiv1.AccountStateBlocked, a.Reason()
	}
	return out
}

func (s *service) getInstanceTotals(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	list, refused := v.InstanceTotals(n)
	return totalsOf(list, refused)
}

func (s *service) getContractTotals(c *call) (*answer, error) {
	id, err := contractID(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	list, refused := v.ContractTotals(id)
	return totalsOf(list, refused)
}

func totalsOf(list []fsm.Totals, refused *fsmpb.Refusal) (*answer, error) {
	if refused != nil {
		return nil, refusal(refused)
	}
	out := apiv1.Totals{Areas: make(map[string]apiv1.AreaTotals, len(list))}
	for _, x := range list {
		out.Areas[x.Area] = apiv1.AreaTotals{Maximum: x.Maximum, Active: x.Active, Blocked: x.Blocked}
	}
	return ok(out), nil
}

// contractID reads the contract in the path.
func contractID(c *call) (string, error) {
	id := c.PathValue("id")
	if err := signed.CheckName("id", id); err != nil {
		return "", malformed([]fault{{"id", clipped(err)}})
	}
	return id, nil
}
