// Command meterbench measures what metering costs: each kernel on wazero
// unmetered and metered, in slices as the host gives them, and on wasmtime
// without and with its fuel. All four take turns, the best time of each counts.
//
//	go run -C .ci/meterbench . [-rounds 15] [-only NAME]
//
// Needs cgo.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

// mode is one engine with or without metering.
type mode struct {
	name string
	load func(wasm []byte) (guest, error)
}

// guest is one instance. call runs a function without giving it fuel first:
// ready does, outside of what is measured.
type guest interface {
	ready() error
	call(name string, n uint32) (uint32, error)
	close()
}

const (
	plain = iota
	metered
	peer
	peerFuel
	modeCount
)

func modes() [modeCount]mode {
	return [modeCount]mode{
		plain:    {"wazero", func(b []byte) (guest, error) { return loadWazero(b, false) }},
		metered:  {"metered", func(b []byte) (guest, error) { return loadWazero(b, true) }},
		peer:     {"wasmtime", func(b []byte) (guest, error) { return loadWasmtime(b, false) }},
		peerFuel: {"with fuel", func(b []byte) (guest, error) { return loadWasmtime(b, true) }},
	}
}

func main() {
	rounds := flag.Int("rounds", 15, "how often each kernel runs in each mode")
	only := flag.String("only", "", "measure kernels whose name contains this")
	root := flag.String("root", "../..", "folder of the repository")
	flag.Parse()
	if err := run(*root, *only, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "meterbench:", err)
		os.Exit(1)
	}
}

func run(root, only string, rounds int) error {
	fmt.Printf("%-24s %10s %9s %12s\n", "kernel", "wazero", "metered", "wasmtime fuel")
	var ours, theirs []float64
	for _, f := range files() {
		runs := f.matching(only)
		if len(runs) == 0 {
			continue
		}
		guests, err := f.load(root)
		if err != nil {
			return err
		}
		for _, k := range runs {
			times, err := race(guests, k, rounds)
			if err != nil {
				return fmt.Errorf("%s %s: %w", f.name, k.name, err)
			}
			a := float64(times[metered]) / float64(times[plain])
			b := float64(times[peerFuel]) / float64(times[peer])
			ours, theirs = append(ours, a), append(theirs, b)
			fmt.Printf("%-24s %10v %+8.1f%% %+11.1f%%\n", f.name+" "+k.name, times[plain].Round(10*time.Microsecond), 100*(a-1), 100*(b-1))
		}
		for _, g := range guests {
			g.close()
		}
	}
	fmt.Printf("%-24s %10d %+8.1f%% %+11.1f%%\n", "geometric mean of", len(ours), 100*(mean(ours)-1), 100*(mean(theirs)-1))
	return nil
}

// race lets all modes run a kernel in turn and returns the best time of each.
// What they compute has to be the same.
func race(guests [modeCount]guest, k kernel, rounds int) (best [modeCount]time.Duration, err error) {
	var want uint32
	for round := range rounds + 1 { // the first is not counted: memory and caches are cold
		for i, g := range guests {
			if err := g.ready(); err != nil {
				return best, err
			}
			start := time.Now()
			got, err := g.call(k.name, k.n)
			took := time.Since(start)
			if err != nil {
				return best, fmt.Errorf("round %d in %s: %w", round, modes()[i].name, err)
			}
			if round == 0 && i == 0 {
				want = got
			}
			if got != want && !k.varies {
				return best, fmt.Errorf("%s computes %d, %s %d", modes()[i].name, got, modes()[0].name, want)
			}
			if round == 1 || round > 1 && took < best[i] {
				best[i] = took
			}
		}
	}
	return best, nil
}

func mean(ratios []float64) float64 {
	sum := 0.0
	for _, r := range ratios {
		sum += math.Log(r)
	}
	return math.Exp(sum / float64(len(ratios)))
}

func (f file) matching(only string) (runs []kernel) {
	for _, k := range f.kernels {
		if strings.Contains(f.name+" "+k.name, only) {
			runs = append(runs, k)
		}
	}
	return runs
}
