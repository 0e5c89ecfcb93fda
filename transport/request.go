package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

const requestType = "CERTIFICATE REQUEST"

var (
	errNoRequest = errors.New("holds no certificate request in PEM")

	usageExtension = asn1.ObjectIdentifier{2, 5, 29, 37}
	usageNames     = map[x509.ExtKeyUsage]asn1.ObjectIdentifier{
		x509.ExtKeyUsageServerAuth: {1, 3, 6, 1, 5, 5, 7, 3, 1},
		x509.ExtKeyUsageClientAuth: {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
)

// NewRequest makes a request (PKCS #10) for a certificate as Issue would issue it,
// with a new ECDSA P-256 key: another authority can sign it, and the key never travels.
// The pair's Certificate is the request.
func NewRequest(identity Identity, hosts ...string) (Pair, error) {
	template, err := certificateOf(identity, hosts)
	if err != nil {
		return Pair{}, fmt.Errorf("request certificate of %s: %w", identity, err)
	}
	usages := make([]asn1.ObjectIdentifier, len(template.ExtKeyUsage))
	for i, usage := range template.ExtKeyUsage {
		usages[i] = usageNames[usage]
	}
	value, err := asn1.Marshal(usages)
	if err != nil {
		return Pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: template.Subject, URIs: template.URIs, DNSNames: template.DNSNames, IPAddresses: template.IPAddresses,
		ExtraExtensions: []pkix.Extension{{Id: usageExtension, Value: value}},
	}, key)
	if err != nil {
		return Pair{}, fmt.Errorf("request certificate of %s: %w", identity, err)
	}
	return encode(requestType, raw, key)
}

// Sign issues a certificate of the identity for the key of a request in PEM. Of what the
// request asks for only the hosts are taken; an identity that it carries must be this one.
func (a *Authority) Sign(request []byte, identity Identity, validity Validity) ([]byte, error) {
	block, _ := pem.Decode(request)
	if block == nil || block.Type != requestType {
		return nil, errNoRequest
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := asked.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed with its own key: %w", err)
	}
	claimed := &x509.Certificate{URIs: asked.URIs}
	if is, err := IdentityOf(claimed); !errors.Is(err, ErrNoRole) && (err != nil || is != identity) {
		return nil, fmt.Errorf("the request is for %s, not for %s", describeRoles(slices.Concat(urisOf(claimed, roleScheme), urisOf(claimed, siteScheme), urisOf(claimed, accessScheme))), identity)
	}
	template, err := certificateOf(identity, nil)
	if err != nil {
		return nil, err
	}
	template.DNSNames, template.IPAddresses = asked.DNSNames, asked.IPAddresses
	if err := a.limit(template, validity); err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", identity, err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, asked.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", identity, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), nil
}

func encode(kind string, raw []byte, key crypto.Signer) (Pair, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, nil
}
