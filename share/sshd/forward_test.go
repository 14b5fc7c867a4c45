package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// echo hears the other side out, and then says where it is and what it heard.
func echo(network, address string, far net.Conn) {
	defer far.Close()
	heard, _ := io.ReadAll(far)
	fmt.Fprintf(far, "%s %s\n%s", network, address, heard)
}

// talk writes words, ends its direction, and reads the rest.
func talk(c net.Conn, words string) (string, error) {
	_, err := io.WriteString(c, words)
	if err == nil {
		err = c.(interface{ CloseWrite() error }).CloseWrite()
	}
	answer, readErr := io.ReadAll(c)
	return string(answer), errors.Join(err, readErr, c.Close())
}

// chan2conn is the client's end of a channel.
type chan2conn struct {
	ssh.Channel
	net.Conn
}

func (c chan2conn) Read(b []byte) (int, error)  { return c.Channel.Read(b) }
func (c chan2conn) Write(b []byte) (int, error) { return c.Channel.Write(b) }
func (c chan2conn) CloseWrite() error           { return c.Channel.CloseWrite() }
func (c chan2conn) Close() error {
	if err := c.Channel.Close(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the server has closed it already
}

func open(client *ssh.Client, kind string, payload any) (net.Conn, error) {
	channel, requests, err := client.OpenChannel(kind, ssh.Marshal(payload))
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	return chan2conn{Channel: channel}, nil
}

func TestDirect(t *testing.T) {
	client, _ := serve(t, &fake{connect: echo}, Config{})
	for want, open := range map[string]func() (net.Conn, error){
		"tcp localhost:80": func() (net.Conn, error) { return open(client, "direct-tcpip", tcpChannel{"localhost", 80, "::1", 9}) },
		"tcp [::1]:443":    func() (net.Conn, error) { return open(client, "direct-tcpip", tcpChannel{"[::1]", 443, "", 0}) },
		"unix /run/x.sock": func() (net.Conn, error) {
			return open(client, "direct-streamlocal@openssh.com", unixDirect{Path: "/run/x.sock"})
		},
	} {
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := talk(c, "hello"); got != want+"\nhello" || err != nil {
			t.Errorf("%s: %q, %v", want, got, err)
		}
	}
}

// Either side may end its direction first, and hear the other out.
func TestHalfClose(t *testing.T) {
	heard := make(chan string, 1)
	client, _ := serve(t, &fake{connect: func(_, _ string, far net.Conn) {
		defer far.Close()
		_, _ = io.WriteString(far, "bye")
		_ = far.(half).CloseWrite()
		rest, err := io.ReadAll(far)
		heard <- fmt.Sprint(string(rest), err)
	}}, Config{})
	c, err := open(client, "direct-tcpip", tcpChannel{"localhost", 1, "", 0})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := talk(c, "still here"); err != nil {
		t.Error(err)
	}
	if got := <-heard; got != "still here<nil>" {
		t.Errorf("the peer heard %s", got)
	}
}

func TestDirectRefused(t *testing.T) {
	client, _ := serve(t, &fake{}, Config{})
	for reason, payload := range map[ssh.RejectionReason][]byte{
		ssh.Prohibited:       ssh.Marshal(tcpChannel{"10.0.0.1", 80, "", 0}),
		ssh.ConnectionFailed: ssh.Marshal(tcpChannel{"10.0.0.1", 65536, "", 0}),
	} {
		var refused *ssh.OpenChannelError
		if _, _, err := client.OpenChannel("direct-tcpip", payload); !errors.As(err, &refused) || refused.Reason != reason {
			t.Errorf("%v instead of %v", err, reason)
		}
	}
	for _, payload := range [][]byte{nil, {1}, ssh.Marshal(tcpChannel{"x", 0, "", 0}), append(ssh.Marshal(tcpChannel{"x", 1, "", 0}), 1)} {
		if _, _, err := client.OpenChannel("direct-tcpip", payload); err == nil {
			t.Errorf("%q was taken", payload)
		}
	}
}

func TestThousandConnections(t *testing.T) {
	client, _ := serve(t, &fake{connect: echo}, Config{})
	const n = 1000
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = open(client, "direct-tcpip", tcpChannel{"localhost", uint32(i + 1), "", 0}); err != nil {
			t.Fatal(err)
		}
	}
	var talking sync.WaitGroup
	for i, c := range conns { // all of them are open
		talking.Go(func() {
			if got, err := talk(c, "x"); got != fmt.Sprintf("tcp localhost:%d\nx", i+1) || err != nil {
				t.Errorf("connection %d: %q, %v", i, got, err)
			}
		})
	}
	talking.Wait()
}

func TestTooManyChannels(t *testing.T) {
	client, _ := serve(t, &fake{connect: echo}, Config{})
	conns := make([]net.Conn, maxChannels)
	for i := range conns {
		var err error
		if conns[i], err = open(client, "direct-tcpip", tcpChannel{"localhost", 1, "", 0}); err != nil {
			t.Fatal(err)
		}
	}
	var refused *ssh.OpenChannelError
	if _, err := open(client, "direct-tcpip", tcpChannel{"localhost", 1, "", 0}); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
		t.Errorf("one more: %v", err)
	}
}

