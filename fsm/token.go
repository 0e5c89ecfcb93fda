package fsm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of tokens.
const (
	// MaxTokens is how many tokens there are at most.
	MaxTokens = 10_000
	// MaxTokenPools is how many pools one token of a client names at most.
	MaxTokenPools = 64
	// tokenUsesAtOnce is how many uses one command notes at most.
	tokenUsesAtOnce = 1000
	// TokenUseStep is how far apart two uses are that are both noted, in milliseconds.
	TokenUseStep = 3600 * 1000
)

// Token is an API token without its secret, immutable.
type Token struct {
	// ID is never given twice.
	ID    uint64
	Name  string
	Role  Role
	Scope Scope
	// Hash is the secret's SHA-256. The secret is 256 random bits, so that nothing slower is needed.
	Hash [sha256.Size]byte
	// CreatedMs, ExpiryMs and UsedMs are wall clock milliseconds; ExpiryMs is 0 if it does not expire, UsedMs until a use was noted.
	CreatedMs, ExpiryMs, UsedMs int64
	// MaxLeases and MaxTickets are how many of them a client's token has at a time; 0 is no limit.
	MaxLeases, MaxTickets uint64
	hashed
}

func (x *Token) message(*encoder) (recordKind, message) { return 60, x.proto() }

func (x *Token) proto() *fsmpb.TokenRecord {
	return &fsmpb.TokenRecord{
		Id: x.ID, Name: x.Name, Role: string(x.Role), Scope: x.Scope.Proto(), Hash: x.Hash[:],
		CreatedMs: x.CreatedMs, ExpiryMs: x.ExpiryMs, UsedMs: x.UsedMs, MaxLeases: x.MaxLeases, MaxTickets: x.MaxTickets,
	}
}

// TokenFromProto is the reverse of what snapshots hold, and outcomes without the hash.
func TokenFromProto(p *fsmpb.TokenRecord) *Token {
	x := &Token{
		ID: p.GetId(), Name: p.GetName(), Role: Role(p.GetRole()), Scope: ScopeFromProto(p.GetScope()),
		CreatedMs: p.GetCreatedMs(), ExpiryMs: p.GetExpiryMs(), UsedMs: p.GetUsedMs(),
		MaxLeases: p.GetMaxLeases(), MaxTickets: p.GetMaxTickets(),
	}
	copy(x.Hash[:], p.GetHash())
	return x
}

// Expired reports whether the token has ended at a wall time.
func (x *Token) Expired(nowMs int64) bool { return x.ExpiryMs != 0 && nowMs >= x.ExpiryMs }

// Principal is whom the token stands for.
func (x *Token) Principal() Principal {
	return Principal{Kind: ByToken, ID: strconv.FormatUint(x.ID, 10), Role: x.Role, Scope: x.Scope}
}

// permanent tokens are those of operators that do not expire: one of them stays, always.
func (x *Token) permanent() bool { return x.Role == Operator && x.ExpiryMs == 0 }

func (s *State) createToken(o *fsmpb.Outcome, cmd *fsmpb.CreateToken) {
	scope := ScopeFromProto(cmd.Scope)
	role := Role(cmd.Role)
	err := errors.Join(signed.CheckName("name", cmd.Name), CheckRole(role, scope), checkTokenLimits(role, cmd.MaxLeases, cmd.MaxTickets))
	if len(cmd.Hash) != sha256.Size {
		err = errors.Join(err, fmt.Errorf("hash: it has %d bytes instead of %d", len(cmd.Hash), sha256.Size))
	}
	if cmd.ExpiryMs < 0 || cmd.ExpiryMs > maxDateMs {
		err = errors.Join(err, errors.New("expires: it is not in 1970 to 9900"))
	}
	if cmd.Bootstrap && (role != Operator || cmd.ExpiryMs != 0) {
		err = errors.Join(err, errors.New("bootstrap: it makes an operator's token without an expiry"))
	}
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	if o.Refusal = s.tokenRefusal(cmd); o.Refusal != nil {
		return
	}
	s.counters.lastToken++
	x := &Token{
		ID: s.counters.lastToken, Name: cmd.Name, Role: role, Scope: scope, Hash: [sha256.Size]byte(cmd.Hash),
		CreatedMs: s.clock.WallMs, ExpiryMs: cmd.ExpiryMs, MaxLeases: cmd.MaxLeases, MaxTickets: cmd.MaxTickets,
	}
	s.setToken(x)
	o.Result = tokenResult(x)
}

