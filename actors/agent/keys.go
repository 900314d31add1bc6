package agent

import (
	"slices"
	"strconv"

	"github.com/caxton-run/caxton/events"
)

// How long an agent remembers Idempotency-Keys: whichever bound is met first.
const (
	KeyLifetimeMicros = 24 * 60 * 60 * 1_000_000 // in recorded time
	MaxKeys           = 100_000                  // 25 MB with keys of 36 bytes, for an agent that is asked that much
)

// KeyUse is the request that an Idempotency-Key stands for.
type KeyUse struct {
	MessageID events.MessageID // zero for a restart
	BodyHash  string
	Revision  events.Revision // of the event that says how it ended
	AtMicros  int64           // recorded time, µs since the Unix epoch
}

// ScopedKey is a key as one principal's: two principals may use the same key
// for different requests. Both are quoted: an event is JSON, which would turn
// every byte that is not UTF-8 into the same character, and the key that is read
// back from the log would be another than the one that was used. No key is "".
func ScopedKey(principal, key string) string {
	if key == "" {
		return ""
	}
	return strconv.Quote(principal) + strconv.Quote(key)
}

// keyring remembers keys in the order of their use. Expiry looks only at
// recorded time, so that every replay forgets the same keys at the same event.
//
// Invariant: order holds each key of uses once.
type keyring struct {
	uses  map[string]KeyUse
	order []string // oldest first
}

func (k *keyring) get(key string) (KeyUse, bool) {
	u, ok := k.uses[key]
	return u, ok
}

func (k *keyring) add(key string, use KeyUse) {
	if key == "" {
		return
	}
	if k.uses == nil {
		k.uses = make(map[string]KeyUse)
	}
	if _, known := k.uses[key]; known { // rare: who asks first does not run a known key again
		i := slices.Index(k.order, key)
		k.order = slices.Delete(k.order, i, i+1)
	}
	k.order = append(k.order, key)
	k.uses[key] = use
	k.expire(use.AtMicros)
}

func (k *keyring) expire(now int64) {
	drop := 0
	for drop < len(k.order) {
		oldest := k.uses[k.order[drop]]
		if len(k.order)-drop <= MaxKeys && now-oldest.AtMicros <= KeyLifetimeMicros {
			break
		}
		delete(k.uses, k.order[drop])
		drop++
	}
	k.order = k.order[drop:]
}
