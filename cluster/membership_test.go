package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
)

// joiners starts a cluster of the first n of all sites; the others expect to join it.
func joiners(t *testing.T, n, all int) (list, later []*site) {
	t.Helper()
	every := sites(t, all)
	var addresses []string
	for _, s := range every[:n] {
		addresses = append(addresses, s.listen)
	}
	for _, s := range every {
		s.options.Expect, s.options.Peers = n, addresses
	}
	for _, s := range every[:n] {
		s.start()
	}
	oneCluster(t, every[:n])
	return every[:n], every[n:]
}

func (s *site) voter() error {
	if status := s.node.Status(); !status.Voter {
		return fmt.Errorf("%s is %s, voter %v", s.options.ID, status.Role, status.Voter)
	}
	return nil
}

// followers are those that do not lead, the leader last.
func followers(t *testing.T, list []*site) []*site {
	t.Helper()
	leader := leaderOf(t, list)
	var others []*site
	for _, s := range list {
		if s != leader {
			others = append(others, s)
		}
	}
	return append(others, leader)
}

// TestDeadMemberIsRemovedAndTheQuorumKept: a dead member can be removed, and none whose removal would leave the others
// without a majority. Whoever was removed while it was down finds out when it comes back, and so does the
// last but one of a cluster.
func TestDeadMemberIsRemovedAndTheQuorumKept(t *testing.T) {
	order := followers(t, startAll(t, 3))
	dead, other, leader := order[0], order[1], order[2]
	leader.propose(putContract(t, 30))
	dead.stop()
	for _, asked := range []*site{leader, other} {
		if err := asked.node.Remove(t.Context(), other.options.ID, byOperator); codeOf(err) != cluster.MemberRefused || !strings.Contains(err.Error(), "2 are needed") {
			t.Fatalf("with %s down, %s was removed through %s: %v", dead.options.ID, other.options.ID, asked.options.ID, err)
		}
	}
	if err := other.node.Leave(t.Context(), byOperator); codeOf(err) != cluster.MemberRefused {
		t.Fatalf("with %s down, %s left: %v", dead.options.ID, other.options.ID, err)
	}
	if err := other.node.Remove(t.Context(), dead.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	leader.propose(createInstance("without-the-dead", 1))

	dead.start()
	endsAsNoMember(t, dead)
	if err := dead.tryStart(); !errors.Is(err, cluster.ErrNotMember) {
		t.Fatalf("a removed node started again: %v", err)
	}
	if err := leader.node.Remove(t.Context(), other.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	endsAsNoMember(t, other)
	leader.propose(createInstance("alone", 1))
}

// endsAsNoMember waits until a node says that it was removed, and stops it.
func endsAsNoMember(t *testing.T, s *site) {
	t.Helper()
	select {
	case err := <-s.node.Failed():
		if !errors.Is(err, cluster.ErrNotMember) || !strings.Contains(err.Error(), "was removed from the cluster") {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s goes on although it was removed", s.options.ID)
	}
	s.stop()
}

// TestReplicaNeverVotes: a node that is configured not to vote stays a non-voter while a later one is
// promoted. It serves linearizable reads, forwards writes, and follows to another address.
func TestReplicaNeverVotes(t *testing.T) {
	list, later := joiners(t, 3, 5)
	replica, ordinary := later[0], later[1]
	replica.options.Nonvoter = true
	list[0].propose(putContract(t, 30))
	replica.start()
	replica.ready()
	eventually(t, "the replica is a member", func() error {
		_, err := memberOf(t, list[0], replica)
		return err
	})
	ordinary.start()
	eventually(t, "the ordinary node is a voter", ordinary.voter)
	for _, where := range []string{"at its first address", "at another one"} {
		if o := replica.propose(createInstance(strings.ReplaceAll(where, " ", "-"), 1)); o.Refusal != nil {
			t.Fatal(fsm.Detail(o.Refusal))
		}
		if _, age, err := replica.node.Read(t.Context(), cluster.Read{}); err != nil || age != 0 {
			t.Fatalf("a linearizable read %s: age %s, %v", where, age, err)
		}
		m, err := memberOf(t, list[0], replica)
		if err != nil || m.Voter || !m.Replica || m.Address != replica.listen {
			t.Fatalf("%s the member is %+v (%v)", where, m, err)
		}
		replica.moveTo(freeAddress(t), list[0])
	}
	if err := list[0].node.Transfer(t.Context(), replica.options.ID, byOperator); codeOf(err) != cluster.MemberRefused {
		t.Errorf("leadership went to a replica: %v", err)
	}
	sameDigests(t, append(list, replica, ordinary))
}

func memberOf(t *testing.T, asked, of *site) (cluster.Member, error) {
	t.Helper()
	list, err := asked.node.Members(t.Context())
	if err != nil {
		return cluster.Member{}, err
	}
	for _, m := range list {
		if m.ID == of.options.ID {
			return m, nil
		}
	}
	return cluster.Member{}, fmt.Errorf("%s is no member", of.options.ID)
}

// moveTo restarts a node at another address and waits until others reach it there.
func (s *site) moveTo(address string, seenBy *site) {
	s.t.Helper()
	s.stop()
	s.listen, s.options.Advertise = address, address
	s.start()
	eventually(s.t, s.options.ID+" is followed to "+address, func() error {
		list, err := seenBy.node.Members(s.t.Context())
		for _, m := range list {
			if m.ID == s.options.ID && m.Address == address && m.Reachable {
				return nil
			}
		}
		return fmt.Errorf("the members are %+v (%w)", list, err)
	})
	s.ready()
}

// TestMembersAreFollowedToOtherAddresses: all nodes move, one after the other, and one of them knows none of the
// addresses that it started with.
func TestMembersAreFollowedToOtherAddresses(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	for i, s := range list {
		s.moveTo(freeAddress(t), list[(i+1)%3])
		s.propose(createInstance(s.options.ID, 1))
	}
	sameDigests(t, list)

	order := followers(t, list)
	leader, own := order[2], list[0].node.Status().View.ClusterID()
	for name, c := range map[string]struct {
		id, address, cluster string
		code                 cluster.Code
	}{
		"it still answers where it was": {order[0].options.ID, freeAddress(t), own, cluster.MemberRefused},
		"another cluster":               {order[0].options.ID, freeAddress(t), "another", cluster.MemberRefused},
		"no member":                     {"nobody", freeAddress(t), own, cluster.MemberNotFound},
		"another member's address":      {leader.options.ID, order[0].listen, own, cluster.MemberRefused},
	} {
		if err := leader.node.Move(c.id, c.address, c.cluster); codeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := order[0].node.Move(order[0].options.ID, freeAddress(t), own); codeOf(err) != "not_leader" {
		t.Errorf("asked of a follower: %v", err)
	}

	alone := startAll(t, 1)
	alone[0].moveTo(freeAddress(t), alone[0])
	alone[0].propose(putContract(t, 30))
}

// TestLeadershipGoesToThePreferredSite, and back to it when it has recovered.
func TestLeadershipGoesToThePreferredSite(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.Policy.PreferredSites = []string{"paris", "lyon"}
		s.start()
	}
	oneCluster(t, list)
	leads := func(want *site) func() error {
		return func() error {
			if s := want.node.Status(); s.Role != cluster.Leader {
				return fmt.Errorf("it is %s", s.Role)
			}
			return nil
		}
	}
	eventually(t, "paris leads", leads(list[2]))
	list[2].stop()
	eventually(t, "lyon leads", leads(list[1]))
	list[2].start()
	eventually(t, "paris leads again", leads(list[2]))
	list[0].propose(putContract(t, 30))
}

// TestLeadershipIsHandedToWhoIsThere, at the best site, and not to a node that is down.
func TestLeadershipIsHandedToWhoIsThere(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.Policy.PreferredSites, s.options.Policy.PreferredAfter = []string{"paris", "lyon"}, time.Hour
		s.start()
	}
	oneCluster(t, list)
	hands := func(to *site) {
		t.Helper()
		// Who led may have stopped just now, and another be elected first.
		eventually(t, "bordeaux leads", func() error {
			if err := list[0].node.Transfer(t.Context(), "bordeaux", byOperator); err != nil {
				return err
			}
			return nil
		})
		eventually(t, "bordeaux would hand over to "+to.options.ID, func() error {
			if id := list[0].node.Successor(); id != to.options.ID {
				return fmt.Errorf("it would to %q", id)
			}
			return nil
		})
		list[0].node.HandOver()
		if leader := leaderOf(t, list); leader != to {
			t.Fatalf("%s leads", leader.options.ID)
		}
	}
	hands(list[2])
	list[2].stop()
	hands(list[1])
}

// TestSilentMemberIsRemovedDownToAFloor: where it is switched on, the leader removes who has been silent for long, and
// nobody when too few voters would be left.
func TestSilentMemberIsRemovedDownToAFloor(t *testing.T) {
	log := new(lines)
	list := sites(t, 4)
	list[3].options.Expect = 3
	for i, s := range list {
		s.options.Expect, s.options.Peers = 3, []string{list[0].listen, list[1].listen, list[2].listen}
		s.options.Policy.RemoveDeadAfter = 3 * time.Second
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Level: hclog.Debug, Output: log, IndependentLevels: true})
		if i < 3 {
			s.start()
		}
	}
	oneCluster(t, list[:3])
	list[3].start()
	eventually(t, "the fourth node is a voter", list[3].voter)
	order := followers(t, list)
	leader := order[3]
	order[0].stop()
	members := func() int {
		found, err := leader.node.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	// A leader that slept takes everybody for silent.
	leader.node.RemoveSilent(order[1].options.ID)
	eventually(t, "the silent member is removed", func() error {
		if n := members(); n != 3 {
			return fmt.Errorf("%d members", n)
		}
		return nil
	})
	if _, err := memberOf(t, leader, order[1]); err != nil {
		t.Fatal(err)
	}
	order[1].stop()
	eventually(t, "the leader would rather keep the next one", func() error {
		if len(log.with("will not remove server node as it would leave less voters", order[1].options.ID)) == 0 {
			return errors.New("it does not say so")
		}
		return nil
	})
	if n := members(); n != 3 {
		t.Errorf("%d members are left", n)
	}
	leader.propose(putContract(t, 30))
}

// TestJoinToken: where it is required, nodes join with a token that was issued to them, and not without.
func TestJoinToken(t *testing.T) {
	all := sites(t, 3)
	log := new(lines)
	lone, stranger := all[0], all[1]
	lone.options.Expect, lone.options.Peers, lone.options.Policy.RequireJoinToken = 1, nil, true
	lone.start()
	lone.ready()
	issue := func(node string, lasts time.Duration) string {
		token, _, err := lone.node.SignJoinToken(node, lasts)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	foreign := startAll(t, 1)[0]
	other, _, err := foreign.node.SignJoinToken("lyon", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stranger.options.Expect, stranger.options.Peers = 3, []string{lone.listen}
	stranger.options.Log = hclog.New(&hclog.LoggerOptions{Output: log, IndependentLevels: true})
	for _, c := range []struct{ token, why string }{
		{"", "has no join token"},
		{"licet", "is not one of this cluster"},
		{other, "is not one of this cluster"},
		{issue("paris", time.Hour), "with the join token of node paris"},
		{issue("lyon", -time.Minute), "ended 1m"},
	} {
		stranger.options.JoinToken = c.token
		stranger.start()
		eventually(t, "it is refused: "+c.why, func() error {
			if len(log.with("forming", c.why)) == 0 {
				return errors.New("it does not say so")
			}
			return nil
		})
		stranger.stop()
	}
	if _, err := memberOf(t, lone, stranger); err == nil {
		t.Fatal("it is a member")
	}
	stranger.options.JoinToken = issue("lyon", time.Hour)
	stranger.start()
	eventually(t, "it joins with its token", stranger.voter)
	if _, _, err := lone.node.SignJoinToken("lyon", time.Hour); codeOf(err) != cluster.MemberRefused {
		t.Errorf("a token for a member: %v", err)
	}
	if len(log.with(stranger.options.JoinToken)) > 0 {
		t.Error("the token stands in the log")
	}
}

// D3: a follower's wrong clock is seen on all nodes, before it ever leads, and is right again once it is set.
func TestD3FollowersWrongClockIsSeen(t *testing.T) {
	list := sites(t, 3)
	wrong := new(wrongClock)
	list[2].options.Clock = wrong
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	order := followers(t, list)
	if order[2] == list[2] {
		if err := list[2].node.Transfer(t.Context(), list[0].options.ID, byOperator); err != nil {
			t.Fatal(err)
		}
		order = followers(t, list)
	}
	leader := order[2]
	wrong.ahead.Store(int64(time.Minute))
	eventually(t, "leader and follower know", func() error {
		own, leaders := list[2].node.Status().Clock, leader.node.Status().Clock
		if codeOf(own.Fault) != cluster.ClockSkew || leaders.Fault != nil {
			return fmt.Errorf("the follower says %w, the leader %w", own.Fault, leaders.Fault)
		}
		node, ahead := leaders.Worst()
		if node != list[2].options.ID || (ahead-time.Minute).Abs() > 5*time.Second || leaders.Limit != 5*time.Second {
			return fmt.Errorf("the leader compared %+v", leaders)
		}
		return nil
	})
	list[2].propose(putContract(t, 30))
	near(t, list[2])
	wrong.ahead.Store(0)
	eventually(t, "its clock is believed again", func() error { return list[2].node.Status().Clock.Fault })
}
