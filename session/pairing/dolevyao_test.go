package pairing

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/session"
)

// This is bounded testing, not proof. An attacker who owns the network (after
// Dolev and Yao) is simulated over honest hosts and guests: it delivers, drops,
// repeats, reorders, reflects, splices and changes messages, and takes part
// with machines of its own, under its own or other people's names. After each
// bounded run the properties below are checked with the keys of all machines
// laid open:
//
//   - authentication: whoever a side has met really ran the exchange, with it,
//     with the same view of it (injective agreement);
//   - no unknown key share: two sides with the same key name each other;
//   - secrecy: the attacker's machines never share a key with an honest one,
//     and no offer, answer or code is seen on the network;
//   - uniqueness: no two exchanges have the same context or key;
//   - the limits on attempts and uses hold.
//
// In worlds with an insider the attacker knows one of the codes. It may then be
// met, but only under its own name.

// part is what can be changed or spliced by itself in a message.
type part struct {
	name     string
	from, to int // to < 0: to the end
}

func partsOf(t messageType) []part {
	const h = headerSize
	all := []part{{"version", 0, 1}, {"type", 1, 2}, {"attempt", 2, h}}
	switch t {
	case typeKnock:
		return append(all, part{"nameplate", h, -1})
	case typeHello:
		return append(all, part{"nH", h, -1})
	case typeM1:
		return append(all, part{"nH", h, h + 32}, part{"nG", h + 32, h + 64}, part{"Ya", h + 64, h + 96},
			part{"idG", h + 96, h + 128}, part{"kind", h + 128, h + 129}, part{"nameplate", h + 129, -1})
	case typeM2:
		return append(all, part{"Yb", h, h + 32}, part{"idH", h + 32, h + 64}, part{"Tb", h + 64, h + 128},
			part{"seq", h + 128, h + 136}, part{"sigH", h + 136, -1})
	case typeM3:
		return append(all, part{"Ta", h, h + 64}, part{"seq", h + 64, h + 72}, part{"offer", h + 72, -1})
	}
	return append(all, part{"body", h, -1})
}

func (f part) span(message []byte) (from, to int) {
	to = f.to
	if to < 0 || to > len(message) {
		to = len(message)
	}
	return min(f.from, to), to
}

func (f part) splice(message, donor []byte) []byte {
	from, to := f.span(message)
	dFrom, dTo := f.span(donor)
	return slices.Concat(message[:from], donor[dFrom:dTo], message[to:])
}

// impostor is a Signer with a name that is not its own.
type impostor struct {
	key
	name session.PeerID
}

func (i impostor) ID() session.PeerID { return i.name }

// run is a guest's machine, honest or the attacker's.
type run struct {
	*Guest
	id     session.PeerID
	offer  string
	met    *Meeting
	x      *exchange
	answer string
	evil   bool
}

// venue is a host's machine, honest or the attacker's.
type venue struct {
	*Host
	id      session.PeerID
	evil    bool
	met     map[Attempt]*Meeting
	offers  map[Attempt]string
	xs      map[Attempt]*exchange
	counted map[string]int
	heard   []string
}

// world is one run of the simulation.
type world struct {
	t       *testing.T
	host    *venue
	venues  []*venue // the honest one first
	runs    []*run
	pool    [][]byte // every message ever seen
	secrets []string // what must not be seen in it
	insider bool     // the attacker knows 4821's code
	lure    *venue   // the attacker's host that gets much of what is for the honest one, or nil
	seed    int      // of all randomness, so that a failure can be had again
	uses    int
}

var evilKey = newKey(66)

