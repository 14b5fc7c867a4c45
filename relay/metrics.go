package relay

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// stats counts what the server did. Counters are payload bytes or events since
// the start.
type stats struct {
	toPeer, toClient   atomic.Uint64 // payload bytes carried
	dropped            atomic.Uint64 // datagrams over a rate or a full queue
	malformed          atomic.Uint64 // messages that made no sense
	refusedPeers       atomic.Uint64 // by policy, permission or limit
	refusedAllocations atomic.Uint64 // by quota or draining
	refusedConns       atomic.Uint64 // by the limits on connections
	allocations        atomic.Uint64 // made
	auth               [valid + 1]atomic.Uint64

	collectors []prometheus.Collector
}

// Carried is how many payload bytes went through the relay since it started,
// in both directions.
func (s *Server) Carried() (toPeers, toClients uint64) {
	return s.stats.toPeer.Load(), s.stats.toClient.Load()
}

// Allocations is how many allocations there are now.
func (s *Server) Allocations() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.allocations)
}

// register adds the metrics to r.
func (st *stats) register(r prometheus.Registerer, s *Server) error {
	counter := func(name, help string, value *atomic.Uint64, labels prometheus.Labels) {
		st.collectors = append(st.collectors, prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "tandem_relay_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value.Load()) }))
	}
	gauge := func(name, help string, value func() int) {
		st.collectors = append(st.collectors, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "tandem_relay_" + name, Help: help},
			func() float64 { return float64(value()) }))
	}
	const carried = "Payload bytes relayed."
	counter("bytes_total", carried, &st.toPeer, prometheus.Labels{"to": "peer"})
	counter("bytes_total", carried, &st.toClient, prometheus.Labels{"to": "client"})
	counter("dropped_total", "Datagrams dropped over a byte rate or a full queue.", &st.dropped, nil)
	counter("malformed_total", "Messages from clients that made no sense.", &st.malformed, nil)
	const refusals = "Refusals by policy or limit."
	counter("refused_total", refusals, &st.refusedPeers, prometheus.Labels{"what": "peer"})
	counter("refused_total", refusals, &st.refusedAllocations, prometheus.Labels{"what": "allocation"})
	counter("refused_total", refusals, &st.refusedConns, prometheus.Labels{"what": "connection"})
	counter("allocations_total", "Allocations made.", &st.allocations, nil)
	for verdict, name := range map[verdict]string{anonymous: "anonymous", wrong: "wrong", expired: "expired", valid: "valid"} {
		counter("requests_total", "Requests by what became of their credentials.",
			&st.auth[verdict], prometheus.Labels{"credentials": name})
	}
	gauge("allocations", "Allocations now.", s.Allocations)
	gauge("connections", "TCP and TLS connections now.", s.conns.now)
	for i, c := range st.collectors {
		if err := r.Register(c); err != nil {
			st.collectors = st.collectors[:i]
			st.unregister(r)
			return err
		}
	}
	return nil
}

func (st *stats) unregister(r prometheus.Registerer) {
	for _, c := range st.collectors {
		r.Unregister(c)
	}
}
