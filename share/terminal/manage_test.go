//go:build linux || darwin

package terminal

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

// meeting is a service with the host's own person and two guests.
type meeting struct {
	*Service
	host, bob, carol session.Session

	mu    sync.Mutex
	asked []session.Peer
}

func meet(t *testing.T, config Config) *meeting {
	t.Helper()
	m := &meeting{}
	if config.Argv == nil {
		config.Argv = []string{"/bin/sh"}
	}
	config.Env = append(config.Env, "PS1=$ ", "HISTFILE=/dev/null")
	config.Dir = t.TempDir()
	config.Asked = func(_ string, _ uint64, peer session.Peer) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.asked = append(m.asked, peer)
	}
	m.Service = New(config)
	// Who opens is the second; the service sees it as bob or as somebody else.
	_, m.host = sessiontest.Pair(t, sessiontest.Serve(as{m.Desk(), sessiontest.Peer("alice")}), nil)
	_, m.bob = sessiontest.Pair(t, sessiontest.Serve(m.Service), nil)
	_, m.carol = sessiontest.Pair(t, sessiontest.Serve(as{m.Service, sessiontest.Peer("carol")}), nil)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// as is a service that takes everybody for one peer.
type as struct {
	session.Service
	peer session.Peer
}

func (a as) Serve(ctx context.Context, o session.Offer) error {
	return a.Service.Serve(ctx, from{o, a.peer})
}

type from struct {
	session.Offer
	peer session.Peer
}

func (f from) Peer() session.Peer { return f.peer }

