package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

func statusOf(id, role, leader string, index uint64, digest string) apiv1.NodeStatus {
	s := apiv1.NodeStatus{ID: id, Site: id, Cluster: "C", Role: apiv1.Role(role), Leader: leader, Ready: true, Version: "0.1.0"}
	s.Consensus.Term, s.State.Index, s.State.Digest = 3, index, strings.Repeat(digest, 64)
	return s
}

func TestStatus(t *testing.T) {
	leader := statusOf("lyon", "leader", "lyon", 5000, "a")
	for _, tt := range []struct {
		name  string
		other func(*apiv1.NodeStatus)
		code  int
		want  []string
	}{
		{"all is well", func(*apiv1.NodeStatus) {}, exitOK, []string{"2 of 2 nodes answered; lyon leads.\n"}},
		{"not ready", func(s *apiv1.NodeStatus) { s.Ready, s.NotReady = false, "It restores a snapshot." }, exitOK, []string{"paris is not ready: It restores a snapshot."}},
		{"behind", func(s *apiv1.NodeStatus) { s.State.Index = 100 }, exitOK, []string{"paris is 4900 entries behind lyon"}},
		{"behind with applying", func(s *apiv1.NodeStatus) { s.Consensus.CommitIndex, s.Consensus.AppliedIndex = 7000, 5000 }, exitOK, []string{"paris has 2000 committed entries still to apply"}},
		{"late", func(s *apiv1.NodeStatus) { s.Consensus.LastContactMs = new(int64(4200)) }, exitOK, []string{"paris last heard of its leader 4.2 s ago"}},
		{"busy", func(s *apiv1.NodeStatus) { s.Queue = apiv1.Queue{Waiting: 3000, Limit: 4096} }, exitOK, []string{"paris has 3000 of at most 4096 writes waiting"}},
		{"nearly full", func(s *apiv1.NodeStatus) { s.Disk = &apiv1.DiskSpace{FreeBytes: 5 << 30, SizeBytes: 100 << 30} }, exitOK, []string{"paris has 5.0 GiB of disk left, 5 %"}},
		{"full in bytes", func(s *apiv1.NodeStatus) { s.Disk = &apiv1.DiskSpace{FreeBytes: 1 << 20, SizeBytes: 2 << 20} }, exitOK, []string{"paris has 1.0 MiB of disk left, 50 %"}},
		{"about to lose its certificate", func(s *apiv1.NodeStatus) { s.CertificateEnds = new(time.Now().Add(73 * time.Hour)) }, exitOK, []string{"paris's certificate towards other nodes ends in 3 days", "SIGHUP"}},
		{"without one for the API", func(s *apiv1.NodeStatus) { s.HTTPCertificateEnds = new(time.Now().Add(-73 * time.Hour)) }, exitOK, []string{"paris's API's certificate ended 3 days ago"}},
		{"well in all that", func(s *apiv1.NodeStatus) {
			s.Consensus.LastContactMs, s.CertificateEnds = new(int64(12)), new(time.Now().Add(1000*time.Hour))
			s.Disk, s.Clock = &apiv1.DiskSpace{FreeBytes: 50 << 30, SizeBytes: 100 << 30}, &apiv1.ClockStatus{Believed: true, LimitMs: 5000}
		}, exitOK, nil},
		{"led by another", func(s *apiv1.NodeStatus) { s.Leader = "nice" }, exitOK, []string{"lyon follows lyon (term 3), paris follows nice (term 3)"}},
		{"another version", func(s *apiv1.NodeStatus) { s.Version = "0.2.0" }, exitOK, []string{"paris runs version 0.2.0, lyon version 0.1.0", "Finish the upgrade"}},
		{
			"another digest", func(s *apiv1.NodeStatus) { s.State.Digest = strings.Repeat("b", 64) }, exitInternal,
			[]string{"lyon and paris differ at index 5000 (aaaaaaaaaaaa, bbbbbbbbbbbb)", "licet: The nodes contradict each other."},
		},
		{
			"wrong clock", func(s *apiv1.NodeStatus) { s.Clock = &apiv1.ClockStatus{Reason: "This node's clock differs."} }, exitOK,
			[]string{"paris stamps no writes: This node's clock differs.", "next: Set its clock", "chronyc tracking", "not believed"},
		},
		{"right clock", func(s *apiv1.NodeStatus) { s.Clock = &apiv1.ClockStatus{Believed: true} }, exitOK, nil},
		{"another digest at another index", func(s *apiv1.NodeStatus) { s.State.Digest, s.State.Index = "b", 4999 }, exitOK, nil},
		{"another cluster", func(s *apiv1.NodeStatus) { s.Cluster = "D" }, exitInternal, []string{"paris belongs to cluster D, lyon to C"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := statusOf("paris", "follower", "lyon", 5000, "a")
			tt.other(&other)
			got := runStatus(t, nil, leader, other)
			if got.code != tt.code {
				t.Errorf("exit %d, want %d: %s%s", got.code, tt.code, got.out, got.err)
			}
			for _, part := range tt.want {
				if !strings.Contains(got.out+got.err, part) {
					t.Errorf("%q is not in\n%s%s", part, got.out, got.err)
				}
			}
			if tt.want == nil && strings.Contains(got.out, "next:") {
				t.Errorf("something is wrong: %s", got.out)
			}
		})
	}
}

