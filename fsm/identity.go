package fsm

import (
	"fmt"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// initialise gives the cluster its identity and keys, once. Later commands change
// vendor keys at a vendor's word only (rule C2).
func (s *State) initialise(cmd *fsmpb.Initialise) *fsmpb.Refusal {
	if s.meta.ClusterID != "" {
		return refuse(AlreadyInitialised, "cluster", s.meta.ClusterID)
	}
	if err := signed.CheckName("cluster_id", cmd.ClusterId); err != nil {
		return invalid(err)
	}
	if n := len(cmd.VendorKeys); n == 0 || n > maxKeys {
		return invalid(fmt.Errorf("vendor_keys: %d keys are not in 1 to %d", n, maxKeys))
	}
	vendors, err := foundingKeys(cmd.VendorKeys)
	if err != nil {
		return invalid(fmt.Errorf("vendor_keys: %w", err))
	}
	signing, err := publicKeys([][]byte{cmd.SigningKey})
	if err != nil {
		return invalid(fmt.Errorf("signing_key: %w", err))
	}
	m := edit(s.meta)
	m.ClusterID, m.VendorKeys, m.SigningKeys = cmd.ClusterId, vendors, signing
	s.setMeta(m)
	return nil
}
