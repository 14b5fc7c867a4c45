package pairing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is a Signer whose seed is made of one byte.
type key struct{ private ed25519.PrivateKey }

func newKey(b byte) key {
	return key{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))}
}

func (k key) ID() session.PeerID         { return session.PeerID(k.private.Public().(ed25519.PublicKey)) }
func (k key) Sign(message []byte) []byte { return ed25519.Sign(k.private, message) }

// memory is a Counter without a disk.
type memory struct {
	mu             sync.Mutex
	attempts, uses map[InviteID]int
}

func newMemory(invites ...*Invite) *memory {
	m := &memory{attempts: map[InviteID]int{}, uses: map[InviteID]int{}}
	for _, i := range invites {
		m.attempts[i.id], m.uses[i.id] = i.attempts, i.uses
	}
	return m
}

func (m *memory) SpendAttempt(id InviteID, _ time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attempts[id] == 0 || m.uses[id] == 0 {
		return 0, errSpent()
	}
	m.attempts[id]--
	return m.attempts[id], nil
}

func (m *memory) SpendUse(id InviteID, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uses[id] == 0 {
		return errSpent()
	}
	m.uses[id]--
	return nil
}

// entropy is a fixed stream of bytes for golden messages.
type entropy struct {
	seed  string
	count int
	rest  []byte
}

