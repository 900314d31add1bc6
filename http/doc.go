// Package http is the REST interface of caxton under /api/v1 and the Go client
// of that same interface.
//
// It is not where anything is decided: it checks what came over the wire, calls
// Commands for changes and Agents and History for reads, and writes down the
// answer. Every route stands in routes.go, every error in problem.go, and a
// resource's server half and client half have the same names.
//
// Guarantees: whatever goes wrong is answered as application/problem+json
// (RFC 9457) with a stable code; a request that breaks a rule reaches no
// Command; what a mutation returned is seen by the read that follows it; Serve
// returns only when its last goroutine is gone.
//
// Limits: every body has a ceiling of its own route and all bodies together
// have one; connections, requests in flight, header size and every wait are
// bounded (see Config).
//
// Inside this package "http." means net/http. It is imported as caxtonhttp.
// Test it with "go test ./http"; the decoders have fuzz targets.
package http
