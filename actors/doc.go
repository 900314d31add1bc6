// Package actors is the live system: it turns requests into durable turns of
// agents.
//
// A Gateway takes what comes from outside. Each living agent has one actor of
// proto.actor, under one Supervisor, with a bounded Mailbox of its own. An actor
// takes what waits in its mailbox (a turn), runs the guest on each message,
// appends all resulting events at once, and only then lets anything be seen. The
// Dispatcher carries what agents send to one another, from the log and from
// nowhere else, until it is handled.
//
// It is not the agent's logic: that is package agent, pure. It is not
// durability: that is the Store. What it adds is life: waking, order, retries,
// backpressure, supervision, hibernation.
//
// Guarantees: nothing an agent does is visible before it is durable; messages
// between two agents are handled once and in order, across any crash; an
// outsider's message that was acknowledged is handled once, or refused by an
// event; one agent's trouble is not another's.
//
// Test it with "go test ./actors"; its TestSimulation draws schedules of all that may
// happen to a node.
package actors