func (m *meeting) change(t *testing.T, do Do) Info {
	t.Helper()
	info, err := Change(t.Context(), m.host.Open, "", do)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// awaits waits until the newest roster a viewer has is as wished.
func (w *watcher) awaits(what string, ok func(Roster) bool) {
	w.t.Helper()
	w.until("a roster where "+what, func() bool { return ok(rosterOf(w.events)) })
}

// viewerOf is the viewer of that number, or nobody.
func viewerOf(viewers []Viewer, number uint64) Viewer {
	i := slices.IndexFunc(viewers, func(v Viewer) bool { return v.Viewer == number })
	if i < 0 {
		return Viewer{}
	}
	return viewers[i]
}

// right is what the newest roster says the viewer may do.
func (w *watcher) right() Right { return viewerOf(rosterOf(w.events).Viewers, w.welcome.Viewer).Right }

func (w *watcher) becomes(r Right) {
	w.t.Helper()
	w.until("its right: "+string(r), func() bool { return w.right() == r })
}

// TestRightsChangeLive: the host gives a guest who may only watch the right to
// type, and takes it back from one who was granted it; both hold for what
// is typed from then on, whatever the guest does.
func TestRightsChangeLive(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	watching := attach(t, m.bob, Request{Right: View, Params: Params{Size: Size{60, 20}}})
	watching.becomes(View)

	m.change(t, Do{What: DoRight, Viewer: watching.welcome.Viewer, Right: Control})
	watching.becomes(Control)
	host.until("the size", func() bool { return has(host.events, Size{60, 20}) })
	watching.types("echo typed-b''y-bob\n")
	host.sees("typed-by-bob")
	host.until("that bob types", func() bool { return slices.Contains(host.events, Event(Typing(watching.welcome.Viewer))) })

	info := m.change(t, Do{What: DoRight, Viewer: watching.welcome.Viewer, Right: View})
	if v := viewerOf(info.Viewers, watching.welcome.Viewer); v.Right != View || v.Typed == 0 {
		t.Errorf("bob is listed as %+v", v)
	}
	watching.becomes(View)
	host.until("the size", func() bool { return m.Terminals()[0].Size == size80 })
	// What is under way has no effect, and no consequence; credit comes back.
	for range 3 {
		watching.types(strings.Repeat("echo ow''ned\n", InputWindow/26))
	}
	if err := watching.Resize(Size{10, 10}); err != nil {
		t.Fatal(err)
	}
	if err := watching.End(); err != nil {
		t.Fatal(err)
	}
	host.types("echo sti''ll here\n")
	host.sees("still here")
	watching.sees("still here")
	if strings.Contains(string(host.seen()), "owned") || m.Terminals()[0].Size != size80 {
		t.Errorf("a viewer without the right had an effect: %v, %.300q", m.Terminals()[0].Size, host.seen())
	}

	// Promotion was for the attachment: another one may not type.
	m.change(t, Do{What: DoRight, Viewer: watching.welcome.Viewer, Right: Control})
	watching.becomes(Control)
	again := attach(t, m.bob, Request{Right: View})
	again.becomes(View)
	if _, err := again.st.Write(appendFrame(nil, input("x"))); err != nil {
		t.Fatal(err)
	}
	if err := again.fails(); session.KindOf(err) != session.Denied {
		t.Errorf("a viewer typed by another's right: %v", err)
	}
}

// TestTakenRightStaysTaken: who was granted typing and had it taken back does
// not get it by attaching anew or
// in another window.
func TestTakenRightStaysTaken(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	bob := attach(t, m.bob, Request{Params: Params{Size: size80}})
	second := attach(t, m.bob, Request{Params: Params{Size: size80}})
	carol := attach(t, m.carol, Request{Params: Params{Size: size80}})
	for _, w := range []*watcher{bob, second, carol} {
		w.becomes(Control)
	}
	m.change(t, Do{What: DoRight, Viewer: bob.welcome.Viewer, Right: View})
	bob.becomes(View)
	second.becomes(View)
	carol.becomes(Control)
	late := attach(t, m.bob, Request{Params: Params{Size: size80}})
	late.until("the welcome", func() bool { return late.welcome.Right == View })
	resumed := attach(t, m.bob, Request{Params: Params{Resume: &Resume{bob.welcome.Terminal, bob.welcome.Offset}}})
	resumed.until("the welcome", func() bool { return resumed.welcome.Right == View })

	m.change(t, Do{What: DoRight, Viewer: late.welcome.Viewer, Right: Control})
	for _, w := range []*watcher{bob, second, late} {
		w.becomes(Control)
	}
}

// TestNoEndOfInputWithoutTheRight: a viewer that has ended its input and then
// lost the right to type no longer types end-of-file.
func TestNoEndOfInputWithoutTheRight(t *testing.T) {
	m := meet(t, Config{Argv: []string{"/bin/sh", "-c", "stty raw -echo; echo ready; cat -v"}})
	bob := attach(t, m.bob, Request{})
	bob.sees("ready")
	if err := bob.End(); err != nil {
		t.Fatal(err)
	}
	bob.sees("^D") // again and again
	m.change(t, Do{What: DoRight, Viewer: bob.welcome.Viewer, Right: View})
	bob.becomes(View)
	before := m.Terminals()[0].Output
	time.Sleep(3 * endEvery)
	if now := m.Terminals()[0].Output; now > before+2 { // one may have been on its way
		t.Errorf("%d bytes were printed for a viewer without the right to type", now-before)
	}
}

func TestKick(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	bob := attach(t, m.bob, Request{Params: Params{Size: size80}})
	watching := attach(t, m.bob, Request{Right: View})
	carol := attach(t, m.carol, Request{Params: Params{Size: size80}})
	bob.becomes(Control)
	watching.becomes(View)
	carol.becomes(Control)
	info := m.change(t, Do{What: DoKick, Viewer: bob.welcome.Viewer})
	if len(info.KeptOut) != 1 || info.KeptOut[0].ID != sessiontest.Peer("bob").ID {
		t.Errorf("kept out: %v", info.KeptOut)
	}
	for _, w := range []*watcher{bob, watching} {
		if err := w.fails(); session.KindOf(err) != session.Denied {
			t.Errorf("a kicked viewer hears %v", err)
		}
	}
	for name, r := range map[string]Request{
		"control": {}, "view": {Right: View}, "resume": {Params: Params{Resume: &Resume{bob.welcome.Terminal, 0}}},
	} {
		w := attach(t, m.bob, r)
		if err := w.fails(); session.KindOf(err) != session.Denied {
			t.Errorf("a kicked peer came back by %s: %v", name, err)
		}
	}
	carol.types("echo sti''ll here\n")
	host.sees("still here")

	m.change(t, Do{What: DoLetBack, Peer: sessiontest.Peer("bob").ID})
	back := attach(t, m.bob, Request{})
	back.becomes(Control)

	for name, do := range map[string]Do{
		"one's own window": {What: DoKick, Viewer: host.welcome.Viewer},
		"nobody":           {What: DoKick, Viewer: 99},
		"no right":         {What: DoRight, Viewer: back.welcome.Viewer, Right: "own"},
		"not kept out":     {What: DoLetBack, Peer: sessiontest.Peer("carol").ID},
		"huge pin":         {What: DoPin, Size: Size{65535, 65535}},
		"nothing":          {},
	} {
		if _, err := Change(t.Context(), m.host.Open, "", do); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if _, err := Change(t.Context(), m.host.Open, "elsewhere", Do{What: DoEnd}); session.KindOf(err) != session.NotFound {
		t.Errorf("a terminal that is not there: %v", err)
	}
	m.change(t, Do{What: DoEnd})
	if got := host.exits(); got.Reason == "" {
		t.Errorf("%+v", got)
	}
}

func TestAskingToType(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	bob := attach(t, m.bob, Request{Right: View})
	bob.becomes(View)
	number := bob.welcome.Viewer
	asks := func(want bool) {
		t.Helper()
		host.awaits("bob asks, or not", func(r Roster) bool { return viewerOf(r.Viewers, number).Asks != 0 == want })
	}
	if err := bob.Ask(); err != nil {
		t.Fatal(err)
	}
	asks(true)
	m.change(t, Do{What: DoRight, Viewer: number, Right: View})
	asks(false)
	bob.becomes(View)
	if err := bob.Ask(); err != nil {
		t.Fatal(err)
	}
	asks(true)
	m.change(t, Do{What: DoRight, Viewer: number, Right: Control})
	asks(false)
	bob.becomes(Control)
	_ = bob.Ask() // has it already
	bob.types("echo typed-b''y-bob\n")
	host.sees("typed-by-bob")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.asked) != 2 || m.asked[0].ID != sessiontest.Peer("bob").ID {
		t.Errorf("the host heard %v", m.asked)
	}
}

func TestPinnedSize(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	m.change(t, Do{What: DoPin, Size: Size{100, 30}})
	small := attach(t, m.bob, Request{Params: Params{Size: Size{40, 10}}})
	small.until("the welcome", func() bool { return small.welcome.Size == Size{100, 30} })
	small.awaits("the size is pinned", func(r Roster) bool { return r.Pinned })
	if err := small.Resize(Size{50, 10}); err != nil {
		t.Fatal(err)
	}
	host.awaits("bob has another size", func(r Roster) bool { return viewerOf(r.Viewers, small.welcome.Viewer).Size == Size{50, 10} })
	if got := m.Terminals()[0].Size; got != (Size{100, 30}) {
		t.Errorf("pinned, and %v", got)
	}
	m.change(t, Do{What: DoPin})
	host.until("the size", func() bool { return has(host.events, Size{50, 10}) })
	_ = small.Close()
	host.until("the size", func() bool { return has(host.events, size80) })
}

// TestOnlyTheHostManages is for those whose grant would even let them try.
func TestOnlyTheHostManages(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	bob := attach(t, m.bob, Request{Right: View, Params: Params{Size: Size{20, 5}}})
	bob.becomes(View)
	for _, do := range []Do{
		{What: DoRight, Viewer: bob.welcome.Viewer, Right: Control},
		{What: DoKick, Viewer: host.welcome.Viewer},
		{What: DoPin, Size: Size{10, 10}},
		{What: DoLetBack, Peer: sessiontest.Peer("bob").ID},
		{What: DoEnd},
	} {
		if _, err := Change(t.Context(), m.bob.Open, "", do); session.KindOf(err) != session.Denied {
			t.Errorf("a guest's %q: %v", do.What, err)
		}
	}
	host.awaits("nothing has changed", func(r Roster) bool {
		return viewerOf(r.Viewers, bob.welcome.Viewer).Right == View && viewerOf(r.Viewers, host.welcome.Viewer).Host && !viewerOf(r.Viewers, bob.welcome.Viewer).Host
	})
	if info := m.Terminals()[0]; info.Size != size80 || info.Exit != nil {
		t.Errorf("%+v", info)
	}
}

// TestTerminalsOfOnesOwn: what the host's person opens beside the share is
// nobody else's; what guests make is the share's.
func TestTerminalsOfOnesOwn(t *testing.T) {
	m := meet(t, Config{})
	own := attach(t, m.host, Request{Name: "private"})
	own.sees("$ ")
	for name, r := range map[string]Request{
		"control": {Params: Params{Named: "private"}}, "view": {Right: View, Params: Params{Named: "private"}},
		"resume": {Params: Params{Resume: &Resume{own.welcome.Terminal, 0}}},
		"argv":   {Params: Params{Named: "private", Argv: []string{"/bin/sh"}}},
	} {
		w := attach(t, m.bob, r)
		if err := w.fails(); session.KindOf(err) != session.Denied && session.KindOf(err) != session.NotFound {
			t.Errorf("a guest reached a private terminal by %s: %v", name, err)
		}
	}
	build := attach(t, m.bob, Request{Params: Params{Named: "build"}})
	build.until("the welcome", func() bool { return build.welcome.Name == "build" && build.welcome.Made })
	carol := attach(t, m.carol, Request{Right: View, Params: Params{Named: "build"}})
	carol.becomes(View)
	host := attach(t, m.host, Request{Name: "build"})
	host.awaits("three are there", func(r Roster) bool { return len(r.Viewers) == 3 })

	names := func(s session.Session, resource string) (names []string) {
		t.Helper()
		infos, err := List(t.Context(), s.Open, resource)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			names = append(names, i.Name)
		}
		return names
	}
	if got := names(m.host, ""); !slices.Equal(got, []string{"private", "build"}) {
		t.Errorf("the host's list has %q", got)
	}
	if got := names(m.carol, ""); !slices.Equal(got, []string{"build"}) {
		t.Errorf("a guest's list has %q", got)
	}
	if got := names(m.carol, "private"); !slices.Equal(got, []string{"private"}) {
		t.Errorf("the list of who was granted that one has %q", got)
	}
	infos, err := List(t.Context(), m.bob.Open, "")
	if err != nil || len(infos[0].Viewers) != 3 || infos[0].Program == "" || infos[0].Owner != sessiontest.Peer("bob").ID {
		t.Errorf("%+v, %v", infos, err)
	}
}

