package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

const contractYAML = `id: themis
revision: 2
customer: ACME SARL
email: licenses@acme.example
start: 2026-01-01
expiry: 2026-12-31
grace_days: 14
users: {primary: 30}
products:
  editor: {model: floating, quantity: 10, overdraft: 2}
`

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// want runs the program and holds it against an exit code and a part of what it says.
func want(t *testing.T, code int, part string, args ...string) ran {
	t.Helper()
	got := run(t, nil, args...)
	if got.code != code || !strings.Contains(got.out+got.err, part) {
		t.Errorf("licet %s: %+v, want exit %d and %q", strings.Join(args, " "), got, code, part)
	}
	return got
}

func mode(t *testing.T, name string) os.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// C1, C2: what a vendor does from the key to the verified contract.
func TestVendor(t *testing.T) {
	t.Chdir(t.TempDir())
	want(t, exitOK, "key id", "vendor", "keygen")
	if got := mode(t, "vendor.key"); got != 0o600 {
		t.Errorf("vendor.key has mode %o", got)
	}
	secret, _ := os.ReadFile("vendor.key")
	want(t, exitUsage, "vendor.key exists already and is not overwritten", "vendor", "keygen")
	if again, _ := os.ReadFile("vendor.key"); string(again) != string(secret) {
		t.Error("the key was overwritten")
	}
	if err := os.Remove("vendor.key"); err != nil {
		t.Fatal(err)
	}
	want(t, exitUsage, "vendor.pub exists already", "vendor", "keygen")
	if _, err := os.Stat("vendor.key"); err == nil {
		t.Error("half a pair was made")
	}
	write(t, "vendor.key", string(secret))
	want(t, exitOK, "key id", "vendor", "keygen", "--dir", "a/stranger")

	write(t, "c.yaml", contractYAML)
	want(t, exitOK, "", "vendor", "sign", "c.yaml", "--key", "vendor.key", "--out", "c.signed")
	printed := want(t, exitOK, signed.ContractKind+".", "vendor", "sign", "--key=vendor.key", "c.yaml")
	if text, _ := os.ReadFile("c.signed"); string(text) != printed.out {
		t.Error("--out differs from the output")
	}
	shown := want(t, exitOK, "2027-01-15T00:00:00Z", "vendor", "verify", "c.signed", "--public-key", "vendor.pub")
	for _, part := range []string{"expiry      2027-01-01T00:00:00Z", "start       2026-01-01T00:00:00Z", "signature   genuine", "primary  30", "editor   floating  10        2"} {
		if !strings.Contains(shown.out, part) {
			t.Errorf("%q is not in %s", part, shown.out)
		}
	}
	want(t, exitOK, `"users":{"primary":30}`, "vendor", "verify", "c.signed", "--key", "vendor.pub", "-o", "json")
	want(t, exitRefused, "signed by an unknown key", "vendor", "verify", "c.signed", "--key", "a/stranger/vendor.pub")
	write(t, "altered", strings.Replace(printed.out, ".ey", ".ez", 1))
	want(t, exitRefused, "signature does not fit", "vendor", "verify", "altered", "--key", "vendor.pub")
	want(t, exitRefused, "malformed", "vendor", "verify", "c.yaml", "--key", "vendor.pub")
	want(t, exitUsage, "no PEM block", "vendor", "verify", "c.signed", "--key", "c.yaml")
	leak := want(t, exitUsage, `found instead of "PUBLIC KEY"`, "vendor", "verify", "c.signed", "--key", "vendor.key")
	want(t, exitUsage, `found instead of "PRIVATE KEY"`, "vendor", "sign", "c.yaml", "--key", "vendor.pub")
	if body := strings.Split(string(secret), "\n")[1]; strings.Contains(leak.err, body) {
		t.Error("the secret is shown")
	}
	write(t, "bad.yaml", strings.Replace(contractYAML, "revision: 2", "revison: 2", 1))
	want(t, exitUsage, "bad.yaml:2: revison: there is no such field", "vendor", "sign", "bad.yaml", "--key", "vendor.key", "--out", "bad.signed")
	if _, err := os.Stat("bad.signed"); err == nil {
		t.Error("a refused contract was written")
	}
	want(t, exitInternal, "no-such-directory", "vendor", "sign", "c.yaml", "--key", "vendor.key", "--out", "no-such-directory/x")
	want(t, exitUsage, "holds no signed contract", "contract", "apply", "c.yaml")
}

