package signed

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"
)

func testJoinToken() *JoinToken {
	return &JoinToken{Cluster: "c", Node: "quimper", Expiry: time.Date(2026, 9, 1, 9, 0, 0, 0, time.UTC)}
}

func TestJoinToken(t *testing.T) {
	token := mustSign(t, testJoinToken(), cluster)
	if !strings.HasPrefix(token, JoinTokenKind+".") {
		t.Error(token)
	}
	j, err := VerifyJoinToken(token, publicKeys(cluster))
	if err != nil || *j != *testJoinToken() {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := VerifyJoinToken(token, publicKeys(stranger)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("another cluster's: %v", err)
	}
	// Nothing else that the cluster signs lets a node in.
	for _, other := range []string{mustSign(t, testLicenseKey(), cluster), strings.Replace(mustSign(t, testLicenseKey(), cluster), LicenseKeyKind, JoinTokenKind, 1)} {
		if _, err := VerifyJoinToken(other, publicKeys(cluster)); !documented(err) {
			t.Errorf("%s: %v", other, err)
		}
	}
	for i := range token {
		altered := token[:i] + string(token[i]^1) + token[i+1:]
		if _, err := VerifyJoinToken(altered, publicKeys(cluster)); err == nil {
			t.Errorf("byte %d altered passes", i)
		}
	}
	for name, spoil := range map[string]func(*JoinToken){
		"no cluster": func(j *JoinToken) { j.Cluster = "" }, "no node": func(j *JoinToken) { j.Node = "" },
		"a fraction": func(j *JoinToken) { j.Expiry = j.Expiry.Add(time.Millisecond) },
	} {
		j := testJoinToken()
		spoil(j)
		if _, err := j.Sign(cluster); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}

// FuzzVerifyJoinToken reads any text, and any payload that the cluster might have signed.
func FuzzVerifyJoinToken(f *testing.F) {
	good := mustSign(f, testJoinToken(), cluster)
	f.Add(good, payloadText(f, good))
	f.Add(mustSign(f, testLicenseKey(), cluster), "{}")
	keys := []ed25519.PublicKey{publicKeys(cluster)[0]}
	f.Fuzz(func(t *testing.T, document, payload string) {
		for _, text := range []string{document, seal(JoinTokenKind, cluster, payload)} {
			j, err := VerifyJoinToken(text, keys)
			switch {
			case err != nil && (j != nil || !documented(err)):
				t.Fatalf("join token %v, error %v", j, err)
			case err == nil && mustSign(t, j, cluster) != strings.TrimSpace(text):
				t.Fatal("a token with a second spelling")
			}
		}
	})
}