func TestPinnedShare(t *testing.T) {
	m := meet(t, Config{Argv: []string{"/bin/sh"}})
	if err := m.Pin([]string{"tandem-no-such-command"}); session.KindOf(err) != session.NotFound {
		t.Errorf("a missing program is pinned: %v", err)
	}
	if err := m.Pin([]string{"/bin/cat"}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Request{
		"argv": {Params: Params{Argv: []string{"/bin/sh"}}}, "a name": {Params: Params{Named: "x"}}, "a resource": {Name: "x"},
		"both": {Params: Params{Named: "x", Argv: []string{"/bin/sh"}}},
	} {
		w := attach(t, m.bob, r)
		if err := w.fails(); session.KindOf(err) != session.Denied {
			t.Errorf("a guest started something by %s: %v", name, err)
		}
	}
	w := attach(t, m.bob, Request{})
	w.types("echo $((6*7))\n")
	w.sees("$((6*7))\r\necho $((6*7))\r\n")
	if err := m.Pin([]string{"/bin/cat"}); session.KindOf(err) != session.Exists {
		t.Errorf("pinned while it runs: %v", err)
	}
}

// TestLatency: the roster tells how far away each viewer is.
func TestLatency(t *testing.T) {
	const delay = 20 * time.Millisecond
	_, guest := share(t, Config{}, sessiontest.Delay(delay))
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.awaits("the round trip is known", func(r Roster) bool { return viewerOf(r.Viewers, w.welcome.Viewer).RTT >= 2*delay })
	if _, err := w.st.Write(appendFrame(nil, pong(77))); err != nil {
		t.Fatal(err)
	}
	if err := w.fails(); session.KindOf(err) != session.Invalid {
		t.Errorf("an answer to nothing: %v", err)
	}
}

// TestInfoFitsAFrame: the fullest terminal there can be.
func TestInfoFitsAFrame(t *testing.T) {
	name := strings.Repeat("<", session.MaxName)
	peer := session.Peer{ID: sessiontest.Peer("bob").ID, Name: name}
	info := Info{ID: strings.Repeat("0f", 16), Name: name, Size: Size{1000, 1000}, Program: name, Idle: 1 << 62, Output: maxOffset, Exit: &Exit{}}
	for range maxLimits {
		info.KeptOut = append(info.KeptOut, peer)
	}
	for i := range maxViewers {
		info.Viewers = append(info.Viewers, Viewer{
			Viewer: maxOffset + uint64(i), Peer: peer.ID, Name: name, Right: Control, Size: info.Size, Host: true, Asks: 1 << 60,
			RTT: 1 << 62, Typed: 1 << 62,
		})
	}
	if n := len(appendFrame(nil, info)); n > MaxBody {
		t.Errorf("%d bytes", n)
	}
	if encoded, err := json.Marshal(Roster{Viewers: info.Viewers, Answers: maxOffset, Typist: maxOffset}); err != nil || len(encoded) > MaxBody {
		t.Errorf("%d bytes, %v", len(encoded), err)
	}
}
