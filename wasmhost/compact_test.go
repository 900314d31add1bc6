package wasmhost

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestIsPlain(t *testing.T) {
	for s, want := range map[string]bool{
		`{}`: true, `[]`: true, `0`: true, `-1.5e+3`: true, `"é"`: true, `{"a":[1,true,null,{"b":"c"}],"d":false}`: true,
		``: false, `01`: false, `-`: false, `1.`: false, `1e`: false, `{"a" :1}`: false, `[1,]`: false, `{"a":1,}`: false, `"\n"`: false,
		`{1:2}`: false, `[1`: false, `"a`: false, `truer`: false, `{"a"}`: false, `[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]`: false, " 1": false,
	} {
		if got := isPlain([]byte(s)); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

// FuzzIsPlain: what is plain is JSON, and is its own compact form.
func FuzzIsPlain(f *testing.F) {
	for _, s := range []string{`{"op":"add","n":1}`, `[1.5e-7,"x",[null]]`, `{"a":{"b":[{}]}}`, `"\u0000"`, `-0`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isPlain(b) {
			return
		}
		var buf bytes.Buffer
		if err := json.Compact(&buf, b); err != nil || !bytes.Equal(buf.Bytes(), b) {
			t.Errorf("%q is said to be plain; compact it is %q, %v", b, buf.Bytes(), err)
		}
	})
}
