package rules

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/fsm/signed"
)

// Document signs what a script spells out: contract ID revision=N area=N … [expiry=] [grace=] [signed-by=] [altered=yes].
func Document(ts *testscript.TestScript, args []string, keys map[string]ed25519.PrivateKey) string {
	Need(ts, args, 2, "contract ID revision=N AREA=N ...")
	c := &signed.Contract{
		ID: args[0], Revision: 1, Customer: "ProMyze customer", Email: "it@example.com",
		Start: Epoch, Expiry: Epoch.AddDate(1, 0, 0), Users: map[string]uint64{},
	}
	signer, altered := "vendor", false
	for name, value := range Pairs(ts, args[1:]) {
		switch name {
		case "signed-by":
			signer = value
		case "altered":
			altered = true
		default:
			describeContract(ts, c, name, value)
		}
	}
	document, err := c.Sign(KeyOf(signer, keys))
	if err != nil {
		ts.Fatalf("sign: %v", err)
	}
	if altered {
		document = alterPayload(document)
	}
	return document
}

// KeyOf is the key that scripts call by a name: one of those that are given, or one of the vendor's that belongs to the name.
func KeyOf(name string, keys map[string]ed25519.PrivateKey) ed25519.PrivateKey {
	if key, ok := keys[name]; ok {
		return key
	}
	seed := sha256.Sum256([]byte("a vendor's key in rule scripts: " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Statement signs what a script says of vendor keys: vendor-key [adds=NAME] [revokes=NAME] [signed-by=NAME] [expiry=TIME] [altered=yes].
func Statement(ts *testscript.TestScript, args []string, keys map[string]ed25519.PrivateKey) string {
	Need(ts, args, 1, "vendor-key [adds=NAME] [revokes=NAME] [signed-by=NAME] [expiry=TIME] [altered=yes]")
	s := &signed.Statement{Issued: Epoch, Expiry: Epoch.AddDate(0, 6, 0)}
	signer, altered := "vendor", false
	for name, value := range Pairs(ts, args) {
		switch name {
		case "adds":
			s.Adds, s.Name = hex.EncodeToString(publicOf(KeyOf(value, keys))), value
		case "revokes":
			s.Revokes = signed.KeyID(publicOf(KeyOf(value, keys)))
		case "signed-by":
			signer = value
		case "expiry":
			s.Expiry = Moment(ts, value)
		case "altered":
			altered = true
		default:
			ts.Fatalf("vendor-key %s", name)
		}
	}
	document, err := s.Sign(KeyOf(signer, keys))
	ts.Check(err)
	if altered {
		document = alterPayload(document)
	}
	return document
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func describeContract(ts *testscript.TestScript, c *signed.Contract, name, value string) {
	switch name {
	case "revision":
		c.Revision = Number(ts, value)
	case "customer":
		c.Customer = value
	case "email":
		c.Email = value
	case "start":
		c.Start = Moment(ts, value)
	case "expiry":
		c.Expiry = Moment(ts, value)
	case "grace":
		c.GraceDays = uint32(Number(ts, value))
	case "answers":
		for id := range strings.SplitSeq(value, ",") {
			c.Answers = append(c.Answers, Number(ts, id))
		}
	default:
		if product, ok := strings.CutPrefix(name, "product."); ok {
			addProduct(ts, c, product, value)
			return
		}
		c.Users[name] = Number(ts, value)
	}
}

func addProduct(ts *testscript.TestScript, c *signed.Contract, name, value string) {
	parts := strings.Split(value, ":")
	Need(ts, parts, 2, "product.NAME=MODEL:QUANTITY[:OVERDRAFT]")
	p := signed.Product{Model: signed.Model(parts[0]), Quantity: Number(ts, parts[1])}
	if len(parts) == 3 {
		p.Overdraft = Number(ts, parts[2])
	}
	if c.Products == nil {
		c.Products = map[string]signed.Product{}
	}
	c.Products[name] = p
}

// alterPayload changes one character of what was signed.
func alterPayload(document string) string {
	at := strings.LastIndexByte(document, '.') - 8
	other := byte('A')
	if document[at] == 'A' {
		other = 'B'
	}
	return document[:at] + string(other) + document[at+1:]
}
