package events

import "strings"

// CapabilityPrefix stands before a capability's name where a receiver is named:
// "capability:translate" is whoever can translate.
const CapabilityPrefix = "capability:"

// Bounds of capabilities.
const (
	MaxCapabilities     = 32 // per agent: an entry of an index each
	MaxCapabilityLength = 64 // bytes
)

// CheckCapability checks a capability's name: 1 to MaxCapabilityLength letters,
// digits and ". _ - /". Errors are *InvalidError for field "capability".
func CheckCapability(name string) error {
	if name == "" || len(name) > MaxCapabilityLength {
		return Invalidf("capability", "must be 1 to %d bytes, got %d", MaxCapabilityLength, len(name))
	}
	for _, c := range []byte(name) {
		plain := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !plain && !strings.ContainsRune("._-/", rune(c)) {
			return Invalidf("capability", "must be of letters, digits and . _ - /, got %.70q", name)
		}
	}
	return nil
}
