package signed

import (
	"crypto/ed25519"
	"errors"
	"time"
)

// CheckpointKind starts every checkpoint of an audit trail.
const CheckpointKind = "licet-checkpoint-v1"

// Checkpoint is what a cluster certifies of its audit trail: which rows there were at a time. Whoever keeps one elsewhere can
// show later that they are still the same.
type Checkpoint struct {
	Cluster string `json:"cluster"`
	// Node signed it.
	Node string `json:"node"`
	// Issued is by that node's clock, UTC, whole seconds.
	Issued time.Time `json:"issued"`
	// Index is that of the last entry in the state, Row the last row.
	Index uint64 `json:"index"`
	Row   uint64 `json:"row"`
	// Chain is the chain after Row, in hex: a hash of all rows up to it.
	Chain string `json:"chain"`
}

// Sign returns the checkpoint as a document. It refuses what Validate refuses.
func (c *Checkpoint) Sign(key ed25519.PrivateKey) (string, error) {
	return sign(CheckpointKind, key, c)
}

// VerifyCheckpoint returns the content of a checkpoint. Errors wrap ErrMalformed, ErrUnknownKey or
// ErrSignature. Whether the rows are the signed ones is for the caller to see.
func VerifyCheckpoint(document string, keys []ed25519.PublicKey) (*Checkpoint, error) {
	c := new(Checkpoint)
	if _, err := verify(CheckpointKind, document, keys, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate says everything that is wrong with the content, by field.
func (c *Checkpoint) Validate() error {
	errs := []error{
		CheckName("cluster", c.Cluster), CheckName("node", c.Node), checkTime("issued", c.Issued), checkSum("chain", c.Chain),
	}
	if c.Row == 0 || c.Index == 0 {
		errs = append(errs, errors.New("index, row: they must be at least 1"))
	}
	return errors.Join(errs...)
}
