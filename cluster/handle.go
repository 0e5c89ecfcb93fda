package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/licet/licet/fsm/signed"
)

const (
	// handleInfo keeps the key of handles apart from whatever else may be derived one day.
	handleInfo = "licet secret handles v1"
	// handleBytes is how much of the MAC a handle has.
	handleBytes = 24
)

// Handle is the secret handle of what one item of a request takes (rule K6). It is derived from the
// key that the cluster was founded with, or what is left of it, which every member has and nobody else: the same request has the same
// handle through whichever node it is repeated (rule E1), and none is stored.
func (n *Node) Handle(actor, requestID string, item int) (string, error) {
	derives := n.identity.signingKeys().derives
	if derives == nil {
		return "", errorf(NotReady, "Node %s does not have the cluster's signing key yet.", n.options.ID)
	}
	mac := hmac.New(sha256.New, derives.handles())
	mac.Write([]byte(actor + "\x00" + requestID + "\x00" + strconv.Itoa(item)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:handleBytes]), nil
}

// SignBorrow signs with the cluster's key, which every member has (rule K4).
func (n *Node) SignBorrow(b *signed.Borrow) (string, error) {
	key, fault := n.signingKey(n.replica.view.Load())
	if fault != nil {
		return "", fault
	}
	return b.Sign(key)
}
