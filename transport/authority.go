package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"
)

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	pair        Pair
	certificate *x509.Certificate
	key         crypto.Signer
}

// Validity is the time in which a certificate is to be valid.
type Validity struct {
	// From is when it begins; the zero time means now. The certificate is dated
	// 5 minutes earlier, for nodes whose clocks are behind.
	From time.Time
	// For is how long it lasts from then on, and must be positive.
	For time.Duration
}

const backdating = 5 * time.Minute

var (
	errNotPositive = errors.New("validity must be positive")
	errEmptyName   = errors.New("authority needs a name")
	errNotSigner   = errors.New("key cannot sign")
	errBeyond      = errors.New("authority is not valid then")

	hostNameGrammar = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
)

const maxHostNameBytes = 253

func (v Validity) bounds() (from, until time.Time, err error) {
	if v.For <= 0 {
		return from, until, fmt.Errorf("%w, not %s", errNotPositive, v.For)
	}
	from = v.From
	if from.IsZero() {
		from = time.Now()
	}
	return from, from.Add(v.For), nil
}

// NewAuthority makes an authority with a new ECDSA P-256 key and a certificate
// of its own, which can issue certificates but no further authorities. The name
// is its common name.
func NewAuthority(name string, validity Validity) (*Authority, error) {
	if name == "" {
		return nil, errEmptyName
	}
	from, until, err := validity.bounds()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from.Add(-backdating),
		NotAfter:              until,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return pair.authority(key)
}

// LoadAuthority reads an authority from the PEM files that Pair.Write has
// written, or others like them. Errors name the file.
func LoadAuthority(certificateFile, keyFile string) (*Authority, error) {
	loaded, err := readPair(certificateFile, keyFile)
	if err != nil {
		return nil, err
	}
	if !loaded.Leaf.IsCA || !loaded.Leaf.BasicConstraintsValid {
		return nil, fmt.Errorf("%s: %w", certificateFile, refuse(loaded.Leaf, errNotAuthority))
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: %w", keyFile, errNotSigner)
	}
	pair, err := encode("CERTIFICATE", loaded.Leaf.Raw, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	return pair.authority(key)
}

// Pair returns the authority's own certificate and key, for Pair.Write.
func (a *Authority) Pair() Pair { return a.pair }

// IssueNode issues a certificate of the node id for any site. See Issue.
func (a *Authority) IssueNode(id string, validity Validity, hosts ...string) (Pair, error) {
	return a.Issue(Identity{Role: RoleNode, Name: id}, validity, hosts...)
}

// IssueClient issues a certificate of the client name. See Issue.
func (a *Authority) IssueClient(name string, validity Validity) (Pair, error) {
	return a.Issue(Identity{Role: RoleClient, Name: name}, validity)
}

// Issue issues a certificate that carries the identity, with a new ECDSA P-256
// key: a node's for use as server and as client, a client's for use as client.
// Nodes verify no hosts (names or IP addresses, without port) of each other;
// clients of the API do. It ends with the authority if it would outlive it. Errors
// say which argument is wrong, or that the authority is not valid at the beginning
// of validity.
func (a *Authority) Issue(identity Identity, validity Validity, hosts ...string) (Pair, error) {
	template, err := certificateOf(identity, hosts)
	var pair Pair
	if err == nil {
		pair, err = a.certify(template, validity)
	}
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate of %s: %w", identity, err)
	}
	return pair, nil
}

// certificateOf has all but what the authority decides.
func certificateOf(identity Identity, hosts []string) (*x509.Certificate, error) {
	names, addresses, err := sortHosts(hosts)
	if err != nil {
		return nil, err
	}
	uris, err := identity.uris()
	if err != nil {
		return nil, err
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if identity.Role == RoleNode {
		usage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: identity.Name}, URIs: uris, DNSNames: names, IPAddresses: addresses,
		ExtKeyUsage: usage,
	}, nil
}

// certify fills in what the caller has no say in.
func (a *Authority) certify(template *x509.Certificate, validity Validity) (Pair, error) {
	if err := a.limit(template, validity); err != nil {
		return Pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	return sign(template, a.certificate, key, a.key)
}

// limit has a certificate end with its authority and be none itself.
func (a *Authority) limit(template *x509.Certificate, validity Validity) error {
	from, until, err := validity.bounds()
	if err != nil {
		return err
	}
	end := a.certificate.NotAfter
	if from.After(end) {
		return fmt.Errorf("%w: it ends at %s", errBeyond, end.Format(time.RFC3339))
	}
	if until.After(end) {
		until = end
	}
	template.NotBefore, template.NotAfter = from.Add(-backdating), until
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	return nil
}

// sign leaves the serial number to the library, which takes a random one.
func sign(template, parent *x509.Certificate, key, signer crypto.Signer) (Pair, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	return encode("CERTIFICATE", raw, key)
}

func sortHosts(hosts []string) (names []string, addresses []net.IP, err error) {
	for _, host := range hosts {
		switch address := net.ParseIP(host); {
		case address != nil:
			addresses = append(addresses, address)
		case len(host) <= maxHostNameBytes && hostNameGrammar.MatchString(host):
			names = append(names, host)
		default:
			return nil, nil, fmt.Errorf("host %q is neither an IP address nor a host name (without port)", host)
		}
	}
	return names, addresses, nil
}
