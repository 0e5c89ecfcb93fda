package api

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) importAccounts(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	list, err := readAccounts(c.text)
	if err != nil {
		return nil, err
	}
	return s.decideImport(c, &fsmpb.ImportAccounts{Serial: n, Accounts: list})
}

func (s *service) importStaged(c *call) (*answer, error) {
	n, staged, err := stagedList(c)
	if err != nil {
		return nil, err
	}
	return s.decideImport(c, &fsmpb.ImportAccounts{Serial: n, Staged: staged})
}

func (s *service) decideImport(c *call, command *fsmpb.ImportAccounts) (*answer, error) {
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_ImportAccounts{ImportAccounts: command}})
	if err != nil {
		return nil, err
	}
	return ok(apiv1.Imported{Active: o.GetImported().GetActive(), Blocked: o.GetImported().GetBlocked()}), nil
}

func (s *service) syncAccounts(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	list := c.form.accountList(false)
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.decideSync(c, &fsmpb.SyncAccounts{Serial: n, Accounts: list})
}

func (s *service) syncStaged(c *call) (*answer, error) {
	n, staged, err := stagedList(c)
	if err != nil {
		return nil, err
	}
	return s.decideSync(c, &fsmpb.SyncAccounts{Serial: n, Staged: staged})
}

func (s *service) decideSync(c *call, command *fsmpb.SyncAccounts) (*answer, error) {
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_SyncAccounts{SyncAccounts: command}})
	if err != nil {
		return nil, err
	}
	x := o.GetSynced()
	out := apiv1.Synced{
		Results: make([]string, len(x.GetResults())),
		Active:  fsm.QuantitiesFromProto(x.GetActive()).Map(), Blocked: fsm.QuantitiesFromProto(x.GetBlocked()).Map(),
	}
	for i, b := range x.GetResults() {
		out.Results[i] = strings.ToLower(strings.TrimPrefix(fsmpb.SyncResult(b).String(), "SYNC_RESULT_"))
	}
	return ok(out), nil
}

func (s *service) stageAccounts(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	staging := c.PathValue("staging")
	if err := signed.CheckName("staging", staging); err != nil {
		return nil, malformed([]fault{{"staging", clipped(err)}})
	}
	part, err := parseWhole(c.PathValue("part"), 1, fsm.MaxParts)
	if err != nil {
		return nil, malformed([]fault{{"part", "part: " + err.Error()}})
	}
	list := c.form.accountList(true)
	if err := c.form.done(); err != nil {
		return nil, err
	}
	command := &fsmpb.StageAccounts{Serial: n, Staging: staging, Part: uint32(part), Accounts: list} //nolint:gosec // G115: it was held to its bounds when it was read
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_StageAccounts{StageAccounts: command}})
	if err != nil {
		return nil, err
	}
	x := o.GetStaged()
	return ok(apiv1.Staged{Staging: x.GetStaging(), Parts: x.GetParts(), Accounts: x.GetAccounts(), Expires: time.UnixMilli(x.GetExpiresMs()).UTC()}), nil
}

// stagedList reads what names a staged list.
func stagedList(c *call) (uint64, *fsmpb.StagedList, error) {
	n, err := serial(c)
	if err != nil {
		return 0, nil, err
	}
	staged := &fsmpb.StagedList{Staging: c.form.checked("staging", signed.CheckName)}
	if !c.form.has("parts") {
		c.form.fault("parts", "parts: it is missing")
	}
	staged.Parts = c.form.small("parts", 1, fsm.MaxParts)
	sum := c.form.text("sha256", 64)
	staged.Sha256, err = hex.DecodeString(sum)
	if err != nil || len(sum) != 64 || strings.ToLower(sum) != sum {
		c.form.fault("sha256", "sha256: %.70q is not 64 digits of hex in lower case", sum)
	}
	return n, staged, c.form.done()
}

// accountList reads the field accounts. Accounts that are to be staged may have a state and a line.
func (f *form) accountList(staged bool) []*fsmpb.ListedAccount {
	value, _ := f.take("accounts")
	items, isList := value.([]any)
	if !isList || len(items) == 0 || len(items) > fsm.MaxListed {
		f.fault("accounts", "accounts: 1 to %d are wanted in a list", fsm.MaxListed)
		return nil
	}
	list := make([]*fsmpb.ListedAccount, 0, len(items))
	for i, item := range items {
		fields, isObject := item.(object)
		if !isObject {
			f.fault("accounts", "accounts, number %d: it is %s instead of an object", i+1, typeName(item))
			continue
		}
		inner := newForm(fields)
		a := &fsmpb.ListedAccount{Name: inner.checked("name", fsm.CheckAccountName), Area: inner.checked("area", signed.CheckName)}
		if staged && inner.has("state") {
			a.Blocked = inner.word("state", string(apiv1.AccountStateActive), string(apiv1.AccountStateBlocked)) == string(apiv1.AccountStateBlocked)
		}
		if staged {
			a.Line = inner.small("line", 1, signed.MaxQuantity)
		}
		_ = inner.done() // it adds what is unknown to the faults
		for _, x := range inner.faults {
			f.fault("accounts", "accounts, number %d: %s", i+1, x.text)
		}
		list = append(list, a)
	}
	return list
}

// word reads one of a few words.
func (f *form) word(name string, words ...string) string {
	text := f.text(name, signed.MaxName)
	for _, word := range words {
		if text == word {
			return word
		}
	}
	if text != "" {
		f.fault(name, "%s: %.40q is none of %s", name, text, strings.Join(words, ", "))
	}
	return ""
}

// clipped is an error about what a caller sent, however long that was.
func clipped(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}
