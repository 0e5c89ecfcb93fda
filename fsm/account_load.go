package fsm

import (
	"errors"
	"fmt"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Rows of accounts and what belongs to them, out of a snapshot. Contracts and instances come before them.

// loadAccountRow is load for what has to do with accounts.
func (s *State) loadAccountRow(r *fsmpb.Record) error {
	switch k := r.Kind.(type) {
	case *fsmpb.Record_Account:
		return s.loadAccount(k.Account)
	case *fsmpb.Record_Stage:
		return s.loadStage(k.Stage)
	case *fsmpb.Record_LicenseRequest:
		return s.loadRequest(k.LicenseRequest)
	case *fsmpb.Record_Responsible:
		return s.loadResponsible(k.Responsible)
	case *fsmpb.Record_Episode:
		return s.loadEpisode(k.Episode)
	case *fsmpb.Record_Notice:
		return s.loadNotice(k.Notice)
	case *fsmpb.Record_Token:
		return s.loadToken(k.Token)
	default:
		return fmt.Errorf("a record without a kind: %w", ErrSnapshotVersion)
	}
}

func (s *State) loadAccount(r *fsmpb.AccountRecord) error {
	a := accountFromProto(r)
	if err := CheckAccountName("name", a.Name); err != nil {
		return damaged(fmt.Errorf("account of instance %d: %w", a.Serial, err))
	}
	if _, twice := s.accounts.get(a.key()); twice {
		return damaged(fmt.Errorf("account %s of instance %d stands there twice", a.Name, a.Serial))
	}
	if a.Blocked < notBlocked || a.Blocked > blockedByLimit || a.Active() != (a.BlockedSeq == 0) {
		return damaged(fmt.Errorf("account %s of instance %d: blocked %d, %d", a.Name, a.Serial, a.Blocked, a.BlockedSeq))
	}
	switch i, refusal := s.instance(a.Serial); {
	case refusal != nil && Code(refusal.Code) == InstanceRemoved:
		s.orphans.Set(a.Serial, true)
	case refusal != nil || i.Reports || !i.Allocation.has(a.Area):
		return damaged(fmt.Errorf("account %s of instance %d, which can't have it", a.Name, a.Serial))
	default:
		s.addCounts(i, countsOf(a))
	}
	s.accounts.set(&s.digest, a.key(), a)
	return nil
}

func (s *State) loadStage(r *fsmpb.StageRecord) error {
	x := stageFromProto(r)
	if err := errors.Join(signed.CheckName("staging", x.Staging), checkPart(x.Part), checkListed(x.Accounts)); err != nil {
		return damaged(fmt.Errorf("staging of instance %d: %w", x.Serial, err))
	}
	if _, twice := s.stages.get(x.key()); twice {
		return damaged(fmt.Errorf("part %d of staging %s stands there twice", x.Part, x.Staging))
	}
	s.putStage(x)
	return nil
}

func (s *State) loadRequest(p *fsmpb.LicenseRequestRecord) error {
	r := LicenseRequestFromProto(p)
	_, twice := s.requests.get(r.ID)
	if _, ok := s.contracts.get(r.Contract); !ok || twice {
		return damaged(fmt.Errorf("license request %d of contract %q: the contract is there: %t, the request: %t", r.ID, r.Contract, ok, twice))
	}
	s.putRequest(r)
	return nil
}

func (s *State) loadResponsible(p *fsmpb.ResponsibleRecord) error {
	_, twice := s.responsibles.get(p.Contract)
	if _, ok := s.contracts.get(p.Contract); !ok || twice {
		return damaged(fmt.Errorf("responsible address of contract %q: the contract is there: %t, the address: %t", p.Contract, ok, twice))
	}
	s.responsibles.set(&s.digest, p.Contract, &Responsible{Contract: p.Contract, Address: p.Address, SinceMs: p.SinceMs})
	return nil
}

func (s *State) loadEpisode(p *fsmpb.EpisodeRecord) error {
	key := episodeKey(p.Serial, p.Area)
	_, twice := s.episodes.get(key)
	if i, refusal := s.instance(p.Serial); refusal != nil || twice || !i.Allocation.has(p.Area) {
		return damaged(fmt.Errorf("episode in area %q of instance %d, which can't have it", p.Area, p.Serial))
	}
	s.episodes.set(&s.digest, key, &Episode{Serial: p.Serial, Area: p.Area, SinceMs: p.SinceMs, Notice: p.Notice})
	return nil
}

func (s *State) loadNotice(p *fsmpb.NoticeRecord) error {
	if _, twice := s.notices.get(p.Id); twice {
		return damaged(fmt.Errorf("notice %d stands there twice", p.Id))
	}
	s.notices.set(&s.digest, p.Id, noticeFromProto(p))
	return nil
}
