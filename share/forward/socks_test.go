package forward

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"tandem/session"
)

// greet is what a SOCKS5 client sends before it has a method.
const greet = "\x05\x01\x00"

// socksName asks to connect to a name.
func socksName(name string, port uint16) string {
	return "\x05\x01\x00\x03" + string(rune(len(name))) + name + string([]byte{byte(port >> 8), byte(port)})
}

func TestSOCKS(t *testing.T) {
	target := listenTCP(t, whole)
	z := &zone{answers: [][]string{{"127.0.0.1"}}}
	b := newBench(t, Config{Resolver: z}, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Dynamic, "0")
	p := port(t, target)
	conn := dial(t, at)
	// A client in a hurry says everything at once.
	got, err := converse(t, conn, greet+socksName("app.example", p)+"early")
	if want := "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "got early"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	got, err = converse(t, dial(t, at), greet+"\x05\x01\x00\x01\x7f\x00\x00\x01"+string([]byte{byte(p >> 8), byte(p)})+"by address")
	if err != nil || !strings.HasSuffix(got, "got by address") {
		t.Errorf("%q, %v", got, err)
	}
	if e := r.await(Opened, 1); e.Target != TCPAddress("app.example", p) {
		t.Errorf("reported %+v", e)
	}
	if n := z.calls.Load(); n != 1 {
		t.Errorf("the host looked up %d names", n)
	}
	if totals, err := r.stop(); err != nil || totals.Connections != 2 || totals.Sent != 15 {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestSOCKSReplies(t *testing.T) {
	z := &zone{}
	b := newBench(t, Config{Resolver: z}, "connect localhost:*")
	_, at := forwardOne(t, b.alice, Dynamic, "0")
	closed := port(t, closedPort(t))
	for name, c := range map[string]struct {
		request string
		reply   byte
	}{
		"refused":       {socksName("localhost", closed), 5},
		"not granted":   {"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", 2},
		"metadata":      {"\x05\x01\x00\x01\xa9\xfe\xa9\xfe\x00\x50", 2},
		"no such name":  {socksName("missing.example", 80), 4},
		"not a name":    {socksName("a b", 80), 1},
		"an escape":     {socksName("\x1b[2J", 80), 1},
		"port 0":        {socksName("localhost", 0), 1},
		"BIND":          {"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", 7},
		"UDP ASSOCIATE": {"\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", 7},
		"no command":    {"\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x50", 7},
		"no address":    {"\x05\x01\x00\x09\x7f\x00\x00\x01\x00\x50", 8},
	} {
		conn := dial(t, at)
		if _, err := io.WriteString(conn, greet+c.request); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 4)
		if _, err := io.ReadFull(conn, reply); err != nil || reply[0] != 5 || reply[1] != 0 || reply[2] != 5 || reply[3] != c.reply {
			t.Errorf("%s: %v, %v; want reply %d", name, reply, err, c.reply)
		}
		conn.Close()
	}
}

// A web page that sends HTTP to the proxy's port, and others who speak
// something else, reach nothing.
func TestNotSOCKS(t *testing.T) {
	b := newBench(t, Config{}, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Dynamic, "0")
	for _, text := range []string{
		"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "CONNECT localhost:80 HTTP/1.1\r\n\r\n", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
		"\x05\x01\x02", "\x05\x00", "\x16\x03\x01", "\x05\x01\x00\x05\x01\x00\x03\xff",
	} {
		got, _ := converse(t, dial(t, at), text)
		if len(got) > 2 {
			t.Errorf("%q was answered with %q", text, got)
		}
	}
	if totals, err := r.stop(); err != nil || totals != (Totals{}) {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestProxyForOthers(t *testing.T) {
	b := newBench(t, Config{}, "connect localhost:*")
	for _, text := range []string{"*:0", "0.0.0.0:0", "[::]:0"} {
		f, err := Parse(Dynamic, text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), b.alice, Plan{Forwards: []Forward{f}})
		if session.KindOf(err) != session.Invalid || !strings.Contains(session.Hint(err), "--open") {
			t.Errorf("%s: %v, hint %q", text, err, session.Hint(err))
		}
	}
	f, _ := Parse(Dynamic, "*:0")
	run(t, b.alice, Plan{Forwards: []Forward{f}, Open: true}).await(Ready, 1)
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	body := bytes.Repeat([]byte("tandem "), 1<<17)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(append([]byte(r.Host+" "), body...)) }))
	t.Cleanup(web.Close)
	p := web.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	b := newBench(t, Config{Resolver: &zone{answers: [][]string{{"127.0.0.1"}}}}, "connect localhost:*")
	_, at := forwardOne(t, b.alice, Dynamic, "0")
	url := "http://" + TCPAddress("web.example", p).String() + "/"
	got, err := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "", "--socks5-hostname", at.String(), url).Output()
	if err != nil || !bytes.HasSuffix(got, body) || !bytes.HasPrefix(got, []byte("web.example")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "", "--socks5-hostname", at.String(), "http://10.0.0.1/").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "(2)") { // not allowed by the rules
		t.Errorf("%s, %v", out, err)
	}
}
