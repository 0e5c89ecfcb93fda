package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// produced counts what the suite's exchanges were answered: operation, status and code.
var produced = struct {
	sync.Mutex
	answers map[string]bool
}{answers: make(map[string]bool)}

func answerName(operation string, status int, code string) string {
	return fmt.Sprintf("%s %d %s", operation, status, code)
}

// covered records an answer, and asserts that the operation lists its code.
func covered(op *openapi3.Operation, a *reply) {
	a.t.Helper()
	code := string(a.code())
	if code != "" && a.t.Name() != newerCodeTest && !slices.Contains(problemsOf(op)[strconv.Itoa(a.status)], code) {
		// 405 belongs to no operation.
		a.t.Fatalf("%s: %s does not list problem %d %s", a, op.OperationID, a.status, code)
	}
	produced.Lock()
	defer produced.Unlock()
	produced.answers[answerName(op.OperationID, a.status, code)] = true
}

// problemsOf is an operation's x-problems.
func problemsOf(op *openapi3.Operation) map[string][]string {
	text, err := json.Marshal(op.Extensions["x-problems"])
	if err != nil {
		panic(err)
	}
	var problems map[string][]string
	if err := json.Unmarshal(text, &problems); err != nil {
		panic(err)
	}
	return problems
}

// documented are all answers that the document describes.
func documented() []string {
	var list []string
	for _, op := range operations() {
		for status := range op.Responses.Map() {
			if status[0] < '4' {
				n, _ := strconv.Atoi(status)
				list = append(list, answerName(op.OperationID, n, ""))
			}
		}
		for status, codes := range problemsOf(op.Operation) {
			n, _ := strconv.Atoi(status)
			for _, code := range codes {
				list = append(list, answerName(op.OperationID, n, code))
			}
		}
	}
	slices.Sort(list)
	return list
}

// neverProduced lists documented answers that no test can produce, with the reason.
var neverProduced = map[string]string{
	"getHealth 500 internal":   "it calls nothing that could fail",
	"getDocument 500 internal": "it calls nothing that could fail",
	"getProfile 500 internal":  "it writes into memory",
}

// TestMain asserts after a full run that the suite produced every documented
// answer: what nothing produces is not tested, or not true.
func TestMain(m *testing.M) {
	status := m.Run()
	partial := false
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz", "test.bench"} {
		if x := flag.Lookup(name); x != nil && x.Value.String() != "" {
			partial = true
		}
	}
	if status == 0 && !partial {
		for _, missing := range neverSeen() {
			fmt.Fprintln(os.Stderr, "FAIL:", missing)
			status = 1
		}
	}
	os.Exit(status)
}

func neverSeen() []string {
	var missing []string
	all := documented()
	for _, answer := range all {
		_, excused := neverProduced[answer]
		switch seen := produced.answers[answer]; {
		case !seen && !excused:
			missing = append(missing, "the document promises, but no test produced: "+answer)
		case seen && excused:
			missing = append(missing, "neverProduced lists what a test produced: "+answer)
		}
	}
	for _, answer := range slices.Sorted(maps.Keys(neverProduced)) {
		if !slices.Contains(all, answer) {
			missing = append(missing, "neverProduced lists what the document does not: "+answer)
		}
	}
	return missing
}
