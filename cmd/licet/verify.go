package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func verifyCommand(streams Streams) *cli.Command {
	return verb{
		name: "verify", usage: "verify a license key or a borrow token offline", args: []string{"KEY"}, run: verifySigned,
		flags: []cli.Flag{
			&cli.StringFlag{Name: "public-key", Usage: "`FILE` with the cluster's public signing keys, as `licet keys --out FILE` writes it"},
			&cli.StringFlag{Name: "user", Usage: "of a borrow: that it is `USER`'s"},
			&cli.StringFlag{Name: "client", Usage: "of a borrow: that it is for `CLIENT`, the host or device"},
			&cli.StringFlag{Name: "at", Usage: "judge it as of `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the day's beginning) instead of now"},
		},
		about: "KEY is the license key or token itself or the name of a file with it; - is the input. It says valid, in grace or ended.\n" +
			"Exit code 3 says that it is not genuine, has ended, or is another user's or client's. Whether a newer key is in\n" +
			"force, or a borrow was returned, only the cluster knows.",
	}.command(streams)
}

// verdict is what is said of a license key that is genuine.
type verdict struct {
	State client.Phase `json:"state"`
	At    time.Time    `json:"at"`
	Ends  time.Time    `json:"ends"`
	*signed.LicenseKey
}

// borrowVerdict is what is said of a borrow token that is genuine.
type borrowVerdict struct {
	Valid bool      `json:"valid"`
	At    time.Time `json:"at"`
	*signed.Borrow
}

func verifySigned(s *session) error {
	file := s.String("public-key")
	if file == "" {
		return s.usagef("--public-key is missing")
	}
	at, err := s.at()
	if err != nil {
		return err
	}
	public, err := s.readFile("--public-key", file, maxInput)
	if err != nil {
		return err
	}
	key, err := s.readSigned("KEY", s.args[0])
	if err != nil {
		return err
	}
	if strings.HasPrefix(key, signed.BorrowKind+".") {
		return s.verifyBorrow(key, public, at)
	}
	if s.IsSet("user") || s.IsSet("client") {
		return s.usagef("--user, --client: a license key has none")
	}
	return s.verifyKey(key, public, at)
}

func (s *session) verifyBorrow(token string, public []byte, at time.Time) error {
	b, fault := client.VerifyBorrow(token, public, s.String("user"), s.String("client"), at)
	if b == nil {
		if !genuineness(fault) {
			return s.usagef("--public-key: %s: %v", s.String("public-key"), fault)
		}
		return failf(exitRefused, "Fetch the public keys with `licet keys --out FILE`.", "the borrow token is not genuine: %v", fault)
	}
	v := borrowVerdict{fault == nil, at, b}
	err := s.printOwn(v, func(p *page) {
		p.fields("valid", fmt.Sprint(v.Valid), "lease", number(b.Lease), "pool", b.Pool, "product", b.Product, "user", b.User, "client", b.Client,
			"count", number(b.Count), "cluster", b.Cluster, "issued", when(b.Issued), "expiry", when(b.Expiry))
	})
	if err == nil && fault != nil {
		return failf(exitRefused, "Check out again.", "lease %d: %s", b.Lease, strings.ReplaceAll(fault.Error(), "\n", "; "))
	}
	return err
}

func (s *session) verifyKey(key string, public []byte, at time.Time) error {
	k, ended := client.VerifyLicenseKey(key, public, at)
	if k == nil {
		if !genuineness(ended) {
			return s.usagef("--public-key: %s: %v", s.String("public-key"), ended)
		}
		return failf(exitRefused, "Fetch the instance's key with `licet instance key`, and the public keys with `licet keys --out FILE`.", "the license key is not genuine: %v", ended)
	}
	v := verdict{client.PhaseOf(k, at), at, k.Ends(), k}
	if err := s.printOwn(v, func(p *page) { showVerdict(p, v) }); err != nil {
		return err
	}
	if ended != nil {
		return failf(exitRefused, "Ask the vendor for a contract revision with a later expiry.", "instance %d: %v", k.Serial, ended)
	}
	return nil
}

// genuineness tells whether an error is the license key's fault, not the public key's.
func genuineness(err error) bool {
	return errors.Is(err, signed.ErrMalformed) || errors.Is(err, signed.ErrUnknownKey) || errors.Is(err, signed.ErrSignature)
}

func (s *session) at() (time.Time, error) {
	if !s.IsSet("at") {
		return time.Now().UTC(), nil
	}
	return s.moment("at")
}

// moment is the time that a flag names.
func (s *session) moment(flag string) (time.Time, error) {
	text := s.String(flag)
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, s.usagef("--%s: %.40q is neither a date (2026-12-31) nor a time (2026-12-31T18:00:00Z)", flag, text)
}

func showVerdict(p *page, v verdict) {
	p.fields("state", string(v.State), "instance", number(v.Serial), "contract", v.Contract, "cluster", v.Cluster,
		"key revision", number(v.Revision), "expiry", when(v.Expiry), "grace", fmt.Sprintf("%d days", v.GraceDays), "ends", when(v.Ends))
	var rows [][]string
	for _, area := range slices.Sorted(maps.Keys(v.Allocation)) {
		rows = append(rows, []string{area, number(v.Allocation[area])})
	}
	p.line("")
	p.table([]string{"AREA", "ALLOCATION"}, rows)
}
