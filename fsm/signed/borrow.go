package signed

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// BorrowKind starts every borrow token.
const BorrowKind = "licet-borrow-v1"

// Borrow is what a cluster certifies of a borrowed seat (rule K4). Whoever has the
// cluster's public key verifies it offline.
type Borrow struct {
	Cluster string `json:"cluster"`
	// Lease is the borrow's id.
	Lease   uint64 `json:"lease"`
	Pool    string `json:"pool"`
	Product string `json:"product"`
	// User and Client are who may use it, and on which host or device.
	User   string `json:"user"`
	Client string `json:"client"`
	// Count is how many seats are borrowed.
	Count uint64 `json:"count"`
	// Issued and Expiry are UTC, whole seconds.
	Issued time.Time `json:"issued"`
	Expiry time.Time `json:"expiry"`
}

// Sign returns the borrow as a token. It refuses what Validate refuses.
func (b *Borrow) Sign(key ed25519.PrivateKey) (string, error) { return sign(BorrowKind, key, b) }

// VerifyBorrow returns the content of a borrow token. Errors wrap ErrMalformed,
// ErrUnknownKey or ErrSignature. It does not look at the time; see Expiry.
func VerifyBorrow(token string, keys []ed25519.PublicKey) (*Borrow, error) {
	b := new(Borrow)
	if _, err := verify(BorrowKind, token, keys, b); err != nil {
		return nil, err
	}
	return b, nil
}

// Validate says everything that is wrong with the content, by field.
func (b *Borrow) Validate() error {
	errs := []error{
		CheckName("cluster", b.Cluster), CheckName("pool", b.Pool), CheckName("product", b.Product),
		CheckText("user", b.User, 254), CheckText("client", b.Client, 254),
		checkTime("issued", b.Issued), checkTime("expiry", b.Expiry),
		checkMax("count", b.Count, MaxQuantity),
	}
	if b.Lease == 0 || b.Count == 0 {
		errs = append(errs, fmt.Errorf("lease, count: %d and %d must be at least 1", b.Lease, b.Count))
	}
	if b.Expiry.Before(b.Issued) {
		errs = append(errs, fmt.Errorf("expiry: %s is before it was issued, %s", b.Expiry.Format(time.RFC3339), b.Issued.Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}
