package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

const (
	// replaceWait is how long a replacement may take to join and catch up, unless --wait says otherwise.
	replaceWait = 10 * time.Minute
	// replaceLook is the pause between two looks at the members.
	replaceLook = 500 * time.Millisecond
)

func replaceVerb() verb {
	return verb{
		name: "replace", usage: "put a new node in the place of one that is gone or is to go", args: []string{"OLD", "NEW"}, run: clusterReplace,
		flags: []cli.Flag{&cli.StringFlag{Name: "wait", Usage: "wait up to `TIME` for NEW to join and catch up (default 10m)"}},
		about: "Start NEW first, or while this waits: it joins by itself. Once it is a voter, or a replica that keeps up if OLD was none, OLD is\n" +
			"removed, and stops if it still runs. At no time do fewer voters count than before. It can be repeated at will.",
	}
}

func clusterReplace(s *session) error {
	before, after := s.args[0], s.args[1]
	for i, id := range s.args {
		if !isNodeID(id) {
			return s.usagef("%s: %.80q is no node id (a-z, 0-9, then also -)", []string{"OLD", "NEW"}[i], id)
		}
	}
	if before == after {
		return s.usagef("OLD and NEW are both %s; an id is used once", before)
	}
	wait := replaceWait
	if s.IsSet("wait") {
		var err error
		if wait, err = time.ParseDuration(s.String("wait")); err != nil || wait <= 0 {
			return s.usagef("--wait: %.40q is no time, such as 10m", s.String("wait"))
		}
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	r := replacement{session: s, client: c, before: before, after: after}
	if err := r.run(wait); err != nil {
		return err
	}
	return s.printOwn(map[string]string{"old": before, "new": after}, func(p *page) {
		p.line("%s is in the place of %s.", after, before)
	})
}

// replacement is one run of the verb.
type replacement struct {
	*session
	client        *client.Client
	before, after string
	said          string
}

func (r *replacement) run(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(r.context(), wait)
	defer cancel()
	old, err := r.caughtUp(ctx)
	if err != nil || old == nil {
		return err
	}
	if old.Leader {
		r.say("moving leadership away from " + r.before)
		if _, err := r.client.TransferLeadership(ctx, ""); err != nil {
			return err
		}
	}
	r.say("removing " + r.before)
	_, err = r.client.RemoveMember(ctx, r.before)
	if client.CodeOf(err) == apiv1.CodeMemberNotFound {
		return nil
	}
	return err
}

// caughtUp waits until the new node can take the old one's place, and returns the old one; nil if it is gone.
func (r *replacement) caughtUp(ctx context.Context) (*apiv1.Member, error) {
	for state := ""; ; {
		a, err := r.client.Members(ctx)
		if err == nil {
			old, fresh := memberIn(a.Value, r.before), memberIn(a.Value, r.after)
			if old == nil && fresh == nil {
				return nil, failf(exitNotFound, "`licet cluster members` shows the members.", "neither %s nor %s is a member", r.before, r.after)
			}
			if state, err = standing(old, fresh, r.after); err != nil || state == "" {
				return old, err
			}
			r.say(state)
		}
		timer := time.NewTimer(replaceLook)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		if ctx.Err() == nil {
			continue
		}
		var problem *client.Error
		if state == "" && errors.As(err, &problem) {
			return nil, err
		}
		return nil, failf(exitUnreachable, "Look at the log of "+r.after+", then run the same command again.", "%s was not removed: %s", r.before, state)
	}
}

// standing says what the new node waits for, "" if nothing.
func standing(old, fresh *apiv1.Member, id string) (string, error) {
	votes := old == nil || old.Voter
	switch {
	case fresh == nil:
		return "waiting for " + id + " to join", nil
	case votes && fresh.Replica && !fresh.Voter && old != nil:
		return "", failf(exitRefused, "Set node.voter to true on "+id+" and restart it.", "%s is a replica and never votes, but %s does", id, old.ID)
	case !fresh.Healthy:
		return fmt.Sprintf("waiting for %s to keep up", id), nil
	case votes && !fresh.Voter && !fresh.Replica:
		return fmt.Sprintf("waiting for %s to become a voter", id), nil
	}
	return "", nil
}

func memberIn(list apiv1.MemberList, id string) *apiv1.Member {
	for i := range list.Members {
		if list.Members[i].ID == id {
			return &list.Members[i]
		}
	}
	return nil
}

// say tells how it goes, each state once.
func (r *replacement) say(state string) {
	if state != r.said {
		r.said = state
		r.note("%s", state)
	}
}
