package main

import "testing"

// TestOneLine: nothing that a server or a guest says moves a terminal's cursor, or
// is read in another order than it is written.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\r\tc\x7fd":             "a b  c d",
		"\x1b[31mred":                " [31mred",
		"csi \u009b31m nel\u0085end": "csi  31m nel end",
		"c1 as a byte \x9b31m":       "c1 as a byte \uFFFD31m",
		"lines\u2028and\u2029more":   "lines and more",
		"safe\u202egnp.exe\u202c":    "safe gnp.exe ",
		"\u2066a\u2069\u200e\u061c":  " a   ",
		"naïve, 日本, שלום, 👩\u200d🚀":  "naïve, 日本, שלום, 👩\u200d🚀",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
