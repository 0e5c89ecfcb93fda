package transport

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// Examined is what a certificate is good for.
type Examined struct {
	Identity Identity
	// Subject and Issuer are distinguished names.
	Subject, Issuer string
	// NotBefore is the certificate's own, NotAfter that of the first certificate on the
	// way to the authority to expire.
	NotBefore, NotAfter time.Time
	// Hosts are the names and addresses that clients of the API can find a server at with it.
	Hosts []string
}

// Examine holds a certificate of a node or a client, from whatever authority, against
// all that nodes ask of it; Files.Key may be empty. Errors name the file; those about the
// certificate wrap a *CertificateError.
func Examine(files Files) (Examined, error) {
	m, err := readPresented(files)
	if err != nil {
		return Examined{}, err
	}
	leaf := m.presented[0]
	identity, err := IdentityOf(leaf)
	if err != nil {
		return Examined{}, fmt.Errorf("%s: %w", files.Certificate, refuse(leaf, err))
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if identity.Role == RoleNode {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	found := Examined{
		Identity: identity, Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(),
		NotBefore: leaf.NotBefore, Hosts: append([]string(nil), leaf.DNSNames...),
	}
	for _, usage := range usages {
		chain, err := m.verify(m.presented, usage)
		if err != nil {
			return Examined{}, fmt.Errorf("%s: %w", files.Certificate, err)
		}
		found.NotAfter = firstExpiry(chain)
	}
	for _, ip := range leaf.IPAddresses {
		found.Hosts = append(found.Hosts, ip.String())
	}
	return found, nil
}

// readPresented reads the files and judges nothing; the key is read only if it is named.
func readPresented(files Files) (*material, error) {
	authorities, err := readAuthorities(files.CA)
	if err != nil {
		return nil, err
	}
	m := &material{authorities: authorities, roots: x509.NewCertPool()}
	for _, authority := range authorities {
		m.roots.AddCert(authority)
	}
	if files.Key != "" {
		if m.own, err = readPair(files.Certificate, files.Key); err != nil {
			return nil, err
		}
	}
	rest, err := os.ReadFile(files.Certificate)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files.Certificate, err)
		}
		m.presented = append(m.presented, certificate)
	}
	if len(m.presented) == 0 {
		return nil, fmt.Errorf("%s: holds no certificate in PEM", files.Certificate)
	}
	return m, nil
}
