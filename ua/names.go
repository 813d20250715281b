package ua

import (
	"crypto/rand"
	"encoding/hex"
)

// newTag returns a From or To tag: 64 random bits, twice what RFC 3261 section 19.3 asks for.
func newTag() string { return randomHex(8) }

// newCallID returns a Call-ID without host part: it identifies, and tells nobody our address (RFC 3261 section 8.1.1.4).
func newCallID() string { return randomHex(16) }

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
