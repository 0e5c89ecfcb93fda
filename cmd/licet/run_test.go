package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"
)

// ran is what became of a run.
type ran struct {
	code     int
	out, err string
}

// run runs the program with an empty input.
func run(t *testing.T, environ []string, args ...string) ran {
	t.Helper()
	var out, err bytes.Buffer
	code := Run(t.Context(), append([]string{"licet"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &err, Environ: environ})
	return ran{code, out.String(), err.String()}
}

// at is the environment that leads to a server.
func at(s *httptest.Server) []string {
	return []string{"LICET_ENDPOINTS=" + s.URL, "LICET_TOKEN=secret", "LICET_TIMEOUT=5s"}
}

// fake is a node that answers everything alike, and remembers what it was asked.
type fake struct {
	*httptest.Server
	status     int
	kind, body string
	header     map[string]string
	asked      []string
	bodies     []string
	keys       []string
	token      string
}

func newFake(t *testing.T, status int, body string) *fake {
	t.Helper()
	f := &fake{status: status, body: body, kind: "application/json"}
	if status >= 400 {
		f.kind = "application/problem+json"
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
		f.bodies = append(f.bodies, string(text))
		f.token = r.Header.Get("Authorization")
		f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
		w.Header().Set("Idempotency-Key", r.Header.Get("Idempotency-Key"))
		for name, value := range f.header {
			w.Header().Set(name, value)
		}
		if f.status != http.StatusNoContent {
			w.Header().Set("Content-Type", f.kind)
		}
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
	}))
	t.Cleanup(f.Close)
	return f
}

// verbs are all commands that do something, by their words.
func verbs(commands []*cli.Command, path ...string) [][]string {
	var all [][]string
	for _, c := range commands {
		words := append(append([]string{}, path...), c.Name)
		if len(c.Subcommands) > 0 {
			all = append(all, verbs(c.Subcommands, words...)...)
			continue
		}
		all = append(all, words)
	}
	return all
}

func TestEveryVerbRefusesWhatItDoesNotKnow(t *testing.T) {
	f := newFake(t, 200, "{}")
	for _, words := range verbs(newApp(Streams{}).Commands) {
		name := strings.Join(words, " ")
		if name == "help" {
			continue
		}
		arguments := strings.Fields(strings.NewReplacer("...", "", "[", "", "]", "").Replace(find(t, words).ArgsUsage))
		open := strings.Contains(find(t, words).ArgsUsage, "...")
		for what, more := range map[string][]string{
			"an unknown flag":      {"--no-such-flag"},
			"an unknown flag's =":  {"--no-such-flag=x"},
			"an unknown letter":    {"-x"},
			"a flag without value": {"--endpoints"},
			"a flag twice":         {"-o", "json", "--output", "json"},
			"an unknown form":      {"-o", "yaml"},
			"an empty form":        {"-o", ""},
			"no time":              {"--timeout", "soon"},
			"a negative time":      {"--timeout", "-1s"},
			"a long time":          {"--timeout", "2h"},
		} {
			got := run(t, at(f.Server), append(append(append([]string{}, words...), arguments...), more...)...)
			if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, name) && !strings.Contains(got.err, `"detail":"`+name) {
				t.Errorf("%s with %s: exit %d, %q, %q", name, what, got.code, got.out, got.err)
			}
		}
		for i := range arguments {
			for _, short := range [][]string{arguments[:i], append(append([]string{}, arguments[:i]...), "")} {
				got := run(t, at(f.Server), append(append([]string{}, words...), short...)...)
				if want := name + ": " + arguments[i] + " is missing\n"; got.code != exitUsage || !strings.Contains(got.err, want) && !strings.Contains(got.err, "is missing") {
					t.Errorf("%s %q: exit %d, %q, want %q", name, short, got.code, got.err, want)
				}
			}
		}
		if !open && find(t, words).Flags == nil {
			got := run(t, at(f.Server), append(append(append([]string{}, words...), arguments...), "extra")...)
			if got.code != exitUsage || !strings.Contains(got.err, `"extra" is one argument too many`) {
				t.Errorf("%s with one too many: exit %d, %q", name, got.code, got.err)
			}
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("requests were sent: %v", f.asked)
	}
}

