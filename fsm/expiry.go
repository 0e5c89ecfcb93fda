package fsm

import (
	"github.com/licet/licet/fsm/fsmpb"
)

// expireLimit is how many ends one command applies, so that no command takes long.
const expireLimit = 1000

// deadline is a moment on the wall clock at which something ends.
type deadline struct {
	ms       int64
	contract string
}

func (a deadline) less(b deadline) bool {
	if a.ms != b.ms {
		return a.ms < b.ms
	}
	return a.contract < b.contract
}

func contractDeadline(c *Contract) deadline {
	return deadline{ms: c.endsMs(), contract: c.Doc.ID}
}

// expire ends what is due by the state's own clock, whatever the proposer saw (rule D4).
func (s *State) expire() *fsmpb.Expired {
	done := new(fsmpb.Expired)
	for {
		next, ok := s.due.keys.Min()
		if !ok || next.ms > s.clock.WallMs {
			return done
		}
		if done.Contracts == expireLimit {
			done.More = true
			return done
		}
		s.due.keys.PopMin()
		old, _ := s.contracts.get(next.contract)
		c := edit(old)
		c.Ended = true
		s.contracts.set(&s.digest, next.contract, c)
		done.Contracts++
	}
}

// NextDue returns when the next end is due, in milliseconds of the wall clock
// since 1970-01-01 UTC; false if nothing will ever end.
func (v *View) NextDue() (ms int64, ok bool) {
	next, ok := v.due.keys.Min()
	return next.ms, ok
}
