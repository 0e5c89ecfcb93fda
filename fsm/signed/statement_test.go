package signed

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

func testStatement() *Statement {
	at := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	return &Statement{
		Cluster: "c1", Adds: hex.EncodeToString(publicKeys(stranger)[0]), Name: "desk-2027", Revokes: KeyID(publicKeys(vendor)[0]),
		Issued: at, Expiry: at.AddDate(0, 0, 30),
	}
}

func TestStatement(t *testing.T) {
	text := mustSign(t, testStatement(), vendor)
	s, id, err := VerifyStatement(text, publicKeys(cluster, vendor))
	if err != nil || *s != *testStatement() || id != KeyID(publicKeys(vendor)[0]) || !s.AddedKey().Equal(publicKeys(stranger)[0]) {
		t.Errorf("%+v, %s, %v", s, id, err)
	}
	if _, _, err := VerifyStatement(text, publicKeys(stranger)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the key that it adds itself: %v", err)
	}
	// Nothing else that the vendor signs changes keys, nor does a statement grant anything.
	contract := mustSign(t, testContract(), vendor)
	for _, other := range []string{contract, strings.Replace(contract, ContractKind, StatementKind, 1)} {
		if _, _, err := VerifyStatement(other, publicKeys(vendor)); !documented(err) {
			t.Errorf("%s: %v", other, err)
		}
	}
	if _, _, err := VerifyContract(strings.Replace(text, StatementKind, ContractKind, 1), publicKeys(vendor)); !errors.Is(err, ErrSignature) {
		t.Errorf("a statement as a contract: %v", err)
	}
	for i := range text {
		altered := text[:i] + string(text[i]^1) + text[i+1:]
		if _, _, err := VerifyStatement(altered, publicKeys(vendor)); err == nil {
			t.Errorf("byte %d altered passes", i)
		}
	}
}

// Each field of a statement: what is refused is never signed, and the error begins with the field.
func TestStatementValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Statement)
		want   string
	}{
		"nothing said":         {func(s *Statement) { s.Adds, s.Name, s.Revokes = "", "", "" }, "adds, revokes: "},
		"cluster malformed":    {func(s *Statement) { s.Cluster = "a b" }, "cluster: "},
		"key cut":              {func(s *Statement) { s.Adds = s.Adds[2:] }, "adds: "},
		"key in capitals":      {func(s *Statement) { s.Adds = strings.ToUpper(s.Adds) }, "adds: "},
		"name missing":         {func(s *Statement) { s.Name = "" }, "name: "},
		"name of no key":       {func(s *Statement) { s.Adds = "" }, "name: "},
		"id cut":               {func(s *Statement) { s.Revokes = s.Revokes[2:] }, "revokes: "},
		"id in capitals":       {func(s *Statement) { s.Revokes = "ABCDEF0123456789" }, "revokes: "},
		"both the same":        {func(s *Statement) { s.Revokes = KeyID(s.AddedKey()) }, "adds, revokes: "},
		"issued missing":       {func(s *Statement) { s.Issued = time.Time{} }, "issued: "},
		"expiry missing":       {func(s *Statement) { s.Expiry = time.Time{} }, "expiry: "},
		"expiry at issued":     {func(s *Statement) { s.Expiry = s.Issued }, "expiry: "},
		"expiry too far":       {func(s *Statement) { s.Expiry = s.Issued.AddDate(0, 0, MaxStatementDays).Add(time.Second) }, "expiry: "},
		"expiry with a half":   {func(s *Statement) { s.Expiry = s.Expiry.Add(time.Second / 2) }, "expiry: "},
		"issued not in UTC":    {func(s *Statement) { s.Issued = s.Issued.In(time.FixedZone("", 3600)) }, "issued: "},
		"id of something else": {func(s *Statement) { s.Revokes = "not a key id at all" }, "revokes: "},
	} {
		s := testStatement()
		c.change(s)
		if _, err := s.Sign(vendor); err == nil || !strings.Contains("\n"+err.Error(), "\n"+c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Statement){
		"for any cluster": func(s *Statement) { s.Cluster = "" }, "an addition": func(s *Statement) { s.Revokes = "" },
		"a revocation": func(s *Statement) { s.Adds, s.Name = "", "" }, "the longest": func(s *Statement) { s.Expiry = s.Issued.AddDate(0, 0, MaxStatementDays) },
	} {
		s := testStatement()
		change(s)
		if got, _, err := VerifyStatement(mustSign(t, s, vendor), publicKeys(vendor)); err != nil || *got != *s {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzVerifyStatement reads any text, and any payload that the vendor might have signed.
func FuzzVerifyStatement(f *testing.F) {
	good := mustSign(f, testStatement(), vendor)
	f.Add(good, payloadText(f, good))
	f.Add(mustSign(f, testContract(), vendor), "{}")
	keys := publicKeys(vendor)
	f.Fuzz(func(t *testing.T, document, payload string) {
		for _, text := range []string{document, seal(StatementKind, vendor, payload)} {
			s, _, err := VerifyStatement(text, keys)
			switch {
			case err != nil && (s != nil || !documented(err)):
				t.Fatalf("statement %v, error %v", s, err)
			case err == nil && mustSign(t, s, vendor) != strings.TrimSpace(text):
				t.Fatal("a statement with a second spelling")
			case err == nil && s.Adds != "" && len(s.AddedKey()) != 32:
				t.Fatal("a key that is none")
			}
		}
	})
}
