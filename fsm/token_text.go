package fsm

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// TokenSecret is how many bytes the secret of a token has. They are random, so that a fast hash is enough: nobody can
// try 2^256 of them, however fast each is.
const TokenSecret = 32

const (
	tokenPrefix   = "licet_"
	secretLetters = 2 * TokenSecret
	checkLetters  = 8
)

// TokenText is a token as its owner sends it: licet_NUMBER_SECRET, the secret and the CRC-32 of all that in hex, so
// that scanners for secrets find it and know it from what only looks like one.
func TokenText(id uint64, secret []byte) string {
	text := tokenPrefix + strconv.FormatUint(id, 10) + "_" + hex.EncodeToString(secret)
	return text + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// ParseToken takes a token's text apart; false if it is none. There is one text for each token.
func ParseToken(text string) (id uint64, secret []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return 0, nil, false
	}
	number, rest, ok := strings.Cut(rest, "_")
	if !ok || len(rest) != secretLetters+checkLetters || number == "" || number[0] < '1' || number[0] > '9' {
		return 0, nil, false
	}
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || strings.ContainsAny(rest, "ABCDEF") {
		return 0, nil, false
	}
	decoded := make([]byte, TokenSecret+checkLetters/2)
	if _, err := hex.Decode(decoded, []byte(rest)); err != nil {
		return 0, nil, false
	}
	secret = decoded[:TokenSecret]
	if crc32.ChecksumIEEE([]byte(text[:len(text)-checkLetters])) != binary.BigEndian.Uint32(decoded[TokenSecret:]) {
		return 0, nil, false
	}
	return id, secret, true
}
