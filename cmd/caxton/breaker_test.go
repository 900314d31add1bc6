package main

import (
	"testing"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// TestWhy: what opened a breaker is told in a line, the message of a storm by its id.
func TestWhy(t *testing.T) {
	for _, c := range []struct {
		b    caxtonhttp.Breaker
		want string
	}{
		{caxtonhttp.Breaker{}, "-"},
		{caxtonhttp.Breaker{Failures: 51, Of: 100}, "51 of 100 failed"},
		{caxtonhttp.Breaker{Forced: true, Reason: "floods\nthe rest"}, "operator: floods the rest"},
		{caxtonhttp.Breaker{Forced: true, Failures: 10, Of: 10}, "10 of 10 failed in a gradual reset; operator"},
		{caxtonhttp.Breaker{Forced: true, Failures: 10, Of: 10, Reason: "floods"}, "10 of 10 failed in a gradual reset; operator: floods"},
		{caxtonhttp.Breaker{Failures: 7, Of: 7, Storm: &caxtonhttp.Storm{ConversationID: "c"}}, "storm: 7 failures come of message 00000000-0000-0000-0000-000000000000"},
	} {
		if got := why(c.b); got != c.want {
			t.Errorf("%+v: %q, want %q", c.b, got, c.want)
		}
	}
}
