package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of one part of a list, well below what a node takes.
const (
	partAccounts = 5000
	partBytes    = 256 << 10
)

// AccountPage says which accounts to list, by name.
type AccountPage struct {
	// After is the name after which the page begins; empty means at the first.
	After string
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

// CreateAccount creates an account, active unless its state says otherwise (rules A1, A2).
func (c *Client) CreateAccount(ctx context.Context, serial uint64, account apiv1.AccountCreation) (*Answer[apiv1.AccountChanged], error) {
	path, err := instancePath(serial, "/accounts")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, account)
	return call[apiv1.AccountChanged](ctx, c, r, err)
}

// ChangeAccount blocks, unblocks or moves an account (rules A2, A4).
func (c *Client) ChangeAccount(ctx context.Context, serial uint64, name string, change apiv1.AccountChange) (*Answer[apiv1.AccountChanged], error) {
	path, err := accountPath(serial, name)
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "PATCH", path, change)
	return call[apiv1.AccountChanged](ctx, c, r, err)
}

// DeleteAccount removes an account for good (rule A4).
func (c *Client) DeleteAccount(ctx context.Context, serial uint64, name string) (*Answer[apiv1.AccountChanged], error) {
	path, err := accountPath(serial, name)
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "DELETE", path, nil)
	return call[apiv1.AccountChanged](ctx, c, r, err)
}

// Account returns an account.
func (c *Client) Account(ctx context.Context, serial uint64, name string, options ...ReadOption) (*Answer[apiv1.Account], error) {
	path, err := accountPath(serial, name)
	return call[apiv1.Account](ctx, c, get(path, options), err)
}

// Accounts lists one page of an instance's accounts.
func (c *Client) Accounts(ctx context.Context, serial uint64, page AccountPage, options ...ReadOption) (*Answer[apiv1.AccountList], error) {
	path, err := instancePath(serial, "/accounts")
	r := get(path, append([]ReadOption{limit(page.Limit)}, options...))
	if page.After != "" {
		r.query.Set("after", page.After)
	}
	return call[apiv1.AccountList](ctx, c, r, err)
}

// InstanceTotals returns the totals of an instance by area (rule A5).
func (c *Client) InstanceTotals(ctx context.Context, serial uint64, options ...ReadOption) (*Answer[apiv1.Totals], error) {
	path, err := instancePath(serial, "/totals")
	return call[apiv1.Totals](ctx, c, get(path, options), err)
}

// ContractTotals returns the totals over all instances of a contract by area (rule A5).
func (c *Client) ContractTotals(ctx context.Context, contract string, options ...ReadOption) (*Answer[apiv1.Totals], error) {
	path, err := contractPath(contract, "/totals")
	return call[apiv1.Totals](ctx, c, get(path, options), err)
}

// ExportAccounts returns all accounts of an instance as CSV with account state (rule A5).
func (c *Client) ExportAccounts(ctx context.Context, serial uint64, options ...ReadOption) (*Answer[[]byte], error) {
	path, err := instancePath(serial, "/export")
	r := get(path, options)
	r.accept = csvType
	return call[[]byte](ctx, c, r, err)
}

// ImportAccounts creates the accounts of a CSV file, all or none (rule A2). The
// Rows of the Error of a refusal name what was wrong, by line.
func (c *Client) ImportAccounts(ctx context.Context, serial uint64, csv []byte) (*Answer[apiv1.Imported], error) {
	path, err := instancePath(serial, "/imports")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, nil)
	if err == nil {
		r.body, r.kind = csv, csvType
	}
	return call[apiv1.Imported](ctx, c, r, err)
}

// ImportStaged is ImportAccounts for a list that Stage staged.
func (c *Client) ImportStaged(ctx context.Context, serial uint64, list apiv1.StagedList) (*Answer[apiv1.Imported], error) {
	path, err := instancePath(serial, "/imports/staged")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, list)
	return call[apiv1.Imported](ctx, c, r, err)
}

// SyncAccounts brings an instance to what a directory lists, all at once (rule A3).
func (c *Client) SyncAccounts(ctx context.Context, serial uint64, list []apiv1.ListedAccount) (*Answer[apiv1.Synced], error) {
	path, err := instancePath(serial, "/syncs")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, apiv1.SyncList{Accounts: list})
	return call[apiv1.Synced](ctx, c, r, err)
}

// SyncStaged is SyncAccounts for a list that Stage staged.
func (c *Client) SyncStaged(ctx context.Context, serial uint64, list apiv1.StagedList) (*Answer[apiv1.Synced], error) {
	path, err := instancePath(serial, "/syncs/staged")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, list)
	return call[apiv1.Synced](ctx, c, r, err)
}

// StageAccounts keeps one part of a list, from 1, for an import or a sync.
func (c *Client) StageAccounts(ctx context.Context, serial uint64, staging string, part int, list []apiv1.StagedAccount) (*Answer[apiv1.Staged], error) {
	if err := signed.CheckName("staging", staging); err != nil {
		return nil, refused(err)
	}
	path, err := instancePath(serial, "/stagings/"+staging+"/"+strconv.Itoa(part))
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "PUT", path, apiv1.AccountPart{Accounts: list})
	return call[apiv1.Staged](ctx, c, r, err)
}

