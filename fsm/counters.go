package fsm

import (
	"crypto/sha256"
	"fmt"

	"github.com/licet/licet/fsm/fsmpb"
)

// counters are numbers that only grow, and the chain of writes. The digest takes them in
// as they are, like index and clock, because they change with most commands.
type counters struct {
	lastSerial, lastWrite, lastLease, lastTicket, lastBlock, lastLicenseRequest, lastNotice, lastPool, lastToken uint64
	// chain is the head of the audit trail; chainBase is where its oldest kept row begins.
	chain, chainBase [sha256.Size]byte
}

func (c *counters) message() (recordKind, message) {
	return 5, &fsmpb.CountersRecord{
		LastSerial: c.lastSerial, LastWrite: c.lastWrite, LastLease: c.lastLease, LastTicket: c.lastTicket, LastBlock: c.lastBlock,
		LastLicenseRequest: c.lastLicenseRequest, LastNotice: c.lastNotice, LastPool: c.lastPool, LastToken: c.lastToken, Chain: c.chain[:], ChainBase: c.chainBase[:],
	}
}

func (c *counters) load(r *fsmpb.CountersRecord) error {
	if len(r.Chain) != sha256.Size || len(r.ChainBase) != sha256.Size {
		return fmt.Errorf("counters: chains of %d and %d bytes", len(r.Chain), len(r.ChainBase))
	}
	*c = counters{
		lastSerial: r.LastSerial, lastWrite: r.LastWrite, lastLease: r.LastLease, lastTicket: r.LastTicket, lastBlock: r.LastBlock,
		lastLicenseRequest: r.LastLicenseRequest, lastNotice: r.LastNotice, lastPool: r.LastPool, lastToken: r.LastToken,
		chain: [sha256.Size]byte(r.Chain), chainBase: [sha256.Size]byte(r.ChainBase),
	}
	return nil
}
