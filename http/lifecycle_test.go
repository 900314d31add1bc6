package http

import (
	"net/http"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestLifecycleCallsTakeAKey: a repetition is answered as the first call was.
func TestLifecycleCallsTakeAKey(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "a").String()
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/suspend", http.StatusOK}, {"POST", "/resume", http.StatusOK}, {"POST", "/stop", http.StatusOK}, {"POST", "/restart", http.StatusOK}, {"DELETE", "", http.StatusNoContent},
	} {
		for range 2 {
			if got := exchange(t, r, tc.method, base+"/agents/"+id+tc.path, "", HeaderKey, "k"); got.status != tc.status {
				t.Errorf("%s %s: %d %s, want %d", tc.method, tc.path, got.status, got.body, tc.status)
			}
			if tc.path == "/restart" && r.node.command.IdempotencyKey != "k" {
				t.Errorf("%s: the key does not reach Commands, which remembers it", tc.path)
			}
		}
	}
	if got := exchange(t, r, "DELETE", base+"/agents/"+id, ""); got.status != http.StatusNotFound {
		t.Errorf("without a key: %d", got.status)
	}
	for _, ref := range []string{"a", events.NewAgentID().String()} {
		if got := exchange(t, r, "DELETE", base+"/agents/"+ref, "", HeaderKey, "k"); got.status != http.StatusNotFound {
			t.Errorf("%s, which was never removed or is only a name: %d", ref, got.status)
		}
	}
}

// TestEmptyBodyIsNone: what a client calls a body that it does not send matters to
// nobody where the body is optional.
func TestEmptyBodyIsNone(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	const form = "application/x-www-form-urlencoded" // curl -d ''
	if got := exchange(t, r, "POST", base+"/agents/a/suspend", "", "Content-Type", form); got.status != http.StatusOK {
		t.Errorf("an empty body: %d %s", got.status, got.body)
	}
	wantProblem(t, exchange(t, r, "POST", base+"/agents/a/suspend", "reason=x", "Content-Type", form), http.StatusUnsupportedMediaType, CodeMediaType)
	wantProblem(t, exchange(t, r, "POST", base+"/agents/a/messages", "", "Content-Type", form), http.StatusUnsupportedMediaType, CodeMediaType)
}
