// Package events is the vocabulary of caxton: identifiers, the event types and
// their payloads, streams, the Store contract, and every error that crosses a
// package boundary.
//
// It is not a log. The engines are in the packages below this folder
// (pebblestore embeds one, others adapt or replicate it); this package is what
// they agree on. It imports nothing of caxton, so anything may import it.
//
// Guarantees: payloads are JSON objects whose field names never change their
// meaning (a change adds a version and an upcaster); encoding is deterministic;
// decoding of outsiders' bytes never panics (fuzzed).
//
// Test it with "go test ./events".
package events
