package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
)

// claro is a replica with an instance, serial 1, of 10 primary and 5 extranet seats.
func claro(t tb) *replica {
	r := newReplica(t)
	r.must(contractBody(mustSign(t, testContract("claro", 1, map[string]uint64{"primary": 1_000_000, "extranet": 5}), vendorKey)))
	r.must(createBody("claro", "intranet", areas(map[string]uint64{"primary": 10, "extranet": 5})))
	return r
}

// manyListed lists n accounts of an area.
func manyListed(area, prefix string, n int) []*fsmpb.ListedAccount {
	list := make([]*fsmpb.ListedAccount, n)
	for i := range list {
		list[i] = &fsmpb.ListedAccount{Name: fmt.Sprint(prefix, i), Area: area}
	}
	return list
}

// fill has so many active accounts created in serial 1, by a staged sync.
func (r *replica) fill(n int) {
	r.t.Helper()
	r.must(resizeBody(1, primary(uint64(n))))
	list := manyListed("primary", "u", n)
	var parts uint32
	for part := range slices.Chunk(list, 5000) {
		parts++
		r.must(stageBody(1, "fill", parts, part))
	}
	r.must(syncStagedBody(1, "fill", parts, list))
}

// Names of accounts keep to what paths, files and all builds agree on.
func TestAccountNames(t *testing.T) {
	for name, good := range map[string]bool{
		"ann": true, "ann@example.com": true, "Ann.Onym": true, `CORP\ann`: true, "0": true, "_svc": true, "Zoë": true, "山田 太郎": true, "O'Neil, \"Bo\"": true,
		strings.Repeat("x", MaxAccountName): true,
		"":                                  false, " ann": false, "ann ": false, "a/b": false, "a\nb": false, "a\tb": false, "a\x00b": false, "a\x7f": false, "\xff": false,
		"=1": false, "+1": false, "-1": false, "@a": false, ".": false, "..": false, `"a"`: false,
		"a\u200bb": false, "a\u202eb": false, "\ufeffann": false, "a\u00a0b": false, "a\ue000": false, "a\ufffd": false, "a\U000e0001": false,
		strings.Repeat("x", MaxAccountName+1): false,
	} {
		if err := CheckAccountName("name", name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// I3: the removal of an instance takes as long as that of an empty one; its accounts follow in
// parts, and meanwhile snapshots hold what is left.
func TestRemovalOfManyAccounts(t *testing.T) {
	t.Parallel()
	r := claro(t)
	r.fill(2*sweepLimit + 1)
	r.must(removeBody(1))
	for _, left := range []int{2*sweepLimit + 1, sweepLimit + 1, 1, 0} {
		if got := r.s.accounts.len(); got != left {
			t.Fatalf("%d rows are left instead of %d", got, left)
		}
		if due, ok := r.s.View().NextDue(); !ok || (due <= r.s.clock.WallMs) != (left > 0) {
			t.Errorf("with %d rows left the next end is due at %d, %t", left, due, ok)
		}
		if totals, _ := r.s.View().ContractTotals("claro"); totals[1].Active != 0 {
			t.Errorf("the contract has %+v", totals)
		}
		checkRestored(t, r.s)
		if done := r.must(expireBody()).GetExpired(); done.More != (left > sweepLimit) {
			t.Errorf("with %d rows left: %v", left, done)
		}
	}
}

// As many users as one sync may have are staged in parts, and not one more.
func TestLargestSync(t *testing.T) {
	t.Parallel()
	r := claro(t)
	r.fill(MaxListed)
	for part := uint32(1); part <= 10; part++ {
		r.must(stageBody(1, "more", part, manyListed("primary", fmt.Sprint("p", part, "-"), 5000)))
	}
	refusal := r.refused(StagingLimitReached, stageBody(1, "more", 11, manyListed("primary", "x", 1)))
	if got, want := Detail(refusal), "50001 staged accounts would be more than 50000."; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
	// A part that replaces another counts once.
	r.must(stageBody(1, "more", 10, manyListed("primary", "y", 5000)))
	checkState(t, r.s)
}

// What is staged is bounded in number, and each list in parts.
func TestStagingBounds(t *testing.T) {
	t.Parallel()
	r := claro(t)
	for n := range MaxStagings {
		r.must(stageBody(1, fmt.Sprint("s", n), 1, listedIn("primary", "ann")))
	}
	r.refused(StagingLimitReached, stageBody(1, "one-more", 1, listedIn("primary", "ann")))
	r.must(stageBody(1, "s1", 2, listedIn("primary", "bob")))
	// Old lists make room by themselves.
	r.now = r.now.Add(StagingTTL * time.Second)
	r.must(stageBody(1, "one-more", 1, listedIn("primary", "ann")))
	if n := r.s.stagings.Len(); n != 1 {
		t.Errorf("%d lists are staged", n)
	}
	staged := syncStagedBody(1, "one-more", 1, nil).GetSyncAccounts().Staged
	for name, body := range map[string]*fsmpb.Body{
		"part 0":           stageBody(1, "s", 0, listedIn("primary", "ann")),
		"part too high":    stageBody(1, "s", MaxParts+1, listedIn("primary", "ann")),
		"no accounts":      stageBody(1, "s", 1, nil),
		"no name":          stageBody(1, "", 1, listedIn("primary", "ann")),
		"bad account":      stageBody(1, "s", 1, listedIn("primary", "a/b")),
		"bad area":         stageBody(1, "s", 1, listedIn("pri mary", "ann")),
		"empty sync":       syncBody(1, nil),
		"empty import":     importBody(1, nil),
		"blocked in sync":  syncBody(1, []*fsmpb.ListedAccount{{Name: "ann", Area: "primary", Blocked: true}}),
		"both":             {Kind: &fsmpb.Body_SyncAccounts{SyncAccounts: &fsmpb.SyncAccounts{Serial: 1, Accounts: listedIn("primary", "a"), Staged: staged}}},
		"no parts":         syncStagedBody(1, "one-more", 0, nil),
		"no sum":           {Kind: &fsmpb.Body_SyncAccounts{SyncAccounts: &fsmpb.SyncAccounts{Serial: 1, Staged: &fsmpb.StagedList{Staging: "one-more", Parts: 1}}}},
		"too many parts":   syncStagedBody(1, "one-more", MaxParts+1, nil),
		"staging name bad": syncStagedBody(1, "a b", 1, nil),
	} {
		if o := r.do(body); o.Refusal.GetCode() != string(Invalid) {
			t.Errorf("%s: %v", name, o)
		}
	}
	r.refused(InstanceNotFound, stageBody(9, "s", 1, listedIn("primary", "ann")))
}

// A refused import names a bounded number of rows, and how many there are.
func TestRejectedRowsAreBounded(t *testing.T) {
	t.Parallel()
	r := claro(t)
	o := r.do(importBody(1, manyListed("primary", "u", maxRejected+20)))
	if done := o.GetImported(); o.Refusal.GetCode() != string(ImportRefused) || len(done.Rejected) != maxRejected || done.RejectedTotal != maxRejected+10 {
		t.Errorf("%s: %d rows of %d", o.Refusal.GetCode(), len(done.GetRejected()), done.GetRejectedTotal())
	}
}

// A6: the outbox is bounded; the newest notices stay.
func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	r := claro(t)
	i, _ := r.s.instances.get(1)
	for range MaxNotices + 10 {
		r.s.stopped(i, "primary", SeatLimitReached)
		r.s.episodes.delete(&r.s.digest, episodeKey(1, "primary"))
	}
	v := r.s.View()
	if list := v.Notices(0, MaxNotices+100); len(list) != MaxNotices || list[0].ID != 11 {
		t.Errorf("%d notices, the first is %d", len(list), list[0].ID)
	}
	if list := v.Notices(MaxNotices+9, 5); len(list) != 1 || v.Notices(MaxNotices+10, 5) != nil || v.Notices(1<<63, 1) != nil || v.Notices(0, 0) != nil {
		t.Errorf("%d notices at the end", len(list))
	}
	checkState(t, r.s)
}

// A7: open requests are refused, and closed ones forgotten, beyond a number.
func TestLicenseRequestsAreBounded(t *testing.T) {
	t.Parallel()
	r := claro(t)
	for n := range uint64(MaxClosedRequests + 10) {
		r.must(openRequestBody("claro", "primary", "", 5))
		r.must(closeRequestBody(n+1, n%2 == 0, "no"))
	}
	if list := r.s.View().LicenseRequests("claro", 0, 1000); len(list) != MaxClosedRequests || list[0].ID != 11 {
		t.Errorf("%d requests, the first is %d", len(list), list[0].ID)
	}
	r.refused(RequestNotFound, closeRequestBody(1, false, ""))
	for range MaxOpenRequests {
		r.must(openRequestBody("claro", "primary", "", 5))
	}
	r.refused(RequestLimitReached, openRequestBody("claro", "primary", "", 5))
	if list := r.s.View().LicenseRequests("", 0, 3); len(list) != 3 {
		t.Errorf("%d requests of all contracts", len(list))
	}
	for name, body := range map[string]*fsmpb.Body{
		"no seats":     openRequestBody("claro", "primary", "", 0),
		"too many":     openRequestBody("claro", "primary", "", 1<<40),
		"no area":      openRequestBody("claro", "", "", 5),
		"bad from":     openRequestBody("claro", "primary", "a b", 5),
		"bad contract": openRequestBody("a b", "primary", "", 5),
		"bad note":     closeRequestBody(111, false, "a\nb"),
		"long note":    closeRequestBody(111, false, strings.Repeat("x", MaxNote+1)),
	} {
		if o := r.do(body); o.Refusal.GetCode() != string(Invalid) {
			t.Errorf("%s: %v", name, o)
		}
	}
	checkState(t, r.s)
}

// Pages of accounts follow each other without gaps, and end with the instance.
func TestAccountPages(t *testing.T) {
	t.Parallel()
	r := claro(t)
	r.must(createBody("claro", "other", primary(5)))
	r.must(importBody(1, listedIn("primary", "bob", "Ann", "zoe", "cid")))
	r.must(accountBody(2, "aaa", "primary"))
	v := r.s.View()
	for _, c := range []struct {
		serial uint64
		after  string
		limit  int
		want   string
	}{{1, "", 10, "Ann bob cid zoe"}, {1, "", 2, "Ann bob"}, {1, "BOB", 2, "cid zoe"}, {1, "zoe", 2, ""}, {1, "b", 1, "bob"}, {2, "", 10, "aaa"}, {1, "", 0, ""}} {
		list, refusal := v.Accounts(c.serial, c.after, c.limit)
		var names []string
		for _, a := range list {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, " "); got != c.want || refusal != nil {
			t.Errorf("Accounts(%d, %q, %d) = %s, want %s (%v)", c.serial, c.after, c.limit, got, c.want, refusal)
		}
	}
	if _, refusal := v.Accounts(9, "", 1); refusal.GetCode() != string(InstanceNotFound) {
		t.Errorf("accounts of no instance: %v", refusal)
	}
	if _, refusal := v.InstanceTotals(9); refusal.GetCode() != string(InstanceNotFound) {
		t.Errorf("totals of no instance: %v", refusal)
	}
	if _, refusal := v.ContractTotals("none"); refusal.GetCode() != string(ContractNotFound) {
		t.Errorf("totals of no contract: %v", refusal)
	}
}

// Rows about accounts that are no state of ours are refused, whatever their checksum.
func TestSnapshotForgedAccounts(t *testing.T) {
	r := accountRows(t)
	header, good := records(t, snapshotBytes(t, r.s.View()))
	// Without writes, so that the forged row is the last one.
	rows := slices.DeleteFunc(slices.Clone(good), func(row []byte) bool {
		record := new(fsmpb.Record)
		return decodeKnown(row[8:], record, recordShape) != nil || record.GetWrite() != nil
	})
	account := func(a *fsmpb.AccountRecord) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_Account{Account: a}}
	}
	stage := func(part uint32) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_Stage{Stage: &fsmpb.StageRecord{Serial: 1, Staging: "left", Part: part, Accounts: listedIn("primary", "x")}}}
	}
	request := func(id uint64, contract string) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_LicenseRequest{LicenseRequest: &fsmpb.LicenseRequestRecord{Id: id, Contract: contract}}}
	}
	responsible := func(contract string) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_Responsible{Responsible: &fsmpb.ResponsibleRecord{Contract: contract}}}
	}
	episode := func(serial uint64, area string) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_Episode{Episode: &fsmpb.EpisodeRecord{Serial: serial, Area: area}}}
	}
	for name, record := range map[string]*fsmpb.Record{
		"account twice":            account(&fsmpb.AccountRecord{Serial: 1, Name: "ANN", Area: "primary"}),
		"account of no instance":   account(&fsmpb.AccountRecord{Serial: 99, Name: "x", Area: "primary"}),
		"account that is reported": account(&fsmpb.AccountRecord{Serial: 2, Name: "x", Area: "primary"}),
		"account in no area":       account(&fsmpb.AccountRecord{Serial: 1, Name: "x", Area: "support"}),
		"account without a name":   account(&fsmpb.AccountRecord{Serial: 1, Area: "primary"}),
		"blocked without a place":  account(&fsmpb.AccountRecord{Serial: 1, Name: "x", Area: "primary", Blocked: blockedByLimit}),
		"active with a place":      account(&fsmpb.AccountRecord{Serial: 1, Name: "x", Area: "primary", BlockedSeq: 1}),
		"blocked for no reason":    account(&fsmpb.AccountRecord{Serial: 1, Name: "x", Area: "primary", Blocked: 7, BlockedSeq: 1}),
		"part twice":               stage(1),
		"part without a number":    stage(0),
		"request twice":            request(1, "claro"),
		"request of no contract":   request(9, "none"),
		"address twice":            responsible("claro"),
		"address of no contract":   responsible("none"),
		"episode twice":            episode(1, "primary"),
		"episode of no instance":   episode(99, "primary"),
		"episode in no area":       episode(1, "support"),
		"notice twice":             {Kind: &fsmpb.Record_Notice{Notice: &fsmpb.NoticeRecord{Id: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			forged := append(slices.Clone(rows), messageFrame(t, record))
			err := restoreFails(t, forge(t, clone(header), forged...), "forged")
			if at := fmt.Sprintf("record %d of %d", len(forged), len(forged)); !strings.Contains(err.Error(), at) {
				t.Errorf("it is not the row itself that is refused: %v", err)
			}
		})
	}
}

