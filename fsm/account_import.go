package fsm

import "github.com/licet/licet/fsm/fsmpb"

// maxRejected is how many rows a refused import names.
const maxRejected = 1000

// importAccounts creates all accounts of a list, or none (rule A2).
func (s *State) importAccounts(o *fsmpb.Outcome, cmd *fsmpb.ImportAccounts) {
	i, refusal := s.openKeeper(cmd.Serial)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	list, refusal := s.listed(cmd.Serial, cmd.Accounts, cmd.Staged)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	done := &fsmpb.ImportDone{Serial: i.Serial}
	o.Result = &fsmpb.Outcome_Imported{Imported: done}
	if s.rejectRows(i, list, done); done.RejectedTotal > 0 {
		o.Refusal = refuse(ImportRefused, "serial", i.Serial, "rows", uint64(len(list)), "rejected", done.RejectedTotal)
		return
	}
	for _, a := range list {
		s.newAccount(i, a.Name, a.Area, blockedIf(a.Blocked))
		if a.Blocked {
			done.Blocked++
		} else {
			done.Active++
		}
	}
	s.commitStaging(i.Serial, cmd.Staged)
}

// rejectRows notes each row that can't be created, seats being taken in the order of the rows.
func (s *State) rejectRows(i *Instance, list []*fsmpb.ListedAccount, done *fsmpb.ImportDone) {
	// Looked up only, never walked: the order of maps differs (rule D1).
	names, taken := make(map[string]bool, len(list)), make(map[string]uint64)
	for n, a := range list {
		key := accountKey(i.Serial, a.Name)
		_, exists := s.accounts.get(key)
		var code Code
		switch {
		case !i.Allocation.has(a.Area):
			code = AreaNotFound
		case exists:
			code = AccountExists
		case names[key]:
			code = AccountTwice
		case !a.Blocked && taken[a.Area] >= s.room(i, a.Area):
			code = SeatLimitReached
			s.stopped(i, a.Area, code)
		case !a.Blocked:
			taken[a.Area]++
		}
		names[key] = true
		if code != "" {
			done.RejectedTotal++
			if len(done.Rejected) < maxRejected {
				done.Rejected = append(done.Rejected, &fsmpb.RejectedRow{Line: lineOf(n, a), Code: string(code)})
			}
		}
	}
}
