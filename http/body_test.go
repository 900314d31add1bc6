package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// dial opens a bare connection that the test closes.
func (r *running) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// reply reads one answer of a bare connection.
func reply(t *testing.T, br *bufio.Reader, method string) answer {
	t.Helper()
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func TestBodyLimits(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.MaxModuleBytes = 100 << 10 })
	r.deploy(t, "a")
	big := strings.Repeat(" ", maxBodyBytes) + "{}"
	huge := strings.Repeat(" ", 20<<20) // far more than any buffer holds: the answer must arrive all the same
	for _, rt := range routes() {
		if rt.body == noBody || rt.body == anyModule {
			continue
		}
		wantProblem(t, post(t, r, concrete(rt), big), http.StatusRequestEntityTooLarge, CodeTooLarge)
	}
	wantProblem(t, post(t, r, base+"/agents", huge), http.StatusRequestEntityTooLarge, CodeTooLarge)
	wantProblem(t, exchange(t, r, "POST", base+"/agents?name=a", strings.Repeat("x", 100<<10+1), "Content-Type", typeWasm), 413, CodeTooLarge)
	content := `{"content":"` + strings.Repeat("x", events.MaxMessageContent) + `"}`
	wantProblem(t, post(t, r, base+"/agents/a/messages", content), 413, CodeTooLarge)
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d oversized requests reached Commands", n)
	}
	fits := fmt.Sprintf(`{"content":%q}`, strings.Repeat("x", events.MaxMessageContent-2))
	if got := post(t, r, base+"/agents/a/messages", fits); got.status != 202 {
		t.Errorf("the largest content: %d %s", got.status, got.body)
	}
}

// TestChunkedBodies: no length is announced, and the limits hold all the same;
// afterwards the connection is still good, or closed.
func TestChunkedBodies(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	c, br := r.dial(t)
	const head = "POST /api/v1/agents/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	for range 2 { // twice on one connection
		if _, err := io.WriteString(c, head+"7\r\n{\"conte\r\n7\r\nnt\": 1}\r\n0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := reply(t, br, "POST"); got.status != 202 || string(r.node.sent.Message.Content) != "1" {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if _, err := io.WriteString(c, head+"zz\r\n"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, reply(t, br, "POST"), 400, CodeInvalidRequest)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("after bad framing the connection is open: %v", err)
	}
	c, br = r.dial(t)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
	_, _ = io.WriteString(c, head+strings.Repeat(chunk, 17)) // no end; the server may close first
	wantProblem(t, reply(t, br, "POST"), 413, CodeTooLarge)
}

// TestPipelining: requests that come at once are answered one by one, and an
// unread body is never taken for a request.
func TestPipelining(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	c, br := r.dial(t)
	one := "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	withBody := "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
	if _, err := io.WriteString(c, one+withBody+one); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got := reply(t, br, "GET"); got.status != 200 || got.body != healthy {
			t.Fatalf("answer %d: %d %s", i, got.status, got.body)
		}
	}
	smuggled := "DELETE /api/v1/agents/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := fmt.Fprintf(c, "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, reply(t, br, "POST"), 404, CodeNotFound)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("the connection is open after an unread body: %v", err)
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("a smuggled request reached Commands %d times", n)
	}
}

func TestExpectContinue(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	c, br := r.dial(t)
	if _, err := io.WriteString(c, "POST /api/v1/agents/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := br.ReadString('\n')
	if err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "{}"); err != nil {
		t.Fatal(err)
	}
	if got := reply(t, br, "POST"); got.status != 202 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestUnreadableRequests(t *testing.T) {
	r := start(t, nil)
	for _, tc := range []struct {
		raw    string
		status int
		code   Code
	}{
		{"nonsense\r\n\r\n", 400, CodeInvalidRequest},
		{"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", maxHeaderBytes) + "\r\n\r\n", 431, CodeHeadersTooLarge},
	} {
		c, br := r.dial(t)
		_, _ = io.WriteString(c, tc.raw)
		wantProblem(t, reply(t, br, "GET"), tc.status, tc.code)
	}
}

// TestSlowBodies: a body that does not come ends with the read timeout.
func TestSlowBodies(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.ReadTimeout = 50 * time.Millisecond })
	r.deploy(t, "a")
	c, br := r.dial(t)
	if _, err := io.WriteString(c, "POST /api/v1/agents/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, reply(t, br, "POST"), http.StatusRequestTimeout, CodeRequestTimeout)
}

// TestBytesInFlight: what all bodies hold together is bounded, and given back.
func TestBytesInFlight(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) {
		c.MaxModuleBytes = 8 << 10
		c.MaxBytesInFlight = c.maxDeployBytes() + 1
	})
	r.deploy(t, "a")
	r.server.held.Add(r.server.cfg.MaxBytesInFlight) // as if others held it all
	got := post(t, r, base+"/agents/a/messages", `{}`)
	wantProblem(t, got, http.StatusServiceUnavailable, CodeOverloaded)
	r.server.held.Add(-r.server.cfg.MaxBytesInFlight)
	for range 3 {
		post(t, r, base+"/agents/a/messages", `{"content":"`+strings.Repeat("x", 30<<10)+`"}`)
		wantProblem(t, post(t, r, base+"/agents/a/messages", `{`), 400, CodeInvalidRequest)
	}
	if held := r.server.held.Load(); held != 0 {
		t.Errorf("%d bytes are never given back", held)
	}
}

// TestRequestsInFlight: beyond the bound callers get 503, and health answers.
func TestRequestsInFlight(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.MaxRequests = 1 })
	r.deploy(t, "a")
	entered, leave := make(chan struct{}), make(chan struct{})
	r.node.onSend = func(context.Context, actors.SendRequest) (actors.Sent, error) {
		close(entered)
		<-leave
		return actors.Sent{Status: actors.Handled}, nil
	}
	first := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), "a", Outgoing{Content: []byte("1")})
		first <- err
	}()
	<-entered
	got := get(t, r, base+"/agents")
	wantProblem(t, got, http.StatusServiceUnavailable, CodeOverloaded)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if err := r.Health(context.Background()); err != nil {
		t.Errorf("health on a busy server: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestLargeMessages: a server that allows larger content reads larger bodies, of
// messages only.
func TestLargeMessages(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.MaxContent = 4 << 20 })
	r.deploy(t, "a")
	content := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	if got := post(t, r, base+"/agents/a/messages", `{"content":`+content(4<<20)+`}`); got.status != 202 {
		t.Errorf("%d %.200s", got.status, got.body)
	}
	if got := post(t, r, base+"/messages", `{"receiver":"a","content":`+content(4<<20)+`}`); got.status != 202 {
		t.Errorf("%d %.200s", got.status, got.body)
	}
	wantProblem(t, post(t, r, base+"/agents/a/messages", `{"content":`+content(4<<20+1)+`}`), 413, CodeTooLarge)
	wantProblem(t, post(t, r, base+"/agents/a/suspend", `{"reason":`+content(4<<20)+`}`), 413, CodeTooLarge)
}
