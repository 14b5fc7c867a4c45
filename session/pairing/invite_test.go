package pairing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"tandem/session"
	"tandem/session/identity/words"
)

func TestNewInvite(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		i, err := NewInvite("12", hostKey.ID(), noon, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if seen[i.Code()] || seen[i.id.String()] {
			t.Fatal("drawn twice")
		}
		seen[i.Code()], seen[i.id.String()] = true, true
		for _, w := range strings.Split(i.words, "-") {
			if _, ok := words.Index(w); !ok {
				t.Fatalf("%q is not a word", w)
			}
		}
		if i.attempts != 3 || i.uses != 1 || i.Expires() != noon.Add(10*time.Minute) {
			t.Fatalf("defaults: %+v", *i)
		}
	}
	i, err := NewInvite("1", hostKey.ID(), noon, Options{Uses: 5})
	if err != nil || i.attempts != 7 {
		t.Errorf("five uses allow %d attempts (%v)", i.attempts, err)
	}
	for _, c := range []struct {
		nameplate string
		o         Options
	}{
		{"", Options{}},
		{"12345678901", Options{}},
		{"12a", Options{}},
		{"-1", Options{}},
		{"１２", Options{}},
		{"1", Options{Uses: -1}},
		{"1", Options{Uses: 2, Attempts: 1}},
		{"1", Options{Attempts: 10_001}},
		{"1", Options{Lifetime: -time.Second}},
	} {
		if _, err := NewInvite(c.nameplate, hostKey.ID(), noon, c.o); session.KindOf(err) != session.Invalid {
			t.Errorf("NewInvite(%q, %+v): %v", c.nameplate, c.o, err)
		}
	}
}

// No way of printing an invite or a ticket shows its secrets.
func TestSecretsAreNotPrinted(t *testing.T) {
	i, err := NewInvite("12", hostKey.ID(), noon, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ticket := mustParse(t, i.Code())
	for _, s := range []string{fmt.Sprint(i), fmt.Sprintf("%+v %s", i, i), fmt.Sprint(ticket), fmt.Sprintf("%+v %s", ticket, ticket)} {
		if strings.Contains(s, i.words) || strings.Contains(s, string(ticket.password)) {
			t.Errorf("printed %q", s)
		}
	}
}

// shifted is t with its wall clock and its monotonic clock moved by different
// amounts, as setting a clock or sleeping does. Only the runtime makes such
// times, so this reaches into time.Time, whose second word is the monotonic
// reading.
func shifted(t *testing.T, from time.Time, wall, monotonic time.Duration) time.Time {
	t.Helper()
	out := from.Add(wall)
	(*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&out)).ext += int64(monotonic - wall)
	if got := out.Sub(from); got != monotonic {
		t.Fatalf("the monotonic clock moved by %v, not %v", got, monotonic)
	}
	if got := out.Round(0).Sub(from.Round(0)); got != wall {
		t.Fatalf("the wall clock moved by %v, not %v", got, wall)
	}
	return out
}

// The monotonic clock and the wall clock each end an invite.
func TestExpired(t *testing.T) {
	i, err := NewInvite("12", hostKey.ID(), time.Now(), Options{Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what            string
		wall, monotonic time.Duration
		want            bool
	}{
		{"at once", 0, 0, false},
		{"just before", time.Minute - 1, time.Minute - 1, false},
		{"just then", time.Minute, time.Minute, true},
		{"after sleep, which the monotonic clock does not count", time.Hour, time.Second, true},
		{"after the wall clock was set back", -time.Hour, time.Hour, true},
		{"soon after the wall clock was set back", -time.Hour, time.Second, false},
	} {
		if got := i.expired(shifted(t, i.made, c.wall, c.monotonic)); got != c.want {
			t.Errorf("%s: expired = %v", c.what, got)
		}
	}
}

func TestParseCode(t *testing.T) {
	want := "wolf-paper-lunar"
	for _, s := range []string{
		"4821-wolf-paper-lunar", "4821 wolf paper lunar", " 4821-Wolf-PAPER-lunar\n", "4821–wolf—paper‑lunar",
		"4821, wolf, paper, lunar.", "`4821-wolf-paper-lunar`", "“4821-wolf-paper-lunar”", "4821_wolf_paper_lunar",
		"4821\u00a0wolf\u2003paper\tlunar", "4821 - wolf - paper - lunar",
	} {
		ticket, err := Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
			continue
		}
		if ticket.Kind != Code || ticket.Nameplate != "4821" || string(ticket.password) != want ||
			!ticket.Host.IsZero() || ticket.Servers != nil {
			t.Errorf("Parse(%q) = %+v %q", s, *ticket, ticket.password)
		}
	}
}

func TestParseCodeErrors(t *testing.T) {
	for _, c := range []struct{ code, text, hint string }{
		{"", "number and 3 words", "4821-wolf-paper-lunar"},
		{"4821", "number and 3 words", ""},
		{"4821-wolf-paper", "number and 3 words", ""},
		{"4821-wolf-paper-lunar-wolf", "number and 3 words", ""},
		{"wolf-paper-lunar-4821", "number and 3 words", ""},
		{"48211111111-wolf-paper-lunar", "number and 3 words", ""},
		{"４８２１-wolf-paper-lunar", "number and 3 words", ""},
		{"4821-wlof-paper-lunar", "first word", `is it "wolf" instead of "wlof"?`},
		{"4821-wolf-papr-lunar", "second word", `"paper"`},
		{"4821-wolf-paper-lunarr", "third word", `"lunar"`},
		{"4821-wolf-paper-xylophonist", "third word", "none of the words"},
		{"4821-wolf-paper-\x1b", "number and 3 words", ""},
		{strings.Repeat("x", maxLink+1), "too long", ""},
	} {
		_, err := Parse(c.code)
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(session.Hint(err), c.hint) || session.Hint(err) == "" {
			t.Errorf("Parse(%q): %v (hint %q)", c.code, err, session.Hint(err))
			continue
		}
		// The words stay out of what may be logged or sent.
		for _, w := range []string{"wolf", "paper", "lunar", "wlof", "papr"} {
			if strings.Contains(err.Error(), w) {
				t.Errorf("Parse(%q) says %q", c.code, err)
			}
		}
	}
}

