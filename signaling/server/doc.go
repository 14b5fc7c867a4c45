// Package server is the signaling server: an http.Handler that speaks the protocol of
// package signaling, with its limits, metrics and draining.
//
// It keeps no files and no state that a restart could lose. An idle client costs one
// parked goroutine, one small struct and one entry in two maps: nothing is buffered
// for it in either direction, its writer exists only while there is something to
// write, and one goroutine looks after the keepalives and idle timeouts of all. That
// is why the WebSocket frames are read here, over the headers of gobwas/ws, and not
// through a library that keeps buffers for each connection.
//
// Measured with TestBenchSignaling: 6.3 KiB of resident memory for an idle client in
// the clear, as behind a proxy that does TLS, and 14.8 KiB where crypto/tls runs in the
// server itself; 2 KiB of that are cipher state and 3.4 KiB handshake buffers that it
// keeps.
package server