func find(t *testing.T, words []string) *cli.Command {
	t.Helper()
	commands := newApp(Streams{}).Commands
	var c *cli.Command
	for _, word := range words {
		for _, candidate := range commands {
			if candidate.Name == word {
				c = candidate
			}
		}
		commands = c.Subcommands
	}
	return c
}

// Bad values of every kind: nothing is sent, and the message says which it is.
var misuse = []struct {
	args string
	want string
}{
	{"", "licet: a command is missing: contract,"},
	{"frobnicate", `licet has no command "frobnicate"; it has contract,`},
	{"contrct list", `did you mean "contract"?`},
	{"contract", "contract: a command is missing: apply, list, show"},
	{"contract lst", `contract has no command "lst"; did you mean "list"?`},
	{"contract list extra", `contract list: "extra" is one argument too many`},
	{"contract list --stael", "did you mean --stale?"},
	{"contract show", "contract show: CONTRACT is missing"},
	{"contract show ../keys", `CONTRACT: "../keys" is no name`},
	{"contract show a b", `"b" is one argument too many`},
	{"doctor --set log.level=debug", "--set overrides keys of the configuration that --config names"},
	{"contract apply", "contract apply: FILE is missing"},
	{"contract apply no-such-file", "FILE: no-such-file: no such file or directory"},
	{"contract apply .", "FILE: .: is a directory"},
	{"contract apply -", "- holds no signed contract"},
	{"contract list --min-index -1", `--min-index: "-1" is no whole number from 0`},
	{"contract list --min-index 1e3", `"1e3" is no whole number`},
	{"instance create", "instance create: CONTRACT is missing"},
	{"instance create themis", "instance create: NAME is missing"},
	{"instance create themis bordeaux", "--allocate AREA=NUMBER is missing"},
	{"instance create themis bordeaux nice --allocate primary=1", `"nice" is one argument too many`},
	{"instance create themis bordeaux --allocate primary", `--allocate: "primary" is not of the form AREA=NUMBER`},
	{"instance create themis bordeaux --allocate primary=", `primary: "" is no whole number`},
	{"instance create themis bordeaux --allocate primary=-1", `primary: "-1" is no whole number from 0 to 1000000000`},
	{"instance create themis bordeaux --allocate primary=1.5", `primary: "1.5" is no whole number`},
	{"instance create themis bordeaux --allocate primary=99999999999999999999", "is no whole number"},
	{"instance create themis bordeaux --allocate primary=1000000001", "is no whole number from 0 to 1000000000"},
	{"instance create themis bordeaux --allocate primary=1,primary=2", "area primary stands there twice"},
	{"instance create themis bordeaux --allocate primary=1 --allocate primary=2", "area primary stands there twice"},
	{"instance create themis bordeaux --allocate =1", "area: it is missing"},
	{"instance create themis bordeaux --allocate a/b=1", `area: "a/b" is no name`},
	{"instance create themis bordeaux --allocate primary=1,", `"" is not of the form`},
	{"instance create themis ../x --allocate primary=1", `NAME: "../x" is no name`},
	{"instance create themis bordeaux --allocate primary=1 --request-id=", "--request-id: \"\" is no request id"},
	{"instance create themis bordeaux --allocate primary=1 --request-id a/b", `--request-id: "a/b" is no request id`},
	{"instance list --contract", "--contract needs a value"},
	{"instance list --contract=", "--contract: it is missing"},
	{"instance show seven", `SERIAL: "seven" is no whole number from 1`},
	{"instance show 0", `SERIAL: "0" is no whole number from 1`},
	{"instance show -- -7", `SERIAL: "-7" is no whole number`},
	{"instance show -7", "instance show has no flag -7"},
	{"instance show 007", `SERIAL: "007" is no whole number`},
	{"instance show 9007199254740992", "is no whole number from 1 to 9007199254740991"},
	{"instance resize 1", "--allocate AREA=NUMBER is missing"},
	{"instance resize 1 --site a/b", `--site: "a/b" is no name`},
	{"instance create themis bordeaux --allocate primary=1 --site a/b", `--site: "a/b" is no name`},
	{"instance resize x --allocate primary=1", `SERIAL: "x"`},
	{"instance remove", "SERIAL is missing"},
	{"instance remove all", `SERIAL: "all"`},
	{"instance key", "SERIAL is missing"},
	{"instance key x", `SERIAL: "x"`},
	{"instance activate", "--key is missing"},
	{"instance activate --key no-such-file", "--key: no-such-file: no such file"},
	{"instance activate --key -", "--key: - is empty"},
	{"instance activate --key licet-key-v1.x --active primary=x", `--active: primary: "x"`},
	{"instance activate --key licet-key-v1.x --active=", `--active: "" is not of the form`},
	{"cluster remove", "cluster remove: ID is missing"},
	{"cluster remove Lyon", `ID: "Lyon" is no node id`},
	{"cluster remove ../../instances/7", "is no node id"},
	{"cluster transfer --to=", `--to: "" is no node id`},
	{"cluster transfer lyon", `"lyon" is one argument too many`},
	{"cluster leave --endpoints http://a:1,http://b:1", "there are 2 endpoints, so it is not clear which node is to leave"},
	{"token create", "token create: NAME is missing"},
	{"token create farm", "token create: --role is missing"},
	{"token create ../farm --role auditor", `NAME: "../farm" is no name`},
	{"token create farm --role boss", `--role: "boss" is none of operator, site-operator`},
	{"token create farm --role root", `--role: "root" is none of`},
	{"token create farm --role client", "--pools: the role client needs one"},
	{"token create farm --role client --pools=", "--pools: an item is empty"},
	{"token create farm --role client --pools a,a", `--pools: "a" stands there twice`},
	{"token create farm --role client --pools a/b", `--pools: "a/b" is no name`},
	{"token create farm --role client --pools a --user=", "--user is empty"},
	{"token create farm --role operator --site lyon", "--site: the role operator has none"},
	{"token create farm --role site-operator", "--site: the role site-operator needs one"},
	{"token create farm --role site-operator --site=", "--site is empty"},
	{"token create farm --role site-operator --site a/b", `--site: "a/b" is no name`},
	{"token create farm --role instance", "--instance: the role instance needs one"},
	{"token create farm --role instance --instance x", `--instance: "x" is no whole number`},
	{"token create farm --role auditor --expires soon", `--expires: "soon" is neither a date`},
	{"token bootstrap now", `"now" is one argument too many`},
	{"token bootstrap --name a/b", `--name: "a/b" is no name`},
	{"token revoke", "token revoke: TOKEN is missing"},
	{"token revoke all", `TOKEN: "all" is no whole number from 1`},
	{"token revoke licet_7_geheim", "not the token, which other users of this machine can see now"},
	{"token show licet_7_geheim", "not the token"},
	{"token show 0", `TOKEN: "0" is no whole number from 1`},
	{"settings set", "settings set: NAME=VALUE is missing"},
	{"settings set request_limit", `"request_limit" is not of the form NAME=VALUE`},
	{"settings set request_limit=many", `request_limit: "many" is no whole number`},
	{"settings set request_limits=1000", `there is no setting "request_limits"`},
	{"settings set request_limit=1000 request_limit=2000", "request_limit stands there twice"},
	{"keys extra", `"extra" is one argument too many`},
	{"verify", "verify: KEY is missing"},
	{"verify licet-key-v1.x", "verify: --public-key is missing"},
	{"verify licet-key-v1.x --public-key no-such-file", "--public-key: no-such-file: no such file"},
	{"verify licet-key-v1.x --public-key - --at tomorrow", `--at: "tomorrow" is neither a date`},
	{"verify licet-key-v1.x --public-key -", `--public-key: -: public key: no PEM block "PUBLIC KEY" found`},
	{"vendor sign", "CONTRACT.yaml is missing"},
	{"vendor sign -", "vendor sign: --key is missing"},
	{"vendor sign - --key no-such-file", "-: there are 0 documents in the file instead of one"},
	{"vendor verify -", "--public-key is missing"},
	{"vendor keygen extra", `"extra" is one argument too many`},
	{"tls init", "tls init: --nodes is missing"},
	{"tls init --nodes=", "--nodes: an item is empty"},
	{"tls init --nodes a,,b", "--nodes: an item is empty"},
	{"tls init --nodes a,a", `--nodes: "a" stands there twice`},
	{"tls init --nodes ../a", `"../a" is no node id`},
	{"tls init --nodes a --hosts x:1", "is neither an IP address nor a host name"},
	{"tls init --nodes a --days 0", `--days: "0" is no whole number from 1`},
	{"tls init --nodes a@", `"" is no site`},
	{"tls init --nodes a@east,a@west", "a stands there twice"},
	{"tls init --nodes a --clients A", "client name"},
	{"tls node", "tls node: ID[@SITE] is missing"},
	{"tls node a", "ca.pem"},
	{"tls client a --role boss", "ca.pem"},
	{"tls client", "tls client: NAME is missing"},
	{"tls client a", "ca.pem"},
	{"tls client a --hosts b", "tls client has no flag --hosts"},
	{"tls request ../a", `"../a" is no node id`},
	{"tls request a --hosts x:1", "is neither an IP address nor a host name"},
	{"tls request --client A", "client name"},
	{"tls sign a", "tls sign: FILE is missing"},
	{"tls sign a b", "ca.pem"},
	{"tls check", "tls check: FILE is missing"},
	{"tls check a", "ca.pem: no such file"},
	{"gossip key make", "gossip key make: FILE is missing"},
	{"gossip key rotate now", `"now" is one argument too many`},
	{"config check", "FILE is missing"},
	{"config check no-such-file", "no-such-file: no such file"},
	{"server", "server: --config is missing"},
	{"server --config no-such-file", "no-such-file: no such file or directory\nnext: Name a configuration that can be read"},
	{"help frobnicate", `there is no command "licet frobnicate"`},
	{"contract list --endpoints=", `"" is neither http://host:port`},
	{"contract list --endpoints ftp://a", `"ftp://a" is neither http://host:port`},
	{"contract list --endpoints http://u:geheim@a", "has more than scheme, host and port"},
	{"contract list --token-file no-such-file", "--token-file: no-such-file: no such file"},
	{"contract list --token geheim", "contract list has no flag --token"},
	{"contract list --ca no-such-file", "--ca: no-such-file: no such file"},
	{"contract list --ca -", "ca: no certificate found"},
}