// accountRows is a replica with rows of every kind that is about accounts, those of a removed instance included.
func accountRows(t tb) *replica {
	r := claro(t)
	r.must(createBody("claro", "reports", primary(5)))
	r.must(activateBody(r.key(2), true, primary(1)))
	r.must(createBody("claro", "gone", primary(5)))
	r.must(accountBody(3, "left", "primary"))
	r.must(removeBody(3))
	r.must(importBody(1, manyListed("primary", "u", 9)))
	r.must(syncBody(1, listedIn("primary", "ann", "bob")))
	r.must(blockedAccountBody(1, "eve", "extranet"))
	r.must(stageBody(1, "left", 1, listedIn("primary", "dan")))
	r.must(openRequestBody("claro", "primary", "", 5))
	r.must(responsibleBody("claro", "licences@example.com"))
	return r
}

// Snapshots and views hold rows of every kind.
func TestAccountRows(t *testing.T) {
	r := accountRows(t)
	for name, n := range map[string]int{
		"accounts": r.s.accounts.len(), "stages": r.s.stages.len(), "requests": r.s.requests.len(), "responsibles": r.s.responsibles.len(),
		"episodes": r.s.episodes.len(), "notices": r.s.notices.len(), "orphans": r.s.orphans.Len(),
	} {
		if n == 0 {
			t.Errorf("there are no %s", name)
		}
	}
	v := r.s.View()
	want := snapshotBytes(t, v)
	fork := v.Fork()
	for n := range 20 {
		r.must(accountBody(1, fmt.Sprint("more", n), "extranet"))
		r.must(blockBody(1, fmt.Sprint("more", n)))
	}
	r.must(stageBody(1, "left", 1, listedIn("primary", "other")))
	r.must(closeRequestBody(1, true, ""))
	r.must(responsibleBody("claro", ""))
	r.must(removeBody(1))
	r.must(expireBody())
	if string(snapshotBytes(t, v)) != string(want) {
		t.Error("the view changed")
	}
	checkState(t, r.s)
	checkState(t, fork)
	checkRestored(t, fork)
}
