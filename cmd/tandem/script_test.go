//go:build unix

package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"tandem/signaling"
	"tandem/signaling/server"
)

func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"tandem": main, "hold": hold, "pionserve": pionServe, "pionfetch": pionFetch})
}

// leakless fails when the tests leave goroutines behind.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScript runs testdata/script/*.txtar: the real binary, in processes of
// its own, driven through pipes and pseudo-terminals. See conversation_test.go
// for the commands the scripts have beyond testscript's, and serve for the
// servers they find in their environment.
func TestScript(t *testing.T) {
	// Control sockets need short paths.
	dir, err := os.MkdirTemp("/tmp", "ts")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	servers := serve(t)
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		WorkdirRoot:        dir,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			for name, url := range servers {
				env.Setenv(name, url)
			}
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
				env.Setenv(name, "")
			}
			// Guests' shells leave no trace in the home of whoever runs the tests.
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TERM", "xterm-256color")
			env.Setenv("TANDEM_SERVERS", servers["SERVER"])
			return newConversations(env)
		},
		Cmds: conversationCommands(),
		Condition: func(name string) (bool, error) {
			switch name {
			case "tmpfs": // can be mounted
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil, nil
			case "long": // may it take
				return os.Getenv("TANDEM_LAB_LONG") != "", nil
			case "files": // can be open by the thousand
				return room() >= 8192, nil
			case "fuse": // may be used
				return fuse(), nil
			case "sshfs": // is there, and may be used
				_, missing := exec.LookPath("sshfs")
				return missing == nil && fuse(), nil
			}
			return false, fmt.Errorf("no condition %s", name)
		},
	})
}

// serve runs the servers of the scripts in this process and returns their
// addresses by the name of a variable:
//
//	SERVER       a signaling server
//	CLOCK_OFF    one whose clock is an hour ahead
//	NEWER        one that speaks version 2 and above only
//	NOT_TANDEM   a web server that knows none of our paths
//	GARBAGE      something that answers with noise
//	SILENT       something that accepts connections and says nothing
//	NOBODY       a port that nobody listens on
//	ECHO         a port, behind which all that is said comes back
//	TLS          a signaling server behind TLS with a certificate nobody knows
//	TLS_PORT     the same with the wrong scheme
//	TLS_CA       a file with who vouches for it
func serve(t *testing.T) map[string]string {
	t.Helper()
	many := server.Rate{PerSecond: 1000, Burst: 1000}
	s := server.New(server.Config{Limits: server.Limits{
		Connects: many, Plates: many, Guesses: many, Relays: many, MessagesPerIP: server.Rate{PerSecond: 1e5, Burst: 1e5},
	}})
	t.Cleanup(func() { _ = s.Close() }) // after those that serve it
	web := func(h http.Handler) string {
		ts := httptest.NewServer(h)
		t.Cleanup(ts.Close)
		return ts.URL
	}
	secure := httptest.NewUnstartedServer(s)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of bad handshakes there will be some
	secure.StartTLS()
	t.Cleanup(secure.Close)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	authority := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{
		"SERVER":     web(s),
		"CLOCK_OFF":  web(speaks(signaling.Info{Version: 1, MinVersion: 1, Time: time.Now().Add(time.Hour).UnixMilli()})),
		"NEWER":      web(speaks(signaling.Info{Version: 3, MinVersion: 2})),
		"NOT_TANDEM": web(http.NotFoundHandler()),
		"GARBAGE":    "http://" + listen(t, func(c net.Conn) { _, _ = c.Write([]byte("\x00\xff220 mail.example\r\n\x1b]0;owned\a")) }),
		"SILENT":     "http://" + listen(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<20)); _, _ = c.Read(make([]byte, 1)) }),
		"ECHO": port(listen(t, func(c net.Conn) {
			if _, err := io.Copy(c, c); err == nil {
				_ = c.(*net.TCPConn).CloseWrite()
			}
		})),
		"NOBODY":   "http://" + nobody.Addr().String(),
		"TLS":      secure.URL,
		"TLS_CA":   authority,
		"TLS_PORT": "http://" + secure.Listener.Addr().String(),
	}
	return urls
}

// listen answers every connection with talk, and returns the address.
func listen(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			end := context.AfterFunc(ctx, func() { _ = c.Close() })
			go func() {
				defer end()
				defer c.Close()
				talk(c)
			}()
		}
	}()
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// speaks is as much of a signaling server as tells its version and its time.
func speaks(info signaling.Info) http.Handler {
	info.Service = signaling.ServiceName
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"service":%q,"version":%d,"min_version":%d,"time":%d}`, info.Service, info.Version, info.MinVersion, info.Time)
	})
	mux.HandleFunc("GET /v1/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		_ = wsjson.Write(r.Context(), c, map[string]any{
			"type": "welcome", "version": info.Version, "min_version": info.MinVersion, "nonce": make([]byte, 32),
			"host": r.Host, "observed": r.RemoteAddr, "time": info.Time,
		})
		_, _, _ = c.Read(r.Context())
	})
	return mux
}

// exitStatus is what a shell would show in $?.
func exitStatus(err error) (int, error) {
	var exit interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	}
	return 0, err
}

func mustStatus(ts *testscript.TestScript, word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		ts.Fatalf("%q is no exit code", word)
	}
	return n
}

// fuse reports whether folders can be mounted.
func fuse() bool {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return device.Close() == nil
}
