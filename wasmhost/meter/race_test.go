//go:build race

package meter

// raceDetector is on: it makes minutes of compiling a Go guest.
const raceDetector = true
