package signed

import (
	"crypto/ed25519"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// formatsPage is the page that other languages' implementations are written from.
const formatsPage = "../../docs/formats.md"

// example is a document whose bytes the page shows.
type example struct {
	name    string
	key     ed25519.PrivateKey
	content interface {
		payload
		Sign(key ed25519.PrivateKey) (string, error)
	}
	// verify returns whether a text verifies as this kind with these keys.
	verify func(text string, keys []ed25519.PublicKey) error
}

func examples() []example {
	at := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	contract := testContract()
	contract.Answers = []uint64{4, 9}
	return []example{
		{"A contract", vendor, contract, func(text string, keys []ed25519.PublicKey) error {
			_, _, err := VerifyContract(text, keys)
			return err
		}},
		{"A statement about vendor keys", vendor, testStatement(), func(text string, keys []ed25519.PublicKey) error {
			_, _, err := VerifyStatement(text, keys)
			return err
		}},
		{"A license key", cluster, testLicenseKey(), func(text string, keys []ed25519.PublicKey) error {
			_, err := VerifyLicenseKey(text, keys)
			return err
		}},
		{"A borrow token", cluster, &Borrow{
			Cluster: "c1", Lease: 41, Pool: "design", Product: "viewer", User: "ann@example.com", Client: "ann's laptop",
			Count: 1, Issued: at, Expiry: at.AddDate(0, 0, 3),
		}, func(text string, keys []ed25519.PublicKey) error {
			_, err := VerifyBorrow(text, keys)
			return err
		}},
		{"A join token", cluster, &JoinToken{Cluster: "c1", Node: "nice", Expiry: at}, func(text string, keys []ed25519.PublicKey) error {
			_, err := VerifyJoinToken(text, keys)
			return err
		}},
		{"A backup's seal", cluster, &BackupSeal{
			BackupHeader: BackupHeader{
				Cluster: "c1", Node: "lyon", Version: "1.0.0", Created: at, Index: 1234, Term: 5, Digest: strings.Repeat("0f", 32),
			},
			Bytes: 100_000, SHA256: strings.Repeat("a5", 32),
		}, func(text string, keys []ed25519.PublicKey) error {
			_, err := VerifyBackupSeal(text, keys)
			return err
		}},
		{"A checkpoint", cluster, &Checkpoint{
			Cluster: "c1", Node: "lyon", Issued: at, Index: 1234, Row: 567, Chain: strings.Repeat("3c", 32),
		}, func(text string, keys []ed25519.PublicKey) error {
			_, err := VerifyCheckpoint(text, keys)
			return err
		}},
	}
}

// fences returns the text blocks of a section of the page.
func fences(t testing.TB, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(page(t), "\n### "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", formatsPage, heading)
	}
	if end := regexp.MustCompile(`(?m)^##+ `).FindStringIndex(section); end != nil {
		section = section[:end[0]]
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```text\n(.*?)^```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, strings.TrimSuffix(m[1], "\n"))
	}
	return blocks
}

// The page shows payloads and documents as licet writes them, byte for byte. Ed25519 is deterministic.
func TestFormatsPage(t *testing.T) {
	for _, e := range examples() {
		t.Run(e.name, func(t *testing.T) {
			document := mustSign(t, e.content, e.key)
			blocks := fences(t, e.name)
			if len(blocks) != 2 || blocks[0] != payloadText(t, document) || blocks[1] != document {
				t.Errorf("%s should show these two blocks:\n%s\n\n%s", formatsPage, payloadText(t, document), document)
			}
			if err := e.verify(document, publicKeys(e.key)); err != nil {
				t.Error(err)
			}
			if seal(strings.Split(document, ".")[0], e.key, payloadText(t, document)) != document {
				t.Error("the four parts of the page are not how it is signed")
			}
		})
	}
}