func TestLink(t *testing.T) {
	i := &Invite{
		nameplate: "4821", host: hostKey.ID(), words: "wolf-paper-lunar",
		secret: [16]byte{0xde, 0xad, 15: 0xef}, made: noon, lifetime: time.Hour,
	}
	servers := []string{"https://tandem.example", "http://192.168.1.7:7777", "https://[2001:db8::1]:443/under/here"}
	link, err := i.Link(servers...)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "https://tandem.example/j#4821.32wqaaaaaaaaaaaaaaaaaaaa54.rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa&s=http%3A%2F%2F192.168.1.7%3A7777&s=https%3A%2F%2F%5B2001%3Adb8%3A%3A1%5D%3A443%2Funder%2Fhere"
	if link != golden {
		t.Errorf("Link = %q", link)
	}
	for _, s := range []string{link, " <" + link + ">\n", link + "&x=unknown&y"} {
		ticket, err := Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
			continue
		}
		if ticket.Kind != Link || ticket.Nameplate != "4821" || string(ticket.password) != string(i.secret[:]) ||
			ticket.Host != hostKey.ID() || !slices.Equal(ticket.Servers, servers) {
			t.Errorf("Parse(%q) = %+v", s, *ticket)
		}
	}
	slash, err := i.Link("https://tandem.example/")
	if err != nil || !strings.HasPrefix(slash, "https://tandem.example/j#") {
		t.Errorf("a final slash: %q, %v", slash, err)
	}
	for _, bad := range [][]string{
		nil, make([]string, 9),
		{"tandem.example"},
		{"ftp://a"},
		{"https://u:p@a"},
		{"https://a?x"},
		{"https://a#b"},
		{"https://"},
		{"https://a\x1b"},
		{"https://" + strings.Repeat("a", 300)},
	} {
		if _, err := i.Link(bad...); session.KindOf(err) != session.Invalid {
			t.Errorf("Link(%q): %v", bad, err)
		}
	}
}

func TestParseLinkErrors(t *testing.T) {
	i, err := NewInvite("4821", hostKey.ID(), noon, Options{})
	if err != nil {
		t.Fatal(err)
	}
	link, err := i.Link("https://a.example")
	if err != nil {
		t.Fatal(err)
	}
	address, fragment, _ := strings.Cut(link, "#")
	parts := strings.Split(fragment, ".")
	join := func(p ...string) string { return address + "#" + strings.Join(p, ".") }
	for what, s := range map[string]string{
		"cut short":         link[:len(link)-1],
		"no fragment":       address,
		"no secret":         join(parts[0], "", parts[2]),
		"short secret":      join(parts[0], parts[1][:25], parts[2]),
		"secret of 17":      join(parts[0], parts[1]+"aa", parts[2]),
		"unused bits set":   join(parts[0], parts[1][:25]+string(rune(parts[1][25])+1), parts[2]),
		"no host":           join(parts[0], parts[1]),
		"zero host":         join(parts[0], parts[1], session.PeerID{}.String()),
		"letters":           join("a", parts[1], parts[2]),
		"another path":      strings.Replace(link, "/j#", "/k#", 1),
		"another scheme":    strings.Replace(link, "https", "ftp", 1),
		"user":              strings.Replace(link, "https://", "https://mel@", 1),
		"bad server":        link + "&s=ftp%3A%2F%2Fx",
		"bad escape":        link + "&s=%zz",
		"too many servers":  link + strings.Repeat("&s=https%3A%2F%2Fx", 8),
		"something in link": "see https://a.example/j",
	} {
		if ticket, err := Parse(s); session.KindOf(err) != session.Invalid || session.Hint(err) == "" {
			t.Errorf("%s: Parse(%q) = %v, %v", what, s, ticket, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	i, err := NewInvite("4821", hostKey.ID(), noon, Options{})
	if err != nil {
		f.Fatal(err)
	}
	link, err := i.Link("https://a.example", "http://b.example:1/x")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{i.Code(), link, "4821 wlof paper lunar", "https://a/j#1.2.3&s=%", "://j#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ticket, err := Parse(s)
		if err != nil {
			if session.Hint(err) == "" {
				t.Fatalf("no hint for %q", s)
			}
			return
		}
		// What was read can be written, and reads the same again.
		invite := &Invite{nameplate: ticket.Nameplate, host: ticket.Host}
		again := ""
		if ticket.Kind == Code {
			invite.words = string(ticket.password)
			again = invite.Code()
		} else {
			invite.secret = [secretSize]byte(ticket.password)
			if again, err = invite.Link(ticket.Servers...); err != nil {
				t.Fatalf("%q gave servers %q: %v", s, ticket.Servers, err)
			}
		}
		twice, err := Parse(again)
		if err != nil || twice.Nameplate != ticket.Nameplate || twice.Host != ticket.Host || twice.Kind != ticket.Kind ||
			string(twice.password) != string(ticket.password) || !slices.Equal(twice.Servers, ticket.Servers) {
			t.Fatalf("%q reads as %+v, %q as %+v (%v)", s, ticket, again, twice, err)
		}
	})
}
