package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Texts that many problems share.
const (
	idText     = "allowed: 1 to 63 of a-z, 0-9 and -, not beginning with -"
	fileText   = "allowed: a file's name of 1 to 4096 bytes, without control characters, outer spaces or a leading ~"
	listenText = "allowed: host:port with a port from 1 to 65535 and a name or an IP address (IPv6 in brackets); no host means every address"
	reachText  = "allowed: host:port with a port from 1 to 65535 and a name or an IP address (IPv6 in brackets), not 0.0.0.0 or ::"
	peersText  = "allowed: a list of at most 64: host:port with a port from 1 to 65535 and a name or an IP address (IPv6 in brackets), not 0.0.0.0 or ::"
	urlText    = "allowed: http:// or https:// with a host and perhaps a port, nothing after it, and not 0.0.0.0 or ::"
	expectText = "allowed: 1, 3, 5, 7 or 9 (an even number survives no more failures than the odd one below it, and more than 9 only slow every write)"
	raftKeys   = "heartbeat_timeout, election_timeout, snapshot_threshold, snapshot_interval, trailing_logs"
	allNames   = "node, http, gossip, tls, cluster, autopilot, auth, oidc, raft, limits, audit, log, tracing"
	hiddenText = "a value that is not shown, as it may be a secret"
	yamlEmpty  = `nothing (write "" for an empty value, or leave the key out)`
)

// errorTest is valid with changes, and every line of the error that it gives.
type errorTest struct {
	name      string
	replace   []string // old, new, old, new ...
	add       string   // from line 10 on
	environ   []string
	overrides []string
	want      []string
}

func runErrorTests(t *testing.T, tests []errorTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := strings.NewReplacer(tt.replace...).Replace(valid) + tt.add
			c, err := load("licet.yaml", []byte(file), tt.environ, tt.overrides)
			if err == nil {
				t.Fatalf("no error: %+v", c)
			}
			if want := strings.Join(tt.want, "\n"); err.Error() != want {
				t.Errorf("got:\n%s\nwant:\n%s", err, want)
			}
		})
	}
}

