package page_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/folder"
	"tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// copies are some in every stage, after half a minute of scripted work.
func copies(t *testing.T) *background.Transfers {
	t.Helper()
	transfers := background.NewTransfers(func(ctx context.Context, j background.Job, item string, c background.Copying) (folder.Summary, error) {
		const size = 100_000_000
		switch item {
		case "report\x1b[2J.pdf":
			_, err := c.Decide(ctx, background.Conflict{Path: item, There: background.Entry{Size: 5}, New: background.Entry{Size: 5_000}})
			return folder.Summary{}, err
		case "gone":
			return folder.Summary{Failed: 1}, &session.Error{Op: "get", Kind: session.Unavailable, Text: "the peer is away", Hint: "Try again when it is back."}
		case "done":
			return folder.Summary{Files: 12, Bytes: size, Wire: size / 8, Same: 3, Skipped: 1}, nil
		}
		for done := int64(0); ctx.Err() == nil; done += 100_000 * (10 + done/1_000_000%7) {
			c.Progress(folder.Progress{Files: 40, FilesDone: int(done * 40 / size), Bytes: size, BytesDone: min(done, size-1), Wire: done / 3, Current: "photos/2026/\u202e" + item})
			select {
			case <-time.After(time.Second / 2):
			case <-ctx.Done():
			}
		}
		return folder.Summary{}, ctx.Err()
	})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go transfers.Run(ctx)
	job := func(put bool, item string) int {
		return transfers.Add(background.Job{Peer: tuitest.ID(1).String(), Alias: "anna", Share: "project", Put: put, From: "docs", To: "/home/ada", Items: []string{item}})
	}
	paused := job(true, "backup.tar")
	job(false, "done")
	job(false, "gone")
	time.Sleep(30*time.Second + 100*time.Millisecond)
	transfers.Pause(paused)
	time.Sleep(time.Second)
	job(false, "photos")
	job(true, "report\x1b[2J.pdf")
	job(true, "later")
	time.Sleep(30*time.Second + 100*time.Millisecond)
	return transfers
}

func TestTransfersGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transfers := copies(t)
		tuitest.Page(t, "transfers", func(look theme.Theme) page.Page {
			b := tuitest.Busy()
			env := tuitest.Env(t, b, look)
			env.Transfers = transfers
			return withLanes(t, b, page.NewTransfers(env, page.Subject{}))
		})
	})
}

// withLanes lets a page see for a while what two lanes carry.
func withLanes(t *testing.T, b *tuitest.Backend, p page.Page) page.Page {
	t.Helper()
	began := time.Now()
	for i := range 20 {
		b.Script(func(a *tuitest.Answers) {
			a.Peers = slices.Clone(a.Peers)
			end := session.Endpoint{Type: "host", Protocol: "udp", Addr: netip.MustParseAddrPort("192.0.2.44:40001")}
			a.Peers[0].Lanes = []session.Lane{
				{Kind: session.PacketLane, Remote: end, Since: began, RTT: 12 * time.Millisecond, Received: uint64(i * (i%5 + 20) * 2_000)},
				{Kind: session.TCPLane, Remote: end, Since: began.Add(time.Second), Received: uint64(i * 30_000)},
			}
		})
		_, cmd := p.Update(page.Tick{})
		if cmd == nil {
			t.Fatal("nobody asks for the lanes of what is being copied")
		}
		p, _ = p.Update(cmd())
		time.Sleep(time.Second / 50)
	}
	return p
}

// TestTransfersKeys: copies are paused, resumed, tried again, stopped and answered
// by keys, and the verb under the cursor is the one to copy by.
func TestTransfersKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transfers := copies(t)
		env := tuitest.Env(t, tuitest.Busy(), tuitest.None())
		env.Transfers = transfers
		p := page.NewTransfers(env, page.Subject{})
		p.SetSize(80, 40)
		stage := func(i int) background.Stage {
			time.Sleep(time.Second)
			p, _ = p.Update(page.Transferred{List: transfers.List()})
			return transfers.List()[i].Stage
		}
		up := tea.KeyMsg{Type: tea.KeyUp}
		p = press(p, tea.KeyMsg{Type: tea.KeyEnd}, runes("p")) // the oldest
		if got := stage(0); got != background.Waiting {        // two others run
			t.Errorf("resumed: %v", got)
		}
		p = press(p, runes("x"))
		if got := stage(0); got != background.Stopped {
			t.Errorf("stopped: %v", got)
		}
		p = press(p, up, up, runes("r"))
		if got := stage(2); got != background.Waiting && got != background.Failed {
			t.Errorf("tried again: %v", got)
		}
		p = press(p, up, runes("p"))
		if got := stage(3); got != background.Paused {
			t.Errorf("paused: %v", got)
		}
		p, cmd := p.Update(up)
		if v, _ := cmd().(page.Verb); v.Text != "tandem put 'report\ufffd[2J.pdf' anna:project/home/ada/" {
			t.Errorf("verb %q", v.Text)
		}
		p = press(p, runes("y"))
		if got := stage(4); got != background.Done {
			t.Errorf("answered: %v", got)
		}
		p = press(p, runes("c"))
		stage(0)
		for _, s := range transfers.List() {
			if s.Stage.Ended() {
				t.Errorf("%v is still there", s.Items)
			}
		}
		if view := p.View(); strings.Contains(view, "\u202e") {
			t.Error(view)
		}
	})
}
