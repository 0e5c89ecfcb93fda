package fsm

import "encoding/binary"

// sweepLimit is how many accounts of removed instances one command takes out.
const sweepLimit = 1000

// orphan has the accounts of a removed instance taken out later. The instance and its
// totals go at once (rule I3); with them its accounts are out of reach. Their rows, of which
// there can be a million, go with the leader's next Expire commands, a bounded number each,
// so that no removal holds up other writes.
func (s *State) orphan(i *Instance) {
	u, _ := s.counted.Get(i.Serial)
	if !i.Reports && !u.empty() {
		s.orphans.Set(i.Serial, true)
	}
	s.dropCounts(i, u)
	s.dropEpisodes(i)
}

// sweepAccounts takes out what removed instances left behind, a bounded part of it.
func (s *State) sweepAccounts() {
	for range sweepLimit {
		serial, _, ok := s.orphans.Min()
		if !ok {
			return
		}
		key, _ := s.firstAccount(serial)
		s.accounts.delete(&s.digest, key)
		if _, more := s.firstAccount(serial); !more {
			s.orphans.Delete(serial)
		}
	}
}

func (t *tables) firstAccount(serial uint64) (key string, ok bool) {
	from := binary.BigEndian.AppendUint64(nil, serial)
	t.accounts.rows.Ascend(string(from), func(k string, a *Account) bool {
		key, ok = k, a.Serial == serial
		return false
	})
	return key, ok
}
