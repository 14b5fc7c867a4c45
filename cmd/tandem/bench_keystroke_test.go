//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// The benchmark of keystrokes types single characters into a program that echoes
// them, and measures how long each takes until a person would see it. tandem, ssh
// and mosh do so at the same time, so that whatever disturbs the machine disturbs
// all alike. The losses are those of the path between the two sides.
//
// tandem goes directly between two home routers, ssh and mosh from behind one
// to a public host.
//
//	idle        nothing else happens; the echo, so neither tandem nor mosh may predict
//	bulk        a file comes over the same path, by tandem get and by ssh
//	predicted   lines typed at a shell's prompt, with tandem's and mosh's predictions
const (
	keystrokes = 200
	keyPause   = 15 * time.Millisecond
	keyJitter  = 90 * time.Millisecond
	// keyChars end no control sequence that mosh sends.
	keyChars = "qwertyuiopasdfgjkzxvbn"
	echoing  = "stty raw -echo; printf ready; exec cat"
	// prompting is a shell that edits lines; what is typed at it does nothing, and
	// has none of the prompt's characters.
	prompting  = "PS1='hmm' exec bash --norc --noprofile -i"
	lineLength = 16
	typedLines = 7
	// As a person does who types sixty words a minute and looks at what comes.
	handPause  = 60 * time.Millisecond
	handJitter = 200 * time.Millisecond
	linePause  = time.Second
	// bulkRate is that of the path which a file fills, in bits per second.
	bulkRate = 20_000_000
	bulkSize = 256 << 20
)

var (
	keyRoundTrips = []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond}
	keyLosses     = []float64{0, 0.01, 0.05}
)

// typists is who types, and the network between them.
type typists struct {
	wan                 *natlab.WAN
	server, host, guest *natlab.Host
	rival               *natlab.Host // has sshd and mosh's server
	sshd                *sshServer
	typist              *device
	peer                string // the host, as the typist knows it
}

func TestBenchKeystroke(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	b := &typists{
		wan: wan, server: wan.Host("server"), rival: wan.Host("rival"),
		host: wan.NAT(natlab.Home).Host("host"), guest: wan.NAT(natlab.Home).Host("guest"),
	}
	at := "TANDEM_SERVERS=" + l.server(t, b.server, nil).url
	big := randomFile(t, bulkSize)
	shared := filepath.Dir(big)
	sharer := l.device(t, b.host, "sharing", at, "TANDEM_INSECURE=true")
	b.typist = l.device(t, b.guest, "typing", at, "TANDEM_INSECURE=true")
	// An empty home: what a profile does takes long, and differs.
	b.sshd = l.sshd(t, b.rival, "SetEnv HOME="+t.TempDir())
	sharing := sharer.start(t, "share", shared, "--terminal", "--approve", "always", "--json")
	joining := b.typist.start(t, "join", sharing.event(t, node.EventInvite).Code, "--json")
	b.peer = joining.event(t, node.EventJoined).Peer.ID.String()
	b.typist.awaitPath(t, b.peer, session.Direct, hangs)

	t.Run("bulk", func(t *testing.T) { b.bulk(t, filepath.Base(shared)+"/"+filepath.Base(big)) })
	t.Run("predicted", b.predicted)
	joining.stop(t)
	t.Run("idle", b.idle)
}

// link sets what lies between the two sides. Nothing is lost yet.
func (b *typists) link(rtt time.Duration, rate int64) {
	b.wan.SetLink(natlab.Link{Delay: rtt / 2})
	for _, peer := range []*natlab.Host{b.host, b.guest} {
		b.wan.Path(b.server, peer).SetDelay(rtt / 4)
	}
	b.wan.Path(b.guest, b.host).SetRate(rate)
	b.wan.Path(b.guest, b.rival).SetRate(rate)
}

func (b *typists) lose(share float64) {
	b.wan.Path(b.guest, b.host).SetLoss(share)
	b.wan.Path(b.guest, b.rival).SetLoss(share)
}

func (b *typists) shell(t *testing.T, predict, script string) *screen {
	return show(t, "tandem", b.typist.command(t.Context(), "shell", "--predict", predict, b.peer, "--", "/bin/sh", "-c", script))
}

// echoers are the three programs with the echoing one on the other side.
func (b *typists) echoers(t *testing.T) []*screen {
	screens := []*screen{
		b.shell(t, "never", echoing),
		show(t, "ssh", b.sshd.command(t, b.guest, echoing)),
		moshTo(t, b.guest, b.rival, "never", echoing),
	}
	settle(t, screens, "ready")
	return screens
}

