//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/session"
)

// printed is what a recording says was printed.
func printed(t *testing.T, path string) []byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := Replay(t.Context(), file, TTY{Out: out}, ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// speak is a program that prints characters of all widths, more than fit a
// read, so that some are split.
const speak = `i=0; while [ $i -lt 3000 ]; do printf 'plain é € 😀 e\314\201 \033[1m%d\033[m\r\n' $i; i=$((i+1)); done; `

func TestRecording(t *testing.T) {
	for _, required := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "recordings") + "/"
		s, guest := share(t, Config{
			Argv:      []string{"/bin/sh", "-c", `stty raw -echo; echo ready; read -r go; ` + speak + `printf 'bad \377\376\303 \342\202'; exit 3`},
			Recording: &Recording{Path: dir, Required: required},
		})
		v := attach(t, guest, Request{Params: Params{Size: size80}})
		v.until("a roster", func() bool { return len(rosterOf(v.events).Viewers) == 1 })
		v.mu.Lock()
		if !rosterOf(v.events).Recorded {
			t.Error("the viewer isn't told that it is recorded")
		}
		v.mu.Unlock()
		path := s.Terminals()[0].Recording
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || filepath.Dir(path)+"/" != dir {
			t.Fatalf("%s: %v, %v", path, info, err)
		}
		if err := v.Resize(Size{Cols: 100, Rows: 30}); err != nil {
			t.Fatal(err)
		}
		v.until("the size", func() bool { return has(v.events, Size{Cols: 100, Rows: 30}) })
		v.sees("ready")
		v.types("secret\n")
		if exit := v.exits(); exit.Code != 3 {
			t.Errorf("%+v", exit)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := printed(t, path); !bytes.Equal(got, v.seen()) || !bytes.HasSuffix(got, []byte("bad \xff\xfe\xc3 \xe2\x82")) {
			t.Errorf("required %v: %d bytes were seen and %d recorded, ending with %q", required, len(v.seen()), len(got), got[max(0, len(got)-50):])
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte(`"r", "100x30"`)) || bytes.Contains(content, []byte("secret")) {
			t.Errorf("%v, recorded %.500s", err, content)
		}
	}
}

func TestRecordingInput(t *testing.T) {
	dir := t.TempDir()
	s, guest := share(t, Config{Recording: &Recording{Path: dir, Input: true}})
	v := attach(t, guest, Request{})
	v.types("exit 4\n")
	v.exits()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(s.Terminals()[0].Recording)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if summary, err := Summarize(file); err != nil || summary.Input != int64(len("exit 4\n")) {
		t.Errorf("%+v, %v", summary, err)
	}
}

// TestUnrecorded: what must be recorded and can't be is not there; anything
// else is, and the host is told.
func TestUnrecorded(t *testing.T) {
	failed := 0
	nowhere := Recording{Path: "/proc/nowhere/x.cast", Failed: func(string, error) { failed++ }}
	s, guest := share(t, Config{Recording: &nowhere})
	v := attach(t, guest, Request{})
	v.types("exit 4\n")
	v.exits()
	if failed != 1 || rosterOf(v.events).Recorded || s.Terminals()[0].Recording != "" {
		t.Errorf("told %d times, roster %+v", failed, rosterOf(v.events))
	}

	nowhere.Required = true
	s, guest = share(t, Config{Recording: &nowhere})
	if err := attach(t, guest, Request{}).fails(); session.KindOf(err) != session.Internal || !strings.Contains(err.Error(), "has to be recorded") ||
		strings.Contains(err.Error(), "/proc") {
		t.Errorf("the guest is told %v", err)
	}
	if err := s.Start("", Params{}); session.KindOf(err) != session.Internal || len(s.Terminals()) != 0 {
		t.Errorf("%v, terminals %+v", err, s.Terminals())
	}
}

// TestGuestRecords: a viewer's own recording has what it was shown.
func TestGuestRecords(t *testing.T) {
	_, guest := share(t, Config{})
	d := newDesk(t, size80)
	path := filepath.Join(t.TempDir(), "mine.cast")
	ended := background(func() (Result, error) {
		return Run(t.Context(), guest.Open, Request{}, d.tty, Options{Recording: &Recording{Path: path, Input: true}})
	})
	d.sees("$ ")
	w := attach(t, guest, Request{Right: View})
	w.until("a roster that says so", func() bool {
		r := rosterOf(w.events)
		return len(r.Viewers) == 2 && (r.Viewers[0].Records || r.Viewers[1].Records) && !r.Recorded
	})
	d.types("printf 'caf\\303\\251\\377'; exit 5\r")
	if o := await(t, ended); o.err != nil || o.Code != 5 {
		t.Fatalf("%+v", o)
	}
	w.exits()
	if got := printed(t, path); !bytes.HasSuffix(w.seen(), []byte("café\xff")) || !bytes.HasSuffix(got, []byte("café\xff")) {
		t.Errorf("recorded %q", got)
	}
	if content, err := os.ReadFile(path); err != nil || !bytes.Contains(content, []byte(`"i"`)) {
		t.Errorf("%v, no input in %.300s", err, content)
	}

	// Nothing is asked of the host by who has to record and can't.
	asked := false
	_, err := Run(t.Context(), func(ctx context.Context, h session.Header) (session.Stream, error) {
		asked = true
		return guest.Open(ctx, h)
	}, Request{}, d.tty, Options{Recording: &Recording{Path: "/proc/nowhere/x.cast"}})
	if err == nil || asked {
		t.Errorf("%v, asked: %v", err, asked)
	}
}

// TestAsciinema: what asciinema prints of a recording are the session's bytes.
func TestAsciinema(t *testing.T) {
	asciinema, err := exec.LookPath("asciinema")
	if err != nil {
		t.Skip("asciinema isn't installed")
	}
	s, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "stty raw -echo; " + speak}, Recording: &Recording{Path: t.TempDir()}})
	v := attach(t, guest, Request{Params: Params{Size: size80}})
	v.exits()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := s.Terminals()[0].Recording
	for _, verb := range [][]string{{"cat"}, {"play", "-i", "0.001"}} {
		d := newDesk(t, size80)
		cmd := exec.Command(asciinema, append(verb, path)...)
		var out bytes.Buffer
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ASCIINEMA_CONFIG_HOME="+t.TempDir())
		cmd.Stdin, cmd.Stdout, cmd.Stderr = d.tty.In, &out, d.tty.Out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		late.Stop()
		if err != nil || !bytes.Equal(out.Bytes(), v.seen()) {
			t.Errorf("asciinema %v: %v, %d bytes of %d; %q", verb, err, out.Len(), len(v.seen()), d.seen())
		}
	}
}
