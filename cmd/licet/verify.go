package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func verifyCommand(streams Streams) *cli.Command {
	return verb{
		name: "verify", usage: "verify a license key offline", args: []string{"KEY"}, run: verifyKey,
		flags: []cli.Flag{
			&cli.StringFlag{Name: "public-key", Usage: "`FILE` with the cluster's public signing keys, as `licet keys --out FILE` writes it"},
			&cli.StringFlag{Name: "at", Usage: "judge it as of `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the day's beginning) instead of now"},
		},
		about: "KEY is the license key itself or the name of a file with it; - is the input. It says valid, in grace or ended.\n" +
			"Exit code 3 says that the key is not genuine or has ended. Whether a newer key is in force only the cluster knows.",
	}.command(streams)
}

// verdict is what is said of a license key that is genuine.
type verdict struct {
	State client.Phase `json:"state"`
	At    time.Time    `json:"at"`
	Ends  time.Time    `json:"ends"`
	*signed.LicenseKey
}

func verifyKey(s *session) error {
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
	key, err := s.readLicenseKey("KEY", s.args[0])
	if err != nil {
		return err
	}
	k, ended := client.VerifyLicenseKey(key, public, at)
	if k == nil {
		if !genuineness(ended) {
			return s.usagef("--public-key: %s: %v", file, ended)
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
	text := s.String("at")
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, s.usagef("--at: %.40q is neither a date (2026-12-31) nor a time (2026-12-31T18:00:00Z)", text)
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