// newWorld has a host with an invite for codes and one for links, two guests
// with the code and one with the link.
func newWorld(t *testing.T, seed int, insider bool) *world {
	t.Helper()
	w := &world{t: t, seed: seed, insider: insider, uses: 2}
	byCode := &Invite{
		id: InviteID{1}, nameplate: "4821", host: hostKey.ID(), words: "wolf-paper-lunar",
		made: noon, lifetime: defaultLifetime, attempts: 6, uses: w.uses,
	}
	byLink := &Invite{
		id: InviteID{2}, nameplate: "77", host: hostKey.ID(), words: "zoo-zebra-zero",
		secret: [16]byte([]byte("sixteen secrets!")), made: noon, lifetime: defaultLifetime, attempts: 6, uses: w.uses,
	}
	w.host = w.addVenue(hostKey, false, byCode, byLink)
	link, err := byLink.Link("https://tandem.example")
	if err != nil {
		t.Fatal(err)
	}
	w.addRun(guestKey, mustParse(t, byCode.Code()), false)
	w.addRun(otherKey, mustParse(t, link), false)
	w.addRun(newKey(4), mustParse(t, byCode.Code()), false)
	w.secrets = append(w.secrets, "wolf", "paper", "lunar", "sixteen secrets!")

	// The attacker's machines: hosts that pose as themselves and as the honest
	// one, guests that pose as themselves and as an honest guest.
	guess := *byCode
	guess.words, guess.secret = "abandon-ability-able", [16]byte{}
	if insider {
		guess.words = byCode.words
	}
	for _, as := range []session.PeerID{evilKey.ID(), hostKey.ID()} {
		code, link := guess, guess
		link.nameplate = byLink.nameplate
		code.host, link.host = as, as
		w.addVenue(impostor{evilKey, as}, true, &code, &link)
	}
	for _, as := range []session.PeerID{evilKey.ID(), guestKey.ID()} {
		w.addRun(impostor{evilKey, as}, mustParse(t, guess.Code()), true)
	}
	return w
}

func (w *world) addVenue(k Signer, evil bool, invites ...*Invite) *venue {
	v := &venue{
		Host: newHost(k, newMemory(invites...), newEntropy(fmt.Sprint(w.seed, " venue ", len(w.venues)))), id: k.ID(), evil: evil, met: map[Attempt]*Meeting{},
		offers: map[Attempt]string{}, xs: map[Attempt]*exchange{}, counted: map[string]int{},
	}
	for _, i := range invites {
		if err := v.Add(i); err != nil {
			w.t.Fatal(err)
		}
	}
	w.venues = append(w.venues, v)
	return v
}

func (w *world) addRun(k Signer, ticket *Ticket, evil bool) {
	g, err := newGuest(k, ticket, newEntropy(fmt.Sprint(w.seed, " run ", len(w.runs))))
	if err != nil {
		w.t.Fatal(err)
	}
	r := &run{Guest: g, id: k.ID(), evil: evil, offer: fmt.Sprintf("<offer %d of %v>", len(w.runs), k.ID().Short())}
	w.runs = append(w.runs, r)
	if !evil {
		w.secrets = append(w.secrets, r.offer)
	}
	w.say(g.Last())
}

func (w *world) say(message []byte) {
	if message != nil {
		w.pool = append(w.pool, message)
	}
}

// toHost and toGuest deliver a message and let the machine's user do what a
// user does next.
func (w *world) toHost(v *venue, message []byte) (replies [][]byte) {
	step, _ := v.Handle(noon, message)
	if a := v.attempts[step.Attempt]; a != nil && a.x != nil {
		v.xs[step.Attempt] = a.x
	}
	if step.Counted {
		v.counted[step.Nameplate]++
	}
	if step.Met != nil {
		if v.met[step.Attempt] != nil {
			w.t.Fatalf("attempt %v met twice", step.Attempt)
		}
		v.met[step.Attempt], v.offers[step.Attempt] = step.Met, string(step.Payload)
		answer := fmt.Sprintf("<answer to %v>", step.Attempt)
		if !v.evil && step.Met.Peer != evilKey.ID() {
			w.secrets = append(w.secrets, answer)
		}
		m4, err := v.Answer(step.Attempt, []byte(answer))
		if err != nil {
			w.t.Fatal(err)
		}
		replies = append(replies, m4)
	} else if step.Payload != nil {
		v.heard = append(v.heard, string(step.Payload))
	}
	if step.Reply != nil {
		replies = append(replies, step.Reply)
	}
	return replies
}

