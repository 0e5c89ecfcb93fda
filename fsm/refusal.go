package fsm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
)

// Code says which rule refused a command. Codes are stable: scripts rely on them.
type Code string

// The codes of refusals.
const (
	NotInitialised      Code = "not_initialised"
	AlreadyInitialised  Code = "already_initialised"
	Invalid             Code = "invalid"
	IdempotencyMismatch Code = "idempotency_mismatch"
	// Superseded: the leader that stamped the entry had lost its term; nothing
	// was applied and the same request can be sent again.
	Superseded Code = "superseded"

	DocumentInvalid   Code = "document_invalid"
	RevisionStale     Code = "revision_stale"
	RevisionConflict  Code = "revision_conflict"
	ContractNotFound  Code = "contract_not_found"
	ContractExhausted Code = "contract_exhausted"
	ContractPending   Code = "contract_not_started"
	ContractEnded     Code = "contract_ended"

	// VendorKeyRevoked: who signed the document must not any more, or the key that it adds is one that was revoked.
	VendorKeyRevoked      Code = "vendor_key_revoked"
	VendorKeyNotFound     Code = "vendor_key_not_found"
	VendorKeyOutranked    Code = "vendor_key_outranked"
	LastVendorKey         Code = "last_vendor_key"
	VendorKeyLimitReached Code = "vendor_key_limit_reached"

	SigningKeyNotFound     Code = "signing_key_not_found"
	SigningKeyInUse        Code = "signing_key_in_use"
	SigningKeyLimitReached Code = "signing_key_limit_reached"

	InstanceNotFound Code = "instance_not_found"
	InstanceRemoved  Code = "instance_removed"
	InstanceExists   Code = "instance_exists"
	KeyInvalid       Code = "key_invalid"
	KeyStale         Code = "key_stale"
	AreaFull         Code = "area_over_allocation"

	PoolNotFound      Code = "pool_not_found"
	PoolExists        Code = "pool_exists"
	PoolChanged       Code = "pool_changed"
	PoolInUse         Code = "pool_in_use"
	PoolInactive      Code = "pool_inactive"
	PoolEnded         Code = "pool_ended"
	ProductNotInPool  Code = "product_not_in_pool"
	ProductNotGranted Code = "product_not_granted"
	UserBarred        Code = "user_barred"
	ProjectRequired   Code = "project_required"
	ProjectNotAllowed Code = "project_not_allowed"
	TokenIsOne        Code = "token_is_one"
	TTLOutOfBounds    Code = "ttl_out_of_bounds"
	CountAboveLimit   Code = "count_above_limit"

	PoolFull        Code = "pool_full"
	CapReached      Code = "cap_reached"
	SeatsReserved   Code = "seats_reserved"
	QuantityReached Code = "quantity_reached"
	QueueAhead      Code = "queue_ahead"
	QueueFull       Code = "queue_full"
	// ClientLimitReached: an API token has as many leases or tickets as it may.
	ClientLimitReached Code = "client_limit_reached"

	BorrowNotAllowed   Code = "borrow_not_allowed"
	BorrowTooLong      Code = "borrow_too_long"
	BorrowLowWater     Code = "borrow_low_water"
	BorrowNotRenewable Code = "borrow_not_renewable"
	BorrowTokenNeeded  Code = "borrow_token_needed"
	TokenInvalid       Code = "borrow_token_invalid"

	ProjectBusy       Code = "project_busy"
	ProjectOpenAsTeam Code = "project_open_as_team"
	ProjectOpenAsMono Code = "project_open_as_mono"
	ProjectShared     Code = "project_shared"

	LeaseNotFound   Code = "lease_not_found"
	LeaseEnded      Code = "lease_ended"
	NotHolder       Code = "not_holder"
	TicketNotFound  Code = "ticket_not_found"
	TicketGone      Code = "ticket_gone"
	NotTicketHolder Code = "not_ticket_holder"
	NotOffered      Code = "not_offered"

	// InstanceReports and InstanceKeepsAccounts: an instance either reports counts or has its accounts here.
	InstanceReports       Code = "instance_reports"
	InstanceKeepsAccounts Code = "instance_keeps_accounts"
	AreaNotFound          Code = "area_not_found"
	SeatLimitReached      Code = "seat_limit_reached"
	AccountNotFound       Code = "account_not_found"
	AccountExists         Code = "account_exists"
	AccountTwice          Code = "account_twice"
	ImportRefused         Code = "import_refused"
	StagingNotFound       Code = "staging_not_found"
	StagingIncomplete     Code = "staging_incomplete"
	StagingMismatch       Code = "staging_mismatch"
	StagingLimitReached   Code = "staging_limit_reached"

	RequestNotFound     Code = "request_not_found"
	RequestClosed       Code = "request_closed"
	RequestTooSmall     Code = "request_too_small"
	RequestTooLarge     Code = "request_too_large"
	RequestLimitReached Code = "request_limit_reached"

	// Forbidden is what whoever asks may not do.
	Forbidden           Code = "forbidden"
	AlreadyBootstrapped Code = "already_bootstrapped"
	TokenNotFound       Code = "token_not_found"
	TokenExpired        Code = "token_expired"
	TokenLimitReached   Code = "token_limit_reached" //nolint:gosec // G101: it is no credential.
	LastOperator        Code = "last_operator_token"
)

