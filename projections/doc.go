// Package projections holds the read models that answer the REST API's GETs and
// feed the dispatcher. Each is a fold of the log and of nothing else: delete
// them, run them again from the beginning, get the same answers.
//
// It is not a cache of actors: a read never touches one. A read may be a moment
// behind the log; WaitFor closes that gap for a caller who has just written.
//
// The Runner owns the one subscription and calls the folds in log order from
// one goroutine; the folds may be read from any goroutine.
//
// Test it with "go test ./projections".
package projections
