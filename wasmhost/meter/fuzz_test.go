package meter

import (
	"errors"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// seed gives a fuzzer one module of each kind, so that it starts from all
// sections.
func seed(f *testing.F) {
	for _, c := range refusals() {
		if len(c.wasm) < 4096 {
			f.Add(c.wasm)
		}
	}
	for _, name := range fixtures.Names() {
		if b := fixtures.Agent(name); len(b) < 16<<10 {
			f.Add(b)
		}
	}
	f.Add(kernels(f))
	f.Add([]byte(minimalModule))
}

// patience is far beyond what a module of a fuzzer's size takes.
const patience = 30 * time.Second

func checkError(t *testing.T, err error) {
	t.Helper()
	var refused *events.RefusedError
	if err != nil && !errors.As(err, &refused) && !errors.Is(err, events.ErrInvalidWasm) {
		t.Fatalf("error of no kind: %v", err)
	}
}

// FuzzCheck: any bytes get an answer, soon.
func FuzzCheck(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		start := time.Now()
		rep, err := Check(b, DefaultCaps())
		checkError(t, err)
		if err == nil && rep.Size != len(b) {
			t.Fatalf("size %d of %d bytes", rep.Size, len(b))
		}
		_, err = Core(b)
		checkError(t, err)
		if took := time.Since(start); took > patience {
			t.Fatalf("%d bytes took %v", len(b), took)
		}
	})
}

// FuzzInstrument: what Check admits is rewritten, valid or not, and the result
// passes the decoder again, with bounded growth.
func FuzzInstrument(f *testing.F) {
	seed(f)
	wide := specCaps()
	f.Fuzz(func(t *testing.T, b []byte) {
		start := time.Now()
		_, refused := Check(b, DefaultCaps())
		metered, rep, err := Instrument(b, Options{Caps: DefaultCaps()})
		checkError(t, err)
		if refused == nil && err != nil {
			t.Fatalf("admitted and not instrumented: %v", err)
		}
		if err != nil {
			return
		}
		if rep.MeteredSize != len(metered) || len(metered) > 64*len(b)+1024 {
			t.Fatalf("%d bytes became %d, reported %d", len(b), len(metered), rep.MeteredSize)
		}
		func() {
			defer catch(&err)
			renamed := *decode(unreserve(metered), wide)
			if len(renamed.bodies)-len(renamed.bulkFunctions()) != rep.Functions {
				t.Fatalf("%d functions of %d", len(renamed.bodies), rep.Functions)
			}
		}()
		if err != nil {
			t.Fatalf("the result does not decode: %v", err)
		}
		if took := time.Since(start); took > patience {
			t.Fatalf("%d bytes took %v", len(b), took)
		}
	})
}
