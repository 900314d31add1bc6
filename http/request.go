package http

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// Headers of the interface beside the standard ones.
const (
	HeaderPosition    = "Caxton-Position"     // of the log, that the answer reflects or reached
	HeaderMinPosition = "Caxton-Min-Position" // that a read is to wait for
	HeaderStale       = "Caxton-Stale"        // "true": the answer may lag behind what was acknowledged
	HeaderTotal       = "Caxton-Total"        // agents in all, beside a list
	HeaderKey         = "Idempotency-Key"     // the same key is the same request
)

// principal is everyone on a server without authentication.
const principal = "user:anonymous"

const (
	typeJSON = "application/json"
	typeWasm = "application/wasm"
)

// request is one request whose form was checked against its route.
type request struct {
	c      *fiber.Ctx
	ctx    context.Context // ends with the request's time, or the server
	cancel context.CancelFunc
	query  url.Values
	caller actors.Caller
	media  string // content type of the body, without parameters
	body   []byte // owned by the request; never reused
	held   int64  // bytes counted against the server's bound
	change bool   // its route changes something
	server *Server
}

// open checks what can be checked without knowing the resource. Its order is
// from cheap to dear: nothing is read for a request that will be refused.
func (s *Server) open(c *fiber.Ctx, rt *route) (*request, error) {
	if err := s.checkHost(c); err != nil {
		return nil, err
	}
	r := &request{c: c, server: s, change: rt.change}
	if rt.change {
		if err := s.checkOrigin(c); err != nil {
			return nil, err
		}
		if err := r.readCaller(rt); err != nil {
			return nil, err
		}
	}
	if err := r.readQuery(rt); err != nil {
		return nil, err
	}
	limit := s.cfg.RequestTimeout + rt.long
	if slices.Contains(rt.query, "wait") {
		limit += MaxWait
	}
	r.ctx, r.cancel = context.WithTimeout(r.connContext(), limit)
	if err := r.readBody(rt); err != nil {
		r.close()
		return nil, err
	}
	if rt.read {
		if err := r.awaitMinPosition(); err != nil {
			r.close()
			return nil, err
		}
		r.position(s.deps.Agents.Position())
	}
	return r, nil
}

// connContext ends with the server's patience for its connections.
func (r *request) connContext() context.Context {
	if tc, ok := r.c.Context().Conn().(*conn); ok {
		return tc.set.base
	}
	return context.Background()
}

func (r *request) close() {
	r.cancel()
	r.server.held.Add(-r.held)
}

// readQuery parses the query and refuses what the route does not know: a
// misspelt parameter would otherwise be a different request than meant.
func (r *request) readQuery(rt *route) error {
	if rt.always {
		return nil
	}
	q, err := url.ParseQuery(string(r.c.Context().URI().QueryString()))
	if err != nil {
		return events.Invalid("query", "must be URL-encoded key=value pairs")
	}
	var f events.Faults
	for _, k := range sortedKeys(q) {
		switch {
		case !slices.Contains(rt.query, k):
			f.Add(clip(k), "is not a parameter of this call%s", known(rt.query))
		case len(q[k]) > 1 && k != rt.many:
			f.Add(k, "must be given once")
		}
	}
	r.query = q
	return f.Err()
}

func known(names []string) string {
	if len(names) == 0 {
		return "; it has none"
	}
	return "; known: " + strings.Join(names, ", ")
}

// readCaller takes who asks from the headers.
func (r *request) readCaller(rt *route) error {
	key := r.c.Get(HeaderKey)
	given := len(r.c.Request().Header.PeekAll(HeaderKey)) > 0 // an empty one is a variable that was not set, and not none
	if given && !rt.keyed {
		return events.Invalid(HeaderKey, "is not taken by this call, which does more each time: look at the agent before repeating it")
	}
	if given {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	r.caller = actors.Caller{Principal: principal, IdempotencyKey: key}
	if tp := r.c.Get("traceparent"); validTraceParent(tp) {
		r.caller.TraceParent = tp
	}
	return nil
}

// checkKey reports why a text cannot be an Idempotency-Key.
func checkKey(key string) error {
	if len(key) < 1 || len(key) > events.MaxKeyLength {
		return events.Invalidf(HeaderKey, "must be 1 to %d bytes, got %d", events.MaxKeyLength, len(key))
	}
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return events.Invalid(HeaderKey, "must be printable ASCII without spaces")
		}
	}
	return nil
}

