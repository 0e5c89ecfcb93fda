package main

import (
	"cmp"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// answers are what a node says, by verb; the golden files have what a person is shown.
const (
	contractAnswer = `{"id":"themis","revision":2,"customer":"ACME SARL","email":"licenses@acme.example","start":"2026-01-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z","grace_days":14,"ends":"2027-01-15T00:00:00Z","ended":false,"over_allocated":true,"areas":{"primary":{"max":20,"allocated":25,"free":0,"over":5},"extranet":{"max":10,"allocated":0,"free":10,"over":0}},"products":{"editor":{"model":"floating","quantity":10,"overdraft":2}},"vendor_key":"9f86d081884c7d65","document":"licet-contract-v1.x.y.z"}`
	instanceAnswer = `{"serial":1,"contract":"themis","name":"bordeaux","state":"over_allocation","areas":{"primary":{"allocation":10,"active":12,"must_remove":2},"extranet":{"allocation":5,"must_remove":0}},"key_revision":2,"key":"licet-key-v1.a.b.c","expiry":"2027-01-01T00:00:00Z","grace_days":14,"ends":"2027-01-15T00:00:00Z","created":"2026-09-01T08:01:00Z","activated":"2026-09-01T08:05:00Z","activated_revision":2}`
	membersAnswer  = `{"leader":"lyon","members":[{"id":"bordeaux","site":"bordeaux","address":"127.0.0.1:7101","http":"http://127.0.0.1:7001","version":"0.1.0","voter":true,"leader":false,"healthy":true,"last_contact_ms":12,"index":1742},{"id":"lyon","address":"127.0.0.1:7102","voter":true,"leader":true,"healthy":true,"last_contact_ms":0,"index":1742},{"id":"nice","address":"127.0.0.1:7104","voter":false,"leader":false,"healthy":false},{"id":"quimper","address":"127.0.0.1:7105","voter":false,"replica":true,"leader":false,"healthy":true,"last_contact_ms":9,"index":1742}]}`
	auditAnswer    = `{"seq":42,"index":1742,"time":"2026-06-01T12:00:00Z","actor":"operator","request_id":"01J9ZQ4T3M8Y6V0R5W2K7C1XBN","kind":"create_instance","subject":{"contract":"acme-2026","name":"lyon","allocation":[{"name":"primary","n":"5"}]},"outcome":"contract_exhausted","detail":"Contract acme-2026, area primary: 5 asked, 0 free (30 of 30 allocated).","next":"Ask for at most 0, reduce or remove another instance, or ask the vendor for more.","facts":{"allocated":30,"area":"primary","asked":5,"contract":"acme-2026","free":0,"max":30},"chain":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","source":"file"}`
	keysAnswer     = `{"cluster":"01J9ZQ4T3M8Y6V0R5W2K7C1XBN","vendor_keys":[{"id":"9f86d081884c7d65","pem":"-----BEGIN PUBLIC KEY-----\nVVVV\n-----END PUBLIC KEY-----\n"}],"signing_keys":[{"id":"881c57196f63382c","pem":"-----BEGIN PUBLIC KEY-----\nSSSS\n-----END PUBLIC KEY-----\n"}]}`
	poolAnswer     = `{"definition":{"name":"design","contract":"themis","size":10,"valid_until":"2026-12-01T00:00:00Z","products":{"cad":{"cap":3,"max_checkout_days":7,"low_water":1,"restriction":{"include_domains":["acme.example"]},"reservations":[{"name":"managers","seats":1,"users":["chief@acme.example"],"groups":["managers"]}]},"viewer":{}},"restriction":{"exclude_domains":["x.example"],"include_emails":["a@x.example"]},"ttl_min":30,"ttl_max":86400,"ttl_default":300,"queue_limit":100,"offer_ttl":60,"ticket_ttl":120},"revision":1742,"state":"active","created":"2026-09-01T08:00:00Z","ends":"2026-12-01T00:00:00Z","use":{"used":4,"offered":1,"waiting":2,"products":{"cad":{"used":3,"offered":1,"borrowed":1,"waiting":2},"viewer":{"used":1,"offered":0,"borrowed":0,"waiting":0}}}}`
	changeAnswer   = `{"pool":` + poolAnswer + `,"deleted":false,"tickets":[3,4],"tickets_total":2,"leases":[7],"leases_total":1,"users":["bob@x.example"],"users_total":1}`
	leaseAnswer    = `{"id":42,"pool":"design","product":"cad","user":"ann@acme.example","client":"ws-17","count":1,"reservation":"managers","reserved":1,"ttl":300,"since":"2026-09-01T08:00:00Z","ends":"2026-09-01T08:05:00Z","borrow":false,"lingering":false,"renewals":2}`
	ticketAnswer   = `{"id":7,"pool":"design","product":"cad","user":"bob@acme.example","client":"ws-18","count":1,"state":"waiting","position":2,"ahead":1,"estimated_wait":80,"since":"2026-09-01T08:00:00Z","ends":"2026-09-01T08:02:00Z"}`
	explainAnswer  = `{"granted":false,"conditions":[{"name":"pool","outcome":"holds"},{"name":"active","outcome":"fails","code":"pool_inactive","detail":"Pool design is not active.","facts":{"pool":"design"}},{"name":"seats","outcome":"not_checked"}]}`
	projectAnswer  = `{"pool":"tokens","project":"the bridge","product":"team","connections":4,"since":"2026-09-01T08:00:00Z"}`
)

const tokenAnswer = `{"id":7,"name":"farm","role":"client","pools":["design"],"user":"ann","created":"2026-09-01T08:00:00Z","expires":"2027-01-01T00:00:00Z","state":"expired"}`

// handleVariable lets verbs that need a handle have one.
const handleVariable = "LICET_HANDLE=secret"

// golden is a verb, what a node answers to it, and what it must ask.
type golden struct {
	name, args, answer, request string
	status                      int
	header                      map[string]string
	// kind is the media type of the answer; empty means JSON.
	kind string
}

var goldens = []golden{
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
	{name: "gossip-key-show", args: "gossip key show", answer: `{"members":[{"id":"bordeaux","answers":true,"key":"5f70bf18a086","other":"9f86d081884c","generation":4},{"id":"lyon","answers":true,"key":"5f70bf18a086","generation":3},{"id":"paris","answers":false}]}`, request: "GET /v1/cluster/gossip-key"},
	{name: "gossip-key-rotate", args: "gossip key rotate", answer: `{"key":"9f86d081884c","generation":6,"reached":["bordeaux","lyon"],"missed":[{"id":"paris","reason":"connection refused"}]}`, request: "POST /v1/cluster/gossip-key/rotate"},
	{name: "signing-key-show", args: "cluster signing-key show", answer: `{"keys":[{"id":"6a3803d5f059902a","state":"current"},{"id":"881c57196f63382c","state":"former"}],"members":[{"id":"lyon","answers":true,"current":true},{"id":"nice","answers":true,"current":false},{"id":"paris","answers":false,"current":false}]}`, request: "GET /v1/cluster/signing-key"},
	{name: "signing-key-rotate", args: "cluster signing-key rotate", answer: `{"key":"6a3803d5f059902a","reached":["lyon"],"missed":[{"id":"paris","reason":"connection refused"}]}`, request: "POST /v1/cluster/signing-key/rotate"},
	{name: "signing-key-retire", args: "cluster signing-key retire 881c57196f63382c", answer: `{"id":"881c57196f63382c","state":"retired"}`, request: "DELETE /v1/cluster/signing-key/881c57196f63382c"},
	{name: "vendor-key-list", args: "vendor-key list", answer: `{"vendor_keys":[{"id":"9f86d081884c7d65","pem":"-----BEGIN PUBLIC KEY-----\nVVVV\n-----END PUBLIC KEY-----\n","state":"revoked","revoked":"2026-09-02T08:00:00Z","revoked_by":"token-7","revoked_with":"9f86d081884c7d65"},{"id":"881c57196f63382c","pem":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n","state":"in_force","name":"desk","added":"2026-09-01T08:00:00Z","added_by":"token-7","added_with":"9f86d081884c7d65"}]}`, request: "GET /v1/vendor-keys"},
	{name: "cluster-transfer", args: "cluster transfer --to lyon", status: 204, request: "POST /v1/cluster/transfer"},
	{name: "cluster-remove", args: "cluster remove lyon", status: 204, request: "DELETE /v1/cluster/members/lyon"},
	{name: "cluster-join-token", args: "cluster join-token quimper --ttl 5m", answer: `{"node":"quimper","token":"licet-join-v1.a.b.c","expires":"2026-09-01T09:00:00Z"}`, request: "POST /v1/cluster/join-tokens"},
	{name: "audit-list", args: "audit list --before 43 --limit 1 --outcome contract_exhausted", answer: `{"rows":[` + auditAnswer + `],"last":90,"chain":"00","oldest":50,"missing":[{"from":43,"to":44}],"previous":42,"next":42}`, request: "GET /v1/audit?before=43&limit=1&outcome=contract_exhausted", header: map[string]string{"Licet-Node": "lyon"}},
	{name: "audit-show", args: "audit show 42", answer: auditAnswer, request: "GET /v1/audit/42"},
	{name: "token-bootstrap", args: "token bootstrap --name first", answer: strings.Replace(tokenAnswer, `"state"`, `"token":"licet_7_secret","state"`, 1), status: 201, request: "POST /v1/tokens/bootstrap"},
	{name: "token-create", args: "token create farm --role client --pools design --user ann --expires 2026-12-31", answer: strings.Replace(tokenAnswer, `"state"`, `"token":"licet_7_secret","state"`, 1), status: 201, request: "POST /v1/tokens"},
	{name: "token-create-dry-run", args: "token create farm --role site-operator --site lyon --dry-run", answer: tokenAnswer, request: "POST /v1/tokens?dry_run=true", header: map[string]string{"Licet-Dry-Run": "true"}},
	{name: "token-list", args: "token list", answer: `{"tokens":[{"id":1,"name":"first","role":"operator","created":"2026-09-01T08:00:00Z","used":"2026-09-02T08:00:00Z","state":"active"},` + tokenAnswer + `]}`, request: "GET /v1/tokens"},
	{name: "token-show", args: "token show 7", answer: tokenAnswer, request: "GET /v1/tokens/7"},
	{name: "token-self", args: "token self", answer: `{"kind":"token","actor":"token-7","role":"client","pools":["design"],"user":"ann","token":` + tokenAnswer + `}`, request: "GET /v1/tokens/self"},
	{name: "token-revoke", args: "token revoke 7", answer: tokenAnswer, request: "DELETE /v1/tokens/7"},
	{name: "settings-show", args: "settings show", answer: `{"request_ttl_seconds":3600,"request_limit":250000,"request_bytes":268435456,"usage_hours":744,"usage_limit":250000}`, request: "GET /v1/settings"},
	{name: "settings-set", args: "settings set request_limit=5000", answer: `{"request_ttl_seconds":3600,"request_limit":5000,"request_bytes":268435456,"usage_hours":744,"usage_limit":250000}`, request: "PATCH /v1/settings"},
	{name: "pool-list", args: "pool list --contract themis", answer: `{"pools":[` + poolAnswer + `]}`, request: "GET /v1/pools?contract=themis"},
	{name: "pool-show", args: "pool show design", answer: poolAnswer, request: "GET /v1/pools/design"},
	{name: "pool-create", args: "pool create --name design --contract themis --size 10 --product cad=3,viewer", answer: `{"pool":` + poolAnswer + `,"deleted":false,"tickets":[],"tickets_total":0,"leases":[],"leases_total":0,"users":[],"users_total":0}`, status: 201, request: "POST /v1/pools"},
	{name: "pool-change-dry-run", args: "pool change testdata/pool.yaml --dry-run", answer: changeAnswer, request: "PUT /v1/pools/design?dry_run=true", header: map[string]string{"Licet-Dry-Run": "true"}},
	{name: "pool-activate", args: "pool activate design", answer: changeAnswer, request: "POST /v1/pools/design/activate"},
	{name: "pool-delete", args: "pool delete design --force", answer: strings.Replace(changeAnswer, `"deleted":false`, `"deleted":true`, 1), request: "DELETE /v1/pools/design?force=true"},
	{name: "pool-usage", args: "pool usage design --product cad --from 2026-09-01", answer: `{"pool":"design","product":"cad","hours":[{"hour":"2026-09-01T08:00:00Z","high_water":9,"denials":{}},{"hour":"2026-09-01T09:00:00Z","high_water":10,"denials":{"pool_full":4,"cap_reached":1}}]}`, request: "GET /v1/pools/design/usage?from=2026-09-01T00%3A00%3A00Z&product=cad"},
	{name: "checkout", args: "checkout design cad --user ann@acme.example --client ws-17", answer: `{"lease":` + strings.TrimSuffix(leaseAnswer, "}") + `,"handle":"secret"}}`, status: 201, request: "POST /v1/checkouts"},
	{name: "explain", args: "explain design cad --user ann@acme.example --client ws-17 --groups a,b", answer: explainAnswer, request: "POST /v1/checkouts/explain"},
	{name: "lease-list", args: "lease list --pool design --user ann@acme.example", answer: `{"leases":[` + leaseAnswer + `]}`, request: "GET /v1/leases?pool=design&user=ann%40acme.example"},
	{name: "lease-show", args: "lease show 42", answer: leaseAnswer, request: "GET /v1/leases/42"},
	{name: "lease-renew", args: "lease renew 42 --ttl 600", answer: `{"lease":42,"ttl":600,"renewals":3,"ends":"2026-09-01T08:10:00Z"}`, request: "POST /v1/leases/42/renew"},
	{name: "lease-return", args: "lease return 42", answer: `{"lease":42,"already":false}`, request: "POST /v1/leases/42/return"},
	{name: "lease-revoke", args: "lease revoke 42 --reason left", answer: `{"lease":42,"already":true}`, request: "DELETE /v1/leases/42?reason=left"},
	{name: "borrow-return", args: "borrow return licet-borrow-v1.a.b.c", answer: `{"lease":42,"already":false}`, request: "POST /v1/borrows/return"},
	{name: "project-list", args: "project list tokens", answer: `{"projects":[` + projectAnswer + `]}`, request: "GET /v1/pools/tokens/projects"},
	{name: "project-convert", args: "project convert tokens bridge mono --lease 42", answer: projectAnswer, request: "POST /v1/pools/tokens/projects/convert"},
	{name: "queue-list", args: "queue list design", answer: `{"tickets":[` + ticketAnswer + `]}`, request: "GET /v1/pools/design/tickets"},
	{name: "queue-show", args: "queue show 7", answer: ticketAnswer, request: "GET /v1/tickets/7"},
	{name: "queue-wait", args: "queue wait 7 --for 2s", answer: ticketAnswer, request: "GET /v1/tickets/7?wait=2"},
	{name: "queue-keep", args: "queue keep 7", answer: ticketAnswer, request: "POST /v1/tickets/7/keep"},
	{name: "queue-claim", args: "queue claim 7", answer: `{"lease":` + strings.TrimSuffix(leaseAnswer, "}") + `,"handle":"secret"}}`, status: 201, request: "POST /v1/tickets/7/claim"},
	{name: "queue-leave", args: "queue leave 7", answer: `{"ticket":7,"already":false}`, request: "POST /v1/tickets/7/leave"},
	{name: "keys", args: "keys", answer: keysAnswer, request: "GET /v1/keys"},
}

func TestTables(t *testing.T) {
	for _, tt := range slices.Concat(goldens, accountGoldens) {
		t.Run(tt.name, func(t *testing.T) {
			status := tt.status
			if status == 0 {
				status = 200
			}
			f := newFake(t, status, tt.answer)
			f.header, f.kind = tt.header, cmp.Or(tt.kind, f.kind)
			got := run(t, append(at(f.Server), handleVariable), strings.Fields(tt.args)...)
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
			asJSON := run(t, append(at(f.Server), handleVariable), append(strings.Fields(tt.args), "-o", "json")...)
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
