package http

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/caxton-run/caxton/events"
)

// Server answers the REST interface. Make one with New; its methods may be
// called from any goroutine.
type Server struct {
	cfg  Config
	deps Deps
	log  *slog.Logger
	app  *fiber.App

	boot     string        // random; keeps the request ids of two runs apart
	requests atomic.Uint64 // numbered, for ids
	active   atomic.Int64  // requests being answered
	held     atomic.Int64  // bytes of bodies being held
	answers  atomic.Int64  // bytes of large answers that are not taken yet
}

// New builds a server. The only error is what cfg.Validate reports.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never fails (crypto/rand)
	s := &Server{cfg: cfg, deps: deps, log: deps.Log, boot: hex.EncodeToString(boot[:])}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.app = fiber.New(fiber.Config{
		Immutable:                    true, // values outlive the request: they are put into events
		StrictRouting:                true,
		CaseSensitive:                true,
		StreamRequestBody:            true, // bodies are read, counted and bounded in body.go
		DisablePreParseMultipartForm: true,
		BodyLimit:                    math.MaxInt, // each route has its own
		ReadBufferSize:               maxHeaderBytes,
		Concurrency:                  math.MaxInt32, // bounded in connset.go: Fiber's own refusal is plain text
		ReadTimeout:                  cfg.ReadTimeout,
		WriteTimeout:                 cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		DisableStartupMessage:        true,
		DisableDefaultDate:           true, // its clock goroutine never ends; begin writes the header
		DisableDefaultContentType:    true,
		ErrorHandler:                 s.fail,
	})
	for _, rt := range routes() {
		handle := s.serveRoute(rt)
		s.app.Add(rt.method, rt.path, handle)
		if rt.method == http.MethodGet {
			s.app.Add(http.MethodHead, rt.path, handle)
		}
	}
	fast := s.app.Server()
	fast.Handler = s.entry(s.app.Handler())
	fast.ConnState = trackState
	return s, nil
}

// Serve answers connections of ln until ctx ends; then it takes no new ones,
// lets the requests under way finish (at most Config.DrainTimeout, after which
// their contexts end and their connections close) and returns nil when its last
// goroutine is gone. It closes ln. The only error is a listener that stopped
// accepting by itself.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	set := newConnSet(base, s.cfg.MaxConnections)
	err := set.accept(ctx, ln, s.serveConn)
	set.drain(s.cfg.DrainTimeout, cancel)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serveConn owns one connection to its end.
func (s *Server) serveConn(c *conn) {
	defer func() {
		if v := recover(); v != nil { // outside of any handler: the parser's own fault
			s.log.Error("connection ended by a panic", "err", v, "stack", string(debug.Stack()))
			_ = c.Close()
		}
	}()
	_ = s.app.Server().ServeConn(c) // a broken connection is its peer's affair
}

// entry surrounds Fiber: what must hold even where it answers by itself or a
// handler panics.
func (s *Server) entry(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		start := time.Now()
		id := s.begin(ctx, start)
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("request ended by a panic", "err", v, "request", id, "stack", string(debug.Stack()))
				for _, h := range []string{"Location", "Link", "ETag", HeaderTotal, HeaderPosition, HeaderStale} {
					ctx.Response.Header.Del(h) // a full Reset would bring the engine's clock back
				}
				ctx.SetConnectionClose()
				s.writeProblem(ctx, id, refuse(CodeInternal, "panic"))
			}
			s.finish(ctx)
			s.observe(ctx, start)
		}()
		if !knownMethod(string(ctx.Method())) {
			s.writeProblem(ctx, id, refuse(CodeNotImplemented, "method %q is not known here", clip(string(ctx.Method()))))
			return
		}
		next(ctx)
	}
}

const headerRequestID = "Caxton-Request-Id"

// begin sets what every answer carries and returns the request's id.
func (s *Server) begin(ctx *fasthttp.RequestCtx, now time.Time) string {
	h := &ctx.Response.Header
	if id := h.Peek(headerRequestID); len(id) > 0 {
		return string(id)
	}
	id := s.boot + "-" + strconv.FormatUint(s.requests.Add(1), 10)
	h.Set(headerRequestID, id)
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	return id
}

