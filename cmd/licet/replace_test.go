package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// memberAnswer is a member in JSON: id, then v(oter), l(eader), h(ealthy), r(eplica).
func memberAnswer(text string) string {
	id, is, _ := strings.Cut(text, ":")
	has := func(c string) bool { return strings.Contains(is, c) }
	return fmt.Sprintf(`{"id":%q,"address":"127.0.0.1:7101","voter":%v,"leader":%v,"healthy":%v,"replica":%v}`, id, has("v"), has("l"), has("h"), has("r"))
}

// TestReplace: the new node is a voter before the old one is removed, whatever happens in between, and a repeat does nothing.
func TestReplace(t *testing.T) {
	others := " bordeaux:vlh lyon:vh"
	for name, c := range map[string]struct {
		// views are the members as they are at each look; the last one stays.
		views []string
		wait  string
		code  int
		calls string
		says  string
	}{
		"it joins, catches up and is promoted": {
			views: []string{"paris:v", "paris:v nice:", "paris:v nice:h", "paris:v nice:vh"},
			calls: "DELETE paris", says: "note: waiting for nice to join\nnote: waiting for nice to keep up\nnote: waiting for nice to become a voter\nnote: removing paris\nnice is in the place of paris.\n",
		},
		"the old one leads":       {views: []string{"paris:vlh nice:vh"}, calls: "POST transfer, DELETE paris", says: "moving leadership away from paris"},
		"it was done before":      {views: []string{"nice:vh"}, says: "nice is in the place of paris."},
		"it was done half":        {views: []string{"nice:h", "nice:vh"}, says: "become a voter"},
		"a replica for a replica": {views: []string{"paris:r nice:hr"}, calls: "DELETE paris"},
		"a replica for a voter":   {views: []string{"paris:v nice:hr"}, code: exitRefused, says: "next: Set node.voter to true on nice"},
		"neither is there":        {views: []string{""}, code: exitNotFound, says: "neither paris nor nice is a member"},
		"it never joins":          {views: []string{"paris:v"}, wait: "1s", code: exitUnreachable, says: "paris was not removed: waiting for nice to join"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls []string
			looks := 0
			f := newFake(t, 200, "")
			f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					calls = append(calls, r.Method+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
					w.WriteHeader(http.StatusNoContent)
					return
				}
				var list []string
				for _, m := range strings.Fields(c.views[min(looks, len(c.views)-1)] + others) {
					list = append(list, memberAnswer(m))
				}
				looks++
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"leader":"bordeaux","members":[%s]}`, strings.Join(list, ","))
			})
			wait := c.wait
			if wait == "" {
				wait = "1m"
			}
			got := run(t, at(f.Server), "cluster", "replace", "paris", "nice", "--wait", wait)
			if text := got.err + got.out; got.code != c.code || !strings.Contains(text, c.says) || strings.Join(calls, ", ") != c.calls {
				t.Errorf("exit %d, calls %q:\n%s", got.code, calls, text)
			}
		})
	}
}

func TestReplaceIsCalledRight(t *testing.T) {
	for _, args := range []string{"paris", "paris paris", "paris Nice", "paris nice --wait soon", "paris nice --wait 0s"} {
		if got := run(t, nil, append([]string{"cluster", "replace"}, strings.Fields(args)...)...); got.code != exitUsage {
			t.Errorf("%s: %+v", args, got)
		}
	}
}
