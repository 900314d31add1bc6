//go:build !race

package actors_test

// raceDetector is off.
const raceDetector = false