// forwarded takes what the server announces.
func forwarded(t *testing.T, client *ssh.Client, kind string) <-chan ssh.NewChannel {
	t.Helper()
	offers := client.HandleChannelOpen(kind)
	if offers == nil {
		t.Fatal("handled twice")
	}
	return offers
}

func TestListen(t *testing.T) {
	f := &fake{run: func(context.Context, *fakeProgram) (Exit, error) { return Exit{}, nil }}
	client, _ := serve(t, f, Config{})
	offers := forwarded(t, client, "forwarded-tcpip")
	ask := func(kind string, payload any) (bool, uint32) {
		t.Helper()
		ok, reply, err := client.SendRequest(kind, true, ssh.Marshal(payload))
		if err != nil {
			t.Fatal(err)
		}
		var p boundPort
		_ = ssh.Unmarshal(reply, &p)
		return ok, p.Port
	}
	if ok, port := ask("tcpip-forward", tcpAddress{"localhost", 0}); !ok || port != 4711 {
		t.Fatal(ok, port)
	}
	if ok, _ := ask("tcpip-forward", tcpAddress{"localhost", 4711}); ok {
		t.Error("it listens twice")
	}
	if ok, _ := ask("tcpip-forward", tcpAddress{"", 8080}); !ok {
		t.Fatal("no listener")
	}
	if ok, _ := ask("tcpip-forward", tcpAddress{"localhost", 70000}); ok {
		t.Error("port 70000 was taken")
	}
	if a := f.listener(0).address + " " + f.listener(1).address; a != "localhost:0 *:8080" {
		t.Errorf("it listens on %s", a)
	}

	var client1 sync.WaitGroup
	client1.Go(func() {
		offered := <-offers
		var p tcpChannel
		if err := ssh.Unmarshal(offered.ExtraData(), &p); err != nil || p.Host != "localhost" || p.Port != 4711 {
			t.Errorf("announced %+v, %v", p, err)
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		go ssh.DiscardRequests(requests)
		_, _ = io.Copy(channel, channel)
		_ = channel.Close()
	})
	c, err := f.listener(0).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := talk(c, "hello"); got != "hello" || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", got, err)
	}
	client1.Wait()

	client1.Go(func() { _ = (<-offers).Reject(ssh.ConnectionFailed, "nobody there") })
	if _, err := f.listener(1).dial(t.Context()); err == nil {
		t.Error("a refused connection came about")
	}
	client1.Wait()

	if ok, _ := ask("cancel-tcpip-forward", tcpAddress{"localhost", 1}); ok {
		t.Error("ended what was never there")
	}
	if ok, _ := ask("cancel-tcpip-forward", tcpAddress{"localhost", 4711}); !ok {
		t.Error("the free port's listener can't be ended")
	}
	<-f.listener(0).closed
	_ = client.Close()
	<-f.listener(1).closed
}

func TestListenUnix(t *testing.T) {
	f := &fake{run: func(context.Context, *fakeProgram) (Exit, error) { return Exit{}, nil }}
	client, _ := serve(t, f, Config{})
	offers := forwarded(t, client, "forwarded-streamlocal@openssh.com")
	if ok, _, err := client.SendRequest("streamlocal-forward@openssh.com", true, ssh.Marshal(unixAddress{"/run/s"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	var announced sync.WaitGroup
	announced.Go(func() {
		offered := <-offers
		var p unixChannel
		if err := ssh.Unmarshal(offered.ExtraData(), &p); err != nil || p.Path != "/run/s" {
			t.Errorf("announced %+v, %v", p, err)
		}
		_ = offered.Reject(ssh.Prohibited, "")
	})
	_, _ = f.listener(0).dial(t.Context())
	announced.Wait()
	if ok, _, _ := client.SendRequest("cancel-streamlocal-forward@openssh.com", true, ssh.Marshal(unixAddress{"/run/s"})); !ok {
		t.Error("can't be ended")
	}
	<-f.listener(0).closed
}

func TestListenRefused(t *testing.T) {
	told := make(chan string, maxListeners+2)
	notice := Config{Notice: func(text string) { told <- text }}
	client, _ := serve(t, &fake{}, notice)
	if ok, _, err := client.SendRequest("tcpip-forward", true, ssh.Marshal(tcpAddress{"localhost", 80})); ok || err != nil {
		t.Error(ok, err)
	}
	if got := <-told; got != "localhost:80 is not forwarded: you have not been granted\uFFFD[2J that. Ask." {
		t.Errorf("a person reads %q", got)
	}
	client, _ = serve(t, &fake{run: func(context.Context, *fakeProgram) (Exit, error) { return Exit{}, nil }}, notice)
	for port := range uint32(maxListeners + 1) {
		ok, _, err := client.SendRequest("tcpip-forward", true, ssh.Marshal(tcpAddress{"localhost", port + 1}))
		if ok != (port < maxListeners) || err != nil {
			t.Errorf("listener %d: %v, %v", port+1, ok, err)
		}
	}
}
