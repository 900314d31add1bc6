package wasmhost

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// newRandom returns the random bytes that belong to a recorded seed: ChaCha8
// keyed with the SHA-256 of a fixed text and the seed. Streams of neighbouring
// seeds are unrelated. The construction is part of the log's meaning: it never
// changes.
func newRandom(seed uint64) *rand.ChaCha8 {
	text := binary.LittleEndian.AppendUint64([]byte("caxton guest random v1:"), seed)
	return rand.NewChaCha8(sha256.Sum256(text))
}
