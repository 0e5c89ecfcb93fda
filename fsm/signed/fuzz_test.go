package signed

import (
	"crypto/ed25519"
	"strings"
	"testing"
)

// FuzzVerifyContract reads any text: only what the vendor signed passes, and only spelled as it was.
func FuzzVerifyContract(f *testing.F) {
	good := mustSign(f, testContract(), vendor)
	f.Add(good)
	f.Add(mustSign(f, testContract(), stranger))
	f.Add(mustSign(f, testLicenseKey(), vendor))
	f.Add(seal(ContractKind, vendor, `{"id":"x"}`))
	f.Add("licet-contract-v1...")
	keys := publicKeys(vendor)
	f.Fuzz(func(t *testing.T, document string) {
		c, _, err := VerifyContract(document, keys)
		if err != nil {
			if c != nil || !documented(err) {
				t.Fatalf("contract %v, error %v", c, err)
			}
			return
		}
		if mustSign(t, c, vendor) != strings.TrimSpace(document) {
			t.Fatal("a document with a second spelling")
		}
	})
}

// FuzzContractPayload gets past the signature: any payload that the vendor might sign.
func FuzzContractPayload(f *testing.F) {
	f.Add(payloadText(f, mustSign(f, testContract(), vendor)))
	f.Add(`{"id":"x","revision":1}`)
	keys := publicKeys(vendor)
	f.Fuzz(func(t *testing.T, payload string) {
		document := seal(ContractKind, vendor, payload)
		c, _, err := VerifyContract(document, keys)
		switch {
		case err != nil && (c != nil || !documented(err)):
			t.Fatalf("contract %v, error %v", c, err)
		case err == nil && mustSign(t, c, vendor) != document:
			t.Fatal("a payload with a second spelling")
		}
	})
}

// FuzzVerifyLicenseKey reads any text, and any payload that the cluster might have signed.
func FuzzVerifyLicenseKey(f *testing.F) {
	good := mustSign(f, testLicenseKey(), cluster)
	f.Add(good, payloadText(f, good))
	f.Add(mustSign(f, testContract(), cluster), "{}")
	keys := publicKeys(cluster)
	f.Fuzz(func(t *testing.T, document, payload string) {
		for _, text := range []string{document, seal(LicenseKeyKind, cluster, payload)} {
			k, err := VerifyLicenseKey(text, keys)
			switch {
			case err != nil && (k != nil || !documented(err)):
				t.Fatalf("license key %v, error %v", k, err)
			case err == nil && mustSign(t, k, cluster) != strings.TrimSpace(text):
				t.Fatal("a license key with a second spelling")
			}
		}
	})
}

// FuzzParseKey reads any PEM: what is read as a key can be written and read again.
func FuzzParseKey(f *testing.F) {
	private, err := EncodePrivateKey(vendor)
	if err != nil {
		f.Fatal(err)
	}
	public, err := EncodePublicKey(publicKeys(vendor)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(private)
	f.Add(public)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := ParsePublicKey(text); err == nil {
			again, err := EncodePublicKey(key)
			if err != nil || len(key) != ed25519.PublicKeySize {
				t.Fatalf("%d bytes, %v", len(key), err)
			}
			if same, err := ParsePublicKey(again); err != nil || !same.Equal(key) {
				t.Fatal(err)
			}
		}
		if key, err := ParsePrivateKey(text); err == nil {
			again, err := EncodePrivateKey(key)
			if err != nil || len(key) != ed25519.PrivateKeySize {
				t.Fatalf("%d bytes, %v", len(key), err)
			}
			if same, err := ParsePrivateKey(again); err != nil || !same.Equal(key) {
				t.Fatal(err)
			}
		}
	})
}
