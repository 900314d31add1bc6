package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// printed returns what a command's tables come to.
func printed(print func(*app)) (stdout, stderr string) {
	var out, notes bytes.Buffer
	a := newApp(nil, &out, &notes, nil)
	print(a)
	return out.String(), notes.String()
}

// TestRunbookTables compares tables with the runbook's, line for line but for the
// width of columns, which follows what stands in them.
func TestRunbookTables(t *testing.T) {
	slow, _ := printed(func(a *app) {
		a.slowTable([]caxtonhttp.SlowAgent{{ID: events.AgentID{1}, Ref: "processor-5", MeanUS: 250_000, P99US: 1_200_000}})
	})
	if want := "AGENT-ID      AVG-LATENCY   P99-LATENCY\nprocessor-5   250ms         1.2s\n"; slow != want {
		t.Errorf("slow agents:\n%s", slow)
	}
	performance, _ := printed(func(a *app) {
		a.performanceTable([]caxtonhttp.Measure{
			{Metric: "Message routing P99", TargetUS: 1000, ActualUS: 12_300, Count: 1, Status: caxtonhttp.MeasureDegraded},
			{Metric: "Message routing P50", TargetUS: 100, ActualUS: 64, Count: 1, Status: caxtonhttp.MeasureOK},
		})
	})
	if want := "METRIC                TARGET   ACTUAL   STATUS\nMessage routing P99   1ms      12.3ms   ✗ DEGRADED\nMessage routing P50   100µs    64µs     ✓\n"; performance != want {
		t.Errorf("performance:\n%s", performance)
	}
	queue, notes := printed(func(a *app) {
		a.queueTable([]caxtonhttp.NodeQueue{
			{Node: "node-1", MailboxDepth: 9_000, OldestMS: 92_000, QueuedWrites: 142, InFlight: 1_500, InboxDepth: 100, Held: 599, DeadLetters: 7, Waiting: 10_001},
			{Node: "node-2", InFlight: 10_000, Waiting: 10_000, DrainingUntil: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
		})
	})
	if want := "NODE     MAILBOX-DEPTH   OLDEST   QUEUED-WRITES   IN-FLIGHT   DEAD-LETTERS\n" +
		"node-1   9000            1m32s    142             1500        7\nnode-2   0               -        0               10000       0\n"; queue != want {
		t.Errorf("queue:\n%s", queue)
	}
	if want := "WARNING: 10001 messages wait on node-1; more than 10000 indicates backlog: see caxton agents slow\n" +
		"node-2 takes no messages from outside: its queue is being drained, until 2026-01-02T03:04:05Z at the latest; caxton queue drain --cancel ends that\n"; notes != want {
		t.Errorf("notes: %q", notes)
	}
}

func TestDrainedExits(t *testing.T) {
	for _, tc := range []struct {
		got  caxtonhttp.DrainResult
		out  string
		fail string
	}{
		{caxtonhttp.DrainResult{Empty: true, ElapsedMS: 1500}, "queue drained in 1.5s\n", ""},
		{caxtonhttp.DrainResult{Empty: true, Discarded: 1}, "1 message discarded: see caxton dead-letter list\nqueue drained in 0s\n", ""},
		{caxtonhttp.DrainResult{ElapsedMS: 60_000, Left: []caxtonhttp.NodeQueue{{Node: "n", MailboxDepth: 2, InboxDepth: 3, Held: 1, Waiting: 4}}},
			"NODE   MAILBOX-DEPTH   OLDEST   QUEUED-WRITES   IN-FLIGHT   DEAD-LETTERS\nn      2               0s       0               0           0\n",
			"the queue is not empty after 1m0s: 4 messages left"},
		{caxtonhttp.DrainResult{ElapsedMS: 2_000, Cancelled: true, Left: []caxtonhttp.NodeQueue{{Node: "n", MailboxDepth: 1, Waiting: 1}}},
			"NODE   MAILBOX-DEPTH   OLDEST   QUEUED-WRITES   IN-FLIGHT   DEAD-LETTERS\nn      1               0s       0               0           0\n",
			"the drain was cancelled after 2s: 1 message left"},
	} {
		out, _ := printed(func(a *app) {
			err := a.showDrained(tc.got)
			if (err == nil) != (tc.fail == "") || err != nil && (err.Error() != tc.fail || exitCode(err) != exitFailed) {
				t.Errorf("%+v: %v", tc.got, err)
			}
		})
		if out != tc.out {
			t.Errorf("%+v:\n%s", tc.got, out)
		}
	}
}

func TestSizesAndTimes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 999: "999B", 1000: "1KB", 1234: "1.2KB", 15_200_000_000: "15.2GB", 16_000_000_000: "16GB", 999_999_999: "1GB"} {
		if got := sizeOf(n); got != want {
			t.Errorf("sizeOf(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 12 * time.Microsecond: "12µs", 1200 * time.Microsecond: "1.2ms", 250 * time.Millisecond: "250ms",
		1200 * time.Millisecond: "1.2s", 59 * time.Second: "59s", 192 * time.Second: "3m12s",
	} {
		if got := brief(d); got != want {
			t.Errorf("brief(%s) = %s, want %s", time.Duration(d), got, want)
		}
	}
}
