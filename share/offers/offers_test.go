package offers

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden is an answer as the package comment has it.
const golden = `{"offers":[{"service":"terminal/1","actions":["view","control"]},{"service":"folder/1","resource":"docs","actions":["read"]}]}`

func example() []Offer {
	return []Offer{
		{Service: "terminal/1", Actions: []string{"view", "control"}},
		{Service: "folder/1", Resource: "docs", Actions: []string{"read"}},
	}
}

func TestGolden(t *testing.T) {
	raw, err := json.Marshal(answer{example()})
	if err != nil || string(raw) != golden {
		t.Errorf("wrote\n%s, %v; want\n%s", raw, err, golden)
	}
	if got, err := decode([]byte(golden)); err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("read %+v, %v", got, err)
	}
}

// Each peer hears of its own rights only.
func TestAsk(t *testing.T) {
	var asked session.PeerID
	service := New(func(peer session.PeerID) []Offer {
		asked = peer
		return example()
	})
	guest, host := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	got, err := Ask(t.Context(), guest)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if asked != host.Peer().ID {
		t.Errorf("told what %s may do", asked.Short())
	}
	for _, h := range []session.Header{
		{Service: ServiceName, Action: "write"},
		{Service: ServiceName, Action: Read, Resource: "another peer"},
	} {
		st, err := guest.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Invalid {
			t.Errorf("%+v: %v", h, err)
		}
		_ = st.Close()
	}
}

func TestLyingHosts(t *testing.T) {
	long := func(o Offer, n int) string {
		raw, err := json.Marshal(answer{make([]Offer, n)})
		if n == 0 {
			raw, err = json.Marshal(answer{[]Offer{o}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, c := range map[string]struct {
		reply string
		want  session.Kind
	}{
		"not JSON":       {"{", session.Invalid},
		"nothing":        {"", session.Invalid},
		"another shape":  {`{"offers":{}}`, session.Invalid},
		"escapes":        {long(Offer{Resource: "\x1b]0;owned\a"}, 0), session.Invalid},
		"backwards":      {long(Offer{Service: "\u202egpj.exe"}, 0), session.Invalid},
		"a long name":    {long(Offer{Resource: strings.Repeat("x", maxText+1)}, 0), session.Invalid},
		"a long action":  {long(Offer{Actions: []string{strings.Repeat("x", maxText+1)}}, 0), session.Invalid},
		"many actions":   {long(Offer{Actions: make([]string, MaxActions+1)}, 0), session.Invalid},
		"many offers":    {long(Offer{}, MaxOffers+1), session.Invalid},
		"without an end": {strings.Repeat(" ", MaxReply+100), session.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			guest, _ := sessiontest.Pair(t, nil, func(_ context.Context, o session.Offer) {
				st, err := o.Accept()
				if err != nil {
					return
				}
				_, _ = st.Write([]byte(c.reply))
				_ = st.Close()
			})
			if got, err := Ask(t.Context(), guest); session.KindOf(err) != c.want || got != nil {
				t.Errorf("got %d offers, %v", len(got), err)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"offers":[{"service":"\u001b"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		offers, err := decode(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(answer{offers})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(again); err != nil || !reflect.DeepEqual(got, offers) {
			t.Errorf("%q became %+v and then %+v, %v", raw, offers, got, err)
		}
	})
}
