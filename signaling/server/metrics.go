package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted without any label that a client could make up.
type metrics struct {
	connects *prometheus.CounterVec // by result
	requests *prometheus.CounterVec // by type and result
	bytes    prometheus.Counter
	closed   *prometheus.CounterVec // by reason
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	m := &metrics{
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_signaling_connects_total",
			Help: "Connections by how they began: claimed, failed, refused.",
		}, []string{"result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_signaling_requests_total",
			Help: "Requests by type and by the kind of error, or ok.",
		}, []string{"type", "result"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tandem_signaling_body_bytes_total",
			Help: "Bytes of bodies handed from mailbox to mailbox.",
		}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_signaling_closed_total",
			Help: "Connections the server ended, by reason.",
		}, []string{"reason"}),
	}
	reg.MustRegister(m.connects, m.requests, m.bytes, m.closed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tandem_signaling_clients",
			Help: "Connections open now.",
		}, func() float64 { return float64(s.Clients()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tandem_signaling_queued_bytes",
			Help: "Bytes waiting to be written to clients.",
		}, func() float64 { return float64(s.queued.Load()) }))
	return m
}
