package signed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	vendor   = testKey(1)
	cluster  = testKey(2)
	stranger = testKey(3)
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func publicKeys(keys ...ed25519.PrivateKey) []ed25519.PublicKey {
	list := make([]ed25519.PublicKey, len(keys))
	for i, key := range keys {
		list[i] = key.Public().(ed25519.PublicKey)
	}
	return list
}

func testContract() *Contract {
	return &Contract{
		ID: "themis", Revision: 3, Customer: "Böhm & Söhne <GmbH>", Email: "it@example.com",
		Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2026, 12, 31, 12, 30, 0, 0, time.UTC), GraceDays: 10,
		Users:    map[string]uint64{"primary": 30, "extranet": 5},
		Products: map[string]Product{"reven": {Model: Mono, Quantity: 3}, "viewer": {Model: Floating, Quantity: 10, Overdraft: 2}},
	}
}

func testLicenseKey() *LicenseKey {
	return &LicenseKey{
		Cluster: "c1", Serial: 7, Contract: "themis", Revision: 2,
		Expiry: time.Date(2026, 12, 31, 12, 30, 0, 0, time.UTC), GraceDays: 10, Allocation: map[string]uint64{"primary": 15},
	}
}

func mustSign(t testing.TB, p interface {
	Sign(ed25519.PrivateKey) (string, error)
}, key ed25519.PrivateKey,
) string {
	t.Helper()
	document, err := p.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// seal signs any text as a document of a kind, as a vendor with tools of its own could.
func seal(kind string, key ed25519.PrivateKey, text string) string {
	head := kind + "." + KeyID(key.Public().(ed25519.PublicKey)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
	return head + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(head)))
}

func payloadText(t testing.TB, document string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(Payload(document))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// C1, I4: what was signed is what is read, with the public key alone.
func TestRoundTrip(t *testing.T) {
	document := mustSign(t, testContract(), vendor)
	c, keyID, err := VerifyContract(document, publicKeys(stranger, vendor))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*c) != fmt.Sprint(*testContract()) || keyID != KeyID(publicKeys(vendor)[0]) {
		t.Errorf("contract %+v, key %s", c, keyID)
	}
	if mustSign(t, c, vendor) != document {
		t.Error("the same contract, signed again, is another document")
	}
	if other := mustSign(t, c, stranger); Payload(other) != Payload(document) || other == document {
		t.Error("another key's document should differ in key and signature alone")
	}
	k, err := VerifyLicenseKey(mustSign(t, testLicenseKey(), cluster), publicKeys(cluster))
	if err != nil || fmt.Sprint(*k) != fmt.Sprint(*testLicenseKey()) {
		t.Errorf("license key %+v, %v", k, err)
	}
	if want := time.Date(2027, 1, 10, 12, 30, 0, 0, time.UTC); !c.Ends().Equal(want) || !k.Ends().Equal(want) {
		t.Errorf("C5: the ends are %s and %s instead of %s", c.Ends(), k.Ends(), want)
	}
	for _, padded := range []string{document + "\n", "\r\n \t" + document + " \n\n"} {
		if _, _, err := VerifyContract(padded, publicKeys(vendor)); err != nil {
			t.Errorf("spaces around a document, as editors leave them: %v", err)
		}
	}
}

// C2: no altered byte passes, wherever it is.
func TestAlteredBytes(t *testing.T) {
	keys := publicKeys(vendor)
	document := mustSign(t, testContract(), vendor)
	for at := range len(document) {
		for _, other := range []byte{document[at] ^ 1, '.', '\n', 0xff} {
			if other == document[at] {
				continue
			}
			refuse(t, document[:at]+string([]byte{other})+document[at+1:], keys, "byte %d replaced by %q", at, other)
		}
		refuse(t, document[:at]+document[at+1:], keys, "byte %d left out", at)
		if at > 0 {
			for _, more := range []string{"A", "\n", "\r", " "} {
				refuse(t, document[:at]+more+document[at:], keys, "%q inserted at %d", more, at)
			}
			refuse(t, document[:at], keys, "cut at %d", at)
		}
	}
	for _, more := range []string{"A", "=", ".", "\n" + document, ".AA"} {
		refuse(t, document+more, keys, "%q appended", more)
	}
}

func refuse(t *testing.T, document string, keys []ed25519.PublicKey, what string, a ...any) {
	t.Helper()
	c, keyID, err := VerifyContract(document, keys)
	if c != nil || keyID != "" || !documented(err) {
		t.Fatalf("%s: contract %v, key %q, error %v", fmt.Sprintf(what, a...), c, keyID, err)
	}
}

// documented reports an error of the three that callers tell apart.
func documented(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrSignature)
}