func (w *world) toGuest(r *run, message []byte) (replies [][]byte) {
	step, _ := r.Handle(message)
	if r.Guest.x != nil {
		r.x = r.Guest.x
	}
	if step.Reply != nil {
		replies = append(replies, step.Reply)
	}
	if step.Met != nil {
		if r.met != nil {
			w.t.Fatal("a guest met twice")
		}
		r.met = step.Met
		m3, err := r.Offer([]byte(r.offer))
		if err != nil {
			w.t.Fatal(err)
		}
		replies = append(replies, m3)
	}
	if step.Answered {
		if r.answer != "" {
			w.t.Fatal("a guest was answered twice")
		}
		r.answer = string(step.Payload)
	}
	return replies
}

// check is the list of properties.
func (w *world) check() {
	w.t.Helper()
	for _, r := range w.runs {
		if r.met != nil && !r.evil {
			w.checkGuest(r)
		}
	}
	contexts := map[string]Attempt{}
	for id, met := range w.host.met {
		w.checkHost(id, met)
		if twin, twice := contexts[string(met.Context)]; twice {
			w.t.Errorf("attempts %v and %v have one context", id, twin)
		}
		contexts[string(met.Context)] = id
	}
	w.checkKeys()
	for nameplate, n := range w.host.counted {
		if n > 6 {
			w.t.Errorf("%d attempts at %s", n, nameplate)
		}
	}
	admitted := map[string]int{}
	for id := range w.host.met {
		admitted[w.host.attempts[id].invite.nameplate]++
	}
	for nameplate, n := range admitted {
		if n > w.uses {
			w.t.Errorf("%d guests admitted by %s", n, nameplate)
		}
	}
	seen := bytes.Join(w.pool, []byte{0})
	for _, s := range w.secrets {
		if bytes.Contains(seen, []byte(s)) {
			w.t.Errorf("%q was seen on the network", s)
		}
	}
	for _, v := range w.venues[1:] {
		for id, offer := range v.offers {
			// An insider may be chosen as a host, under its own name.
			if !w.insider || v.id != evilKey.ID() || !w.isOfferTo(offer, evilKey.ID()) {
				w.t.Errorf("the attacker read %q (attempt %v, as %v)", offer, id, v.id.Short())
			}
		}
	}
}

func (w *world) isOfferTo(offer string, peer session.PeerID) bool {
	return slices.ContainsFunc(w.runs, func(r *run) bool {
		return r.offer == offer && (r.evil || r.met != nil && r.met.Peer == peer)
	})
}

// checkGuest: the host that a guest has met has the same exchange, with it.
func (w *world) checkGuest(r *run) {
	w.t.Helper()
	if r.met.Peer == evilKey.ID() && w.insider && r.ticket.Kind == Code {
		return // the insider is the host of its own invite, and says so
	}
	x := w.host.xs[r.Attempt()]
	if r.met.Peer != w.host.id || x == nil || x.guest != r.id || !bytes.Equal(x.transcript, r.x.transcript) ||
		!bytes.Equal(x.isk, r.x.isk) || w.host.attempts[r.Attempt()].invite.nameplate != r.ticket.Nameplate {
		w.t.Errorf("guest %v believes it has met %v, which does not know", r.id.Short(), r.met.Peer.Short())
	}
	if r.answer != "" && r.answer != fmt.Sprintf("<answer to %v>", r.Attempt()) {
		w.t.Errorf("guest %v was answered %q", r.id.Short(), r.answer)
	}
}

