package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of lists of accounts and of what is staged.
const (
	// MaxListed is how many accounts one import or sync holds.
	MaxListed = 50_000
	// MaxParts is how many parts one staged list has.
	MaxParts = 1000
	// MaxStagings and MaxStagedBytes bound what is staged at once, over all instances.
	MaxStagings, MaxStagedBytes = 16, 64 << 20
	// StagingTTL is for how many seconds a staged list is kept after its last part came.
	StagingTTL = 3600
)

// Stage is one part of a list of accounts that is too long for one command, immutable.
type Stage struct {
	Serial   uint64
	Staging  string
	Part     uint32
	StagedMs int64
	Accounts []*fsmpb.ListedAccount
	// size is the row's, in bytes.
	size int
	hashed
}

func (x *Stage) message(*encoder) (recordKind, message) { return 21, x.proto() }

func (x *Stage) proto() *fsmpb.StageRecord {
	return &fsmpb.StageRecord{Serial: x.Serial, Staging: x.Staging, Part: x.Part, StagedMs: x.StagedMs, Accounts: x.Accounts}
}

func stageFromProto(r *fsmpb.StageRecord) *Stage {
	return &Stage{Serial: r.Serial, Staging: r.Staging, Part: r.Part, StagedMs: r.StagedMs, Accounts: r.Accounts, size: r.SizeVT()}
}

// stagingKey is the prefix of a staged list's parts. Names hold no NUL.
func stagingKey(serial uint64, staging string) string {
	return string(binary.BigEndian.AppendUint64(nil, serial)) + staging + "\x00"
}

func (x *Stage) staging() string { return stagingKey(x.Serial, x.Staging) }

func (x *Stage) key() string { return partKey(x.staging(), x.Part) }

func partKey(staging string, part uint32) string {
	return string(binary.BigEndian.AppendUint32([]byte(staging), part))
}

// staging sums the parts of a staged list.
type staging struct {
	parts, accounts, bytes int
	lastMs                 int64
}

func checkPart(part uint32) error {
	if part == 0 || part > MaxParts {
		return fmt.Errorf("part: %d is not in 1 to %d", part, MaxParts)
	}
	return nil
}

// checkListed says what is malformed in a list of accounts. Errors name the line.
func checkListed(list []*fsmpb.ListedAccount) error {
	if len(list) == 0 || len(list) > MaxListed {
		return fmt.Errorf("accounts: %d are not in 1 to %d", len(list), MaxListed)
	}
	for n, a := range list {
		if err := errors.Join(CheckAccountName("name", a.Name), signed.CheckName("area", a.Area)); err != nil {
			return fmt.Errorf("line %d: %w", lineOf(n, a), err)
		}
	}
	return nil
}

// lineOf is how reports name an entry of a list.
func lineOf(n int, a *fsmpb.ListedAccount) uint32 {
	if a.Line != 0 {
		return a.Line
	}
	return uint32(n) + 1 //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
}

