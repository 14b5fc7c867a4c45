//go:build linux || darwin

package page_test

import (
	"context"
	"encoding/json"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// told is what anna's machine tells.
func told() facts.Facts {
	return facts.Facts{
		Time: tuitest.Now(), Hostname: "anna-desk\x1b[2J", OS: facts.OS{Name: "linux", Platform: "debian", Version: "13.1", Kernel: "6.12.1", Arch: "x86_64"},
		Uptime: 273_000, Load: [3]float64{1.5, 0.75, 0.5}, CPU: facts.CPU{Cores: 8, Busy: 2.5},
		Memory: facts.Memory{Total: 16e9, Available: 5e9, SwapTotal: 2e9, SwapUsed: 1e8},
		Disks:  []facts.Disk{{Mount: "/", Type: "ext4", Total: 100e9, Free: 4e9}, {Mount: "/home", Type: "ext4", Total: 500e9, Free: 300e9}},
		Processes: facts.Processes{Count: 312, Top: []facts.Process{
			{PID: 1, Name: "compiler\u202e", User: "anna", CPU: 1.2, Memory: 9e8}, {PID: 7, Name: "editor", User: "anna", CPU: 0.1, Memory: 2e8},
		}},
		Users:  []facts.User{{Name: "anna", Terminal: "tty1", Since: tuitest.Now()}},
		Reboot: facts.Reboot{Pending: true, Why: []string{"a new kernel waits"}}, Unknown: []string{"cpu"},
		Addresses: []facts.Address{{Interface: "eth0", Address: "192.0.2.7/24"}},
	}
}

// surveyable is a backend whose anna tells her facts, whose build server refuses
// to, and where programs run.
func surveyable(t *testing.T) *tuitest.Backend {
	commands := command.New(command.Config{Dir: t.TempDir()})
	t.Cleanup(func() { _ = commands.Close() })
	run := sessiontest.Serve(commands)
	_, guest := sessiontest.Pair(t, func(ctx context.Context, o session.Offer) {
		if o.Header().Service != facts.ServiceName {
			run(ctx, o)
			return
		}
		if s, err := o.Accept(); err == nil {
			_ = json.NewEncoder(s).Encode(told())
			_ = s.Close()
		}
	}, nil)
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
		if peer == tuitest.ID(2).String() && h.Service == facts.ServiceName {
			return nil, session.Errorf("facts", session.Denied, "you have not been granted that")
		}
		return guest.Open(ctx, h)
	}
	return b
}

func TestMachineGolden(t *testing.T) {
	b := surveyable(t)
	anna := page.Subject{Peer: b.Has.Peers[0]}
	tuitest.Page(t, "machine", func(look theme.Theme) page.Page {
		return initialised(page.NewMachine(tuitest.Env(t, b, look), anna))
	})
	tuitest.Page(t, "machines", func(look theme.Theme) page.Page {
		return initialised(page.NewMachine(tuitest.Env(t, b, look), page.Subject{}))
	})
	tuitest.Page(t, "machine-refused", func(look theme.Theme) page.Page {
		return initialised(page.NewMachine(tuitest.Env(t, b, look), page.Subject{Peer: b.Has.Peers[1]}))
	})
}

func TestMachineRunsAProgram(t *testing.T) {
	b := surveyable(t)
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewMachine(env, page.Subject{}) })
	f.Wait("this machine", "anna", "debian", "have not been granted")
	f.Keys("down", " ", " ", "x").Wait("run").Keys("enter")
	says(f, w, page.Toast{Text: "a program is missing", Level: page.Warn})
	f.Keys(`["sh", "-c", "seq 60 >&2; exit 3"]`, "enter")
	ticking(f, "exit 3", " 60 ")
	verb := page.Verb{Text: `tandem exec anna build-server -- sh -c 'seq 60 >&2; exit 3'`}
	says(f, w, verb)
	f.Keys("enter").Wait("anna  exit 3", "\n 17 ").Keys("end").Wait(" 60 ").Keys("home").Wait(" 1 ").Keys("esc", "esc").Wait("debian")
	f.Keys("o").Wait("exit 3").Keys("esc")

	// One that fails, one that is stopped, and one that ends with its page.
	f.Keys("x", "ctrl+u", "tandem-no-such-program", "enter")
	ticking(f, "exit 127")
	f.Keys("x", "ctrl+u", "sleep 1000", "enter")
	ticking(f, "runs on 2 machines still")
	f.Keys("s")
	ticking(f, "failed")
	f.Gone("runs on")
}

func TestMachineLeavesNothingBehind(t *testing.T) {
	b := surveyable(t)
	var p page.Page
	f, _ := run(t, b, func(env page.Env) page.Page {
		p = page.NewMachine(env, page.Subject{Peer: b.Has.Peers[0]})
		return p
	})
	f.Wait("compiler").Keys("x", "sleep 1000", "enter")
	ticking(f, "runs on 1 machine still")
	f.Send(closing{})
	if p.(page.Closer).Close() != nil {
		t.Error("closing has something to say")
	}
	ticking(f, "failed")
}

// closing is no message for anybody.
type closing struct{}

func TestMachineHostileOutput(t *testing.T) {
	b := surveyable(t)
	f, _ := run(t, b, func(env page.Env) page.Page {
		return page.NewMachine(env, page.Subject{Peer: node.PeerStatus{Peer: session.Peer{ID: tuitest.ID(1)}, Alias: "anna"}})
	})
	f.Wait("compiler").Keys("x", `["printf", "a\\033[2Jb\\u202ec\\tx\\nlast\\r\\n"]`, "enter")
	ticking(f, "done", "last")
	f.Keys("enter").Wait("a\ufffd[2Jb\ufffdc        x")
}