func TestRefusedDocuments(t *testing.T) {
	contract := mustSign(t, testContract(), vendor)
	parts := strings.Split(contract, ".")
	swapped := strings.Join([]string{ContractKind, KeyID(publicKeys(vendor)[0]), parts[2], strings.Split(mustSign(t, testContract(), stranger), ".")[3]}, ".")
	license := mustSign(t, testLicenseKey(), vendor)
	for name, c := range map[string]struct {
		document string
		want     error
	}{
		"nothing":                    {"", ErrMalformed},
		"dots":                       {"...", ErrMalformed},
		"stranger's":                 {mustSign(t, testContract(), stranger), ErrUnknownKey},
		"another's signature":        {swapped, ErrSignature},
		"a license key":              {license, ErrMalformed},
		"a license key, kind forged": {ContractKind + strings.TrimPrefix(license, LicenseKeyKind), ErrSignature},
		"a license key's content":    {seal(ContractKind, vendor, payloadText(t, license)), ErrMalformed},
		"a newer kind":               {seal("licet-contract-v2", vendor, payloadText(t, contract)), ErrMalformed},
		"signature too short":        {strings.Join(parts[:3], ".") + ".AAAA", ErrMalformed},
		"no signature":               {strings.Join(parts[:3], ".") + ".", ErrMalformed},
		"payload no base64":          {sealRaw(ContractKind, vendor, "!!!"), ErrMalformed},
		"payload padded":             {sealRaw(ContractKind, vendor, base64.URLEncoding.EncodeToString([]byte(payloadText(t, contract)+" "))), ErrMalformed},
		"no JSON":                    {seal(ContractKind, vendor, "hello"), ErrMalformed},
		"JSON null":                  {seal(ContractKind, vendor, "null"), ErrMalformed},
		"JSON array":                 {seal(ContractKind, vendor, "[]"), ErrMalformed},
		"two contracts":              {seal(ContractKind, vendor, payloadText(t, contract)+payloadText(t, contract)), ErrMalformed},
		"oversized":                  {contract + strings.Repeat(" ", MaxDocument), ErrMalformed},
		"oversized and signed":       {seal(ContractKind, vendor, strings.Repeat("x", MaxDocument)), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := VerifyContract(c.document, publicKeys(vendor))
			if got != nil || !errors.Is(err, c.want) {
				t.Errorf("contract %v, error %v instead of %v", got, err, c.want)
			}
		})
	}
	if _, err := VerifyLicenseKey(contract, publicKeys(vendor)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a contract passed as a license key: %v", err)
	}
	if _, _, err := VerifyContract(contract, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("verified without any key: %v", err)
	}
	if _, _, err := VerifyContract(contract, []ed25519.PublicKey{{1, 2}}); err == nil {
		t.Error("verified with a key of 2 bytes")
	}
}

// sealRaw signs a payload part as it is given.
func sealRaw(kind string, key ed25519.PrivateKey, part string) string {
	head := kind + "." + KeyID(key.Public().(ed25519.PublicKey)) + "." + part
	return head + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(head)))
}

// Each is signed by the vendor as it should be, says the same to a lenient reader, and is refused: all
// builds and languages must read the same.
func TestOnlyCanonicalJSON(t *testing.T) {
	good := payloadText(t, mustSign(t, testContract(), vendor))
	if _, _, err := VerifyContract(seal(ContractKind, vendor, good), publicKeys(vendor)); err != nil {
		t.Fatalf("the test's own signing fails: %v", err)
	}
	for name, change := range map[string][2]string{
		"unknown field":         {`{"id"`, `{"extra":1,"id"`},
		"unknown inner field":   {`{"model":"mono"`, `{"extra":1,"model":"mono"`},
		"duplicate field":       {`"revision":3`, `"revision":2,"revision":3`},
		"duplicate area":        {`"primary":30`, `"primary":9,"primary":30`},
		"other case":            {`"revision"`, `"Revision"`},
		"case variance as well": {`"revision":3`, `"REVISION":9,"revision":3`},
		"other order":           {`"id":"themis","revision":3`, `"revision":3,"id":"themis"`},
		"areas unsorted":        {`"extranet":5,"primary":30`, `"primary":30,"extranet":5`},
		"space":                 {`"revision":3`, `"revision": 3`},
		"line break":            {`{"id"`, "{\n\"id\""},
		"trailing space":        {`}}}`, `}}} `},
		"unescaped &":           {`\u0026`, `&`},
		"needless escape":       {`"themis"`, `"th\u0065mis"`},
		"bad UTF-8":             {`Böhm`, "B\xf6hm"},
		"lone surrogate":        {`Böhm`, `B\ud800hm`},
		"exponent":              {`"revision":3`, `"revision":3e0`},
		"fraction":              {`"revision":3`, `"revision":3.0`},
		"leading zero":          {`"revision":3`, `"revision":03`},
		"string for number":     {`"revision":3`, `"revision":"3"`},
		"null":                  {`"revision":3`, `"revision":null`},
		"negative":              {`"primary":30`, `"primary":-30`},
		"beyond 64 bits":        {`"primary":30`, `"primary":18446744073709551616`},
		"zero overdraft":        {`"quantity":3`, `"quantity":3,"overdraft":0`},
		"other zone":            {`2026-01-01T00:00:00Z`, `2026-01-01T01:00:00+01:00`},
		"zone +00:00":           {`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00+00:00`},
		"zone -00:00":           {`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00-00:00`},
		"fraction of 0":         {`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00.000Z`},
		"small t and z":         {`2026-01-01T00:00:00Z`, `2026-01-01t00:00:00z`},
		"no zone":               {`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00`},
		"date alone":            {`2026-01-01T00:00:00Z`, `2026-01-01`},
		"24 o'clock":            {`2026-01-01T00:00:00Z`, `2025-12-31T24:00:00Z`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, change[0]) {
				t.Fatalf("%q is not in %s", change[0], good)
			}
			document := seal(ContractKind, vendor, strings.Replace(good, change[0], change[1], 1))
			if c, _, err := VerifyContract(document, publicKeys(vendor)); c != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("contract %v, error %v", c, err)
			}
		})
	}
}

func TestPayload(t *testing.T) {
	for document, want := range map[string]string{"": "", "a.b.c": "", "a.b.c.d": "c", " a.b.c.d\n": "c", "a.b.c.d.e": ""} {
		if got := Payload(document); got != want {
			t.Errorf("Payload(%q) = %q, want %q", document, got, want)
		}
	}
}
