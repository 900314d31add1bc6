package http

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// concrete is a path that the route matches.
func concrete(rt route) string {
	return strings.NewReplacer(":id", "a", ":message", messageSaid().String(), ":conversation", url.PathEscape(conversationHeld)).Replace(rt.path)
}

// TestOtherMethodsAreRefused walks the table: a path answers what stands there,
// and 405 with Allow to everything else.
func TestOtherMethodsAreRefused(t *testing.T) {
	r := start(t, nil)
	allowed := map[string][]string{}
	for _, rt := range routes() {
		allowed[concrete(rt)] = append(allowed[concrete(rt)], rt.method)
		if rt.method == http.MethodGet {
			allowed[concrete(rt)] = append(allowed[concrete(rt)], http.MethodHead)
		}
	}
	const actions = base + "/agents/actions" // an agent may have that name
	allowed[actions] = append(allowed[actions], allowed[base+"/agents/a"]...)
	for path, methods := range allowed {
		for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			if slices.Contains(methods, m) {
				continue
			}
			got := exchange(t, r, m, path, "")
			wantProblem(t, got, http.StatusMethodNotAllowed, CodeMethod)
			allow := strings.Split(strings.ReplaceAll(got.header.Get("Allow"), " ", ""), ",")
			slices.Sort(allow)
			slices.Sort(methods)
			if !slices.Equal(allow, methods) {
				t.Errorf("%s %s: Allow %v, want %v", m, path, allow, methods)
			}
		}
	}
	wantProblem(t, exchange(t, r, "BREW", base+"/agents", ""), http.StatusNotImplemented, CodeNotImplemented)
}

func TestHeadAnswersAsGet(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, rt := range routes() {
		if rt.method != http.MethodGet {
			continue
		}
		if got := exchange(t, r, http.MethodHead, concrete(rt), ""); got.status != http.StatusOK || got.body != "" {
			t.Errorf("HEAD %s: %d %q", concrete(rt), got.status, got.body)
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{
		"/", "/api", "/api/v1", "/api/v1/", "/api/v2/agents", "/agents", "/api/v1/Agents", "/api/v1/agents/",
		"/api/v1/agents/a/", "/api/v1/agents/a/b/c", "/api/v1/agent", "//api/v1/agents", "/api/v1/health/", "/api/v1/agents/a%2Fsuspend/x",
	} {
		wantProblem(t, get(t, r, path), http.StatusNotFound, CodeNotFound)
	}
}

// TestForeignHosts: a page that made its own name point here gets nothing.
func TestForeignHosts(t *testing.T) {
	r := start(t, nil)
	for _, rt := range routes() {
		got := exchange(t, r, rt.method, concrete(rt), "{}", "Host", "evil.example:80", "Content-Type", typeJSON)
		wantProblem(t, got, http.StatusMisdirectedRequest, CodeMisdirected)
	}
	for _, host := range []string{"localhost", "LocalHost:1", "127.0.0.1:8080", "[::1]:8080", "localhost.", "[::1]"} {
		if got := get(t, r, base+"/health", "Host", host); got.status != 200 {
			t.Errorf("Host %q: %d", host, got.status)
		}
	}
	any := start(t, func(c *Config, _ *Deps) { c.Hosts = []string{"*"} })
	if got := get(t, any, base+"/health", "Host", "evil.example"); got.status != 200 {
		t.Errorf("with \"*\": %d", got.status)
	}
}

// TestForeignPages: browsers tell on whose behalf they ask.
func TestForeignPages(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, rt := range routes() {
		for _, h := range [][2]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
			got := exchange(t, r, rt.method, concrete(rt), "{}", "Content-Type", typeJSON, h[0], h[1])
			if rt.change {
				wantProblem(t, got, http.StatusForbidden, CodeForbidden)
			} else if got.status != 200 {
				t.Errorf("%s %s with %v: %d", rt.method, rt.path, h, got.status)
			}
		}
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d foreign requests reached Commands", n)
	}
	if got := post(t, r, base+"/agents/a/suspend", "{}", "Origin", "http://localhost:8080", "Sec-Fetch-Site", "same-origin"); got.status != 200 {
		t.Errorf("our own page: %d %s", got.status, got.body)
	}
}

func TestContentTypes(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, rt := range routes() {
		if rt.body == noBody {
			continue
		}
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a/b/c", "application/jsonp"} {
			wantProblem(t, exchange(t, r, rt.method, concrete(rt), "{}", "Content-Type", media), http.StatusUnsupportedMediaType, CodeMediaType)
		}
		if rt.body != anyModule {
			wantProblem(t, exchange(t, r, rt.method, concrete(rt), emptyWasm, "Content-Type", typeWasm), http.StatusUnsupportedMediaType, CodeMediaType)
		}
		got := exchange(t, r, rt.method, concrete(rt), "[]", "Content-Type", "application/json; charset=utf-8")
		wantProblem(t, got, http.StatusBadRequest, CodeInvalidRequest)
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d requests reached Commands", n)
	}
	for _, verb := range []string{"suspend", "resume", "stop", "restart"} {
		if got := exchange(t, r, "POST", base+"/agents/a/"+verb, ""); got.status != 200 {
			t.Errorf("%s without a body: %d %s", verb, got.status, got.body)
		}
	}
}
