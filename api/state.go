package api

import (
	"context"
	"errors"
	"strconv"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// view reads the state as the request asks, and says in the headers what was read.
func (s *service) view(c *call) (*fsm.View, error) {
	v, age, err := s.Node.Read(c.ctx, c.read)
	if err != nil {
		return nil, err
	}
	c.sayView(v)
	if c.read.Stale {
		c.header.Set("Licet-Age-Ms", strconv.FormatInt(max(0, age.Milliseconds()), 10))
	}
	if v.ClusterID() == "" {
		return nil, notInitialised()
	}
	return v, c.reached(v)
}

// sayView says in the headers which state was read.
func (c *call) sayView(v *fsm.View) {
	c.header.Set("Licet-Index", strconv.FormatUint(v.Index(), 10))
	c.header.Set("Licet-Term", strconv.FormatUint(v.Term(), 10))
}

func notInitialised() *problem {
	return problemf(apiv1.CodeNotInitialised, "The cluster, or this node's copy of its state, has no identity yet.")
}

// identity is a view for what never changes after the cluster was initialised.
func (s *service) identity(c *call) (*fsm.View, error) {
	v, _, err := s.Node.Read(c.ctx, Read{Stale: true})
	if err != nil {
		return nil, err
	}
	if v.ClusterID() == "" {
		return nil, notInitialised()
	}
	return v, nil
}

// decide has a command decided, or tried if it is a dry run, and says in the
// headers what came of it. A refusal is an error.
func (s *service) decide(c *call, body *fsmpb.Body) (*fsmpb.Outcome, error) {
	command, err := fsm.NewCommand(c.actor, c.requestKey, body)
	if err != nil {
		return nil, err
	}
	if len(command.Body) > fsm.MaxBody {
		return nil, problemf(apiv1.CodeBodyTooLarge, "The request makes a command of %d bytes; %d are the most.", len(command.Body), fsm.MaxBody).
			with("limit", apiv1.Number(fsm.MaxBody))
	}
	if err := c.judge(s.Node.View(), body); err != nil {
		return nil, err
	}
	c.header.Set("Idempotency-Key", c.requestKey)
	var o *fsmpb.Outcome
	if c.dryRun {
		o, err = s.Node.DryRun(c.ctx, command)
		c.header.Set("Licet-Dry-Run", "true")
	} else {
		o, err = s.Node.ProposeFor(c.ctx, c.principal, command)
		err = unknown(err, hints[apiv1.CodeOutcomeUnknown])
	}
	if err != nil {
		return nil, err
	}
	c.header.Set("Licet-Index", strconv.FormatUint(o.Index, 10))
	c.header.Set("Licet-Term", strconv.FormatUint(o.Term, 10))
	if o.Repeated {
		c.header.Set("Licet-Repeated", "true")
	}
	if o.Refusal != nil {
		p := refusal(o.Refusal)
		p.rows = rejectedRows(o)
		return nil, p
	}
	return o, nil
}

// unknown reports a change that time ran out on as of unknown outcome (rule E2).
func unknown(err error, next string) error {
	var known NodeError
	if errors.As(err, &known) || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	p := problemf(apiv1.CodeOutcomeUnknown, "The time for the request ran out before its outcome was known.")
	p.next, p.cause = next, err
	return p
}
