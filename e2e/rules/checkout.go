package rules

import (
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Ask is what a checkout asks for.
type Ask struct {
	// Who is what the script calls the seat from then on.
	Who                                  string
	Pool, Product, User, Client, Project string
	Groups                               []string
	Count                                uint64
	TTL, Days                            uint32
	Queue                                bool
	// As names another handle than the seat's own; empty means that one.
	As string
}

// Checkout reads WHO POOL PRODUCT [NAME=VALUE...]. WHO is the user, too.
func Checkout(ts *testscript.TestScript, args []string) Ask {
	Need(ts, args, 3, "checkout WHO POOL PRODUCT [NAME=VALUE...]")
	ask := Ask{Who: args[0], Pool: args[1], Product: args[2], User: args[0], Client: "host"}
	for name, value := range Pairs(ts, args[3:]) {
		switch name {
		case "user":
			ask.User = value
		case "client":
			ask.Client = value
		case "count":
			ask.Count = Number(ts, value)
		case "ttl":
			ask.TTL = Seconds(ts, value)
		case "project":
			ask.Project = value
		case "groups":
			ask.Groups = strings.Split(value, ",")
		case "days":
			ask.Days = uint32(Number(ts, value))
		case "queue":
			ask.Queue = value == "yes"
		case "as":
			ask.As = value
		default:
			ts.Fatalf("a checkout has no %s", name)
		}
	}
	if !strings.Contains(ask.User, "@") {
		ask.User += "@example.org"
	}
	return ask
}

// Connect reads a checkout whose project stands without a name before it.
func Connect(ts *testscript.TestScript, args []string) Ask {
	Need(ts, args, 4, "connect WHO POOL PRODUCT PROJECT [NAME=VALUE...]")
	rest := slices.Clone(args)
	rest[3] = "project=" + args[3]
	return Checkout(ts, rest)
}