func TestMisuse(t *testing.T) {
	f := newFake(t, 200, "{}")
	t.Chdir(t.TempDir())
	for _, tt := range misuse {
		t.Run(tt.args, func(t *testing.T) {
			args := strings.Fields(tt.args)
			got := run(t, at(f.Server), args...)
			if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, tt.want) || !strings.HasPrefix(got.err, "licet: ") || !strings.Contains(got.err, "\nnext: ") {
				t.Errorf("exit %d, %q, %q, want %q", got.code, got.out, got.err, tt.want)
			}
			asJSON := run(t, append(at(f.Server), "LICET_OUTPUT=json"), args...)
			if asJSON.code != exitUsage || !strings.HasPrefix(asJSON.err, `{"code":"usage",`) || strings.Count(asJSON.err, "\n") != 1 {
				t.Errorf("as JSON: exit %d, %q", asJSON.code, asJSON.err)
			}
			if strings.Contains(got.err, "geheim") {
				t.Errorf("a secret is shown: %q", got.err)
			}
		})
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 || len(f.asked) > 0 {
		t.Errorf("something was done all the same: %v %v, requests %v", entries, err, f.asked)
	}
}

// What is pasted in the place of a name is not repeated in whole.
func TestLongNamesAreCut(t *testing.T) {
	f := newFake(t, 200, "{}")
	long := strings.Repeat("x", 20<<10)
	for _, args := range []string{
		"contract apply ", "contract show ", "instance activate --key ", "instance list --contract ", "contract list --token-file ", "contract list --ca ",
		"config check ", "server --config ", "vendor sign --key vendor.key ", "contract list ",
	} {
		got := run(t, at(f.Server), strings.Fields(args+long)...)
		if got.code != exitUsage || len(got.err) > 600 {
			t.Errorf("%s: exit %d, an error of %d bytes: %.300s", args, got.code, len(got.err), got.err)
		}
	}
}

