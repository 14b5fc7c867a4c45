package main

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestSplit: each half gets the connections that speak its protocol, whole, and
// either half can be closed without the other.
func TestSplit(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := newSplitListener(listener)
	t.Cleanup(func() { _ = port.Close() })
	say := func(first string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, first); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	hear := func(h net.Listener, want string) {
		t.Helper()
		conn, err := h.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("the half reads %q, %v; want %q", got, err, want)
		}
	}

	silent := say("")
	say("\x00\x01\x00\x00 a STUN request")
	say("GET / HTTP/1.1\r\n")
	hear(port.web, "GET / HTTP/1.1\r\n")
	hear(port.turn, "\x00\x01\x00\x00 a STUN request")

	if err := port.turn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := port.turn.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed half: %v", err)
	}
	refused := say("\x00\x01 nobody takes it")
	_ = refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := refused.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection for a closed half: %v", err)
	}
	say("POST / HTTP/1.1\r\n")
	hear(port.web, "POST / HTTP/1.1\r\n")

	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that said nothing outlived the port")
	}
}
