package telemetry

import "time"

// Measured names what a node keeps percentiles of.
type Measured int

// What is measured.
const (
	Routing    Measured = iota // from the gateway to the mailbox
	Processing                 // from the mailbox until durable
	Startup                    // to bring an agent back from the log
)

// Quantile returns the q-quantile (0 to 1) of what was measured within the last
// within (at most MaxWindow; whole slots of half a minute), and of how many values;
// none is 0.
func (m *Metrics) Quantile(what Measured, q float64, within time.Duration) (time.Duration, int64) {
	switch what {
	case Routing:
		return m.routes.quantile(q, within)
	case Startup:
		return m.wakes.quantile(q, within)
	}
	return m.latency.quantile(q, within)
}

// CPUPercent is the use of all processors of this machine, 0 to 100, since somebody
// last asked.
func (m *Metrics) CPUPercent() float64 { return m.cpu.percent() }
