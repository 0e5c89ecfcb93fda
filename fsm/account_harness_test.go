package fsm

import (
	"fmt"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
)

// Bodies of the kinds that are about accounts.
func accountBody(serial uint64, name, area string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateAccount{CreateAccount: &fsmpb.CreateAccount{Serial: serial, Name: name, Area: area}}}
}

func blockedAccountBody(serial uint64, name, area string) *fsmpb.Body {
	body := accountBody(serial, name, area)
	body.GetCreateAccount().Blocked = true
	return body
}

func blockBody(serial uint64, name string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_BlockAccount{BlockAccount: &fsmpb.BlockAccount{Serial: serial, Name: name}}}
}

func unblockBody(serial uint64, name string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_UnblockAccount{UnblockAccount: &fsmpb.UnblockAccount{Serial: serial, Name: name}}}
}

func moveBody(serial uint64, name, area string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_MoveAccount{MoveAccount: &fsmpb.MoveAccount{Serial: serial, Name: name, Area: area}}}
}

func deleteBody(serial uint64, name string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_DeleteAccount{DeleteAccount: &fsmpb.DeleteAccount{Serial: serial, Name: name}}}
}

func importBody(serial uint64, list []*fsmpb.ListedAccount) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ImportAccounts{ImportAccounts: &fsmpb.ImportAccounts{Serial: serial, Accounts: list}}}
}

func stageBody(serial uint64, staging string, part uint32, list []*fsmpb.ListedAccount) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_StageAccounts{StageAccounts: &fsmpb.StageAccounts{Serial: serial, Staging: staging, Part: part, Accounts: list}}}
}

func syncBody(serial uint64, list []*fsmpb.ListedAccount) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_SyncAccounts{SyncAccounts: &fsmpb.SyncAccounts{Serial: serial, Accounts: list}}}
}

func syncStagedBody(serial uint64, staging string, parts uint32, list []*fsmpb.ListedAccount) *fsmpb.Body {
	sum := ListedSum(list)
	return &fsmpb.Body{Kind: &fsmpb.Body_SyncAccounts{SyncAccounts: &fsmpb.SyncAccounts{
		Serial: serial, Staged: &fsmpb.StagedList{Staging: staging, Parts: parts, Sha256: sum[:]},
	}}}
}

func importStagedBody(serial uint64, staging string, parts uint32, list []*fsmpb.ListedAccount) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ImportAccounts{ImportAccounts: &fsmpb.ImportAccounts{
		Serial: serial, Staged: syncStagedBody(serial, staging, parts, list).GetSyncAccounts().Staged,
	}}}
}

func openRequestBody(contract, area, from string, seats uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_OpenLicenseRequest{OpenLicenseRequest: &fsmpb.OpenLicenseRequest{Contract: contract, Area: area, From: from, Seats: seats}}}
}

func closeRequestBody(id uint64, withdrawn bool, note string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CloseLicenseRequest{CloseLicenseRequest: &fsmpb.CloseLicenseRequest{Id: id, Withdrawn: withdrawn, Note: note}}}
}

func responsibleBody(contract, address string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_SetResponsible{SetResponsible: &fsmpb.SetResponsible{Contract: contract, Address: address}}}
}

// listedIn lists names, all in one area.
func listedIn(area string, names ...string) []*fsmpb.ListedAccount {
	list := make([]*fsmpb.ListedAccount, len(names))
	for n, name := range names {
		list[n] = &fsmpb.ListedAccount{Name: name, Area: area}
	}
	return list
}

func countAccountRows(d *digest, s *State) {
	s.accounts.rows.Scan(func(_ string, a *Account) bool { d.add(a); return true })
	s.stages.rows.Scan(func(_ string, x *Stage) bool { d.add(x); return true })
	s.requests.rows.Scan(func(_ uint64, r *LicenseRequest) bool { d.add(r); return true })
	s.responsibles.rows.Scan(func(_ string, r *Responsible) bool { d.add(r); return true })
	s.episodes.rows.Scan(func(_ string, e *Episode) bool { d.add(e); return true })
	s.notices.rows.Scan(func(_ uint64, n *Notice) bool { d.add(n); return true })
	s.tokens.rows.Scan(func(_ uint64, x *Token) bool { d.add(edit(x)); return true })
}

