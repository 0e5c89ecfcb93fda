package api_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/fsmpb"
)

// nodeCodes are the codes that nodes answer.
var nodeCodes = []string{
	"no_leader", "overloaded", "clock_skew", "not_ready", "shutting_down", "outcome_unknown", "index_timeout", "timeout",
	"member_not_found", "member_refused", "gossip_plain", "rotation_incomplete", "unsupported",
	"signing_key_limit_reached",
	"leader_only", "wrong_cluster", "backup_invalid", "storage_failed",
}

// Every error of a node that an operation documents reaches the caller as it is.
func TestNodeErrors(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		if op.OperationID == "getProfile" {
			t.Skip("it does not ask the node")
		}
		for status, codes := range problemsOf(op.Operation) {
			for _, code := range codes {
				if !slices.Contains(nodeCodes, code) {
					continue
				}
				f.node.fail = fmt.Errorf("propose: %w", codedError{code: code, text: "the queue holds 4096 of 4096", after: 1500 * time.Millisecond})
				a := f.do(sample)
				if p := a.refused(apiv1.Code(code)); p.Next != "Do something." || p.Detail != "The queue holds 4096 of 4096." {
					t.Errorf("%s: %+v", code, p)
				}
				if after := a.header.Get("Retry-After"); (status == "503") != (after == "2") {
					t.Errorf("%s: Retry-After is %q", code, after)
				}
			}
		}
	})
}

// What no error says is a fault: 500, with the reason in the log only.
func TestNodeFaults(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		f.node.fail, f.node.calls = errors.New("disk secret"), nil
		a := f.do(sample)
		switch {
		case a.status < 300:
			if len(f.node.calls) > 0 && f.node.calls[len(f.node.calls)-1] == "propose" {
				t.Errorf("%s: status %d", a, a.status)
			}
		case op.OperationID == "getReadiness":
			a.refused(apiv1.CodeNotReady)
		default:
			a.refused(apiv1.CodeInternal)
			if !strings.Contains(f.log.String(), "disk secret") || !strings.Contains(f.log.String(), a.header.Get("Licet-Request-Id")) {
				t.Error("the log does not have the reason under the request id")
			}
		}
	})
}

// A panic is answered 500 once, and logged with its stack.
func TestPanics(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		if slices.Contains([]string{"getHealth", "getDocument", "getProfile"}, op.OperationID) {
			t.Skip("it does not ask the node")
		}
		f.node.panics = true
		f.do(sample).refused(apiv1.CodeInternal)
		log := f.log.String()
		if strings.Count(log, "a handler panicked") != 1 || !strings.Contains(log, "secret") || !strings.Contains(log, "goroutine") {
			t.Errorf("log: %s", log)
		}
		f.node.panics = false
		if a := f.do(sample); a.status >= 300 {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
	})
}

// E2: a write that time runs out on is of unknown outcome, a read is just late.
func TestDeadlines(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		codes := problemsOf(op.Operation)["504"]
		if codes == nil || op.OperationID == "getProfile" {
			t.Skip("it does not wait")
		}
		want := apiv1.CodeTimeout
		if slices.Contains(codes, "outcome_unknown") {
			want = apiv1.CodeOutcomeUnknown
		}
		// Reads of what never changes come before the write, and a backup without the private key has none.
		if slices.Contains([]string{"putContract", "createInstance", "resizeInstance", "getBackup"}, op.OperationID) {
			want = apiv1.CodeTimeout
		}
		f.node.hang = true
		began := time.Now()
		f.do(sample.with("Licet-Timeout-Ms", "20")).refused(want)
		if took := time.Since(began); took > 900*time.Millisecond {
			t.Errorf("it took %s, not the caller's 20 ms", took)
		}
	})
}

// The caller's deadline never extends the server's.
func TestDeadlineIsBounded(t *testing.T) {
	f := newFixture(t)
	f.node.hang = true
	began := time.Now()
	f.do(request{method: "GET", path: "/v1/settings"}.with("Licet-Timeout-Ms", "3600000")).refused(apiv1.CodeTimeout)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A cluster without an identity answers so, to reads and to writes.
func TestNotInitialised(t *testing.T) {
	_, all := newSampleFixture(t)
	for _, op := range operations() {
		if !slices.Contains(problemsOf(op.Operation)["503"], "not_initialised") {
			continue
		}
		f := newBareFixture(t)
		if op.OperationID == "getReadiness" {
			f.node.fail = codedError{code: "not_initialised", text: "no identity yet"}
		}
		f.do(all[op.OperationID]).refused(apiv1.CodeNotInitialised)
	}
}

// Refusals that rules give to any write.
func TestRefusalsOfEveryWrite(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		if !slices.Contains(problemsOf(op.Operation)["422"], "idempotency_mismatch") {
			t.Skip("no write of the state")
		}
		// E1: the same id with another request.
		f.do(request{method: "PATCH", path: "/v1/settings", body: `{"request_limit":4000}`}.with("Idempotency-Key", "used")).want(200)
		p := f.do(sample.with("Idempotency-Key", "used")).refused(apiv1.CodeIdempotencyMismatch)
		if p.Facts["request_id"] != apiv1.Text("used") {
			t.Errorf("facts %v", p.Facts)
		}
		f.node.refuse = &fsmpb.Refusal{Code: "superseded", Facts: []*fsmpb.Fact{
			{Name: "stamped", Value: &fsmpb.Fact_Number{Number: 3}}, {Name: "landed", Value: &fsmpb.Fact_Number{Number: 4}},
		}}
		if a := f.do(sample); a.refused(apiv1.CodeSuperseded).Facts["landed"] != apiv1.Number(4) || a.header.Get("Retry-After") != "1" {
			t.Errorf("superseded: %s", a.body)
		}
		// A node of another version may draw its bounds otherwise.
		f.node.refuse = &fsmpb.Refusal{Code: "invalid", Hint: "name: it is too long"}
		f.do(sample).refused(apiv1.CodeInvalid)
	})
}

const newerCodeTest = "TestNewerCode"

// A code of a newer node is passed on as a conflict, with its facts.
func TestNewerCode(t *testing.T) {
	f, all := newSampleFixture(t)
	f.node.refuse = &fsmpb.Refusal{Code: "from_the_future", Facts: []*fsmpb.Fact{{Name: "max", Value: &fsmpb.Fact_Number{Number: 5}}}}
	a := f.do(all["createInstance"]).want(409)
	if p := a.problem(); p.Code != "from_the_future" || p.Facts["max"] != apiv1.Number(5) || p.Title != "From the future" {
		t.Errorf("%+v", p)
	}
}

// Keys are signed after the write is done: a failure there must not read as one of the write (E2).
func TestSigningFails(t *testing.T) {
	f, all := newSampleFixture(t)
	f.node.signFail = errors.New("no key here")
	sample := all["createInstance"].with("Idempotency-Key", "once")
	a := f.do(sample)
	a.refused(apiv1.CodeOutcomeUnknown)
	if a.header.Get("Idempotency-Key") != "once" || a.header.Get("Location") != "" {
		t.Errorf("headers %v", a.header)
	}
	f.node.signFail = nil
	b := f.do(sample).want(201)
	if x := into[apiv1.Instance](b); x.Serial != 2 || x.Key == "" || b.header.Get("Licet-Repeated") != "true" {
		t.Errorf("the repeat: %s", b.body)
	}
}
