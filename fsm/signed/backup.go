package signed

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// BackupKind starts the seal of every backup.
const BackupKind = "licet-backup-v1"

// BackupHeader says of which state a backup is.
type BackupHeader struct {
	Cluster string `json:"cluster"`
	// Node wrote the backup, with this Version of the program.
	Node    string `json:"node"`
	Version string `json:"version"`
	// Created is by that node's clock, UTC, whole seconds.
	Created time.Time `json:"created"`
	// Index and Term are those of the last entry in the state.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// Digest is the state's, in hex.
	Digest string `json:"digest"`
}

// BackupSeal is what the cluster certifies of a backup. It ends the file.
type BackupSeal struct {
	BackupHeader
	// Bytes is the length of the file before the seal, SHA256 its checksum in hex.
	Bytes  uint64 `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Sign returns the seal as a document. It refuses what Validate refuses.
func (b *BackupSeal) Sign(key ed25519.PrivateKey) (string, error) { return sign(BackupKind, key, b) }

// VerifyBackupSeal returns the content of a seal. Errors wrap ErrMalformed, ErrUnknownKey or
// ErrSignature. Whether the file is the sealed one is for the caller to see.
func VerifyBackupSeal(document string, keys []ed25519.PublicKey) (*BackupSeal, error) {
	b := new(BackupSeal)
	if _, err := verify(BackupKind, document, keys, b); err != nil {
		return nil, err
	}
	return b, nil
}

// Validate says everything that is wrong with the content, by field.
func (b *BackupSeal) Validate() error {
	return errors.Join(b.BackupHeader.Validate(), checkSum("sha256", b.SHA256))
}

// Validate says everything that is wrong with the content, by field.
func (b *BackupHeader) Validate() error {
	return errors.Join(
		CheckName("cluster", b.Cluster), CheckName("node", b.Node), CheckText("version", b.Version, 200),
		checkTime("created", b.Created), checkSum("digest", b.Digest),
	)
}

func checkSum(field, text string) error {
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != 32 || hex.EncodeToString(raw) != text {
		return fmt.Errorf("%s: %.80q is not 64 digits of hex in lower case", field, text)
	}
	return nil
}
