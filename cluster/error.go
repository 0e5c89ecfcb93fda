package cluster

import (
	"fmt"
	"time"

	"github.com/licet/licet/cluster/clusterpb"
)

// Code says why a node could not do what it was asked. Codes are stable.
type Code string

// The codes of Error.
const (
	// NoLeader: no leader is known, and nothing was done.
	NoLeader Code = "no_leader"
	// Overloaded: a bounded queue is full, and nothing was done.
	Overloaded Code = "overloaded"
	// ClockSkew: the leader's clock is far from the others', and nothing was done (rule D3).
	ClockSkew Code = "clock_skew"
	// NotReady: the node has not what it needs to answer yet.
	NotReady Code = "not_ready"
	// ShuttingDown: the node is about to stop, and nothing was done.
	ShuttingDown Code = "shutting_down"
	// OutcomeUnknown: the write may or may not have been decided (rule E2).
	OutcomeUnknown Code = "outcome_unknown"
	// IndexTimeout: the node has not applied the wanted index in time.
	IndexTimeout Code = "index_timeout"
	// Timeout: the caller's time ran out, and nothing was done.
	Timeout Code = "timeout"
	// MemberNotFound: no member has that id.
	MemberNotFound Code = "member_not_found"
	// MemberRefused: a change of members or leadership is not possible now.
	MemberRefused Code = "member_refused"
	// GossipPlain: gossip is not encrypted, so it has no key.
	GossipPlain Code = "gossip_plain"
	// RotationIncomplete: not every node that answers has taken a step to a new gossip key, or keeps a new signing key.
	RotationIncomplete Code = "rotation_incomplete"
	// SigningKeyLimitReached: the cluster has as many signing keys as may be, and nothing was done.
	SigningKeyLimitReached Code = "signing_key_limit_reached"
	// Unsupported: the command is of a kind that not every node knows.
	Unsupported Code = "unsupported"
	// LeaderOnly: only the leader can do it, and nothing was done.
	LeaderOnly Code = "leader_only"
	// WrongCluster: a backup is of another cluster than was said, and nothing was done.
	WrongCluster Code = "wrong_cluster"
	// BackupInvalid: a backup is damaged, too new, or not this cluster's, and nothing was done.
	BackupInvalid Code = "backup_invalid"
	// StorageFailed: the node's disk failed, and nothing was done.
	StorageFailed Code = "storage_failed"
	// Forbidden: whoever asks may not do that, and nothing was done.
	Forbidden Code = "forbidden"

	// notLeader stays within the package: the answer to it is another attempt.
	notLeader Code = "not_leader"
	// joinRefused: a node came without a valid join token. Only that node gets to see it.
	joinRefused Code = "join_refused"
)

// Codes are the codes that an Error can carry out of this package.
var Codes = []Code{
	NoLeader, Overloaded, ClockSkew, NotReady, ShuttingDown, OutcomeUnknown, IndexTimeout, Timeout,
	MemberNotFound, MemberRefused, GossipPlain, RotationIncomplete, SigningKeyLimitReached, Unsupported,
	LeaderOnly, WrongCluster, BackupInvalid, StorageFailed, Forbidden,
}

var advice = map[Code]string{
	NoLeader:               "Try again shortly, or through another node; `licet status` shows which nodes reach each other.",
	Overloaded:             "Try again after the time in Retry-After.",
	ClockSkew:              "Set the clock of the node named; its time service is off.",
	NotReady:               "Try again shortly, or through another node.",
	ShuttingDown:           "Try again through another node.",
	OutcomeUnknown:         "Send the same request again with the same Idempotency-Key: it is done once at most.",
	IndexTimeout:           "Try again, or through another node; this one lags behind.",
	Timeout:                "Try again with more time.",
	MemberNotFound:         "`licet cluster members` shows the members.",
	MemberRefused:          "`licet cluster members` shows the members and their state.",
	GossipPlain:            "Make a key with `licet gossip key make`, name it as gossip.key_file on every node, and restart them one after the other.",
	RotationIncomplete:     "The cluster goes on with the keys that it has. Mend what is named, and run the same again: it goes on where it stopped.",
	SigningKeyLimitReached: "Retire the oldest with `licet cluster signing-key retire`: what it signed ends.",
	joinRefused:            "`licet cluster join-token` on a member makes one; put it into the file of cluster.join_token_file.",
	Unsupported:            "Finish the upgrade of all nodes first; `licet cluster members` shows their versions.",
	LeaderOnly:             "Send it to the leader, as `licet restore` does; `licet cluster members` shows which node that is.",
	WrongCluster:           "Compare the ids: `licet keys` and `licet debug backup FILE` show them. If it is meant, name both with --into and --from.",
	BackupInvalid:          "`licet debug backup FILE` shows what the file is. Take another backup, or this cluster's version of licet.",
	Forbidden:              "Ask an operator for a token that may: `licet token create`. `licet token self` says what this one may do.",
	StorageFailed:          "See to the node's disk: `df` shows whether it is full.",
}

// Error is why a node could not do what it was asked.
type Error struct {
	code   Code
	detail string
}

func errorf(code Code, format string, args ...any) *Error {
	return &Error{code: code, detail: fmt.Sprintf(format, args...)}
}

// Error is a sentence with the numbers behind it.
func (e *Error) Error() string { return e.detail }

// Code is one of Codes.
func (e *Error) Code() string { return string(e.code) }

// Next says what to do about it.
func (e *Error) Next() string { return advice[e.code] }

// RetryAfter says after which time it may be different; 0 where waiting does not help.
func (e *Error) RetryAfter() time.Duration {
	switch e.code {
	case NoLeader, Overloaded, NotReady, ShuttingDown, ClockSkew:
		return time.Second
	}
	return 0
}

func (e *Error) fault() *clusterpb.Fault {
	if e == nil {
		return nil
	}
	return &clusterpb.Fault{Code: string(e.code), Detail: e.detail}
}

func fromFault(f *clusterpb.Fault) *Error {
	if f == nil {
		return nil
	}
	return &Error{code: Code(f.Code), detail: f.Detail}
}