// validTraceParent checks the form of W3C Trace Context level 1, section 3.2.2,
// version 00. A malformed header is to be ignored, not refused (section 4.3).
func validTraceParent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, parent, flags := s[3:35], s[36:52], s[53:]
	for _, part := range []string{trace, parent, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}

// agent resolves the {id} of the path.
func (r *request) agent() (events.AgentID, error) {
	ref, err := r.ref()
	if err != nil {
		return events.AgentID{}, err
	}
	return r.server.deps.Agents.Resolve(ref)
}

// ref is the {id} of the path as the caller wrote it.
func (r *request) ref() (string, error) {
	ref, err := url.PathUnescape(r.c.Params("id"))
	if err != nil || ref == "" || len(ref) > maxRef {
		return "", events.Invalid("id", "must be an agent's id, a unique prefix of one, or a name")
	}
	return ref, nil
}

// number reads a whole number of the query, lo to hi; absent is def.
func (r *request) number(name string, def, lo, hi uint64) (uint64, error) {
	if !r.query.Has(name) {
		return def, nil
	}
	n, err := strconv.ParseUint(r.query.Get(name), 10, 64)
	if err != nil || n < lo || n > hi {
		return 0, events.Invalidf(name, "must be a whole number, %d to %d", lo, hi)
	}
	return n, nil
}

// awaitMinPosition gives a reader its own writes.
func (r *request) awaitMinPosition() error {
	raw := r.c.Get(HeaderMinPosition)
	if raw == "" {
		return nil
	}
	n, err := strconv.ParseUint(raw, 10, 63)
	if err != nil {
		return events.Invalid(HeaderMinPosition, "must be a position: a whole number")
	}
	if !r.awaitPosition(events.Position(n)) {
		at := r.server.deps.Agents.Position()
		r.position(at)
		return refuse(CodeTimeout, "reads have reached position %d, not %d, after %s", at, n, MaxPositionWait)
	}
	return nil
}

// awaitPosition waits until reads reflect p; false means that they do not yet.
func (r *request) awaitPosition(p events.Position) bool {
	ctx, cancel := context.WithTimeout(r.ctx, MaxPositionWait)
	defer cancel()
	return r.server.deps.Agents.WaitFor(ctx, p) == nil
}

// reached is awaitPosition for a change that is durable at p. A reader that
// lags is no reason to call the change failed: the answer says that it may be
// stale instead.
func (r *request) reached(p events.Position) bool {
	r.position(p)
	if r.awaitPosition(p) {
		return true
	}
	r.c.Set(HeaderStale, "true")
	return false
}

func (r *request) position(p events.Position) {
	r.c.Set(HeaderPosition, strconv.FormatUint(uint64(p), 10))
}

// json answers with v.
func (r *request) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return refuse(CodeInternal, "encode answer: %v", err)
	}
	return r.bytes(status, typeJSON, b)
}

// checkHost refuses requests that were meant for another name.
func (s *Server) checkHost(c *fiber.Ctx) error {
	host := string(c.Context().Host())
	if !s.answersTo(host) {
		return refuse(CodeMisdirected, "this server is not %q; it answers to %s", clip(host), strings.Join(s.cfg.Hosts, ", "))
	}
	return nil
}

// answersTo reports whether host, with or without a port, is one of ours.
func (s *Server) answersTo(host string) bool {
	name := hostname(host)
	for _, h := range s.cfg.Hosts {
		if h == "*" || strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// hostname strips the port and the brackets of an IPv6 address. Colons without
// brackets are a bare IPv6 address only when there are several.
func hostname(host string) string {
	if rest, ok := strings.CutPrefix(host, "["); ok {
		name, _, _ := strings.Cut(rest, "]")
		return name
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.TrimSuffix(host, ".")
}

// checkOrigin refuses changes that a web page of another site asks a browser
// for. Other clients send neither header (Fetch Metadata; RFC 6454).
func (s *Server) checkOrigin(c *fiber.Ctx) error {
	switch c.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return refuse(CodeForbidden, "changes are not accepted from pages of another site")
	}
	origin := c.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !s.answersTo(u.Host) {
		return refuse(CodeForbidden, "changes are not accepted from pages of %q", clip(origin))
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// waitOf reads ?wait=.
func (r *request) waitOf() (time.Duration, error) {
	raw := r.query.Get("wait")
	if !r.query.Has("wait") {
		return 0, nil
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d < 0 || d > MaxWait {
		return 0, events.Invalidf("wait", "must be a duration such as 500ms or 5s, at most %s", MaxWait)
	}
	return d, nil
}
