package fsm

import (
	"errors"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Responsible is who is notified of a contract in place of its own address, immutable (rule A6).
type Responsible struct {
	Contract, Address string
	SinceMs           int64
	hashed
}

func (r *Responsible) message(*encoder) (recordKind, message) {
	return 23, &fsmpb.ResponsibleRecord{Contract: r.Contract, Address: r.Address, SinceMs: r.SinceMs}
}

// setResponsible changes the address, at any time; an empty one gives it back to the contract (rule A6).
func (s *State) setResponsible(o *fsmpb.Outcome, cmd *fsmpb.SetResponsible) {
	err := signed.CheckName("contract", cmd.Contract)
	if cmd.Address != "" {
		err = errors.Join(err, signed.CheckEmail("address", cmd.Address))
	}
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	if _, ok := s.contracts.get(cmd.Contract); !ok {
		o.Refusal = refuse(ContractNotFound, "contract", cmd.Contract)
		return
	}
	if cmd.Address == "" {
		s.responsibles.delete(&s.digest, cmd.Contract)
	} else {
		s.responsibles.set(&s.digest, cmd.Contract, &Responsible{Contract: cmd.Contract, Address: cmd.Address, SinceMs: s.clock.WallMs})
	}
	address, overridden := s.responsibleOf(cmd.Contract)
	o.Result = &fsmpb.Outcome_Responsible{Responsible: &fsmpb.ResponsibleStatus{Contract: cmd.Contract, Address: address, Overridden: overridden}}
}

func (t *tables) responsible(contract string) string {
	address, _ := t.responsibleOf(contract)
	return address
}

// responsibleOf is the address in force, and whether it is not the contract's own.
func (t *tables) responsibleOf(contract string) (address string, overridden bool) {
	if r, ok := t.responsibles.get(contract); ok {
		return r.Address, true
	}
	if c, ok := t.contracts.get(contract); ok {
		return c.Doc.Email, false
	}
	return "", false
}

// Responsible returns who is notified of a contract, and whether that is not the contract's own address.
func (v *View) Responsible(contract string) (address string, overridden bool, refusal *fsmpb.Refusal) {
	if _, ok := v.contracts.get(contract); !ok {
		return "", false, refuse(ContractNotFound, "contract", contract)
	}
	address, overridden = v.responsibleOf(contract)
	return address, overridden, nil
}
