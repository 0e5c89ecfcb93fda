package transport

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The reasons for which a peer's certificate is refused, for errors.Is. They
// come wrapped in a *CertificateError that says which certificate it was.
var (
	ErrNoCertificate    = errors.New("peer presented no certificate")
	ErrForeignAuthority = errors.New("certificate does not lead to the cluster's authority")
	ErrExpired          = errors.New("certificate has expired")
	ErrNotYetValid      = errors.New("certificate is not valid yet")
	ErrAuthorityInvalid = errors.New("authority that issued the certificate is not in its validity")
	ErrUsage            = errors.New("certificate's extended key usage does not allow this use")
	ErrWrongRole        = errors.New("certificate is not a node's")
	ErrWrongNode        = errors.New("certificate is another node's")
	ErrWrongSite        = errors.New("certificate is for another site")
)

// CertificateError says why a certificate was refused and which one it was.
// All but Reason and Want is what the certificate claims, which a stranger may
// have made up; Error quotes and shortens it, so that it is safe to log.
type CertificateError struct {
	// Reason is one of this package's errors and is never nil.
	Reason error
	// Subject and Issuer are distinguished names.
	Subject, Issuer string
	// Roles holds every licet and licet-site URI of the certificate.
	Roles []string
	// NotBefore and NotAfter bound the validity.
	NotBefore, NotAfter time.Time
	// Want is the node id, or with ErrWrongSite the site, that was expected; empty
	// when any node would do.
	Want string
	// Cause is what the X.509 library said, nil if it had no objection.
	Cause error
}

// Error returns one line with the reason, the certificate and the cause.
func (e *CertificateError) Error() string {
	var text strings.Builder
	text.WriteString(e.Reason.Error())
	if e.Want != "" {
		what := "node"
		if errors.Is(e.Reason, ErrWrongSite) {
			what = "site"
		}
		fmt.Fprintf(&text, " (wanted %s %s)", what, e.Want)
	}
	fmt.Fprintf(&text, ": subject %s, role %s, issuer %s, valid from %s to %s",
		quote(e.Subject), describeRoles(e.Roles), quote(e.Issuer),
		e.NotBefore.UTC().Format(time.RFC3339), e.NotAfter.UTC().Format(time.RFC3339))
	if e.Cause != nil {
		fmt.Fprintf(&text, ": %s", quote(e.Cause.Error()))
	}
	return text.String()
}

// Unwrap returns the reason and the cause.
func (e *CertificateError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

func refuse(certificate *x509.Certificate, reason error) *CertificateError {
	return &CertificateError{
		Reason:    reason,
		Subject:   certificate.Subject.String(),
		Issuer:    certificate.Issuer.String(),
		Roles:     append(urisOf(certificate, roleScheme), urisOf(certificate, siteScheme)...),
		NotBefore: certificate.NotBefore,
		NotAfter:  certificate.NotAfter,
	}
}

func describeRoles(roles []string) string {
	const most = 3
	if len(roles) == 0 {
		return "none"
	}
	quoted := make([]string, 0, most+1)
	for i, role := range roles {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(roles)-most))
			break
		}
		quoted = append(quoted, quote(role))
	}
	return strings.Join(quoted, ", ")
}

// quote keeps what a stranger wrote on one line and short: a certificate may be
// 256 KiB of somebody's choosing.
func quote(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "..."
	}
	return fmt.Sprintf("%q", text)
}

// verifyNode decides whether the peer that presented these certificates (its
// own first) is a node of this cluster, and the node want unless that is
// empty. It returns the chain from the peer's certificate to the authority's.
func (m *material) verifyNode(presented []*x509.Certificate, usage x509.ExtKeyUsage, want string) ([]*x509.Certificate, error) {
	chain, err := m.verify(presented, usage)
	if err == nil || errors.Is(err, ErrUsage) {
		// Who has another role lacks the usage for that reason.
		if fault := checkNode(presented[0], want); fault != nil {
			err = fault
		}
	}
	if err != nil {
		return nil, err
	}
	return chain, nil
}

// verify is verifyNode for whatever role.
func (m *material) verify(presented []*x509.Certificate, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	if len(presented) == 0 {
		return nil, ErrNoCertificate
	}
	leaf, now := presented[0], time.Now()
	intermediates := x509.NewCertPool()
	for _, certificate := range presented[1:] {
		intermediates.AddCert(certificate)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         m.roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		refusal := refuse(leaf, m.whyUnverified(leaf, now, err))
		refusal.Cause = err
		return nil, refusal
	}
	return chains[0], nil
}

func checkNode(leaf *x509.Certificate, want string) error {
	identity, err := IdentityOf(leaf)
	switch {
	case err != nil:
		return refuse(leaf, err)
	case identity.Role != RoleNode:
		return refuse(leaf, ErrWrongRole)
	case want != "" && identity.Name != want:
		refusal := refuse(leaf, ErrWrongNode)
		refusal.Want = want
		return refusal
	}
	return nil
}

// checkSite is for a leaf that checkNode has passed.
func checkSite(leaf *x509.Certificate, site string) error {
	identity, err := IdentityOf(leaf)
	if err != nil {
		return refuse(leaf, err)
	}
	if !identity.At(site) {
		refusal := refuse(leaf, ErrWrongSite)
		refusal.Want = site
		return refusal
	}
	return nil
}

// whyUnverified only names the reason. The decision to refuse has been taken.
func (m *material) whyUnverified(leaf *x509.Certificate, now time.Time, cause error) error {
	var invalid x509.CertificateInvalidError
	switch {
	case now.Before(leaf.NotBefore):
		return ErrNotYetValid
	case now.After(leaf.NotAfter):
		return ErrExpired
	case m.issuedOutOfSeason(leaf, now):
		return ErrAuthorityInvalid
	case errors.As(cause, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return ErrUsage
	default:
		return ErrForeignAuthority
	}
}

func (m *material) issuedOutOfSeason(leaf *x509.Certificate, now time.Time) bool {
	for _, authority := range m.authorities {
		if (now.Before(authority.NotBefore) || now.After(authority.NotAfter)) && leaf.CheckSignatureFrom(authority) == nil {
			return true
		}
	}
	return false
}
