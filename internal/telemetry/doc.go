// Package telemetry measures a node for its operators: the metrics of :9090 and
// the log.
//
// Metrics comes in two kinds. The names of the operator's runbook carry no
// labels and no units in the Prometheus manner, because the runbook greps for
// them as they are. Beside them stand conventional ones, with units and with
// labels of few values; none of those begins with caxton_cluster_, caxton_agent_
// or caxton_system_, or the runbook's greps would drown in them.
//
// Test it with "go test ./internal/telemetry".
package telemetry
