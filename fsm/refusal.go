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

	InstanceNotFound Code = "instance_not_found"
	InstanceRemoved  Code = "instance_removed"
	InstanceExists   Code = "instance_exists"
	KeyInvalid       Code = "key_invalid"
	KeyStale         Code = "key_stale"
	AreaFull         Code = "area_over_allocation"
)

// sentence is how a refusal reads: {name} stands for the fact of that name.
type sentence struct{ detail, next string }

var sentences = map[Code]sentence{
	NotInitialised:      {"The cluster has no identity yet.", "Wait until its nodes have found each other; `licet status` shows who is missing."},
	AlreadyInitialised:  {"The cluster already is {cluster}.", "Nothing is to be done."},
	Invalid:             {"The request is malformed", "Correct the request and send it again."},
	IdempotencyMismatch: {"Request id {request_id} was used before for another request.", "Send this request with a new Idempotency-Key."},
	Superseded:          {"The leader of term {stamped} lost its office before the request was written in term {landed}; nothing was done.", "Send the request again."},

	DocumentInvalid:   {"The contract document is refused ({reason})", "Check it with `licet vendor verify`, and ask the vendor for a document signed with a key that this cluster knows."},
	RevisionStale:     {"Contract {contract} is at revision {current}; revision {revision} is older.", "Ask the vendor for a revision above {current}."},
	RevisionConflict:  {"Contract {contract} already has a revision {revision} with other content.", "Ask the vendor to sign the change as revision {next}."},
	ContractNotFound:  {"There is no contract {contract}.", "`licet contract list` shows the contracts."},
	ContractExhausted: {"Contract {contract}, area {area}: {asked} asked, {free} free ({allocated} of {max} allocated).", "Ask for at most {free}, reduce or remove another instance, or ask the vendor for more."},
	ContractPending:   {"Contract {contract} starts on {start}.", "Try again then."},
	ContractEnded:     {"Contract {contract} ended on {end} (expiry and grace).", "Ask the vendor for a revision with a later expiry."},

	InstanceNotFound: {"There is no instance {serial}.", "`licet instance list` shows the instances."},
	InstanceRemoved:  {"Instance {serial} was removed; its serial number is never used again.", "Create a new instance."},
	InstanceExists:   {"Contract {contract} already has an instance {name}: {serial}.", "Choose another name, or resize that instance."},
	KeyInvalid:       {"The license key is refused ({reason})", "Fetch the instance's key with `licet instance key`."},
	KeyStale:         {"The license key of instance {serial} has revision {revision}; {current} is in force.", "Fetch the instance's current key with `licet instance key {serial}`."},
	AreaFull:         {"Instance {serial}, area {area}: {active} active, {before} before, {allocation} allocated.", "Block or delete {excess} accounts; nothing becomes active while the area is over its allocation."},
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
			f.Value = &fsmpb.Fact_Number{Number: int64(v)}
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
