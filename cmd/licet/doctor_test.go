package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/cluster"
)

// Each thing that can be wrong with a cluster has a line of its own with what to do, and decides the exit code.
func TestDoctorOfACluster(t *testing.T) {
	well := `{"leader":"lyon","members":[{"id":"lyon","address":"a:1","voter":true,"leader":true,"healthy":true,"version":"1","clock_offset_ms":0},` +
		`{"id":"paris","address":"b:1","voter":true,"leader":false,"healthy":true,"version":"1","clock_offset_ms":4},` +
		`{"id":"nice","address":"c:1","voter":true,"leader":false,"healthy":true,"version":"1","clock_offset_ms":-3}]}`
	for _, tt := range []struct {
		name    string
		status  func(*apiv1.NodeStatus)
		members string
		code    int
		want    []string
	}{
		{"all is well", func(*apiv1.NodeStatus) {}, well, exitOK, []string{
			"ok    cluster       1 of 1 nodes answered; lyon leads.\n", "ok    node          lyon is ready, leader\n", "ok    members       all 3 are there\n",
			"ok    quorum        3 voters are well; 1 may fail\n", "ok    clocks        3 members within 7 ms of each other\n", "ok    versions      all members run 1\n",
			"6 checks: 6 ok, 0 warnings, 0 failed\n",
		}},
		{"one is missing", func(*apiv1.NodeStatus) {}, strings.Replace(well, `"healthy":true,"version":"1","clock_offset_ms":4`, `"healthy":false`, 1), exitOK, []string{
			"warn  members       member paris does not answer the leader\n      next: Start it, or remove it with `licet cluster remove paris`", "warn  quorum        2 of 3 voters are well", "2 warnings, 0 failed",
		}},
		{"a clock is off", func(*apiv1.NodeStatus) {}, strings.Replace(well, `offset_ms":4`, `offset_ms":1400`, 1), exitOK, []string{"warn  clocks        paris's clock is +1.4 s"}},
		{"versions differ", func(*apiv1.NodeStatus) {}, strings.Replace(well, `"version":"1"`, `"version":"2"`, 1), exitOK, []string{"warn  versions      the members run 1, 2\n"}},
		{"the disk is nearly full", func(s *apiv1.NodeStatus) { s.Disk = &apiv1.DiskSpace{FreeBytes: 1, SizeBytes: 1 << 40} }, well, exitOK, []string{"warn  node          lyon has 1 B of disk left"}},
		{"nobody leads", func(s *apiv1.NodeStatus) { s.Role, s.Leader, s.Ready = "candidate", "", false }, well, exitInternal, []string{
			"fail  cluster       1 of 1 nodes answered; no leader is known.\n      next: Start more nodes", "warn  members", "licet: 1 of", "next: Do what stands below each line that says fail",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := statusOf("lyon", "leader", "lyon", 5000, "a")
			tt.status(&s)
			f := newFake(t, 200, "")
			f.Config.Handler = pagesOf(map[string]string{"/v1/status": encoded(t, s), "/v1/cluster/members": tt.members})
			got := run(t, at(f.Server), "doctor")
			if got.code != tt.code {
				t.Errorf("exit %d, want %d: %s", got.code, tt.code, got.err)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.out+got.err, want) {
					t.Errorf("%q is not in\n%s%s", want, got.out, got.err)
				}
			}
		})
	}
}

// Contracts that go on although their vendor key was revoked are warned of, each by its id; those that have ended are not.
func TestDoctorOfARevokedVendorKey(t *testing.T) {
	contract := func(id string, revoked, ended bool) apiv1.Contract {
		return apiv1.Contract{ID: id, VendorKey: "9f86d081884c7d65", VendorKeyRevoked: revoked, Ended: ended}
	}
	f := newFake(t, 200, "")
	f.Config.Handler = pagesOf(map[string]string{
		"/v1/status": encoded(t, statusOf("lyon", "leader", "lyon", 5000, "a")), "/v1/cluster/members": `{"leader":"lyon","members":[]}`,
		"/v1/contracts": encoded(t, apiv1.ContractList{
			Contracts: []apiv1.Contract{contract("acme", true, false), contract("globex", false, false), contract("initech", true, true)}, Next: "initech",
		}),
		"/v1/contracts?after=initech": encoded(t, apiv1.ContractList{Contracts: []apiv1.Contract{contract("umbrella", true, false)}}),
	})
	got := run(t, at(f.Server), "doctor")
	for _, id := range []string{"acme", "umbrella"} {
		want := "warn  contracts     contract " + id + " is signed by vendor key 9f86d081884c7d65, which was revoked\n      next: Look whether the vendor knows the contract"
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is not in\n%s", want, got.out)
		}
	}
	if strings.Count(got.out, "warn  contracts") != 2 {
		t.Errorf("others are warned of:\n%s", got.out)
	}
}

func TestDoctorWithoutACluster(t *testing.T) {
	got := run(t, []string{"LICET_ENDPOINTS=http://127.0.0.1:1"}, "doctor", "-o", "json")
	var out struct{ Checks []checked }
	if err := json.Unmarshal([]byte(got.out), &out); err != nil || got.code != exitInternal || len(out.Checks) < 2 {
		t.Fatalf("%v, %+v", err, got)
	}
	if c := out.Checks[0]; c.Result != failed || c.Check != "cluster" || c.Detail != "No node answered." || c.Next == "" {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(got.err, `"code":"unhealthy"`) {
		t.Errorf("%s", got.err)
	}
}

func TestDoctorOfABadConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "licet.yaml")
	if err := os.WriteFile(file, []byte("node:\n  id: LYON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, []string{"LICET_ENDPOINTS=http://127.0.0.1:1"}, "doctor", "--config", file)
	if got.code != exitInternal || !strings.HasPrefix(got.out, "fail  config        ") || !strings.Contains(got.out, "node.id") {
		t.Errorf("%+v", got)
	}
}

// The disk is measured where the directory will be, and nothing is left there.
func TestDoctorMeasuresTheDisk(t *testing.T) {
	dir := t.TempDir()
	d := new(doctor)
	d.examineDisk(filepath.Join(dir, "not", "there", "yet"))
	if len(d.Checks) != 2 || d.Checks[0].Check != "space" || d.Checks[1].Check != "disk" || d.Checks[1].Result == failed && !strings.Contains(d.Checks[1].Detail, "takes") {
		t.Errorf("%+v", d.Checks)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d = new(doctor)
	d.examineDisk(file)
	if d.count(failed) != 1 || !strings.Contains(d.Checks[len(d.Checks)-1].Detail, "is no directory") {
		t.Errorf("%+v", d.Checks)
	}
	d = new(doctor)
	d.examineSpace(dir, cluster.Disk{Free: 1 << 20, Size: 1 << 40})
	d.examineSpace(dir, cluster.Disk{Free: 2 << 30, Size: 1 << 40})
	d.examineSpace(dir, cluster.Disk{Free: 1 << 39, Size: 1 << 40})
	if d.Checks[0].Result != failed || d.Checks[1].Result != warned || d.Checks[2].Result != fine {
		t.Errorf("%+v", d.Checks)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 999 * time.Millisecond: "999 ms", time.Second: "1.0 s", 119 * time.Second: "119.0 s", 2 * time.Minute: "2 minutes", 3 * time.Hour: "3 hours", 47 * time.Hour: "47 hours", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1.0 KiB", 3 << 29: "1.5 GiB", 1 << 40: "1.0 TiB"} {
		if got := amountOf(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