// settle waits until nobody draws any more.
func settle(t *testing.T, screens []*screen, prompt string) {
	t.Helper()
	for _, s := range screens {
		s.await(t, prompt)
	}
	time.Sleep(time.Second)
}

func end(screens []*screen) {
	for _, s := range screens {
		s.kill()
		_ = s.pty.Close()
	}
}

// idle measures the echo of keys when nothing else happens.
func (b *typists) idle(t *testing.T) {
	rows := [][]string{{"round trip", "loss", "tandem p50", "p99", "ssh p50", "p99", "mosh p50", "p99", "tandem/ssh p50", "p99", "tandem/mosh p99"}}
	for _, rtt := range keyRoundTrips {
		for _, loss := range keyLosses {
			t.Run(fmt.Sprintf("%dms,%.0f%%", rtt.Milliseconds(), loss*100), func(t *testing.T) {
				b.link(rtt, 0)
				screens := b.echoers(t)
				b.lose(loss)
				echoes := typeAll(t, screens, (*screen).typeKeys)
				b.lose(0)
				end(screens)
				row := []string{fmt.Sprintf("%d ms", rtt.Milliseconds()), fmt.Sprintf("%.0f %%", loss*100)}
				for _, e := range echoes {
					row = append(row, ms(e.quantile(0.5)), ms(e.quantile(0.99)))
				}
				tandem, ssh, mosh := echoes[0], echoes[1], echoes[2]
				row = append(row, quotient(tandem, ssh, 0.5), quotient(tandem, ssh, 0.99), quotient(tandem, mosh, 0.99))
				rows = append(rows, row)
				if loss == 0 {
					t.Logf("%v: over the round trip tandem takes %.2f ms (p50) and %.2f (p99), ssh %.2f and %.2f; goal 1 ms: %s", rtt,
						over(tandem, rtt, 0.5), over(tandem, rtt, 0.99), over(ssh, rtt, 0.5), over(ssh, rtt, 0.99),
						verdict(tandem.median() <= rtt+time.Millisecond))
				}
			})
		}
	}
	fmt.Printf("\nEcho of a key, in ms, of %d, on an idle link:\n\n%s\n", keystrokes, table(rows))
}

// over is how many milliseconds a quantile is above the round trip.
func over(s sample, rtt time.Duration, q float64) float64 {
	return (s.quantile(q) - rtt).Seconds() * 1e3
}

