package http

import (
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
)

// base is the path of every route.
const base = "/api/v1"

// bodyKind says what a route reads.
type bodyKind uint8

const (
	noBody    bodyKind = iota // a body is read and thrown away
	mayJSON                   // none, or a JSON object
	mustJSON                  // a JSON object
	aMessage                  // the same, as large as a message may be
	anyModule                 // a JSON object, or a module's bytes
)

// route is one line of the table: everything that holds before its handler
// runs is stated here.
type route struct {
	method string
	path   string
	body   bodyKind
	query  []string      // parameters it knows; any other is refused
	many   string        // the one of them that may come more than once
	change bool          // refused to foreign web pages
	keyed  bool          // takes an Idempotency-Key
	read   bool          // takes a Caxton-Min-Position and answers with Caxton-Position
	long   time.Duration // that it may take beyond Config.RequestTimeout
	always bool          // answered however busy the server is, whatever the query
	handle func(*Server, *request) error
}

// routes is the whole interface. A GET answers HEAD too.
func routes() []route {
	return slices.Concat(agentRoutes(), operationRoutes(), emergencyRoutes(), breakerRoutes())
}

func agentRoutes() []route {
	return []route{
		{method: http.MethodGet, path: base + "/health", always: true, handle: (*Server).health},
		{method: http.MethodGet, path: base + "/ready", always: true, handle: (*Server).ready},
		{method: http.MethodGet, path: base + "/version", always: true, handle: (*Server).version},

		{method: http.MethodGet, path: base + "/agents", read: true, query: []string{"limit", "cursor"}, handle: (*Server).listAgents},
		{method: http.MethodPost, path: base + "/agents", change: true, keyed: true, body: anyModule, query: deployQuery(), many: "label", handle: (*Server).deploy},
		{method: http.MethodPost, path: base + "/agents/actions", change: true, body: mustJSON, long: bulkTime, handle: (*Server).bulkAgents},
		{method: http.MethodGet, path: base + "/agents/:id", read: true, handle: (*Server).getAgent},
		{method: http.MethodPut, path: base + "/agents/:id", change: true, keyed: true, body: anyModule, query: updateQuery(), many: "label", handle: (*Server).updateAgent},
		{method: http.MethodDelete, path: base + "/agents/:id", change: true, keyed: true, handle: (*Server).removeAgent},
		{method: http.MethodPost, path: base + "/agents/:id/suspend", change: true, keyed: true, body: mayJSON, handle: (*Server).suspendAgent},
		{method: http.MethodPost, path: base + "/agents/:id/resume", change: true, keyed: true, body: mayJSON, handle: (*Server).resumeAgent},
		{method: http.MethodPost, path: base + "/agents/:id/stop", change: true, keyed: true, body: mayJSON, handle: (*Server).stopAgent},
		{method: http.MethodPost, path: base + "/agents/:id/restart", change: true, keyed: true, body: mayJSON, handle: (*Server).restartAgent},
		{method: http.MethodPost, path: base + "/agents/:id/messages", change: true, keyed: true, body: aMessage, query: []string{"wait"}, handle: (*Server).sendMessage},
		{method: http.MethodPost, path: base + "/messages", change: true, keyed: true, body: aMessage, query: []string{"wait"}, handle: (*Server).postMessage},
		{method: http.MethodGet, path: base + "/messages/:message", read: true, handle: (*Server).getMessage},
		{method: http.MethodGet, path: base + "/dead-letters", read: true, query: []string{"limit", "cursor"}, handle: (*Server).listLetters},
		{method: http.MethodGet, path: base + "/dead-letters/:message", read: true, handle: (*Server).getLetter},
		{method: http.MethodPost, path: base + "/dead-letters/:message/retry", change: true, handle: (*Server).retryLetter},
		{method: http.MethodGet, path: base + "/conversations/:conversation", read: true, handle: (*Server).getConversation},
		{method: http.MethodGet, path: base + "/agents/:id/events", read: true, query: []string{"from", "limit", "direction"}, handle: (*Server).agentEvents},
		{method: http.MethodGet, path: base + "/agents/:id/messages", read: true, query: []string{"from", "limit", "direction", "waiting"}, handle: (*Server).agentMessages},
		{method: http.MethodGet, path: base + "/agents/:id/module", read: true, handle: (*Server).agentModule},
	}
}

// bodyLimit is the most bytes that the route's body may have.
func (rt *route) bodyLimit(cfg Config) int64 {
	if rt.body == anyModule {
		return cfg.maxDeployBytes()
	}
	if rt.body == aMessage {
		return cfg.maxMessageBytes()
	}
	return maxBodyBytes
}

// serveRoute does what the table says and then calls the route's handler.
func (s *Server) serveRoute(rt route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		defer s.active.Add(-1)
		if s.active.Add(1) > int64(s.cfg.MaxRequests) && !rt.always {
			return refuse(CodeOverloaded, "%d requests are being answered; try again", s.cfg.MaxRequests)
		}
		if !rt.always && !s.started() {
			return &notReadyError{s.missing()}
		}
		r, err := s.open(c, &rt)
		if err != nil {
			return err
		}
		defer r.close()
		return rt.handle(s, r)
	}
}
