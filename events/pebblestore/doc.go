// Package pebblestore is the embedded log engine: an events.Store on one disk,
// kept in Pebble.
//
// It is not replicated and it has no transactions over several streams. No event
// is ever changed; of one that is hidden, Scavenge leaves only the leaf.
//
// Guarantees: an append that returned nil was fsynced; nothing is readable
// before its fsync; revisions and positions have no gaps; every record is
// checked by its CRC-32C on each read, and damage is named, never served; a
// failed write to the disk ends the process and leaves the directory read-only;
// Root stands for the whole history and is not changed by scavenging.
//
// Limits: one process per directory; an append of at most
// events.MaxAppendBytes and events.MaxAppendEvents; memory as set by Options,
// whatever the length of the log; open time does not grow with history.
//
// DESIGN.md describes layout and behaviour under crashes. Test it with
// "go test -race ./events/pebblestore"; "go test -bench . ./events/pebblestore"
// reports throughput beside that of the bare disk.
package pebblestore
