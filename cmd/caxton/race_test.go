//go:build race

package main

// raceDetector is on: compiling a Go guest takes many times as long, and a
// compilation has a limit of time.
const raceDetector = true
