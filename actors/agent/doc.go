// Package agent says what an agent is, and nothing of how it lives: its state,
// the commands it accepts, the events they become, and what each event does to
// the state.
//
// It is pure. Decide and Apply read no clock and no randomness, start nothing,
// and depend on no map's order; whatever they need of the world travels in the
// command or the event. The live actor, the replay and the tests therefore share
// this code, and a state at revision r is a function of events 0..r.
//
// Guarantees: Apply accepts every event that Decide ever made; an event that
// cannot follow the state is a *StateError and leaves the state as it was.
//
// Test it with "go test ./actors/agent".
package agent
