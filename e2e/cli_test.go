package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// badCall is a wrong use of a verb. Words are split at spaces; @name is a file of
// badFiles, @long a word that is far too long, @none a word of no characters.
type badCall struct {
	code int
	args string
}

// badCalls are wrong uses of every verb, with the exit codes that are documented.
var badCalls = map[string][]badCall{
	"contract apply": {
		{2, ""},
		{2, "@signed @signed"},
		{2, "@nowhere"},
		{2, "@dir"},
		{2, "@empty"},
		{2, "@noise"},
		{2, "@big"},
		{2, "@yaml"},
		{2, "@key"},
		{2, "@long"},
		{3, "@foreign"},
		{3, "@altered"},
		{3, "@foreign --dry-run"},
		{2, "@signed --request-id a/b"},
		{2, "@signed --request-id @long"},
		{2, "@signed --request-id"},
		{2, "@signed --dry-run=perhaps"},
		{2, "@signed --colour"},
	},
	"contract list":        {{2, "load"}, {2, "--min-index -1"}, {2, "--min-index x"}, {2, "--min-index 99999999999999999999"}, {2, "--stale=x"}, {2, "--colour red"}},
	"contract show":        {{2, ""}, {2, "load load"}, {2, "@none"}, {2, "../load"}, {2, "@long"}, {2, "Straße"}, {4, "nobody"}, {4, "nobody --stale"}},
	"instance create":      {{2, ""}, {2, "load"}, {2, "load two"}, {2, "load two --allocate"}, {2, "load two --allocate primary"}, {2, "load two --allocate =1"}, {2, "load two --allocate primary="}, {2, "load two --allocate primary=x"}, {2, "load two --allocate primary=-1"}, {2, "load two --allocate primary=0x10"}, {2, "load two --allocate primary=1e3"}, {2, "load two --allocate primary=99999999999999999999"}, {2, "load two --allocate pri/mary=1"}, {2, "load two --allocate primary=1 --allocate primary=1"}, {2, "load two three --allocate primary=1"}, {2, "load a/b --allocate primary=1"}, {2, "load @long --allocate primary=1"}, {2, "@long two --allocate primary=1"}, {2, "load two --allocate @long=1"}, {4, "nobody two --allocate primary=1"}, {3, "load two --allocate primary=28"}, {3, "load two --allocate other=1"}, {3, "load one --allocate primary=1"}, {3, "load two --allocate primary=28 --dry-run"}},
	"instance list":        {{2, "load"}, {2, "--contract"}, {2, "--contract a/b"}, {2, "--contract @none"}, {2, "--min-index 1.5"}},
	"instance show":        {{2, ""}, {2, "x"}, {2, "0"}, {2, "-1"}, {2, "01"}, {2, "+1"}, {2, "1.0"}, {2, "99999999999999999999"}, {2, "9007199254740993"}, {2, "@long"}, {2, "1 2"}, {4, "99"}},
	"instance resize":      {{2, ""}, {2, "1"}, {2, "x --allocate primary=1"}, {2, "1 --allocate primary=x"}, {2, "1 2 --allocate primary=1"}, {4, "99 --allocate primary=1"}, {3, "1 --allocate primary=31"}, {3, "1 --allocate other=1"}},
	"instance remove":      {{2, ""}, {2, "x"}, {2, "0"}, {2, "1 2"}, {2, "1 --colour"}, {4, "99"}, {4, "99 --dry-run"}},
	"instance key":         {{2, ""}, {2, "x"}, {2, "1 2"}, {4, "99"}},
	"instance activate":    {{2, ""}, {2, "--key"}, {2, "--key @none"}, {2, "--key @nowhere"}, {2, "--key @dir"}, {2, "--key @empty"}, {2, "--key @big"}, {2, "@key"}, {2, "--key @key --active primary"}, {2, "--key @key --active primary=x"}, {2, "--key @key --active primary=-1"}, {2, "--key @key --active"}, {3, "--key @noise"}, {3, "--key @signed"}, {3, "--key @alteredkey"}, {3, "--key @key --active primary=4"}},
	"contract totals":      {{2, ""}, {2, "../load"}, {2, "load load"}, {4, "nobody"}},
	"contract responsible": {{2, ""}, {2, "load --set nobody"}, {2, "load --set"}, {2, "a/b"}, {4, "nobody"}, {4, "nobody --own"}},
	"account create": {
		{2, ""},
		{2, "1"},
		{2, "1 ann"},
		{2, "1 ann --area"},
		{2, "1 ann --area a/b"},
		{2, "x ann --area primary"},
		{2, "1 a/b --area primary"},
		{2, "1 =1+1 --area primary"},
		{2, "1 @long@long@long@long --area primary"},
		{2, "1 ann bob --area primary"},
		{3, "1 ann --area primary"},
		{3, "1 ann --area primary --dry-run"},
		{4, "99 ann --area primary"},
	},
	"account block":   {{2, ""}, {2, "1"}, {2, "x ann"}, {2, "0 ann"}, {2, "1 a/b"}, {2, "1 .."}, {2, "1 =1+1"}, {2, "1 ann bob"}, {3, "1 ann"}, {4, "99 ann"}},
	"account unblock": {{2, ""}, {2, "1"}, {2, "x ann"}, {2, "0 ann"}, {2, "1 a/b"}, {2, "1 .."}, {2, "1 =1+1"}, {2, "1 ann bob"}, {3, "1 ann"}, {4, "99 ann"}},
	"account delete":  {{2, ""}, {2, "1"}, {2, "x ann"}, {2, "0 ann"}, {2, "1 a/b"}, {2, "1 .."}, {2, "1 =1+1"}, {2, "1 ann bob"}, {3, "1 ann"}, {4, "99 ann"}},
	"account show":    {{2, ""}, {2, "1"}, {2, "x ann"}, {2, "0 ann"}, {2, "1 a/b"}, {2, "1 .."}, {2, "1 =1+1"}, {2, "1 ann bob"}, {3, "1 ann"}, {4, "99 ann"}},
	"account move":    {{2, ""}, {2, "1 ann"}, {2, "1 ann --area a/b"}, {2, "1 a/b --area primary"}, {3, "1 ann --area primary"}, {4, "99 ann --area primary"}},
	"account list":    {{2, ""}, {2, "x"}, {2, "1 2"}, {3, "1"}, {4, "99"}},
	"account totals":  {{2, ""}, {2, "x"}, {2, "1 2"}, {4, "99"}},
	"account export":  {{2, ""}, {2, "x"}, {2, "1 2"}, {2, "1 --out"}, {3, "1"}, {4, "99"}},
	"account import":  {{2, ""}, {2, "1"}, {2, "x @yaml"}, {2, "1 @nowhere"}, {2, "1 @dir"}, {2, "1 @empty"}, {2, "1 @noise"}, {2, "1 @yaml"}, {2, "1 @yaml @yaml"}},
	"account sync":    {{2, ""}, {2, "1"}, {2, "x @yaml"}, {2, "1 @nowhere"}, {2, "1 @dir"}, {2, "1 @empty"}, {2, "1 @noise"}, {2, "1 @yaml"}},
	"request open": {
		{2, ""},
		{2, "load"},
		{2, "load --area primary"},
		{2, "load --seats 5"},
		{2, "load --area primary --seats x"},
		{2, "load --area primary --seats 0"},
		{2, "load --area a/b --seats 5"},
		{2, "a/b --area primary --seats 5"},
		{2, "load --area primary --seats 5 --from primary"},
		{2, "load --area primary --seats 5 --from a/b"},
		{3, "load --area primary --seats 4"},
		{3, "load --area primary --seats 5 --from extranet"},
		{4, "nobody --area primary --seats 5"},
	},
	"request list":       {{2, "load"}, {2, "--contract"}, {2, "--contract a/b"}, {2, "--min-index x"}},
	"request show":       {{2, ""}, {2, "x"}, {2, "0"}, {2, "1 2"}, {4, "99"}},
	"request reject":     {{2, ""}, {2, "x"}, {2, "0"}, {2, "1 2"}, {4, "99"}},
	"request withdraw":   {{2, ""}, {2, "x"}, {2, "0"}, {2, "1 2"}, {4, "99 --note no"}},
	"notice list":        {{2, "load"}, {2, "--min-index x"}, {2, "--colour"}},
	"status":             {{2, "bordeaux"}, {2, "--colour"}, {2, "--all=x"}},
	"ready":              {{2, "bordeaux"}, {2, "--colour"}, {6, "--endpoints http://127.0.0.1:1 --timeout 1s"}},
	"cluster members":    {{2, "bordeaux"}, {2, "--colour"}},
	"cluster transfer":   {{2, "bordeaux"}, {2, "--to"}, {2, "--to @none"}, {2, "--to Bordeaux"}, {2, "--to @long"}, {4, "--to nobody"}},
	"cluster remove":     {{2, ""}, {2, "Bordeaux"}, {2, "@long"}, {2, "nobody nowhere"}, {4, "nobody"}},
	"cluster replace":    {{2, ""}, {2, "a"}, {2, "A b"}, {2, "a B"}, {2, "a a"}, {2, "a b c"}, {2, "a b --wait"}, {2, "a b --wait x"}, {2, "a b --wait 0s"}, {2, "a b --colour"}},
	"doctor":             {{2, "x"}, {2, "--colour"}, {2, "--config"}},
	"cluster join-token": {{2, ""}, {2, "A"}, {2, "@long"}, {2, "a b"}, {2, "a --ttl x"}, {2, "a --ttl 1s"}, {2, "a --ttl 48h"}, {2, "a --out"}, {2, "a --colour"}},
	"cluster leave":      {{2, ""}, {2, "bordeaux"}, {2, "--endpoints @none"}},
	"audit list":         {{2, "x"}, {2, "--limit 0"}, {2, "--limit 1001"}, {2, "--limit x"}, {2, "--after -1"}, {2, "--before 0"}, {2, "--after 1 --before 2"}, {2, "--actor @none"}, {2, "--actor a/b"}, {2, "--kind A"}, {2, "--outcome @none"}, {2, "--request-id a/b"}, {2, "--colour"}, {2, "--min-index x"}},
	"audit show":         {{2, ""}, {2, "1 2"}, {2, "a/b"}, {2, "@long"}, {4, "99999999"}, {4, "no-such-request"}},
	"audit export":       {{2, "x"}, {2, "--after -1"}, {2, "--from soon"}, {2, "--to"}, {2, "--from 2027-01-01 --to 2026-01-01"}, {2, "--dir @nowhere"}, {2, "--dir @dir"}, {1, "--out @nowhere/x"}, {2, "--colour"}, {2, "--min-index x"}},
	"audit verify":       {{2, ""}, {2, "--dir @dir --checkpoints @noise"}, {2, "--server --public-key @noise"}, {2, "x"}, {2, "--dir"}, {2, "--dir @nowhere"}, {2, "--dir @noise"}, {2, "--dir @dir"}, {2, "--dir @dirwithkeys"}, {2, "--file"}, {2, "--file @nowhere"}, {2, "--file @dir"}, {2, "--server=x"}, {2, "--colour"}},
	"settings show":      {{2, "all"}, {2, "--min-index x"}},
	"token bootstrap":    {{2, "x"}, {2, "--name a/b"}, {2, "--name"}, {2, "--name="}, {2, "--colour"}},
	"token create": {
		{2, ""},
		{2, "a"},
		{2, "a/b --role auditor"},
		{2, "@long --role auditor"},
		{2, "a --role"},
		{2, "a --role boss"},
		{2, "a --role root"},
		{2, "a --role client"},
		{2, "a --role client --pools a,,b"},
		{4, "a --role client --pools nowhere"},
		{2, "a --role instance"},
		{2, "a --role instance --instance x"},
		{4, "a --role instance --instance 99"},
		{2, "a --role operator --site lyon"},
		{2, "a --role site-operator --site a/b"},
		{2, "a --role auditor --expires x"},
		{3, "a --role auditor --expires 2020-01-01"},
		{2, "a b --role auditor"},
		{2, "a --role auditor --colour"},
	},
	"token list":                 {{2, "x"}, {2, "--colour"}, {2, "--min-index x"}},
	"token show":                 {{2, ""}, {2, "x"}, {2, "0"}, {2, "@long"}, {4, "99"}, {2, "1 2"}},
	"token self":                 {{2, "x"}, {2, "--colour"}, {2, "--min-index x"}},
	"token revoke":               {{2, ""}, {2, "x"}, {2, "-1"}, {2, "@long"}, {4, "99"}, {2, "1 2"}, {2, "1 --colour"}},
	"settings set":               {{2, ""}, {2, "request_limit"}, {2, "request_limit="}, {2, "request_limit=x"}, {2, "request_limit=-1"}, {2, "request_limit=1"}, {2, "request_limit=99999999999"}, {2, "request_ttl_seconds=1"}, {2, "colour=red"}, {2, "request_limit=2000 request_limit=3000"}, {2, "request_limit=2000 colour=red"}},
	"keys":                       {{2, "all"}, {2, "--out"}, {2, "--colour"}, {1, "--out @dir/no/where"}},
	"verify":                     {{2, ""}, {2, "@key"}, {2, "@key --public-key @nowhere"}, {2, "@key --public-key @noise"}, {2, "@key --public-key @dir"}, {2, "@nowhere --public-key @public"}, {2, "@big --public-key @public"}, {2, "@key @key --public-key @public"}, {2, "@key --public-key @public --at soon"}, {3, "@noise --public-key @public"}, {3, "@alteredkey --public-key @public"}, {3, "@signed --public-key @public"}, {3, "@key --public-key @foreignpub"}, {2, "@key --public-key @public --mark mark --at 2026-12-31"}, {3, "@key --public-key @public --at 2199-01-01"}},
	"vendor keygen":              {{2, "x"}, {2, "--dir"}, {2, "--dir @dirwithkeys"}, {2, "--dir @yaml"}},
	"vendor sign":                {{2, ""}, {2, "@yaml"}, {2, "@yaml --key"}, {2, "@yaml --key @nowhere"}, {2, "@yaml --key @noise"}, {2, "@yaml --key @foreignpub"}, {2, "@nowhere --key @foreignkey"}, {2, "@empty --key @foreignkey"}, {2, "@noise --key @foreignkey"}, {2, "@big --key @foreignkey"}, {2, "@dir --key @foreignkey"}, {2, "@yaml @yaml --key @foreignkey"}, {1, "@yaml --key @foreignkey --out @dir/no/where"}},
	"vendor verify":              {{2, ""}, {2, "@signed"}, {2, "@signed --public-key @nowhere"}, {2, "@signed --public-key @noise"}, {2, "@signed --public-key @foreignkey"}, {2, "@nowhere --public-key @foreignpub"}, {3, "@signed --public-key @foreignpub"}, {3, "@noise --public-key @foreignpub"}, {3, "@empty --public-key @foreignpub"}, {3, "@key --public-key @foreignpub"}},
	"tls init":                   {{2, ""}, {2, "x --nodes a"}, {2, "--nodes"}, {2, "--nodes @none"}, {2, "--nodes a,,b"}, {2, "--nodes a,a"}, {2, "--nodes A"}, {2, "--nodes @long"}, {2, "--nodes a --days 0"}, {2, "--nodes a --days x"}, {2, "--nodes a --days 99999999"}, {2, "--nodes a --hosts ,"}, {2, "--nodes a --clients A!"}, {2, "--nodes a --dir @dirwithkeys"}, {2, "--nodes a --dir @yaml"}},
	"tls node":                   {{2, ""}, {2, "a b"}, {2, "a --dir @nowhere"}, {2, "a --dir @dir"}, {2, "A --dir @dirwithkeys"}, {2, "bordeaux --dir @dirwithkeys"}, {2, "a --dir @dirwithkeys --days 1.5"}},
	"tls client":                 {{2, ""}, {2, "a b"}, {2, "a --dir @nowhere"}, {2, "A --dir @dirwithkeys"}, {2, "a --hosts b"}},
	"tls request":                {{2, ""}, {2, "a b"}, {2, "A"}, {2, "a@"}, {2, "@long"}, {2, "a --dir @yaml"}, {2, "a --hosts x:1"}, {2, "--client A"}},
	"tls sign":                   {{2, ""}, {2, "a"}, {2, "a @nowhere --dir @dirwithkeys"}, {2, "a @big --dir @dirwithkeys"}, {2, "a @noise --dir @dirwithkeys"}, {2, "A @noise --dir @dirwithkeys"}, {2, "a @noise --dir @nowhere"}},
	"tls check":                  {{2, ""}, {2, "a b"}, {2, "@nowhere"}, {2, "@noise --authority @noise"}, {2, "@dir --authority @dir"}, {2, "a --key"}},
	"gossip key make":            {{2, ""}, {2, "a b"}, {2, "@yaml"}, {2, "@dir"}, {2, "@yaml/x"}},
	"gossip key show":            {{2, "x"}, {2, "--colour"}},
	"cluster signing-key show":   {{2, "x"}, {2, "--colour"}},
	"cluster signing-key rotate": {{2, "x"}, {2, "--dry-run"}, {2, "--colour"}},
	"cluster signing-key retire": {{2, ""}, {2, "a b"}, {2, "a/b"}, {2, "@long"}, {4, "0123456789abcdef"}, {4, "0123456789abcdef --dry-run"}},
	"vendor-key list":            {{2, "x"}, {2, "--colour"}, {2, "--min-index x"}},
	"vendor-key apply":           {{2, ""}, {2, "@signed @signed"}, {2, "@nowhere"}, {2, "@dir"}, {2, "@empty"}, {2, "@noise"}, {2, "@big"}, {2, "@signed"}, {2, "@key"}, {2, "@signed --colour"}},
	"vendor endorse":             {{2, ""}, {2, "x"}, {2, "--key @nowhere --adds @foreignpub --name a"}, {2, "--key @noise --adds @foreignpub --name a"}, {2, "--key @foreignkey"}, {2, "--key @foreignkey --adds @foreignpub"}, {2, "--key @foreignkey --adds @noise --name a"}, {2, "--key @foreignkey --revokes a/b"}, {2, "--key @foreignkey --revokes 0123456789abcdef --days 0"}, {2, "--key @foreignkey --revokes 0123456789abcdef --days 367"}, {2, "--colour"}},
	"gossip key rotate":          {{2, "x"}, {2, "--dry-run"}, {2, "--colour"}},
	"config check":               {{2, ""}, {2, "@nowhere"}, {2, "@dir"}, {2, "@empty"}, {2, "@noise"}, {2, "@big"}, {2, "@yaml"}, {2, "@config @config"}, {2, "@config --set"}, {2, "@config --set x"}, {2, "@config --set colour.red=1"}, {2, "@config --set node.id=A"}, {2, "@config --set node.id=@long"}},
	"config example":             {{2, "x"}, {2, "--colour"}},
	"server":                     {{2, ""}, {2, "x"}, {2, "--config"}, {2, "--config @nowhere"}, {2, "--config @dir"}, {2, "--config @noise"}, {2, "--config @big"}, {2, "--config @config --set x"}, {2, "--config @config --set node.id=A"}},
	"dev":                        {{2, "x"}, {2, "--colour"}, {2, "--base-port x"}, {2, "--base-port 0"}, {2, "--base-port 65535"}, {2, "--dir @dirwithkeys"}},
	"version":                    {{2, "x"}, {2, "--colour"}},
	"help":                       {{2, "nothing"}, {2, "instance nothing"}, {2, "--colour"}},
}

