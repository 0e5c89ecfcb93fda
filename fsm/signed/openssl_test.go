//go:build openssl

package signed

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// script writes the page's script for openssl into a file.
func script(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile("(?ms)^```bash\n(.*?)^```").FindStringSubmatch(page(t))
	if m == nil {
		t.Fatalf("%s has no script", formatsPage)
	}
	return file(t, "licet-verify", []byte(m[1]))
}

func file(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run verifies a document with openssl and the page's script.
func run(t *testing.T, kind, document string, key ed25519.PublicKey) (payload, said string, err error) {
	t.Helper()
	text, err := EncodePublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "bash", script(t), kind, file(t, "document", []byte(document)), file(t, "key.pem", text))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	return out.String(), errs.String(), err
}

// The documents verify without a line of licet's code.
func TestOpenSSLVerifies(t *testing.T) {
	for _, e := range examples() {
		t.Run(e.name, func(t *testing.T) {
			document := fences(t, e.name)[1]
			kind, _, _ := strings.Cut(document, ".")
			for _, spelled := range []string{document, document + "\n"} {
				payload, said, err := run(t, kind, spelled, publicKeys(e.key)[0])
				if err != nil || payload != fences(t, e.name)[0] {
					t.Errorf("%v, %s; payload %s", err, said, payload)
				}
			}
		})
	}
}

// What step 4 and those before it refuse, the script refuses too.
func TestOpenSSLRefuses(t *testing.T) {
	for _, line := range strings.Split(fences(t, "Refused")[0], "\n")[:3] {
		reason, document, _ := strings.Cut(line, ": ")
		payload, said, err := run(t, LicenseKeyKind, document, publicKeys(cluster)[0])
		if err == nil || payload != "" || !strings.Contains(strings.ToLower(said), reason) {
			t.Errorf("%s: %v, %q; payload %s", reason, err, said, payload)
		}
	}
}

// A key pair of openssl's own making signs what licet verifies.
func TestOpenSSLSigns(t *testing.T) {
	dir := t.TempDir()
	key, text, signature := filepath.Join(dir, "vendor.key"), filepath.Join(dir, "text"), filepath.Join(dir, "signature")
	openssl := func(args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
		if err != nil {
			t.Fatalf("openssl %s: %v", args[0], err)
		}
		return out
	}
	openssl("genpkey", "-algorithm", "ed25519", "-out", key)
	public, err := ParsePublicKey(openssl("pkey", "-in", key, "-pubout"))
	if err != nil {
		t.Fatal(err)
	}
	payload := encoding.EncodeToString([]byte(payloadText(t, mustSign(t, testContract(), vendor))))
	head := ContractKind + "." + KeyID(public) + "." + payload
	if err := os.WriteFile(text, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", text, "-out", signature)
	raw, err := os.ReadFile(signature)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyContract(head+"."+encoding.EncodeToString(raw), []ed25519.PublicKey{public}); err != nil {
		t.Error(err)
	}
}