func TestFileErrors(t *testing.T) {
	runErrorTests(t, []errorTest{
		{name: "not YAML", add: "raft: [\n", want: []string{"licet.yaml:10: not YAML: sequence end token ']' not found"}},
		{
			name: "not YAML, the file's text cut from the library's message", add: "raft: |s3cret\n",
			want: []string{"licet.yaml:10: not YAML: invalid header option:"},
		},
		{
			name: "reserved character", add: "raft: @s3cret\n",
			want: []string{"licet.yaml:10: not YAML: '@' is a reserved character"},
		},
		{
			name: "tab", add: "raft:\n\ttrailing_logs: 1\n",
			want: []string{"licet.yaml:11: not YAML: found character '\\t' that cannot start any token"},
		},
		{name: "not UTF-8", add: "raft: \xff\n", want: []string{"licet.yaml:10: found bytes that are no UTF-8 text"}},
		{name: "NUL", add: "\n\x00", want: []string{"licet.yaml:11: found bytes that are no UTF-8 text"}},
		{name: "brackets", add: strings.Repeat("[", 257), want: []string{"licet.yaml: the file has more than 256 brackets"}},
		{name: "second document", add: "---\nraft: {}\n", want: []string{"licet.yaml:11: found a second document; allowed: one"}},
		{
			name: "list at the top", replace: []string{valid, "- a\n"},
			want: []string{"licet.yaml:1: found a list; allowed: sections (" + allNames + ")"},
		},
		{
			name: "unknown section", add: "raf:\n  trailing_logs: 1\n",
			want: []string{"licet.yaml:10: raf: unknown section; allowed: " + allNames},
		},
		{
			name: "key without section", add: "raft.trailing_logs: 1\n",
			want: []string{"licet.yaml:10: raft.trailing_logs: unknown section; allowed: " + allNames},
		},
		{
			name: "unknown key, its value not shown", add: "raft:\n  password: s3cret\n",
			want: []string{"licet.yaml:11: raft.password: unknown key; allowed in raft: " + raftKeys},
		},
		{
			name: "odd key", add: "raft:\n  \"a\\nb\": 1\n",
			want: []string{`licet.yaml:11: "raft.a\nb": unknown key; allowed in raft: ` + raftKeys},
		},
		{
			name: "number as key", add: "raft:\n  1: 1\n",
			want: []string{"licet.yaml:11: found a single value as a key; allowed: a plain word"},
		},
		{
			name: "merge key", add: "raft:\n  <<: {}\n",
			want: []string{"licet.yaml:11: found an anchor, alias or merge key as a key; allowed: a plain word"},
		},
		{
			name: "section that is no mapping", add: "log: info\n",
			want: []string{"licet.yaml:10: log: found a single value; allowed: the keys level, format"},
		},
		{
			name: "key twice", add: "log:\n  level: info\n  level: warn\n",
			want: []string{"licet.yaml:12: log.level: stands here twice, first in line 11"},
		},
		{
			name: "section twice, its keys not missing", add: "node: {}\n", replace: []string{"  data_dir: data\n", ""},
			want: []string{
				"licet.yaml:9: node: stands here twice, first in line 1",
				"licet.yaml: node.data_dir: missing; set it in the file, as LICET_NODE_DATA_DIR or with --set node.data_dir=...; " + fileText,
			},
		},
		{
			name: "section twice, each with a half", add: "node: {data_dir: d}\n", replace: []string{"  data_dir: data\n", ""},
			want: []string{"licet.yaml:9: node: stands here twice, first in line 1"},
		},
		{
			name: "nothing", add: "log:\n  level:\n",
			want: []string{"licet.yaml:11: log.level: found " + yamlEmpty + "; allowed: trace, debug, info, warn or error"},
		},
		{
			name: "list for a value", add: "log:\n  level: [info]\n",
			want: []string{"licet.yaml:11: log.level: found a list; allowed: trace, debug, info, warn or error"},
		},
		{
			name: "mapping for a value", add: "log:\n  level: {a: b}\n",
			want: []string{"licet.yaml:11: log.level: found a mapping (in a list inside { }, what holds a colon needs quotes); allowed: trace, debug, info, warn or error"},
		},
		{
			name: "address in a list inside braces", replace: []string{"cluster:\n  expect: 1\n  vendor_keys: [vendor.pub]\n", "cluster: {expect: 1, vendor_keys: [v], peers: [a:1]}\n"},
			want: []string{"licet.yaml:5: cluster.peers: found a mapping (in a list inside { }, what holds a colon needs quotes); " + peersText},
		},
		{
			name: "anchor", add: "log:\n  level: &x info\n",
			want: []string{"licet.yaml:11: log.level: found an anchor, alias or merge key; allowed: trace, debug, info, warn or error"},
		},
		{
			name: "tag", add: "log:\n  level: !!str info\n",
			want: []string{"licet.yaml:11: log.level: found a tag; allowed: trace, debug, info, warn or error"},
		},
		{
			name: "value for a list", replace: []string{"  expect: 1\n", "  expect: 1\n  peers: 'a:1'\n"},
			want: []string{"licet.yaml:7: cluster.peers: found a single value; " + peersText},
		},
		{
			name: "items have their own lines", replace: []string{"  expect: 1\n", "  expect: 3\n  peers:\n    - lyon:7101\n    - lyon\n    - LYON:7101\n    - [a]\n"},
			want: []string{
				"licet.yaml:11: cluster.peers: found a list; " + peersText,
				`licet.yaml:9: cluster.peers: found "lyon"; ` + peersText,
				`licet.yaml:10: cluster.peers: found "LYON:7101" twice`,
			},
		},
		{
			name: "CRLF counts lines right", replace: []string{"\n", "\r\n"}, add: "log:\r\n  level: loud\r\n",
			want: []string{`licet.yaml:11: log.level: found "loud"; allowed: trace, debug, info, warn or error`},
		},
		{
			name: "after a multi-line text", add: "log:\n  format: |\n    a\n    b\n  level: loud\n",
			want: []string{
				`licet.yaml:11: log.format: found "a\nb\n"; allowed: text or json`,
				`licet.yaml:14: log.level: found "loud"; allowed: trace, debug, info, warn or error`,
			},
		},
		{name: "all missing", replace: []string{valid, ""}, want: []string{
			"licet.yaml: node.id: missing; set it in the file, as LICET_NODE_ID or with --set node.id=...; " + idText,
			"licet.yaml: node.data_dir: missing; set it in the file, as LICET_NODE_DATA_DIR or with --set node.data_dir=...; " + fileText,
			"licet.yaml: tls.ca: missing; set it in the file, as LICET_TLS_CA or with --set tls.ca=...; " + fileText,
			"licet.yaml: tls.cert: missing; set it in the file, as LICET_TLS_CERT or with --set tls.cert=...; " + fileText,
			"licet.yaml: tls.key: missing; set it in the file, as LICET_TLS_KEY or with --set tls.key=...; " + fileText,
			"licet.yaml: cluster.expect: missing; set it in the file, as LICET_CLUSTER_EXPECT or with --set cluster.expect=...; " + expectText,
			"licet.yaml: cluster.vendor_keys: missing; set it in the file, as LICET_CLUSTER_VENDOR_KEYS or with --set cluster.vendor_keys=...; " +
				"allowed: a list of at most 16: a file's name of 1 to 4096 bytes, without control characters, outer spaces or a leading ~",
			"licet.yaml: auth.operator_token_file: missing; set it in the file, as LICET_AUTH_OPERATOR_TOKEN_FILE or with --set auth.operator_token_file=...; " + fileText,
		}},
		{name: "empty mandatory list", replace: []string{"[vendor.pub]", "[]"}, want: []string{
			"licet.yaml:7: cluster.vendor_keys: missing; set it in the file, as LICET_CLUSTER_VENDOR_KEYS or with --set cluster.vendor_keys=...; " +
				"allowed: a list of at most 16: a file's name of 1 to 4096 bytes, without control characters, outer spaces or a leading ~",
		}},
		{
			name: "empty mandatory value", replace: []string{"  id: bordeaux", `  id: ""`},
			want: []string{`licet.yaml:2: node.id: found ""; ` + idText},
		},
		{
			name: "long value", add: "log:\n  level: x" + strings.Repeat("é", 40) + "\n",
			want: []string{`licet.yaml:11: log.level: found "x` + strings.Repeat("é", 31) + `" and 18 bytes more; allowed: trace, debug, info, warn or error`},
		},
	})
}

