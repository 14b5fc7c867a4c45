package pairing

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tandem/session"
)

func openLedger(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func createInvite(t *testing.T, l *Ledger, o Options) *Invite {
	t.Helper()
	i, err := NewInvite("4821", hostKey.ID(), noon, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Create(i); err != nil {
		t.Fatal(err)
	}
	return i
}

func TestLedgerCounts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "invites")
	l := openLedger(t, dir)
	i := createInvite(t, l, Options{})
	wantKind(t, l.Create(i), session.Exists)
	for left := 2; left >= 0; left-- {
		// A restart between any two attempts gives none of them back.
		l = openLedger(t, dir)
		if got, err := l.SpendAttempt(i.id, noon); err != nil || got != left {
			t.Fatalf("left %d, %v; want %d", got, err, left)
		}
	}
	_, err := openLedger(t, dir).SpendAttempt(i.id, noon)
	wantKind(t, err, session.Denied)
	if err := l.SpendUse(i.id, noon); err != nil {
		t.Fatal(err)
	}
	wantKind(t, openLedger(t, dir).SpendUse(i.id, noon), session.Denied)
	_, err = l.SpendAttempt(InviteID{9}, noon)
	wantKind(t, err, session.NotFound)

	// One success ends an invite that has attempts left.
	j := createInvite(t, l, Options{})
	if err := l.SpendUse(j.id, noon); err != nil {
		t.Fatal(err)
	}
	_, err = openLedger(t, dir).SpendAttempt(j.id, noon)
	wantKind(t, err, session.Denied)
}

