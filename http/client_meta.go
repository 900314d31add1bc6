package http

import (
	"context"
	"net/http"

	"github.com/caxton-run/caxton/internal/version"
)

// Health returns nil when the server serves.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/health"}, nil)
	return err
}

// Ready returns nil when the server takes traffic; otherwise a *ProblemError
// whose Errors name what is missing.
func (c *Client) Ready(ctx context.Context) (Ready, error) {
	var r Ready
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/ready"}, &r)
	return r, err
}

// Version says which caxton the server is.
func (c *Client) Version(ctx context.Context) (version.Build, error) {
	var b version.Build
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/version"}, &b)
	return b, err
}