// checkHost: exactly one guest of that name had the same exchange, and made
// that offer in it.
func (w *world) checkHost(id Attempt, met *Meeting) {
	w.t.Helper()
	matching := 0
	for _, r := range w.runs {
		if r.met != nil && r.met.Peer == w.host.id && r.id == met.Peer && !isImpostor(r) &&
			bytes.Equal(r.met.Context, met.Context) && r.offer == w.host.offers[id] &&
			r.ticket.Nameplate == w.host.attempts[id].invite.nameplate {
			matching++
			if r.evil && !w.insider {
				w.t.Errorf("the attacker got in by guessing")
			}
		}
	}
	if matching != 1 {
		w.t.Errorf("the host has met %v; %d guests of that name know of it", met.Peer.Short(), matching)
	}
}

func isImpostor(r *run) bool { return r.evil && r.id != evilKey.ID() }

// checkKeys: equal keys mean equal views, and no key is shared by more than
// the two.
func (w *world) checkKeys() {
	w.t.Helper()
	type holder struct {
		name string
		evil bool
		x    *exchange
	}
	holders := map[string][]holder{}
	for n, r := range w.runs {
		if r.x != nil {
			holders[string(r.x.isk)] = append(holders[string(r.x.isk)], holder{fmt.Sprintf("guest %d", n), r.evil, r.x})
		}
	}
	for n, v := range w.venues {
		for id, x := range v.xs {
			holders[string(x.isk)] = append(holders[string(x.isk)], holder{fmt.Sprintf("host %d, attempt %v", n, id), v.evil, x})
		}
	}
	for _, same := range holders {
		for _, h := range same[1:] {
			a := same[0]
			if !bytes.Equal(a.x.transcript, h.x.transcript) || a.x.guest != h.x.guest || a.x.host != h.x.host {
				w.t.Errorf("%s and %s share a key and disagree about whom with", a.name, h.name)
			}
			if a.evil != h.evil && !w.insider {
				w.t.Errorf("%s and %s share a key", a.name, h.name)
			}
		}
		if len(same) > 2 {
			w.t.Errorf("%d machines share a key", len(same))
		}
	}
}

// honest runs guest r and the honest host to the end, or as far as tamper lets
// them. Tamper sees each message and says what arrives instead.
func (w *world) honest(r *run, tamper func(message []byte) [][]byte) {
	atHost, atGuest := [][]byte{r.Last()}, [][]byte(nil)
	for len(atHost)+len(atGuest) > 0 {
		for _, message := range flat(atHost, tamper) {
			for _, reply := range w.toHost(w.host, message) {
				w.say(reply)
				atGuest = append(atGuest, reply)
			}
		}
		atHost = nil
		for _, message := range flat(atGuest, tamper) {
			for _, reply := range w.toGuest(r, message) {
				w.say(reply)
				atHost = append(atHost, reply)
			}
		}
		atGuest = nil
	}
}

// flat is what arrives of messages.
func flat(messages [][]byte, tamper func([]byte) [][]byte) (out [][]byte) {
	for _, m := range messages {
		out = append(out, tamper(m)...)
	}
	return out
}

func untouched(message []byte) [][]byte { return [][]byte{message} }

