// Package fsm is licet's state machine: contracts, instances and the outcomes of
// requests, and the rules by which commands change them.
//
// It is a pure function. Apply takes a state and a log entry to the next state and
// the outcomes; the same log yields the same bytes on every node (rule D1). It reads no
// clock, no randomness and no environment, starts no goroutine and never
// depends on map order. Replicas, dry runs, property tests and recovery call the
// same code.
//
// A State belongs to one goroutine. The View that it hands out is immutable and
// safe for concurrent use.
package fsm

import (
	"crypto/ed25519"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// State is the state machine. Not safe for concurrent use; see View.
type State struct {
	tables
	// position is the place of the command being stepped within its entry.
	position uint32
	// actor is who has that command decided; empty if a node does on its own.
	actor string
	// spilled is the contract of a pool that has lost seats which were not its own alone, while one command is
	// decided: those who wait for them may be in any other pool, although nothing ties the pools together any more.
	spilled string
	// waits are how long tickets had waited that got an offer from the present entry, in milliseconds. They are no
	// part of the state.
	waits []int64
}

// New returns the empty state that every log starts from.
func New() *State {
	s := &State{tables: newTables()}
	s.digest.add(s.meta)
	return s
}

// Apply steps all commands of a log entry, which Raft placed at index in term, and
// returns an outcome for each.
//
// An error means that the entry can't be understood, wrapping ErrUnknown where
// a newer build wrote it; the state is unchanged and its owner must stop applying.
func (s *State) Apply(index, term uint64, data []byte) ([]*fsmpb.Outcome, error) {
	e, err := DecodeEntry(data)
	if err != nil {
		return nil, fmt.Errorf("index %d: %w", index, err)
	}
	bodies := make([]*fsmpb.Body, len(e.Commands))
	for i, c := range e.Commands {
		if bodies[i], err = DecodeBody(c.Body); err != nil {
			return nil, fmt.Errorf("index %d, command %d: %w", index, i, err)
		}
	}
	s.index, s.term = index, term
	s.waits = s.waits[:0]
	if e.Term != term {
		return superseded(e, index, term), nil
	}
	s.clock = s.clock.tick(e.WallMs, e.PauseMs)
	outcomes := make([]*fsmpb.Outcome, len(bodies))
	for i, body := range bodies {
		s.position = uint32(i)
		outcomes[i] = s.Step(e.Commands[i], body)
	}
	return outcomes, nil
}

// superseded answers an entry that an older leader stamped: its clock and its
// idea of the last outage are not this term's (rule D2).
func superseded(e *fsmpb.Entry, index, term uint64) []*fsmpb.Outcome {
	outcomes := make([]*fsmpb.Outcome, len(e.Commands))
	for i := range outcomes {
		outcomes[i] = &fsmpb.Outcome{Index: index, Term: term, Refusal: refuse(Superseded, "stamped", e.Term, "landed", term)}
	}
	return outcomes
}

// Step applies one command at the state's present index and clock. It is total:
// every decoded command has an outcome. Body is c.Body, decoded.
func (s *State) Step(c *fsmpb.Command, body *fsmpb.Body) *fsmpb.Outcome {
	s.actor = c.Actor
	if leaderOnly(body) {
		s.forgetWrites()
		outcome := s.step(body)
		s.record(requestKey("", ""), "", c.Body, outcome, false)
		return outcome
	}
	if err := checkCaller(c); err != nil {
		return s.refused(invalid(err))
	}
	if s.meta.ClusterID == "" {
		return s.refused(refuse(NotInitialised))
	}
	key := requestKey(c.Actor, c.RequestId)
	outcome, stray := s.answered(c, key)
	if outcome != nil && !stray {
		return outcome
	}
	s.forgetWrites()
	if outcome == nil {
		outcome = s.step(body)
	}
	s.record(key, c.Actor, c.Body, outcome, stray)
	return outcome
}

func (s *State) refused(r *fsmpb.Refusal) *fsmpb.Outcome {
	return &fsmpb.Outcome{Index: s.index, Term: s.term, Refusal: r}
}

// leaderOnly reports kinds that nodes propose on their own and that are harmless to repeat.
func leaderOnly(body *fsmpb.Body) bool {
	switch body.Kind.(type) {
	case *fsmpb.Body_Initialise, *fsmpb.Body_Expire, *fsmpb.Body_NoteTokenUses:
		return true
	}
	return false
}

func (s *State) step(body *fsmpb.Body) *fsmpb.Outcome {
	o := &fsmpb.Outcome{Index: s.index, Term: s.term}
	s.spilled = ""
	s.decide(o, body)
	return o
}

// decide applies one command and fills in its outcome.
func (s *State) decide(o *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_Initialise:
		o.Refusal = s.initialise(k.Initialise)
	case *fsmpb.Body_Expire:
		o.Result = &fsmpb.Outcome_Expired{Expired: s.expire()}
	case *fsmpb.Body_PutSettings:
		s.putSettings(o, k.PutSettings)
	case *fsmpb.Body_PutContract:
		s.putContract(o, k.PutContract)
	case *fsmpb.Body_CreateInstance:
		s.createInstance(o, k.CreateInstance)
	case *fsmpb.Body_ResizeInstance:
		s.resizeInstance(o, k.ResizeInstance)
	case *fsmpb.Body_RemoveInstance:
		s.removeInstance(o, k.RemoveInstance)
	case *fsmpb.Body_ActivateInstance:
		s.activateInstance(o, k.ActivateInstance)
	default:
		s.decideAccounts(o, body)
	}
}

