package main

import (
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// answers are what a node says, by verb; the golden files have what a person is shown.
const (
	contractAnswer = `{"id":"themis","revision":2,"customer":"ACME SARL","email":"licenses@acme.example","start":"2026-01-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z","grace_days":14,"ends":"2027-01-15T00:00:00Z","ended":false,"over_allocated":true,"areas":{"primary":{"max":20,"allocated":25,"free":0,"over":5},"extranet":{"max":10,"allocated":0,"free":10,"over":0}},"products":{"editor":{"model":"floating","quantity":10,"overdraft":2}},"vendor_key":"9f86d081884c7d65","document":"licet-contract-v1.x.y.z"}`
	instanceAnswer = `{"serial":1,"contract":"themis","name":"bordeaux","state":"over_allocation","areas":{"primary":{"allocation":10,"active":12,"must_remove":2},"extranet":{"allocation":5,"must_remove":0}},"key_revision":2,"key":"licet-key-v1.a.b.c","expiry":"2027-01-01T00:00:00Z","grace_days":14,"ends":"2027-01-15T00:00:00Z","created":"2026-09-01T08:01:00Z","activated":"2026-09-01T08:05:00Z","activated_revision":2}`
	membersAnswer  = `{"leader":"lyon","members":[{"id":"bordeaux","site":"bordeaux","address":"127.0.0.1:7101","http":"http://127.0.0.1:7001","version":"0.1.0","voter":true,"leader":false,"healthy":true,"last_contact_ms":12,"index":1742},{"id":"lyon","address":"127.0.0.1:7102","voter":true,"leader":true,"healthy":true,"last_contact_ms":0,"index":1742},{"id":"nice","address":"127.0.0.1:7104","voter":false,"leader":false,"healthy":false}]}`
	keysAnswer     = `{"cluster":"01J9ZQ4T3M8Y6V0R5W2K7C1XBN","vendor_keys":[{"id":"9f86d081884c7d65","pem":"-----BEGIN PUBLIC KEY-----\nVVVV\n-----END PUBLIC KEY-----\n"}],"signing_keys":[{"id":"881c57196f63382c","pem":"-----BEGIN PUBLIC KEY-----\nSSSS\n-----END PUBLIC KEY-----\n"}]}`
)

var goldens = []struct {
	name, args, answer, request string
	status                      int
	header                      map[string]string
}{
	{name: "contract-list", args: "contract list", answer: `{"contracts":[` + contractAnswer + `]}`, request: "GET /v1/contracts"},
	{name: "contract-show", args: "contract show themis", answer: contractAnswer, request: "GET /v1/contracts/themis"},
	{name: "contract-list-stale", args: "contract list --stale --min-index 7", answer: `{"contracts":[]}`, request: "GET /v1/contracts?consistency=stale&min_index=7", header: map[string]string{"Licet-Node": "lyon", "Licet-Age-Ms": "1748"}},
	{name: "instance-list", args: "instance list --contract themis", answer: `{"instances":[` + instanceAnswer + `]}`, request: "GET /v1/instances?contract=themis"},
	{name: "instance-show", args: "instance show 1", answer: instanceAnswer, request: "GET /v1/instances/1"},
	{name: "instance-create", args: "instance create themis bordeaux --allocate primary=10,extranet=5", answer: instanceAnswer, status: 201, request: "POST /v1/instances"},
	{name: "instance-create-dry-run", args: "instance create themis bordeaux --allocate primary=10 --dry-run", answer: instanceAnswer, request: "POST /v1/instances?dry_run=true", header: map[string]string{"Licet-Dry-Run": "true"}},
	{name: "instance-resize", args: "instance resize 1 --allocate primary=10 --request-id one", answer: instanceAnswer, request: "PATCH /v1/instances/1", header: map[string]string{"Licet-Repeated": "true"}},
	{name: "instance-remove", args: "instance remove 1", answer: strings.Replace(instanceAnswer, "over_allocation", "removed", 1), request: "DELETE /v1/instances/1"},
	{name: "instance-key", args: "instance key 1", answer: `{"serial":1,"revision":2,"key":"licet-key-v1.a.b.c"}`, request: "GET /v1/instances/1/key"},
	{name: "instance-activate", args: "instance activate --key licet-key-v1.a.b.c --active primary=12", answer: instanceAnswer, request: "POST /v1/activations"},
	{name: "cluster-members", args: "cluster members", answer: membersAnswer, request: "GET /v1/cluster/members"},
	{name: "cluster-transfer", args: "cluster transfer --to lyon", status: 204, request: "POST /v1/cluster/transfer"},
	{name: "cluster-remove", args: "cluster remove lyon", status: 204, request: "DELETE /v1/cluster/members/lyon"},
	{name: "settings-show", args: "settings show", answer: `{"request_ttl_seconds":3600,"request_limit":250000}`, request: "GET /v1/settings"},
	{name: "settings-set", args: "settings set request_limit=5000", answer: `{"request_ttl_seconds":3600,"request_limit":5000}`, request: "PATCH /v1/settings"},
	{name: "keys", args: "keys", answer: keysAnswer, request: "GET /v1/keys"},
}

func TestTables(t *testing.T) {
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			status := tt.status
			if status == 0 {
				status = 200
			}
			f := newFake(t, status, tt.answer)
			f.header = tt.header
			got := run(t, at(f.Server), strings.Fields(tt.args)...)
			text := "$ licet " + tt.args + "\n" + got.out + got.err
			file := filepath.Join("testdata", "golden", tt.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || text != string(want) || got.code != exitOK {
				t.Errorf("exit %d, %v\n%s\nwant\n%s", got.code, err, text, want)
			}
			asJSON := run(t, at(f.Server), append(strings.Fields(tt.args), "-o", "json")...)
			if exact := strings.TrimSpace(tt.answer); strings.TrimSuffix(asJSON.out, "\n") != exact || asJSON.err != "" || asJSON.code != exitOK {
				t.Errorf("as JSON: %+v", asJSON)
			}
			if f.asked[0] != tt.request {
				t.Errorf("asked %v, want %s", f.asked, tt.request)
			}
		})
	}
}

// A list of several pages is shown as one, also as JSON.
func TestPages(t *testing.T) {
	f := newFake(t, 200, "")
	f.Config.Handler = pagesOf(map[string]string{
		"/v1/instances":                           `{"instances":[{"serial":1},{"serial":2}],"next":2}`,
		"/v1/instances?after=2":                   `{"instances":[{"serial":5,"new_field":[1]}],"next":5}`,
		"/v1/instances?after=5":                   `{"instances":[]}`,
		"/v1/contracts":                           `{"contracts":[{"id":"a"}],"next":"a"}`,
		"/v1/contracts?after=a":                   `{"contracts":[{"id":"b"}],"next":"a"}`,
		"/v1/contracts?after=a&consistency=stale": `{}`,
	})
	got := run(t, at(f.Server), "instance", "list", "-o", "json")
	if want := `{"instances":[{"serial":1},{"serial":2},{"serial":5,"new_field":[1]}]}` + "\n"; got.out != want || got.code != exitOK {
		t.Errorf("%+v, want %s", got, want)
	}
	if got := run(t, at(f.Server), "contract", "list"); got.code != exitInternal || !strings.Contains(got.err, "leads back") {
		t.Errorf("%+v", got)
	}
}

func pagesOf(pages map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, pages[r.URL.RequestURI()])
	})
}