// C5, I4: offline, with the public key alone.
func TestVerify(t *testing.T) {
	t.Chdir(t.TempDir())
	want(t, exitOK, "", "vendor", "keygen")
	text, err := os.ReadFile("vendor.key")
	if err != nil {
		t.Fatal(err)
	}
	private, err := signed.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	k := signed.LicenseKey{
		Cluster: "c", Serial: 7, Contract: "themis", Revision: 2, GraceDays: 14, Allocation: map[string]uint64{"primary": 10},
		Expiry: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	key, err := k.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "lic.key", key+"\n")
	for _, tt := range []struct {
		at, state string
		code      int
	}{
		{"2026-12-31", "valid", exitOK},
		{"2026-12-31T23:59:59Z", "valid", exitOK},
		{"2027-01-01", "in grace", exitOK},
		{"2027-01-15T00:59:59+01:00", "in grace", exitOK},
		{"2027-01-15", "ended", exitRefused},
		{"2030-01-01", "ended", exitRefused},
	} {
		for _, form := range []string{key, "lic.key"} {
			want(t, tt.code, "state         "+tt.state+"\n", "verify", form, "--public-key", "vendor.pub", "--at", tt.at)
		}
		want(t, tt.code, `{"state":"`+tt.state+`",`, "verify", key, "--public-key", "vendor.pub", "--at", tt.at, "-o", "json")
	}
	want(t, exitRefused, "instance 7: license ended at 2027-01-15T00:00:00Z, 14 days after its expiry", "verify", key, "--public-key", "vendor.pub", "--at", "2027-02-01")
	k.Serial = 8
	other, err := k.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	forged := key[:strings.LastIndexByte(key, '.')] + other[strings.LastIndexByte(other, '.'):]
	want(t, exitRefused, "the license key is not genuine: signature does not fit", "verify", forged, "--public-key", "vendor.pub")
	want(t, exitOK, "", "vendor", "keygen", "--dir", "other")
	want(t, exitRefused, "signed by an unknown key", "verify", key, "--public-key", "other/vendor.pub")
	var out strings.Builder
	code := Run(t.Context(), []string{"licet", "verify", "-", "--public-key", "vendor.pub", "--at", "2026-06-01"}, Streams{In: strings.NewReader(key), Out: &out, Err: &out})
	if code != exitOK || !strings.Contains(out.String(), "valid") {
		t.Errorf("the input: exit %d, %s", code, out.String())
	}
}

