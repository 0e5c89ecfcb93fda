package fsm

import (
	"errors"
	"strings"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Contract is a contract in force, immutable.
type Contract struct {
	// Doc is what the vendor signed, Document the signed text itself.
	Doc      *signed.Contract
	Document string
	// Users are Doc.Users, sorted.
	Users Quantities
	// Terms counts the changes of expiry or grace; each makes new license keys (rule I4).
	Terms uint64
	// Signer is the id of the vendor key that signed Document.
	Signer string
	// Ended is set once the end has been applied (rules C5, D4).
	Ended bool
	hashed
}

func (c *Contract) message(*encoder) (recordKind, message) {
	return 2, &fsmpb.ContractRecord{Document: c.Document, Terms: c.Terms, Ended: c.Ended}
}

func (c *Contract) endsMs() int64 { return c.Doc.Ends().UnixMilli() }

// ended reports whether expiry and grace have passed, applied or not (rule C5).
func (c *Contract) ended(now Clock) bool { return c.Ended || now.WallMs >= c.endsMs() }

// newContract verifies a document (rule C2). A key that was revoked since may have signed it.
func (t *tables) newContract(document string) (*Contract, error) {
	doc, signer, err := signed.VerifyContract(document, t.meta.VendorKeys.public())
	if err != nil {
		return nil, err
	}
	return &Contract{Doc: doc, Document: strings.TrimSpace(document), Signer: signer, Users: QuantitiesOf(doc.Users)}, nil
}

// putContract imports a contract or its next revision (rules C2, C3, C4).
func (s *State) putContract(o *fsmpb.Outcome, cmd *fsmpb.PutContract) {
	next, err := s.newContract(cmd.Document)
	if err != nil {
		o.Refusal = refuseDocument(err)
		return
	}
	if s.meta.VendorKeys.revoked(next.Signer) {
		o.Refusal = refuse(VendorKeyRevoked, "key", next.Signer)
		return
	}
	id, revision := next.Doc.ID, next.Doc.Revision
	old, exists := s.contracts.get(id)
	if exists {
		switch current := old.Doc.Revision; {
		case revision < current:
			o.Refusal = refuse(RevisionStale, "contract", id, "revision", revision, "current", current)
			return
		case revision == current && signed.Payload(next.Document) != signed.Payload(old.Document):
			o.Refusal = refuse(RevisionConflict, "contract", id, "revision", revision, "next", revision+1)
			return
		case revision == current && !s.meta.VendorKeys.revoked(old.Signer):
			o.Result = s.contractResult(old)
			return
		}
	}
	s.replaceContract(old, next)
	o.Result = s.contractResult(next)
}

// replaceContract has a contract go on as another revision says, or one that says the same and is signed by another key; old is
// nil for one that is new.
func (s *State) replaceContract(old, next *Contract) {
	if old != nil {
		next.Terms = old.Terms
		if !next.Doc.Expiry.Equal(old.Doc.Expiry) || next.Doc.GraceDays != old.Doc.GraceDays {
			next.Terms++
		}
		s.due.keys.Delete(contractDeadline(old))
	}
	next.Ended = s.clock.WallMs >= next.endsMs()
	if old != nil && old.ended(s.clock) && !next.Ended {
		for _, p := range s.contractPools(next.Doc.ID) {
			s.endRemains(p, new(fsmpb.PoolChanged))
		}
	}
	s.indexContract(next)
	s.contracts.set(&s.digest, next.Doc.ID, next)
	s.revisePools(next)
	s.answerRequests(next)
}

// revisePools carries a new revision to the contract's pools: what it ends, what it makes
// impossible to wait for, and what it frees.
func (s *State) revisePools(c *Contract) {
	for _, p := range s.contractPools(c.Doc.ID) {
		s.markEnding(p)
		if s.hasTickets(p) {
			s.dropImpossible(p, new(fsmpb.PoolChanged))
		}
	}
	s.scheduleContract(c.Doc.ID)
}

// documentFault names what is wrong with a document in a word that no build changes.
func documentFault(err error) string {
	switch {
	case errors.Is(err, signed.ErrUnknownKey):
		return "unknown_key"
	case errors.Is(err, signed.ErrSignature):
		return "signature"
	default:
		return "malformed"
	}
}

func (t *tables) indexContract(c *Contract) {
	if !c.Ended {
		t.due.keys.Set(contractDeadline(c))
	}
}

func (s *State) contractResult(c *Contract) *fsmpb.Outcome_Contract {
	return &fsmpb.Outcome_Contract{Contract: s.contractStatus(c).Proto()}
}

// openContract finds a contract from which something can be granted now.
func (s *State) openContract(id string) (*Contract, *fsmpb.Refusal) {
	c, ok := s.contracts.get(id)
	switch {
	case !ok:
		return nil, refuse(ContractNotFound, "contract", id)
	case c.ended(s.clock):
		return nil, refuse(ContractEnded, "contract", id, "end", c.Doc.Ends().Format(time.RFC3339))
	}
	return c, nil
}

// startedContract is openContract for what only works within the contract's time.
func (s *State) startedContract(id string) (*Contract, *fsmpb.Refusal) {
	c, refusal := s.openContract(id)
	if refusal == nil && s.clock.Wall().Before(c.Doc.Start) {
		return nil, refuse(ContractPending, "contract", id, "start", c.Doc.Start.Format(time.RFC3339))
	}
	return c, refusal
}

// ContractStatus is a contract with what follows from the rest of the state.
type ContractStatus struct {
	*Contract
	// Allocated is the sum over its instances, per area.
	Allocated Quantities
	// Over is by how much Allocated passes what the contract grants (rule C4).
	Over Quantities
	// Ended reports that expiry and grace have passed (rule C5).
	Ended bool
	// KeyRevoked reports that the key that signed it was revoked since. It goes on.
	KeyRevoked bool
}

func (t *tables) contractStatus(c *Contract) ContractStatus {
	allocated, _ := t.allocated.Get(c.Doc.ID)
	return ContractStatus{Contract: c, Allocated: allocated, Over: allocated.above(c.Users), Ended: c.ended(t.clock), KeyRevoked: t.meta.VendorKeys.revoked(c.Signer)}
}

// Proto is the status as outcomes carry it.
func (x ContractStatus) Proto() *fsmpb.ContractStatus {
	return &fsmpb.ContractStatus{Id: x.Doc.ID, Revision: x.Doc.Revision, Allocated: x.Allocated.proto(), Ended: x.Ended}
}

// ContractOf is the contract of a signed document that the state has accepted.
func (v *View) ContractOf(document string) (*Contract, error) { return v.newContract(document) }

// Contract returns a contract by its id.
func (v *View) Contract(id string) (ContractStatus, bool) {
	c, ok := v.contracts.get(id)
	if !ok {
		return ContractStatus{}, false
	}
	return v.contractStatus(c), true
}

// Contracts returns up to limit contracts whose ids come after the given one, in order.
func (v *View) Contracts(after string, limit int) []ContractStatus {
	var list []ContractStatus
	if limit <= 0 {
		return nil
	}
	v.contracts.rows.Ascend(after, func(id string, c *Contract) bool {
		if id != after {
			list = append(list, v.contractStatus(c))
		}
		return len(list) < limit
	})
	return list
}
