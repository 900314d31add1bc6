package wasmhost

import (
	"strings"
	"testing"
)

// TestSendReplyBy: a guest may say until when it wants an answer, as a time that
// the log can write.
func TestSendReplyBy(t *testing.T) {
	for text, want := range map[string]int32{
		`{"receiver":"b","reply_by":"2026-01-02T03:04:05Z"}`:      0,
		`{"receiver":"b","reply_by":null}`:                        0,
		`{"receiver":"b","reply_by":"tomorrow"}`:                  codeInvalid,
		`{"receiver":"b","reply_by":7}`:                           codeInvalid,
		`{"receiver":"b","reply_by":"2026-01-02T03:04:05+24:00"}`: codeInvalid,
		`{"receiver":"b","protocol":"timer"}`:                     codeInvalid,
	} {
		m, code := parseSend([]byte(text), 1<<20)
		if code != want || code == 0 && (m.ReplyBy != nil) != (strings.Contains(text, `"2026`)) {
			t.Errorf("%s: %d, %v", text, code, m.ReplyBy)
		}
	}
}