// Each single fault at each message, with an exchange of the same guest's
// neighbour to take parts from.
func TestEachFault(t *testing.T) {
	type fault struct {
		name  string
		only  messageType // 0: at each message
		apply func(w *world, message, donor []byte) [][]byte
		// harmless faults leave the exchange working.
		harmless bool
	}
	faults := []fault{
		{"none", 0, func(_ *world, m, _ []byte) [][]byte { return [][]byte{m} }, true},
		{"repeated", 0, func(_ *world, m, _ []byte) [][]byte { return [][]byte{m, m} }, true},
		{"dropped", 0, func(*world, []byte, []byte) [][]byte { return nil }, false},
		{"replaced by the neighbour's", 0, func(_ *world, _, d []byte) [][]byte { return [][]byte{d} }, false},
		{"preceded by the neighbour's", 0, func(_ *world, m, d []byte) [][]byte { return [][]byte{d, m} }, true},
		{"reflected", 0, func(w *world, m, _ []byte) [][]byte {
			switch messageType(m[1]) {
			case typeKnock, typeM1, typeM3:
				for _, r := range w.runs {
					w.toGuest(r, m)
				}
			default:
				w.toHost(w.host, m)
			}
			return [][]byte{m}
		}, true},
		{"cut", 0, func(_ *world, m, _ []byte) [][]byte { return [][]byte{m[:len(m)-1]} }, false},
	}
	// A change of any one part must break the exchange: nothing is malleable.
	for kind := typeKnock; kind <= typeM4; kind++ {
		for _, p := range partsOf(kind) {
			faults = append(faults,
				fault{fmt.Sprintf("%s spliced", p.name), kind, func(_ *world, m, d []byte) [][]byte {
					return [][]byte{p.splice(m, d)}
				}, false},
				fault{fmt.Sprintf("%s changed", p.name), kind, func(_ *world, m, _ []byte) [][]byte {
					m = bytes.Clone(m)
					from, _ := p.span(m)
					m[from] ^= 0x10
					return [][]byte{m}
				}, false})
		}
	}
	tried := 0
	for _, f := range faults {
		for guest, neighbour := range []int{2, 0} { // by code, beside the same invite; by link, beside another
			for at := typeKnock; at <= typeM4; at++ {
				if f.only != 0 && f.only != at {
					continue
				}
				w := newWorld(t, 0, false)
				// The neighbour has gone through its own exchange before.
				donors := map[messageType][]byte{}
				w.honest(w.runs[neighbour], func(m []byte) [][]byte {
					donors[messageType(m[1])] = m
					return [][]byte{m}
				})
				same := false
				w.honest(w.runs[guest], func(m []byte) [][]byte {
					if messageType(m[1]) != at {
						return [][]byte{m}
					}
					arrives := f.apply(w, m, donors[at])
					same = len(arrives) == 1 && bytes.Equal(arrives[0], m)
					return arrives
				})
				w.check()
				if worked := w.runs[guest].answer != ""; worked != (f.harmless || same) {
					t.Errorf("the exchange worked: %v", worked)
				}
				if tried++; t.Failed() {
					t.Fatalf("fault %q at message %d of guest %d", f.name, at, guest)
				}
			}
		}
	}
	t.Logf("%d exchanges with a fault", tried)
}