func TestEnvironmentAndOverrideErrors(t *testing.T) {
	link := " (Kubernetes makes such variables for a service; enableServiceLinks: false in the pod stops it)"
	runErrorTests(t, []errorTest{
		{
			name: "bad value", environ: []string{"LICET_RAFT_TRAILING_LOGS=many"},
			want: []string{`environment LICET_RAFT_TRAILING_LOGS: found "many"; allowed: a whole number from 1 to 10000000 (entries)`},
		},
		{
			name: "empty value", environ: []string{"LICET_RAFT_TRAILING_LOGS="},
			want: []string{`environment LICET_RAFT_TRAILING_LOGS: found ""; allowed: a whole number from 1 to 10000000 (entries)`},
		},
		{
			name: "bad item", environ: []string{"LICET_CLUSTER_PEERS=a:1,,b:0"},
			want: []string{`environment LICET_CLUSTER_PEERS: found ""; ` + peersText, `environment LICET_CLUSTER_PEERS: found "b:0"; ` + peersText},
		},
		{
			name: "unknown key, its value not shown", environ: []string{"LICET_AUTH_TOKEN=s3cret"},
			want: []string{"environment LICET_AUTH_TOKEN: no key has this variable, LICET_<SECTION>_<KEY>: unknown key; allowed in auth: operator_token_file, metrics_token_file"},
		},
		{
			name: "unknown section", environ: []string{"LICET_FOO=1"},
			want: []string{"environment LICET_FOO: no key has this variable, LICET_<SECTION>_<KEY>: unknown section; allowed: " + allNames},
		},
		{
			name: "lower case", environ: []string{"LICET_node_id=lyon"},
			want: []string{"environment LICET_node_id: no key has this variable; variables are LICET_<SECTION>_<KEY> in upper case"},
		},
		{
			name: "nearly the client's", environ: []string{"LICET_TOKENS=1"},
			want: []string{"environment LICET_TOKENS: no key has this variable, LICET_<SECTION>_<KEY>: unknown section; allowed: " + allNames},
		},
		{
			name: "Kubernetes service links, by name", environ: []string{"LICET_SERVICE_HOST=10.0.0.1", "LICET_HTTP_PORT=tcp://10.0.0.1:80"},
			want: []string{
				"environment LICET_HTTP_PORT: no key has this variable, LICET_<SECTION>_<KEY>: unknown key; allowed in http: listen, advertise, cert, key, client_ca, insecure, profiling" + link,
				"environment LICET_SERVICE_HOST: no key has this variable, LICET_<SECTION>_<KEY>: unknown section; allowed: " + allNames + link,
			},
		},
		{
			name: "variable twice", environ: []string{"LICET_LOG_LEVEL=info", "LICET_LOG_LEVEL=warn"},
			want: []string{"environment LICET_LOG_LEVEL: set twice"},
		},
		{
			name: "override: bad value", overrides: []string{"raft.trailing_logs=0"},
			want: []string{`--set raft.trailing_logs: found "0"; allowed: a whole number from 1 to 10000000 (entries)`},
		},
		{
			name: "override: value with =", overrides: []string{"log.level=a=b"},
			want: []string{`--set log.level: found "a=b"; allowed: trace, debug, info, warn or error`},
		},
		{
			name: "override: no value", overrides: []string{"raft.trailing_logs"},
			want: []string{"--set raft.trailing_logs: found no value; allowed: raft.trailing_logs=value"},
		},
		{
			name: "override: no = at all, not shown", overrides: []string{"s3cret"},
			want: []string{"--set: found an override without =; allowed: section.key=value"},
		},
		{
			name: "override: unknown", overrides: []string{"raft.foo=1", "foo=1", "=", "a b.c=1"},
			want: []string{
				"--set raft.foo: unknown key; allowed in raft: " + raftKeys,
				"--set foo: unknown section; allowed: " + allNames,
				`--set "": unknown section; allowed: ` + allNames,
				`--set "a b.c": unknown section; allowed: ` + allNames,
			},
		},
		{
			name: "override twice", overrides: []string{"log.level=info", "log.level=warn"},
			want: []string{"--set log.level: set twice"},
		},
		{
			name: "an overridden mistake stays one", add: "log:\n  level: loud\n", overrides: []string{"log.level=info"},
			want: []string{`licet.yaml:11: log.level: found "loud"; allowed: trace, debug, info, warn or error`},
		},
		{
			name: "all sources at once", add: "log:\n  level: loud\n", environ: []string{"LICET_NODE_ID=A"}, overrides: []string{"log.format=xml"},
			want: []string{
				`licet.yaml:11: log.level: found "loud"; allowed: trace, debug, info, warn or error`,
				`environment LICET_NODE_ID: found "A"; ` + idText,
				`--set log.format: found "xml"; allowed: text or json`,
			},
		},
		{
			name: "with a file that is not YAML nothing is called missing", replace: []string{valid, "{"}, overrides: []string{"log.format=xml"},
			want: []string{"licet.yaml:1: not YAML: could not find flow mapping end token '}'", `--set log.format: found "xml"; allowed: text or json`},
		},
	})
}

