package transport

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files names the PEM files of a node.
type Files struct {
	// CA holds the certificates of the authorities that are believed: one, or
	// several while the cluster moves from one to another.
	CA string
	// Certificate holds the node's own certificate, followed by intermediate
	// ones if there are any.
	Certificate string
	// Key holds the private key of the node's own certificate.
	Key string
}

// Certificates is a node's certificate and the authorities that it believes,
// replaceable while the node runs. A handshake works throughout with what was
// current at its start; connections in use go on with what they began with.
// Certificates is safe for concurrent use.
type Certificates struct {
	files   Files
	reload  sync.Mutex
	site    string // guarded by reload; empty until Bind
	current atomic.Pointer[material]
}

// material never changes once made, so that one handshake cannot see the
// certificate of before a reload and the authorities of after it.
type material struct {
	authorities []*x509.Certificate
	roots       *x509.CertPool
	own         tls.Certificate
	presented   []*x509.Certificate // own, parsed
	identity    Identity
	notAfter    time.Time
}

// LoadCertificates reads the files. The node's certificate must match its key,
// lead to an authority in CA, be in its validity, allow use as server and as
// client, and carry the role node: a node whose certificate no other would
// believe is told so at its start. Errors name the file; those about the
// certificate itself wrap a *CertificateError.
func LoadCertificates(files Files) (*Certificates, error) {
	loaded, err := readMaterial(files)
	if err != nil {
		return nil, err
	}
	certificates := &Certificates{files: files}
	certificates.current.Store(loaded)
	return certificates, nil
}

// Bind checks that the certificate is that of the node id, and that it may stand
// at site, now and at each reload. The error is a *CertificateError with
// ErrWrongNode or ErrWrongSite.
func (c *Certificates) Bind(id, site string) error {
	c.reload.Lock()
	defer c.reload.Unlock()
	leaf := c.current.Load().own.Leaf
	if err := checkNode(leaf, id); err != nil {
		return fmt.Errorf("%s: %w", c.files.Certificate, err)
	}
	if err := checkSite(leaf, site); err != nil {
		return fmt.Errorf("%s: %w", c.files.Certificate, err)
	}
	c.site = site
	return nil
}

// Reload reads the files again. New connections use what was read. On error,
// which is as LoadCertificates's or says that the certificate is now another
// node's or for another site, everything stays as it was.
func (c *Certificates) Reload() error {
	c.reload.Lock()
	defer c.reload.Unlock()
	loaded, err := readMaterial(c.files)
	if err != nil {
		return fmt.Errorf("reload certificates, keeping those in use: %w", err)
	}
	err = checkNode(loaded.own.Leaf, c.Identity().Name)
	if err == nil && c.site != "" {
		err = checkSite(loaded.own.Leaf, c.site)
	}
	if err != nil {
		return fmt.Errorf("reload certificates, keeping those in use: %s: %w", c.files.Certificate, err)
	}
	c.current.Store(loaded)
	return nil
}

// Identity returns the node's own identity. A reload never changes its role and name.
func (c *Certificates) Identity() Identity {
	return c.current.Load().identity
}

// NotAfter returns the moment after which other nodes refuse this one: when the
// first certificate on the way from its own to the authority's expires.
func (c *Certificates) NotAfter() time.Time {
	return c.current.Load().notAfter
}

func readMaterial(files Files) (*material, error) {
	loaded, err := readPresented(files)
	if err != nil {
		return nil, err
	}
	if loaded.identity, loaded.notAfter, err = loaded.examine(); err != nil {
		return nil, fmt.Errorf("%s: %w", files.Certificate, err)
	}
	return loaded, nil
}

// examine holds the node's own certificate against what its peers ask of it.
func (m *material) examine() (identity Identity, notAfter time.Time, err error) {
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		chain, err := m.verifyNode(m.presented, usage, "")
		if err != nil {
			return Identity{}, time.Time{}, err
		}
		notAfter = firstExpiry(chain)
	}
	identity, err = IdentityOf(m.presented[0])
	return identity, notAfter, err
}

func firstExpiry(chain []*x509.Certificate) time.Time {
	first := chain[0].NotAfter
	for _, certificate := range chain[1:] {
		if certificate.NotAfter.Before(first) {
			first = certificate.NotAfter
		}
	}
	return first
}

func readPair(certificateFile, keyFile string) (tls.Certificate, error) {
	certificate, err := os.ReadFile(certificateFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read key: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s with key %s: %w", certificateFile, keyFile, err)
	}
	return pair, nil
}

func readAuthorities(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	var authorities []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		authority, err := parseAuthority(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		authorities = append(authorities, authority)
	}
	if len(authorities) == 0 {
		return nil, fmt.Errorf("%s: holds no certificate in PEM", file)
	}
	return authorities, nil
}

func parseAuthority(block *pem.Block) (*x509.Certificate, error) {
	if block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("holds a %q, where only certificates belong", block.Type)
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !authority.IsCA || !authority.BasicConstraintsValid {
		return nil, refuse(authority, errNotAuthority)
	}
	return authority, nil
}

var errNotAuthority = errors.New("certificate is not an authority's")
