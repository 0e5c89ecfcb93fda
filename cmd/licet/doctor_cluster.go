package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func voters(members []apiv1.Member) (list []string) {
	for _, m := range members {
		if m.Voter {
			list = append(list, m.ID)
		}
	}
	return list
}

func quorumText(voters int) string {
	switch spare := voters - (voters/2 + 1); {
	case voters == 1:
		return "one voter, alone: if it fails, nothing can be written"
	case spare == 0:
		return fmt.Sprintf("%d voters are well; none may fail", voters)
	default:
		return fmt.Sprintf("%d voters are well; %d may fail", voters, spare)
	}
}

// worstClock is how far two members' clocks are apart at most.
func worstClock(members []apiv1.Member) string {
	var least, most int64
	for _, m := range members {
		if m.ClockOffsetMs != nil {
			least, most = min(least, *m.ClockOffsetMs), max(most, *m.ClockOffsetMs)
		}
	}
	return span(time.Duration(most-least) * time.Millisecond)
}

func versionsOf(members []apiv1.Member) (list []string) {
	for _, m := range members {
		if m.Version != "" && !slices.Contains(list, m.Version) {
			list = append(list, m.Version)
		}
	}
	slices.Sort(list)
	return list
}

// strengths say what a node is well by.
func strengths(x seen) (list []string) {
	v := x.value
	list = append(list, string(v.Role))
	if v.Disk != nil {
		list = append(list, amountOf(v.Disk.FreeBytes)+" of disk left")
	}
	if v.CertificateEnds != nil {
		list = append(list, "its certificate "+until(v.CertificateEnds))
	}
	return list
}

// examineContracts warns of contracts that go on although the key that signed them was revoked. Who may not read contracts is told nothing.
func (d *doctor) examineContracts(c *client.Client) {
	all, err := pages(func(after string) (*client.Answer[apiv1.ContractList], error) {
		return c.Contracts(d.context(), client.ContractPage{After: after})
	}, func(l *apiv1.ContractList) string { return l.Next })
	if err != nil {
		return
	}
	for _, x := range all.Value.Contracts {
		if x.VendorKeyRevoked && !x.Ended {
			d.warn("contracts", "Look whether the vendor knows the contract, and ask for it signed with a key in force: the same revision will do.",
				"contract %s is signed by vendor key %s, which was revoked", x.ID, x.VendorKey)
		}
	}
}
