package http

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestDecodeMessageThatNestsTooDeep: a body may nest as deep as JSON is read; content that
// does is refused, for an event puts more around it.
func TestDecodeMessageThatNestsTooDeep(t *testing.T) {
	for depth, fits := range map[int]bool{events.MaxContentDepth: true, events.MaxContentDepth + 1: false, 9999: false} {
		body := fmt.Sprintf(`{"content":%s%s}`, strings.Repeat("[", depth), strings.Repeat("]", depth))
		_, err := decodeMessage([]byte(body), false, events.MaxMessageContent)
		var invalid *events.InvalidError
		if fits && err != nil || !fits && !errors.As(err, &invalid) {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}
