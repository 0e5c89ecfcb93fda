package fsm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of license requests.
const (
	// MinRequestSeats is how many more seats can be asked for at least; a move can be of one (rule A7).
	MinRequestSeats = 5
	// MaxOpenRequests and MaxClosedRequests are kept of a contract; of closed ones the newest.
	MaxOpenRequests, MaxClosedRequests = 20, 100
	// MaxNote is the longest note, in bytes.
	MaxNote = 500
)

// The states of a license request.
const (
	RequestOpen      = fsmpb.RequestState_REQUEST_STATE_OPEN
	RequestAnswered  = fsmpb.RequestState_REQUEST_STATE_ANSWERED
	RequestRejected  = fsmpb.RequestState_REQUEST_STATE_REJECTED
	RequestWithdrawn = fsmpb.RequestState_REQUEST_STATE_WITHDRAWN
)

// LicenseRequest asks the vendor for seats, immutable (rule A7).
type LicenseRequest struct {
	ID       uint64
	Contract string
	// Area is where the seats are wanted; From, if it is not empty, where they are moved from.
	Area, From string
	Seats      uint64
	Note       string
	State      fsmpb.RequestState
	// OpenedMs and ClosedMs are wall clock milliseconds; ClosedMs is 0 while it is open.
	OpenedMs, ClosedMs int64
	// Revision is that of the contract that answered it, Answer what was said on closing it.
	Revision uint64
	Answer   string
	hashed
}

func (r *LicenseRequest) message(*encoder) (recordKind, message) { return 22, r.proto() }

func (r *LicenseRequest) proto() *fsmpb.LicenseRequestRecord {
	return &fsmpb.LicenseRequestRecord{
		Id: r.ID, Contract: r.Contract, Area: r.Area, From: r.From, Seats: r.Seats, Note: r.Note, State: r.State,
		OpenedMs: r.OpenedMs, ClosedMs: r.ClosedMs, Revision: r.Revision, Answer: r.Answer,
	}
}

// LicenseRequestFromProto reads the request that an outcome or a snapshot carries.
func LicenseRequestFromProto(p *fsmpb.LicenseRequestRecord) *LicenseRequest {
	return &LicenseRequest{
		ID: p.GetId(), Contract: p.GetContract(), Area: p.GetArea(), From: p.GetFrom(), Seats: p.GetSeats(), Note: p.GetNote(), State: p.GetState(),
		OpenedMs: p.GetOpenedMs(), ClosedMs: p.GetClosedMs(), Revision: p.GetRevision(), Answer: p.GetAnswer(),
	}
}

type contractRequest struct {
	contract string
	id       uint64
}

func (a contractRequest) less(b contractRequest) bool {
	if a.contract != b.contract {
		return a.contract < b.contract
	}
	return a.id < b.id
}

// CheckNote refuses what is no note: at most MaxNote bytes of one line of printable UTF-8, or nothing.
func CheckNote(field, note string) error {
	switch {
	case len(note) > MaxNote:
		return fmt.Errorf("%s: %d bytes are more than %d", field, len(note), MaxNote)
	case strings.ToValidUTF8(note, "") != note || strings.ContainsFunc(note, unprintable):
		return fmt.Errorf("%s: it has characters that are not printable", field)
	}
	return nil
}

// checkOpening refuses what is malformed.
func checkOpening(cmd *fsmpb.OpenLicenseRequest) error {
	errs := []error{signed.CheckName("contract", cmd.Contract), signed.CheckName("area", cmd.Area), CheckNote("note", cmd.Note)}
	if cmd.From != "" {
		errs = append(errs, signed.CheckName("from", cmd.From))
	}
	if cmd.From == cmd.Area {
		errs = append(errs, fmt.Errorf("from: it is the same area, %s", cmd.Area))
	}
	if cmd.Seats == 0 || cmd.Seats > signed.MaxQuantity {
		errs = append(errs, fmt.Errorf("seats: %d is not in 1 to %d", cmd.Seats, signed.MaxQuantity))
	}
	return errors.Join(errs...)
}

// openLicenseRequest asks for more seats, or to move some (rule A7).
func (s *State) openLicenseRequest(o *fsmpb.Outcome, cmd *fsmpb.OpenLicenseRequest) {
	if err := checkOpening(cmd); err != nil {
		o.Refusal = invalid(err)
		return
	}
	if o.Refusal = s.askable(cmd); o.Refusal != nil {
		return
	}
	s.counters.lastLicenseRequest++
	r := &LicenseRequest{
		ID: s.counters.lastLicenseRequest, Contract: cmd.Contract, Area: cmd.Area, From: cmd.From, Seats: cmd.Seats, Note: cmd.Note,
		State: RequestOpen, OpenedMs: s.clock.WallMs,
	}
	s.putRequest(r)
	o.Result = &fsmpb.Outcome_LicenseRequest{LicenseRequest: r.proto()}
}

