package transport

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestIdentityOf(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		uris []string
		want Identity
		err  error
	}{
		{[]string{"licet:node:lyon"}, Identity{Role: RoleNode, Name: "lyon"}, nil},
		{[]string{"licet:client:desk-7"}, Identity{Role: RoleClient, Name: "desk-7"}, nil},
		{[]string{"licet:node:" + long}, Identity{Role: RoleNode, Name: long}, nil},
		{[]string{"https://lyon/node", "licet:node:7"}, Identity{Role: RoleNode, Name: "7"}, nil},
		{[]string{"licet:node:lyon", "licet-site:east"}, Identity{Role: RoleNode, Name: "lyon", Site: "east"}, nil},
		{[]string{"licet:client:ops", "licet-role:site-operator?site=east"}, Identity{Role: RoleClient, Name: "ops", Access: "site-operator?site=east"}, nil},
		{[]string{"licet:client:ops", "licet-role:operator", "licet-role:operator"}, Identity{}, ErrAccess},
		{[]string{"licet:client:ops", "licet-role:"}, Identity{}, ErrAccess},
		{[]string{"licet:client:ops", "licet-role:Operator"}, Identity{}, ErrAccess},
		{[]string{"licet:client:ops", "licet-role:operator#x"}, Identity{}, ErrAccess},
		{[]string{"licet:node:lyon", "licet-role:operator"}, Identity{}, ErrAccess},
		{[]string{"licet:node:lyon", "licet-site:east", "licet-site:east"}, Identity{}, ErrSite},
		{[]string{"licet:node:lyon", "licet-site:East"}, Identity{}, ErrSite},
		{[]string{"licet:node:lyon", "licet-site:"}, Identity{}, ErrSite},
		{[]string{"licet:client:desk", "licet-site:east"}, Identity{}, ErrSite},
		{[]string{"licet-site:east"}, Identity{}, ErrNoRole},
		{nil, Identity{}, ErrNoRole},
		{[]string{"licett:node:lyon", "node:lyon"}, Identity{}, ErrNoRole},
		{[]string{"licet:node:lyon", "licet:node:lyon"}, Identity{}, ErrSeveralRoles},
		{[]string{"licet:node:lyon", "licet:x"}, Identity{}, ErrSeveralRoles},
		{[]string{"licet:node:" + long + "a"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:Node:lyon"}, Identity{}, ErrUnknownRole},
		{[]string{"licet::lyon"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:-lyon"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:lyon:x"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:%6cyon"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:lyon?x"}, Identity{}, ErrUnknownRole},
		{[]string{"licet:node:lyon#x"}, Identity{}, ErrUnknownRole},
		{[]string{"licet://node/lyon"}, Identity{}, ErrUnknownRole},
	} {
		certificate := &x509.Certificate{}
		for _, text := range test.uris {
			uri, err := url.Parse(text)
			must(t, err)
			certificate.URIs = append(certificate.URIs, uri)
		}
		got, err := IdentityOf(certificate)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: got %v, %v; want %v, %v", test.uris, got, err, test.want, test.err)
		}
	}
}

func TestRefusalStaysOneShortLine(t *testing.T) {
	hostile := strings.Repeat("x\n\x1b[2J", 10_000)
	refusal := &CertificateError{
		Reason: ErrForeignAuthority, Subject: hostile, Issuer: hostile, Cause: errors.New(hostile),
		Roles: []string{hostile, hostile, hostile, hostile, hostile}, NotAfter: time.Now(),
	}
	text := refusal.Error()
	if len(text) > 10_000 || strings.ContainsAny(text, "\n\x1b") {
		t.Errorf("%d bytes: %.300q", len(text), text)
	}
	if !strings.Contains(text, "and 2 more") {
		t.Errorf("hides that there are more roles: %.300q", text)
	}
}

func TestNoCertificateIsNoNode(t *testing.T) {
	if _, err := new(material).verifyNode(nil, x509.ExtKeyUsageClientAuth, ""); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("got %v", err)
	}
}
