package http

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/caxton-run/caxton/projections"
)

// Letters returns a page of at most limit dead letters (1 to MaxPageLetters), the
// newest first, from cursor on; "" is the first page.
func (c *Client) Letters(ctx context.Context, cursor string, limit int) (projections.LetterPage, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var page projections.LetterPage
	h, err := c.do(ctx, call{method: http.MethodGet, path: "/dead-letters", query: q}, &page.Letters)
	if err != nil {
		return projections.LetterPage{}, err
	}
	page.Total, _ = strconv.Atoi(h.Get(HeaderTotal))
	if next, ok := nextPage(h); ok {
		page.Next = next.Get("cursor")
	}
	return page, nil
}

// Letter returns a dead letter with its message.
func (c *Client) Letter(ctx context.Context, message string) (LetterView, error) {
	var view LetterView
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/dead-letters/" + url.PathEscape(message)}, &view)
	return view, err
}

// RetryLetter gives a dead letter to its receiver again, as a new message.
func (c *Client) RetryLetter(ctx context.Context, message string) (RetryReceipt, error) {
	var out RetryReceipt
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/dead-letters/" + url.PathEscape(message) + "/retry"}, &out)
	return out, err
}
