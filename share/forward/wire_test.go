package forward

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"tandem/session"
)

func message(p string) string { return string([]byte{0, 0, byte(len(p) >> 8), byte(len(p))}) + p }

func TestGoldenMessages(t *testing.T) {
	for want, v := range map[string]any{
		`{"network":"tcp","address":"127.0.0.1:80"}`:            status{Address: TCPAddress("127.0.0.1", 80)},
		`{"network":"tcp","address":"[::1]:9000","listener":7}`: status{Address: TCPAddress("::1", 9000), Listener: 7},
		`{}`: status{},
		`{"error":{"kind":"unavailable","text":"x:1 refuses","reason":"refused"}}`: status{Error: &wireError{"unavailable", "x:1 refuses", Refused}},
		`{"conn":1,"from":"127.0.0.1:4000"}`:                                       arrival{1, "127.0.0.1:4000"},
		`{"network":"tcp","address":"db:5432"}`:                                    params{Address: TCPAddress("db", 5432)},
		`{"network":"unix","address":"/run/x.sock","probe":true}`:                  params{Address: UnixAddress("/run/x.sock"), Probe: true},
		`{"network":"tcp","address":"localhost:0","replaces":3}`:                   params{Address: TCPAddress("localhost", 0), Replaces: 3},
		`{"listener":3,"conn":18446744073709551615}`:                               params{Listener: 3, Conn: 1<<64 - 1},
		`{"probe":true}`: params{Probe: true},
		`{"error":{"kind":"not-found","text":"no \u0000\u003c","reason":"no-such"}}`: status{Error: &wireError{"not-found", "no \x00<", "no-such"}},
	} {
		var out bytes.Buffer
		if err := writeMessage(&out, v); err != nil {
			t.Fatal(err)
		}
		if out.String() != message(want) {
			t.Errorf("%T: wrote %q, want %q", v, out.String(), message(want))
		}
	}
}

