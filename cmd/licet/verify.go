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
			&cli.StringFlag{Name: "user", Usage: "of a borrow, mandatory: that it is `USER`'s"},
			&cli.StringFlag{Name: "client", Usage: "of a borrow, mandatory: that it is for `CLIENT`, the host or device"},
			&cli.StringFlag{Name: "mark", Usage: "`FILE` that keeps the latest time that was seen, so that a clock that was turned back is noticed; made if absent"},
			&cli.StringFlag{Name: "at", Usage: "judge it as of `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the day's beginning) instead of now"},
		},
		about: "KEY is the license key or token itself or the name of a file with it; - is the input. It says valid, in grace or ended.\n" +
			"Exit code 3 says that it is not genuine, has ended, is another user's or client's, or that the clock was turned\n" +
			"back. Whether a newer key is in force, or a borrow was returned, only the cluster knows.",
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
	if s.IsSet("mark") && s.IsSet("at") {
		return s.usagef("--mark, --at: the mark is of the clock, which --at takes the place of; leave one of the two out")
	}
	at, err := s.at()
	if err != nil {
		return err
	}
	public, err := s.readFile("--public-key", file, maxInput)
	if err != nil {
		return err
	}
	keys, err := client.ParsePublicKeys(public)
	if err != nil {
		return s.usagef("--public-key: %s: %v", file, err)
	}
	key, err := s.readSigned("KEY", s.args[0])
	if err != nil {
		return err
	}
	v := &client.Verifier{Keys: keys, User: s.String("user"), Client: s.String("client"), Mark: noMark{}, Now: func() time.Time { return at }}
	if mark := s.String("mark"); mark != "" {
		v.Mark = client.FileMark(mark)
	}
	switch borrow := strings.HasPrefix(key, signed.BorrowKind+"."); {
	case borrow && (v.User == "" || v.Client == ""):
		return s.usagef("--user, --client: they are missing; a borrow is one user's, on one host or device")
	case borrow:
		return s.verifyBorrow(key, v, at)
	case s.IsSet("user") || s.IsSet("client"):
		return s.usagef("--user, --client: a license key has none")
	}
	return s.verifyKey(key, v, at)
}

// noMark keeps nothing: without --mark a time that has been is not known.
type noMark struct{}

func (noMark) Load() ([]byte, error) { return nil, nil }

func (noMark) Store([]byte) error { return nil }

func (s *session) verifyBorrow(token string, v *client.Verifier, at time.Time) error {
	b, fault := v.VerifyBorrow(token)
	if b == nil {
		return failf(exitRefused, "Fetch the public keys with `licet keys --out FILE`.", "the borrow token is not genuine: %v", fault)
	}
	said := borrowVerdict{fault == nil, at, b}
	err := s.printOwn(said, func(p *page) {
		p.fields("valid", fmt.Sprint(said.Valid), "lease", number(b.Lease), "pool", b.Pool, "product", b.Product, "user", b.User, "client", b.Client,
			"count", number(b.Count), "cluster", b.Cluster, "issued", when(b.Issued), "expiry", when(b.Expiry))
	})
	if err == nil && fault != nil {
		return failf(exitRefused, nextFor(fault, "Check out again."), "lease %d: %s", b.Lease, faultText(fault))
	}
	return err
}

func (s *session) verifyKey(key string, v *client.Verifier, at time.Time) error {
	k, phase, fault := v.VerifyLicenseKey(key)
	if k == nil {
		return failf(exitRefused, "Fetch the instance's key with `licet instance key`, and the public keys with `licet keys --out FILE`.", "the license key is not genuine: %v", fault)
	}
	said := verdict{phase, at, k.Ends(), k}
	if err := s.printOwn(said, func(p *page) { showVerdict(p, said) }); err != nil {
		return err
	}
	if fault != nil {
		return failf(exitRefused, nextFor(fault, "Ask the vendor for a contract revision with a later expiry."), "instance %d: %s", k.Serial, faultText(fault))
	}
	return nil
}

// nextFor says what to do: first about a clock that is not trusted, as nothing else can be said before.
func nextFor(fault error, otherwise string) string {
	switch {
	case errors.Is(fault, client.ErrClockTurnedBack):
		return "Set the clock right. If it was once ahead by mistake, remove the mark."
	case errors.Is(fault, client.ErrMarkUnreadable), errors.Is(fault, client.ErrMarkNotKept):
		return "Look at the file of --mark and its directory. A mark that is damaged is begun anew once it is removed."
	}
	return otherwise
}

func faultText(fault error) string { return strings.ReplaceAll(fault.Error(), "\n", "; ") }

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
