package fsm

import (
	"encoding/binary"

	"github.com/licet/licet/fsm/fsmpb"
)

// MaxNotices is how many notices are kept; beyond it the oldest goes.
const MaxNotices = 10_000

// Episode is a time in which a limit stops somebody in an area of an instance (rule A6).
// It begins with the first who is stopped and ends as soon as an account leaves the area, or
// its allocation grows, so that there is room.
type Episode struct {
	Serial  uint64
	Area    string
	SinceMs int64
	// Notice is the one notice of the episode.
	Notice uint64
	hashed
}

func (e *Episode) message(*encoder) (recordKind, message) {
	return 24, &fsmpb.EpisodeRecord{Serial: e.Serial, Area: e.Area, SinceMs: e.SinceMs, Notice: e.Notice}
}

func episodeKey(serial uint64, area string) string {
	return string(binary.BigEndian.AppendUint64(nil, serial)) + area
}

// Notice tells the responsible address of a contract that a limit stops somebody, immutable (rule A6).
// Whatever delivers notices reads them with View.Notices, from the last one that it delivered on.
type Notice struct {
	ID     uint64
	WallMs int64
	// Kind is the code by which the first one was stopped.
	Kind Code
	// Address is where it goes: the contract's responsible address at that time.
	Contract, Address string
	Serial            uint64
	Instance, Area    string
	// Allocation, Active and Blocked are the area's numbers at that time.
	Allocation, Active, Blocked uint64
	hashed
}

func (n *Notice) message(*encoder) (recordKind, message) {
	return 25, &fsmpb.NoticeRecord{
		Id: n.ID, WallMs: n.WallMs, Kind: string(n.Kind), Contract: n.Contract, Address: n.Address, Serial: n.Serial, Instance: n.Instance,
		Area: n.Area, Allocation: n.Allocation, Active: n.Active, Blocked: n.Blocked,
	}
}

func noticeFromProto(r *fsmpb.NoticeRecord) *Notice {
	return &Notice{
		ID: r.Id, WallMs: r.WallMs, Kind: Code(r.Kind), Contract: r.Contract, Address: r.Address, Serial: r.Serial, Instance: r.Instance,
		Area: r.Area, Allocation: r.Allocation, Active: r.Active, Blocked: r.Blocked,
	}
}

// stopped notes that a limit stopped somebody: the first one opens an episode, which
// writes its notice; the others change nothing (rule A6).
func (s *State) stopped(i *Instance, area string, code Code) {
	key := episodeKey(i.Serial, area)
	// Areas without an allocation are made up by callers: there would be no end of them.
	if _, open := s.episodes.get(key); open || !i.Allocation.has(area) {
		return
	}
	s.counters.lastNotice++
	id := s.counters.lastNotice
	s.episodes.set(&s.digest, key, &Episode{Serial: i.Serial, Area: area, SinceMs: s.clock.WallMs, Notice: id})
	u, _ := s.counted.Get(i.Serial)
	s.notices.set(&s.digest, id, &Notice{
		ID: id, WallMs: s.clock.WallMs, Kind: code, Contract: i.Contract, Address: s.responsible(i.Contract),
		Serial: i.Serial, Instance: i.Name, Area: area,
		Allocation: i.Allocation.Get(area), Active: u.active.Get(area), Blocked: u.blocked.Get(area),
	})
	if s.notices.len() > MaxNotices {
		oldest, _, _ := s.notices.rows.Min()
		s.notices.delete(&s.digest, oldest)
	}
}

// freed ends the episode of an area that an account left or that was enlarged, if there is room now.
func (s *State) freed(i *Instance, area string) {
	if s.room(i, area) > 0 {
		s.episodes.delete(&s.digest, episodeKey(i.Serial, area))
	}
}

// freedByResize ends the episodes of the areas that grew.
func (s *State) freedByResize(i *Instance, before Quantities) {
	for _, x := range i.Allocation.above(before) {
		s.freed(i, x.Name)
	}
}

// dropEpisodes ends all episodes of an instance that goes.
func (s *State) dropEpisodes(i *Instance) {
	for _, x := range i.Allocation {
		s.episodes.delete(&s.digest, episodeKey(i.Serial, x.Name))
	}
}

// Notices returns up to limit notices whose ids come after the given one, in order.
func (v *View) Notices(after uint64, limit int) []*Notice {
	var list []*Notice
	if limit <= 0 || after >= v.counters.lastNotice {
		return nil
	}
	v.notices.rows.Ascend(after+1, func(_ uint64, n *Notice) bool {
		list = append(list, n)
		return len(list) < limit
	})
	return list
}