// K4: a borrow holds for one user on one device, and a clock that was turned back is noticed.
func TestVerifyWithAMark(t *testing.T) {
	t.Chdir(t.TempDir())
	want(t, exitOK, "", "vendor", "keygen")
	text, err := os.ReadFile("vendor.key")
	if err != nil {
		t.Fatal(err)
	}
	private, err := signed.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	borrow := func(issued time.Time) string {
		token, err := (&signed.Borrow{
			Cluster: "c", Lease: 7, Pool: "field", Product: "cad", User: "ann@acme.example", Client: "ws-1", Count: 1, Issued: issued, Expiry: now.AddDate(0, 0, 3),
		}).Sign(private)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	license, err := (&signed.LicenseKey{
		Cluster: "c", Serial: 7, Contract: "themis", Revision: 2, Allocation: map[string]uint64{"primary": 10}, Expiry: now.AddDate(1, 0, 0),
	}).Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	anybody := []string{"verify", borrow(now), "--public-key", "vendor.pub"}
	whole := append(slices.Clone(anybody), "--user", "Ann@acme.example", "--client", "ws-1", "--mark", "mark")
	want(t, exitUsage, "--user, --client: they are missing", anybody...)
	want(t, exitUsage, "--user, --client: they are missing", append(anybody, "--user", "ann@acme.example")...)
	want(t, exitUsage, "--mark, --at", append(whole, "--at", "2026-06-01")...)
	want(t, exitOK, "valid    true", whole...)
	if got := mode(t, "mark"); got != 0o600 {
		t.Errorf("the mark has mode %o", got)
	}
	want(t, exitOK, "state         valid", "verify", license, "--public-key", "vendor.pub", "--mark", "mark")
	// A genuine token proves that its time of issue has been, and that is remembered.
	later := append([]string{"verify", borrow(now.Add(time.Hour))}, whole[2:]...)
	for _, args := range [][]string{later, whole, {"verify", license, "--public-key", "vendor.pub", "--mark", "mark"}} {
		got := want(t, exitRefused, "the clock was turned back: it shows ", args...)
		if !strings.Contains(got.err, "next: Set the clock right.") {
			t.Errorf("%s", got.err)
		}
	}
	write(t, "mark", "licet-mark-v1 2026-01-01T00:00:00Z 00000000\n")
	want(t, exitRefused, "the mark of the clock can't be read", whole...)
	if err := os.Remove("mark"); err != nil {
		t.Fatal(err)
	}
	want(t, exitOK, "valid    true", whole...)
	want(t, exitRefused, "the mark of the clock can't be stored", append(whole[:len(whole)-1], "no-such-directory/mark")...)
}

func TestTLS(t *testing.T) {
	t.Chdir(t.TempDir())
	got := want(t, exitOK, "", "tls", "init", "--nodes", "bordeaux,lyon", "--clients", "backup", "--hosts", "localhost,127.0.0.1", "--dir", "tls")
	if got.out != "tls/ca.pem\ntls/gossip.key\ntls/bordeaux.pem\ntls/lyon.pem\ntls/client-backup.pem\n" {
		t.Errorf("%+v", got)
	}
	ca, _ := os.ReadFile("tls/ca.pem")
	want(t, exitUsage, "tls/ca.pem exists already", "tls", "init", "--nodes", "nice", "--dir", "tls")
	want(t, exitOK, "tls/nice.pem", "tls", "node", "nice", "--dir", "tls")
	want(t, exitUsage, "tls/nice.pem exists already", "tls", "node", "nice", "--dir", "tls")
	if again, _ := os.ReadFile("tls/ca.pem"); string(again) != string(ca) {
		t.Error("the authority was overwritten")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for name, role := range map[string]transport.Identity{
		"bordeaux": {Role: transport.RoleNode, Name: "bordeaux"}, "nice": {Role: transport.RoleNode, Name: "nice"}, "client-backup": {Role: transport.RoleClient, Name: "backup"},
	} {
		if got := mode(t, filepath.Join("tls", name+"-key.pem")); got != 0o600 {
			t.Errorf("the key of %s has mode %o", name, got)
		}
		text, err := os.ReadFile(filepath.Join("tls", name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Error(err)
		}
		if id, err := transport.IdentityOf(certificate); err != nil || id != role {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	// One bad name of many, and nothing is there afterwards.
	for _, args := range []string{"--nodes a,B", "--nodes a --clients x/y", "--nodes a --hosts x:1"} {
		want(t, exitUsage, "", append([]string{"tls", "init", "--dir", "half"}, strings.Fields(args)...)...)
		if _, err := os.Stat("half"); err == nil {
			t.Errorf("%s left something behind", args)
		}
	}
	write(t, "plain", "")
	want(t, exitUsage, "plain/ca.pem: not a directory", "tls", "init", "--nodes", "a", "--dir", "plain")
}

// TestTLSFromElsewhere: requests that an authority signs, and what the check says of certificates.
func TestTLSFromElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	want(t, exitOK, "", "tls", "init", "--nodes", "bordeaux", "--dir", "pki")
	got := want(t, exitOK, "", "tls", "request", "lyon@east", "--hosts", "lyon.example", "--dir", "lyon")
	if got.out != "lyon/lyon.csr\nlyon/lyon-key.pem\n" || mode(t, "lyon/lyon-key.pem") != 0o600 {
		t.Errorf("%+v", got)
	}
	want(t, exitUsage, "lyon/lyon.csr exists already", "tls", "request", "lyon", "--dir", "lyon")
	want(t, exitUsage, "the request is for", "tls", "sign", "lyon", "lyon/lyon.csr", "--dir", "pki")
	want(t, exitUsage, "the request is for", "tls", "sign", "paris", "lyon/lyon.csr", "--dir", "pki")
	want(t, exitUsage, "holds no certificate request", "tls", "sign", "paris", "pki/ca.pem", "--dir", "pki")
	want(t, exitOK, "pki/lyon.pem", "tls", "sign", "lyon@east", "lyon/lyon.csr", "--dir", "pki")
	want(t, exitUsage, "pki/lyon.pem exists already", "tls", "sign", "lyon@east", "lyon/lyon.csr", "--dir", "pki")

	check := func(code int, contains string, args ...string) ran {
		t.Helper()
		return want(t, code, contains, append([]string{"tls", "check", "--authority", "pki/ca.pem"}, args...)...)
	}
	checked := check(exitOK, "node lyon\nsite      east\n", "pki/lyon.pem", "--key", "lyon/lyon-key.pem")
	if !strings.Contains(checked.out, "hosts     lyon.example") || !strings.Contains(checked.out, "issuer    CN=licet") {
		t.Errorf("%+v", checked)
	}
	check(exitOK, "site      any", "pki/bordeaux.pem")
	check(exitOK, `"role":"node","id":"lyon","site":"east"`, "pki/lyon.pem", "-o", "json")
	check(exitUsage, "bordeaux-key.pem", "pki/lyon.pem", "--key", "pki/bordeaux-key.pem")
	check(exitRefused, "certificate carries no licet role", "pki/ca.pem")
	check(exitUsage, "holds no certificate", "lyon/lyon.csr")
	want(t, exitOK, "", "tls", "init", "--nodes", "paris", "--dir", "other")
	refused := check(exitRefused, "Nodes will refuse this certificate: other/paris.pem: certificate does not lead to the cluster's authority", "other/paris.pem")
	if !strings.Contains(refused.err, "next: ") {
		t.Errorf("%+v", refused)
	}

	want(t, exitOK, "tls/client-desk.csr", "tls", "request", "--client", "desk", "--dir", "tls")
	want(t, exitOK, "pki/client-desk.pem", "tls", "sign", "--client", "desk", "tls/client-desk.csr", "--dir", "pki")
	check(exitOK, "client desk", "pki/client-desk.pem", "--key", "tls/client-desk-key.pem")
	want(t, exitOK, "pki/client-printer.pem", "tls", "client", "printer", "--dir", "pki")
	check(exitOK, "client printer", "pki/client-printer.pem")
}

func TestGossipKeyMake(t *testing.T) {
	t.Chdir(t.TempDir())
	want(t, exitOK, "secrets/gossip.key", "gossip", "key", "make", "secrets/gossip.key")
	want(t, exitUsage, "exists already", "gossip", "key", "make", "secrets/gossip.key")
	want(t, exitOK, "", "tls", "init", "--nodes", "a", "--dir", "tls")
	var keys []string
	for _, file := range []string{"secrets/gossip.key", "tls/gossip.key"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(key) != 32 || mode(t, file) != 0o600 {
			t.Errorf("%s: %d bytes, mode %o, %v", file, len(key), mode(t, file), err)
		}
		keys = append(keys, string(key))
	}
	if keys[0] == keys[1] {
		t.Error("the same key twice")
	}
	// What is there already is kept.
	if err := os.Mkdir("own", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "own/gossip.key", keys[0])
	if got := want(t, exitOK, "", "tls", "init", "--nodes", "a", "--dir", "own"); strings.Contains(got.out, "gossip") {
		t.Errorf("%+v", got)
	}
	if text, _ := os.ReadFile("own/gossip.key"); string(text) != keys[0] {
		t.Error("the key was overwritten")
	}
}

func TestConfig(t *testing.T) {
	t.Chdir(t.TempDir())
	example := want(t, exitOK, "vendor_keys", "config", "example")
	write(t, "licet.yaml", example.out)
	want(t, exitUsage, "tls.ca", "config", "check", "licet.yaml")
	// A list's commas are the configuration's, not the flag's.
	if got := want(t, exitUsage, "tls.ca", "config", "check", "licet.yaml", "--set", "cluster.peers=127.0.0.1:1,127.0.0.1:2"); strings.Contains(got.err, "--set") {
		t.Errorf("%+v", got)
	}
	write(t, "bad.yaml", "node: {id: A_B, sight: x}\n")
	got := want(t, exitUsage, "bad.yaml:1: node.id", "config", "check", "bad.yaml")
	if !strings.Contains(got.err, "\n       ") || !strings.Contains(got.err, "next: ") {
		t.Errorf("%+v", got)
	}
}

func TestKeysAreSaved(t *testing.T) {
	t.Chdir(t.TempDir())
	f := newFake(t, 200, keysAnswer)
	if got := run(t, at(f.Server), "keys", "--out", "cluster.pub"); got.code != exitOK || !strings.Contains(got.out, "in cluster.pub.") {
		t.Errorf("%+v", got)
	}
	const pemText = "-----BEGIN PUBLIC KEY-----\nSSSS\n-----END PUBLIC KEY-----\n"
	if text, err := os.ReadFile("cluster.pub"); string(text) != pemText {
		t.Errorf("%q, %v", text, err)
	}
	if got := run(t, at(f.Server), "keys", "--out=-"); got.out != pemText {
		t.Errorf("%+v", got)
	}
	i := newFake(t, 201, instanceAnswer)
	for _, args := range []string{"instance create themis b --allocate primary=1 --out l.key", "instance resize 1 --allocate primary=1 --out l.key"} {
		if got := run(t, at(i.Server), strings.Fields(args)...); got.code != exitOK || strings.Contains(got.out, "licet-key-v1") {
			t.Errorf("%+v", got)
		}
		if text, err := os.ReadFile("l.key"); string(text) != "licet-key-v1.a.b.c\n" || mode(t, "l.key") != 0o600 {
			t.Errorf("%q, %v", text, err)
		}
	}
	got := run(t, at(i.Server), "instance", "create", "themis", "b", "--allocate", "primary=1", "--out", "no/l.key")
	if got.code != exitInternal || !strings.Contains(got.err, "The request itself was carried out; fetch the key with `licet instance key 1`") {
		t.Errorf("%+v", got)
	}
}

func TestToken(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "one", " first-token \n")
	write(t, "two", "second-token")
	write(t, "none", "\n")
	f := newFake(t, 200, `{"request_ttl_seconds":1,"request_limit":2}`)
	for _, tt := range []struct{ environ, flag, want string }{
		{"", "", ""},
		{"LICET_TOKEN=env", "", "Bearer env"},
		{"LICET_TOKEN_FILE=one", "", "Bearer first-token"},
		{"LICET_TOKEN_FILE=one", "two", "Bearer second-token"},
		{"LICET_TOKEN=env", "two", "Bearer second-token"},
	} {
		args := []string{"settings", "show"}
		if tt.flag != "" {
			args = append(args, "--token-file", tt.flag)
		}
		got := run(t, []string{"LICET_ENDPOINTS=" + f.URL, tt.environ}, args...)
		if got.code != exitOK || f.token != tt.want {
			t.Errorf("%+v: %+v, sent %q", tt, got, f.token)
		}
	}
	if got := run(t, []string{"LICET_TOKEN_FILE=none"}, "settings", "show"); got.code != exitUsage || !strings.Contains(got.err, "the file none is empty") {
		t.Errorf("%+v", got)
	}
}