func TestLimitsOfMessages(t *testing.T) {
	for name, in := range map[string]string{
		"huge":          "\xff\xff\xff\xff{}",
		"one too long":  "\x00\x00\x10\x01" + strings.Repeat(" ", MaxMessage+1),
		"empty":         "\x00\x00\x00\x00",
		"not JSON":      message("{"),
		"another thing": message(`"x"`),
		"negative":      message(`{"listener":-1}`),
	} {
		var st status
		if err := readMessage(strings.NewReader(in), &st); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	var st status
	if err := readMessage(strings.NewReader(message("{}")[:5]), &st); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	longest := `{"x":"` + strings.Repeat("x", MaxMessage-8) + `"}`
	if err := readMessage(strings.NewReader(message(longest)), &st); err != nil {
		t.Errorf("the longest message, with an unknown field: %v", err)
	}
	worst := session.Errorf("x", session.Internal, "%s", strings.Repeat("\x01", session.MaxErrorText))
	if err := writeMessage(io.Discard, status{Error: toWire(worst)}); err != nil {
		t.Errorf("the longest error: %v", err)
	}
}

func TestStatusOfALyingHost(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		action string
		kind   session.Kind
	}{
		"nothing":             {"", Connect, session.Unavailable},
		"half a message":      {"\x00\x00\x00\x05{", Connect, session.Unavailable},
		"no listener":         {message(`{"network":"tcp","address":"127.0.0.1:80"}`), Listen, session.Invalid},
		"listener nowhere":    {message(`{"listener":1}`), Listen, session.Invalid},
		"a kind of its own":   {message(`{"error":{"kind":"sudo","text":"x"}}`), Connect, session.Internal},
		"an error of a sort":  {message(`{"error":{}}`), Connect, session.Internal},
		"address of a sort":   {message(`{"network":"tcp","address":"\u001b]0;x\u0007:80"}`), Connect, session.Invalid},
		"listener with error": {message(`{"listener":1,"error":{"kind":"exists"}}`), Listen, session.Exists},
	} {
		if _, err := readStatus(strings.NewReader(c.in), c.action); session.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := readStatus(strings.NewReader(message(`{"error":{"kind":"unavailable","text":"a\u001b[2Jb","reason":"whatever"}}`)), Connect)
	if strings.Contains(err.Error(), "\x1b") || ReasonOf(err) != "" {
		t.Errorf("%q, reason %q", err, ReasonOf(err))
	}
}

func TestArrivals(t *testing.T) {
	a, err := readArrival(strings.NewReader(message(`{"conn":5,"from":"\u001b[2J`+strings.Repeat("x", 999)+`"}`)), 4)
	if err != nil || strings.Contains(a.From, "\x1b") || len(a.From) > session.MaxName {
		t.Errorf("%+v, %v", a, err)
	}
	for _, last := range []uint64{5, 6} {
		if _, err := readArrival(strings.NewReader(message(`{"conn":5}`)), last); session.KindOf(err) != session.Invalid {
			t.Errorf("connection 5 after %d: %v", last, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	request := func(action, params string) session.Header {
		return session.Header{Service: ServiceName, Action: action, Params: json.RawMessage(params)}
	}
	for name, h := range map[string]session.Header{
		"no parameters":     request(Connect, ``),
		"no JSON":           request(Connect, `{`),
		"no address":        request(Connect, `{}`),
		"no port":           request(Connect, `{"network":"tcp","address":"localhost"}`),
		"port 0":            request(Connect, `{"network":"tcp","address":"localhost:0"}`),
		"port 65536":        request(Connect, `{"network":"tcp","address":"localhost:65536"}`),
		"port +80":          request(Connect, `{"network":"tcp","address":"localhost:+80"}`),
		"port 080":          request(Connect, `{"network":"tcp","address":"localhost:080"}`),
		"a service's name":  request(Connect, `{"network":"tcp","address":"localhost:http"}`),
		"no host":           request(Connect, `{"network":"tcp","address":":80"}`),
		"every host":        request(Connect, `{"network":"tcp","address":"*:80"}`),
		"a strange host":    request(Connect, `{"network":"tcp","address":"a b:80"}`),
		"a long host":       request(Connect, `{"network":"tcp","address":"`+strings.Repeat("a", 254)+`:80"}`),
		"UDP":               request(Connect, `{"network":"udp","address":"localhost:53"}`),
		"TCP4":              request(Connect, `{"network":"tcp4","address":"localhost:53"}`),
		"Unix datagrams":    request(Connect, `{"network":"unixgram","address":"/run/x.sock"}`),
		"a relative path":   request(Connect, `{"network":"unix","address":"x.sock"}`),
		"an abstract one":   request(Connect, `{"network":"unix","address":"@x"}`),
		"a detour":          request(Connect, `{"network":"unix","address":"/run/../etc/x"}`),
		"a NUL":             request(Connect, `{"network":"unix","address":"/x\u0000"}`),
		"a long path":       request(Connect, `{"network":"unix","address":"/`+strings.Repeat("a", 255)+`"}`),
		"listen on a name":  request(Listen, `{"network":"tcp","address":"example.com:80"}`),
		"listen, no host":   request(Listen, `{"network":"tcp","address":":80"}`),
		"no connection":     request(Listen, `{"listener":1}`),
		"nothing to listen": request(Listen, `{"probe":true}`),
		"another action":    request("bind", `{"network":"tcp","address":"localhost:80"}`),
		"much":              request(Connect, `{"x":"`+strings.Repeat("x", MaxMessage)+`","network":"tcp","address":"localhost:80"}`),
		"a resource":        {Service: ServiceName, Resource: "any", Action: Connect, Params: json.RawMessage(`{"network":"tcp","address":"localhost:80"}`)},
	} {
		if p, err := parseHeader(h); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	good := request(Connect, `{"network":"tcp","address":"[fe80::1%25eth0]:80","colour":"red"}`)
	if _, err := parseHeader(request(Connect, strings.ReplaceAll(string(good.Params), "%25", "%"))); err != nil {
		t.Error(err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(Connect, []byte(`{"network":"tcp","address":"db:5432"}`))
	f.Add(Listen, []byte(`{"network":"unix","address":"/run/x.sock","replaces":3}`))
	f.Add(Listen, []byte(`{"listener":3,"conn":1}`))
	f.Fuzz(func(t *testing.T, action string, raw []byte) {
		p, err := parseHeader(session.Header{Service: ServiceName, Action: action, Params: raw})
		if err != nil {
			if session.KindOf(err) != session.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		h, err := header(action, p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseHeader(h); err != nil || again != p {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func FuzzReadMessages(f *testing.F) {
	f.Add([]byte(message(`{"network":"tcp","address":"[::1]:9000","listener":7}`)+message(`{"conn":1,"from":"127.0.0.1:4000"}`)), true)
	f.Add([]byte(message(`{"error":{"kind":"unavailable","text":"x","reason":"refused"}}`)), false)
	f.Fuzz(func(t *testing.T, in []byte, listen bool) {
		action := Connect
		if listen {
			action = Listen
		}
		r := bytes.NewReader(in)
		st, err := readStatus(r, action)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' }) {
				t.Fatalf("%q", err)
			}
			return
		}
		if listen && st.Listener == 0 || !st.IsZero() && st.check(listen) != nil {
			t.Fatalf("%+v", st)
		}
		for last := uint64(0); ; {
			a, err := readArrival(r, last)
			if err != nil {
				return
			}
			if a.Conn <= last || a.From != session.PrintableName(a.From) {
				t.Fatalf("%+v after %d", a, last)
			}
			last = a.Conn
		}
	})
}
