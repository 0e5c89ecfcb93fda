package main

import (
	"time"

	"github.com/licet/licet/fsm"
)

// tokenSummary is a token as a state has it, without its hash.
type tokenSummary struct {
	ID      uint64    `json:"id"`
	Name    string    `json:"name"`
	Role    fsm.Role  `json:"role"`
	Scope   string    `json:"scope,omitempty"`
	Created time.Time `json:"created"`
	// Expires is absent if it does not.
	Expires *time.Time `json:"expires,omitempty"`
}

// shownTokens are how many tokens of a state are shown.
const shownTokens = 100

func tokensOf(v *fsm.View) []tokenSummary {
	var list []tokenSummary
	for _, x := range v.Tokens(0, shownTokens) {
		t := tokenSummary{
			ID: x.ID, Name: x.Name, Role: x.Role, Scope: scopeText(x.Scope.Site, x.Scope.Instance, x.Scope.Pools, x.Scope.User),
			Created: time.UnixMilli(x.CreatedMs).UTC(),
		}
		if x.ExpiryMs != 0 {
			at := time.UnixMilli(x.ExpiryMs).UTC()
			t.Expires = &at
		}
		list = append(list, t)
	}
	return list
}

func showTokens(p *page, list []tokenSummary) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, x := range list {
		rows = append(rows, []string{number(x.ID), x.Name, string(x.Role), x.Scope, when(x.Created), moment(x.Expires, "never")})
	}
	p.line("")
	p.table([]string{"TOKEN", "NAME", "ROLE", "SCOPE", "CREATED", "EXPIRES"}, rows)
}