// TestBadCalls: every verb refuses wrong input with the documented exit code, one
// line that says why and nothing on its output, and changes nothing.
func TestBadCalls(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 30)
	a, err := c.http.CreateInstance(t.Context(), "load", "one", apiv1.Quantities{"primary": 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.http.Activate(t.Context(), a.Value.Key, apiv1.Quantities{"primary": 3}); err != nil {
		t.Fatal(err)
	}
	files := c.badFiles(a.Value.Key)
	before := c.contents()
	env := []string{"LICET_ENDPOINTS=" + strings.Join(c.Endpoints(), ","), "LICET_TOKEN_FILE=" + c.path("token")}

	t.Run("every verb is tried", func(t *testing.T) {
		verbs := verbsOf(t)
		for _, verb := range verbs {
			if len(badCalls[verb]) == 0 {
				t.Errorf("licet %s is not tried", verb)
			}
		}
		for verb := range badCalls {
			if !slices.Contains(verbs, verb) {
				t.Errorf("licet %s is tried and is not there: %v", verb, verbs)
			}
		}
	})
	for verb, calls := range badCalls {
		t.Run(verb, func(t *testing.T) {
			for _, call := range calls {
				for _, args := range []string{call.args, call.args + " -o json"} {
					words := append(strings.Fields(verb), files.words(args)...)
					code, out, errs := runLicet(t, env, words...)
					shown := verb + " " + args
					switch {
					case code != call.code:
						t.Errorf("%s: exit code %d instead of %d: %.300s", shown, code, call.code, errs)
					case out != "" && !strings.Contains(args, "--at "):
						t.Errorf("%s: an error, and the output has %.300q", shown, out)
					case !strings.HasPrefix(errs, "licet: ") && !strings.HasPrefix(errs, "{"):
						t.Errorf("%s: the error is %.300q", shown, errs)
					case len(errs) > 50_000 || strings.Contains(errs, "goroutine ") || strings.Contains(errs, token):
						t.Errorf("%s: the error says too much: %.300s", shown, errs)
					}
				}
			}
		})
	}
	if after := c.contents(); after != before {
		t.Errorf("the state has changed to\n%s\nfrom\n%s", after, before)
	}
}

// verbsOf takes all verbs out of the help.
func verbsOf(t *testing.T) []string {
	t.Helper()
	listed := func(path ...string) []string {
		_, list, ok := strings.Cut(mustRun(t, append([]string{"help"}, path...)...), "Commands:\n")
		if !ok {
			return nil
		}
		list, _, _ = strings.Cut(list, "\n\n")
		var names []string
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+)  `).FindAllStringSubmatch(list, -1) {
			names = append(names, m[1])
		}
		return names
	}
	var walk func(path ...string) []string
	walk = func(path ...string) (verbs []string) {
		below := listed(path...)
		if len(below) == 0 {
			return []string{strings.Join(path, " ")}
		}
		for _, name := range below {
			verbs = append(verbs, walk(append(slices.Clone(path), name)...)...)
		}
		return verbs
	}
	return walk()
}

// badFiles are the files that badCalls names.
type badFiles map[string]string

func (c *Cluster) badFiles(key string) badFiles {
	c.t.Helper()
	f := badFiles{"none": "", "long": strings.Repeat("x", 20_000), "nowhere": c.path("no/where"), "public": c.path("cluster.pub"), "config": c.path("bordeaux.yaml")}
	write := func(name, text string) { f[name] = c.write("bad-"+name, text) }
	yaml := contractYAML("load", 2, 40)
	signed := strings.TrimSpace(c.sign(contractYAML("load", 1, 30)))
	write("empty", "")
	write("noise", "\xff\x00\xfe noise \x1b[31m\n")
	write("big", strings.Repeat("x", 3<<20))
	write("yaml", yaml)
	write("key", key+"\n")
	write("handle", "not-that-of-any-lease\n")
	write("pool", "name: design\ncontract: load\nsize: 1\nproducts: {cad: {}}\n")
	write("alteredkey", altered(key))
	write("signed", signed)
	write("altered", altered(signed))
	for _, dir := range []string{"dir", "dirwithkeys"} {
		f[dir] = c.path(dir)
		if err := os.Mkdir(f[dir], 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	initTLS(c.t, f["dirwithkeys"], "bordeaux")
	mustRun(c.t, "vendor", "keygen", "--dir", f["dirwithkeys"])
	f["foreignkey"], f["foreignpub"] = filepath.Join(f["dirwithkeys"], "vendor.key"), filepath.Join(f["dirwithkeys"], "vendor.pub")
	write("foreign", mustRun(c.t, "vendor", "sign", f["yaml"], "--key", f["foreignkey"]))
	c.on(c.nodes[0], "keys", "--out", f["public"])
	return f
}

// altered has another character in its signature.
func altered(document string) string {
	text := []byte(strings.TrimSpace(document))
	at := len(text) - 20
	if text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	return string(text) + "\n"
}

// words are a call's arguments.
func (f badFiles) words(args string) []string {
	words := strings.Fields(args)
	for i, word := range words {
		words[i] = regexp.MustCompile(`@[a-z]+`).ReplaceAllStringFunc(word, func(name string) string { return f[name[1:]] })
	}
	return words
}
