// Package layers checks the architecture: which package may import what, and
// the rules of style that a machine can read. Its tests run it on the whole
// module, so a change that breaks a rule fails, and says which rule and what to
// do.
//
// It is not a linter for taste: gofmt, go vet and staticcheck do that. A rule is
// here because the design rests on it.
//
// The table of floors is data, in table.go: a new package is a new row there.
// Guarantees: the checker is a pure function of its input, and its faults come in
// a fixed order.
//
// Test it with "go test ./internal/layers".
package layers
