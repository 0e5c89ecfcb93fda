package api_test

import (
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// samples has one valid request for every operation, by its id; the generic
// tests vary it. They are answered well by a server from newSampleFixture.
var samples = map[string]request{
	"getHealth":          {method: "GET", path: "/healthz", anonymous: true},
	"getReadiness":       {method: "GET", path: "/readyz", anonymous: true},
	"getDocument":        {method: "GET", path: "/v1/openapi.yaml", anonymous: true},
	"getStatus":          {method: "GET", path: "/v1/status"},
	"listMembers":        {method: "GET", path: "/v1/cluster/members"},
	"removeMember":       {method: "DELETE", path: "/v1/cluster/members/bordeaux"},
	"transferLeadership": {method: "POST", path: "/v1/cluster/transfer", body: `{"to":"bordeaux"}`},
	"leaveCluster":       {method: "POST", path: "/v1/cluster/leave"},
	"getSettings":        {method: "GET", path: "/v1/settings"},
	"updateSettings":     {method: "PATCH", path: "/v1/settings", body: `{"request_ttl_seconds":7200,"request_limit":5000}`},
	"getKeys":            {method: "GET", path: "/v1/keys"},
	"listContracts":      {method: "GET", path: "/v1/contracts?after=aaa&limit=10"},
	"putContract":        {method: "POST", path: "/v1/contracts"},
	"getContract":        {method: "GET", path: "/v1/contracts/acme"},
	"listInstances":      {method: "GET", path: "/v1/instances?contract=acme&after=0&limit=10"},
	"createInstance":     {method: "POST", path: "/v1/instances", body: `{"contract":"acme","name":"paris","allocation":{"primary":5,"extranet":1}}`},
	"getInstance":        {method: "GET", path: "/v1/instances/1"},
	"resizeInstance":     {method: "PATCH", path: "/v1/instances/1", body: `{"allocation":{"primary":10}}`},
	"removeInstance":     {method: "DELETE", path: "/v1/instances/1"},
	"getInstanceKey":     {method: "GET", path: "/v1/instances/1/key"},
	"activate":           {method: "POST", path: "/v1/activations"},
}

// newSampleFixture serves contract acme with instance 1.
func newSampleFixture(t testing.TB) (*fixture, map[string]request) {
	t.Helper()
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30, "extranet": 5})
	key := into[apiv1.Instance](f.create("acme", "bordeaux", 15).want(201)).Key
	all := make(map[string]request, len(samples))
	for id, r := range samples {
		all[id] = r
	}
	all["putContract"] = request{method: "POST", path: "/v1/contracts", body: `{"document":"` + contractDoc(t, "other", 1, map[string]uint64{"primary": 3}) + `"}`}
	all["activate"] = request{method: "POST", path: "/v1/activations", body: `{"key":"` + key + `","active":{"primary":7}}`}
	return f, all
}

// eachSample runs a test for every operation against a server of its own.
func eachSample(t *testing.T, test func(t *testing.T, f *fixture, op operation, sample request)) {
	t.Helper()
	for _, op := range operations() {
		t.Run(op.OperationID, func(t *testing.T) {
			f, all := newSampleFixture(t)
			sample, ok := all[op.OperationID]
			if !ok {
				t.Fatal("the operation has no sample request")
			}
			test(t, f, op, sample)
		})
	}
}

func TestSamplesSucceed(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, _ operation, sample request) {
		if a := f.do(sample); a.status >= 300 {
			t.Fatalf("%s: status %d: %s", a, a.status, a.body)
		}
	})
}