// sentence is how a refusal reads: {name} stands for the fact of that name.
type sentence struct{ detail, next string }

var sentences = map[Code]sentence{
	NotInitialised:      {"The cluster has no identity yet.", "Wait until its nodes have found each other; `licet status` shows who is missing."},
	AlreadyInitialised:  {"The cluster already is {cluster}.", "Nothing is to be done."},
	Invalid:             {"The request is malformed", "Correct the request and send it again."},
	IdempotencyMismatch: {"Request id {request_id} was used before for another request.", "Send this request with a new Idempotency-Key."},
	Superseded:          {"The leader of term {stamped} lost its office before the request was written in term {landed}; nothing was done.", "Send the request again."},

	DocumentInvalid:   {"The document is refused ({reason})", "Check it with `licet vendor verify`, and ask the vendor for a document signed with a key that this cluster knows."},
	RevisionStale:     {"Contract {contract} is at revision {current}; revision {revision} is older.", "Ask the vendor for a revision above {current}."},
	RevisionConflict:  {"Contract {contract} already has a revision {revision} with other content.", "Ask the vendor to sign the change as revision {next}."},
	ContractNotFound:  {"There is no contract {contract}.", "`licet contract list` shows the contracts."},
	ContractExhausted: {"Contract {contract}, {of} {line}: {asked} asked, {free} free ({allocated} of {max} allocated).", "Ask for no more than is free, reduce what has been given out, or ask the vendor for more."},
	ContractPending:   {"Contract {contract} starts on {start}.", "Try again then."},
	ContractEnded:     {"Contract {contract} ended on {end} (expiry and grace).", "Ask the vendor for a revision with a later expiry."},

	VendorKeyRevoked:      {"The vendor key {key} was revoked.", "Ask the vendor for a document signed with a key that is in force: `licet vendor-key list` shows them. A revoked key never comes back."},
	VendorKeyNotFound:     {"There is no vendor key {key}.", "`licet vendor-key list` shows the keys."},
	VendorKeyOutranked:    {"The vendor key {signer} can't revoke {key}, which comes before it.", "Ask the vendor for a statement signed with {key}, or with a key before it: `licet vendor-key list` shows their order."},
	LastVendorKey:         {"The vendor key {key} is the last one in force.", "Ask the vendor for a statement that puts another key in its place: `licet vendor endorse` with --adds and --revokes."},
	VendorKeyLimitReached: {"There are {max} vendor keys, as many as may.", "Go on with the keys that are in force; `licet vendor-key list` shows them."},

	SigningKeyNotFound:     {"The cluster has no signing key {key}.", "`licet cluster signing-key show` shows the keys."},
	SigningKeyInUse:        {"The cluster signs with key {key}.", "Have it use another one first: `licet cluster signing-key rotate`."},
	SigningKeyLimitReached: {"The cluster has {max} signing keys, as many as may.", "Retire the oldest with `licet cluster signing-key retire`: what it signed ends."},

	InstanceNotFound: {"There is no instance {serial}.", "`licet instance list` shows the instances."},
	InstanceRemoved:  {"Instance {serial} was removed; its serial number is never used again.", "Create a new instance."},
	InstanceExists:   {"Contract {contract} already has an instance {name}: {serial}.", "Choose another name, or resize that instance."},
	KeyInvalid:       {"The license key is refused ({reason})", "Fetch the instance's key with `licet instance key`."},
	KeyStale:         {"The license key of instance {serial} has revision {revision}; {current} is in force.", "Fetch the instance's current key with `licet instance key {serial}`."},
	AreaFull:         {"Instance {serial}, area {area}: {active} active, {before} before, {allocation} allocated.", "Block or delete {excess} accounts; nothing becomes active while the area is over its allocation."},

	PoolNotFound:      {"There is no pool {pool}.", "`licet pool list` shows the pools."},
	PoolExists:        {"There is a pool {pool} already; it belongs to contract {contract}.", "Choose another name, or change that pool."},
	PoolChanged:       {"Pool {pool} is at revision {revision}, not at {expected}: it was changed meanwhile.", "Look at it again with `licet pool show {pool}` and repeat the change; `licet audit show {revision}` says who made the last one."},
	PoolInUse:         {"Pool {pool} has {used} seats in use, {offered} of them offered, and {waiting} tickets waiting.", "Deactivate it and wait until they are back, or delete it with force, which ends them."},
	PoolInactive:      {"Pool {pool} is not active.", "An operator activates it with `licet pool activate {pool}`."},
	PoolEnded:         {"Pool {pool} was valid until {end}.", "Ask the operator for a later date."},
	ProductNotInPool:  {"Pool {pool} has no product {product}.", "`licet pool show {pool}` shows its products."},
	ProductNotGranted: {"Contract {contract} grants no product {product}.", "Ask the vendor for a revision that does."},
	UserBarred:        {"User {user} is kept out of {of} {name} ({rule}).", "Ask the operator to change its restriction."},
	ProjectRequired:   {"Product {product} has {model} tokens, which projects take: no project is named.", "Name the project."},
	ProjectNotAllowed: {"Product {product} is {model}: its seats are no project's.", "Leave the project out."},
	TokenIsOne:        {"Product {product} has {model} tokens: a project takes one, and it can't be borrowed.", "Ask for a count of 1, without borrowing."},
	TTLOutOfBounds:    {"Pool {pool}: a TTL of {ttl} s is not in {min} to {max} s.", "Ask for one that is, or for none to have the default."},
	CountAboveLimit:   {"Pool {pool}, product {product}: {asked} seats asked, {max} are the most that can ever be had.", "Ask for at most {max}."},

	PoolFull:           {"Pool {pool}: {used} of {limit} in use, {offered} offered, {ahead} ahead of you; {asked} asked.", "Wait in the queue (`licet checkout` with --queue), or try again later."},
	CapReached:         {"Pool {pool}, product {product}: {used} of {limit} in use, {offered} offered in the pool, {ahead} ahead of you; {asked} asked.", "Wait in the queue (`licet checkout` with --queue), or try again later."},
	SeatsReserved:      {"Pool {pool}, product {product}: {used} of {limit} in use or reserved for others, {offered} offered in the pool, {ahead} ahead of you; {asked} asked.", "Wait in the queue (`licet checkout` with --queue), or try again later."},
	QuantityReached:    {"Pool {pool}, product {product}: {used} of the contract's {limit} in use, {offered} offered in the pool, {ahead} ahead of you; {asked} asked.", "Wait in the queue (`licet checkout` with --queue), or try again later."},
	QueueAhead:         {"Pool {pool}, product {product}: {used} of {limit} in use, {offered} offered, {ahead} ahead of you; {asked} asked.", "Wait in the queue (`licet checkout` with --queue): seats go to those who came first."},
	QueueFull:          {"Pool {pool}: {ahead} tickets wait, as many as may ({limit}).", "Try again later."},
	ClientLimitReached: {"API token {token} ({name}) has {held} {what}, {max} are the most.", "Return some, or ask an operator for a token with a higher limit: `licet token create` with --max-leases and --max-tickets."},

	BorrowNotAllowed:   {"Pool {pool}: product {product} can't be borrowed.", "Check it out without borrowing, or ask the operator to allow borrowing."},
	BorrowTooLong:      {"Pool {pool}, product {product}: {days} days asked, {max} are the most.", "Ask for at most {max} days."},
	BorrowLowWater:     {"Pool {pool}, product {product}: {borrowed} of {limit} seats that may be borrowed are; {asked} asked, {low_water} are kept back.", "Check it out without borrowing, or wait until a borrow is returned."},
	BorrowNotRenewable: {"Lease {lease} is a borrow: it lasts until its day.", "Return it early with its token, and borrow again."},
	BorrowTokenNeeded:  {"Lease {lease} is a borrow.", "Return it early with its token."},
	TokenInvalid:       {"The borrow token is refused ({reason})", "Send the token as it was given out with the borrow."},

	ProjectBusy:       {"Project {project} holds a mono token of {product} in pool {pool}, and somebody is connected.", "Try again when nobody is."},
	ProjectOpenAsTeam: {"Project {project} is open with a team token of {product} in pool {pool} ({connections} connected).", "Connect with {product}, or convert the project."},
	ProjectOpenAsMono: {"Project {project} is open with a mono token of {product} in pool {pool}.", "Connect when it is closed, or convert the project."},
	ProjectShared:     {"Project {project} has {connections} connections; a mono token has one.", "Have the others disconnect first."},

	LeaseNotFound:   {"There never was a lease {lease}.", "`licet lease list` shows the leases."},
	LeaseEnded:      {"Lease {lease} has ended.", "Check out again."},
	NotHolder:       {"Lease {lease} is somebody else's: the handle does not fit.", "Show the handle that came with the lease; an operator can revoke it."},
	TicketNotFound:  {"There never was a ticket {ticket}.", "`licet queue list` shows the tickets of a pool."},
	TicketGone:      {"Ticket {ticket} is gone: it was claimed, left, or not asked for in time.", "Ask for seats again."},
	NotTicketHolder: {"Ticket {ticket} is somebody else's, or has a newer handle: this one does not fit.", "Show the handle that came last with the ticket: to ask again from the same client replaces it."},
	NotOffered:      {"Ticket {ticket} still waits, {ahead} ahead of it.", "Wait until seats are offered."},

	InstanceReports:       {"Instance {serial} keeps its own accounts and reports them.", "Change its accounts where they are, or use an instance that has never reported."},
	InstanceKeepsAccounts: {"Instance {serial} has {accounts} accounts here, so it can't report its own.", "Activate it without a report, or delete its accounts first."},
	AreaNotFound:          {"Instance {serial} has no allocation for area {area}.", "Use one of its areas, or allocate the area with `licet instance resize {serial}`."},
	SeatLimitReached:      {"Instance {serial}, area {area}: no seat is free ({active} active of {allocation} allocated, {blocked} blocked).", "Block or delete accounts, enlarge the instance, or ask for more with `licet request open`."},
	AccountNotFound:       {"Instance {serial} has no account {account}.", "`licet account list {serial}` shows its accounts."},
	AccountExists:         {"Instance {serial} already has an account {account}.", "Choose another name; A to Z count as a to z."},
	AccountTwice:          {"Line {line} names an account that stands before it in the list.", "List each account once; A to Z count as a to z."},
	ImportRefused:         {"{rejected} of {rows} rows can't be imported into instance {serial}; nothing was changed.", "Correct or leave out the rows that are named, and send all of them again."},
	StagingNotFound:       {"Nothing is staged as {staging} for this instance.", "Stage the parts again: they are kept for an hour, and until they are used."},
	StagingIncomplete:     {"Part {part} of {parts} of staging {staging} is missing.", "Send that part, then try again."},
	StagingMismatch:       {"What is staged as {staging}, {accounts} accounts in {parts} parts, is not what is meant.", "Stage the list again under another name."},
	StagingLimitReached:   {"{asked} staged {what} would be more than {max}.", "Use what is staged, or wait until it is dropped after an hour."},

	RequestNotFound:     {"There is no license request {request}.", "`licet request list` shows the requests."},
	RequestClosed:       {"License request {request} is closed: {state}.", "Open another one with `licet request open`."},
	RequestTooSmall:     {"{seats} seats are fewer than {least}.", "Ask for at least {least} more seats at a time."},
	RequestTooLarge:     {"Contract {contract} has {max} seats in area {area}; {seats} can't be moved from there.", "Ask to move at most {max}."},
	RequestLimitReached: {"Contract {contract} has {open} open license requests.", "Withdraw one with `licet request withdraw`, or wait for the vendor."},

	Forbidden:           {"The role {role} may not do this ({reason}).", "Ask an operator for a token that may: `licet token create`. `licet token self` says what this one may do."},
	AlreadyBootstrapped: {"The first operator's token was made before: there are {operators} without an expiry.", "Make further ones with `licet token create`. If all are lost, do it with the token of a node's auth.operator_token_file."},
	TokenNotFound:       {"There is no token {token}; it may have been revoked.", "`licet token list` shows the tokens."},
	TokenExpired:        {"A token that ends at {expiry} would have ended already.", "Give it a later expiry."},
	TokenLimitReached:   {"There are {max} tokens, as many as may.", "Revoke those that nobody uses any more: `licet token list` shows the last uses."},
	LastOperator:        {"Token {token} ({name}) is the last one of an operator that does not expire.", "Make another one first: `licet token create --role operator`."},
}

