package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of what the client reads: a server that answers without end does not
// fill the caller's memory.
const (
	maxProblemBytes = 1 << 20
	maxAnswerBytes  = 1 << 30 // the list of 100,000 agents is some 60 MiB
)

// DefaultURL is where a server listens unless told otherwise.
const DefaultURL = "http://localhost:8080"

// Client calls the REST interface of one server. Its methods may be called from
// any goroutine; it never repeats a call by itself. Their errors are
// *ProblemError (the server said no), *UnansweredError (a change was sent and not
// answered), *UnreachableError (it was not, or a read was not answered) and
// *events.InvalidError (the call could not be made).
type Client struct {
	root    *url.URL
	token   string
	timeout time.Duration
	http    *http.Client
}

// ClientOptions says how to reach a server.
type ClientOptions struct {
	URL     string        // empty: DefaultURL; a path is kept in front of /api/v1
	Token   string        // sent as a bearer token; empty: none
	Timeout time.Duration // of a whole call, beside the wait it asks for; 0: none
}

// NewClient checks the options; a bad URL is an *events.InvalidError for "api".
// Close ends what the client keeps open.
func NewClient(o ClientOptions) (*Client, error) {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, events.Invalidf("api", "must be a URL such as %s, got %q", DefaultURL, clip(o.URL))
	}
	u.RawQuery, u.Fragment = "", ""
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &Client{root: u, token: o.Token, timeout: o.Timeout, http: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 128, IdleConnTimeout: 30 * time.Second},
	}}, nil
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ProblemError is a server's refusal or failure.
type ProblemError struct {
	Problem
	RetryAfter string // header, empty when the server gave none
}

// Error returns the problem's detail.
func (e *ProblemError) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Detail
}

// UnreachableError is a call without a whole answer.
type UnreachableError struct {
	URL   string // the server's
	Cause error
}

// Error names the server and the innermost reason.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach %s: %s", e.URL, reason(e.Cause))
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Cause }

// UnansweredError is a change that was sent and not answered: it may have been made, or
// may yet be.
type UnansweredError struct {
	URL   string // the server's
	Cause error
}

// Error says that the outcome is unknown, and why.
func (e *UnansweredError) Error() string {
	return fmt.Sprintf("outcome unknown: the call was sent to %s, and then: %s", e.URL, reason(e.Cause))
}

// Unwrap returns the cause.
func (e *UnansweredError) Unwrap() error { return e.Cause }

// reason is the part of a network error that tells people something.
func reason(err error) string {
	var sys interface {
		error
		Timeout() bool
	}
	if errors.As(err, &sys) && sys.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// call is one request of the client.
type call struct {
	method string
	path   string // below /api/v1, escaped
	query  url.Values
	media  string // of body
	body   []byte
	key    string
	wait   time.Duration // that the server was asked for
}

// do sends a call and decodes the answer's JSON into out, unless out is nil.
// It returns the answer's headers.
func (c *Client) do(ctx context.Context, in call, out any) (http.Header, error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout+in.wait)
		defer cancel()
	}
	resp, err := c.send(ctx, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return resp.Header, nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	} else {
		err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(out)
	}
	if err != nil {
		return nil, &UnreachableError{URL: c.root.String(), Cause: fmt.Errorf("unreadable answer: %w", err)}
	}
	return resp.Header, nil
}

// send returns an answer with a status below 300; any other is an error.
func (c *Client) send(ctx context.Context, in call) (*http.Response, error) {
	target := c.root.String() + base + in.path
	if len(in.query) > 0 {
		target += "?" + in.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, in.method, target, bytes.NewReader(in.body))
	if err != nil {
		return nil, events.Invalidf("api", "cannot be called: %s", clip(err.Error()))
	}
	if in.media != "" {
		req.Header.Set("Content-Type", in.media)
	}
	if in.key != "" {
		req.Header.Set(HeaderKey, in.key)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	var sent atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}))
	resp, err := c.http.Do(req)
	if err != nil && sent.Load() && in.method != http.MethodGet {
		return nil, &UnansweredError{URL: c.root.String(), Cause: err}
	}
	if err != nil {
		return nil, &UnreachableError{URL: c.root.String(), Cause: err}
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, readProblem(resp)
}

// readProblem makes an error of an answer. One that is not a problem comes from
// something else that listens there, and says so.
func readProblem(resp *http.Response) error {
	e := &ProblemError{RetryAfter: resp.Header.Get("Retry-After")}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" || json.Unmarshal(body, &e.Problem) != nil || e.Code == "" {
		e.Problem = Problem{
			Status: resp.StatusCode,
			Title:  http.StatusText(resp.StatusCode),
			Detail: fmt.Sprintf("%s answered %s, and not as caxton does", resp.Request.URL.Host, resp.Status),
		}
	}
	return e
}

func agentPath(ref, rest string) string { return "/agents/" + url.PathEscape(ref) + rest }