// Stage stages a list that is too long for one request, in parts, and returns what names
// it. The name follows from the list, so that staging it again is harmless. Nothing happens to
// accounts by it, so it also does what it does in a dry run; parts have request ids of their own.
func (c *Client) Stage(ctx context.Context, serial uint64, list []apiv1.StagedAccount) (apiv1.StagedList, error) {
	sum := accountSum(list)
	staged := apiv1.StagedList{Staging: "list-" + sum[:32], Sha256: sum}
	ctx = context.WithValue(context.WithValue(ctx, requestIDKey{}, nil), dryRunKey{}, false)
	for len(list) > 0 {
		n := partLength(list)
		staged.Parts++
		if _, err := c.StageAccounts(ctx, serial, staged.Staging, int(staged.Parts), list[:n]); err != nil {
			return staged, err
		}
		list = list[n:]
	}
	return staged, nil
}

// partLength is how much of a list makes one part.
func partLength(list []apiv1.StagedAccount) int {
	bytes := 0
	for n, a := range list {
		bytes += len(a.Name) + len(a.Area) + 64
		if n == partAccounts || bytes > partBytes && n > 0 {
			return n
		}
	}
	return len(list)
}

func accountSum(list []apiv1.StagedAccount) string {
	hash := sha256.New()
	for _, a := range list {
		state := "Yes"
		if a.State != nil && *a.State == apiv1.AccountStateBlocked {
			state = "No"
		}
		// A hash never fails to take what is written.
		_, _ = io.WriteString(hash, a.Name+"\t"+a.Area+"\t"+state+"\n")
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func accountPath(serial uint64, name string) (string, error) {
	if name == "" || strings.Contains(name, "/") || name[0] == '.' {
		return "", refused(fmt.Errorf("account: %.80q is no name of an account", name))
	}
	return instancePath(serial, "/accounts/"+url.PathEscape(name))
}

func contractPath(id, rest string) (string, error) {
	if err := signed.CheckName("contract", id); err != nil {
		return "", refused(err)
	}
	return "/v1/contracts/" + url.PathEscape(id) + rest, nil
}

// Responsible returns who is notified when a limit stops somebody (rule A6).
func (c *Client) Responsible(ctx context.Context, contract string, options ...ReadOption) (*Answer[apiv1.Responsible], error) {
	path, err := contractPath(contract, "/responsible")
	return call[apiv1.Responsible](ctx, c, get(path, options), err)
}

// SetResponsible changes who is notified (rule A6).
func (c *Client) SetResponsible(ctx context.Context, contract, address string) (*Answer[apiv1.Responsible], error) {
	path, err := contractPath(contract, "/responsible")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "PUT", path, apiv1.ResponsibleChange{Address: address})
	return call[apiv1.Responsible](ctx, c, r, err)
}

// ResetResponsible has the contract's own address notified again (rule A6).
func (c *Client) ResetResponsible(ctx context.Context, contract string) (*Answer[apiv1.Responsible], error) {
	path, err := contractPath(contract, "/responsible")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "DELETE", path, nil)
	return call[apiv1.Responsible](ctx, c, r, err)
}

// NumberPage says which of what is numbered to list.
type NumberPage struct {
	// After is the number after which the page begins; 0 means at the first.
	After uint64
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

func (p NumberPage) request(path string, options []ReadOption) *request {
	r := get(path, append([]ReadOption{limit(p.Limit)}, options...))
	if p.After != 0 {
		r.query.Set("after", strconv.FormatUint(p.After, 10))
	}
	return r
}

// Notices lists one page of notices, the oldest first (rule A6).
func (c *Client) Notices(ctx context.Context, page NumberPage, options ...ReadOption) (*Answer[apiv1.NoticeList], error) {
	return call[apiv1.NoticeList](ctx, c, page.request("/v1/notices", options), nil)
}

// OpenRequest opens a license request (rule A7).
func (c *Client) OpenRequest(ctx context.Context, opening apiv1.LicenseRequestOpening) (*Answer[apiv1.LicenseRequest], error) {
	r, err := write(ctx, "POST", "/v1/requests", opening)
	return call[apiv1.LicenseRequest](ctx, c, r, err)
}

// CloseRequest rejects or withdraws a license request (rule A7).
func (c *Client) CloseRequest(ctx context.Context, id uint64, closing apiv1.LicenseRequestClosing) (*Answer[apiv1.LicenseRequest], error) {
	path, err := requestPath(id, "/close")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, closing)
	return call[apiv1.LicenseRequest](ctx, c, r, err)
}

// LicenseRequest returns a license request.
func (c *Client) LicenseRequest(ctx context.Context, id uint64, options ...ReadOption) (*Answer[apiv1.LicenseRequest], error) {
	path, err := requestPath(id, "")
	return call[apiv1.LicenseRequest](ctx, c, get(path, options), err)
}

// LicenseRequests lists one page of the license requests of a contract, or of all if it is empty.
func (c *Client) LicenseRequests(ctx context.Context, contract string, page NumberPage, options ...ReadOption) (*Answer[apiv1.LicenseRequestList], error) {
	r := page.request("/v1/requests", options)
	if contract != "" {
		if err := signed.CheckName("contract", contract); err != nil {
			return nil, refused(err)
		}
		r.query.Set("contract", contract)
	}
	return call[apiv1.LicenseRequestList](ctx, c, r, nil)
}

func requestPath(id uint64, rest string) (string, error) {
	if id == 0 {
		return "", refused(errors.New("request: its number is missing"))
	}
	return "/v1/requests/" + strconv.FormatUint(id, 10) + rest, nil
}
