package http

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsServer answers GET /metrics in the Prometheus text format, on a port
// of its own: scrapers need no access to the REST interface.
type MetricsServer struct{ server *http.Server }

// NewMetricsServer serves what gatherer gathers.
func NewMetricsServer(gatherer prometheus.Gatherer) *MetricsServer {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, // a scrape costs; more at once are a mistake
		Timeout:             10 * time.Second,
	}))
	return &MetricsServer{server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
	}}
}

// Serve answers connections of ln until ctx ends, lets scrapes under way finish
// for a second, and returns nil. It closes ln. The only error is a listener
// that stopped accepting by itself.
func (m *MetricsServer) Serve(ctx context.Context, ln net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- m.server.Serve(ln) }() // ends with Shutdown or Close below
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if m.server.Shutdown(grace) != nil {
		_ = m.server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// RequestMetrics is an Observer that counts into Prometheus.
type RequestMetrics struct {
	total   *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewRequestMetrics registers caxton_http_requests_total{method,status}, where
// status is a class such as "2xx", and caxton_http_request_seconds.
func NewRequestMetrics(reg prometheus.Registerer) (*RequestMetrics, error) {
	m := &RequestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caxton_http_requests_total", Help: "REST requests answered.",
		}, []string{"method", "status"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_http_request_seconds", Help: "Time to answer a REST request.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), // 100 µs to 26 s
		}),
	}
	return m, errors.Join(reg.Register(m.total), reg.Register(m.seconds))
}

// Request implements Observer.
func (m *RequestMetrics) Request(method string, status int, d time.Duration) {
	m.total.WithLabelValues(method, strconv.Itoa(status/100)+"xx").Inc()
	m.seconds.Observe(d.Seconds())
}