// decideAccounts is decide for what has to do with accounts.
func (s *State) decideAccounts(o *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_CreateAccount:
		s.createAccount(o, k.CreateAccount)
	case *fsmpb.Body_BlockAccount:
		s.blockAccount(o, k.BlockAccount)
	case *fsmpb.Body_UnblockAccount:
		s.unblockAccount(o, k.UnblockAccount)
	case *fsmpb.Body_MoveAccount:
		s.moveAccount(o, k.MoveAccount)
	case *fsmpb.Body_DeleteAccount:
		s.deleteAccount(o, k.DeleteAccount)
	case *fsmpb.Body_ImportAccounts:
		s.importAccounts(o, k.ImportAccounts)
	case *fsmpb.Body_StageAccounts:
		s.stageAccounts(o, k.StageAccounts)
	case *fsmpb.Body_SyncAccounts:
		s.syncAccounts(o, k.SyncAccounts)
	case *fsmpb.Body_OpenLicenseRequest:
		s.openLicenseRequest(o, k.OpenLicenseRequest)
	case *fsmpb.Body_CloseLicenseRequest:
		s.closeLicenseRequest(o, k.CloseLicenseRequest)
	case *fsmpb.Body_SetResponsible:
		s.setResponsible(o, k.SetResponsible)
	default:
		s.decideSeats(o, body)
	}
}

// decideSeats is decide for what has to do with pools.
func (s *State) decideSeats(o *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_PutPool:
		s.putPool(o, k.PutPool)
	case *fsmpb.Body_ActivatePool:
		s.activatePool(o, k.ActivatePool)
	case *fsmpb.Body_DeletePool:
		s.deletePool(o, k.DeletePool)
	case *fsmpb.Body_Checkout:
		s.checkout(o, k.Checkout)
	case *fsmpb.Body_Renew:
		s.renew(o, k.Renew)
	case *fsmpb.Body_CheckIn:
		s.checkIn(o, k.CheckIn)
	case *fsmpb.Body_ReturnBorrow:
		s.returnBorrow(o, k.ReturnBorrow)
	case *fsmpb.Body_Revoke:
		s.revoke(o, k.Revoke)
	case *fsmpb.Body_ConvertProject:
		s.convertProject(o, k.ConvertProject)
	case *fsmpb.Body_KeepTicket:
		s.keepTicket(o, k.KeepTicket)
	case *fsmpb.Body_ClaimOffer:
		s.claimOffer(o, k.ClaimOffer)
	case *fsmpb.Body_LeaveQueue:
		s.leaveQueue(o, k.LeaveQueue)
	case *fsmpb.Body_Bulk:
		s.bulk(o, k.Bulk)
	default:
		s.decideTokens(o, body)
	}
}

// decideTokens is decide for what has to do with who may do what.
func (s *State) decideTokens(o *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_CreateToken:
		s.createToken(o, k.CreateToken)
	case *fsmpb.Body_RevokeToken:
		s.revokeToken(o, k.RevokeToken)
	case *fsmpb.Body_NoteTokenUses:
		s.noteTokenUses(o, k.NoteTokenUses)
	default:
		s.decideKeys(o, body)
	}
}