// Codes reports every refusal code with what it says, {name} standing for facts.
func Codes() map[Code]string {
	all := make(map[Code]string, len(sentences))
	for _, code := range slices.Sorted(maps.Keys(sentences)) {
		all[code] = sentences[code].detail
	}
	return all
}

// Detail is the refusal as a sentence with its numbers.
func Detail(r *fsmpb.Refusal) string {
	detail := fill(sentences[Code(r.Code)].detail, r)
	if r.Hint != "" {
		detail += ": " + r.Hint
	}
	return strings.TrimSuffix(detail, ".") + "."
}

// Next says what to do about the refusal.
func Next(r *fsmpb.Refusal) string { return fill(sentences[Code(r.Code)].next, r) }

func fill(template string, r *fsmpb.Refusal) string {
	if template == "" {
		// A newer node's code: its facts still help.
		template = r.Code
	}
	for _, f := range r.Facts {
		template = strings.ReplaceAll(template, "{"+f.Name+"}", factText(f))
	}
	return template
}

func factText(f *fsmpb.Fact) string {
	if n, ok := f.Value.(*fsmpb.Fact_Number); ok {
		return strconv.FormatInt(n.Number, 10)
	}
	return f.GetText()
}

// refuse builds a refusal. Pairs are fact names and their values, a string or an integer.
func refuse(code Code, pairs ...any) *fsmpb.Refusal {
	r := &fsmpb.Refusal{Code: string(code)}
	for i := 0; i+1 < len(pairs); i += 2 {
		f := &fsmpb.Fact{Name: pairs[i].(string)}
		switch v := pairs[i+1].(type) {
		case string:
			f.Value = &fsmpb.Fact_Text{Text: v}
		case uint64:
			f.Value = &fsmpb.Fact_Number{Number: int64(v)} //nolint:gosec // G115: only shown
		case int64:
			f.Value = &fsmpb.Fact_Number{Number: v}
		default:
			f.Value = &fsmpb.Fact_Text{Text: fmt.Sprint(v)}
		}
		r.Facts = append(r.Facts, f)
	}
	return r
}

func invalid(err error) *fsmpb.Refusal {
	return &fsmpb.Refusal{Code: string(Invalid), Hint: strings.ReplaceAll(err.Error(), "\n", "; ")}
}