// finish leaves the connection in a state in which the next request can be
// read, or marks it to be closed.
func (s *Server) finish(ctx *fasthttp.RequestCtx) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return
	}
	if ctx.RequestBodyStream() != nil && !c.bodyRead {
		c.linger.Store(true)
		ctx.SetConnectionClose()
	}
	c.bodyRead = false
	if c.set.isDraining() {
		ctx.SetConnectionClose()
	}
}

func (s *Server) observe(ctx *fasthttp.RequestCtx, start time.Time) {
	status, elapsed := ctx.Response.StatusCode(), time.Since(start)
	if s.deps.Observer != nil {
		s.deps.Observer.Request(methodLabel(string(ctx.Method())), status, elapsed)
	}
	s.log.Debug("request answered", "method", string(ctx.Method()), "path", string(ctx.Path()), "status", status, "elapsed", elapsed)
}

// fail is where every error of a handler, of Fiber's router and of its parser
// becomes an answer.
func (s *Server) fail(c *fiber.Ctx, err error) error {
	ctx := c.Context()
	fresh := len(ctx.Response.Header.Peek(headerRequestID)) == 0
	start := time.Now()
	id := s.begin(ctx, start)
	var fe *fiber.Error
	if errors.As(err, &fe) {
		err = fromFiber(fe, c)
	}
	s.writeProblem(ctx, id, err)
	if fresh { // the parser refused it: entry never saw it
		if tc, ok := ctx.Conn().(*conn); ok {
			tc.linger.Store(true)
		}
		s.observe(ctx, start)
	}
	return nil
}

// fromFiber translates the router's and the parser's errors.
func fromFiber(fe *fiber.Error, c *fiber.Ctx) error {
	switch fe.Code {
	case http.StatusNotFound:
		return refuse(CodeNotFound, "there is nothing at %s; agents are at %s/agents", clip(c.Path()), base)
	case http.StatusMethodNotAllowed:
		return refuse(CodeMethod, "%s is not possible at %s; allowed: %s", c.Method(), clip(c.Path()), c.GetRespHeader("Allow"))
	case http.StatusRequestHeaderFieldsTooLarge:
		return refuse(CodeHeadersTooLarge, "request line and headers must be at most %d bytes", maxHeaderBytes)
	case http.StatusRequestTimeout:
		return refuse(CodeRequestTimeout, "the request did not arrive in time")
	case http.StatusRequestEntityTooLarge:
		return refuse(CodeTooLarge, "the body is too large")
	case http.StatusInternalServerError:
		return refuse(CodeInternal, "%s", fe.Message)
	}
	return refuse(CodeInvalidRequest, "this is not a readable HTTP request")
}

// writeProblem answers with an error, and logs it if it is our fault.
func (s *Server) writeProblem(ctx *fasthttp.RequestCtx, id string, err error) {
	p, k := problemOf(err, clipPath(string(ctx.URI().PathOriginal())), id)
	if k.code == CodeInternal {
		s.log.Error("request failed", "err", err, "request", id, "path", p.Instance)
	}
	ctx.Response.ResetBody()
	ctx.Response.SetStatusCode(p.Status)
	ctx.Response.Header.SetContentType("application/problem+json")
	if k.retry > 0 {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(retryAfter(err, k)))
	}
	ctx.Response.SetBodyRaw(p.encode())
}

// retryAfter is in seconds: what the error says, or what its kind does.
func retryAfter(err error, k kind) int {
	var open *events.BreakerOpenError
	if errors.As(err, &open) && open.Retry > 0 {
		return int((open.Retry + time.Second - 1) / time.Second)
	}
	return k.retry
}

func clipPath(p string) string {
	const most = 1024
	if len(p) > most {
		p = p[:most]
	}
	return p
}

// knownMethod reports whether Fiber knows the method; others it answers itself,
// in plain text.
func knownMethod(m string) bool {
	for _, k := range fiber.DefaultMethods {
		if m == k {
			return true
		}
	}
	return false
}

// methodLabel keeps the number of different methods that an Observer sees small.
func methodLabel(m string) string {
	if knownMethod(m) {
		return m
	}
	return "other"
}
