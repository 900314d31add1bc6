package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// answerFree is the size up to which an answer is not counted: with
// MaxConnections of them it stays below what connections cost anyway. A streamed
// answer holds about as much at a time.
const answerFree = 64 << 10

var errTooMuchUnsent = errors.New("too much waits to be taken by slow readers")

// unsent changes the count of bytes that wait for their readers by n, and reports
// whether they are within the server's bound. A reader that takes nothing would
// otherwise hold its answer until WriteTimeout, and a thousand of them gigabytes.
func (s *Server) unsent(n int64) bool {
	return s.answers.Add(n) <= s.cfg.MaxBytesInFlight || n <= 0
}

// bytes answers with b. A large answer is counted until it is taken; one that
// finds no room is refused, unless it tells of a change that was made.
func (r *request) bytes(status int, media string, b []byte) error {
	ctx := r.c.Context()
	if n := int64(len(b)); n > answerFree && !ctx.IsHead() {
		if !r.server.unsent(n) && !r.change {
			r.server.unsent(-n)
			return r.noRoom()
		}
		ctx.SetBodyStream(&countedAnswer{Reader: bytes.NewReader(b), giveBack: func() { r.server.unsent(-n) }}, len(b))
	} else {
		ctx.Response.SetBodyRaw(b)
	}
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(media)
	return nil
}

func (r *request) noRoom() error {
	return refuse(CodeOverloaded, "answers of %d bytes wait to be taken; try again", r.server.cfg.MaxBytesInFlight)
}

// countedAnswer is an answer that is counted until the engine closes it, which it
// does when it was written, or cannot be.
type countedAnswer struct {
	io.Reader
	once     sync.Once
	giveBack func()
}

// Close implements io.Closer; a second call does nothing.
func (c *countedAnswer) Close() error {
	c.once.Do(c.giveBack)
	return nil
}

// eventStream is a JSON array of a stream's events that is read while it is
// taken, a little at a time, with no reader of the log open in between. An error in
// the middle ends it without its last chunk, by which the reader knows that
// something is missing.
type eventStream struct {
	server *Server
	ctx    context.Context // of the connection: the request's own ends before the answer is taken
	stream events.Stream
	opts   events.ReadStreamOptions // of what is still to be read; Max of them
	buf    []byte                   // made
	taken  int                      // of buf
	held   int64                    // bytes counted against the server's bound
	some   bool                     // an event was written: the next needs a comma
	ended  bool
}

// add writes one event into the buffer.
func (e *eventStream) add(rec events.Recorded) error {
	b, err := json.Marshal(storedEvent(rec))
	if err != nil {
		return err
	}
	sep := byte(',')
	if !e.some {
		e.some, sep = true, '['
	}
	e.buf = append(append(e.buf, sep), b...)
	e.opts.From = rec.Revision + 1
	if e.opts.Direction == events.Backwards {
		e.opts.From = rec.Revision - 1 // not below the first: nothing is read beyond Max
	}
	return nil
}

// end closes the array.
func (e *eventStream) end() {
	if !e.some {
		e.buf = append(e.buf, '[')
	}
	e.buf, e.ended = append(e.buf, ']'), true
}

// Read implements io.Reader.
func (e *eventStream) Read(p []byte) (int, error) {
	for e.taken == len(e.buf) {
		if e.ended {
			return 0, io.EOF
		}
		if err := e.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.buf[e.taken:])
	e.taken += n
	return n, nil
}

// fill makes the next part of the answer.
func (e *eventStream) fill() error {
	e.buf, e.taken = e.buf[:0], 0
	if cap(e.buf) > 2*answerFree { // one large event; most are not
		e.buf = nil
	}
	left := e.opts.Max
	for rec, err := range e.server.deps.History.ReadStream(e.ctx, e.stream, e.opts) {
		if err != nil {
			return err
		}
		if err := e.add(rec); err != nil {
			return err
		}
		if left--; left == 0 || len(e.buf) >= answerFree {
			break
		}
	}
	if left == e.opts.Max {
		return io.ErrUnexpectedEOF // they were there when the page was measured
	}
	if e.opts.Max = left; left == 0 {
		e.end()
	}
	return e.count()
}

// count keeps the server's count of what the buffer holds.
func (e *eventStream) count() error {
	more := int64(cap(e.buf)) - e.held
	e.held += more
	if !e.server.unsent(more) {
		return errTooMuchUnsent
	}
	return nil
}

// Close implements io.Closer; a second call does nothing.
func (e *eventStream) Close() error {
	e.server.unsent(-e.held)
	e.held = 0
	return nil
}
