package fsm

import (
	"time"

	"github.com/licet/licet/fsm/fsmpb"
)

// goldenAccounts are the entries about accounts: every kind, refusals that leave something
// behind, and each result of a sync. They are part of goldenLog; never change them.
func goldenAccounts(t tb) []goldenEntry {
	contract := testContract("claro", 1, map[string]uint64{"primary": 10, "extranet": 5})
	contract.Expiry = testEpoch.AddDate(3, 0, 0)
	answer := *contract
	answer.Revision, answer.Answers = 2, []uint64{1}
	part1, part2 := listedIn("primary", "ann@example.com", "Bob", "cid"), listedIn("extranet", "dan", "eve")
	whole := append(part1[:len(part1):len(part1)], part2...)
	rows := []*fsmpb.ListedAccount{{Name: "fay", Area: "extranet", Line: 2}, {Name: "guy", Area: "extranet", Blocked: true, Line: 3}}
	return []goldenEntry{
		{"put_contract", 0, contractBody(mustSign(t, contract, vendorKey))},
		{"create_instance", 0, createBody("claro", "intranet", areas(map[string]uint64{"primary": 2, "extranet": 2}))},
		{"set_responsible", 0, responsibleBody("claro", "licences@example.com")},
		{"create_account", 0, accountBody(3, "ann@example.com", "primary")},
		{"create_account", 0, blockedAccountBody(3, "zoe", "extranet")},
		{"import_accounts", time.Minute, importBody(3, rows)},
		{"import_accounts", 0, importBody(3, rows)},
		{"stage_accounts", 0, stageBody(3, "nightly", 1, part1)},
		{"stage_accounts", 0, stageBody(3, "nightly", 2, part2)},
		{"sync_accounts", 0, syncStagedBody(3, "nightly", 2, whole)},
		{"create_account", 0, accountBody(3, "hal", "primary")},
		{"block_account", 0, blockBody(3, "BOB")},
		{"sync_accounts", time.Minute, syncBody(3, append(listedIn("primary", "cid", "bob", "fay", "ivy"), listedIn("extranet", "ann@example.com")...))},
		{"unblock_account", 0, unblockBody(3, "bob")},
		{"delete_account", 0, deleteBody(3, "cid")},
		{"unblock_account", 0, unblockBody(3, "bob")},
		{"move_account", 0, moveBody(3, "zoe", "primary")},
		{"open_license_request", 0, openRequestBody("claro", "primary", "", 5)},
		{"open_license_request", 0, openRequestBody("claro", "primary", "extranet", 1)},
		{"close_license_request", 0, closeRequestBody(2, true, "no longer needed")},
		{"put_contract", 0, contractBody(mustSign(t, &answer, vendorKey))},
		{"stage_accounts", 0, stageBody(3, "left", 1, part2)},
	}
}