func (s *State) tokenRefusal(cmd *fsmpb.CreateToken) *fsmpb.Refusal {
	switch {
	case cmd.Bootstrap && s.permanents() > 0:
		return refuse(AlreadyBootstrapped, "operators", s.permanents())
	case s.tokens.len() >= MaxTokens:
		return refuse(TokenLimitReached, "max", uint64(MaxTokens))
	case cmd.ExpiryMs != 0 && cmd.ExpiryMs <= s.clock.WallMs:
		return refuse(TokenExpired, "expiry", time.UnixMilli(cmd.ExpiryMs).UTC().Format(time.RFC3339))
	}
	for _, name := range cmd.GetScope().GetPools() {
		if _, ok := s.pools.get(name); !ok {
			return refuse(PoolNotFound, "pool", name)
		}
	}
	if serial := cmd.GetScope().GetInstance(); serial != 0 {
		_, refusal := s.instance(serial)
		return refusal
	}
	return nil
}

// permanents counts the operators' tokens that do not expire.
func (t *tables) permanents() uint64 { return uint64(t.operators.Len()) } //nolint:gosec // G115: a count or a length is not negative

// tokenResult never has the hash: outcomes are in the audit trail.
func tokenResult(x *Token) *fsmpb.Outcome_Token {
	p := x.proto()
	p.Hash = nil
	return &fsmpb.Outcome_Token{Token: p}
}

func (s *State) setToken(x *Token) {
	s.tokens.set(&s.digest, x.ID, x)
	if x.permanent() {
		s.operators.Set(x.ID, struct{}{})
	}
}

// revokeToken removes a token. One operator's token without an expiry always stays, so that nobody locks all
// operators out, now or later.
func (s *State) revokeToken(o *fsmpb.Outcome, cmd *fsmpb.RevokeToken) {
	x, refusal := s.token(cmd.Token)
	if refusal == nil && x.permanent() && s.permanents() == 1 {
		refusal = refuse(LastOperator, "token", x.ID, "name", x.Name)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	s.tokens.delete(&s.digest, x.ID)
	s.operators.Delete(x.ID)
	o.Result = tokenResult(x)
}

// token finds a token; numbers are never used again.
func (t *tables) token(id uint64) (*Token, *fsmpb.Refusal) {
	if x, ok := t.tokens.get(id); ok {
		return x, nil
	}
	return nil, refuse(TokenNotFound, "token", id)
}

// noteTokenUses marks tokens as used now, those that were not within the last hour. What is gone is passed over.
func (s *State) noteTokenUses(o *fsmpb.Outcome, cmd *fsmpb.NoteTokenUses) {
	if n := len(cmd.Tokens); n == 0 || n > tokenUsesAtOnce {
		o.Refusal = invalid(fmt.Errorf("tokens: %d are not in 1 to %d", n, tokenUsesAtOnce))
		return
	}
	for _, id := range cmd.Tokens {
		if x, ok := s.tokens.get(id); ok && s.clock.WallMs-x.UsedMs >= TokenUseStep {
			next := edit(x)
			next.UsedMs = s.clock.WallMs
			s.setToken(next)
		}
	}
}

func (s *State) loadToken(r *fsmpb.TokenRecord) error {
	x := TokenFromProto(r)
	if _, twice := s.tokens.get(x.ID); twice || x.ID == 0 || x.ID > s.counters.lastToken || len(r.Hash) != sha256.Size {
		return damaged(fmt.Errorf("token %d stands there twice, was never given out, or has a hash of %d bytes", x.ID, len(r.Hash)))
	}
	if err := errors.Join(signed.CheckName("name", x.Name), CheckRole(x.Role, x.Scope), checkTokenLimits(x.Role, x.MaxLeases, x.MaxTickets)); err != nil {
		return damaged(fmt.Errorf("token %d: %w", x.ID, err))
	}
	s.setToken(x)
	return nil
}

// takeTokens goes on with the present tokens: who was shut out since the backup stays out. Only a cluster
// that has no operator's token yet takes the backup's, so that applications need no new ones; false then.
func (s *State) takeTokens(present *View) bool {
	if present.permanents() == 0 {
		return false
	}
	for _, x := range slices.Clone(s.tokens.rows.Values()) {
		s.tokens.delete(&s.digest, x.ID)
		s.operators.Delete(x.ID)
	}
	for _, x := range present.tokens.rows.Values() {
		s.setToken(edit(x))
	}
	return true
}

// Token finds a token by its number; nil if there is none, or none any more. It costs the same at any number of tokens.
func (v *View) Token(id uint64) *Token {
	x, _ := v.tokens.get(id)
	return x
}

// LastToken is the number that was given out last.
func (v *View) LastToken() uint64 { return v.counters.lastToken }

// Tokens returns up to limit tokens whose numbers come after the given one.
func (v *View) Tokens(after uint64, limit int) []*Token {
	var list []*Token
	if limit <= 0 {
		return nil
	}
	v.tokens.rows.Ascend(after+1, func(_ uint64, x *Token) bool {
		list = append(list, x)
		return len(list) < limit
	})
	return list
}

// FindToken is Token for who needs to know why there is none.
func (v *View) FindToken(id uint64) (*Token, *fsmpb.Refusal) { return v.token(id) }
