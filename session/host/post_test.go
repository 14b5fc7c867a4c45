package host

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what should happen; nothing depends on how soon.
const soon = 30 * time.Second

// town is a signaling server in memory, which may lie about everything.
type town struct {
	mu        sync.Mutex
	boxes     map[string]*box   // by mailbox
	plates    map[string]string // mailboxes by nameplate
	down      bool
	intercept func(letterOnItsWay) []letterOnItsWay
	carried   []letterOnItsWay
}

// letterOnItsWay is a letter as its carrier sees it.
type letterOnItsWay struct {
	From, To string
	Body     []byte
}

func newTown() *town {
	return &town{boxes: make(map[string]*box), plates: make(map[string]string)}
}

// carry makes the town treat every letter by f: what f returns is delivered.
func (w *town) carry(f func(letterOnItsWay) []letterOnItsWay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = f
}

// letters are all there have been.
func (w *town) letters() []letterOnItsWay {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]letterOnItsWay(nil), w.carried...)
}

// plate lets number stand for mailbox.
func (w *town) plate(number, mailbox string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plates["nameplate/"+number] = mailbox
}

// box is the Post of one mailbox.
type box struct {
	town    *town
	name    string
	letters chan Letter
}

// open claims a mailbox; a later claim of the same one replaces it.
func (w *town) open(name string) *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &box{town: w, name: name, letters: make(chan Letter, 64)}
	w.boxes[name] = b
	return b
}

// leave closes the mailbox.
func (b *box) leave() {
	b.town.mu.Lock()
	defer b.town.mu.Unlock()
	if b.town.boxes[b.name] == b {
		delete(b.town.boxes, b.name)
	}
}

func (b *box) Send(ctx context.Context, _, to string, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := b.town
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return session.Errorf("send", session.Unavailable, "the server is down")
	}
	if mailbox, ok := w.plates[to]; ok {
		to = mailbox
	}
	if w.boxes[to] == nil {
		return session.Errorf("send", session.NotFound, "nobody has that mailbox open")
	}
	l := letterOnItsWay{b.name, to, bytes.Clone(body)}
	w.carried = append(w.carried, l)
	all := []letterOnItsWay{l}
	if w.intercept != nil {
		all = w.intercept(l)
	}
	for _, l := range all {
		w.drop(l)
	}
	return nil
}

// drop puts a letter into its box, if there is room. The lock is held.
func (w *town) drop(l letterOnItsWay) {
	if box := w.boxes[l.To]; box != nil {
		select {
		case box.letters <- Letter{Server: "town", From: l.From, Body: l.Body}:
		default:
		}
	}
}

// inject delivers a letter of the town's own making, waiting for room.
func (w *town) inject(ctx context.Context, l letterOnItsWay) error {
	w.mu.Lock()
	box := w.boxes[l.To]
	w.mu.Unlock()
	if box == nil {
		return session.Errorf("inject", session.NotFound, "no such box")
	}
	select {
	case box.letters <- Letter{Server: "town", From: l.From, Body: l.Body}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *box) Receive(ctx context.Context) (Letter, error) {
	select {
	case l := <-b.letters:
		return l, nil
	case <-ctx.Done():
		return Letter{}, ctx.Err()
	}
}

// resident is a host in a town.
type resident struct {
	*Host
	t       testing.TB
	town    *town
	box     *box
	device  *identity.Device
	book    *identity.Book
	grants  *grant.Table
	service *recorder
	// stop closes the mailbox and then the host; stopPolitely begins with the
	// host.
	stop, stopPolitely func()
}

// recorder is a service that records what reached it, and echoes bytes until
// its stream ends.
type recorder struct {
	name string

	mu     sync.Mutex
	served []session.Header
	ended  []error
	active int
	change chan struct{}
}

func newRecorder(name string) *recorder {
	return &recorder{name: name, change: make(chan struct{})}
}

func (r *recorder) Name() string { return r.name }

func (r *recorder) Serve(ctx context.Context, o session.Offer) error {
	r.note(func() { r.served = append(r.served, o.Header()); r.active++ })
	stream, err := o.Accept()
	if err == nil {
		buf := make([]byte, 1024)
		for err == nil {
			var n int
			if n, err = stream.Read(buf); n > 0 {
				_, err = stream.Write(buf[:n])
			}
		}
		_ = stream.Close()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	r.note(func() { r.ended = append(r.ended, err); r.active-- })
	return nil
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.change)
	r.change = make(chan struct{})
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.served)
}

