package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// maxDocument is the longest answer of an issuer, in bytes; maxKeys how many keys it may list.
	maxDocument = 256 << 10
	maxKeys     = 64
	// minRSA is the shortest key of RSA that is believed, in bits (RFC 7518, section 3.3).
	minRSA = 2048
)

// algorithms are all that a token can be signed with: those that need a private key. The issuer's discovery document says which
// of them it uses; the token only which of these.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// types are what a token may be said to be: not, say, one that ends a session (RFC 8725, section 3.11; RFC 9068, section 2.1).
var types = []any{nil, "JWT", "jwt", "at+jwt", "application/at+jwt"}

// errUnknownKey says that a token is signed with a key that the issuer has not listed.
var errUnknownKey = errors.New("the issuer has not listed its key")

// trust is what an issuer said of itself. It does not change.
type trust struct {
	keys       []jose.JSONWebKey
	algorithms []jose.SignatureAlgorithm
	since      time.Time
}

// fetch asks the issuer for its discovery document and its keys.
func (i *Issuer) fetch(ctx context.Context) (*trust, error) {
	since := i.options.Now()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, i.client), i.options.Name)
	if err != nil {
		return nil, err
	}
	var document struct {
		Keys       string                    `json:"jwks_uri"`
		Algorithms []jose.SignatureAlgorithm `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, err
	}
	if len(document.Algorithms) == 0 {
		document.Algorithms = []jose.SignatureAlgorithm{jose.RS256}
	}
	usable := func(a jose.SignatureAlgorithm) bool { return slices.Contains(document.Algorithms, a) }
	t := &trust{since: since, algorithms: slices.DeleteFunc(slices.Clone(algorithms), func(a jose.SignatureAlgorithm) bool { return !usable(a) })}
	if len(t.algorithms) == 0 {
		return nil, fmt.Errorf("it signs with none of %v", algorithms)
	}
	t.keys, err = i.fetchKeys(ctx, document.Keys)
	return t, err
}

func (i *Issuer) fetchKeys(ctx context.Context, address string) ([]jose.JSONWebKey, error) {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" {
		return nil, errors.New("its keys are not at an https address")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := i.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("for its keys it answers %s", response.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("its keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it lists %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		// What is not understood is passed by (RFC 7517, section 5).
		if json.Unmarshal(text, &key) == nil && verifies(&key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d keys that it lists verifies signatures", len(set.Keys))
	}
	return keys, nil
}

// verifies reports whether a key is a public one for signatures.
func verifies(key *jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// verify checks signature, issuer, audience and times of a token. Its error is errUnknownKey if the issuer may have to be asked again.
func (t *trust) verify(ctx context.Context, token string, o *Options) (*oidc.IDToken, error) {
	keys := &keySet{trust: t}
	names := make([]string, len(t.algorithms))
	for n, a := range t.algorithms {
		names[n] = string(a)
	}
	id, err := oidc.NewVerifier(o.Name, keys, &oidc.Config{ClientID: o.Audience, SupportedSigningAlgs: names, Now: o.Now}).Verify(ctx, token)
	if keys.unknown {
		// go-oidc does not wrap what its key set says.
		return nil, errUnknownKey
	}
	return id, err
}

// keySet verifies one token. go-oidc's own would ask the issuer for each token with an unknown key or a wrong signature, and
// believe a key that the issuer has taken back until a restart.
type keySet struct {
	*trust
	unknown bool
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	signature, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil {
		return nil, err
	}
	header := signature.Signatures[0].Header
	if !slices.Contains(types, header.ExtraHeaders[jose.HeaderType]) {
		return nil, errors.New("it is a token for something else")
	}
	k.unknown = true
	for n := range k.keys {
		key := &k.keys[n]
		if header.KeyID != "" && key.KeyID != header.KeyID {
			continue
		}
		k.unknown = header.KeyID == ""
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signature.Verify(key.Key); err == nil {
			k.unknown = false
			return payload, nil
		}
	}
	return nil, errors.New("its signature is wrong")
}

// bounded cuts answers off that are longer than any of an issuer's.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxDocument)
	}
	return response, err
}