// askable says whether a contract could grant what is asked for.
func (s *State) askable(cmd *fsmpb.OpenLicenseRequest) *fsmpb.Refusal {
	c, ok := s.contracts.get(cmd.Contract)
	if !ok {
		return refuse(ContractNotFound, "contract", cmd.Contract)
	}
	if cmd.From == "" && cmd.Seats < MinRequestSeats {
		return refuse(RequestTooSmall, "seats", cmd.Seats, "least", uint64(MinRequestSeats))
	}
	if most := c.Users.Get(cmd.From); cmd.From != "" && cmd.Seats > most {
		return refuse(RequestTooLarge, "contract", cmd.Contract, "area", cmd.From, "seats", cmd.Seats, "max", most)
	}
	if open, _ := s.requestsOf(cmd.Contract); len(open) >= MaxOpenRequests {
		return refuse(RequestLimitReached, "contract", cmd.Contract, "open", uint64(len(open)))
	}
	return nil
}

// requestsOf lists the requests of a contract, of which there is a bounded number, in order.
func (t *tables) requestsOf(contract string) (open, closed []*LicenseRequest) {
	t.byRequest.keys.Ascend(contractRequest{contract: contract}, func(k contractRequest) bool {
		if k.contract != contract {
			return false
		}
		r, _ := t.requests.get(k.id)
		if r.State == RequestOpen {
			open = append(open, r)
		} else {
			closed = append(closed, r)
		}
		return true
	})
	return open, closed
}

func (s *State) putRequest(r *LicenseRequest) {
	s.requests.set(&s.digest, r.ID, r)
	s.byRequest.keys.Set(contractRequest{r.Contract, r.ID})
}

// closeLicenseRequest rejects or withdraws an open request (rule A7).
func (s *State) closeLicenseRequest(o *fsmpb.Outcome, cmd *fsmpb.CloseLicenseRequest) {
	if err := CheckNote("note", cmd.Note); err != nil {
		o.Refusal = invalid(err)
		return
	}
	old, ok := s.requests.get(cmd.Id)
	switch {
	case !ok:
		o.Refusal = refuse(RequestNotFound, "request", cmd.Id)
	case old.State != RequestOpen:
		o.Refusal = refuse(RequestClosed, "request", cmd.Id, "state", requestStateName(old.State))
	default:
		r := edit(old)
		r.State, r.Answer = RequestRejected, cmd.Note
		if cmd.Withdrawn {
			r.State = RequestWithdrawn
		}
		s.closeRequest(r)
		o.Result = &fsmpb.Outcome_LicenseRequest{LicenseRequest: r.proto()}
	}
}

// closeRequest writes a request that was closed just now, and forgets the oldest beyond the bound.
func (s *State) closeRequest(r *LicenseRequest) {
	r.ClosedMs = s.clock.WallMs
	s.putRequest(r)
	_, closed := s.requestsOf(r.Contract)
	for len(closed) > MaxClosedRequests {
		s.requests.delete(&s.digest, closed[0].ID)
		s.byRequest.keys.Delete(contractRequest{r.Contract, closed[0].ID})
		closed = closed[1:]
	}
}

// answerRequests closes the open requests that a contract's revision names (rule A7). Other
// numbers in it are no fault: the revision is signed and in force.
func (s *State) answerRequests(c *Contract) {
	for _, id := range c.Doc.Answers {
		old, ok := s.requests.get(id)
		if !ok || old.Contract != c.Doc.ID || old.State != RequestOpen {
			continue
		}
		r := edit(old)
		r.State, r.Revision = RequestAnswered, c.Doc.Revision
		s.closeRequest(r)
	}
}

// requestStateName is how a state reads.
func requestStateName(state fsmpb.RequestState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "REQUEST_STATE_"))
}

// StateName is the state in a word: open, answered, rejected or withdrawn.
func (r *LicenseRequest) StateName() string { return requestStateName(r.State) }

// LicenseRequests returns up to limit requests of a contract, or of all if that is empty,
// whose ids come after the given one, in order.
func (v *View) LicenseRequests(contract string, after uint64, limit int) []*LicenseRequest {
	var list []*LicenseRequest
	if limit <= 0 || after >= v.counters.lastLicenseRequest {
		return nil
	}
	if contract == "" {
		v.requests.rows.Ascend(after+1, func(_ uint64, r *LicenseRequest) bool {
			list = append(list, r)
			return len(list) < limit
		})
		return list
	}
	v.byRequest.keys.Ascend(contractRequest{contract, after + 1}, func(k contractRequest) bool {
		if k.contract != contract {
			return false
		}
		r, _ := v.requests.get(k.id)
		list = append(list, r)
		return len(list) < limit
	})
	return list
}

// LicenseRequest returns a request by its id, or the refusal that says why there is none.
func (v *View) LicenseRequest(id uint64) (*LicenseRequest, *fsmpb.Refusal) {
	r, ok := v.requests.get(id)
	if !ok {
		return nil, refuse(RequestNotFound, "request", id)
	}
	return r, nil
}
