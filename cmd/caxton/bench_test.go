package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/telemetry"
)

// Of BenchmarkMessages: as in "benchmark run".
const (
	benchAgents  = 1000
	benchSenders = 64
)

// BenchmarkMessages counts durable messages, each answered before its sender
// sends the next, beside what the disk does for one writer that syncs each
// record.
func BenchmarkMessages(b *testing.B) {
	dir := b.TempDir()
	floor, err := telemetry.SyncFloor(dir, time.Second)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	n, err := startBenchNode(ctx, dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := n.shut(ctx); err != nil {
			b.Error(err)
		}
	}()
	ids, err := n.deployMany(ctx, benchGuest, benchAgents)
	if err != nil {
		b.Fatal(err)
	}
	client, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: n.url, Timeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, way := range []struct {
		name string
		send sendFunc
	}{{"in_process", n.inProcess(ids, benchSenders)}, {"http", overHTTP(client, ids, benchSenders, json.RawMessage(benchContent))}} {
		b.Run(way.name, func(b *testing.B) {
			before := n.store.Stats()
			var left atomic.Int64
			left.Store(int64(b.N))
			out, err := drive(ctx, benchSenders, func(id int, w *worker) {
				w.oneByOne(ctx, id, way.send, func(int64) bool { return left.Add(-1) >= 0 })
			})
			if err != nil {
				b.Fatal(err)
			}
			after := n.store.Stats()
			b.ReportMetric(float64(after.Appends-before.Appends)/float64(after.Syncs-before.Syncs), "appends/sync")
			b.ReportMetric(out.PerSecond, "msg/s")
			b.ReportMetric(out.PerSecond/floor, "x-sync-floor")
			b.ReportMetric(float64(out.P99.Microseconds()), "p99-µs")
		})
	}
}
