package actors

import (
	"context"

	"github.com/caxton-run/caxton/events"
)

// changeMetadata sets what change makes of a stream's metadata, unless that reports
// that there is nothing to change. Errors: *events.WrongRevisionError, when somebody
// else changed it meanwhile; those of the store.
func (s *System) changeMetadata(ctx context.Context, stream events.Stream, change func(*events.StreamMetadata) bool) error {
	md, at, ok, err := s.deps.Store.StreamMetadata(ctx, stream)
	if err != nil || !change(&md) {
		return err
	}
	expected := events.NoStream()
	if ok {
		expected = events.Exact(at)
	}
	_, err = s.deps.Store.SetStreamMetadata(ctx, stream, expected, md)
	return err
}