// Flags mean the same before, between and after arguments.
func TestFlagsStandAnywhere(t *testing.T) {
	const body = `{"serial":7,"areas":{}}`
	for _, args := range []string{
		"-o json instance create themis bordeaux --allocate primary=15 --request-id one",
		"instance -o json create --allocate primary=15 themis --request-id one bordeaux",
		"instance create themis bordeaux --allocate primary=15 --request-id one -o json",
		"instance create themis --request-id=one bordeaux --output=json --allocate=primary=15",
		"instance create --allocate primary=15 --request-id one -o=json -- themis bordeaux",
	} {
		f := newFake(t, 201, body)
		got := run(t, at(f.Server), strings.Fields(args)...)
		if got.code != exitOK || got.out != body+"\n" || got.err != "" || f.keys[0] != "one" ||
			f.asked[0] != "POST /v1/instances" || f.bodies[0] != `{"allocation":{"primary":15},"contract":"themis","name":"bordeaux"}` {
			t.Errorf("%s: %+v, asked %v %v", args, got, f.asked, f.bodies)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"help", "--help", "-h"} {
		if got := run(t, nil, args); got.code != exitOK || !strings.Contains(got.out, exitCodesHelp) || got.err != "" {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if got := run(t, nil, "help", "exit-codes"); got.out != exitCodesHelp {
		t.Errorf("%+v", got)
	}
	for _, words := range verbs(newApp(Streams{}).Commands) {
		name := strings.Join(words, " ")
		before := run(t, nil, append([]string{"help"}, words...)...)
		after := run(t, nil, append(words, "x", "--help")...)
		if before.code != exitOK || before != after || !strings.HasPrefix(before.out, "licet "+name+" - ") {
			t.Errorf("%s: %+v", name, before)
		}
	}
}

// docs/cli.md has every command, every exit code and every variable.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range verbs(newApp(Streams{}).Commands) {
		if name := "`licet " + strings.Join(words, " "); !strings.Contains(string(text), name) {
			t.Errorf("docs/cli.md lacks %s", name)
		}
	}
	for _, line := range strings.Split(environmentHelp, "\n")[1:] {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.Contains(string(text), "`"+fields[0]+"`") {
			t.Errorf("docs/cli.md lacks %s", fields[0])
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(exitCodesHelp), "\n")[1:] {
		if code := strings.Fields(line)[0]; !strings.Contains(string(text), "\n| "+code+" |") {
			t.Errorf("docs/cli.md lacks exit code %s", code)
		}
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestClosedOutput(t *testing.T) {
	f := newFake(t, 200, `{"contracts":[]}`)
	for _, args := range [][]string{{"contract", "list"}, {"contract", "list", "-o", "json"}, {"help"}, {"version"}, {"config", "example"}} {
		var err bytes.Buffer
		code := Run(context.Background(), append([]string{"licet"}, args...), Streams{Out: closedPipe{}, Err: &err, Environ: at(f.Server)})
		if code != exitInternal || !strings.Contains(err.String(), "broken pipe") {
			t.Errorf("%v: exit %d, %q", args, code, err.String())
		}
		if code := Run(context.Background(), append([]string{"licet"}, args...), Streams{Out: closedPipe{}, Err: closedPipe{}, Environ: at(f.Server)}); code != exitInternal {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}
