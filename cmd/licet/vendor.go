package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/fsm/signed"
)

func vendorCommand(streams Streams) *cli.Command {
	return group("vendor", "what a vendor does, without any node: keys and contracts",
		verb{
			name: "keygen", usage: "make a key pair to sign contracts with", run: vendorKeygen,
			flags: []cli.Flag{&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` for vendor.key and vendor.pub (default: here), made if it is not there"}},
			about: "vendor.key is the secret; vendor.pub goes to the cluster's configuration. Nothing is overwritten.",
		}.command(streams),
		verb{
			name: "sign", usage: "sign a contract", args: []string{"CONTRACT.yaml"}, run: vendorSign,
			flags: []cli.Flag{
				&cli.StringFlag{Name: "key", Usage: "`FILE` with the vendor's private key"},
				&cli.StringFlag{Name: "out", Usage: "write the signed contract to `FILE`, replacing it, instead of the output"},
			},
			about: contractFileHelp,
		}.command(streams),
		verb{
			name: "verify", usage: "verify a signed contract and show it", args: []string{"FILE"}, run: vendorVerify,
			flags: []cli.Flag{&cli.StringFlag{Name: "public-key", Aliases: []string{"key"}, Usage: "`FILE` with the vendor's public key"}},
			about: "Exit code 3 says that it is not genuine.",
		}.command(streams),
		endorseVerb().command(streams),
	)
}

func vendorKeygen(s *session) error {
	dir := s.String("dir")
	secret, public := filepath.Join(dir, "vendor.key"), filepath.Join(dir, "vendor.pub")
	if err := s.absent(secret, public); err != nil {
		return err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	secretText, err := signed.EncodePrivateKey(key)
	if err != nil {
		return err
	}
	publicText, err := signed.EncodePublicKey(pub)
	if err != nil {
		return err
	}
	if err := directory(dir); err != nil {
		return err
	}
	if err := create(secret, secretText, 0o600); err != nil {
		return err
	}
	if err := create(public, publicText, 0o644); err != nil {
		return errors.Join(err, os.Remove(secret))
	}
	made := struct {
		ID      string `json:"id"`
		Private string `json:"private_key_file"`
		Public  string `json:"public_key_file"`
	}{signed.KeyID(pub), secret, public}
	return s.printOwn(made, func(p *page) {
		p.fields("key id", made.ID, "private key", secret+" (keep it secret, and keep a copy)", "public key", public+" (for cluster.vendor_keys)")
	})
}

// absent refuses to go on if a file exists.
func (s *session) absent(names ...string) error {
	for _, name := range names {
		_, err := os.Lstat(name)
		switch {
		case err == nil:
			return usagef("Choose another directory, or move the file away.", "%s: %s exists already and is not overwritten", s.name(), name)
		case !errors.Is(err, fs.ErrNotExist): // such as a file where a directory should be
			return s.usagef("%v", pathError(err))
		}
	}
	return nil
}

// directory makes a directory, for secrets, if it is not there.
func directory(name string) error {
	if name == "" {
		return nil
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return failf(exitInternal, "", "%v", pathError(err))
	}
	return nil
}

// create writes a file that must not exist.
func create(name string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return failf(exitInternal, "", "%v", pathError(err))
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(failf(exitInternal, "", "%v", pathError(err)), os.Remove(name))
	}
	return nil
}

func vendorSign(s *session) error {
	if s.String("key") == "" {
		return s.usagef("--key is missing")
	}
	text, err := s.readFile("CONTRACT.yaml", s.args[0], maxContractFile)
	if err != nil {
		return err
	}
	contract, faults := parseContract(s.args[0], text)
	if faults != nil {
		return &failure{code: exitUsage, word: "usage", detail: faults.Error(), next: "Correct the contract; `licet help vendor sign` shows its form."}
	}
	secret, err := s.readFile("--key", s.String("key"), maxInput)
	if err != nil {
		return err
	}
	key, err := signed.ParsePrivateKey(secret)
	if err != nil {
		return s.usagef("--key: %s: %v", s.String("key"), err)
	}
	document, err := contract.Sign(key)
	if err != nil {
		return s.usagef("%v", err)
	}
	if s.IsSet("out") {
		return replace(s.String("out"), []byte(document+"\n"), 0o644)
	}
	return s.write([]byte(document + "\n"))
}

func vendorVerify(s *session) error {
	if s.String("public-key") == "" {
		return s.usagef("--public-key is missing")
	}
	text, err := s.readFile("--public-key", s.String("public-key"), maxInput)
	if err != nil {
		return err
	}
	key, err := signed.ParsePublicKey(text)
	if err != nil {
		return s.usagef("--public-key: %s: %v", s.String("public-key"), err)
	}
	document, err := s.readDocument("FILE", s.args[0])
	if err != nil {
		return err
	}
	c, id, err := signed.VerifyContract(document, []ed25519.PublicKey{key})
	if err != nil {
		return failf(exitRefused, "Ask the vendor for the document, and for the public key that fits it.", "%s is not genuine: %v", s.args[0], err)
	}
	return s.printOwn(c, func(p *page) { showDocument(p, c, id) })
}

func showDocument(p *page, c *signed.Contract, keyID string) {
	p.fields("contract", c.ID, "revision", number(c.Revision), "customer", c.Customer, "e-mail", c.Email,
		"start", when(c.Start), "expiry", when(c.Expiry), "grace", strconv.Itoa(int(c.GraceDays))+" days", "ends", when(c.Ends()),
		"vendor key", keyID, "signature", "genuine")
	if len(c.Users) > 0 {
		var rows [][]string
		for _, area := range slices.Sorted(maps.Keys(c.Users)) {
			rows = append(rows, []string{area, number(c.Users[area])})
		}
		p.line("")
		p.table([]string{"AREA", "MAX"}, rows)
	}
	if len(c.Products) > 0 {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(c.Products)) {
			x := c.Products[name]
			rows = append(rows, []string{name, string(x.Model), number(x.Quantity), number(x.Overdraft)})
		}
		p.line("")
		p.table([]string{"PRODUCT", "MODEL", "QUANTITY", "OVERDRAFT"}, rows)
	}
}
