package events

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Names that EventStoreDB gives to the log's own streams and types. Only a store
// writes them; an Append that names a stream or a type with a "$" before it is
// refused.
const (
	systemPrefix   = "$"
	metadataPrefix = "$$"

	// TypeStreamMetadata is the type of the events of a MetadataStream.
	TypeStreamMetadata Type = "$metadata"
	// TypeStreamDeleted is the last event of a tombstoned stream.
	TypeStreamDeleted Type = "$streamDeleted"
)

// MaxStreamMetadata bounds a stream's metadata as JSON, in bytes: every read of
// the stream reads them first.
const MaxStreamMetadata = 64 << 10

// MaxStreamAge is the longest MaxAge of a stream: 100 years.
const MaxStreamAge = 100 * 365 * 24 * time.Hour

// MetadataStream holds a stream's metadata, the newest last.
func MetadataStream(s Stream) Stream { return metadataPrefix + s }

// MetadataOf returns the stream whose metadata s holds; ok is false for other
// streams.
func (s Stream) MetadataOf() (of Stream, ok bool) {
	rest, ok := strings.CutPrefix(string(s), metadataPrefix)
	return Stream(rest), ok && rest != ""
}

// System reports whether the stream is the log's own.
func (s Stream) System() bool { return strings.HasPrefix(string(s), systemPrefix) }

// System reports whether the type is the log's own.
func (t Type) System() bool { return strings.HasPrefix(string(t), systemPrefix) }

// StreamMetadata say which events of a stream are still read. The others are
// hidden at once, and their data are dropped when the log is scavenged; revisions
// never change. A read of the whole log shows them until then. Metadata that show
// again what was hidden bring nothing back, and a scavenge under way may still drop it.
//
// The form is EventStoreDB's: a JSON object with "$maxCount", "$maxAge" in
// seconds and "$tb", and beside them the keys of whoever uses the stream.
type StreamMetadata struct {
	MaxCount       uint64        // newest events to show; 0 shows all
	MaxAge         time.Duration // by recorded time, in whole seconds, at most MaxStreamAge; 0 is for ever
	TruncateBefore Revision      // first revision to show, at most one after the last
	Custom         map[string]json.RawMessage
}

// wireMetadata are the names of EventStoreDB.
type wireMetadata struct {
	MaxCount       *uint64 `json:"$maxCount,omitempty"`
	MaxAge         *uint64 `json:"$maxAge,omitempty"`
	TruncateBefore *uint64 `json:"$tb,omitempty"`
}

// Validate reports all faults as one *InvalidError, with the names of the JSON
// form as fields.
func (m StreamMetadata) Validate() error {
	var f Faults
	if m.MaxCount > uint64(EndOfStream) {
		f.Add("$maxCount", "must be at most %d, got %d", uint64(EndOfStream), m.MaxCount)
	}
	if m.MaxAge < 0 || m.MaxAge > MaxStreamAge || m.MaxAge%time.Second != 0 {
		f.Add("$maxAge", "must be 0 to %d whole seconds, got %s", int64(MaxStreamAge/time.Second), m.MaxAge)
	}
	if m.TruncateBefore > EndOfStream {
		f.Add("$tb", "must be at most %d, got %d", uint64(EndOfStream), uint64(m.TruncateBefore))
	}
	for _, k := range slices.Sorted(maps.Keys(m.Custom)) {
		switch {
		case strings.HasPrefix(k, systemPrefix):
			f.Add(k, "is not a key of caxton's: keys that begin with $ are the log's own")
		case !json.Valid(m.Custom[k]):
			f.Add(k, "must be JSON")
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	b := m.encode()
	if len(b) > MaxStreamMetadata {
		return Invalidf("metadata", "must be at most %d bytes of JSON, got %d", MaxStreamMetadata, len(b))
	}
	if !json.Valid(b) { // what reads by itself may stand too deep within the whole
		return Invalid("metadata", "nests deeper than JSON is read")
	}
	return nil
}

// Encode returns the JSON form, keys in a fixed order. Errors are those of
// Validate.
func (m StreamMetadata) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m.encode(), nil
}

func (m StreamMetadata) encode() []byte {
	all := make(map[string]any, len(m.Custom)+3)
	for k, v := range m.Custom {
		all[k] = v
	}
	if m.MaxCount > 0 {
		all["$maxCount"] = m.MaxCount
	}
	if m.MaxAge > 0 {
		all["$maxAge"] = uint64(m.MaxAge / time.Second)
	}
	if m.TruncateBefore > 0 {
		all["$tb"] = uint64(m.TruncateBefore)
	}
	b, err := json.Marshal(all) // sorts its keys
	if err != nil {             // numbers and JSON that was checked: cannot fail
		panic(err)
	}
	return b
}

// DecodeStreamMetadata reads the JSON form. A null stands for an absent key.
// Errors are *InvalidError.
func DecodeStreamMetadata(b []byte) (StreamMetadata, error) {
	var known wireMetadata
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return StreamMetadata{}, Invalidf("metadata", "must be a JSON object: %v", err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return StreamMetadata{}, Invalidf("metadata", "must be whole numbers in $maxCount, $maxAge and $tb: %v", err)
	}
	m := StreamMetadata{}
	if known.MaxCount != nil {
		m.MaxCount = *known.MaxCount
	}
	if known.MaxAge != nil {
		if *known.MaxAge > uint64(MaxStreamAge/time.Second) {
			return StreamMetadata{}, Invalidf("$maxAge", "must be 0 to %d seconds, got %d", int64(MaxStreamAge/time.Second), *known.MaxAge)
		}
		m.MaxAge = time.Duration(*known.MaxAge) * time.Second
	}
	if known.TruncateBefore != nil {
		m.TruncateBefore = Revision(*known.TruncateBefore)
	}
	for k, v := range all {
		if k == "$maxCount" || k == "$maxAge" || k == "$tb" {
			continue
		}
		if m.Custom == nil {
			m.Custom = make(map[string]json.RawMessage)
		}
		m.Custom[k] = bytes.Clone(v)
	}
	return m, m.Validate()
}

// FirstShown returns the first revision that MaxCount and TruncateBefore leave
// of a stream whose last event is last. It is last+1 when they leave none.
func (m StreamMetadata) FirstShown(last Revision) Revision {
	first := m.TruncateBefore
	if m.MaxCount > 0 && uint64(last)+1 > m.MaxCount {
		first = max(first, last+1-Revision(m.MaxCount))
	}
	return min(first, last+1)
}

// Expired reports whether MaxAge hides an event recorded at t when it is now.
func (m StreamMetadata) Expired(t, now time.Time) bool {
	return m.MaxAge > 0 && t.Before(now.Add(-m.MaxAge))
}
