package http

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answer is what came over the wire.
type answer struct {
	status int
	header http.Header
	body   string
}

// exchange makes one request; headers come in pairs, and "Host" is the host.
func exchange(t *testing.T, r *running, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, r.url(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.http.Do(req)
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

func get(t *testing.T, r *running, path string, headers ...string) answer {
	t.Helper()
	return exchange(t, r, http.MethodGet, path, "", headers...)
}

func post(t *testing.T, r *running, path, body string, headers ...string) answer {
	t.Helper()
	return exchange(t, r, http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// wantProblem checks that an answer is a whole problem of this code and status.
func wantProblem(t *testing.T, got answer, status int, code Code) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("status %d, body %q: %v", got.status, got.body, err)
	}
	if got.status != status || p.Status != status || p.Code != code {
		t.Errorf("got status %d, problem %d %s, want %d %s: %s", got.status, p.Status, p.Code, status, code, p.Detail)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Instance == "" || p.Request == "" || p.Request != got.header.Get(headerRequestID) {
		t.Errorf("incomplete problem %+v (header %q)", p, got.header.Get(headerRequestID))
	}
	return p
}
