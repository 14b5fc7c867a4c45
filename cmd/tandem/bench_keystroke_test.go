//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// The benchmark of keystrokes types single characters, 30 to 170 ms apart, into
// a program that echoes them through a terminal in raw mode, and measures how
// long each takes to come back. tandem, ssh and mosh do so at the same time, so
// that whatever disturbs the machine disturbs all alike. The losses are those of
// the path between the two sides.
//
// tandem goes directly between two home routers, ssh and mosh from behind one
// to a public host. mosh would show its prediction of most keys at once; here it
// may not, and what is measured is its echo.
const (
	keystrokes = 240
	keyPause   = 30 * time.Millisecond
	keyJitter  = 140 * time.Millisecond
	// keyChars end no control sequence that mosh sends.
	keyChars = "qwertyuiopasdfgjkzxvbn"
	echoing  = "stty raw -echo; printf ready; exec cat"
)

func TestBenchKeystroke(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	host, guest := wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.Home).Host("guest")
	server := wan.Host("server")
	rival := wan.Host("rival")
	at := "TANDEM_SERVERS=" + l.server(t, server, nil).url
	sharer := l.device(t, host, "sharing", at, "TANDEM_INSECURE=true")
	typist := l.device(t, guest, "typing", at, "TANDEM_INSECURE=true")
	sshd := l.sshd(t, rival)
	sharing := sharer.start(t, "share", "--terminal", "--approve", "always", "--json")
	joining := typist.start(t, "join", sharing.event(t, node.EventInvite).Code, "--json")
	peer := joining.event(t, node.EventJoined).Peer.ID.String()
	typist.awaitPath(t, peer, session.Direct, hangs)
	joining.stop(t)

	rows := [][]string{{"round trip", "loss", "tandem p50", "p99", "ssh p50", "p99", "mosh p50", "p99", "tandem/ssh p50", "p99", "tandem/mosh p99"}}
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond} {
		for _, loss := range []float64{0, 0.01, 0.05} {
			wan.SetLink(natlab.Link{Delay: rtt / 2})
			for _, peer := range []*natlab.Host{host, guest} {
				wan.Path(server, peer).SetDelay(rtt / 4)
			}
			screens := []*screen{
				show(t, "tandem", typist.command(t.Context(), "shell", peer, "--", "/bin/sh", "-c", echoing)),
				show(t, "ssh", sshd.command(t, guest, echoing)),
				moshTo(t, guest, rival),
			}
			for _, s := range screens {
				s.await(t, "ready")
			}
			time.Sleep(time.Second) // until nobody draws any more
			wan.Path(guest, host).SetLoss(loss)
			wan.Path(guest, rival).SetLoss(loss)
			echoes := typeAll(t, screens)
			wan.SetLink(natlab.Link{Delay: rtt / 2})
			for _, s := range screens {
				s.kill()
				_ = s.pty.Close()
			}
			row := []string{fmt.Sprintf("%d ms", rtt.Milliseconds()), fmt.Sprintf("%.0f %%", loss*100)}
			for _, e := range echoes {
				row = append(row, ms(e.quantile(0.5)), ms(e.quantile(0.99)))
			}
			tandem, ssh, mosh := echoes[0], echoes[1], echoes[2]
			row = append(row, quotient(tandem, ssh, 0.5), quotient(tandem, ssh, 0.99), quotient(tandem, mosh, 0.99))
			rows = append(rows, row)
			if loss == 0 {
				t.Logf("%v: median %.1f ms over the round trip, goal 1 ms: %s", rtt,
					(tandem.median()-rtt).Seconds()*1e3, verdict(tandem.median() <= rtt+time.Millisecond))
			}
		}
	}
	fmt.Printf("\nEcho of a key, in ms, of %d:\n\n%s\n", keystrokes, table(rows))
}

func quotient(a, b sample, q float64) string {
	return fmt.Sprintf("%.2f", a.quantile(q).Seconds()/b.quantile(q).Seconds())
}

var moshConnect = regexp.MustCompile(`MOSH CONNECT (\d+) (\S+)`)

// moshTo runs mosh without prediction, and without ssh: its server's key is handed
// over here.
func moshTo(t *testing.T, from, to *natlab.Host) *screen {
	t.Helper()
	server, client := tool(t, "mosh-server", "mosh"), tool(t, "mosh-client", "mosh")
	cmd := to.Command(t.Context(), server, "new", "-i", to.Addr().String(), "--", "/bin/sh", "-c", echoing)
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8", "TERM=xterm-256color", "MOSH_SERVER_NETWORK_TMOUT=60")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil { // it goes on in the background
		t.Fatalf("mosh-server: %v\n%s", err, &out)
	}
	found := moshConnect.FindSubmatch(out.Bytes())
	if found == nil {
		t.Fatalf("mosh-server said %s", &out)
	}
	cmd = from.Command(t.Context(), client, to.Addr().String(), string(found[1]))
	cmd.Env = append(cmd.Env, "MOSH_KEY="+string(found[2]), "MOSH_PREDICTION_DISPLAY=never", "MOSH_TITLE_NOPREFIX=1")
	return show(t, "mosh", cmd)
}

// typeAll types on all screens at once and returns how long the echoes took.
func typeAll(t *testing.T, screens []*screen) []sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*hangs)
	defer cancel()
	echoes, errs := make([]sample, len(screens)), make([]error, len(screens))
	var typing sync.WaitGroup
	for i, s := range screens {
		typing.Go(func() { echoes[i], errs[i] = s.typeKeys(ctx) })
	}
	typing.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v\n%s", screens[i].name, err, screens[i])
		}
	}
	return echoes
}

// typeKeys types and waits for the last echo.
func (s *screen) typeKeys(ctx context.Context) (sample, error) {
	before, _ := s.seen(0)
	var typed []glyph
	for i := range keystrokes {
		key := keyChars[i%len(keyChars)]
		typed = append(typed, glyph{key, time.Now()})
		if _, err := s.pty.Write([]byte{key}); err != nil {
			return nil, err
		}
		select {
		case <-time.After(keyPause + rand.N(keyJitter)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for {
		shown, more := s.seen(len(before))
		if len(shown) >= len(typed) {
			var took sample
			for i, key := range typed {
				if shown[i].char != key.char {
					return nil, fmt.Errorf("key %d is %q, its echo %q", i, key.char, shown[i].char)
				}
				took = append(took, shown[i].at.Sub(key.at))
			}
			return took, nil
		}
		select {
		case <-more:
		case <-s.ended:
			return nil, fmt.Errorf("ended: %w", s.err)
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d echoes: %w", len(shown), len(typed), ctx.Err())
		}
	}
}
