package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPanicsBecomeProblems(t *testing.T) {
	var log lockedBuffer
	r := start(t, func(_ *Config, d *Deps) { d.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	r.deploy(t, "a")
	r.node.onGet = func() { panic("secret of the house") }
	got := get(t, r, base+"/agents/a")
	p := wantProblem(t, got, http.StatusInternalServerError, CodeInternal)
	if strings.Contains(got.body, "secret") {
		t.Errorf("the panic is told to the caller: %s", got.body)
	}
	if !strings.Contains(log.String(), "secret of the house") || !strings.Contains(log.String(), p.Request) {
		t.Errorf("the log does not tell: %s", log.String())
	}
	r.node.onGet = nil
	if got := get(t, r, base+"/agents/a"); got.status != 200 || r.server.active.Load() != 0 {
		t.Errorf("afterwards: %d, %d active", got.status, r.server.active.Load())
	}
}

// TestDrain: Serve lets a request under way finish, closes idle connections at
// once, and takes no new ones.
func TestDrain(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	idle, _ := r.dial(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	r.node.onSend = func(context.Context, actors.SendRequest) (actors.Sent, error) {
		close(entered)
		<-leave
		return actors.Sent{Status: actors.Handled, ConversationID: "c"}, nil
	}
	sent := make(chan error, 1)
	go func() {
		got, err := r.Send(context.Background(), "a", Outgoing{Content: []byte("1")})
		if err == nil && got.ConversationID != "c" {
			err = errors.New("an answer without its content")
		}
		sent <- err
	}()
	<-entered
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection got data")
	}
	select {
	case <-stopped:
		t.Error("Serve returned before the request was answered")
	default:
	}
	if c, err := net.Dial("tcp", r.addr); err == nil {
		_ = c.Close()
		t.Error("a draining server accepts connections")
	}
	close(leave)
	if err := <-sent; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	<-stopped
}

// TestDrainEndsPatience: a request that does not end has its context ended.
func TestDrainEndsPatience(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.DrainTimeout = 20 * time.Millisecond })
	r.deploy(t, "a")
	entered := make(chan struct{})
	r.node.onSend = func(ctx context.Context, _ actors.SendRequest) (actors.Sent, error) {
		close(entered)
		<-ctx.Done()
		return actors.Sent{}, ctx.Err()
	}
	sent := make(chan error, 1)
	go func() {
		_, err := r.Send(context.Background(), "a", Outgoing{Content: []byte("1")})
		sent <- err
	}()
	<-entered
	r.stop()
	if p := problem(t, <-sent); p.Code != CodeShuttingDown {
		t.Errorf("got %+v", p)
	}
}

// failingListener breaks after its first connection.
type failingListener struct{ net.Listener }

func (failingListener) Accept() (net.Conn, error) { return nil, errors.New("cable cut") }

func TestServeReportsABrokenListener(t *testing.T) {
	srv, err := New(DefaultConfig(), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(context.Background(), failingListener{ln}); err == nil || err.Error() != "cable cut" {
		t.Errorf("Serve = %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

// TestConnectionLimit: one more connection waits until another closes.
func TestConnectionLimit(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.MaxConnections = 1 })
	first, br := r.dial(t)
	const ask = "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := io.WriteString(first, ask); err != nil {
		t.Fatal(err)
	}
	reply(t, br, "GET")
	second, br2 := r.dial(t)
	if _, err := io.WriteString(second, ask); err != nil {
		t.Fatal(err)
	}
	if err := second.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := br2.Peek(1); err == nil {
		t.Error("a second connection was served")
	}
	_ = first.Close()
	if err := second.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := reply(t, br2, "GET"); got.body != healthy {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// seenRequest is what an Observer was told.
type seenRequest struct {
	method string
	status int
}

type recorder struct {
	mu   sync.Mutex
	list []seenRequest
}

func (o *recorder) Request(method string, status int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, seenRequest{method, status})
}

func TestObserver(t *testing.T) {
	var o recorder
	r := start(t, func(_ *Config, d *Deps) { d.Observer = &o })
	get(t, r, base+"/health")
	get(t, r, "/nowhere")
	exchange(t, r, "BREW", base+"/agents", "")
	r.stop()
	want := []seenRequest{{"GET", 200}, {"GET", 404}, {"other", 501}}
	if len(o.list) != 3 || o.list[0] != want[0] || o.list[1] != want[1] || o.list[2] != want[2] {
		t.Errorf("told of %v, want %v", o.list, want)
	}
}

func TestMetricsServer(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := NewRequestMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRequestMetrics(reg); err == nil {
		t.Error("registered twice")
	}
	m.Request("GET", 404, time.Millisecond)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewMetricsServer(reg).Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/metrics": 200, "/": 404} {
		resp, err := client.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want || want == 200 && !strings.Contains(string(b), `caxton_http_requests_total{method="GET",status="4xx"} 1`) {
			t.Errorf("%s: %d %s %v", path, resp.StatusCode, b, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := NewMetricsServer(reg).Serve(context.Background(), failingListener{ln}); err == nil || err.Error() != "cable cut" {
		t.Errorf("Serve with a broken listener = %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	var invalid *events.InvalidError
	if _, err := New(Config{}, Deps{}); !errors.As(err, &invalid) || len(invalid.Fields) < 12 {
		t.Errorf("New of the zero Config = %v, want every fault", err)
	}
}

func TestClientSaysWhatAnswersInstead(t *testing.T) {
	for _, tc := range []struct{ media, body string }{
		{"text/html", "<h1>Bad gateway</h1>"}, {"application/problem+json", "{"}, {"application/problem+json", "{}"}, {"", ""},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.media)
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, tc.body)
		}))
		c, err := NewClient(ClientOptions{URL: other.URL + "/"})
		if err != nil {
			t.Fatal(err)
		}
		p := problem(t, c.Health(context.Background()))
		if p.Status != 502 || p.Code != "" || !strings.Contains(p.Error(), "not as caxton does") {
			t.Errorf("%q: %+v", tc.body, p)
		}
		c.Close()
		other.Close()
	}
}

func TestClientTimeout(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	c, err := NewClient(ClientOptions{URL: slow.URL, Timeout: 20 * time.Millisecond, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	var ue *UnreachableError
	if err := c.Health(context.Background()); !errors.As(err, &ue) || !strings.HasSuffix(err.Error(), "no answer in time") {
		t.Errorf("got %v", err)
	}
	var unknown *UnansweredError
	if _, err := c.Stop(context.Background(), "a", Stopping{}); !errors.As(err, &unknown) || errors.As(err, &ue) || !strings.HasSuffix(err.Error(), "no answer in time") {
		t.Errorf("a change: %v, want an *UnansweredError", err)
	}
	close(release)
	c.Close()
	slow.Close()
	if _, err := c.Stop(context.Background(), "a", Stopping{}); !errors.As(err, &ue) || errors.As(err, &unknown) {
		t.Errorf("a change that nobody was there for: %v, want an *UnreachableError", err)
	}
}

func TestClientURLs(t *testing.T) {
	for _, bad := range []string{"ftp://x", "localhost:8080", "http://", "/x", "http://[::1", ":"} {
		if _, err := NewClient(ClientOptions{URL: bad}); err == nil {
			t.Errorf("URL %q is accepted", bad)
		}
	}
	c, err := NewClient(ClientOptions{})
	if err != nil || c.root.String() != DefaultURL {
		t.Errorf("default %v, %v", c, err)
	}
}