// await waits until ok of the recorder.
func (r *recorder) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(soon)
	for {
		r.mu.Lock()
		done, change := ok(), r.change
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-change:
		case <-timeout:
			t.Fatal("never: ", what)
		}
	}
}

type option func(*Config)

func hasty(p patience) option { return func(c *Config) { c.patience = p } }

// settleIn makes a host of its own device in the town.
func settleIn(t testing.TB, w *town, name string, options ...option) *resident {
	t.Helper()
	device, err := identity.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return moveIn(t, w, device, home(t), name+"-mailbox", options...)
}

// home is a folder for one device.
func home(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "home") // made by whoever comes first, for its user alone
}

// moveIn makes a host of a device, with the given home and mailbox.
func moveIn(t testing.TB, w *town, device *identity.Device, home, mailbox string, options ...option) *resident {
	t.Helper()
	book, err := identity.OpenBook(filepath.Join(home, "peers"))
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := pairing.OpenLedger(filepath.Join(home, "invites"))
	if err != nil {
		t.Fatal(err)
	}
	r := &resident{
		t: t, town: w, box: w.open(mailbox), device: device, book: book,
		grants: &grant.Table{}, service: newRecorder("test/1"),
	}
	log := slog.New(slog.DiscardHandler)
	cfg := Config{
		Device: device, Book: book, Post: r.box, Ledger: ledger, Log: log,
		Contact: func() identity.Contact { return device.Contact(mailbox, nil) },
		Handler: NewDispatcher(DispatcherConfig{Authorizer: r.grants, Log: log, Services: []session.Service{r.service}}).Handle,
		Link:    link.Config{Nonces: new(link.Nonces)},
	}
	for _, o := range options {
		o(&cfg)
	}
	r.Host = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) }) // ends with ctx
	var once sync.Once
	end := func(politely bool) {
		once.Do(func() {
			r.grants.Close()
			if !politely {
				r.box.leave()
			}
			if err := r.Close(); err != nil {
				t.Error("close: ", err)
			}
			r.box.leave()
			cancel()
			running.Wait()
		})
	}
	r.stop = func() { end(false) }
	r.stopPolitely = func() { end(true) }
	t.Cleanup(r.stop)
	return r
}

// right is what guests are granted unless a test says otherwise.
var right = grant.Right{Service: "test/1", Resource: "thing", Actions: []string{"use"}}

// invite opens an invite that lets everybody in.
func (r *resident) invite(change ...func(*InviteConfig)) *Invite {
	r.t.Helper()
	number := "4821"
	cfg := InviteConfig{
		Nameplate: number,
		Admit: func(_ context.Context, p session.Peer) ([]grant.Right, error) {
			_, err := r.grants.Give(p.ID, []grant.Right{right}, 0)
			return []grant.Right{right}, err
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	i, err := r.Invite(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.town.plate(number, r.box.name)
	return i
}

// join joins with a code or link.
func (r *resident) join(code string) (*Joined, error) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	return r.joinWithin(ctx, code)
}

func (r *resident) joinWithin(ctx context.Context, code string) (*Joined, error) {
	ticket, err := pairing.Parse(code)
	if err != nil {
		return nil, err
	}
	return r.Join(ctx, ticket, Where{}, nil)
}

// mustJoin joins and fails the test if that does not work.
func (r *resident) mustJoin(code string) *Joined {
	r.t.Helper()
	j, err := r.join(code)
	if err != nil {
		r.t.Fatal("join: ", err)
	}
	return j
}

// echo opens the granted thing over s and has one message echoed.
func echo(t testing.TB, s session.Session) session.Stream {
	t.Helper()
	stream := use(t, s)
	if _, err := stream.Write([]byte("hello")); err != nil {
		t.Fatal("write: ", err)
	}
	buf := make([]byte, 5)
	if _, err := stream.Read(buf); err != nil || string(buf) != "hello" {
		t.Fatalf("read %q: %v", buf, err)
	}
	return stream
}

// use opens the granted thing.
func use(t testing.TB, s session.Session) session.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	stream, err := s.Open(ctx, session.Header{Service: right.Service, Resource: right.Resource, Action: right.Actions[0]})
	if err != nil {
		t.Fatal("open: ", err)
	}
	_ = stream.SetDeadline(time.Now().Add(soon))
	return stream
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// empty reports whether a host keeps nothing of anybody.
func (r *resident) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)+len(r.dials)+len(r.conversations)+len(r.inbound)+len(r.guests)+len(r.joins) == 0
}
