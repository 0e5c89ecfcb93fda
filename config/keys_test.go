package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// fields lists the leaves of Config as section.key, in order.
func fields() []string {
	var names []string
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		section := config.Field(i)
		for j := range section.Type.NumField() {
			names = append(names, snake(section.Name)+"."+snake(section.Type.Field(j).Name))
		}
	}
	return names
}

// snake turns HTTP into http and DataDir into data_dir.
func snake(name string) string {
	var b strings.Builder
	previous := 'A'
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(previous) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
		previous = r
	}
	return b.String()
}

// The table has each field once, under its name, and each row writes and reads its own field.
func TestTableIsTheStruct(t *testing.T) {
	var names []string
	for i := range keys {
		k := &keys[i]
		names = append(names, k.name)
		text := k.def + k.example
		switch text {
		case "false": // what changes nothing shows nothing
			text = "true"
		case "0s":
			text = "5m"
		}
		if text == "" {
			text = map[string]string{"http.advertise": "http://x:1", "audit.copy_syslog": "tcp://x:1", "oidc.issuer": "https://x:1", "oidc.roles": "operator x", "tracing.endpoint": "http://x:1/v1/traces", "gossip.advertise": "10.0.0.1:1"}[k.name]
		}
		if text == "" {
			text = "x:1"
			if _, ok := k.canonical(text); !ok {
				text = "x"
			}
		}
		if text == "false" {
			text = "true"
		}
		var c Config
		k.set(&c, k.split(text))
		if got := strings.Join(k.get(&c), ", "); got != text {
			t.Errorf("%s: set %q, got %q", k.name, text, got)
		}
		if changed := nonZero(c); !slices.Equal(changed, []string{k.name}) {
			t.Errorf("%s: changes %q", k.name, changed)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Sorted(slices.Values(fields())), names); diff != "" {
		t.Errorf("-fields +table:\n%s", diff)
	}
}

// nonZero lists the leaves that are set.
func nonZero(c Config) []string {
	var set []string
	names := fields()
	v := reflect.ValueOf(c)
	for i, n := 0, 0; i < v.NumField(); i++ {
		for j := 0; j < v.Field(i).NumField(); j, n = j+1, n+1 {
			if !v.Field(i).Field(j).IsZero() {
				set = append(set, names[n])
			}
		}
	}
	return set
}

func TestTableRows(t *testing.T) {
	for i := range keys {
		k := &keys[i]
		if k.doc == "" || k.allowed == "" {
			t.Errorf("%s: no doc or no bounds", k.name)
		}
		if k.mandatory && (k.def != "" || k.derived != "" || k.example == "") {
			t.Errorf("%s: mandatory keys have an example and no default", k.name)
		}
		if k.derived != "" && k.def != "" {
			t.Errorf("%s: default and derived", k.name)
		}
		if len(within(k.section())) == 0 || !slices.ContainsFunc(sections, func(s struct{ name, doc string }) bool { return s.name == k.section() }) {
			t.Errorf("%s: unknown section", k.name)
		}
		if strings.Contains(k.section(), "_") || slices.Contains(clientEnvironment, k.env()) {
			t.Errorf("%s: ambiguous variable %s", k.name, k.env())
		}
		for _, text := range append(k.split(k.def), k.split(k.example)...) {
			if canonical, ok := k.canonical(text); (text != "" || !k.mandatory && k.def == "" && k.example == "") && (!ok || canonical != text) {
				t.Errorf("%s: default or example %q is not allowed or not canonical", k.name, text)
			}
		}
	}
}

func TestExampleIsComplete(t *testing.T) {
	example := Example()
	for _, field := range fields() {
		section, name, _ := strings.Cut(field, ".")
		_, rest, found := strings.Cut(example, "\n"+section+":\n")
		body, _, _ := strings.Cut(rest, "\n\n# ")
		line := regexp.MustCompile(`(?m)^  # .*\n  ` + name + `: \S`)
		if !found || !line.MatchString(body) {
			t.Errorf("%s does not stand in the example, after a comment", field)
		}
		if words := strings.Join(strings.Fields(keyNamed(field).doc)[:3], " "); !strings.Contains(body, "  # "+words) {
			t.Errorf("%s: the example does not say %q", field, words)
		}
	}
}

func TestExampleLoadsToTheDefaults(t *testing.T) {
	c, err := load("/etc/licet/licet.yaml", []byte(Example()), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defaults := Defaults()
	for i := range keys {
		k := &keys[i]
		want := k.get(&defaults)
		switch {
		case k.file != notAFile && k.mandatory:
			want = k.split("/etc/licet/" + strings.TrimPrefix(k.example, "/etc/licet/"))
			if k.example[0] == '/' {
				want = k.split(k.example)
			}
		case k.example != "":
			want = k.split(k.example)
		case k.derived != "":
			continue // below
		}
		if diff := cmp.Diff(want, k.get(&c)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", k.name, diff)
		}
	}
	if c.Node.Site != "bordeaux" || c.Node.Advertise != c.Node.Listen || c.Gossip.Advertise != c.Gossip.Listen ||
		c.HTTP.Advertise != "http://127.0.0.1:7001" {
		t.Errorf("derived values: %+v", c)
	}
}

// The defaults as they were decided; a change is to be made on purpose.
func TestDefaults(t *testing.T) {
	want := Config{
		Node:      Node{Listen: "127.0.0.1:7101", Voter: true},
		HTTP:      HTTP{Listen: "127.0.0.1:7001"},
		Gossip:    Gossip{Listen: "127.0.0.1:7201"},
		Autopilot: Autopilot{Stabilisation: 3e9, PreferredAfter: 30e9, MinVoters: 3},
		OIDC:      OIDC{GroupClaim: "groups"},
		Raft: Raft{
			HeartbeatTimeout: 500e6, ElectionTimeout: 500e6, SnapshotThreshold: 8192, SnapshotInterval: 30e9,
			TrailingLogs: 10240,
		},
		Limits: Limits{
			Queue: 4096, BatchCommands: 512, BatchBytes: 1 << 20, BodyBytes: 1 << 20, MaxClockSkew: 5e9,
			RequestTimeout: 10e9,
			RatePrincipal:  1000, RatePrincipalBurst: 2000, RateAddress: 5000, RateAddressBurst: 10_000, RateUnknown: 20, RateUnknownBurst: 200,
			Connections: 8192, ConnectionsEach: 1024, Waits: 1000, WaitsEach: 250,
		},
		Audit: Audit{FileBytes: 64 << 20, TotalBytes: 1 << 30},
		Log:   Log{Level: "info", Format: "text"},

		Tracing: Tracing{Ratio: 1},
	}
	if diff := cmp.Diff(want, Defaults()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Every key can be set from each source, and to the same effect.
func TestEveryKeyFromEverySource(t *testing.T) {
	for i := range keys {
		k := &keys[i]
		value := k.example + k.def
		doc := k.section() + ":\n  " + k.short() + ": " + k.yaml(k.split(value)) + "\n"
		sources := map[string]error{
			"file":        loadError([]byte(doc), nil, nil),
			"environment": loadError(nil, []string{k.env() + "=" + value}, nil),
			"override":    loadError(nil, nil, []string{k.name + "=" + value}),
		}
		for source, err := range sources {
			for _, line := range strings.Split(err.Error(), "\n") {
				alone := k.name == "cluster.expect" && strings.Contains(line, "needs the address of at least one")
				if !alone && !strings.Contains(line, ": missing; ") || strings.Contains(line, k.name+": missing") {
					t.Errorf("%s from %s: %s", k.name, source, line)
				}
			}
		}
	}
}

func TestYAMLLoadsBack(t *testing.T) {
	want := validConfig()
	want.Node.Site = "null"
	want.TLS.CA = "/odd: name, \"quoted\" #1 \u2028 ü [x]/null"
	want.Cluster.VendorKeys = []string{"/a, b", "/~", "/c"}
	got, err := load("/etc/licet/other.yaml", []byte(want.YAML()), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, want.YAML())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestKeysAndReference(t *testing.T) {
	reference := Reference()
	all := Keys()
	if len(all) != len(keys) {
		t.Fatalf("got %d of %d keys", len(all), len(keys))
	}
	for _, k := range all {
		if !strings.Contains(reference, "| `"+k.Name+"`<br>`"+k.Environment+"` | ") {
			t.Errorf("%s is not in the reference", k.Name)
		}
	}
	if k := all[len(all)-1]; k.Environment != "LICET_TRACING_RATIO" || k.Default != "1" || k.Allowed != "a number from 0 to 1, such as 0.05" || k.Doc == "" {
		t.Errorf("got %+v", k)
	}
	if c := Defaults(); len(c.Cluster.Peers) != 0 {
		t.Errorf("default peers: %q", c.Cluster.Peers)
	}
	names := ClientEnvironment()
	names[0] = "changed"
	if ClientEnvironment()[0] != "LICET_TOKEN" {
		t.Error("ClientEnvironment gives out its own slice")
	}
}

func TestTheRealEnvironmentIsAccepted(t *testing.T) {
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, envPrefix) {
			t.Skip("this environment configures licet itself: " + strings.SplitN(entry, "=", 2)[0])
		}
	}
	if _, err := load("licet.yaml", []byte(valid), os.Environ(), nil); err != nil {
		t.Error(err)
	}
}

// Changed tells what a running node takes over from what needs a restart.
func TestChanged(t *testing.T) {
	from := Defaults()
	to := from
	to.Log.Level, to.Limits.BodyBytes, to.Cluster.PreferredSites = "debug", 2048, []string{"paris"}
	to.Node.Voter, to.Raft.HeartbeatTimeout = false, 400e6
	reloaded, fixed := Changed(from, to)
	if want := []string{"cluster.preferred_sites", "limits.body_bytes", "log.level"}; !slices.Equal(reloaded, want) {
		t.Errorf("taken over %q, want %q", reloaded, want)
	}
	if want := []string{"node.voter", "raft.heartbeat_timeout"}; !slices.Equal(fixed, want) {
		t.Errorf("needing a restart %q, want %q", fixed, want)
	}
	if reloaded, fixed = Changed(from, from); len(reloaded)+len(fixed) > 0 {
		t.Errorf("nothing changed, and yet %q and %q", reloaded, fixed)
	}
}
