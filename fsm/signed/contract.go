package signed

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ContractKind starts every contract document.
const ContractKind = "licet-contract-v1"

// Bounds of a contract.
const (
	MaxAreas     = 64
	MaxProducts  = 1000
	MaxQuantity  = 1_000_000_000
	MaxGraceDays = 3650
	MaxAnswers   = 100
)

// Contract is what a vendor grants a customer (rule C1).
type Contract struct {
	ID string `json:"id"`
	// Revision counts the versions of this contract from 1; a higher one replaces a lower one (C3).
	Revision uint64 `json:"revision"`
	Customer string `json:"customer"`
	// Email is the address of the one responsible person.
	Email string `json:"email"`
	// Start is when the contract begins, UTC, whole seconds.
	Start time.Time `json:"start"`
	// Expiry is when it expires, UTC, whole seconds.
	Expiry time.Time `json:"expiry"`
	// GraceDays is how many days of 24 hours everything still works after Expiry (C5).
	GraceDays uint32 `json:"grace_days"`
	// Users maps an area to the most accounts that may be active in it.
	Users map[string]uint64 `json:"users,omitempty"`
	// Products maps a product's name to what is granted of it.
	Products map[string]Product `json:"products,omitempty"`
	// Answers are the ids of the license requests that this revision answers (A7), rising.
	Answers []uint64 `json:"answers,omitempty"`
}

// Model is how a product's seats are counted.
type Model string

// The models of rule C1.
const (
	Floating Model = "floating"
	Mono     Model = "mono"
	Team     Model = "team"
)

// Product is one product's line of a contract.
type Product struct {
	Model    Model  `json:"model"`
	Quantity uint64 `json:"quantity"`
	// Overdraft is how far use may pass Quantity (P7).
	Overdraft uint64 `json:"overdraft,omitempty"`
}

// Ends is when everything that the contract grants stops (rule C5).
func (c *Contract) Ends() time.Time {
	return c.Expiry.Add(time.Duration(c.GraceDays) * 24 * time.Hour)
}

// Sign returns the contract as a signed document. It refuses a contract that
// Validate refuses.
func (c *Contract) Sign(vendor ed25519.PrivateKey) (string, error) {
	return sign(ContractKind, vendor, c)
}

// VerifyContract returns the contract in a document and the id of the vendor
// key that signed it. Errors wrap ErrMalformed, ErrUnknownKey or ErrSignature.
func VerifyContract(document string, vendors []ed25519.PublicKey) (*Contract, string, error) {
	c := new(Contract)
	keyID, err := verify(ContractKind, document, vendors, c)
	if err != nil {
		return nil, "", err
	}
	return c, keyID, nil
}

// Validate says everything that is wrong with the contract, by field.
func (c *Contract) Validate() error {
	errs := []error{
		CheckName("id", c.ID),
		CheckText("customer", c.Customer, 200),
		CheckEmail("email", c.Email),
		checkTime("start", c.Start),
		checkTime("expiry", c.Expiry),
		checkMax("grace_days", uint64(c.GraceDays), MaxGraceDays),
		checkMax("number of areas in users", uint64(len(c.Users)), MaxAreas),
		checkMax("number of products", uint64(len(c.Products)), MaxProducts),
	}
	if c.Revision == 0 {
		errs = append(errs, errors.New("revision: it must be at least 1"))
	}
	if !c.Start.IsZero() && !c.Expiry.IsZero() && !c.Start.Before(c.Expiry) {
		errs = append(errs, fmt.Errorf("expiry: %s is not after start %s", c.Expiry.Format(time.RFC3339), c.Start.Format(time.RFC3339)))
	}
	if len(c.Users)+len(c.Products) == 0 {
		errs = append(errs, errors.New("users, products: the contract grants nothing"))
	}
	for _, area := range slices.Sorted(maps.Keys(c.Users)) {
		errs = append(errs, CheckName("users", area), checkMax("users."+area, c.Users[area], MaxQuantity))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Products)) {
		errs = append(errs, c.Products[name].validate(name))
	}
	return errors.Join(append(errs, c.validateAnswers())...)
}

// validateAnswers wants one spelling of each set.
func (c *Contract) validateAnswers() error {
	if err := checkMax("number of answers", uint64(len(c.Answers)), MaxAnswers); err != nil {
		return err
	}
	var last uint64
	for _, id := range c.Answers {
		if id <= last {
			return fmt.Errorf("answers: %d after %d: they must rise from 1", id, last)
		}
		last = id
	}
	return nil
}

func (p Product) validate(name string) error {
	errs := []error{
		CheckName("products", name),
		checkMax("products."+name+".quantity", p.Quantity, MaxQuantity),
		checkMax("products."+name+".overdraft", p.Overdraft, MaxQuantity),
	}
	if p.Model != Floating && p.Model != Mono && p.Model != Team {
		errs = append(errs, fmt.Errorf("products.%s.model: %.40q is none of floating, mono, team", name, p.Model))
	}
	return errors.Join(errs...)
}

// MaxName is the longest name of a contract, instance, area, product or actor, in bytes.
const MaxName = 64

// CheckName refuses what is not a name: 1 to MaxName of A-Z a-z 0-9 . _ - with
// a letter or digit first. Errors begin with the field's name.
func CheckName(field, name string) error {
	if name == "" {
		return fmt.Errorf("%s: it is missing", field)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%s: a name of %d bytes is longer than %d", field, len(name), MaxName)
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return fmt.Errorf("%s: %q is no name (letters, digits, then also . _ -)", field, name)
		}
	}
	return nil
}

// CheckEmail refuses what can't be an e-mail address of at most 254 bytes. It
// is stricter than RFC 5322: no quoting, no comments, no spaces.
func CheckEmail(field, address string) error {
	local, domain, ok := strings.Cut(address, "@")
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`@",;:<>()[]\`, r)
	}
	if !ok || local == "" || len(local) > 64 || len(address) > 254 || !utf8.ValidString(address) ||
		strings.ContainsFunc(local, bad) || strings.ContainsFunc(domain, bad) ||
		domain == "" || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return fmt.Errorf("%s: %.80q is no e-mail address", field, address)
	}
	return nil
}

// CheckText refuses text that is blank, no UTF-8, holds control characters, or has more than so many characters.
func CheckText(field, text string, most int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("%s: it is missing", field)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("%s: it has bytes that are no printable text", field)
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("%s: %d characters are more than %d", field, utf8.RuneCountInString(text), most)
	}
	return nil
}

// checkTime keeps to years of four digits because RFC 3339 has no others.
func checkTime(field string, t time.Time) error {
	switch {
	case t.IsZero():
		return fmt.Errorf("%s: it is missing", field)
	case t.Location() != time.UTC || t.Nanosecond() != 0:
		return fmt.Errorf("%s: %s is not in UTC and whole seconds", field, t.Format(time.RFC3339Nano))
	case t.Year() < 1970 || t.Year() > 9900:
		return fmt.Errorf("%s: the year %d is not in 1970 to 9900", field, t.Year())
	}
	return nil
}

func checkMax(field string, n, most uint64) error {
	if n > most {
		return fmt.Errorf("%s: %d is more than %d", field, n, most)
	}
	return nil
}
