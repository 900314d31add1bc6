// Eventdoc writes docs/events.md, the specification of every event for those who
// read a log without reading Go. It takes the prose and the fields from the
// comments of package events, the examples and the versions from its golden files,
// and adds nothing but the frame: so the page says what the code does.
//
// It is no general documentation tool: it knows the form that payloads_….go have,
// and an event whose comment lacks a part of it, or a field without a meaning, is an
// error and not a gap in the page.
//
// The page is a function of the sources: its test fails when docs/events.md is not
// what the sources give. Run it with "go generate ./events"; test it with
// "go test ./events/internal/eventdoc".
package main
