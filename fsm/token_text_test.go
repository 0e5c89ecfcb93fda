package fsm

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// FuzzParseToken: what is taken for a token is the one text of that token, and a character of it that changes makes it none.
func FuzzParseToken(f *testing.F) {
	good := TokenText(7, bytes.Repeat([]byte{0xab}, TokenSecret))
	for _, seed := range []string{
		"", good, TokenText(1<<64-1, make([]byte, TokenSecret)), strings.ToUpper(good), good[:len(good)-1], good + "0",
		strings.Replace(good, "_7_", "_07_", 1), strings.Replace(good, "_7_", "_+7_", 1), strings.Replace(good, "_7_", "__", 1), "licet_", "licet_1_",
	} {
		f.Add(seed, 3, byte(1))
	}
	// What else the same token could be written as, each with its own checksum.
	secret := strings.Repeat("ab", TokenSecret)
	for _, seed := range []string{"licet_07_" + secret, "licet_+7_" + secret, "licet_0_" + secret, "licet_7_" + strings.ToUpper(secret), "licet_7_" + secret, "licet_18446744073709551616_" + secret} {
		f.Add(fmt.Sprintf("%s%08x", seed, crc32.ChecksumIEEE([]byte(seed))), 3, byte(1))
	}
	f.Fuzz(func(t *testing.T, text string, at int, bits byte) {
		id, secret, ok := ParseToken(text)
		if !ok {
			if id != 0 || secret != nil {
				t.Fatalf("%q is none, and has %d", text, id)
			}
			return
		}
		if id == 0 || len(secret) != TokenSecret || TokenText(id, secret) != text {
			t.Fatalf("%q is token %d, whose text is %q", text, id, TokenText(id, secret))
		}
		if at < 0 || at >= len(text) || bits == 0 {
			return
		}
		altered := []byte(text)
		altered[at] ^= bits
		if _, _, ok := ParseToken(string(altered)); ok {
			t.Fatalf("%q is a token as well as %q", altered, text)
		}
	})
}