// bulk measures the echo of keys while the path is full.
func (b *typists) bulk(t *testing.T, file string) {
	rows := [][]string{{"round trip", "loss", "tandem p50", "p99", "ssh p50", "p99", "mosh p50", "p99", "tandem get, Mbit/s", "ssh, Mbit/s"}}
	for _, rtt := range keyRoundTrips {
		for _, loss := range keyLosses {
			t.Run(fmt.Sprintf("%dms,%.0f%%", rtt.Milliseconds(), loss*100), func(t *testing.T) {
				b.link(rtt, bulkRate)
				screens := b.echoers(t)
				b.lose(loss)
				ctx, cancel := context.WithCancel(t.Context())
				get := b.typist.command(ctx, "get", "--json", b.peer+":"+file, filepath.Join(t.TempDir(), "big"))
				cat := b.sshd.plain(ctx, b.guest, "cat", "/dev/urandom")
				for _, cmd := range []*exec.Cmd{get, cat} {
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(2*time.Second + 10*rtt) // until they have found the rate
				begun, moved := time.Now(), b.moved()
				echoes := typeAll(t, screens, (*screen).typeKeys)
				took := time.Since(begun).Seconds()
				now := b.moved()
				cancel()
				_, _ = get.Wait(), cat.Wait() // killed
				b.lose(0)
				end(screens)
				row := []string{fmt.Sprintf("%d ms", rtt.Milliseconds()), fmt.Sprintf("%.0f %%", loss*100)}
				for _, e := range echoes {
					row = append(row, ms(e.quantile(0.5)), ms(e.quantile(0.99)))
				}
				for i := range now {
					row = append(row, fmt.Sprintf("%.1f", float64(now[i]-moved[i])*8/1e6/took))
				}
				rows = append(rows, row)
			})
		}
	}
	fmt.Printf("\nEcho of a key, in ms, of %d, while a file fills a path of %d Mbit/s:\n\n%s\n", keystrokes, bulkRate/1_000_000, table(rows))
}

// moved is how many bytes have come from the host and from the rival so far.
func (b *typists) moved() [2]int64 {
	_, host := b.wan.Path(b.guest, b.host).Stats()
	_, rival := b.wan.Path(b.guest, b.rival).Stats()
	return [2]int64{host.Bytes, rival.Bytes}
}

// predicted measures what a person sees: the first time that a typed character
// appears, be it its echo or a prediction.
func (b *typists) predicted(t *testing.T) {
	rows := [][]string{{"round trip", "loss", "tandem at once", "p50", "p90", "mosh at once", "p50", "p90"}}
	for _, rtt := range keyRoundTrips[1:] {
		for _, loss := range keyLosses {
			t.Run(fmt.Sprintf("%dms,%.0f%%", rtt.Milliseconds(), loss*100), func(t *testing.T) {
				b.link(rtt, 0)
				screens := []*screen{b.shell(t, "auto", prompting), moshTo(t, b.guest, b.rival, "adaptive", prompting)}
				settle(t, screens, "hmm")
				b.lose(loss)
				shown := typeAll(t, screens, (*screen).typeLines)
				b.lose(0)
				end(screens)
				row := []string{fmt.Sprintf("%d ms", rtt.Milliseconds()), fmt.Sprintf("%.0f %%", loss*100)}
				for _, s := range shown {
					row = append(row, fmt.Sprintf("%.0f %%", s.below(rtt/2)*100), ms(s.quantile(0.5)), ms(s.quantile(0.9)))
				}
				rows = append(rows, row)
			})
		}
	}
	fmt.Printf("\nFrom a key to its character on the screen, in ms, of %d in lines of %d; at once is within half a round trip:\n\n%s\n",
		typedLines*lineLength, lineLength, table(rows))
}

func quotient(a, b sample, q float64) string {
	return fmt.Sprintf("%.2f", a.quantile(q).Seconds()/b.quantile(q).Seconds())
}

var moshConnect = regexp.MustCompile(`MOSH CONNECT (\d+) (\S+)`)

// moshTo runs mosh without ssh: its server's key is handed over here.
func moshTo(t *testing.T, from, to *natlab.Host, predict, script string) *screen {
	t.Helper()
	server, client := tool(t, "mosh-server", "mosh"), tool(t, "mosh-client", "mosh")
	cmd := to.Command(t.Context(), server, "new", "-i", to.Addr().String(), "--", "/bin/sh", "-c", script)
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
	cmd.Env = append(cmd.Env, "MOSH_KEY="+string(found[2]), "MOSH_PREDICTION_DISPLAY="+predict, "MOSH_TITLE_NOPREFIX=1")
	return show(t, "mosh", cmd)
}

// typeAll types on all screens at once and returns how long the characters took.
func typeAll(t *testing.T, screens []*screen, typing func(*screen, context.Context) (sample, error)) []sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*hangs)
	defer cancel()
	echoes, errs := make([]sample, len(screens)), make([]error, len(screens))
	var work sync.WaitGroup
	for i, s := range screens {
		work.Go(func() { echoes[i], errs[i] = typing(s, ctx) })
	}
	work.Wait()
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
		if err := s.typeByte(ctx, key, keyPause+rand.N(keyJitter)); err != nil {
			return nil, err
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

// typeLines types lines and waits until the last character is there. How long
// the Enters take is not measured. No character is typed again within a line, or
// soon after it.
func (s *screen) typeLines(ctx context.Context) (sample, error) {
	type typedKey struct {
		glyph
		after int // what was visible before
	}
	var typed []typedKey
	for i := range typedLines * lineLength {
		key := keyChars[i%len(keyChars)]
		if i > 0 && i%lineLength == 0 {
			if err := s.typeByte(ctx, '\r', linePause); err != nil {
				return nil, err
			}
		}
		if i%lineLength == 0 { // so that the line does nothing
			for _, b := range []byte(": ") {
				if err := s.typeByte(ctx, b, handPause+rand.N(handJitter)); err != nil {
					return nil, err
				}
			}
		}
		typed = append(typed, typedKey{glyph{key, time.Now()}, s.count()})
		if err := s.typeByte(ctx, key, handPause+rand.N(handJitter)); err != nil {
			return nil, err
		}
	}
	var took sample
	for _, key := range typed {
		at, err := s.appeared(ctx, key.char, key.after)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d, %q: %w", len(took), len(typed), key.char, err)
		}
		took = append(took, at.Sub(key.at))
	}
	return took, nil
}

// typeByte types and pauses.
func (s *screen) typeByte(ctx context.Context, b byte, pause time.Duration) error {
	if _, err := s.pty.Write([]byte{b}); err != nil {
		return err
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// appeared waits for a character behind the first n, and is when it came.
func (s *screen) appeared(ctx context.Context, char byte, n int) (time.Time, error) {
	for {
		shown, more := s.seen(n)
		for _, g := range shown {
			if g.char == char {
				return g.at, nil
			}
		}
		select {
		case <-more:
		case <-s.ended:
			return time.Time{}, fmt.Errorf("ended: %w", s.err)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}