func TestStatusWithoutALeader(t *testing.T) {
	got := runStatus(t, []string{"-o", "json"}, statusOf("paris", "candidate", "", 7, "a"), statusOf("nice", "candidate", "", 7, "a"))
	var out struct {
		Nodes []struct {
			Endpoint string
			Status   apiv1.NodeStatus
		}
	}
	if err := json.Unmarshal([]byte(got.out), &out); err != nil || got.code != exitUnreachable || len(out.Nodes) != 2 || out.Nodes[1].Status.ID != "nice" {
		t.Errorf("%v, %+v", err, got)
	}
	if !strings.HasPrefix(got.err, `{"code":"no_leader",`) {
		t.Errorf("%s", got.err)
	}
}

// --all asks the members that no endpoint stands for, and each node once.
func TestStatusOfAll(t *testing.T) {
	third := newFake(t, 200, encoded(t, statusOf("nice", "follower", "lyon", 5000, "a")))
	members := fmt.Sprintf(`{"members":[{"id":"lyon","http":"http://elsewhere:1","healthy":true},{"id":"nice","http":%q,"healthy":true},{"id":"gone","healthy":false}]}`, third.URL)
	leader := newFake(t, 200, encoded(t, statusOf("lyon", "leader", "lyon", 5000, "a")))
	leader.Config.Handler = pagesOf(map[string]string{"/v1/status": leader.body, "/v1/cluster/members": members})
	for _, all := range []bool{false, true} {
		args := []string{"status"}
		if all {
			args = append(args, "--all")
		}
		got := run(t, at(leader.Server), args...)
		if strings.Contains(got.out, third.URL) != all || strings.Contains(got.out, "elsewhere") || got.code != exitOK || !strings.Contains(got.out, "licet cluster remove gone") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// The members tell who is missed, how many more may fail, and whose clock is off.
func TestStatusOfMembers(t *testing.T) {
	members := `{"leader":"lyon","members":[{"id":"lyon","address":"a:1","voter":true,"leader":true,"healthy":true,"version":"1","clock_offset_ms":0},` +
		`{"id":"paris","address":"b:1","voter":true,"leader":false,"healthy":true,"version":"2","clock_offset_ms":-1200},` +
		`{"id":"nice","address":"c:1","voter":true,"leader":false,"healthy":false}]}`
	leader := newFake(t, 200, encoded(t, statusOf("lyon", "leader", "lyon", 5000, "a")))
	leader.Config.Handler = pagesOf(map[string]string{"/v1/status": leader.body, "/v1/cluster/members": members})
	for _, args := range [][]string{{"status"}, {"cluster", "members"}} {
		got := run(t, at(leader.Server), args...)
		for _, want := range []string{"licet cluster remove nice", "2 of 3 voters are well: if one more fails", "paris's clock is -1.2 s from", "5.0 s is allowed"} {
			if !strings.Contains(got.out, want) || got.code != exitOK {
				t.Errorf("%v: %q is not in\n%+v", args, want, got)
			}
		}
	}
	if got := run(t, at(leader.Server), "cluster", "members"); !strings.Contains(got.out, "the members run 2 versions") {
		t.Errorf("%+v", got)
	}
}

func encoded(t *testing.T, s any) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func runStatus(t *testing.T, args []string, nodes ...apiv1.NodeStatus) ran {
	t.Helper()
	var endpoints []string
	for _, s := range nodes {
		f := newFake(t, 200, "")
		f.Config.Handler = pagesOf(map[string]string{"/v1/status": encoded(t, s), "/v1/cluster/members": `{"members":[]}`})
		endpoints = append(endpoints, f.URL)
	}
	return run(t, []string{"LICET_ENDPOINTS=" + strings.Join(endpoints, ",")}, append([]string{"status"}, args...)...)
}

// Nodes that do not take the token are not called silent.
func TestStatusWithAnotherToken(t *testing.T) {
	f := newFake(t, 401, `{"code":"unauthorized","detail":"The bearer token is not one that this node knows."}`)
	got := run(t, []string{"LICET_ENDPOINTS=" + f.URL}, "status", "--all")
	if said := got.out + got.err; got.code != exitUsage || !strings.Contains(said, "All nodes turned the request away.") ||
		!strings.Contains(said, "--token-file") || strings.Contains(said, "No node answered") || strings.Contains(said, "Start the nodes") {
		t.Errorf("%+v", got)
	}
}
