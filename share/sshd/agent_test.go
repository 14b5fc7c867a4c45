package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	keys "golang.org/x/crypto/ssh/agent"

	"tandem/session"
)

// TestAgent runs both halves: programs of the peer use the client's keys.
func TestAgent(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t))
	var gone string
	f := &fake{run: func(ctx context.Context, p *fakeProgram) (Exit, error) {
		if p.request.Subsystem == "agent" {
			return Exit{}, ServeAgent(ctx, p.in, p.out)
		}
		socket, ok := strings.CutPrefix(p.request.Argv[1], "SSH_AUTH_SOCK=")
		if !ok || p.request.Argv[0] != "/usr/bin/env" || p.request.Argv[2] != "/bin/sh" {
			return Exit{}, fmt.Errorf("argv %q", p.request.Argv)
		}
		gone = socket
		if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o700 {
			return Exit{}, fmt.Errorf("the socket's folder: %v, %v", info, err)
		}
		var listing sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs { // several at once, each with several questions
			listing.Go(func() { errs[i] = signs(socket) })
		}
		listing.Wait()
		return Exit{}, errors.Join(errs...)
	}}
	client, _ := serve(t, f, Config{})
	ring := keys.NewKeyring()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(keys.AddedKey{PrivateKey: private, Comment: "mine"}); err != nil {
		t.Fatal(err)
	}
	if err := keys.ForwardToAgent(client, ring); err != nil {
		t.Fatal(err)
	}
	s := newSession(t, client)
	var errs bytes.Buffer
	s.Stderr = &errs
	if err := keys.RequestAgentForwarding(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Run("ssh-add -l"); err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	_ = client.Close()
	_ = client.Wait()
	f.ended.Wait()
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// signs asks an agent for a signature, and checks it.
func signs(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	agent := keys.NewClient(conn)
	all, err := agent.List()
	if err != nil || len(all) != 1 || all[0].Comment != "mine" {
		return fmt.Errorf("the agent has %v, %w", all, err)
	}
	signature, err := agent.Sign(all[0], []byte("data"))
	if err != nil {
		return err
	}
	return all[0].Verify([]byte("data"), signature)
}

// shortTemp is a folder whose sockets have short names.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sshd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A peer that breaks the rules gets no agent, and harms nothing else.
func TestHostileAgent(t *testing.T) {
	for name, says := range map[string]string{
		"no path":       "",
		"relative":      "socket\n",
		"control":       "/tmp/\x1b[2J\n",
		"too long":      "/" + strings.Repeat("x", maxSocketPath) + "\n",
		"without end":   strings.Repeat("x", 1<<20),
		"a huge frame":  "/tmp/s\n\x00\x00\x00\x01\xff\xff\xff\xff",
		"a short frame": "/tmp/s\n\x00\x00\x00\x01\x00\x00\x00\x05x",
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan string, 1)
			f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
				if p.request.Subsystem != "agent" {
					return Exit{Code: 3}, nil
				}
				_, err := io.WriteString(p.out, says)
				return Exit{}, err
			}}
			client, _ := serve(t, f, Config{Notice: func(text string) { told <- text }})
			s := newSession(t, client)
			ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil)
			if good := strings.Contains(name, "frame"); ok != good || err != nil {
				t.Errorf("forwarded: %v, %v", ok, err)
			} else if !good && !strings.HasPrefix(<-told, "the key agent is not forwarded") {
				t.Error("nobody is told")
			}
			var exit *ssh.ExitError
			if err := s.Run("x"); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
				t.Errorf("the program ended with %v", err)
			}
		})
	}
}

type closable struct{ ssh.Channel }

func (closable) Close() error { return nil }

// More connections than there may be are ended, and the others live.
func TestAgentConnectionsAreBounded(t *testing.T) {
	opened := 0
	a := &agent{program: refused{io.ErrClosedPipe}, conns: make(map[uint32]ssh.Channel), open: func() (ssh.Channel, error) {
		opened++
		return nil, errDenied
	}}
	for id := range uint32(maxAgentConns) {
		a.conns[id] = closable{}
	}
	if err := a.serve(bytes.NewReader(appendFrame(nil, 1<<20, []byte("x")))); !errors.Is(err, io.ErrClosedPipe) || opened != 0 {
		t.Errorf("serve = %v, after %d were opened", err, opened)
	}
}

func TestFrameGolden(t *testing.T) {
	frame := appendFrame(nil, 258, []byte("abc"))
	if want := "\x00\x00\x01\x02\x00\x00\x00\x03abc"; string(frame) != want {
		t.Errorf("%q instead of %q", frame, want)
	}
	id, message, err := readFrame(bytes.NewReader(frame))
	if id != 258 || string(message) != "abc" || err != nil {
		t.Errorf("%d, %q, %v", id, message, err)
	}
	big := []byte{0, 0, 0, 1, 0, 4, 0, 1}
	if _, _, err := readFrame(bytes.NewReader(big)); session.KindOf(err) != session.TooLarge {
		t.Errorf("a frame over the limit: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x02\x00\x00\x00\x03abc"))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, message, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(message) > maxAgentMessage {
			t.Fatalf("%d bytes", len(message))
		}
		if again := appendFrame(nil, id, message); !bytes.HasPrefix(data, again) {
			t.Fatalf("%q became %q", data, again)
		}
	})
}
