package http

import (
	"errors"
	"io"
	"mime"
	"net"
	"strings"
)

// bodyStep is the least by which a body's buffer grows: memory is taken as the
// bytes come, never because a header announced them.
const bodyStep = 8 << 10

// readBody takes the request's body, within the route's limit and the server's
// bound on all bodies together, after looking at what it claims to be.
func (r *request) readBody(rt *route) error {
	stream := r.c.Context().RequestBodyStream()
	length := r.c.Context().Request.Header.ContentLength() // -1: chunked
	empty := stream == nil || length == 0
	if rt.body != noBody {
		if err := r.readMedia(rt, empty); err != nil {
			return err
		}
	}
	if stream != nil {
		body, err := r.drainStream(stream, length, rt.bodyLimit(r.server.cfg))
		if err != nil {
			return err
		}
		if tc, ok := r.c.Context().Conn().(*conn); ok {
			tc.bodyRead = true
		}
		r.body = body
	}
	if rt.body == mustJSON || rt.body == aMessage || (rt.body == mayJSON && len(r.body) > 0) || (rt.body == anyModule && r.media == typeJSON) {
		return checkJSON(r.body)
	}
	return nil
}

func tooLarge(limit int64) error {
	return refuse(CodeTooLarge, "the body of this call must be at most %d bytes", limit)
}

// readMedia checks the content type. A JSON route takes nothing else: a form
// that a web page posts could otherwise be taken for a request.
func (r *request) readMedia(rt *route, empty bool) error {
	raw := r.c.Get("Content-Type")
	if empty && rt.body == mayJSON {
		return nil // curl -d '' calls nothing a form
	}
	media, _, err := mime.ParseMediaType(raw)
	if err != nil {
		media = ""
	}
	switch {
	case media == typeJSON || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		r.media = typeJSON
	case media == typeWasm && rt.body == anyModule:
		r.media = typeWasm
	case rt.body == anyModule:
		return refuse(CodeMediaType, "Content-Type must be %s or %s, got %q", typeJSON, typeWasm, clip(raw))
	default:
		return refuse(CodeMediaType, "Content-Type must be %s, got %q", typeJSON, clip(raw))
	}
	return nil
}

// drainStream reads the stream to its end and not beyond: after the end of a
// chunked body a further Read would take the next request for a chunk.
func (r *request) drainStream(stream io.Reader, length int, limit int64) ([]byte, error) {
	if int64(length) > limit {
		return nil, tooLarge(limit)
	}
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			grown, err := r.grow(buf)
			if err != nil {
				return nil, err
			}
			buf = grown
		}
		n, err := stream.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, readFault(err)
		}
	}
}

// grow doubles a buffer and counts it.
func (r *request) grow(buf []byte) ([]byte, error) {
	add := int64(max(cap(buf), bodyStep))
	r.held += add // close gives it back, whether or not it fits
	if r.server.held.Add(add) > r.server.cfg.MaxBytesInFlight {
		return nil, refuse(CodeOverloaded, "request bodies of %d bytes are being held; try again", r.server.cfg.MaxBytesInFlight)
	}
	grown := make([]byte, len(buf), int64(cap(buf))+add)
	copy(grown, buf)
	return grown, nil
}

// readFault says why a body did not come.
func readFault(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return refuse(CodeRequestTimeout, "the body did not arrive in time")
	}
	return refuse(CodeInvalidRequest, "the body ended early or is badly framed")
}
