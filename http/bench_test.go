package http

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkSend is the cost of the interface alone: a message over keep-alive
// to a node that does nothing.
func BenchmarkSend(b *testing.B) {
	node := newFakeNode()
	id, err := node.Deploy(context.Background(), deployOf("echo"))
	if err != nil {
		b.Fatal(err)
	}
	srv, err := New(DefaultConfig(), Deps{Commands: node, Agents: node, History: node, Messages: node, Sends: node, Inboxes: node, Letters: node.letters})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	url := "http://" + ln.Addr().String() + base + "/agents/" + id.ID.String() + "/messages"
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(url, typeJSON, strings.NewReader(`{"content":{"op":"add","n":1}}`))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