func (e *entropy) Read(b []byte) (int, error) {
	for len(e.rest) < len(b) {
		sum := sha512.Sum512(fmt.Appendf(nil, "%s %d", e.seed, e.count))
		e.count++
		e.rest = append(e.rest, sum[:]...)
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func newEntropy(seed string) io.Reader { return &entropy{seed: seed} }

var (
	noon     = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	hostKey  = newKey(1)
	guestKey = newKey(2)
	otherKey = newKey(3)
)

func wantKind(t *testing.T, err error, kind session.Kind) {
	t.Helper()
	if err == nil || session.KindOf(err) != kind {
		t.Fatalf("error = %v (kind %q), want kind %q", err, session.KindOf(err), kind)
	}
}

// table is a host with one invite, and tickets to it.
type table struct {
	t      *testing.T
	host   *Host
	invite *Invite
	count  *memory
}

func newTable(t *testing.T, o Options) *table {
	t.Helper()
	invite, err := NewInvite("4821", hostKey.ID(), noon, o)
	if err != nil {
		t.Fatal(err)
	}
	count := newMemory(invite)
	host := NewHost(hostKey, count)
	if err := host.Add(invite); err != nil {
		t.Fatal(err)
	}
	return &table{t, host, invite, count}
}

func (tb *table) code() *Ticket { return mustParse(tb.t, tb.invite.Code()) }

func (tb *table) link() *Ticket {
	link, err := tb.invite.Link("https://tandem.example")
	if err != nil {
		tb.t.Fatal(err)
	}
	return mustParse(tb.t, link)
}

func mustParse(t *testing.T, s string) *Ticket {
	t.Helper()
	ticket, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func (tb *table) guest(k Signer, ticket *Ticket) *Guest {
	tb.t.Helper()
	g, err := NewGuest(k, ticket)
	if err != nil {
		tb.t.Fatal(err)
	}
	return g
}

func (tb *table) handle(message []byte) HostStep {
	tb.t.Helper()
	step, err := tb.host.Handle(noon, message)
	if err != nil {
		tb.t.Fatal(err)
	}
	return step
}

func take(t *testing.T, g *Guest, message []byte) GuestStep {
	t.Helper()
	step, err := g.Handle(message)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

// meet runs an exchange up to the point where both have met.
func (tb *table) meet(g *Guest, offer string) (atGuest, atHost *Meeting) {
	tb.t.Helper()
	hello := tb.handle(g.Last())
	m1 := take(tb.t, g, hello.Reply)
	m2 := tb.handle(m1.Reply)
	if !m2.Counted {
		tb.t.Fatal("the attempt was not counted")
	}
	atGuest = take(tb.t, g, m2.Reply).Met
	m3, err := g.Offer([]byte(offer))
	if err != nil {
		tb.t.Fatal(err)
	}
	step := tb.handle(m3)
	if step.Met == nil || string(step.Payload) != offer {
		tb.t.Fatalf("the host's step: %+v", step)
	}
	return atGuest, step.Met
}

func TestPairing(t *testing.T) {
	for _, kind := range []Kind{Code, Link} {
		t.Run(kind.String(), func(t *testing.T) {
			tb := newTable(t, Options{})
			ticket := tb.code()
			if kind == Link {
				ticket = tb.link()
			}
			g := tb.guest(guestKey, ticket)
			atGuest, atHost := tb.meet(g, "an offer")
			if atGuest.Peer != hostKey.ID() || atHost.Peer != guestKey.ID() {
				t.Errorf("met %v and %v", atGuest.Peer, atHost.Peer)
			}
			if !bytes.Equal(atGuest.Context, atHost.Context) || len(atHost.Context) != 64 {
				t.Errorf("contexts %x and %x", atGuest.Context, atHost.Context)
			}
			m4, err := tb.host.Answer(g.Attempt(), []byte("an answer"))
			if err != nil {
				t.Fatal(err)
			}
			if step := take(t, g, m4); !step.Answered || string(step.Payload) != "an answer" {
				t.Errorf("the guest's last step: %+v", step)
			}
			if tb.count.uses[tb.invite.id] != 0 || tb.count.attempts[tb.invite.id] != 2 {
				t.Errorf("counted %v %v", tb.count.uses, tb.count.attempts)
			}
			// The channel goes on, through the machines or past them.
			for n := range 3 {
				text := fmt.Sprint("candidate ", n)
				fromGuest, err := atGuest.Sealer.Seal([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if step := tb.handle(fromGuest); string(step.Payload) != text || step.Attempt != g.Attempt() {
					t.Errorf("the host got %+v", step)
				}
				fromHost, err := atHost.Sealer.Seal([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := atGuest.Sealer.Open(fromHost); err != nil || string(got) != text {
					t.Errorf("the guest got %q, %v", got, err)
				}
			}
			if _, err := tb.host.Answer(g.Attempt(), nil); err == nil {
				t.Error("answered twice")
			}
		})
	}
}

func TestPairingDeclined(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	tb.meet(g, "")
	message, err := tb.host.Decline(g.Attempt(), session.Errorf("approve", session.Denied, "not now\x1b[2J"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Handle(message)
	wantKind(t, err, session.Denied)
	if !strings.Contains(err.Error(), "not now\uFFFD[2J") {
		t.Errorf("the reason reads %q", err)
	}
	// The use is gone all the same.
	again := tb.guest(guestKey, tb.code())
	_, err = tb.host.Handle(noon, take(t, again, tb.handle(again.Last()).Reply).Reply)
	wantKind(t, err, session.Denied)
}

func TestGuestLeaves(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	tb.meet(g, "")
	message, err := g.Decline(session.Errorf("join", session.Canceled, "interrupted"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = tb.host.Handle(noon, message)
	wantKind(t, err, session.Canceled)
	if _, err := tb.host.Answer(g.Attempt(), nil); err == nil {
		t.Error("answered a guest that has left")
	}
}

// A wrong word costs an attempt, tells the guest what to do, and tells nobody
// else anything.
func TestWrongCode(t *testing.T) {
	tb := newTable(t, Options{})
	ticket := tb.code()
	ticket.password = []byte("wolf-paper-lunar")
	g := tb.guest(guestKey, ticket)
	m2 := tb.handle(take(t, g, tb.handle(g.Last()).Reply).Reply)
	if !m2.Counted || m2.Left != 2 {
		t.Errorf("counted %v, left %d", m2.Counted, m2.Left)
	}
	_, err := g.Handle(m2.Reply)
	wantKind(t, err, session.Integrity)
	if !strings.Contains(session.Hint(err), "ask for a new code") {
		t.Errorf("hint %q", session.Hint(err))
	}
	// It is over: the same m2 again, or a right one, changes nothing.
	if step, err := g.Handle(m2.Reply); err != nil || step.Met != nil {
		t.Errorf("after the end: %+v, %v", step, err)
	}
	if _, err := g.Offer(nil); err == nil {
		t.Error("an offer was made after a wrong code")
	}
}

// The third wrong attempt is the last, whatever comes then.
func TestAttemptsRunOut(t *testing.T) {
	tb := newTable(t, Options{})
	wrong := tb.code()
	wrong.password = []byte("wolf-paper-lunar")
	for left := 2; left >= 0; left-- {
		g := tb.guest(guestKey, wrong)
		if step := tb.handle(take(t, g, tb.handle(g.Last()).Reply).Reply); step.Left != left {
			t.Errorf("left %d, want %d", step.Left, left)
		}
	}
	g := tb.guest(guestKey, tb.code())
	step, err := tb.host.Handle(noon, take(t, g, tb.handle(g.Last()).Reply).Reply)
	wantKind(t, err, session.Denied)
	if step.Counted {
		t.Error("counted an attempt that was refused")
	}
	_, err = g.Handle(step.Reply)
	wantKind(t, err, session.Denied)
}

// A counter that can't write keeps every answer back.
func TestNothingLeavesUncounted(t *testing.T) {
	tb := newTable(t, Options{})
	tb.host.counter = full{}
	g := tb.guest(guestKey, tb.code())
	step, err := tb.host.Handle(noon, take(t, g, tb.handle(g.Last()).Reply).Reply)
	wantKind(t, err, session.NoSpace)
	if kind, _, _, _ := split(step.Reply); kind != typeRefuse {
		t.Fatalf("answered with a message of type %d", kind)
	}
	_, err = g.Handle(step.Reply)
	wantKind(t, err, session.NoSpace)
}

type full struct{}

func (full) SpendAttempt(InviteID, time.Time) (int, error) {
	return 0, session.Errorf("count", session.NoSpace, "full")
}

func (full) SpendUse(InviteID, time.Time) error {
	return session.Errorf("count", session.NoSpace, "full")
}

// Lost and repeated messages cost nothing.
func TestRepetition(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	first, second := tb.handle(g.Last()), tb.handle(g.Last())
	if !bytes.Equal(first.Reply, second.Reply) {
		t.Error("a repeated knock got another hello")
	}
	m1 := take(t, g, first.Reply).Reply
	if step := take(t, g, second.Reply); step.Reply != nil {
		t.Error("a repeated hello began the attempt again")
	}
	m2, again := tb.handle(m1), tb.handle(g.Last())
	if again.Counted || !bytes.Equal(m2.Reply, again.Reply) {
		t.Errorf("a repeated m1: %+v", again)
	}
	if take(t, g, m2.Reply).Met == nil {
		t.Fatal("the guest has not met the host")
	}
	if step := take(t, g, again.Reply); step.Met != nil {
		t.Error("a repeated m2 met the host again")
	}
	m3, err := g.Offer([]byte("offer"))
	if err != nil {
		t.Fatal(err)
	}
	if tb.handle(m3).Met == nil {
		t.Fatal("the host has not met the guest")
	}
	if step := tb.handle(m3); step.Met != nil || step.Reply != nil {
		t.Errorf("a repeated m3: %+v", step)
	}
	m4, err := tb.host.Answer(g.Attempt(), []byte("answer"))
	if err != nil {
		t.Fatal(err)
	}
	if step := tb.handle(g.Last()); !bytes.Equal(step.Reply, m4) || step.Met != nil {
		t.Errorf("m3 repeated after the answer: %+v", step)
	}
	if !take(t, g, m4).Answered {
		t.Error("not answered")
	}
	if step := take(t, g, m4); step.Answered {
		t.Error("answered twice")
	}
	if tb.count.attempts[tb.invite.id] != 2 {
		t.Errorf("attempts left: %v", tb.count.attempts)
	}
}

// A guest with the key can't turn one attempt into two.
func TestOneOfferAnAttempt(t *testing.T) {
	tb := newTable(t, Options{Uses: 2})
	g := tb.guest(guestKey, tb.code())
	tb.meet(g, "an offer")
	g.stage = met
	again, err := g.Offer([]byte("another offer"))
	if err != nil {
		t.Fatal(err)
	}
	step, err := tb.host.Handle(noon, again)
	wantKind(t, err, session.Integrity)
	if step.Met != nil || step.Payload != nil || tb.count.uses[tb.invite.id] != 1 {
		t.Errorf("the second offer: %+v, uses left %v", step, tb.count.uses)
	}
}

func TestHostRefusesKnock(t *testing.T) {
	tb := newTable(t, Options{})
	unknown := tb.code()
	unknown.Nameplate = "9"
	for _, c := range []struct {
		name   string
		ticket *Ticket
		now    time.Time
		kind   session.Kind
	}{
		{"another nameplate", unknown, noon, session.NotFound},
		{"too late", tb.code(), noon.Add(10 * time.Minute), session.Expired},
	} {
		g := tb.guest(guestKey, c.ticket)
		step, err := tb.host.Handle(c.now, g.Last())
		wantKind(t, err, c.kind)
		_, err = g.Handle(step.Reply)
		wantKind(t, err, c.kind)
		if session.Hint(err) == "" {
			t.Errorf("%s: no hint", c.name)
		}
	}
	// A refusal speaks our words only.
	g := tb.guest(guestKey, tb.code())
	_, err := g.Handle(appendText(header(typeRefuse, g.Attempt()), "call +1 555 0100"))
	wantKind(t, err, session.Internal)
	if strings.Contains(err.Error()+session.Hint(err), "555") {
		t.Errorf("a forged refusal is shown: %v", err)
	}
}

// An invite that runs out between m1 and m3 does not admit anybody.
func TestExpiresDuringTheExchange(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	take(t, g, tb.handle(take(t, g, tb.handle(g.Last()).Reply).Reply).Reply)
	m3, err := g.Offer(nil)
	if err != nil {
		t.Fatal(err)
	}
	step, err := tb.host.Handle(noon.Add(time.Hour), m3)
	wantKind(t, err, session.Expired)
	if step.Met != nil {
		t.Error("met after the end")
	}
	_, err = g.Handle(step.Reply)
	wantKind(t, err, session.Expired)
}

// A hello from before a restart is refused before anything is counted.
func TestHostRestarts(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	hello := tb.handle(g.Last())
	tb.host = NewHost(hostKey, tb.count)
	if err := tb.host.Add(tb.invite); err != nil {
		t.Fatal(err)
	}
	step, err := tb.host.Handle(noon, take(t, g, hello.Reply).Reply)
	wantKind(t, err, session.Changed)
	if tb.count.attempts[tb.invite.id] != 3 {
		t.Error("an attempt was counted")
	}
	_, err = g.Handle(step.Reply)
	wantKind(t, err, session.Changed)
}

func TestJoiningOneself(t *testing.T) {
	tb := newTable(t, Options{})
	if _, err := NewGuest(hostKey, tb.link()); session.KindOf(err) != session.Invalid {
		t.Errorf("by link: %v", err)
	}
	g := tb.guest(hostKey, tb.code())
	step, err := tb.host.Handle(noon, take(t, g, tb.handle(g.Last()).Reply).Reply)
	wantKind(t, err, session.Invalid)
	_, err = g.Handle(step.Reply)
	if err == nil || err.Error() != errOwnInvite().Error() {
		t.Errorf("the guest's error: %v", err)
	}
	if tb.count.attempts[tb.invite.id] != 3 {
		t.Error("an attempt was counted")
	}
}

func TestVersions(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	newer := bytes.Clone(g.Last())
	newer[0] = 2
	step, err := tb.host.Handle(noon, newer)
	wantKind(t, err, session.Unsupported)
	refuse := bytes.Clone(step.Reply)
	refuse[0] = 2 // refusals read the same in every version
	_, err = g.Handle(refuse)
	wantKind(t, err, session.Unsupported)

	g = tb.guest(guestKey, tb.code())
	hello := tb.handle(g.Last()).Reply
	hello[0] = 7
	_, err = g.Handle(hello)
	wantKind(t, err, session.Unsupported)
}

func TestHostInvites(t *testing.T) {
	tb := newTable(t, Options{})
	wantKind(t, tb.host.Add(tb.invite), session.Exists)
	foreign, err := NewInvite("1", otherKey.ID(), noon, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, tb.host.Add(foreign), session.Invalid)
	g := tb.guest(guestKey, tb.code())
	_, atHost := tb.meet(g, "")
	tb.host.Remove(tb.invite.nameplate)
	if len(tb.host.attempts) != 0 {
		t.Error("attempts outlive their invite")
	}
	_, err = tb.host.Handle(noon, g.Last())
	wantKind(t, err, session.NotFound)
	if _, err := atHost.Sealer.Seal([]byte("x")); err != nil {
		t.Error(err)
	}
}

func TestPayloadLimits(t *testing.T) {
	tb := newTable(t, Options{})
	g := tb.guest(guestKey, tb.code())
	take(t, g, tb.handle(take(t, g, tb.handle(g.Last()).Reply).Reply).Reply)
	_, err := g.Offer(make([]byte, MaxPayload+1))
	wantKind(t, err, session.TooLarge)
	m3, err := g.Offer(make([]byte, MaxPayload))
	if err != nil || len(m3) > MaxMessage {
		t.Fatalf("%d bytes, %v", len(m3), err)
	}
	met := tb.handle(m3).Met
	_, err = tb.host.Answer(g.Attempt(), make([]byte, MaxPayload+1))
	wantKind(t, err, session.TooLarge)
	_, err = met.Sealer.Seal(make([]byte, MaxPayload+1))
	wantKind(t, err, session.TooLarge)
	_, err = tb.host.Handle(noon, make([]byte, MaxMessage+1))
	wantKind(t, err, session.TooLarge)
}

// The whole conversation, from fixed randomness: labels, order of fields and
// keys are part of the protocol. A browser's implementation can be checked
// against these bytes.
func TestConversationGolden(t *testing.T) {
	invite := &Invite{
		id: InviteID{1}, nameplate: "4821", host: hostKey.ID(), words: "wolf-paper-lunar",
		made: noon, lifetime: time.Hour, attempts: 3, uses: 1,
	}
	host := newHost(hostKey, newMemory(invite), newEntropy("host"))
	if err := host.Add(invite); err != nil {
		t.Fatal(err)
	}
	g, err := newGuest(guestKey, mustParse(t, invite.Code()), newEntropy("guest"))
	if err != nil {
		t.Fatal(err)
	}
	tb := &table{t: t, host: host, invite: invite}
	var got [][]byte
	say := func(message []byte) []byte { got = append(got, message); return message }
	m2 := say(tb.handle(say(take(t, g, say(tb.handle(say(g.Last())).Reply)).Reply)).Reply)
	met := take(t, g, m2).Met
	m3, err := g.Offer([]byte("offer"))
	if err != nil {
		t.Fatal(err)
	}
	tb.handle(say(m3))
	m4, err := host.Answer(g.Attempt(), []byte("answer"))
	if err != nil {
		t.Fatal(err)
	}
	take(t, g, say(m4))
	more, err := met.Sealer.Seal([]byte("more"))
	if err != nil {
		t.Fatal(err)
	}
	say(more)
	decline, err := g.Decline(session.Errorf("", session.Canceled, "bye"))
	if err != nil {
		t.Fatal(err)
	}
	say(decline)
	say(refusal(g.Attempt(), session.Expired))
	say(met.Context)
	for n, message := range got {
		if n >= len(goldenConversation) || hex.EncodeToString(message) != goldenConversation[n] {
			t.Errorf("message %d is\n\t%x", n, message)
		}
	}
}