// checkAccounts counts all accounts anew, and all else that is derived from their tables.
func checkAccounts(t tb, s *State) {
	t.Helper()
	type count = map[string]map[string]uint64
	counted, totals, orphans := map[string]count{}, map[string]count{}, map[uint64]bool{}
	add := func(all map[string]count, key, state, area string, n uint64) {
		if n == 0 {
			return
		}
		if all[key] == nil {
			all[key] = count{"active": {}, "blocked": {}}
		}
		all[key][state][area] += n
	}
	for key, a := range s.accounts.rows.Scan {
		if key != accountKey(a.Serial, a.Name) {
			t.Fatalf("account %s of instance %d stands under %q", a.Name, a.Serial, key)
		}
		i, ok := s.instances.get(a.Serial)
		if !ok {
			orphans[a.Serial] = true
			continue
		}
		if i.Reports {
			t.Fatalf("A1: instance %d reports, and has account %s here", a.Serial, a.Name)
		}
		state := "active"
		if a.Blocked != notBlocked {
			state = "blocked"
		}
		if a.Active() != (a.BlockedSeq == 0) || a.BlockedSeq > s.counters.lastBlock {
			t.Fatalf("A3: account %s is %s with place %d of %d", a.Name, state, a.BlockedSeq, s.counters.lastBlock)
		}
		add(counted, fmt.Sprint(a.Serial), state, a.Area, 1)
		add(totals, i.Contract, state, a.Area, 1)
	}
	for _, i := range s.instances.rows.Values() {
		for _, x := range i.Active {
			add(counted, fmt.Sprint(i.Serial), "active", x.Name, x.N)
			add(totals, i.Contract, "active", x.Name, x.N)
		}
	}
	shown := func(u counts) count { return count{"active": u.active.Map(), "blocked": u.blocked.Map()} }
	got := map[string]count{}
	s.counted.Scan(func(serial uint64, u counts) bool { got[fmt.Sprint(serial)] = shown(u); return true })
	equal(t, "counts of instances", got, counted)
	got = map[string]count{}
	s.contractCounts.Scan(func(id string, u counts) bool { got[id] = shown(u); return true })
	equal(t, "counts of contracts", got, totals)
	gone := map[uint64]bool{}
	s.orphans.Scan(func(serial uint64, _ bool) bool { gone[serial] = true; return true })
	equal(t, "instances whose accounts are still to go", gone, orphans)
	checkStagings(t, s)
	checkEpisodes(t, s)
	var requests []contractRequest
	for _, r := range s.requests.rows.Values() {
		requests = append(requests, contractRequest{r.Contract, r.ID})
	}
	slices.SortFunc(requests, func(a, b contractRequest) int {
		if a.less(b) {
			return -1
		}
		return 1
	})
	equal(t, "index of requests", append([]contractRequest{}, s.byRequest.keys.Items()...), append([]contractRequest{}, requests...))
}

func checkStagings(t tb, s *State) {
	t.Helper()
	sums := map[string]staging{}
	total := 0
	for _, x := range s.stages.rows.Values() {
		sum := sums[x.staging()]
		sum.parts++
		sum.accounts += len(x.Accounts)
		sum.bytes += x.proto().SizeVT()
		sum.lastMs = max(sum.lastMs, x.StagedMs)
		sums[x.staging()] = sum
		total += x.proto().SizeVT()
	}
	got := map[string]staging{}
	s.stagings.Scan(func(key string, sum staging) bool { got[key] = sum; return true })
	equal(t, "staged lists", fmt.Sprint(got), fmt.Sprint(sums))
	if len(sums) > MaxStagings || total > MaxStagedBytes {
		t.Fatalf("%d lists of %d bytes are staged", len(sums), total)
	}
}

// checkEpisodes sees that each open episode belongs to an instance, and notices are bounded.
func checkEpisodes(t tb, s *State) {
	t.Helper()
	for key, e := range s.episodes.rows.Scan {
		if _, ok := s.instances.get(e.Serial); !ok || key != episodeKey(e.Serial, e.Area) || e.Notice > s.counters.lastNotice {
			t.Fatalf("A6: episode %+v under %q", e, key)
		}
	}
	if n := s.notices.len(); n > MaxNotices {
		t.Fatalf("A6: %d notices are kept", n)
	}
}
