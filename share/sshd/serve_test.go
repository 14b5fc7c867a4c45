package sshd

import (
	"context"
	"crypto/ed25519"
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

func hostKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestNoSSHClient(t *testing.T) {
	near, far := loopback(t)
	go func() {
		_, _ = io.WriteString(near, "SSH-2.0-x\r\n\xff\xff\xff\xff that is no packet")
		_, _ = io.Copy(io.Discard, near)
		_ = near.Close()
	}()
	if err := Serve(t.Context(), far, &fake{}, Config{HostKey: hostKey(t)}); session.KindOf(err) != session.Invalid {
		t.Errorf("Serve = %v", err)
	}
}

func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := halves()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		if err := Serve(t.Context(), far, &fake{}, Config{HostKey: hostKey(t)}); session.KindOf(err) != session.Timeout {
			t.Errorf("Serve = %v", err)
		}
	})
}

// When the server is told to end, it ends whatever the client does.
func TestServeEnds(t *testing.T) {
	near, far := loopback(t)
	ctx, cancel := context.WithCancel(t.Context())
	key := hostKey(t)
	served := make(chan error, 1)
	f := &fake{run: func(ctx context.Context, _ *fakeProgram) (Exit, error) { <-ctx.Done(); return Exit{}, nil }, connect: echo}
	go func() { served <- Serve(ctx, far, f, Config{HostKey: key}) }()
	conn, channels, requests, err := ssh.NewClientConn(near, "peer", &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(key.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	if err := newSession(t, client).Start("sleep"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(client, "direct-tcpip", tcpChannel{"localhost", 1, "", 0}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	_ = client.Wait() // it sees the end
	f.work.Wait()
}

// unused is a key that must not be asked to sign.
type unused struct {
	t *testing.T
	ssh.Signer
}

func (u unused) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	u.t.Error("a key was used")
	return nil, io.ErrClosedPipe
}

// TestNoKeyMatters: who the client is was settled before there was any SSH. No
// user name and no key says it anew, so none can be offered by somebody who
// signs with another (CVE-2024-45337).
func TestNoKeyMatters(t *testing.T) {
	for _, user := range []string{"", "root", "somebody else", "alice\x00"} {
		near, far := loopback(t)
		key := hostKey(t)
		served := make(chan error, 1)
		go func() { served <- Serve(t.Context(), far, &fake{}, Config{HostKey: key}) }()
		asked := false
		conn, channels, requests, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{
			User:            user,
			HostKeyCallback: ssh.FixedHostKey(key.PublicKey()),
			Auth: []ssh.AuthMethod{
				ssh.PublicKeys(unused{t, hostKey(t)}),
				ssh.PasswordCallback(func() (string, error) { asked = true; return "", nil }),
			},
		})
		if err != nil || asked {
			t.Fatalf("%q: %v; asked for a password: %v", user, err, asked)
		}
		_ = ssh.NewClient(conn, channels, requests).Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}