// Random schedules and changes, many at a time, with the attacker's machines.
func TestDolevYao(t *testing.T) {
	worlds := 400
	if testing.Short() {
		worlds = 100
	}
	total := struct{ guestMet, hostMet, answered, evilMet, evilHosts int }{}
	for seed := range worlds {
		w := newWorld(t, seed, seed%2 == 1)
		if seed%4 == 3 {
			w.lure = w.venues[1+seed/4%2]
		}
		random := rand.New(rand.NewPCG(uint64(seed), 2026))
		for range 120 {
			w.attack(random)
		}
		w.check()
		for _, r := range w.runs {
			switch {
			case r.met == nil:
			case r.evil:
				total.evilMet++
			case r.met.Peer == evilKey.ID():
				total.evilHosts++
			default:
				total.guestMet++
				if r.answer != "" {
					total.answered++
				}
			}
		}
		total.hostMet += len(w.host.met)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("in %d worlds: %+v", worlds, total)
	// Without these the properties would hold of nothing.
	if total.guestMet == 0 || total.hostMet == 0 || total.answered == 0 || total.evilMet == 0 || total.evilHosts == 0 {
		t.Errorf("something never happened: %+v", total)
	}
}

// attack is one move of the attacker's.
func (w *world) attack(random *rand.Rand) {
	message := w.pool[random.IntN(len(w.pool))]
	if random.IntN(2) == 0 { // lean towards what is new, to get anywhere
		message = w.pool[len(w.pool)-1-random.IntN(min(8, len(w.pool)))]
	}
	if random.IntN(6) == 0 {
		message = w.change(random, message)
		w.say(message)
	}
	var replies [][]byte
	if random.IntN(4) > 0 {
		replies = w.toAddressee(random, message)
	} else if n := random.IntN(len(w.runs) + len(w.venues)); n < len(w.runs) {
		replies = w.toGuest(w.runs[n], message)
	} else {
		replies = w.toHost(w.venues[n-len(w.runs)], message)
	}
	for _, reply := range replies {
		w.say(reply)
	}
}

// toAddressee delivers a message where it belongs, or to the attacker in that
// place.
func (w *world) toAddressee(random *rand.Rand, message []byte) (replies [][]byte) {
	switch messageType(message[1]) {
	case typeKnock, typeM1, typeM3:
		if w.lure != nil && random.IntN(4) > 0 {
			return w.toHost(w.lure, message)
		}
		return w.toHost(w.host, message)
	}
	id, err := AttemptOf(message)
	for _, r := range w.runs {
		if err == nil && r.Attempt() == id {
			replies = append(replies, w.toGuest(r, message)...)
		}
	}
	return replies
}

// change makes another message of one, with parts of others or of nowhere.
func (w *world) change(random *rand.Rand, message []byte) []byte {
	parts := partsOf(messageType(message[1]))
	f := parts[random.IntN(len(parts))]
	switch random.IntN(4) {
	case 0:
		out := bytes.Clone(message)
		out[random.IntN(len(out))] ^= 1 << random.IntN(8)
		return out
	case 1: // the same part of another message, of the same type if there is one
		donor := w.pool[random.IntN(len(w.pool))]
		for range 5 {
			if donor[1] == message[1] {
				break
			}
			donor = w.pool[random.IntN(len(w.pool))]
		}
		return f.splice(message, donor)
	case 2: // a share of low order, in all the places shares are in
		out := bytes.Clone(message)
		for _, f := range parts {
			if f.name == "Ya" || f.name == "Yb" {
				from, to := f.span(out)
				clear(out[from:to])
			}
		}
		return out
	}
	names := []session.PeerID{hostKey.ID(), guestKey.ID(), otherKey.ID(), evilKey.ID()}
	out := bytes.Clone(message)
	for _, f := range parts {
		if f.name == "idG" || f.name == "idH" {
			from, to := f.span(out)
			copy(out[from:to], names[random.IntN(len(names))][:])
		}
	}
	return out
}

// One who has a code can't pass for a device it has not: neither side
// believes an ID without its signature, however well the rest fits.
func TestInsiderCannotPose(t *testing.T) {
	w := newWorld(t, 0, true)
	for _, posing := range []bool{false, true} {
		i := slices.IndexFunc(w.runs, func(r *run) bool { return r.evil && isImpostor(r) == posing })
		w.honest(w.runs[i], untouched)
		if met := w.host.met[w.runs[i].Attempt()] != nil; met == posing {
			t.Errorf("posing as another guest %v: met %v", posing, met)
		}
	}
	for n, guest := range []int{0, 2} { // both hold the code
		v, r := w.venues[1+n], w.runs[guest]
		for range 2 {
			for _, reply := range w.toHost(v, r.Last()) {
				w.toGuest(r, reply)
			}
		}
		if posing := v.id != evilKey.ID(); (r.met != nil) == posing {
			t.Errorf("posing as another host %v: met %v", posing, r.met != nil)
		}
	}
	w.check()
}

// The guest with a link accepts no host but the link's, even one that has the
// link's secret and a key of its own.
func TestLinkDemandsItsHost(t *testing.T) {
	tb := newTable(t, Options{})
	ticket := tb.link()
	for _, as := range []Signer{evilKey, impostor{evilKey, hostKey.ID()}} {
		copied := *tb.invite
		copied.host = as.ID()
		evil := NewHost(as, newMemory(&copied))
		if err := evil.Add(&copied); err != nil {
			t.Fatal(err)
		}
		g := tb.guest(guestKey, ticket)
		var last error
		for range 2 {
			step, err := evil.Handle(noon, g.Last())
			if err != nil {
				t.Fatal(err)
			}
			_, last = g.Handle(step.Reply)
		}
		wantKind(t, last, session.Integrity)
	}
}