// The keys of the page are the keys of its documents.
func TestFormatsPageKeys(t *testing.T) {
	blocks := fences(t, "Keys")
	if len(blocks) != 2 {
		t.Fatalf("%d blocks instead of two keys", len(blocks))
	}
	for i, private := range []ed25519.PrivateKey{vendor, cluster} {
		key, err := ParsePublicKey([]byte(blocks[i] + "\n"))
		if err != nil || !key.Equal(private.Public()) {
			text, _ := EncodePublicKey(private.Public().(ed25519.PublicKey))
			t.Errorf("key %d should be\n%s(%v)", i+1, text, err)
		}
		if !strings.Contains(page(t), "`"+KeyID(key)+"`") {
			t.Errorf("the page lacks the key id %s", KeyID(key))
		}
	}
}

func page(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(formatsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the page calls refused is refused, for the reason that it says: each line is a reason, then a license key.
func TestFormatsPageRefusals(t *testing.T) {
	faults := map[string]error{"malformed": ErrMalformed, "unknown key": ErrUnknownKey, "signature": ErrSignature}
	blocks := fences(t, "Refused")
	want := refusedExamples(t)
	if len(blocks) != 1 || blocks[0] != strings.Join(want, "\n") {
		t.Fatalf("the page should show:\n%s", strings.Join(want, "\n"))
	}
	for _, line := range strings.Split(blocks[0], "\n") {
		reason, document, _ := strings.Cut(line, ": ")
		fault, known := faults[reason]
		if _, err := VerifyLicenseKey(document, publicKeys(cluster)); !known || !errors.Is(err, fault) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// refusedExamples are license keys that a careless verifier takes.
func refusedExamples(t testing.TB) []string {
	t.Helper()
	good := mustSign(t, testLicenseKey(), cluster)
	text, parts := payloadText(t, good), strings.Split(good, ".")
	more := strings.Replace(text, `"primary":15`, `"primary":99`, 1)
	changed := strings.Split(seal(LicenseKeyKind, cluster, more), ".")
	return []string{
		"signature: " + strings.Join([]string{parts[0], parts[1], changed[2], parts[3]}, "."),
		"unknown key: " + mustSign(t, testLicenseKey(), stranger),
		"malformed: " + seal(BorrowKind, cluster, text),
		"malformed: " + seal(LicenseKeyKind, cluster, strings.Replace(text, `"serial":7`, `"serial":7,"serial":8`, 1)),
		"malformed: " + seal(LicenseKeyKind, cluster, strings.Replace(text, `{"cluster"`, `{ "cluster"`, 1)),
		"malformed: " + seal(LicenseKeyKind, cluster, strings.Replace(text, `"grace_days"`, `"unlimited":true,"grace_days"`, 1)),
		"malformed: " + good + "==",
	}
}

// FuzzVerifyCheckpoint reads any text, and any payload that the cluster might have signed.
func FuzzVerifyCheckpoint(f *testing.F) {
	good := fences(f, "A checkpoint")
	f.Add(good[1], good[0])
	keys := publicKeys(cluster)
	f.Fuzz(func(t *testing.T, document, payload string) {
		for _, text := range []string{document, seal(CheckpointKind, cluster, payload)} {
			c, err := VerifyCheckpoint(text, keys)
			switch {
			case err != nil && (c != nil || !documented(err)):
				t.Fatalf("checkpoint %v, error %v", c, err)
			case err == nil && mustSign(t, c, cluster) != strings.TrimSpace(text):
				t.Fatal("a checkpoint with a second spelling")
			}
		}
	})
}

// FuzzVerifyBorrow reads any text, and any payload that the cluster might have signed.
func FuzzVerifyBorrow(f *testing.F) {
	good := fences(f, "A borrow token")
	f.Add(good[1], good[0])
	keys := publicKeys(cluster)
	f.Fuzz(func(t *testing.T, document, payload string) {
		for _, text := range []string{document, seal(BorrowKind, cluster, payload)} {
			b, err := VerifyBorrow(text, keys)
			switch {
			case err != nil && (b != nil || !documented(err)):
				t.Fatalf("borrow %v, error %v", b, err)
			case err == nil && mustSign(t, b, cluster) != strings.TrimSpace(text):
				t.Fatal("a borrow token with a second spelling")
			}
		}
	})
}
