package signed

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// LicenseKeyKind starts every license key.
const LicenseKeyKind = "licet-key-v1"

// LicenseKey is what an instance may do, signed by the cluster (rule I4).
type LicenseKey struct {
	Cluster  string `json:"cluster"`
	Serial   uint64 `json:"serial"`
	Contract string `json:"contract"`
	// Revision grows with every change of allocation or expiry; the cluster
	// answers an older key with key_stale.
	Revision uint64 `json:"revision"`
	// Expiry and GraceDays are the contract's.
	Expiry    time.Time `json:"expiry"`
	GraceDays uint32    `json:"grace_days"`
	// Allocation maps an area to the most accounts that may be active in it.
	Allocation map[string]uint64 `json:"allocation"`
}

// Ends is when the instance stops working (rule C5).
func (k *LicenseKey) Ends() time.Time {
	return k.Expiry.Add(time.Duration(k.GraceDays) * 24 * time.Hour)
}

// Sign returns the license key as a signed document.
func (k *LicenseKey) Sign(cluster ed25519.PrivateKey) (string, error) {
	return sign(LicenseKeyKind, cluster, k)
}

// VerifyLicenseKey returns what a license key says. It does not look at a
// clock: compare Ends with the time. Errors wrap ErrMalformed, ErrUnknownKey or
// ErrSignature.
func VerifyLicenseKey(document string, clusters []ed25519.PublicKey) (*LicenseKey, error) {
	k := new(LicenseKey)
	if _, err := verify(LicenseKeyKind, document, clusters, k); err != nil {
		return nil, err
	}
	return k, nil
}

// Validate says everything that is wrong with the license key, by field.
func (k *LicenseKey) Validate() error {
	errs := []error{
		CheckName("cluster", k.Cluster),
		CheckName("contract", k.Contract),
		checkTime("expiry", k.Expiry),
		checkMax("grace_days", uint64(k.GraceDays), MaxGraceDays),
		checkMax("number of areas in allocation", uint64(len(k.Allocation)), MaxAreas),
	}
	if k.Serial == 0 || k.Revision == 0 {
		errs = append(errs, errors.New("serial, revision: they must be at least 1"))
	}
	if len(k.Allocation) == 0 {
		errs = append(errs, errors.New("allocation: it is missing"))
	}
	for _, area := range slices.Sorted(maps.Keys(k.Allocation)) {
		errs = append(errs, CheckName("allocation", area), checkMax(fmt.Sprintf("allocation.%s", area), k.Allocation[area], MaxQuantity))
	}
	return errors.Join(errs...)
}