func TestErrorsAreBounded(t *testing.T) {
	var file strings.Builder
	for i := range 25 {
		fmt.Fprintf(&file, "x%d: 1\n", i)
	}
	_, err := load("licet.yaml", []byte(valid+file.String()), nil, nil)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("got %v", err)
	}
	if len(all.Problems) != 20 || all.Omitted != 5 {
		t.Errorf("got %d problems and %d omitted", len(all.Problems), all.Omitted)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 || lines[20] != "and 5 more" {
		t.Errorf("got %d lines, last %q", len(lines), lines[len(lines)-1])
	}
}

func TestProblemFields(t *testing.T) {
	_, err := load("licet.yaml", []byte(valid+"log:\n  level: loud\n"), nil, nil)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("got %v", err)
	}
	want := Problem{Place: "licet.yaml:11: log.level", Key: "log.level", Text: `found "loud"; allowed: trace, debug, info, warn or error`}
	if all.Problems[0] != want {
		t.Errorf("got %+v", all.Problems[0])
	}
}

// What is put where a secret's file name belongs, or looks like a secret anywhere, is in no error.
func TestNoSecretInErrors(t *testing.T) {
	const secret = "s3cret"
	pem := "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"
	values := []string{pem, " " + secret, secret + "\x01", "~" + secret, "http://admin:" + secret + "@lyon:7001", secret + "@lyon:7101"}
	for i := range keys {
		k := &keys[i]
		for _, value := range values {
			if k.file != secretFile && !strings.Contains(value, "@") && value != pem {
				continue
			}
			text := k.yaml([]string{value})
			if k.list {
				text = k.yaml([]string{value, value})
			}
			doc := k.section() + ":\n  " + k.short() + ": " + text + "\n"
			for source, err := range map[string]error{
				"file":        loadError([]byte(doc), nil, nil),
				"environment": loadError(nil, []string{k.env() + "=" + value}, nil),
				"override":    loadError(nil, nil, []string{k.name + "=" + value}),
			} {
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %s, %q: got %v", k.name, source, value, err)
				}
			}
		}
	}
}

func loadError(data []byte, environ, overrides []string) error {
	_, err := load("licet.yaml", data, environ, overrides)
	return err
}