// stageAccounts keeps a part of a list until an import or a sync names it.
func (s *State) stageAccounts(o *fsmpb.Outcome, cmd *fsmpb.StageAccounts) {
	if err := errors.Join(signed.CheckName("staging", cmd.Staging), checkPart(cmd.Part), checkListed(cmd.Accounts)); err != nil {
		o.Refusal = invalid(err)
		return
	}
	if _, refusal := s.keeper(cmd.Serial); refusal != nil {
		o.Refusal = refusal
		return
	}
	s.dropOldStagings()
	x := &Stage{Serial: cmd.Serial, Staging: cmd.Staging, Part: cmd.Part, StagedMs: s.clock.WallMs, Accounts: cmd.Accounts}
	x.size = x.proto().SizeVT()
	if o.Refusal = s.stageable(x); o.Refusal != nil {
		return
	}
	s.putStage(x)
	sum, _ := s.stagings.Get(x.staging())
	o.Result = &fsmpb.Outcome_Staged{Staged: &fsmpb.StageDone{
		Serial: x.Serial, Staging: x.Staging, Parts: uint32(sum.parts), Accounts: uint32(sum.accounts), ExpiresMs: sum.lastMs + StagingTTL*1000, //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	}}
}

// stageable keeps what is staged within its bounds.
func (s *State) stageable(x *Stage) *fsmpb.Refusal {
	sum, known := s.stagings.Get(x.staging())
	accounts, bytes := sum.accounts+len(x.Accounts), x.size
	if old, ok := s.stages.get(x.key()); ok {
		accounts, bytes = accounts-len(old.Accounts), bytes-old.size
	}
	s.stagings.Scan(func(_ string, other staging) bool { bytes += other.bytes; return true })
	switch {
	case accounts > MaxListed:
		return refuse(StagingLimitReached, "what", "accounts", "asked", uint64(accounts), "max", uint64(MaxListed))
	case !known && s.stagings.Len() >= MaxStagings:
		return refuse(StagingLimitReached, "what", "lists", "asked", uint64(s.stagings.Len()+1), "max", uint64(MaxStagings)) //nolint:gosec // G115: a count or a length is not negative
	case bytes > MaxStagedBytes:
		return refuse(StagingLimitReached, "what", "bytes", "asked", uint64(bytes), "max", uint64(MaxStagedBytes))
	}
	return nil
}

func (s *State) putStage(x *Stage) {
	sum, _ := s.stagings.Get(x.staging())
	if old, ok := s.stages.get(x.key()); ok {
		sum.parts, sum.accounts, sum.bytes = sum.parts-1, sum.accounts-len(old.Accounts), sum.bytes-old.size
	}
	sum.parts, sum.accounts, sum.bytes = sum.parts+1, sum.accounts+len(x.Accounts), sum.bytes+x.size
	sum.lastMs = max(sum.lastMs, x.StagedMs)
	s.stages.set(&s.digest, x.key(), x)
	s.stagings.Set(x.staging(), sum)
}

// dropStaging forgets all parts of a staged list.
func (s *State) dropStaging(key string) {
	for _, part := range s.partsOf(key) {
		s.stages.delete(&s.digest, part.key())
	}
	s.stagings.Delete(key)
}

func (t *tables) partsOf(key string) (parts []*Stage) {
	t.stages.rows.Ascend(key, func(_ string, x *Stage) bool {
		if x.staging() != key {
			return false
		}
		parts = append(parts, x)
		return true
	})
	return parts
}

// dropOldStagings forgets the lists for which nothing came for StagingTTL.
func (s *State) dropOldStagings() {
	for _, key := range s.stagings.Keys() {
		if sum, _ := s.stagings.Get(key); sum.lastMs+StagingTTL*1000 <= s.clock.WallMs {
			s.dropStaging(key)
		}
	}
}

// stagingsDue is when the oldest staged list is dropped.
func (t *tables) stagingsDue() (ms int64, ok bool) {
	t.stagings.Scan(func(_ string, sum staging) bool {
		if due := sum.lastMs + StagingTTL*1000; !ok || due < ms {
			ms, ok = due, true
		}
		return true
	})
	return ms, ok
}

// listed returns the accounts that an import or a sync means: those that it holds, or staged ones.
func (s *State) listed(serial uint64, inline []*fsmpb.ListedAccount, staged *fsmpb.StagedList) ([]*fsmpb.ListedAccount, *fsmpb.Refusal) {
	if staged == nil {
		if err := checkListed(inline); err != nil {
			return nil, invalid(err)
		}
		return inline, nil
	}
	err := signed.CheckName("staging", staged.Staging)
	if len(inline) > 0 {
		err = errors.Join(err, errors.New("accounts: they are staged"))
	}
	if staged.Parts == 0 || staged.Parts > MaxParts {
		err = errors.Join(err, fmt.Errorf("parts: %d is not in 1 to %d", staged.Parts, MaxParts))
	}
	if len(staged.Sha256) != sha256.Size {
		err = errors.Join(err, fmt.Errorf("sha256: it has %d bytes instead of %d", len(staged.Sha256), sha256.Size))
	}
	if err != nil {
		return nil, invalid(err)
	}
	return s.stagedList(stagingKey(serial, staged.Staging), staged)
}

// stagedList puts a staged list together, if it is whole and what its sender meant.
func (s *State) stagedList(key string, staged *fsmpb.StagedList) ([]*fsmpb.ListedAccount, *fsmpb.Refusal) {
	parts := s.partsOf(key)
	if len(parts) == 0 {
		return nil, refuse(StagingNotFound, "staging", staged.Staging)
	}
	var list []*fsmpb.ListedAccount
	for n := range staged.Parts {
		if int(n) >= len(parts) || parts[n].Part != n+1 {
			return nil, refuse(StagingIncomplete, "staging", staged.Staging, "part", uint64(n+1), "parts", uint64(staged.Parts))
		}
		list = append(list, parts[n].Accounts...)
	}
	if len(parts) > int(staged.Parts) || ListedSum(list) != [sha256.Size]byte(staged.Sha256) {
		return nil, refuse(StagingMismatch, "staging", staged.Staging, "accounts", uint64(len(list)), "parts", uint64(len(parts)))
	}
	return list, nil
}

// ListedSum is the SHA-256 by which a staged list is named; see StagedList.
func ListedSum(list []*fsmpb.ListedAccount) [sha256.Size]byte {
	hash := sha256.New()
	for _, a := range list {
		state := "Yes"
		if a.Blocked {
			state = "No"
		}
		// A hash never fails to take what is written.
		_, _ = io.WriteString(hash, a.Name+"\t"+a.Area+"\t"+state+"\n")
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// commitStaging forgets what was staged once it is applied.
func (s *State) commitStaging(serial uint64, staged *fsmpb.StagedList) {
	if staged != nil {
		s.dropStaging(stagingKey(serial, staged.Staging))
	}
}
