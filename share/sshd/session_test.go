package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

func TestExec(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		input, err := io.ReadAll(p.in) // to its end
		fmt.Fprintf(p.out, "out:%s", input)
		fmt.Fprintf(p.errors, "err")
		return Exit{Code: 200}, err
	}}
	client, _ := serve(t, f, Config{})
	s := newSession(t, client)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("some input"), &out, &errs
	err := s.Run(`echo "a b" | cat; exit 3`)
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 200 {
		t.Errorf("it ended with %v", err)
	}
	if out.String() != "out:some input" || errs.String() != "err" {
		t.Errorf("it printed %q and %q", &out, &errs)
	}
	want := Request{Argv: []string{"/bin/sh", "-c", withShell, `echo "a b" | cat; exit 3`}, Env: map[string]string{}}
	if got := f.requests(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("it asked for %+v", got)
	}
}

func TestEveryExitCode(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		var code int
		_, err := fmt.Sscan(p.request.Argv[3], &code)
		return Exit{Code: code}, err
	}}
	client, _ := serve(t, f, Config{})
	for code := range 256 {
		err := newSession(t, client).Run(fmt.Sprint(code))
		var exit *ssh.ExitError
		if code == 0 && err != nil || code != 0 && (!errors.As(err, &exit) || exit.ExitStatus() != code) {
			t.Errorf("exit %d became %v", code, err)
		}
	}
}

func TestDeathBySignal(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		return Exit{Code: 137, Signal: p.request.Argv[3]}, nil
	}}
	client, _ := serve(t, f, Config{})
	for name, want := range map[string]struct {
		signal string
		status int
	}{"KILL": {"KILL", 128 + 9}, "SYS": {"", 137}, "": {"", 137}} {
		var exit *ssh.ExitError
		if err := newSession(t, client).Run(name); !errors.As(err, &exit) || exit.Signal() != want.signal || exit.ExitStatus() != want.status {
			t.Errorf("death by %q became %v", name, err)
		}
	}
}

