//go:build unix

package node

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"tandem/share/terminal"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// echo is a port behind which all that is said comes back.
func echo(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn) // one after the other is enough
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ssh is an SSH client at a peer.
func (p *person) ssh(t *testing.T, peer string) *ssh.Client {
	t.Helper()
	key, err := SSHKey(p.cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	served := make(chan error, 1)
	go func() {
		served <- Bound{Backend: p, Peer: peer}.ServeSSH(t.Context(), far, key, func(s string) { t.Log(s) })
	}()
	conn, channels, requests, err := ssh.NewClientConn(near, peer, &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(key.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	late := time.AfterFunc(soon, func() { _ = client.Close() }) // it knows no deadlines
	t.Cleanup(func() {
		late.Stop()
		_ = client.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client
}

// What a guest does by ssh ends with its permission, channel by channel, and the
// same ssh gets nothing more.
func TestTrustRevocationEndsSSH(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	port := echo(t)
	bob.meet(t, alice.share(t, Share{Terminal: true, Forward: []string{port}, ForwardListen: []string{"*"}}).Code)
	client := bob.ssh(t, "alice")

	var sessions []*ssh.Session
	var pids []int
	for _, onTerminal := range []bool{false, true} {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if onTerminal {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		out, err := s.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(stubborn); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); len(pids)%3 != 0 || len(pids) == 3*len(sessions); {
			if !lines.Scan() {
				t.Fatal("the program has ended: ", lines.Err())
			}
			if pid, err := strconv.Atoi(strings.TrimSpace(lines.Text())); err == nil {
				pids = append(pids, pid)
			}
		}
		sessions = append(sessions, s)
	}
	direct, err := client.Dial("tcp", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(direct, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	listener, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there := listener.Addr().String()
	visitor, err := net.Dial("tcp", there)
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	_ = visitor.SetDeadline(time.Now().Add(soon))
	arrived, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}

	alice.grants.RevokePeer(bob.device.ID())
	start := time.Now()
	signalingtest.Eventually(t, "every process is gone", func() bool { return gone(pids) })
	for _, s := range sessions {
		var exit *ssh.ExitError
		if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 255 {
			t.Errorf("a program ended with %v", err)
		}
	}
	for what, conn := range map[string]net.Conn{"to the host": direct, "from the host": arrived, "of the visitor": visitor} {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("the connection %s had %d bytes more", what, n)
		}
	}
	signalingtest.Eventually(t, "nobody listens", func() bool {
		conn, err := net.Dial("tcp", there)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	t.Log("all gone after ", time.Since(start))

	// The ssh is still there, and gets nothing.
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var why strings.Builder
	s.Stderr = &why
	var exit *ssh.ExitError
	if err := s.Run("true"); !errors.As(err, &exit) || exit.ExitStatus() != 255 || !strings.Contains(why.String(), "not been granted") {
		t.Errorf("%v: %s", err, why.String())
	}
	var refused *ssh.OpenChannelError
	if _, err := client.Dial("tcp", "localhost:"+port); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
		t.Errorf("a new connection: %v", err)
	}
	if l, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Errorf("listening on %v", l.Addr())
	}
}

// TestSizesOfSSH: what a client of ssh calls its window is one that a terminal
// can have, or none.
func TestSizesOfSSH(t *testing.T) {
	for asked, want := range map[[2]uint32]terminal.Size{
		{65535, 65535}:     {Cols: terminal.MaxSize, Rows: terminal.MaxSize},
		{1<<32 - 1, 1}:     {Cols: terminal.MaxSize, Rows: 1},
		{1 << 16, 1 << 16}: {Cols: terminal.MaxSize, Rows: terminal.MaxSize},
		{80, 24}:           {Cols: 80, Rows: 24},
		{0, 24}:            {},
	} {
		if got := cells(asked[0], asked[1]); got != want {
			t.Errorf("%v: %v", asked, got)
		}
	}
}