// The file is on the disk before SpendAttempt returns, in the form the package
// comment gives.
func TestLedgerGolden(t *testing.T) {
	dir := t.TempDir()
	l := openLedger(t, dir)
	i := createInvite(t, l, Options{})
	if _, err := l.SpendAttempt(i.id, noon.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := l.SpendUse(i.id, noon.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := l.Kill(i.id, noon.Add(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, i.id.String()+".invite")
	data, err := os.ReadFile(path)
	const want = `{"attempts":3,"uses":1,"made":"2026-01-02T12:00:00Z","expires":"2026-01-02T12:10:00Z"}
attempt 2026-01-02T12:00:01Z
use 2026-01-02T12:00:02Z
dead 2026-01-02T12:00:03Z
`
	if err != nil || string(data) != want {
		t.Errorf("the record is\n%s(%v)", data, err)
	}
	if bytes.Contains(data, []byte(i.words)) {
		t.Error("the code is in the ledger")
	}
	if err := l.Kill(i.id, noon); err != nil {
		t.Errorf("killed twice: %v", err)
	}
	if err := l.Kill(InviteID{7}, noon); err != nil {
		t.Errorf("killed what is not there: %v", err)
	}
}

// Setting the clock back does not bring back what has been seen to expire.
func TestLedgerClock(t *testing.T) {
	dir := t.TempDir()
	l := openLedger(t, dir)
	i := createInvite(t, l, Options{})
	if _, err := l.SpendAttempt(i.id, noon.Add(10*time.Minute-1)); err != nil {
		t.Fatal(err)
	}
	_, err := l.SpendAttempt(i.id, noon.Add(10*time.Minute))
	wantKind(t, err, session.Expired)
	for _, now := range []time.Time{noon, noon.Add(-time.Hour)} {
		if _, err = openLedger(t, dir).SpendAttempt(i.id, now); err == nil {
			t.Fatalf("alive again at %v", now)
		}
		if err := openLedger(t, dir).SpendUse(i.id, now); err == nil {
			t.Fatalf("usable again at %v", now)
		}
	}
	// A clock that runs back does not write times that run back.
	j := createInvite(t, l, Options{})
	for _, now := range []time.Time{noon.Add(5 * time.Minute), noon.Add(-time.Hour)} {
		if _, err := l.SpendAttempt(j.id, now); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(l.path(j.id))
	if err != nil || strings.Count(string(data), "attempt 2026-01-02T12:05:00Z") != 2 {
		t.Errorf("the record is\n%s(%v)", data, err)
	}
}

// A record that was cut off anywhere, or tampered with, opens nothing that the
// whole one would not.
func TestLedgerDamage(t *testing.T) {
	dir := t.TempDir()
	l := openLedger(t, dir)
	i := createInvite(t, l, Options{})
	if _, err := l.SpendAttempt(i.id, noon); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(l.path(i.id))
	if err != nil {
		t.Fatal(err)
	}
	header := bytes.IndexByte(whole, '\n') + 1
	for cut := range whole {
		if cut == header {
			continue // as if the attempt had never been made; fsync is what prevents that
		}
		if err := os.WriteFile(l.path(i.id), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.SpendAttempt(i.id, noon); session.KindOf(err) != session.Denied {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
	}
	for _, line := range []string{"nonsense\n", "attempt yesterday\n", "\n", "attempt\n"} {
		if err := os.WriteFile(l.path(i.id), append(bytes.Clone(whole), line...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.SpendAttempt(i.id, noon); session.KindOf(err) != session.Denied {
			t.Errorf("with line %q: %v", line, err)
		}
	}
	if err := os.Remove(l.path(i.id)); err != nil {
		t.Fatal(err)
	}
	_, err = l.SpendAttempt(i.id, noon)
	wantKind(t, err, session.NotFound)
	if err := os.Mkdir(l.path(i.id), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err = l.SpendAttempt(i.id, noon); err == nil {
		t.Error("spent from a directory")
	}
}

// The rest of this trust rule: many guests with the right code at once, over
// two ledgers as two processes would have them.
func TestHundredRedemptions(t *testing.T) {
	dir := t.TempDir()
	const guests = 100
	i := createInvite(t, openLedger(t, dir), Options{Uses: 1, Attempts: guests})
	hosts := []*Host{NewHost(hostKey, openLedger(t, dir)), NewHost(hostKey, openLedger(t, dir))}
	for _, h := range hosts {
		if err := h.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	var met, refused atomic.Int32
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(guests)
	for n := range guests {
		h := hosts[n%len(hosts)]
		done.Go(func() {
			g, err := NewGuest(newKey(byte(n+10)), mustParse(t, i.Code()))
			if err != nil {
				t.Error(err)
			}
			// Every guest gets past m2; only then do they all redeem at once.
			m3, ok := untilM3(h, g)
			ready.Done()
			<-start
			if !ok {
				return
			}
			step, err := h.Handle(noon, m3)
			if step.Met != nil {
				met.Add(1)
			} else if _, declined := g.Handle(step.Reply); err != nil && session.KindOf(declined) == session.Denied {
				refused.Add(1)
			}
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	if met.Load() != 1 || refused.Load() != guests-1 {
		t.Errorf("%d met and %d refused, of %d", met.Load(), refused.Load(), guests)
	}
}

func untilM3(h *Host, g *Guest) (m3 []byte, ok bool) {
	for range 2 {
		answer, err := h.Handle(noon, g.Last())
		if err != nil {
			return nil, false
		}
		step, err := g.Handle(answer.Reply)
		if err != nil {
			return nil, false
		}
		if step.Met != nil {
			m3, err = g.Offer(nil)
			return m3, err == nil
		}
	}
	return nil, false
}

// An invite that a restart finds used stays used, code in hand.
func TestDeadAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	i := createInvite(t, openLedger(t, dir), Options{})
	restart := func() *table {
		tb := &table{t: t, invite: i, host: NewHost(hostKey, openLedger(t, dir))}
		if err := tb.host.Add(i); err != nil {
			t.Fatal(err)
		}
		return tb
	}
	tb := restart()
	tb.meet(tb.guest(guestKey, tb.code()), "")
	for range 2 {
		tb = restart()
		g := tb.guest(otherKey, tb.code())
		m1 := take(t, g, tb.handle(g.Last()).Reply).Reply
		step, err := tb.host.Handle(noon, m1)
		wantKind(t, err, session.Denied)
		if step.Counted {
			t.Error("counted an attempt at a dead invite")
		}
		_, err = g.Handle(step.Reply)
		wantKind(t, err, session.Denied)
	}
}

func TestLedgerSweep(t *testing.T) {
	l := openLedger(t, t.TempDir())
	i := createInvite(t, l, Options{})
	stranger := filepath.Join(l.dir, "notes.txt")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	later := noon.Add(40 * 24 * time.Hour)
	if err := os.Chtimes(l.path(i.id), noon, noon); err != nil {
		t.Fatal(err)
	}
	if err := l.Sweep(noon.Add(29 * 24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.path(i.id)); err != nil {
		t.Errorf("swept too early: %v", err)
	}
	if err := l.Sweep(later); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.path(i.id)); err == nil {
		t.Error("not swept")
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error("swept what is not a record")
	}
	_, err := l.SpendAttempt(i.id, noon)
	wantKind(t, err, session.NotFound)
}

// Against a model: whatever is spent, in any order, over restarts and clock
// changes, the ledger never allows more than the model.
func TestLedgerModel(t *testing.T) {
	parent := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(parent, "ledger")
		if err != nil {
			t.Fatal(err)
		}
		l, err := OpenLedger(dir)
		if err != nil {
			t.Fatal(err)
		}
		uses := rapid.IntRange(1, 2).Draw(t, "uses")
		i, err := NewInvite("1", hostKey.ID(), noon, Options{Uses: uses, Attempts: uses + 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Create(i); err != nil {
			t.Fatal(err)
		}
		attempts, dead := uses+1, false
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			now := noon.Add(time.Duration(rapid.IntRange(-5, 11).Draw(t, "minute")) * time.Minute)
			if rapid.Bool().Draw(t, "restart") {
				l = &Ledger{dir: dir}
			}
			late := !now.Before(i.Expires())
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				if err := l.Kill(i.id, now); err != nil {
					t.Fatal(err)
				}
				dead = true
			case 1, 2:
				ok := l.SpendUse(i.id, now) == nil
				if want := !dead && !late && uses > 0; ok != want {
					t.Fatalf("use: %v, want %v", ok, want)
				}
				dead = dead || late
				if ok {
					uses--
				}
			default:
				left, err := l.SpendAttempt(i.id, now)
				if want := !dead && !late && uses > 0 && attempts > 0; (err == nil) != want {
					t.Fatalf("attempt: %v, want %v", err, want)
				}
				dead = dead || late
				if err == nil {
					if attempts--; left != attempts {
						t.Fatalf("left %d, want %d", left, attempts)
					}
				}
			}
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("{\"attempts\":3,\"uses\":1,\"made\":\"2026-01-02T12:00:00Z\",\"expires\":\"2026-01-02T12:10:00Z\"}\nattempt 2026-01-02T12:00:01Z\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parseRecord(data)
		if !r.dead && (r.attempts > r.Attempts || r.uses > r.Uses || len(data) == 0 || data[len(data)-1] != '\n') {
			t.Fatalf("%q gives %+v", data, r)
		}
		// A line more never allows more.
		if more := parseRecord(append(bytes.Clone(data), "attempt 2026-01-02T12:00:01Z\n"...)); !more.dead && r.dead {
			t.Fatalf("%q was dead and is not with a line more", data)
		}
	})
}
