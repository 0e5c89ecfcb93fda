package main

import (
	"errors"
	"strings"
	"time"

	"github.com/licet/licet/transport"
)

// maxRequest bounds the certificate requests that are read, in bytes.
const maxRequest = 64 << 10

// tlsRequest makes what another authority signs.
func tlsRequest(s *session) error {
	is, err := s.identity(s.args[0], s.Bool("client"))
	if err != nil {
		return err
	}
	hosts, err := s.list("hosts")
	if err != nil {
		return err
	}
	pair, err := transport.NewRequest(is, hosts...)
	if err != nil {
		return s.usagef("%v", err)
	}
	dir := s.String("dir")
	cert, key := pairFiles(dir, is)
	request := strings.TrimSuffix(cert, ".pem") + ".csr"
	if err := s.absent(request, key); err != nil {
		return err
	}
	if err := directory(dir); err != nil {
		return err
	}
	if err := pair.Write(request, key); err != nil {
		return failf(exitInternal, "", "%v", pathError(err))
	}
	return s.printFiles("files", []string{request, key})
}

// tlsSign certifies the key of a request, so that keys need not travel.
func tlsSign(s *session) error {
	authority, err := s.authority()
	if err != nil {
		return err
	}
	is, err := s.identity(s.args[0], s.Bool("client"))
	if err != nil {
		return err
	}
	validity, err := s.validity()
	if err != nil {
		return err
	}
	request, err := s.readFile("FILE", s.args[1], maxRequest)
	if err != nil {
		return err
	}
	text, err := authority.Sign(request, is, validity)
	if err != nil {
		return s.usagef("%.200s: %v", s.args[1], err)
	}
	cert, _ := pairFiles(s.String("dir"), is)
	if err := s.absent(cert); err != nil {
		return err
	}
	if err := transport.WriteNew(cert, text); err != nil {
		return failf(exitInternal, "", "%v", pathError(err))
	}
	return s.printFiles("certificates", []string{cert})
}

// examined is what `licet tls check` shows as JSON.
type examined struct {
	Role       string    `json:"role"`
	ID         string    `json:"id"`
	Site       string    `json:"site,omitempty"`
	Access     string    `json:"access,omitempty"`
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	ValidFrom  time.Time `json:"valid_from"`
	ValidUntil time.Time `json:"valid_until"`
	Hosts      []string  `json:"hosts,omitempty"`
}

func tlsCheck(s *session) error {
	found, err := transport.Examine(transport.Files{CA: s.String("authority"), Certificate: s.args[0], Key: s.String("key")})
	var refused *transport.CertificateError
	switch {
	case errors.As(err, &refused):
		return failf(exitRefused, "`licet help tls check` says what a certificate must contain; `licet tls request` makes a request that asks for it.",
			"Nodes will refuse this certificate: %v", err)
	case err != nil:
		return s.usagef("%v", pathError(err))
	}
	e := examined{
		Role: string(found.Identity.Role), ID: found.Identity.Name, Site: found.Identity.Site, Access: found.Identity.Access, Subject: found.Subject, Issuer: found.Issuer,
		ValidFrom: found.NotBefore.UTC(), ValidUntil: found.NotAfter.UTC(), Hosts: found.Hosts,
	}
	return s.printOwn(e, func(p *page) {
		p.line("%s %s", e.Role, e.ID)
		p.line("site      %s", orNone(e.Site, "any"))
		if e.Access != "" {
			p.line("at the API %s", clean(e.Access))
		}
		p.line("subject   %s", clean(e.Subject))
		p.line("issuer    %s", clean(e.Issuer))
		p.line("valid     %s to %s", e.ValidFrom.Format(time.RFC3339), e.ValidUntil.Format(time.RFC3339))
		p.line("hosts     %s", orNone(clean(strings.Join(e.Hosts, ", ")), "none: not for serving the API"))
	})
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
