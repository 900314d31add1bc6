//go:build race

package actors_test

// raceDetector is on: a schedule takes seconds instead of a tenth.
const raceDetector = true