// decideKeys is decide for what has to do with keys.
func (s *State) decideKeys(o *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_ChangeVendorKeys:
		s.changeVendorKeys(o, k.ChangeVendorKeys)
	case *fsmpb.Body_AddSigningKey:
		s.addSigningKey(o, k.AddSigningKey)
	case *fsmpb.Body_RetireSigningKey:
		s.retireSigningKey(o, k.RetireSigningKey)
	case *fsmpb.Body_ExportSigningKey:
		// Its row in the audit trail is all.
	default:
		// DecodeBody let no other kind through.
		o.Refusal = invalid(fmt.Errorf("kind %T", k))
	}
}

// MaxBulk is how many commands one Bulk holds at most.
const MaxBulk = 1000

// bulk decides commands one after the other, each on its own.
func (s *State) bulk(o *fsmpb.Outcome, cmd *fsmpb.Bulk) {
	if n := len(cmd.Items); n == 0 || n > MaxBulk {
		o.Refusal = invalid(fmt.Errorf("items: %d are not in 1 to %d", n, MaxBulk))
		return
	}
	for i, item := range cmd.Items {
		switch item.GetKind().(type) {
		case *fsmpb.Body_Checkout, *fsmpb.Body_Renew, *fsmpb.Body_CheckIn:
		default:
			o.Refusal = invalid(fmt.Errorf("items: item %d is no checkout, renewal or check-in", i+1))
			return
		}
	}
	done := &fsmpb.BulkDone{Outcomes: make([]*fsmpb.Outcome, len(cmd.Items))}
	for i, item := range cmd.Items {
		done.Outcomes[i] = new(fsmpb.Outcome)
		s.decideSeats(done.Outcomes[i], item)
	}
	o.Result = &fsmpb.Outcome_Bulk{Bulk: done}
}

// View returns the present state, immutable. It costs the same at any size.
func (s *State) View() *View {
	return &View{tables: s.tables.copy()}
}

// meta is the one row of things that exist once.
type meta struct {
	ClusterID   string
	VendorKeys  vendorKeys
	SigningKeys []ed25519.PublicKey
	// RetiredKeys were signing keys.
	RetiredKeys []ed25519.PublicKey
	Settings    Settings
	hashed
}

func (m *meta) message(*encoder) (recordKind, message) {
	r := &fsmpb.MetaRecord{ClusterId: m.ClusterID, Settings: m.Settings.proto()}
	m.VendorKeys.describe(r)
	for _, key := range m.SigningKeys {
		r.SigningKeys = append(r.SigningKeys, key)
	}
	for _, key := range m.RetiredKeys {
		r.RetiredSigningKeys = append(r.RetiredSigningKeys, key)
	}
	return 1, r
}

func metaFromRecord(r *fsmpb.MetaRecord) (*meta, error) {
	m := &meta{ClusterID: r.ClusterId, Settings: SettingsFromProto(r.Settings)}
	var err error
	if m.VendorKeys, err = vendorKeysFromRecord(r); err != nil {
		return nil, fmt.Errorf("vendor keys: %w", err)
	}
	if m.SigningKeys, err = publicKeys(r.SigningKeys); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if m.RetiredKeys, err = publicKeys(r.RetiredSigningKeys); err != nil {
		return nil, fmt.Errorf("retired signing keys: %w", err)
	}
	return m, nil
}

func publicKeys(raw [][]byte) ([]ed25519.PublicKey, error) {
	keys := make([]ed25519.PublicKey, len(raw))
	for i, key := range raw {
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %d has %d bytes instead of %d", i+1, len(key), ed25519.PublicKeySize)
		}
		keys[i] = key
	}
	return keys, nil
}

// edit returns a copy of a row to change: rows in tables are shared with views.
func edit[T any](row *T) *T {
	next := *row
	return &next
}

func (s *State) setMeta(m *meta) {
	s.digest.remove(s.meta)
	s.digest.add(m)
	s.meta = m
}

// clone guards recorded messages against later changes.
func clone[M proto.Message](m M) M { return proto.Clone(m).(M) }
