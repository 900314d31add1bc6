package actors

import "context"

// oneAtATime is a lock for what waits for the log. Whoever waits for it does so no
// longer than its own context: the log may be without a quorum for hours.
type oneAtATime chan struct{} // holds a token while it is taken

func newOneAtATime() oneAtATime { return make(oneAtATime, 1) }

// begin waits for its turn; end must follow. Error: ctx's, and then it must not.
func (o oneAtATime) begin(ctx context.Context) error {
	select {
	case o <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o oneAtATime) end() { <-o }
