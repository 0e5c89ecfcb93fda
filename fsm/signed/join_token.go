package signed

import (
	"crypto/ed25519"
	"errors"
	"time"
)

// JoinTokenKind starts every join token.
const JoinTokenKind = "licet-join-v1" //nolint:gosec // G101: it is the name of a format, no secret

// JoinToken is what an operator gives to a node that is to join a cluster. It is good for that node
// alone, besides its certificate, and for a short time; nobody stores it.
type JoinToken struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Expiry is UTC, whole seconds.
	Expiry time.Time `json:"expiry"`
}

// Sign returns the token. It refuses what Validate refuses.
func (j *JoinToken) Sign(key ed25519.PrivateKey) (string, error) { return sign(JoinTokenKind, key, j) }

// VerifyJoinToken returns the content of a join token. Errors wrap ErrMalformed,
// ErrUnknownKey or ErrSignature. It does not look at the time; see Expiry.
func VerifyJoinToken(token string, keys []ed25519.PublicKey) (*JoinToken, error) {
	j := new(JoinToken)
	if _, err := verify(JoinTokenKind, token, keys, j); err != nil {
		return nil, err
	}
	return j, nil
}

// Validate says everything that is wrong with the content, by field.
func (j *JoinToken) Validate() error {
	return errors.Join(CheckName("cluster", j.Cluster), CheckName("node", j.Node), checkTime("expiry", j.Expiry))
}