// The status comes before the end of the output, so that a client that stops
// reading there has it.
func TestStatusBeforeEOF(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		_, err := io.WriteString(p.out, "x")
		return Exit{Code: 5}, err
	}}
	client, _ := serve(t, f, Config{})
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := channel.SendRequest("exec", true, ssh.Marshal(textRequest{"x"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if out, err := io.ReadAll(channel); string(out) != "x" || err != nil {
		t.Fatalf("read %q, %v", out, err)
	}
	select {
	case r := <-requests:
		if r == nil || r.Type != "exit-status" {
			t.Errorf("the first request is %+v", r)
		}
	default:
		t.Error("the output ended before the status came")
	}
	for range requests { // until CLOSE
		t.Error("a second request")
	}
}

func TestTerminal(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		fmt.Fprint(p.out, <-p.sizes, <-p.signals)
		return Exit{}, nil
	}}
	client, _ := serve(t, f, Config{})
	s := newSession(t, client)
	var out bytes.Buffer
	s.Stdout = &out
	for name, allowed := range map[string]bool{"LANG": true, "LC_ALL": true, "LD_PRELOAD": false, "PATH": false, "SSH_AUTH_SOCK": false, "GODEBUG": false} {
		if err := s.Setenv(name, "en_GB.UTF-8"); (err == nil) != allowed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Setenv("LANG", "/tmp/evil"); err == nil {
		t.Error("a locale that is a path was taken")
	}
	if err := s.RequestPty("xterm-256color", 30, 100, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(40, 120); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(ssh.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "[120 40]INT" {
		t.Errorf("the program saw %q", got)
	}
	got := f.requests()[0]
	want := Request{
		Argv: []string{"/bin/sh", "-c", loginShell}, Env: map[string]string{"LANG": "en_GB.UTF-8", "LC_ALL": "en_GB.UTF-8"},
		Terminal: &Terminal{Term: "xterm-256color", Cols: 100, Rows: 30},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it asked for %+v", got)
	}
}

func TestSubsystem(t *testing.T) {
	f := &fake{run: func(_ context.Context, p *fakeProgram) (Exit, error) {
		_, err := io.Copy(p.out, p.in)
		return Exit{}, err
	}}
	client, _ := serve(t, f, Config{})
	if err := newSession(t, client).RequestSubsystem("agent"); err == nil {
		t.Error("an internal subsystem was started")
	}
	s := newSession(t, client)
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "packets"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	if got, err := io.ReadAll(out); string(got) != "packets" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := f.requests(); len(got) != 1 || got[0].Subsystem != "sftp" || got[0].Argv != nil {
		t.Errorf("it asked for %+v", got)
	}
}

// A peer refuses at once or with the first thing read; a person sees the same.
func TestRefusedProgram(t *testing.T) {
	for name, f := range map[string]*fake{
		"at once": {},
		"later":   {run: func(context.Context, *fakeProgram) (Exit, error) { return Exit{}, errDenied }},
	} {
		client, _ := serve(t, f, Config{})
		s := newSession(t, client)
		var errs bytes.Buffer
		s.Stderr = &errs
		var exit *ssh.ExitError
		if err := s.Run("id"); !errors.As(err, &exit) || exit.ExitStatus() != failure {
			t.Errorf("%s: it ended with %v", name, err)
		}
		if got := errs.String(); got != "tandem: you have not been granted\uFFFD[2J that\r\n        Ask.\r\n" {
			t.Errorf("%s: a person reads %q", name, got)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	block := make(chan struct{})
	f := &fake{run: func(context.Context, *fakeProgram) (Exit, error) { <-block; return Exit{}, nil }}
	client, _ := serve(t, f, Config{})
	for _, kind := range []string{"x11", "forwarded-tcpip", "auth-agent@openssh.com", "tun@openssh.com"} {
		var refused *ssh.OpenChannelError
		if _, _, err := client.OpenChannel(kind, nil); !errors.As(err, &refused) || refused.Reason != ssh.UnknownChannelType {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, kind := range []string{"keepalive@openssh.com", "hostkeys-prove-00@openssh.com"} {
		if ok, _, err := client.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
	}
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	refuses := func(kind string, payload []byte) {
		t.Helper()
		if ok, err := channel.SendRequest(kind, true, payload); ok || err != nil {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
	}
	for _, kind := range []string{"x11-req", "break", "pty-req", "env", "exec", "subsystem", "signal", "window-change", "nonsense"} {
		refuses(kind, []byte{0xff, 0xff})
	}
	refuses("signal", ssh.Marshal(textRequest{"INT"})) // nothing runs
	if ok, err := channel.SendRequest("exec", true, ssh.Marshal(textRequest{"x"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	refuses("exec", ssh.Marshal(textRequest{"y"}))
	refuses("shell", nil)
	refuses("pty-req", ssh.Marshal(ptyRequest{Term: "vt100"}))
	refuses("env", ssh.Marshal(envRequest{"LANG", "C"}))
	refuses("window-change", ssh.Marshal(windowChange{Cols: 1, Rows: 1})) // no terminal
	refuses("signal", ssh.Marshal(textRequest{"WINCH"}))
	close(block)
	for range requests {
	}
	if got := f.requests(); len(got) != 1 {
		t.Errorf("%d programs were started", len(got))
	}
}

func TestClientLeaves(t *testing.T) {
	ended := make(chan struct{})
	f := &fake{run: func(ctx context.Context, p *fakeProgram) (Exit, error) {
		fmt.Fprint(p.out, "x")
		<-ctx.Done()
		close(ended)
		return Exit{}, session.Errorf("test", session.Canceled, "gone")
	}}
	client, served := serve(t, f, Config{})
	s := newSession(t, client)
	out, _ := s.StdoutPipe()
	if err := s.Start("sleep"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	<-ended
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// One channel that closes ends its program and no other.
func TestChannelLeaves(t *testing.T) {
	ends := make(chan string, 2)
	f := &fake{run: func(ctx context.Context, p *fakeProgram) (Exit, error) {
		<-ctx.Done()
		ends <- p.request.Argv[3]
		return Exit{}, nil
	}}
	client, _ := serve(t, f, Config{})
	first, second := newSession(t, client), newSession(t, client)
	if err := errors.Join(first.Start("first"), second.Start("second")); err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	if got := <-ends; got != "second" {
		t.Errorf("%s ended", got)
	}
	_ = first.Close()
	<-ends
}
